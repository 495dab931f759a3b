//! Stream reset (RFC 6525), by which data channels close (RFC 8831 §6.7).
//!
//! Our direction of a stream is reset by a request that goes out once everything queued on it was
//! sent; the peer's by a request of its own. An id is free again when both have happened. One
//! request of ours is out at a time. It waits as well until no FORWARD-TSN can name the stream any
//! more: one that is overtaken by the reset would skip messages from after it. The answer "in
//! progress" is not final: the peer still misses TSNs from before the request. Stacks differ in whether the repeated request keeps its number,
//! so we ask once more with the same number and then with new ones, and take either from the peer.

use std::collections::BTreeSet;

use super::Association;
use super::timer::Timer;
use crate::api::{Event, ResetOutcome, State};
use crate::send::Phase;
use crate::wire::{
    CHUNK_HEADER_LEN, Chunk, HEADER_LEN, Reconfig, ReconfigParameter, StreamList, reset_result,
};

/// Both directions' requests.
#[derive(Debug)]
pub(super) struct Reset {
    /// Number of our next request.
    next_request: u32,
    /// Number of the peer's next request.
    peer_next: u32,
    /// Streams whose queued messages go first.
    draining: Vec<u16>,
    /// Streams that wait for a request.
    waiting: Vec<u16>,
    /// Streams that are not open for sending.
    closing: usize,
    current: Option<Box<Request>>,
    /// Answers to be written.
    responses: Vec<(u32, u32)>,
    /// Result of the peer's last request.
    last_result: u32,
    /// The peer's last request waits for TSNs.
    deferred: bool,
    /// Such a request that was then done: the peer may ask again under a new number.
    done_late: Option<(u32, Vec<u16>)>,
    /// Streams that the peer has reset and we have not.
    peer_reset: BTreeSet<u16>,
}

/// Our request that is out.
#[derive(Debug)]
struct Request {
    streams: Vec<u16>,
    number: u32,
    last_tsn: u32,
    /// Answers "in progress" so far.
    deferrals: u32,
    /// The last thing heard was such an answer.
    deferred: bool,
    /// It is to be written.
    send: bool,
}

impl Reset {
    /// Request numbers start at the initial TSNs (RFC 6525 §4.1).
    pub(super) fn new(local_tsn: u32, peer_tsn: u32) -> Self {
        Self {
            next_request: local_tsn,
            peer_next: peer_tsn,
            draining: Vec::new(),
            waiting: Vec::new(),
            closing: 0,
            current: None,
            responses: Vec::new(),
            last_result: reset_result::NOTHING_TO_DO,
            deferred: false,
            done_late: None,
            peer_reset: BTreeSet::new(),
        }
    }

    pub(super) fn expect(&mut self, peer_tsn: u32) {
        self.peer_next = peer_tsn;
    }

    #[inline]
    pub(super) fn may_be_closing(&self) -> bool {
        self.closing > 0
    }

    fn respond(&mut self, number: u32, result: u32) {
        const MAX_RESPONSES: usize = 4;
        if self.responses.len() < MAX_RESPONSES {
            self.responses.push((number, result));
        }
    }
}

impl Association {
    /// Resets our direction of a stream after what is queued on it was sent. The stream takes no
    /// more messages until the peer has reset its direction too.
    /// [`Event::OutgoingReset`] tells when it is done.
    pub fn reset_stream(&mut self, stream: u16) {
        if self.ended
            || stream >= self.max_outbound_streams()
            || self.queue.phase(stream) != Phase::Open
        {
            return;
        }
        self.queue.set_phase(stream, Phase::Draining);
        self.reset.closing += 1;
        self.reset.draining.push(stream);
        self.finish_drained();
    }

    /// Moves streams on whose last queued message was sent.
    #[inline]
    pub(super) fn finish_drained(&mut self) {
        if !self.reset.draining.is_empty() {
            self.request_drained();
        }
    }

    fn request_drained(&mut self) {
        let open = self.outstanding.open_stream();
        let outstanding = &self.outstanding;
        let queue = &mut self.queue;
        self.reset
            .waiting
            .extend(self.reset.draining.extract_if(.., |&mut id| {
                let drained = open != Some(id) && queue.is_drained(id) && !outstanding.may_skip(id);
                if drained {
                    queue.set_phase(id, Phase::Requested);
                }
                drained
            }));
        if !matches!(
            self.state,
            State::Closed | State::CookieWait | State::CookieEchoed
        ) {
            self.start_waiting_resets();
        }
    }

    /// Closes streams on this side alone when the peer does not know RE-CONFIG.
    pub(super) fn start_waiting_resets(&mut self) {
        if self.peer.reconfig || self.reset.waiting.is_empty() {
            return;
        }
        let streams = std::mem::take(&mut self.reset.waiting);
        for &stream in &streams {
            self.queue.remove(stream);
            self.reset.peer_reset.remove(&stream);
            self.reset.closing -= 1;
        }
        let outcome = ResetOutcome::Unsupported;
        self.events
            .push_back(Event::OutgoingReset { streams, outcome });
    }

    pub(super) fn wants_reconfig(&self) -> bool {
        let reset = &self.reset;
        let request = match &reset.current {
            Some(request) => request.send,
            None => !reset.waiting.is_empty() && self.peer.reconfig,
        };
        (request || !reset.responses.is_empty())
            && matches!(
                self.state,
                State::Established | State::ShutdownPending | State::ShutdownReceived
            )
    }

    pub(super) fn write_reconfig(&mut self, buf: &mut Vec<u8>, end: usize) {
        self.make_request();
        let list: Vec<u8> = match &self.reset.current {
            Some(request) if request.send => request
                .streams
                .iter()
                .flat_map(|stream| stream.to_be_bytes())
                .collect(),
            _ => Vec::new(),
        };
        loop {
            let response = self.reset.responses.first().map(|&(response, result)| {
                ReconfigParameter::Response {
                    response,
                    result,
                    next_tsns: None,
                }
            });
            let current = self.reset.current.as_ref().filter(|request| request.send);
            let request = current
                .zip(StreamList::new(&list).ok())
                .map(|(request, streams)| ReconfigParameter::OutgoingReset {
                    request: request.number,
                    response: self.reset.peer_next.wrapping_sub(1),
                    last_tsn: request.last_tsn,
                    streams,
                });
            let start = buf.len();
            let chunk = match (response, request) {
                (Some(first), second) => Reconfig { first, second },
                (None, Some(first)) => Reconfig {
                    first,
                    second: None,
                },
                (None, None) => return,
            };
            Chunk::Reconfig(chunk).write(buf);
            let mut both = response.is_some() && request.is_some();
            if buf.len() > end && both {
                buf.truncate(start);
                let Some(first) = response else { return };
                Chunk::Reconfig(Reconfig {
                    first,
                    second: None,
                })
                .write(buf);
                both = false;
            }
            if buf.len() > end {
                buf.truncate(start);
                return;
            }
            if response.is_some() {
                self.reset.responses.remove(0);
            }
            if (both || response.is_none())
                && let Some(request) = &mut self.reset.current
            {
                request.send = false;
                self.arm(Timer::Reconfig, self.rto.current());
            }
        }
    }

    fn make_request(&mut self) {
        let reset = &mut self.reset;
        if reset.current.is_some() || reset.waiting.is_empty() || !self.peer.reconfig {
            return;
        }
        // A response may go into the same chunk.
        let room = self.config.max_packet_size - HEADER_LEN - CHUNK_HEADER_LEN - 16 - 12;
        let count = reset.waiting.len().min(room / 2);
        let number = reset.next_request;
        reset.next_request = number.wrapping_add(1);
        reset.current = Some(Box::new(Request {
            streams: reset.waiting.drain(..count).collect(),
            number,
            last_tsn: self.outstanding.next_tsn().wrapping_sub(1),
            deferrals: 0,
            deferred: false,
            send: true,
        }));
    }

    pub(super) fn handle_reconfig(&mut self, reconfig: &Reconfig<'_>) {
        for parameter in [Some(reconfig.first), reconfig.second]
            .into_iter()
            .flatten()
        {
            match parameter {
                ReconfigParameter::Response {
                    response, result, ..
                } => {
                    self.handle_reset_response(response, result);
                }
                ReconfigParameter::OutgoingReset {
                    request,
                    last_tsn,
                    streams,
                    ..
                } => {
                    if self.is_due(request) {
                        let result = self.handle_reset_request(last_tsn, streams);
                        self.answer(request, result);
                    }
                }
                ReconfigParameter::AddOutgoing { request, streams } => {
                    if self.is_due(request) {
                        let result = match self.peer.inbound.checked_add(streams) {
                            Some(count) if count <= self.config.max_streams => {
                                self.peer.inbound = count;
                                reset_result::PERFORMED
                            }
                            _ => reset_result::DENIED,
                        };
                        self.answer(request, result);
                    }
                }
                ReconfigParameter::IncomingReset { request, .. }
                | ReconfigParameter::TsnReset { request }
                | ReconfigParameter::AddIncoming { request, .. } => {
                    if self.is_due(request) {
                        self.answer(request, reset_result::DENIED);
                    }
                }
            }
        }
    }

    /// Whether a request is to be worked on; otherwise it is answered here (RFC 6525 §5.2.1).
    fn is_due(&mut self, number: u32) -> bool {
        let reset = &mut self.reset;
        if number == reset.peer_next {
            return true;
        }
        if number == reset.peer_next.wrapping_sub(1) {
            if reset.deferred {
                return true;
            }
            reset.respond(number, reset.last_result);
        } else {
            reset.respond(number, reset_result::BAD_SEQUENCE_NUMBER);
        }
        false
    }

    fn answer(&mut self, number: u32, result: u32) {
        self.reset.peer_next = number.wrapping_add(1);
        self.reset.last_result = result;
        self.reset.deferred = result == reset_result::IN_PROGRESS;
        self.reset.respond(number, result);
    }

    fn handle_reset_request(&mut self, last_tsn: u32, streams: StreamList<'_>) -> u32 {
        if streams.iter().any(|stream| stream >= self.peer.inbound) {
            return reset_result::WRONG_SSN;
        }
        let mut ids: Vec<u16> = streams.iter().collect();
        ids.sort_unstable();
        ids.dedup();
        if let Some((tsn, done)) = self.reset.done_late.take()
            && tsn == last_tsn
            && done == ids
        {
            return reset_result::PERFORMED;
        }
        let last = self.receiver.tsns.extend(last_tsn);
        if last > self.receiver.tsns.cumulative() {
            self.receiver.defer_reset(last, ids);
            return reset_result::IN_PROGRESS;
        }
        self.perform_reset(ids);
        reset_result::PERFORMED
    }

    /// Does the peer's deferred reset once all TSNs before it have come, and tells the peer without
    /// waiting to be asked.
    pub(super) fn finish_deferred_reset(&mut self) {
        if !self.reset.deferred {
            return;
        }
        let Some((last_tsn, ids)) = self.receiver.take_due_reset() else {
            return;
        };
        self.reset.done_late = Some((last_tsn, ids.clone()));
        self.perform_reset(ids);
        let number = self.reset.peer_next.wrapping_sub(1);
        self.answer(number, reset_result::PERFORMED);
    }

    fn perform_reset(&mut self, mut streams: Vec<u16>) {
        if streams.is_empty() {
            streams = self.receiver.stream_ids();
        }
        self.receiver.reset_streams(&streams);
        for &stream in &streams {
            if self.queue.phase(stream) == Phase::Reset {
                self.queue.remove(stream);
                self.reset.closing -= 1;
            } else {
                self.reset.peer_reset.insert(stream);
            }
        }
        if !streams.is_empty() {
            self.events.push_back(Event::StreamsReset { streams });
        }
    }

    fn handle_reset_response(&mut self, number: u32, result: u32) {
        let Some(request) = &mut self.reset.current else {
            return;
        };
        // What is said about an older number may have been overtaken: the peer has yet to take the
        // latest one, or the next request would come out of sequence.
        if number != request.number {
            return;
        }
        self.errors = 0;
        let outcome = match result {
            reset_result::NOTHING_TO_DO | reset_result::PERFORMED => ResetOutcome::Done,
            reset_result::IN_PROGRESS => {
                self.defer_request();
                return;
            }
            // It is the request before this one that is worked on.
            reset_result::ALREADY_IN_PROGRESS if request.deferrals < MAX_BUSY => {
                self.defer_request();
                return;
            }
            _ => ResetOutcome::Denied,
        };
        self.timers.stop(Timer::Reconfig as usize);
        let Some(request) = self.reset.current.take() else {
            return;
        };
        for &stream in &request.streams {
            match outcome {
                ResetOutcome::Done if !self.reset.peer_reset.remove(&stream) => {
                    self.queue.reset_ssn(stream);
                    self.queue.set_phase(stream, Phase::Reset);
                }
                ResetOutcome::Done => {
                    self.queue.remove(stream);
                    self.reset.closing -= 1;
                }
                _ => {
                    self.queue.set_phase(stream, Phase::Open);
                    self.reset.closing -= 1;
                }
            }
        }
        self.events.push_back(Event::OutgoingReset {
            streams: request.streams,
            outcome,
        });
    }

    /// The peer asks to be asked again.
    fn defer_request(&mut self) {
        if let Some(request) = &mut self.reset.current
            && !std::mem::replace(&mut request.deferred, true)
        {
            request.deferrals = request.deferrals.saturating_add(1);
            request.send = false;
            self.arm(Timer::Reconfig, self.rto.current());
        }
    }

    /// The re-configuration timer expired (RFC 6525 §5.1.1, step C4).
    pub(super) fn repeat_reset(&mut self) {
        let Some(request) = &mut self.reset.current else {
            return;
        };
        request.send = true;
        if std::mem::take(&mut request.deferred) {
            if request.deferrals >= 2 {
                request.number = self.reset.next_request;
                self.reset.next_request = self.reset.next_request.wrapping_add(1);
            }
            return;
        }
        self.rto.back_off();
        self.count_error();
    }
}

/// Answers "already in progress" taken before the request counts as denied.
const MAX_BUSY: u32 = 16;
