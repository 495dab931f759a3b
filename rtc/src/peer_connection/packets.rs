//! Audio and video packets of a connection, between the application and the media path.

use rtc_rtcp as rtcp;
use rtc_rtp::Packet;

use super::RTCPeerConnection;
use super::event::{RTCPeerConnectionEvent, RTCRtpSenderEvent};
use crate::Error;
use crate::media_path::{Feedback, Start};
use crate::media_stream::MediaStreamTrackId;
use crate::rtp_transceiver::RTCRtpReceiverId;

impl RTCPeerConnection {
    /// A receiver that became readable since it was last given here; each is given once. For drivers
    /// that wake whoever waits for it; [`RTCRtpReceiver::read_rtp`] reads.
    ///
    /// [`RTCRtpReceiver::read_rtp`]: crate::rtp_transceiver::RTCRtpReceiver::read_rtp
    pub fn poll_ready_receiver(&mut self) -> Option<RTCRtpReceiverId> {
        self.packets.poll_ready().map(|id| id.receiver_id())
    }

    /// How many RTP packets that were written wait to be sent: few unless the connection is not up, or
    /// writes come faster than datagrams leave. Beyond 8,192 packets, 8 MiB or a second the oldest are
    /// dropped.
    #[must_use]
    pub fn buffered_rtp(&self) -> usize {
        self.packets.buffered_rtp()
    }

    /// A generator of random numbers seeded from that of the connection, for what goes with it: a
    /// [`SampleSender`](crate::media::SampleSender) and its packetizer.
    pub fn fork_rng(&mut self) -> rtc_shared::Rng {
        self.rng.fork()
    }

    /// The handshake is done.
    pub(super) fn start_media(&mut self) {
        if !self.transport.has_srtp() {
            return;
        }
        let registry = match self.registry.take() {
            Some(registry) => registry,
            None => self.configuration.interceptors.make(),
        };
        self.packets.start(Start {
            registry,
            now: self.now,
            unix_time: self.unix_time(),
            rng: self.rng.fork(),
            media: &self.media,
            round_trip_time: self.transport.round_trip_time(),
        });
        self.update_media();
        self.transport
            .release_early_media(self.now, &mut self.packets);
    }

    /// Brings the media path up to date, and tracks and application up to what has come.
    pub(super) fn settle_media(&mut self) {
        self.update_media();
        self.packets.collect(self.now);
        self.packets.describe_tracks(&mut self.media);
        self.packets.age(self.now);
    }

    fn update_media(&mut self) {
        let engine = &self.configuration.media_engine;
        if self.packets.update(self.now, &self.media, engine) {
            self.transport.allow_retransmission(&self.packets);
        }
    }

    /// Takes a packet of one of our tracks.
    pub(super) fn write_rtp(
        &mut self,
        track: &MediaStreamTrackId,
        packet: Packet,
    ) -> Result<(), Error> {
        self.check_media()?;
        self.update_media();
        self.packets.write_track(self.now, track, packet)
    }

    /// Takes RTCP about one of our tracks or one of the peer's.
    pub(super) fn write_rtcp(
        &mut self,
        track: &MediaStreamTrackId,
        packets: Vec<rtcp::Packet>,
    ) -> Result<(), Error> {
        self.check_media()?;
        self.update_media();
        if !self.packets.knows_track(track) {
            return Err(Error::InvalidAccess(format!("there is no track {track:?}")));
        }
        self.packets.write_rtcp(self.now, packets)
    }

    /// Refuses what could never be sent.
    pub(crate) fn check_media(&self) -> Result<(), Error> {
        self.check_open()?;
        let has_keys = self.transport.has_srtp();
        if self.transport.dtls_state() == super::state::RTCDtlsTransportState::Connected
            && !has_keys
        {
            return Err(Error::InvalidState("the peer has no SRTP profile of ours"));
        }
        Ok(())
    }

    pub(crate) fn now(&self) -> std::time::Instant {
        self.now
    }

    /// The media path with all that was negotiated up to now.
    pub(crate) fn up_to_date_packets(
        &mut self,
    ) -> Result<&mut crate::media_path::MediaPath, Error> {
        self.check_media()?;
        self.update_media();
        Ok(&mut self.packets)
    }

    pub(super) fn poll_sender_event(&mut self) -> Option<RTCPeerConnectionEvent> {
        let Feedback {
            sender,
            track,
            ssrc,
            rid,
            max_bitrate,
        } = self.packets.poll_feedback()?;
        Some(RTCPeerConnectionEvent::OnRtpSender(match max_bitrate {
            None => RTCRtpSenderEvent::OnKeyFrameRequest {
                sender_id: sender,
                track_id: track,
                ssrc,
                rid,
            },
            Some(bitrate) => RTCRtpSenderEvent::OnMaxBitrate {
                sender_id: sender,
                track_id: track,
                ssrc,
                rid,
                bitrate,
            },
        }))
    }
}
