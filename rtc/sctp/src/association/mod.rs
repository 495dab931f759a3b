//! One association: its state and what an application does with it.

mod close;
mod handshake;
mod input;
mod output;
mod reset;
mod timer;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_shared::{Rng, TimerTable};

use self::output::Pending;
use self::reset::Reset;
use crate::api::{Event, Message, Reliability, SendError, SendOptions, State, Stats};
use crate::config::Config;
use crate::congestion::{Congestion, Rto};
use crate::cookie::Key;
use crate::receive::Receiver;
use crate::send::{Lifetime, Outstanding, Phase, Queued, SendQueue};

/// An SCTP association with one peer.
///
/// It does no input or output and knows no clock. It is driven by calls:
///
/// * **Handlers** take what happened: [`handle_packet`](Self::handle_packet) and
///   [`handle_timeout`](Self::handle_timeout). The time given must not go back; earlier times
///   count as the latest seen.
/// * **Commands** are the application's: [`connect`](Self::connect), [`send`](Self::send),
///   [`reset_stream`](Self::reset_stream), [`shutdown`](Self::shutdown), [`abort`](Self::abort),
///   and [`read`](Self::read), which opens the receive window.
/// * **Polls** come after handlers and commands, in any order, until they give `None`:
///   [`poll_event`](Self::poll_event), [`poll_transmit`](Self::poll_transmit),
///   [`poll_timeout`](Self::poll_timeout). A batch of packets handled before one round of
///   `poll_transmit` costs one SACK.
/// * The rest are getters.
///
/// In WebRTC both sides call `connect` once DTLS is up. Every association that was set up or tried
/// ends with exactly one of [`Event::Closed`] and [`Event::Aborted`]; an ended one stays so, while
/// messages that had come can still be read.
#[derive(Debug)]
pub struct Association {
    config: Config,
    state: State,
    ended: bool,
    /// The latest time seen.
    now: Instant,
    /// The time of construction, from which cookies count.
    epoch: Instant,
    key: Key,
    draws: u64,
    local_tag: u32,
    local_tsn: u32,
    peer_tag: u32,
    peer: Peer,
    /// The peer's cookie while it is to be echoed.
    cookie: Vec<u8>,
    setup_attempts: u32,
    timers: TimerTable<{ timer::COUNT }>,
    rto: Rto,
    congestion: Congestion,
    queue: SendQueue,
    outstanding: Outstanding,
    receiver: Receiver,
    /// What the peer's window leaves, bytes.
    peer_window: usize,
    /// The whole of it: the largest that it was seen to be.
    peer_window_size: usize,
    /// Questions after the peer's window since it last opened.
    window_probes: u32,
    /// The peer's last SACK left no room for a full chunk.
    peer_window_closed: bool,
    sacking: Sacking,
    reset: Reset,
    pending: Pending,
    events: VecDeque<Event>,
    /// Consecutive timeouts without a sign of the peer.
    errors: u32,
    /// The heartbeat that waits for its answer: nonce and time.
    heartbeat: Option<(u64, Instant)>,
    last_data: Instant,
    /// DATA packets that may go before the next SACK (Max.Burst).
    burst: Option<u16>,
    /// The last FORWARD-TSN: its cumulative TSN and time.
    forwarded: Option<(u32, Instant)>,
    /// The congestion window held data back since the last SACK.
    window_limited: bool,
    /// One packet of retransmissions may go whatever the congestion window says (§7.2.4).
    fast_retransmit: bool,
    /// The next DATA chunk asks for a SACK at once.
    ask_sack: bool,
    /// Data moved since the last look at idle memory.
    active: bool,
    stats: Stats,
}

/// What the peer's INIT or INIT ACK told.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    reconfig: bool,
    zero_checksum: bool,
    /// Streams that we may send on.
    outbound: u16,
    /// Streams that the peer may send on.
    inbound: u16,
}

/// When the next SACK is due (§6.2).
#[derive(Clone, Copy, Debug)]
struct Sacking {
    due: bool,
    /// Packets with DATA since the last SACK.
    packets: u8,
    /// How many of the first packets are still acknowledged at once, for a fast start.
    early: u8,
    /// `a_rwnd` of the last SACK.
    advertised: usize,
}

impl Sacking {
    fn new(window: usize) -> Self {
        Self {
            due: false,
            packets: 0,
            early: EARLY_SACKS,
            advertised: window,
        }
    }
}

impl Association {
    /// A closed association. It answers the peer's INIT at once; [`connect`](Self::connect) sends
    /// one of its own.
    #[must_use]
    pub fn new(config: Config, now: Instant, mut rng: Rng) -> Self {
        let tag = loop {
            let tag = rng.u32();
            if tag != 0 {
                break tag;
            }
        };
        let tsn = rng.u32();
        Self::with_counters(config, now, Key::new(rng.array()), tag, tsn)
    }

    fn with_counters(config: Config, now: Instant, key: Key, tag: u32, tsn: u32) -> Self {
        let config = config.sanitised();
        Self {
            state: State::Closed,
            ended: false,
            now,
            epoch: now,
            key,
            draws: 0,
            local_tag: tag,
            local_tsn: tsn,
            peer_tag: 0,
            peer: Peer::default(),
            cookie: Vec::new(),
            setup_attempts: 0,
            timers: TimerTable::default(),
            rto: Rto::new(&config),
            congestion: Congestion::new(&config),
            queue: SendQueue::new(),
            outstanding: Outstanding::new(tsn),
            receiver: Receiver::new(&config, 0),
            peer_window: 0,
            peer_window_size: 0,
            window_probes: 0,
            peer_window_closed: false,
            sacking: Sacking::new(config.receive_window),
            reset: Reset::new(tsn, 0),
            pending: Pending::default(),
            events: VecDeque::new(),
            errors: 0,
            heartbeat: None,
            last_data: now,
            burst: config.max_burst,
            forwarded: None,
            window_limited: false,
            fast_retransmit: false,
            ask_sack: false,
            active: false,
            stats: Stats::default(),
            config,
        }
    }

    /// Tells whether [`send`](Self::send) would take a message of `length` bytes now, so that one
    /// that it would not take can be kept. When the buffer is full, [`Event::Writable`] follows as
    /// after a refused `send`.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn check_send(&mut self, stream: u16, length: usize) -> Result<(), SendError> {
        match self.state {
            State::Closed if self.ended => return Err(SendError::Closed),
            State::Closed | State::CookieWait | State::CookieEchoed | State::Established => {}
            _ => return Err(SendError::Closed),
        }
        if stream >= self.max_outbound_streams() {
            return Err(SendError::InvalidStream);
        }
        if length == 0 {
            return Err(SendError::Empty);
        }
        if length > self.config.max_send_message {
            return Err(SendError::TooLarge {
                max: self.config.max_send_message,
            });
        }
        if self.reset.may_be_closing() && self.queue.phase(stream) != Phase::Open {
            return Err(SendError::StreamClosing);
        }
        let (total, own) = (self.config.send_buffer, self.config.stream_send_buffer);
        if self.queue.has_room(stream, length, total, own) {
            return Ok(());
        }
        // What waits beyond its lifetime must not keep newer messages out.
        for stream in self.queue.purge_expired(self.now) {
            self.events.push_back(Event::BufferedAmountLow { stream });
        }
        self.stats.abandoned += self.queue.take_purged();
        if self.queue.has_room(stream, length, total, own) {
            Ok(())
        } else {
            Err(SendError::BufferFull)
        }
    }

    /// Queues one message. Before the association is up it waits; messages sent before
    /// [`reset_stream`](Self::reset_stream) go out first.
    ///
    /// # Errors
    /// See [`SendError`]; nothing is queued then.
    pub fn send(
        &mut self,
        stream: u16,
        ppid: u32,
        payload: Bytes,
        options: SendOptions,
    ) -> Result<(), SendError> {
        self.check_send(stream, payload.len())?;
        let (max_retransmits, lifetime) = match options.reliability {
            Reliability::Reliable => (None, Lifetime::Unlimited),
            Reliability::MaxRetransmits(count) => (Some(count), Lifetime::Unlimited),
            Reliability::MaxLifetime(lifetime) => (None, Lifetime::Unstamped(lifetime)),
        };
        let unordered = options.unordered;
        let message = Queued {
            payload,
            ppid,
            unordered,
            max_retransmits,
            lifetime,
        };
        self.queue.push(stream, message);
        Ok(())
    }

    /// Changes the limit of [`Config::max_send_message`]; 0 means unlimited.
    pub fn set_max_send_message(&mut self, bytes: usize) {
        self.config.max_send_message = bytes;
        self.config = self.config.clone().sanitised();
    }

    /// Sets the share of a stream: 128, 256 (the default), 512 or 1024 by RFC 8831 §6.4, but any
    /// weight works.
    pub fn set_stream_priority(&mut self, stream: u16, priority: u16) {
        self.queue.set_priority(stream, priority);
    }

    /// Bytes of a stream that were queued and not yet handed to the network a first time.
    #[must_use]
    pub fn buffered_amount(&self, stream: u16) -> usize {
        self.queue.stream_buffered(stream)
    }

    /// [`Event::BufferedAmountLow`] tells when `buffered_amount` falls from above `bytes` to
    /// `bytes` or below. Default 0.
    pub fn set_buffered_amount_low_threshold(&mut self, stream: u16, bytes: usize) {
        self.queue.set_low_threshold(stream, bytes);
    }

    /// `buffered_amount` over all streams.
    #[must_use]
    pub fn total_buffered(&self) -> usize {
        self.queue.buffered()
    }

    /// True when every message that was given to [`send`](Self::send) has been acknowledged or
    /// given up.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.queue.buffered() == 0 && self.outstanding.is_empty()
    }

    /// Takes the oldest message over all streams.
    pub fn read(&mut self) -> Option<Message> {
        let stream = self.receiver.peek()?;
        self.read_stream(stream)
    }

    /// The stream of the message that [`read`](Self::read) gives next.
    #[must_use]
    pub fn peek_stream(&self) -> Option<u16> {
        self.receiver.peek()
    }

    /// Takes the oldest message of one stream.
    pub fn read_stream(&mut self, stream: u16) -> Option<Message> {
        let message = self.receiver.read_stream(stream)?;
        self.update_window();
        Some(message)
    }

    /// Takes the oldest message with the identifier of [`Config::control_ppid`]. Such messages are
    /// kept apart from the others, so that they need not wait until those are read.
    pub fn read_control(&mut self) -> Option<Message> {
        let message = self.receiver.read_control()?;
        self.update_window();
        Some(message)
    }

    /// A stream on which a message became readable since it was last given here; each is given
    /// once.
    pub fn poll_readable(&mut self) -> Option<u16> {
        self.receiver.poll_readable()
    }

    /// Bytes of whole messages that can be read from a stream.
    #[must_use]
    pub fn readable_bytes(&self, stream: u16) -> usize {
        self.receiver.readable(stream)
    }

    /// Nobody reads this stream any more: drops what is unread and what comes until the peer resets
    /// the stream, so that it does not fill the window of the others.
    pub fn discard_stream(&mut self, stream: u16) {
        self.receiver.discard(stream);
        self.update_window();
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.events.shrink_to(8);
        }
        event
    }

    /// Where the association is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// True once the association has ended for good.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Streams that can be sent on: what was negotiated, or what we offer as long as nothing is.
    /// Valid ids are below it.
    #[must_use]
    pub fn max_outbound_streams(&self) -> u16 {
        match self.peer.outbound {
            0 => self.config.max_streams,
            negotiated => negotiated,
        }
    }

    /// Streams that the peer may send on: what was negotiated, or what we offer.
    #[must_use]
    pub fn max_inbound_streams(&self) -> u16 {
        match self.peer.inbound {
            0 => self.config.max_streams,
            negotiated => negotiated,
        }
    }

    /// Smoothed round-trip time, once measured.
    #[must_use]
    pub fn smoothed_rtt(&self) -> Option<Duration> {
        self.rto.smoothed()
    }

    /// Counters and measurements.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        let counters = self.receiver.counters;
        stats.congestion_window = self.congestion.window();
        stats.slow_start_threshold = self.congestion.threshold();
        stats.bytes_in_flight = self.outstanding.flight();
        stats.peer_window = self.peer_window;
        stats.smoothed_rtt = self.rto.smoothed();
        stats.rto = self.rto.current();
        stats.abandoned += self.outstanding.abandoned_messages;
        stats.messages_received = counters.messages;
        stats.message_bytes_received = counters.bytes;
        stats.drops.orphans = counters.orphans;
        stats
    }

    /// Tells the peer of a window that has grown by much since it was last told of a small one;
    /// small steps would make it send small chunks (silly window syndrome, §6.2).
    fn update_window(&mut self) {
        let size = self.receiver.window_size();
        if self.sacking.advertised >= size / 2 || self.sacking.due {
            return;
        }
        let grown = self
            .receiver
            .window()
            .saturating_sub(self.sacking.advertised);
        if grown >= (size / 4).max(self.congestion.max_chunk()) && self.takes_data() {
            self.sacking.due = true;
        }
    }

    /// Takes the time in; it never goes back.
    fn clock(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        if self.queue.needs_stamp() {
            self.queue.stamp(self.now);
        }
        self.now
    }

    /// A random number.
    fn draw(&mut self) -> u64 {
        self.draws += 1;
        self.key.mac(&self.draws.to_be_bytes())
    }
}

/// Packets acknowledged at once at the start.
const EARLY_SACKS: u8 = 8;

#[cfg(test)]
#[path = "../tests/mod.rs"]
mod tests;
