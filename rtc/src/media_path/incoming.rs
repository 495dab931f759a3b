//! From SRTP to the application.

use std::time::Instant;

use bytes::BytesMut;
use rtc_interceptor::{Error as BindError, IncomingRtp};
use rtc_rtcp as rtcp;
use rtc_rtp::Packet;
use rtc_shared::EcnCodepoint;
use smallvec::SmallVec;
use tracing::{debug, trace};

use super::MediaPath;
use super::inbox::Waiting;
use super::route::Route;
use crate::media_stream::MediaStreamTrackId;
use crate::rtp_transceiver::{PayloadType, RTCRtpTransceiverId, SSRC};

impl MediaPath {
    /// Takes an RTP packet, decrypted. Its payload stays where it is.
    pub(crate) fn handle_rtp(
        &mut self,
        now: Instant,
        datagram: BytesMut,
        ecn: Option<EcnCodepoint>,
    ) {
        self.counters.rtp_received += 1;
        let Ok(packet) = Packet::parse(datagram) else {
            self.counters.dropped_unauthentic += 1;
            return;
        };
        self.route(Waiting {
            arrival: now,
            packet,
            ecn,
        });
    }

    pub(super) fn route(&mut self, waiting: Waiting) {
        let header = &waiting.packet.header;
        let (ssrc, payload_type) = (header.ssrc, header.payload_type);
        match self.router.route(header) {
            Route::Stream {
                section,
                media,
                bind,
                learnt,
            } => {
                if bind && !self.bind(waiting.arrival, section, media, payload_type) {
                    return;
                }
                if learnt && !self.unexplained.is_empty() {
                    for before in self.unexplained.take(ssrc) {
                        self.receive(section, before);
                    }
                }
                self.receive(section, waiting);
            }
            Route::Unexplained => {
                trace!(ssrc, "RTP packet of an unknown source");
                self.counters.dropped_unexplained += self.unexplained.push(waiting);
            }
            Route::Nowhere => self.counters.dropped_payload_type += 1,
        }
    }

    fn receive(&mut self, section: usize, waiting: Waiting) {
        let Some(chain) = &mut self.chain else { return };
        self.stirred = true;
        let incoming = chain.incoming_rtp(waiting.arrival, waiting.packet, waiting.ecn);
        let transceiver = self.router.section(section).map(|it| it.transceiver);
        if let (Some(incoming), Some(transceiver)) = (incoming, transceiver) {
            self.deliver(transceiver, incoming);
        }
    }

    fn deliver(&mut self, transceiver: RTCRtpTransceiverId, incoming: IncomingRtp) {
        self.counters.dropped_unread += self.inboxes.push(transceiver, incoming.packet);
    }

    /// Lets the interceptors know a source of which a packet has come.
    fn bind(
        &mut self,
        now: Instant,
        section: usize,
        media: SSRC,
        payload_type: PayloadType,
    ) -> bool {
        let Some(chain) = &mut self.chain else {
            return false;
        };
        if let Some(surplus) = self.router.surplus(section).filter(|it| *it != media) {
            self.router.end(surplus);
            chain.unbind_remote_stream(now, surplus);
        }
        let Some(info) = self.router.stream_info(media, payload_type) else {
            return false;
        };
        let mut bound = chain.bind_remote_stream(now, &info);
        if let Err(BindError::SsrcInUse { .. }) = bound
            && info.rtx.is_some()
        {
            self.router.part_retransmission(media);
            let mut info = info;
            info.rtx = None;
            bound = chain.bind_remote_stream(now, &info);
        }
        match bound {
            Ok(_) => {
                self.router.set_bound(media, true);
                self.sources_changed = true;
            }
            Err(error) => debug!(ssrc = media, %error, "source cannot be received"),
        }
        bound.is_ok()
    }

    /// Takes an RTCP datagram, decrypted.
    pub(crate) fn handle_rtcp(&mut self, now: Instant, datagram: &[u8]) {
        self.counters.rtcp_received += 1;
        self.stirred = true;
        self.rtcp_due = true;
        let mut for_tracks = ByTrack::new();
        for packet in rtcp::packets(datagram) {
            let Ok(packet) = packet else {
                self.counters.malformed_rtcp += 1;
                break;
            };
            let Some(chain) = &mut self.chain else { return };
            let Some(packet) = chain.incoming_rtcp(now, packet) else {
                continue;
            };
            self.note_feedback(&packet);
            if self.keep_reports {
                self.sort_report(packet, &mut for_tracks);
            }
        }
        for (track, packets) in for_tracks {
            if self.reports.len() >= MAX_REPORTS {
                self.reports.pop_front();
                self.counters.dropped_unread += 1;
            }
            self.reports.push_back((track, packets));
        }
    }

    fn note_feedback(&mut self, packet: &rtcp::Packet) {
        match packet {
            rtcp::Packet::SenderReport(_) | rtcp::Packet::ReceiverReport(_) => {
                self.note_known_sources();
            }
            rtcp::Packet::Remb(remb) => {
                for &ssrc in &remb.ssrcs {
                    if let Some(encoding) = self.outboxes.encoding_mut(ssrc) {
                        encoding.max_bitrate = Some(remb.bitrate);
                        self.has_feedback = true;
                    }
                }
            }
            _ => {}
        }
    }

    /// The peer reports on a source once it knows whose it is.
    fn note_known_sources(&mut self) {
        let Some(chain) = &self.chain else { return };
        for outbox in self.outboxes.iter_mut() {
            for encoding in outbox.encodings.iter_mut().filter(|it| !it.is_known) {
                let stats = chain.local_stats(encoding.ssrc);
                encoding.is_known = stats.is_some_and(|it| it.remote.is_some());
            }
        }
    }

    /// Puts a packet to the tracks that it is about.
    fn sort_report(&self, packet: rtcp::Packet, for_tracks: &mut ByTrack) {
        // What is about the transport says nothing about tracks.
        if matches!(packet, rtcp::Packet::Twcc(_) | rtcp::Packet::Ccfb(_)) {
            return;
        }
        let mut tracks: SmallVec<[MediaStreamTrackId; 2]> = SmallVec::new();
        for ssrc in packet.media_ssrcs() {
            let track = match self.router.receiver_of(ssrc) {
                Some(receiver) => self.inboxes.announced_track(receiver),
                None => self
                    .outboxes
                    .sender_of(ssrc)
                    .and_then(|it| it.track.as_ref()),
            };
            if let Some(track) = track.filter(|track| !tracks.contains(track)) {
                tracks.push(track.clone());
            }
        }
        let Some(last) = tracks.pop() else { return };
        let mut put = |track: MediaStreamTrackId, packet| match for_tracks
            .iter_mut()
            .find(|(other, _)| *other == track)
        {
            Some((_, packets)) => packets.push(packet),
            None => for_tracks.push((track, vec![packet])),
        };
        for track in tracks {
            put(track, packet.clone());
        }
        put(last, packet);
    }

    /// Takes from the interceptors what they have held or recovered, and what they have to tell.
    pub(crate) fn collect(&mut self, now: Instant) {
        if !self.stirred {
            return;
        }
        self.stirred = false;
        let Some(chain) = &mut self.chain else { return };
        let mut held = SmallVec::<[IncomingRtp; 1]>::new();
        while let Some(incoming) = chain.poll_incoming_rtp(now) {
            held.push(incoming);
        }
        while let Some(event) = chain.poll_event() {
            match event {
                rtc_interceptor::Event::KeyFrameRequested { ssrc } => {
                    if let Some(encoding) = self.outboxes.encoding_mut(ssrc) {
                        encoding.key_frame_wanted = true;
                        self.has_feedback = true;
                    }
                }
                rtc_interceptor::Event::Goodbye { ssrc } if self.router.end(ssrc) => {
                    chain.unbind_remote_stream(now, ssrc);
                    self.sources_changed = true;
                }
                _ => {}
            }
        }
        self.rtcp_due = true;
        self.rtp_due = true;
        for incoming in held {
            if let Some(receiver) = self.router.receiver_of(incoming.packet.header.ssrc) {
                self.deliver(receiver, incoming);
            }
        }
    }

    /// The next packet for the application.
    pub(crate) fn read_rtp(&mut self) -> Option<(MediaStreamTrackId, Packet)> {
        self.inboxes.read()
    }

    /// The next packet of one receiver.
    pub(crate) fn read_rtp_of(&mut self, receiver: RTCRtpTransceiverId) -> Option<Packet> {
        self.inboxes.read_of(receiver)
    }

    /// How many packets of a receiver were dropped unread.
    pub(crate) fn dropped_unread(&self, receiver: RTCRtpTransceiverId) -> u64 {
        self.inboxes.dropped(receiver)
    }

    /// The next RTCP for the application.
    pub(crate) fn read_rtcp(&mut self) -> Option<(MediaStreamTrackId, Vec<rtcp::Packet>)> {
        loop {
            let (track, packets) = self.reports.pop_front()?;
            // The track may have gone meanwhile.
            if self.inboxes.is_announced(&track) || self.outboxes.has_track(&track) {
                return Some((track, packets));
            }
        }
    }

    /// The sources of a receiver that are there.
    pub(crate) fn sources(
        &self,
        receiver: RTCRtpTransceiverId,
    ) -> impl Iterator<Item = (SSRC, Option<&str>)> {
        self.router
            .bound()
            .filter(move |(_, _, section)| section.transceiver == receiver)
            .map(|(ssrc, ..)| (ssrc, self.router.rid_of(ssrc).map(String::as_str)))
    }

    /// Asks the peer for a key frame of a source.
    pub(crate) fn request_key_frame(&mut self, ssrc: SSRC) -> bool {
        self.rtcp_due = true;
        self.chain
            .as_mut()
            .is_some_and(|chain| chain.request_key_frame(ssrc))
    }
}

/// Few tracks have something in one datagram.
type ByTrack = SmallVec<[(MediaStreamTrackId, Vec<rtcp::Packet>); 1]>;

/// RTCP datagrams that wait for the application.
const MAX_REPORTS: usize = 256;
