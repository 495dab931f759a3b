//! SRTP under the keys of DTLS (RFC 5764).

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use rtc_crypto::CryptoProvider;
use rtc_dtls::Role as DtlsRole;
use rtc_shared::{EcnCodepoint, FiveTuple, TransportContext};
use rtc_srtp::{Error, KeyingMaterial, Profile, ReceiveContext, SendContext};
use tracing::{debug, trace};

use super::Transport;
use crate::media_path::{MediaCounters, MediaPath};
use crate::peer_connection::state::RTCDtlsTransportState;

/// Both directions.
#[derive(Debug)]
pub(super) struct Srtp {
    pub(super) send: SendContext,
    pub(super) receive: ReceiveContext,
}

/// Media that came before the keys.
#[derive(Debug, Default)]
pub(super) struct EarlyMedia {
    datagrams: VecDeque<(FiveTuple, Option<EcnCodepoint>, BytesMut)>,
}

impl EarlyMedia {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Transport {
    /// True when media can be encrypted and decrypted.
    pub(crate) fn has_srtp(&self) -> bool {
        self.srtp.is_some()
    }

    /// Takes the keys from the handshake that is done. Without a profile that both sides have there
    /// are none, and no media comes or goes.
    pub(super) fn install_srtp(&mut self) {
        let Some(dtls) = &self.dtls else { return };
        let Some(profile) = dtls.srtp_profile() else {
            debug!("no SRTP profile was negotiated");
            return;
        };
        match keyed(dtls, profile.code(), self.provider) {
            Ok(srtp) => self.srtp = Some(Box::new(srtp)),
            Err(error) => debug!(%error, "no keys for SRTP"),
        }
    }

    /// Takes a datagram of RTP or RTCP.
    pub(super) fn handle_srtp(
        &mut self,
        now: Instant,
        transport: &TransportContext,
        datagram: BytesMut,
        is_rtcp: bool,
        media: &mut MediaPath,
    ) {
        if !self.ice.accepts(&transport.five_tuple()) {
            self.counters.dropped_unproven_path += 1;
            return;
        }
        self.received(now, transport, datagram.len());
        if self.srtp.is_none() {
            self.keep_early_media(transport, datagram, &mut media.counters);
            return;
        }
        self.unprotect(now, transport.ecn, datagram, is_rtcp, media);
    }

    /// The end of the handshake may be behind the first packets that are sent after it.
    fn keep_early_media(
        &mut self,
        transport: &TransportContext,
        datagram: BytesMut,
        counters: &mut MediaCounters,
    ) {
        if !matches!(
            self.dtls_state,
            RTCDtlsTransportState::New | RTCDtlsTransportState::Connecting
        ) {
            self.counters.dropped_media += 1;
            return;
        }
        let early = &mut self.early_media.datagrams;
        if datagram.len() > MAX_EARLY_LENGTH {
            counters.dropped_early += 1;
            return;
        }
        // The latest are of most use.
        if early.len() >= MAX_EARLY {
            early.pop_front();
            counters.dropped_early += 1;
        }
        early.push_back((transport.five_tuple(), transport.ecn, datagram));
    }

    /// Takes what came before the keys.
    pub(crate) fn release_early_media(&mut self, now: Instant, media: &mut MediaPath) {
        for (_, ecn, datagram) in std::mem::take(&mut self.early_media.datagrams) {
            let is_rtcp = rtc_rtcp::is_rtcp(&datagram);
            self.unprotect(now, ecn, datagram, is_rtcp, media);
        }
    }

    fn unprotect(
        &mut self,
        now: Instant,
        ecn: Option<EcnCodepoint>,
        mut datagram: BytesMut,
        is_rtcp: bool,
        media: &mut MediaPath,
    ) {
        let Some(srtp) = &mut self.srtp else {
            self.counters.dropped_media += 1;
            return;
        };
        let plain = match is_rtcp {
            true => srtp.receive.unprotect_rtcp(&mut datagram),
            false => srtp.receive.unprotect_rtp(&mut datagram),
        };
        match plain {
            Ok(length) => datagram.truncate(length),
            Err(error) => {
                trace!(%error, "SRTP packet dropped");
                match error {
                    Error::Replayed => media.counters.dropped_replayed += 1,
                    _ => media.counters.dropped_unauthentic += 1,
                }
                return;
            }
        }
        match is_rtcp {
            true => media.handle_rtcp(now, &datagram),
            false => media.handle_rtp(now, datagram, ecn),
        }
    }

    /// Lets the packets of sources be sent again as they were, where the peer asks for it and has no
    /// other way to get them.
    pub(crate) fn allow_retransmission(&mut self, media: &MediaPath) {
        let Some(srtp) = &mut self.srtp else { return };
        for ssrc in media.repeated_verbatim() {
            if let Err(error) = srtp.send.allow_retransmission(ssrc) {
                debug!(ssrc, %error, "packets cannot be sent again");
            }
        }
    }
}

fn keyed(
    dtls: &rtc_dtls::Connection,
    profile: u16,
    provider: &CryptoProvider,
) -> Result<Srtp, Error> {
    let profile = Profile::from_code(profile).ok_or(Error::Unsupported)?;
    let mut exported = Wiped(vec![0; profile.exporter_len()]);
    dtls.export_keying_material(rtc_srtp::EXPORTER_LABEL.as_bytes(), None, &mut exported.0)
        .map_err(|_| Error::KeyLength)?;
    let keys = KeyingMaterial::from_exporter(profile, &exported.0)?;
    let (ours, theirs) = match dtls.role() {
        DtlsRole::Client => (&keys.client, &keys.server),
        DtlsRole::Server => (&keys.server, &keys.client),
    };
    Ok(Srtp {
        send: SendContext::new(ours, provider)?,
        receive: ReceiveContext::new(theirs, provider)?,
    })
}

/// Keys that are not left in memory.
struct Wiped(Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}

/// Packets before the keys: a key frame, and some audio.
const MAX_EARLY: usize = 64;
/// No media packet is longer, bytes.
const MAX_EARLY_LENGTH: usize = 2048;
