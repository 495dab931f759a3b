//! From the application to SRTP.

use std::time::Instant;

use rtc_interceptor::OutgoingRtp;
use rtc_rtcp as rtcp;
use rtc_rtp::Packet;
use rtc_rtp::extension::ExtensionMap;

use super::MediaPath;
use super::outbox::{Layer, Written};
use crate::Error;
use crate::media_stream::{MediaStreamTrackId, RtpStreamId};
use crate::rtp_transceiver::{RTCRtpCodecParameters, RTCRtpSenderId, SSRC};

/// What the peer wants of a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feedback {
    pub(crate) sender: RTCRtpSenderId,
    pub(crate) track: Option<MediaStreamTrackId>,
    pub(crate) ssrc: SSRC,
    pub(crate) rid: Option<RtpStreamId>,
    /// `None`: a key frame.
    pub(crate) max_bitrate: Option<u64>,
}

impl MediaPath {
    /// Takes a packet of a track.
    pub(crate) fn write_track(
        &mut self,
        now: Instant,
        track: &MediaStreamTrackId,
        packet: Packet,
    ) -> Result<(), Error> {
        let written = self.outboxes.write_track(now, track, packet)?;
        self.count(written);
        Ok(())
    }

    /// Takes a packet of a sender, for the encoding that it says, or that of this name.
    pub(crate) fn write(
        &mut self,
        now: Instant,
        sender: RTCRtpSenderId,
        packet: Packet,
        rid: Option<&str>,
    ) -> Result<(), Error> {
        let layer = rid.map_or(Layer::Any, Layer::Rid);
        let written = self.outboxes.write(now, sender, packet, layer)?;
        self.count(written);
        Ok(())
    }

    /// How many packets of the application wait.
    pub(crate) fn buffered_rtp(&self) -> usize {
        self.outboxes.buffered()
    }

    /// The codec of the encoding of this name, or of the first.
    pub(crate) fn codec(
        &self,
        sender: RTCRtpSenderId,
        rid: Option<&str>,
    ) -> Option<&RTCRtpCodecParameters> {
        self.outboxes.get(sender)?.codec(rid)
    }

    /// Gives the header extensions of a packet, which have the numbers of `received`, those of a sender.
    /// Those that name a stream or are about the path go.
    pub(crate) fn renumber_extensions(
        &self,
        sender: RTCRtpSenderId,
        packet: &mut Packet,
        received: &ExtensionMap,
    ) {
        let extensions = &mut packet.header.extensions;
        let Some(formats) = self.outboxes.get(sender).and_then(|it| it.formats()) else {
            return;
        };
        if extensions.is_empty() || *received == formats.extensions {
            return;
        }
        let before = std::mem::take(extensions);
        for (id, value) in &before {
            let kind = received.kind(id);
            if let Some(id) = kind.and_then(|kind| formats.extensions.id(kind)) {
                // It was in a header before.
                let _ = extensions.set(id, value);
            }
        }
    }

    fn count(&mut self, written: Written) {
        self.counters.dropped_inactive += u64::from(written.inactive);
        self.counters.dropped_unsent += written.dropped;
    }

    /// Takes RTCP of the application.
    pub(crate) fn write_rtcp(
        &mut self,
        now: Instant,
        packets: Vec<rtcp::Packet>,
    ) -> Result<(), Error> {
        let Some(chain) = &mut self.chain else {
            return Err(Error::InvalidState("the connection has no keys yet"));
        };
        for packet in packets {
            chain.outgoing_rtcp(now, packet);
        }
        self.rtcp_due = true;
        Ok(())
    }

    /// True when the application sends or receives a track of this name.
    pub(crate) fn knows_track(&self, track: &MediaStreamTrackId) -> bool {
        self.outboxes.has_track(track) || self.inboxes.has_track(track)
    }

    /// Notes that time passes while packets wait.
    pub(crate) fn age(&mut self, now: Instant) {
        if !self.outboxes.queue().is_empty() {
            self.counters.dropped_unsent += self.outboxes.queue().expire(now);
        }
    }

    /// Appends the next RTCP datagram to `out`, at most `max_len` bytes before encryption. Returns its
    /// length.
    pub(crate) fn poll_rtcp(
        &mut self,
        now: Instant,
        max_len: usize,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        if !self.rtcp_due {
            return None;
        }
        let length = self.chain.as_mut()?.poll_rtcp(now, max_len, out);
        self.rtcp_due = length.is_some();
        length
    }

    /// The next RTP packet to be encrypted and sent: what the interceptors repeat or have held, then
    /// what the application has written.
    pub(crate) fn poll_rtp(&mut self, now: Instant) -> Option<OutgoingRtp> {
        if self.pending.is_some() {
            return self.pending.take();
        }
        loop {
            if self.rtp_due {
                let repeated = self.chain.as_mut()?.poll_outgoing_rtp(now);
                if repeated.is_some() {
                    return repeated;
                }
                self.rtp_due = false;
            }
            if self.outboxes.queue().is_empty() {
                return None;
            }
            let chain = self.chain.as_mut()?;
            let packet = self.outboxes.queue().pop()?;
            let outgoing = chain.outgoing_rtp(now, packet, None);
            if outgoing.is_some() {
                return outgoing;
            }
            // A stage may have kept it to give it back at once.
            self.rtp_due = true;
        }
    }

    /// Gives back a packet that could not be sent now; it is the next.
    pub(crate) fn put_back(&mut self, packet: OutgoingRtp) {
        self.pending = Some(packet);
    }

    /// The next wish of the peer about what is sent. One that was not asked for here gives way to the
    /// next of its kind.
    pub(crate) fn poll_feedback(&mut self) -> Option<Feedback> {
        if !self.has_feedback {
            return None;
        }
        for outbox in self.outboxes.iter_mut() {
            let (sender, track) = (outbox.sender, outbox.track.clone());
            for encoding in &mut outbox.encodings {
                let wants_key_frame = std::mem::take(&mut encoding.key_frame_wanted);
                let max_bitrate = match wants_key_frame {
                    true => None,
                    false => encoding.max_bitrate.take(),
                };
                if wants_key_frame || max_bitrate.is_some() {
                    return Some(Feedback {
                        sender,
                        track,
                        ssrc: encoding.ssrc,
                        rid: encoding.rid.clone(),
                        max_bitrate,
                    });
                }
            }
        }
        self.has_feedback = false;
        None
    }
}
