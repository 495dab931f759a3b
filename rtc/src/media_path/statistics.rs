//! What is known of each stream, for the statistics.

use rtc_interceptor::{Chain, LocalStats, RemoteStats};

use super::MediaPath;
use super::outbox::{Encoding, Outbox};
use super::route::{Section, Source};
use crate::rtp_transceiver::{NegotiatedCodec, SSRC};

/// A stream that is sent.
pub(crate) struct Sent<'a> {
    pub(crate) outbox: &'a Outbox,
    pub(crate) encoding: &'a Encoding,
    pub(crate) codec: Option<&'a NegotiatedCodec>,
    pub(crate) stats: &'a LocalStats,
}

/// A stream that is received.
pub(crate) struct Received<'a> {
    pub(crate) ssrc: SSRC,
    pub(crate) source: &'a Source,
    pub(crate) section: &'a Section,
    pub(crate) codec: Option<&'a NegotiatedCodec>,
    pub(crate) stats: &'a RemoteStats,
}

impl MediaPath {
    /// The streams that are sent, once there are keys.
    pub(crate) fn sent(&self) -> impl Iterator<Item = Sent<'_>> {
        let chain = self.chain.as_deref();
        let outboxes = chain.into_iter().flat_map(|chain| {
            let outboxes = self.outboxes.iter();
            outboxes.map(move |outbox| (chain, outbox))
        });
        outboxes.flat_map(|(chain, outbox)| {
            let encodings = outbox.encodings.iter();
            encodings.filter_map(move |encoding| sent(chain, outbox, encoding))
        })
    }

    /// The streams of which packets have come.
    pub(crate) fn received(&self) -> impl Iterator<Item = Received<'_>> {
        let chain = self.chain.as_deref();
        self.router
            .bound()
            .filter_map(move |(ssrc, source, section)| {
                let chain = chain?;
                let session = chain.session();
                let stream = session.remote(session.remote_by_ssrc(ssrc)?)?;
                Some(Received {
                    ssrc,
                    source,
                    section,
                    codec: section.codec(stream.info.payload_type),
                    stats: &stream.stats,
                })
            })
    }
}

fn sent<'a>(chain: &'a Chain, outbox: &'a Outbox, encoding: &'a Encoding) -> Option<Sent<'a>> {
    let info = encoding.bound.as_ref()?;
    let formats = outbox.formats()?;
    Some(Sent {
        outbox,
        encoding,
        codec: formats.codec(info.payload_type),
        stats: chain.local_stats(encoding.ssrc)?,
    })
}
