use std::fmt;
use std::time::{Duration, Instant};

use rtc_rtcp::Packet as RtcpPacket;
use rtc_rtp::Packet;
use rtc_shared::{EcnCodepoint, Writer};
use tracing::trace;

use crate::compound::RtcpQueue;
use crate::{
    ChainConfig, Context, Error, Flow, IncomingRtp, Interceptor, LocalStats, OutgoingRtp,
    RemoteStats, Session, StreamId, StreamInfo,
};

/// The stages of one connection in their order, driven by its owner.
///
/// * Streams are bound before their packets come; packets of an SSRC that is not bound are dropped.
/// * [`incoming_rtp`](Self::incoming_rtp), [`incoming_rtcp`](Self::incoming_rtcp) and
///   [`outgoing_rtp`](Self::outgoing_rtp) give back what goes on at once, so that a usual packet is in
///   no queue.
/// * After a batch of these, and after [`handle_timeout`](Self::handle_timeout), ask
///   [`poll_incoming_rtp`](Self::poll_incoming_rtp), [`poll_outgoing_rtp`](Self::poll_outgoing_rtp),
///   [`poll_rtcp`](Self::poll_rtcp) and [`poll_event`](Self::poll_event) until each is empty, then
///   [`poll_timeout`](Self::poll_timeout).
///
/// Time never goes back: an earlier `now` counts as the latest up to then.
pub struct Chain {
    /// That next to the network first.
    stages: Vec<Box<dyn Interceptor>>,
    session: Session,
    rtcp: RtcpQueue,
    now: Instant,
    /// When `handle_timeout` was last called.
    handled: Option<Instant>,
    unbound_packets: u64,
}

/// What a chain tells its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The receiver of a stream wants a key frame. Repetitions of one wish are told once.
    KeyFrameRequested {
        /// The stream that is sent.
        ssrc: u32,
    },
    /// The sender of a stream has said goodbye.
    Goodbye {
        /// The stream that is received.
        ssrc: u32,
    },
}

impl Chain {
    pub(crate) fn new(stages: Vec<Box<dyn Interceptor>>, config: ChainConfig) -> Self {
        let mut rng = config.rng;
        let own_ssrc = rng.u32();
        Self {
            stages,
            session: Session::new(config.now, config.unix_time, own_ssrc, rng),
            rtcp: RtcpQueue::new(config.cname, config.reduced_size),
            now: config.now,
            handled: None,
            unbound_packets: 0,
        }
    }

    /// Binds a stream that will be sent. Bound again, a stream keeps its history and its statistics and
    /// takes on what has changed.
    ///
    /// # Errors
    /// [`Error`]; nothing changes then.
    pub fn bind_local_stream(
        &mut self,
        now: Instant,
        info: &StreamInfo,
    ) -> Result<StreamId, Error> {
        let id = self.session.bind_local(info)?;
        self.for_each_stage(now, |stage, cx| stage.bind_local_stream(cx, id));
        Ok(id)
    }

    /// Unbinds a stream that is sent; its receiver is told by a BYE. False when it was not bound.
    pub fn unbind_local_stream(&mut self, now: Instant, ssrc: u32) -> bool {
        let Some(id) = self.session.local_by_ssrc(ssrc) else {
            return false;
        };
        self.for_each_stage(now, |stage, cx| stage.unbind_local_stream(cx, id));
        self.session.local.unbind(id);
        true
    }

    /// Binds a stream that will be received. Bound again, for instance when the SSRC of its
    /// retransmissions becomes known, a stream keeps its state and takes on what has changed.
    ///
    /// # Errors
    /// [`Error`]; nothing changes then.
    pub fn bind_remote_stream(
        &mut self,
        now: Instant,
        info: &StreamInfo,
    ) -> Result<StreamId, Error> {
        let id = self.session.bind_remote(info)?;
        self.for_each_stage(now, |stage, cx| stage.bind_remote_stream(cx, id));
        Ok(id)
    }

    /// Unbinds a stream that is received. False when it was not bound.
    pub fn unbind_remote_stream(&mut self, now: Instant, ssrc: u32) -> bool {
        let Some(id) = self.session.remote_by_ssrc(ssrc) else {
            return false;
        };
        self.for_each_stage(now, |stage, cx| stage.unbind_remote_stream(cx, id));
        self.session.unbind_remote(id);
        true
    }

    /// Takes an RTP packet from the network, decrypted, and gives it back as the application gets it;
    /// `None` when a stage has taken it, or when it was padding or a duplicate.
    pub fn incoming_rtp(
        &mut self,
        now: Instant,
        packet: Packet,
        ecn: Option<EcnCodepoint>,
    ) -> Option<IncomingRtp> {
        let now = self.advance(now);
        let Some(route) = self.session.remote.route(packet.header.ssrc) else {
            self.unbound_packets += 1;
            trace!(ssrc = packet.header.ssrc, "RTP packet of no stream");
            return None;
        };
        let mut incoming = IncomingRtp::new(packet, route.id, now);
        incoming.ecn = ecn;
        incoming.retransmission = route.rtx;
        if let Some(stream) = self.session.remote.get_mut(route.id) {
            stream.stats.count(&incoming);
        }
        self.forward_incoming(0, incoming)
    }

    /// Takes an RTCP packet from the network, decrypted, one of those that [`rtc_rtcp::packets`] reads,
    /// and gives it back for the application unless a stage has taken it.
    pub fn incoming_rtcp(&mut self, now: Instant, mut packet: RtcpPacket) -> Option<RtcpPacket> {
        let now = self.advance(now);
        self.note_incoming_rtcp(&packet);
        let mut cx = Context {
            now,
            session: &mut self.session,
        };
        for stage in &mut self.stages {
            if stage.incoming_rtcp(&mut cx, &mut packet) == Flow::Stop {
                return None;
            }
        }
        Some(packet)
    }

    /// Takes an RTP packet from the application and gives it back as it is to be encrypted and sent;
    /// `None` when a stage has taken it. When the capture time of its content is known, the sender
    /// reports are exact.
    pub fn outgoing_rtp(
        &mut self,
        now: Instant,
        packet: Packet,
        capture_time: Option<Instant>,
    ) -> Option<OutgoingRtp> {
        let now = self.advance(now);
        let Some(id) = self.session.local_by_ssrc(packet.header.ssrc) else {
            self.unbound_packets += 1;
            trace!(ssrc = packet.header.ssrc, "RTP packet of no stream");
            return None;
        };
        let mut outgoing = OutgoingRtp::new(packet, id);
        outgoing.capture_time = capture_time;
        self.forward_outgoing(now, self.stages.len(), outgoing)
    }

    /// Takes an RTCP packet from the application; it is sent with the next [`poll_rtcp`](Self::poll_rtcp).
    pub fn outgoing_rtcp(&mut self, now: Instant, packet: RtcpPacket) {
        let now = self.advance(now);
        self.forward_outgoing_rtcp(now, self.stages.len(), packet);
    }

    /// The next packet for the application that a stage has recovered or held.
    pub fn poll_incoming_rtp(&mut self, now: Instant) -> Option<IncomingRtp> {
        let now = self.advance(now);
        for index in 0..self.stages.len() {
            while let Some(incoming) =
                self.with_stage(now, index, |stage, cx| stage.poll_incoming_rtp(cx))
            {
                let delivered = self.forward_incoming(index + 1, incoming);
                if delivered.is_some() {
                    return delivered;
                }
            }
        }
        None
    }

    /// The next packet for the network that a stage repeats, has made or has held.
    pub fn poll_outgoing_rtp(&mut self, now: Instant) -> Option<OutgoingRtp> {
        let now = self.advance(now);
        for index in (0..self.stages.len()).rev() {
            while let Some(outgoing) =
                self.with_stage(now, index, |stage, cx| stage.poll_outgoing_rtp(cx))
            {
                let sent = self.forward_outgoing(now, index, outgoing);
                if sent.is_some() {
                    return sent;
                }
            }
        }
        None
    }

    /// Appends the next RTCP datagram, at most `max_len` bytes before encryption, to `out`, a `Vec<u8>`
    /// or `BytesMut`, and returns its length. Reports come first and bring the CNAME; without reduced
    /// size there is always one.
    pub fn poll_rtcp(
        &mut self,
        now: Instant,
        max_len: usize,
        out: &mut impl Writer,
    ) -> Option<usize> {
        let now = self.advance(now);
        // Sender reports are made before the receiver reports look what there is to be filled.
        for index in (0..self.stages.len()).rev() {
            while !self.rtcp.is_full() {
                let Some(packet) =
                    self.with_stage(now, index, |stage, cx| stage.poll_outgoing_rtcp(cx))
                else {
                    break;
                };
                self.forward_outgoing_rtcp(now, index, packet);
            }
        }
        self.rtcp
            .write_datagram(self.session.reporter_ssrc(), max_len, out)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.session.events.pop_front()
    }

    /// Tells that time has come to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        self.handled = Some(now);
        let mut cx = Context {
            now,
            session: &mut self.session,
        };
        for stage in &mut self.stages {
            if stage.poll_timeout().is_some_and(|deadline| deadline <= now) {
                stage.handle_timeout(&mut cx);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = self
            .stages
            .iter()
            .filter_map(|stage| stage.poll_timeout())
            .min()?;
        // A stage that asks for a time gone by must not have its owner spin.
        Some(match self.handled {
            Some(handled) if next <= handled => handled + MIN_TIMEOUT,
            _ => next,
        })
    }

    /// Asks the sender of a stream for a key frame, by PLI or FIR as negotiated and no more often than
    /// is of use. False when the stream is not bound or has negotiated neither.
    pub fn request_key_frame(&mut self, ssrc: u32) -> bool {
        let Some(id) = self.session.remote_by_ssrc(ssrc) else {
            return false;
        };
        let feedback = self
            .session
            .remote(id)
            .map(|stream| stream.info.rtcp_feedback);
        let possible = feedback.is_some_and(|feedback| feedback.nack_pli || feedback.ccm_fir);
        if possible {
            self.session.request_key_frame(id);
        }
        possible
    }

    /// Tells that the application has got a whole key frame of a stream, which ends the repetition of
    /// requests for one.
    pub fn key_frame_received(&mut self, now: Instant, ssrc: u32) {
        if let Some(id) = self.session.remote_by_ssrc(ssrc) {
            self.for_each_stage(now, |stage, cx| stage.key_frame_received(cx, id));
        }
    }

    /// What was counted of a stream that is sent.
    #[must_use]
    pub fn local_stats(&self, ssrc: u32) -> Option<&LocalStats> {
        let id = self.session.local_by_ssrc(ssrc)?;
        self.session.local(id).map(|stream| &stream.stats)
    }

    /// What was counted of a stream that is received.
    #[must_use]
    pub fn remote_stats(&self, ssrc: u32) -> Option<&RemoteStats> {
        let id = self.session.remote_by_ssrc(ssrc)?;
        self.session.remote(id).map(|stream| &stream.stats)
    }

    /// Packets that came or went with an SSRC that was not bound, and were dropped.
    #[must_use]
    pub fn unbound_packets(&self) -> u64 {
        self.unbound_packets
    }

    /// RTCP packets that were dropped because too many were waiting, or longer than a datagram.
    #[must_use]
    pub fn dropped_rtcp_packets(&self) -> u64 {
        self.rtcp.dropped()
    }

    /// What the stages share.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What the stages share, for instance to add a round trip time that was measured elsewhere.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn for_each_stage(
        &mut self,
        now: Instant,
        mut call: impl FnMut(&mut dyn Interceptor, &mut Context<'_>),
    ) {
        let mut cx = Context {
            now: self.advance(now),
            session: &mut self.session,
        };
        for stage in &mut self.stages {
            call(stage.as_mut(), &mut cx);
        }
    }

    fn with_stage<T>(
        &mut self,
        now: Instant,
        index: usize,
        call: impl FnOnce(&mut dyn Interceptor, &mut Context<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut cx = Context {
            now,
            session: &mut self.session,
        };
        call(self.stages.get_mut(index)?.as_mut(), &mut cx)
    }

    /// Through the stages from `first` on, towards the application.
    fn forward_incoming(&mut self, first: usize, mut incoming: IncomingRtp) -> Option<IncomingRtp> {
        let mut cx = Context {
            now: self.now,
            session: &mut self.session,
        };
        for stage in self.stages.iter_mut().skip(first) {
            if stage.incoming_rtp(&mut cx, &mut incoming) == Flow::Stop {
                return None;
            }
        }
        // Here, where what came before has been left out.
        if incoming.deliver
            && incoming.packet.header.marker
            && let Some(stream) = cx.session.remote.get_mut(incoming.stream)
        {
            stream.stats.markers_received += 1;
        }
        incoming.deliver.then_some(incoming)
    }

    /// Through the stages before `end`, towards the network.
    fn forward_outgoing(
        &mut self,
        now: Instant,
        end: usize,
        mut outgoing: OutgoingRtp,
    ) -> Option<OutgoingRtp> {
        let mut cx = Context {
            now,
            session: &mut self.session,
        };
        for stage in self.stages.iter_mut().take(end).rev() {
            if stage.outgoing_rtp(&mut cx, &mut outgoing) == Flow::Stop {
                return None;
            }
        }
        if let Some(stream) = cx.session.local.get_mut(outgoing.stream) {
            stream.stats.count(&outgoing);
        }
        for stage in &mut self.stages {
            stage.sent_rtp(&mut cx, &outgoing);
        }
        Some(outgoing)
    }

    /// Through the stages before `end` and into the queue.
    fn forward_outgoing_rtcp(&mut self, now: Instant, end: usize, mut packet: RtcpPacket) {
        let mut cx = Context {
            now,
            session: &mut self.session,
        };
        for stage in self.stages.iter_mut().take(end).rev() {
            if stage.outgoing_rtcp(&mut cx, &mut packet) == Flow::Stop {
                return;
            }
        }
        self.note_outgoing_rtcp(&packet);
        self.rtcp.push(packet);
    }

    fn note_incoming_rtcp(&mut self, packet: &RtcpPacket) {
        let session = &mut self.session;
        match packet {
            RtcpPacket::Nack(nack) => {
                count_local(session, nack.media_ssrc, |stats| stats.nack_count += 1);
            }
            RtcpPacket::Pli(pli) => {
                count_local(session, pli.media_ssrc, |stats| stats.pli_count += 1);
            }
            RtcpPacket::Fir(fir) => {
                for entry in &fir.entries {
                    count_local(session, entry.ssrc, |stats| stats.fir_count += 1);
                }
            }
            RtcpPacket::Bye(bye) => {
                for &ssrc in &bye.ssrcs {
                    if session.remote_by_ssrc(ssrc).is_some() {
                        session.emit(Event::Goodbye { ssrc });
                    }
                }
            }
            _ => {}
        }
    }

    fn note_outgoing_rtcp(&mut self, packet: &RtcpPacket) {
        let session = &mut self.session;
        match packet {
            RtcpPacket::Nack(nack) => {
                count_remote(session, nack.media_ssrc, |stats| stats.nack_count += 1);
            }
            RtcpPacket::Pli(pli) => {
                count_remote(session, pli.media_ssrc, |stats| stats.pli_count += 1);
            }
            RtcpPacket::Fir(fir) => {
                for entry in &fir.entries {
                    count_remote(session, entry.ssrc, |stats| stats.fir_count += 1);
                }
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("stages", &self.stages.len())
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl LocalStats {
    fn count(&mut self, sent: &OutgoingRtp) {
        let payload = sent.packet.payload.len() as u64;
        self.packets_sent += 1;
        self.bytes_sent += payload;
        self.header_bytes_sent += sent.packet.encoded_len() as u64 - payload;
        if sent.retransmission.is_some() {
            self.retransmitted_packets_sent += 1;
            self.retransmitted_bytes_sent += payload;
        } else if sent.packet.header.marker {
            self.markers_sent += 1;
        }
    }
}

impl RemoteStats {
    fn count(&mut self, incoming: &IncomingRtp) {
        let payload = incoming.packet.payload.len() as u64;
        self.packets_received += 1;
        self.bytes_received += payload;
        self.header_bytes_received += incoming.packet.encoded_len() as u64 - payload;
        if incoming.retransmission {
            self.retransmitted_packets_received += 1;
            self.retransmitted_bytes_received += payload;
        }
        match incoming.ecn {
            Some(EcnCodepoint::Ect1) => self.packets_received_with_ect1 += 1,
            Some(EcnCodepoint::Ce) => self.packets_received_with_ce += 1,
            _ => {}
        }
        self.last_packet_received = Some(incoming.arrival);
    }
}

fn count_local(session: &mut Session, ssrc: u32, count: impl FnOnce(&mut LocalStats)) {
    let id = session.local_by_ssrc(ssrc);
    if let Some(stream) = id.and_then(|id| session.local_mut(id)) {
        count(&mut stream.stats);
    }
}

fn count_remote(session: &mut Session, ssrc: u32, count: impl FnOnce(&mut RemoteStats)) {
    let id = session.remote_by_ssrc(ssrc);
    if let Some(stream) = id.and_then(|id| session.remote_mut(id)) {
        count(&mut stream.stats);
    }
}

/// How soon after a timeout the next may be.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
