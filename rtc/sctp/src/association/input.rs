//! What packets bring (RFC 9260 §6, §8).

use std::time::Instant;

use bytes::{Buf, BytesMut};
use tracing::trace;

use super::Association;
use super::timer::Timer;
use crate::api::{AbortReason, Event, State};
use crate::receive::{Fragment, Meta, Payload, Place, Violation};
use crate::wire::{
    CHUNK_HEADER_LEN, Causes, Chunk, DATA_HEADER_LEN, Data, ForwardTsn, HEADER_LEN, Header,
    RawChunk, Sack, cause, checksum, kind, padded, put_cause,
};

/// One packet while it is worked on.
struct Input {
    tag: u32,
    first: bool,
    /// It had DATA.
    data: bool,
    /// It is to be acknowledged at once.
    immediate: bool,
    /// It had a SACK; a second one in the same packet is ignored.
    sacked: bool,
}

/// Whether the rest of a packet is looked at.
#[derive(PartialEq, Eq)]
enum Flow {
    Go,
    Stop,
}

impl Association {
    /// Takes in one SCTP packet, as it came out of one DTLS record.
    ///
    /// Junk is counted in [`Stats::drops`](crate::Stats::drops) and has no other effect.
    pub fn handle_packet(&mut self, now: Instant, mut packet: BytesMut) {
        self.clock(now);
        self.stats.packets_received += 1;
        self.stats.bytes_received += packet.len() as u64;
        let (Ok(header), Some(&first)) = (Header::parse(&packet), packet.get(HEADER_LEN)) else {
            self.stats.drops.short += 1;
            return;
        };
        if header.source_port != self.config.remote_port
            || header.destination_port != self.config.local_port
        {
            self.stats.drops.port += 1;
            return;
        }
        if !self.checksum_holds(&header, first, &packet) {
            trace!("wrong checksum");
            self.stats.drops.checksum += 1;
            return;
        }
        let reflected = packet
            .get(HEADER_LEN + 1)
            .is_some_and(|flags| flags & 1 != 0);
        if !self.tag_holds(header.verification_tag, first, reflected) {
            trace!(
                tag = header.verification_tag,
                first, "wrong verification tag"
            );
            self.stats.drops.tag += 1;
            return;
        }
        let mut input = Input {
            tag: header.verification_tag,
            first: true,
            data: false,
            immediate: false,
            sacked: false,
        };
        let mut at = HEADER_LEN;
        while let Some(rest) = packet.get(at..).filter(|rest| !rest.is_empty()) {
            let Ok((raw, rest)) = RawChunk::split(rest) else {
                self.stats.drops.malformed += 1;
                break;
            };
            let length = CHUNK_HEADER_LEN + raw.value.len();
            if raw.kind == kind::DATA {
                let Ok(data) = Data::parse(raw) else {
                    self.stats.drops.malformed += 1;
                    break;
                };
                if let Some((fragment, place)) = self.judge_data(&data, &mut input) {
                    let whole = fragment.begin && fragment.end;
                    let result = if data.payload.len() <= COPIED || (place == Place::Next && !whole)
                    {
                        self.receiver
                            .insert(&fragment, place, Payload::Borrowed(data.payload))
                    } else {
                        let (start, end) = (at + DATA_HEADER_LEN, at + length);
                        let payload = cut(&mut packet, start, end);
                        at = 0;
                        self.receiver
                            .insert(&fragment, place, Payload::Owned(payload))
                    };
                    if let Err(violation) = result {
                        self.violate(violation);
                        return;
                    }
                    if at == 0 {
                        input.first = false;
                        continue;
                    }
                } else if self.ended {
                    return;
                }
            } else if self.handle_chunk(raw, rest.is_empty(), &mut input) == Flow::Stop {
                break;
            }
            input.first = false;
            at += padded(length);
        }
        if self.ended {
            return;
        }
        if input.data {
            self.received_data(input.immediate);
        }
        self.after_input();
    }

    /// RFC 9653 §5: zero stands for no checksum where we offered that, but never on INIT and
    /// COOKIE ECHO.
    fn checksum_holds(&self, header: &Header, first: u8, packet: &[u8]) -> bool {
        let exempt = header.checksum == 0
            && self.config.zero_checksum
            && first != kind::INIT
            && first != kind::COOKIE_ECHO;
        exempt || header.checksum == checksum(packet)
    }

    /// RFC 9260 §8.5.
    fn tag_holds(&self, tag: u32, first: u8, reflected: bool) -> bool {
        match first {
            kind::INIT => tag == 0,
            // The cookie names the tag.
            kind::COOKIE_ECHO => true,
            kind::ABORT | kind::SHUTDOWN_COMPLETE if reflected => tag == self.peer_tag && tag != 0,
            // Out of the blue during the set-up: the peer ends an older association (§8.5.1, E).
            kind::SHUTDOWN_ACK if matches!(self.state, State::CookieWait | State::CookieEchoed) => {
                true
            }
            _ => tag == self.local_tag,
        }
    }

    fn handle_chunk(&mut self, raw: RawChunk<'_>, last: bool, input: &mut Input) -> Flow {
        if raw.kind == kind::INIT {
            // INIT is alone in its packet (§4.3).
            if input.first && last && input.tag == 0 {
                self.handle_init(raw.value);
            } else {
                self.stats.drops.malformed += 1;
            }
            return Flow::Stop;
        }
        if matches!(raw.kind, kind::I_DATA | kind::I_FORWARD_TSN) {
            return self.unknown_chunk(raw);
        }
        let Ok(chunk) = Chunk::parse(raw) else {
            trace!(kind = raw.kind, "malformed chunk");
            self.stats.drops.malformed += 1;
            return Flow::Stop;
        };
        if raw.kind == kind::SACK {
            self.imply_cookie_ack();
        }
        // Without an association only the set-up counts.
        let up = !matches!(self.state, State::Closed | State::CookieWait);
        match chunk {
            Chunk::CookieEcho(cookie) => {
                if !input.first {
                    self.stats.drops.unexpected += 1;
                } else if !self.handle_cookie_echo(input.tag, cookie) {
                    return Flow::Stop;
                }
            }
            Chunk::InitAck(init) if !self.ended => {
                self.handle_init_ack(&init);
                return Flow::Stop;
            }
            Chunk::CookieAck => self.handle_cookie_ack(),
            Chunk::Abort { reflected, causes } if !self.ended => {
                let expected = if reflected {
                    self.peer_tag
                } else {
                    self.local_tag
                };
                if input.tag != expected {
                    self.stats.drops.tag += 1;
                } else if self.state == State::Closed {
                    self.stats.drops.unexpected += 1;
                } else {
                    self.handle_abort(causes);
                }
                return Flow::Stop;
            }
            Chunk::ShutdownAck => self.handle_shutdown_ack(input.tag),
            Chunk::ShutdownComplete { reflected } => {
                let expected = if reflected {
                    self.peer_tag
                } else {
                    self.local_tag
                };
                if input.tag == expected {
                    self.handle_shutdown_complete();
                }
                return Flow::Stop;
            }
            Chunk::Error { causes } => {
                if Causes::new(causes)
                    .take(MAX_CAUSES)
                    .any(|(code, _)| code == cause::STALE_COOKIE)
                {
                    self.handle_stale_cookie();
                }
            }
            Chunk::Heartbeat(info) if up => {
                let mut reply = Vec::new();
                Chunk::HeartbeatAck(info).write(&mut reply);
                self.queue_control(reply);
            }
            Chunk::HeartbeatAck(info) if up => self.handle_heartbeat_ack(info),
            Chunk::Sack(sack) if self.takes_sacks() && !input.sacked => {
                input.sacked = true;
                self.handle_sack(&sack);
            }
            Chunk::ForwardTsn(forward) if self.takes_data() => {
                return self.handle_forward_tsn(&forward);
            }
            Chunk::Reconfig(reconfig) if self.takes_sacks() => {
                self.handle_reconfig(&reconfig);
            }
            Chunk::Shutdown { cumulative_tsn } if up => self.handle_shutdown(cumulative_tsn),
            Chunk::Unknown(raw) if matches!(raw.kind, kind::ECNE | kind::CWR | kind::PAD) => {}
            Chunk::Unknown(raw) => return self.unknown_chunk(raw),
            _ => self.stats.drops.unexpected += 1,
        }
        if self.ended { Flow::Stop } else { Flow::Go }
    }

    /// The high bits of an unknown type say whether to go on and whether to report it (§3.2).
    fn unknown_chunk(&mut self, raw: RawChunk<'_>) -> Flow {
        const REPORTED: usize = 256;
        self.stats.drops.unknown += 1;
        if raw.kind & 0x40 != 0 && self.state != State::Closed {
            let mut chunk = Vec::new();
            let value = raw.value.get(..REPORTED).unwrap_or(raw.value);
            Chunk::Unknown(RawChunk { value, ..raw }).write(&mut chunk);
            self.report(cause::UNRECOGNIZED_CHUNK, &chunk);
        }
        if raw.kind & 0x80 != 0 {
            Flow::Go
        } else {
            Flow::Stop
        }
    }

    /// Queues an ERROR chunk.
    fn report(&mut self, code: u16, value: &[u8]) {
        let mut causes = Vec::new();
        put_cause(&mut causes, code, value);
        let mut chunk = Vec::new();
        Chunk::Error { causes: &causes }.write(&mut chunk);
        self.queue_control(chunk);
    }

    /// States in which DATA is taken in.
    pub(super) fn takes_data(&self) -> bool {
        matches!(
            self.state,
            State::Established | State::ShutdownPending | State::ShutdownSent
        )
    }

    /// States in which ours may be acknowledged.
    fn takes_sacks(&self) -> bool {
        self.takes_data() || self.state == State::ShutdownReceived
    }

    /// DATA or SACK with our tag while COOKIE ACK is awaited: only a peer that took the cookie sends
    /// that, so the COOKIE ACK was lost or overtaken. Waiting for T1-cookie would gain nothing.
    fn imply_cookie_ack(&mut self) {
        if self.state == State::CookieEchoed {
            self.establish();
        }
    }

    #[inline]
    fn judge_data(&mut self, data: &Data<'_>, input: &mut Input) -> Option<(Fragment, Place)> {
        self.imply_cookie_ack();
        if !self.takes_data() {
            self.stats.drops.unexpected += 1;
            return None;
        }
        if data.payload.is_empty() {
            let tsn = data.tsn.to_be_bytes();
            self.reply_abort(self.peer_tag, cause::NO_USER_DATA, &tsn);
            let reason = AbortReason::ProtocolViolation("DATA without user data");
            self.end(Event::Aborted { reason });
            return None;
        }
        input.data = true;
        input.immediate |= data.immediate;
        let tsns = &mut self.receiver.tsns;
        let tsn = tsns.extend(data.tsn);
        let place = tsns.place(tsn);
        match place {
            Place::Next => input.immediate |= tsns.has_gaps(),
            Place::Ahead => input.immediate = true,
            Place::Duplicate => {
                tsns.note_duplicate(data.tsn);
                self.stats.drops.duplicates += 1;
                input.immediate = true;
                return None;
            }
            Place::TooFar => {
                self.stats.drops.window += 1;
                input.immediate = true;
                return None;
            }
        }
        if !self.receiver.has_room(tsn, data.payload.len()) {
            self.stats.drops.window += 1;
            input.immediate = true;
            return None;
        }
        let Data {
            stream,
            ssn,
            ppid,
            unordered,
            begin,
            end,
            ..
        } = *data;
        if stream >= self.peer.inbound {
            // Acknowledged, but not taken (§6.5).
            let [high, low] = stream.to_be_bytes();
            self.report(cause::INVALID_STREAM, &[high, low, 0, 0]);
            self.stats.drops.stream += 1;
            if let Err(violation) = self.receiver.skip(tsn) {
                self.violate(violation);
            }
            return None;
        }
        Some((
            Fragment {
                tsn,
                meta: Meta {
                    stream,
                    ssn,
                    ppid,
                    unordered,
                },
                begin,
                end,
            },
            place,
        ))
    }

    /// Decides when the DATA of a packet is acknowledged (§6.2).
    fn received_data(&mut self, immediate: bool) {
        self.active = true;
        self.sacking.packets = self.sacking.packets.saturating_add(1);
        if self.sacking.early > 0 {
            self.sacking.early -= 1;
            self.sacking.due = true;
        } else if immediate || self.sacking.packets >= 2 {
            self.sacking.due = true;
        } else if !self.timers.is_set(Timer::Sack as usize) {
            self.arm(Timer::Sack, self.config.sack_delay);
        }
        if self.state == State::ShutdownSent {
            self.sacking.due = true;
            self.pending.shutdown = true;
        }
    }

    /// What any packet may have set off.
    fn after_input(&mut self) {
        for stream in std::mem::take(&mut self.receiver.too_large) {
            self.events.push_back(Event::MessageTooLarge { stream });
        }
        self.finish_deferred_reset();
        self.account_given_up();
        self.continue_shutdown();
        if self.active && !self.timers.is_set(Timer::Shrink as usize) {
            self.arm(Timer::Shrink, super::timer::SHRINK_AFTER);
        }
    }

    fn handle_forward_tsn(&mut self, forward: &ForwardTsn<'_>) -> Flow {
        self.sacking.due = true;
        let to = self.receiver.tsns.extend(forward.new_cumulative_tsn);
        if to <= self.receiver.tsns.cumulative() {
            return Flow::Go;
        }
        let limit = self.peer.inbound;
        let skips = forward.entries().filter(|&(stream, _)| stream < limit);
        match self.receiver.forward(to, skips) {
            Ok(()) => Flow::Go,
            Err(violation) => {
                self.violate(violation);
                Flow::Stop
            }
        }
    }

    fn handle_sack(&mut self, sack: &Sack<'_>) {
        self.stats.sacks_received += 1;
        let flight = self.outstanding.flight();
        let max_chunk = self.congestion.max_chunk();
        let acked = self.outstanding.acknowledge(
            sack.cumulative_tsn,
            sack.gaps(),
            max_chunk,
            self.congestion.in_recovery(),
            self.now,
        );
        let Some(acked) = acked else {
            self.stats.drops.sacks += 1;
            return;
        };
        self.active = true;
        if let Some(rtt) = acked.rtt {
            self.rto.sample(rtt);
        }
        self.peer_window_closed = (sack.a_rwnd as usize) < max_chunk;
        let window = (sack.a_rwnd as usize).saturating_sub(self.outstanding.flight());
        if window > self.peer_window && self.queue.is_parked() {
            self.timers.stop(Timer::Window as usize);
            self.window_probes = 0;
        }
        self.peer_window = window;
        self.peer_window_size = self.peer_window_size.max(sack.a_rwnd as usize);
        self.queue.unpark();
        // A peer whose window is closed answers probes without taking them: it lives (§6.1).
        if acked.bytes > 0 || acked.advanced || self.peer_window_closed {
            self.errors = 0;
        }
        if acked.advanced {
            let limited = self.window_limited;
            self.congestion
                .acknowledged(sack.cumulative_tsn, acked.bytes, flight, limited);
            self.window_limited = false;
        }
        if acked.loss {
            let highest = self.outstanding.next_tsn().wrapping_sub(1);
            if self.congestion.lost(highest) {
                self.stats.fast_recoveries += 1;
                self.fast_retransmit = true;
            }
        }
        self.burst = self.config.max_burst;
        if self.outstanding.is_empty() {
            self.congestion.drained();
            self.timers.stop(Timer::Retransmit as usize);
        } else if acked.advanced {
            self.arm(Timer::Retransmit, self.rto.current());
        }
        self.plan_forward(acked.advanced);
        self.finish_drained();
    }

    /// Everything up to `cumulative` came, says a SHUTDOWN.
    pub(super) fn acknowledge_shutdown(&mut self, cumulative: u32) {
        let empty: [(u16, u16); 0] = [];
        let max_chunk = self.congestion.max_chunk();
        let now = self.now;
        let gaps = empty.into_iter();
        if self
            .outstanding
            .acknowledge(cumulative, gaps, max_chunk, false, now)
            .is_none()
        {
            self.stats.drops.sacks += 1;
        }
        if self.outstanding.is_empty() {
            self.timers.stop(Timer::Retransmit as usize);
        }
    }

    fn handle_heartbeat_ack(&mut self, info: &[u8]) {
        let Some((nonce, sent)) = self.heartbeat else {
            return;
        };
        if info.get(4..) == Some(&nonce.to_be_bytes()) {
            self.heartbeat = None;
            self.errors = 0;
            self.rto.sample(self.now.saturating_duration_since(sent));
            self.arm_heartbeat();
        }
    }

    fn handle_abort(&mut self, causes: &[u8]) {
        const SHOWN: usize = 256;
        let (cause, value) = Causes::new(causes).next().unwrap_or((0, &[]));
        let info = String::from_utf8_lossy(value.get(..SHOWN).unwrap_or(value)).into_owned();
        trace!(cause, info, "peer aborts");
        self.end(Event::Aborted {
            reason: AbortReason::ByPeer { cause, info },
        });
    }

    fn violate(&mut self, violation: Violation) {
        self.fail(cause::PROTOCOL_VIOLATION, violation.0);
    }
}

/// Cuts `start..end` out of a packet as its own buffer, and leaves what follows with its padding.
fn cut(packet: &mut BytesMut, start: usize, end: usize) -> BytesMut {
    let next = padded(end - start) + start;
    let mut payload = if next < packet.len() {
        packet.split_to(next)
    } else {
        std::mem::take(packet)
    };
    payload.truncate(end);
    payload.advance(start);
    payload
}

/// Payloads up to this length are copied, so that a short one does not keep a datagram alive.
const COPIED: usize = 256;
const MAX_CAUSES: usize = 16;
