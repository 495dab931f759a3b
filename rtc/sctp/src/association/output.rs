//! What goes out (RFC 9260 §6.1, §6.10): control chunks first, then SACK, then DATA.

use std::collections::VecDeque;
use std::time::Instant;

use rtc_shared::Writer;

use super::Association;
use super::timer::Timer;
use crate::api::{Event, State};
use crate::send::{PeerWindow, Phase};
use crate::wire::{
    CHUNK_HEADER_LEN, Chunk, DATA_HEADER_LEN, HEADER_LEN, Header, Parameter, cause, kind, padded,
    put_cause, seal,
};

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) init: bool,
    pub(super) cookie_echo: bool,
    pub(super) cookie_ack: bool,
    pub(super) heartbeat: bool,
    pub(super) shutdown: bool,
    pub(super) shutdown_ack: bool,
    /// FORWARD-TSN.
    pub(super) forward: bool,
    /// A FORWARD-TSN that skips nothing, for the SACK that answers it (RFC 3758 §3.6).
    pub(super) window_probe: bool,
    /// Whole chunks to be bundled.
    control: VecDeque<Vec<u8>>,
    /// Chunks that make a packet of their own, with its verification tag.
    replies: VecDeque<(u32, Vec<u8>)>,
}

impl Pending {
    fn any(&self) -> bool {
        self.init
            || self.cookie_echo
            || self.cookie_ack
            || self.heartbeat
            || self.shutdown
            || self.shutdown_ack
            || !self.control.is_empty()
            || !self.replies.is_empty()
    }

    /// Forgets everything but the replies.
    pub(super) fn clear(&mut self) {
        *self = Self {
            replies: std::mem::take(&mut self.replies),
            ..Self::default()
        };
    }
}

impl Association {
    /// Appends one SCTP packet of at most min(`max_len`, [`max_packet_size`]) bytes to `buf` and
    /// returns its length; `None` when there is nothing to send now. What `buf` holds already
    /// stays as it is. What once went in a long packet is sent again in one as long, so a shorter
    /// `max_len` is good for a moment, not for ever.
    ///
    /// [`max_packet_size`]: crate::Config::max_packet_size
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut Vec<u8>,
        max_len: usize,
    ) -> Option<usize> {
        let now = self.clock(now);
        let start = buf.len();
        let end = start + max_len.min(self.config.max_packet_size);
        let mut checked = self.write_packet(now, buf, end);
        if buf.len() <= start + HEADER_LEN {
            buf.truncate(start);
            // Messages whose lifetime is over left nothing to send but perhaps word of that.
            if !self.wants_transmit() {
                return None;
            }
            checked = self.write_packet(now, buf, end);
        }
        let length = buf.len() - start;
        if length <= HEADER_LEN {
            buf.truncate(start);
            return None;
        }
        // RFC 9653 §5.2: without checksum only to a peer that takes it, and inside an association.
        if checked || !(self.peer.zero_checksum && self.config.zero_checksum) {
            seal(buf, start);
        }
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += length as u64;
        Some(length)
    }

    /// True when [`poll_transmit`](Self::poll_transmit) has something to write, given room for a
    /// full packet. (In the rare case that all of it is messages whose lifetime has just ended,
    /// `poll_transmit` still gives `None` once.)
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        self.pending.any()
            || (self.sacking.due && self.takes_data())
            || ((self.pending.forward || self.pending.window_probe) && self.sends_data())
            || (self.sends_data() && (self.can_resend() || self.can_send_new()))
            || self.wants_reconfig()
    }

    /// Writes a packet without checksum into `buf`, if there is one. True when it needs one in any
    /// case.
    fn write_packet(&mut self, now: Instant, buf: &mut Vec<u8>, end: usize) -> bool {
        let start = buf.len();
        if let Some((tag, body)) = self.pending.replies.front() {
            if start + HEADER_LEN + body.len() <= end {
                self.header(*tag).write(buf);
                buf.put(body);
                self.pending.replies.pop_front();
            }
            return true;
        }
        if start + HEADER_LEN + CHUNK_HEADER_LEN > end {
            return true;
        }
        if self.pending.init {
            self.header(0).write(buf);
            self.write_init(buf);
            if buf.len() > end {
                buf.truncate(start);
                return true;
            }
            self.pending.init = false;
            self.arm(Timer::Setup, self.rto.current());
            return true;
        }
        self.header(self.peer_tag).write(buf);
        let echoes = self.pending.cookie_echo;
        self.write_control(now, buf, end);
        if echoes && self.pending.cookie_echo {
            // No room for the cookie, which comes first.
            buf.truncate(start);
            return true;
        }
        if self.sends_data() || (echoes && self.state == State::CookieEchoed) {
            if self.pending.forward {
                self.write_forward_tsn(now, buf, end);
            }
            if std::mem::take(&mut self.pending.window_probe) {
                let new_cumulative_tsn = self.outstanding.cumulative();
                buf.put(&[kind::FORWARD_TSN, 0]);
                buf.put_u16((CHUNK_HEADER_LEN + 4) as u16);
                buf.put_u32(new_cumulative_tsn);
            }
            let data = self.can_resend() || self.can_send_new();
            self.write_due_sack(buf, end, data);
            if data {
                let first = buf.len() == start + HEADER_LEN;
                self.write_data(now, buf, end, first);
            }
        } else {
            self.write_due_sack(buf, end, false);
        }
        echoes
    }

    fn header(&self, verification_tag: u32) -> Header {
        Header {
            source_port: self.config.local_port,
            destination_port: self.config.remote_port,
            verification_tag,
            checksum: 0,
        }
    }

    fn write_control(&mut self, now: Instant, buf: &mut Vec<u8>, end: usize) {
        if self.pending.any() {
            self.write_pending(now, buf, end);
        }
        if self.wants_reconfig() {
            self.write_reconfig(buf, end);
        }
    }

    fn write_pending(&mut self, now: Instant, buf: &mut Vec<u8>, end: usize) {
        if self.pending.cookie_echo {
            if !put(buf, end, &Chunk::CookieEcho(&self.cookie)) {
                return;
            }
            self.pending.cookie_echo = false;
            self.arm(Timer::Setup, self.rto.current());
        }
        if self.pending.cookie_ack && put(buf, end, &Chunk::CookieAck) {
            self.pending.cookie_ack = false;
        }
        while let Some(chunk) = self.pending.control.front() {
            if buf.len() + chunk.len() > end {
                break;
            }
            buf.put(chunk);
            self.pending.control.pop_front();
        }
        if self.pending.heartbeat {
            let nonce = self.draw();
            let mut info = Vec::new();
            Parameter::HeartbeatInfo(&nonce.to_be_bytes()).write(&mut info, true);
            if put(buf, end, &Chunk::Heartbeat(&info)) {
                self.pending.heartbeat = false;
                self.heartbeat = Some((nonce, now));
                self.arm(Timer::Heartbeat, self.rto.current());
            }
        }
        let cumulative_tsn = self.receiver.tsns.cumulative() as u32;
        if self.pending.shutdown && put(buf, end, &Chunk::Shutdown { cumulative_tsn }) {
            self.pending.shutdown = false;
            self.arm(Timer::Shutdown, self.rto.current());
        }
        if self.pending.shutdown_ack && put(buf, end, &Chunk::ShutdownAck) {
            self.pending.shutdown_ack = false;
            self.arm(Timer::Shutdown, self.rto.current());
        }
    }

    fn write_forward_tsn(&mut self, now: Instant, buf: &mut Vec<u8>, end: usize) {
        let room = end.saturating_sub(buf.len() + CHUNK_HEADER_LEN + 4);
        let Some((tsn, streams)) = self.outstanding.forward_point(room / 4) else {
            self.pending.forward = self.outstanding.needs_forward();
            return;
        };
        let length = CHUNK_HEADER_LEN + 4 + 4 * streams.len();
        if buf.len() + length > end {
            return;
        }
        buf.put(&[kind::FORWARD_TSN, 0]);
        buf.put_u16(length as u16);
        buf.put_u32(tsn);
        for (stream, ssn) in streams {
            buf.put_u16(stream);
            buf.put_u16(ssn);
        }
        self.pending.forward = false;
        self.forwarded = Some((tsn, now));
        self.arm_if_idle(Timer::Retransmit);
    }

    /// Writes a SACK if one is due, or waits for its time while DATA is about to go (§6.10).
    fn write_due_sack(&mut self, buf: &mut Vec<u8>, end: usize, with_data: bool) {
        const FIXED: usize = 16;
        let waits = self.sacking.packets > 0 && with_data;
        if !(self.sacking.due || waits) || !self.takes_data() || buf.len() + FIXED > end {
            return;
        }
        let window = match self.receiver.window() {
            small if small < self.congestion.max_chunk() => 0,
            window => window,
        };
        let entries = (end - buf.len() - FIXED) / 4;
        let tsns = &mut self.receiver.tsns;
        let duplicates = tsns.take_duplicates();
        let gaps = tsns.gaps();
        let gap_count = gaps.len().min(entries);
        let duplicate_count = duplicates.len().min(entries - gap_count);
        buf.put(&[kind::SACK, 0]);
        buf.put_u16((FIXED + 4 * (gap_count + duplicate_count)) as u16);
        buf.put_u32(tsns.cumulative() as u32);
        buf.put_u32(u32::try_from(window).unwrap_or(u32::MAX));
        buf.put_u16(gap_count as u16);
        buf.put_u16(duplicate_count as u16);
        for (first, last) in tsns.gaps().take(gap_count) {
            buf.put_u16(first);
            buf.put_u16(last);
        }
        for &tsn in duplicates.iter().take(duplicate_count) {
            buf.put_u32(tsn);
        }
        self.sacking.due = false;
        self.sacking.packets = 0;
        self.sacking.advertised = window;
        self.timers.stop(Timer::Sack as usize);
        self.stats.sacks_sent += 1;
    }

    /// States in which DATA goes out.
    fn sends_data(&self) -> bool {
        matches!(
            self.state,
            State::Established | State::ShutdownPending | State::ShutdownReceived
        )
    }

    /// §6.1 rule A: nothing into a closed window, but one chunk at a time to probe it.
    fn peer_has_room(&self) -> bool {
        self.peer_window >= self.congestion.max_chunk() || self.outstanding.flight() == 0
    }

    fn can_resend(&self) -> bool {
        self.outstanding.has_lost()
            && (self.fast_retransmit || self.outstanding.flight() < self.congestion.window())
            && self.peer_has_room()
    }

    fn can_send_new(&self) -> bool {
        !self.outstanding.has_lost()
            && (self.outstanding.open_bytes() > 0 || self.queue.is_ready())
            && self.outstanding.flight() < self.congestion.window()
            && self.outstanding.has_room()
            && self.peer_has_room()
            && (self.burst != Some(0) || self.outstanding.flight() == 0)
    }

    fn write_data(&mut self, now: Instant, buf: &mut Vec<u8>, end: usize, first: bool) {
        let before = buf.len();
        let abandoned = self.outstanding.abandoned_messages;
        let idle = self.outstanding.flight() == 0;
        let probing = idle && self.peer_window < self.congestion.max_chunk();
        if idle {
            let since = now.saturating_duration_since(self.last_data);
            self.congestion.idle(since, self.rto.current());
            self.burst = self.config.max_burst;
        }
        self.write_lost(now, buf, end, probing);
        if buf.len() == before || !probing {
            self.write_new(now, buf, end, probing, first);
        }
        self.account_given_up();
        if buf.len() > before {
            self.last_data = now;
            self.active = true;
            self.burst = self.burst.map(|left| left.saturating_sub(1));
            self.arm_if_idle(Timer::Retransmit);
        }
        if self.outstanding.flight() >= self.congestion.window() {
            self.window_limited = true;
        }
        // Messages given up here are told of in one of the next packets.
        if self.outstanding.abandoned_messages > abandoned {
            self.plan_forward(false);
            self.arm_if_idle(Timer::Retransmit);
        }
        self.finish_drained();
        self.await_window();
        if self.queue.has_blocked() {
            self.announce_writable();
        }
    }

    fn write_lost(&mut self, now: Instant, buf: &mut Vec<u8>, end: usize, probing: bool) {
        let before = buf.len();
        while self.can_resend() {
            let Some((index, length)) = self.outstanding.next_lost(now) else {
                break;
            };
            let size = padded(DATA_HEADER_LEN + length);
            if buf.len() + size > end {
                break;
            }
            let Some(mut data) = self.outstanding.data(index) else {
                break;
            };
            data.immediate = std::mem::take(&mut self.ask_sack) || probing;
            data.write(buf);
            self.outstanding.resend(index);
            self.peer_window = self.peer_window.saturating_sub(size);
            self.stats.retransmits += 1;
            if probing {
                break;
            }
        }
        if buf.len() > before {
            self.fast_retransmit = false;
        }
    }

    fn write_new(
        &mut self,
        now: Instant,
        buf: &mut Vec<u8>,
        end: usize,
        probing: bool,
        mut first: bool,
    ) {
        let max = self.congestion.max_payload();
        while self.can_send_new() {
            self.outstanding.expire_open(now);
            if self.outstanding.open_bytes() == 0 && !self.open_next(now) {
                break;
            }
            // User bytes that fit, a multiple of 4 as packets are.
            let Some(room) = end
                .checked_sub(buf.len() + DATA_HEADER_LEN)
                .map(|room| room & !3)
            else {
                break;
            };
            let left = self.outstanding.open_bytes();
            // A message that fits into one packet stays whole, and no tiny fragments are made to
            // fill a packet up.
            let split = first || (left > max && room >= MIN_FRAGMENT);
            if left > room && (room == 0 || !split) {
                break;
            }
            first = false;
            let Some(chunk) = self.outstanding.push_chunk(room, now) else {
                break;
            };
            let flight = self.outstanding.flight();
            let window = self.congestion.window();
            let eager = probing
                || (flight >= window && window <= 4 * self.congestion.max_chunk())
                || (self.state != State::Established && chunk.last);
            if let Some(mut data) = self.outstanding.data(chunk.index) {
                data.immediate = eager;
                data.write(buf);
                if chunk.first && !data.unordered {
                    self.queue.use_ssn(chunk.stream);
                }
            }
            self.peer_window = self
                .peer_window
                .saturating_sub(padded(DATA_HEADER_LEN + chunk.length));
            if self.queue.sent(chunk.stream, chunk.length) {
                self.events.push_back(Event::BufferedAmountLow {
                    stream: chunk.stream,
                });
            }
            if chunk.last {
                self.stats.messages_sent += 1;
            }
            if probing {
                break;
            }
        }
    }

    /// Takes the next message out of the queue that is still worth sending.
    fn open_next(&mut self, now: Instant) -> bool {
        // A receiver counts more for a message than its bytes, which shows only afterwards.
        let surcharge = self.outstanding.count() * MESSAGE_SURCHARGE;
        let window = PeerWindow {
            free: self.peer_window.saturating_sub(surcharge),
            occupied: self.peer_window_size.saturating_sub(self.peer_window),
        };
        while let Some((stream, ssn, message)) = self.queue.pop(window) {
            if message.lifetime.expired(now) {
                self.stats.abandoned += 1;
                let bytes = message.payload.len();
                if self.queue.sent(stream, bytes) {
                    self.events.push_back(Event::BufferedAmountLow { stream });
                }
                continue;
            }
            self.outstanding.begin(stream, ssn, message);
            return true;
        }
        false
    }

    /// Bytes of abandoned messages that will never be sent no longer count as buffered.
    pub(super) fn account_given_up(&mut self) {
        if self.outstanding.given_up.is_empty() {
            return;
        }
        for (stream, bytes) in std::mem::take(&mut self.outstanding.given_up) {
            if self.queue.sent(stream, bytes) {
                self.events.push_back(Event::BufferedAmountLow { stream });
            }
        }
        self.finish_drained();
    }

    fn announce_writable(&mut self) {
        let (total, own) = (self.config.send_buffer, self.config.stream_send_buffer);
        for stream in self.queue.take_writable(total, own) {
            if self.queue.phase(stream) == Phase::Open {
                self.events.push_back(Event::Writable { stream });
            }
        }
    }

    /// FORWARD-TSN is due when something can be skipped (RFC 3758 §3.5, C3). One that says the
    /// same as the last waits for a round trip.
    pub(super) fn plan_forward(&mut self, advanced: bool) {
        if !self.outstanding.needs_forward() {
            self.pending.forward = false;
            return;
        }
        let recent = self.forwarded.is_some_and(|(_, sent)| {
            let trip = self.rto.smoothed().unwrap_or_else(|| self.rto.current());
            self.now.saturating_duration_since(sent) < trip
        });
        let told = self.forwarded.map(|(tsn, _)| tsn);
        let point = self
            .outstanding
            .forward_point(usize::MAX)
            .map(|(tsn, _)| tsn);
        if advanced || point != told || !recent {
            self.pending.forward = true;
        }
    }

    /// Queues a chunk to be bundled; beyond a few it is dropped.
    pub(super) fn queue_control(&mut self, chunk: Vec<u8>) {
        let fits = HEADER_LEN + chunk.len() <= self.config.max_packet_size;
        if fits && self.pending.control.len() < MAX_WAITING {
            self.pending.control.push_back(chunk);
        } else {
            self.stats.drops.replies += 1;
        }
    }

    /// Queues a packet of its own; beyond a few it is dropped.
    pub(super) fn reply(&mut self, tag: u32, body: Vec<u8>) {
        let fits = HEADER_LEN + body.len() <= self.config.max_packet_size;
        if fits && self.pending.replies.len() < MAX_WAITING {
            self.pending.replies.push_back((tag, body));
        } else {
            self.stats.drops.replies += 1;
        }
    }

    /// Queues an ABORT.
    pub(super) fn reply_abort(&mut self, tag: u32, code: u16, value: &[u8]) {
        let room = self.config.max_packet_size - HEADER_LEN - 2 * CHUNK_HEADER_LEN - 4;
        let mut causes = Vec::new();
        put_cause(&mut causes, code, value.get(..room).unwrap_or(value));
        let mut chunk = Vec::new();
        Chunk::Abort {
            reflected: false,
            causes: &causes,
        }
        .write(&mut chunk);
        self.reply(tag, chunk);
    }

    /// The peer has broken the protocol: tells it and ends.
    pub(super) fn fail(&mut self, code: u16, text: &'static str) {
        debug_assert!(code == cause::PROTOCOL_VIOLATION || code == cause::INVALID_PARAMETER);
        self.reply_abort(self.peer_tag, code, text.as_bytes());
        let reason = crate::api::AbortReason::ProtocolViolation(text);
        self.end(Event::Aborted { reason });
    }

    fn arm_if_idle(&mut self, timer: Timer) {
        if !self.timers.is_set(timer as usize) {
            self.arm(timer, self.rto.current());
        }
    }
}

/// Writes a chunk if it fits.
fn put(buf: &mut Vec<u8>, end: usize, chunk: &Chunk<'_>) -> bool {
    let start = buf.len();
    chunk.write(buf);
    let fits = buf.len() <= end;
    if !fits {
        buf.truncate(start);
    }
    fits
}

/// Smallest fragment made to fill a packet that has other chunks.
const MIN_FRAGMENT: usize = 256;
/// What a receiver may count for a message beside its bytes.
const MESSAGE_SURCHARGE: usize = 64;
/// Replies that may wait; each is at most a packet.
const MAX_WAITING: usize = 16;
