//! Setting the association up (RFC 9260 §5): four ways, from both sides at once, and again after
//! the peer lost its state.

use std::time::{Duration, Instant};

use super::timer::Timer;
use super::{Association, Peer, Sacking};
use crate::api::{AbortReason, Event, State};
use crate::congestion::{Congestion, Rto};
use crate::cookie::{Cookie, PeerInit};
use crate::receive::Receiver;
use crate::send::{Outstanding, SendQueue};
use crate::wire::{
    Capabilities, Chunk, Init, Parameter, ParseError, RawChunk, cause, kind, put_cause,
    put_parameter,
};

use super::reset::Reset;

impl Association {
    /// Starts the set-up. Does nothing when it has begun already.
    pub fn connect(&mut self, now: Instant) {
        self.clock(now);
        if self.state == State::Closed && !self.ended {
            self.state = State::CookieWait;
            self.pending.init = true;
        }
    }

    /// Our INIT as a bare chunk, without padding and common header, for a set-up by signalling
    /// ([`connect_with_init`](Self::connect_with_init)).
    #[must_use]
    pub fn local_init(&self) -> Vec<u8> {
        let parameters = self.parameters(None, &[]);
        let mut out = Vec::new();
        Chunk::Init(self.init(self.local_tag, self.local_tsn, &parameters)).write(&mut out);
        out.truncate(4 + 16 + parameters.len());
        out
    }

    /// Sets the association up at once from the peer's INIT, which signalling carried as ours to
    /// the peer; no packet is needed.
    ///
    /// # Errors
    /// [`ParseError`] when it is not a valid INIT, or the set-up has begun already.
    pub fn connect_with_init(&mut self, now: Instant, init: &[u8]) -> Result<(), ParseError> {
        self.clock(now);
        let (raw, rest) = RawChunk::split(init)?;
        let Chunk::Init(init) = Chunk::parse(raw)? else {
            return Err(ParseError::Value);
        };
        let capabilities = Capabilities::parse(init.parameters)?;
        if self.state != State::Closed || self.ended || !rest.is_empty() || !acceptable(&init) {
            return Err(ParseError::Value);
        }
        self.adopt(&peer_init(&init, &capabilities));
        self.establish();
        Ok(())
    }

    pub(super) fn handle_init(&mut self, value: &[u8]) {
        let Ok(Chunk::Init(init)) = Chunk::parse(RawChunk {
            kind: kind::INIT,
            flags: 0,
            value,
        }) else {
            self.stats.drops.malformed += 1;
            return;
        };
        if init.initiate_tag == 0 {
            self.stats.drops.malformed += 1;
            return;
        }
        let capabilities = match Capabilities::parse(init.parameters) {
            Ok(capabilities) if acceptable(&init) && !capabilities.host_name => capabilities,
            Ok(capabilities) => {
                let code = match capabilities.host_name {
                    true => cause::UNRESOLVABLE_ADDRESS,
                    false => cause::INVALID_PARAMETER,
                };
                self.reply_abort(init.initiate_tag, code, &[]);
                return;
            }
            Err(_) => {
                self.stats.drops.malformed += 1;
                return;
            }
        };
        if self.ended {
            self.reply_abort(init.initiate_tag, cause::USER_ABORT, &[]);
            return;
        }
        let (tag, tsn, tie_local, tie_peer) = match self.state {
            State::Closed | State::CookieWait => (self.local_tag, self.local_tsn, 0, 0),
            State::CookieEchoed => (
                self.local_tag,
                self.local_tsn,
                self.local_tag,
                self.peer_tag,
            ),
            State::ShutdownAckSent => {
                self.pending.shutdown_ack = true;
                return;
            }
            // The peer may have lost its state (§5.2.2): a new tag tells whether the COOKIE ECHO
            // belongs to this answer.
            _ => {
                let random = self.draw();
                let tag = ((random >> 32) as u32).max(1);
                (tag, random as u32, self.local_tag, self.peer_tag)
            }
        };
        let cookie = Cookie {
            created_ms: self.age_ms(),
            local_tag: tag,
            local_tsn: tsn,
            tie_local,
            tie_peer,
            peer: peer_init(&init, &capabilities),
        };
        let cookie = cookie.seal(self.key);
        let parameters = self.parameters(Some(&cookie), &capabilities.unrecognized);
        let mut chunk = Vec::new();
        Chunk::InitAck(self.init(tag, tsn, &parameters)).write(&mut chunk);
        self.reply(init.initiate_tag, chunk);
    }

    pub(super) fn handle_init_ack(&mut self, init: &Init<'_>) {
        if self.state != State::CookieWait {
            self.stats.drops.unexpected += 1;
            return;
        }
        let Ok(capabilities) = Capabilities::parse(init.parameters) else {
            self.stats.drops.malformed += 1;
            return;
        };
        if init.initiate_tag == 0 || !acceptable(init) {
            self.peer_tag = init.initiate_tag;
            self.fail(cause::INVALID_PARAMETER, "INIT ACK has invalid values");
            return;
        }
        let Some(cookie) = capabilities.cookie.filter(|cookie| !cookie.is_empty()) else {
            // One missing parameter: the state cookie.
            const MISSING: [u8; 6] = [0, 0, 0, 1, 0, 7];
            self.peer_tag = init.initiate_tag;
            self.reply_abort(init.initiate_tag, cause::MISSING_PARAMETER, &MISSING);
            self.end(Event::Aborted {
                reason: AbortReason::ProtocolViolation("INIT ACK has no cookie"),
            });
            return;
        };
        if cookie.len() + 4 + crate::wire::HEADER_LEN > self.config.max_packet_size {
            self.peer_tag = init.initiate_tag;
            self.fail(cause::PROTOCOL_VIOLATION, "cookie does not fit a packet");
            return;
        }
        self.cookie = cookie.to_vec();
        self.adopt(&peer_init(init, &capabilities));
        self.state = State::CookieEchoed;
        self.setup_attempts = 0;
        self.pending.init = false;
        self.pending.cookie_echo = true;
        self.timers.stop(Timer::Setup as usize);
    }

    /// Takes a cookie in by the table of §5.2.4. True when what follows in the packet belongs to
    /// the association.
    pub(super) fn handle_cookie_echo(&mut self, tag: u32, wire: &[u8]) -> bool {
        let cookie = Cookie::open(self.key, wire).filter(|cookie| cookie.local_tag == tag);
        let Some(cookie) = cookie.filter(|_| !self.ended) else {
            self.stats.drops.cookie += 1;
            return false;
        };
        let local_matches = cookie.local_tag == self.local_tag;
        let peer_matches = cookie.peer.tag == self.peer_tag;
        let age = Duration::from_millis(self.age_ms().saturating_sub(cookie.created_ms));
        if age > self.config.cookie_lifetime && !(local_matches && peer_matches) {
            self.stats.drops.cookie += 1;
            let staleness = (age - self.config.cookie_lifetime).as_micros();
            let staleness = u32::try_from(staleness).unwrap_or(u32::MAX);
            let mut causes = Vec::new();
            put_cause(&mut causes, cause::STALE_COOKIE, &staleness.to_be_bytes());
            let mut chunk = Vec::new();
            Chunk::Error { causes: &causes }.write(&mut chunk);
            self.reply(cookie.peer.tag, chunk);
            return false;
        }
        match self.state {
            State::Closed | State::CookieWait if local_matches => {
                self.adopt(&cookie.peer);
                self.establish();
            }
            // D: our COOKIE ACK was lost, or both sides set up at once.
            State::CookieEchoed if local_matches && peer_matches => self.establish(),
            _ if local_matches && peer_matches => {}
            // B: both sides set up at once and the peer's INIT overtook its INIT ACK.
            State::CookieEchoed if local_matches => {
                self.adopt(&cookie.peer);
                self.establish();
            }
            State::Established
            | State::ShutdownPending
            | State::ShutdownSent
            | State::ShutdownReceived
            | State::CookieEchoed
                if !local_matches
                    && !peer_matches
                    && cookie.tie_local == self.local_tag
                    && cookie.tie_peer == self.peer_tag =>
            {
                self.restart(&cookie);
            }
            State::ShutdownAckSent if !local_matches && !peer_matches => {
                self.pending.shutdown_ack = true;
                let mut causes = Vec::new();
                put_cause(&mut causes, cause::COOKIE_WHILE_SHUTTING_DOWN, &[]);
                let mut chunk = Vec::new();
                Chunk::Error { causes: &causes }.write(&mut chunk);
                self.queue_control(chunk);
                return false;
            }
            // C, and anything else: an old cookie.
            _ => {
                self.stats.drops.cookie += 1;
                return false;
            }
        }
        self.pending.cookie_ack = true;
        true
    }

    pub(super) fn handle_cookie_ack(&mut self) {
        if self.state == State::CookieEchoed {
            self.establish();
        } else {
            self.stats.drops.unexpected += 1;
        }
    }

    /// The peer found our cookie too old: ask for a new one.
    pub(super) fn handle_stale_cookie(&mut self) {
        if self.state != State::CookieEchoed {
            return;
        }
        self.setup_attempts += 1;
        if self
            .config
            .max_init_retransmits
            .is_some_and(|max| self.setup_attempts > max)
        {
            self.end(Event::Aborted {
                reason: AbortReason::Timeout,
            });
            return;
        }
        self.outstanding.time_out();
        self.state = State::CookieWait;
        self.cookie = Vec::new();
        self.pending.cookie_echo = false;
        self.pending.init = true;
        self.timers.stop(Timer::Setup as usize);
    }

    /// T1-init or T1-cookie expired (§5.1.5, §4).
    pub(super) fn repeat_setup(&mut self) {
        if !matches!(self.state, State::CookieWait | State::CookieEchoed) {
            return;
        }
        self.setup_attempts += 1;
        if self
            .config
            .max_init_retransmits
            .is_some_and(|max| self.setup_attempts > max)
        {
            self.end(Event::Aborted {
                reason: AbortReason::Timeout,
            });
            return;
        }
        self.rto.back_off();
        if self.state == State::CookieWait {
            self.pending.init = true;
        } else {
            // DATA that went with the cookie goes with it again.
            self.outstanding.time_out();
            self.pending.cookie_echo = true;
        }
    }

    /// Takes over what the peer's INIT or INIT ACK says.
    fn adopt(&mut self, init: &PeerInit) {
        self.peer_tag = init.tag;
        self.peer = Peer {
            reconfig: init.reconfig,
            zero_checksum: init.zero_checksum,
            outbound: self.config.max_streams.min(init.inbound_streams),
            inbound: self.config.max_streams.min(init.outbound_streams),
        };
        self.peer_window = (init.a_rwnd as usize).saturating_sub(self.outstanding.flight());
        self.peer_window_size = init.a_rwnd as usize;
        self.queue.unpark();
        self.outstanding.can_abandon = init.forward_tsn;
        self.receiver = Receiver::new(&self.config, init.tsn);
        self.sacking = Sacking::new(self.config.receive_window);
        self.reset.expect(init.tsn);
    }

    pub(super) fn establish(&mut self) {
        self.state = State::Established;
        self.cookie = Vec::new();
        self.setup_attempts = 0;
        self.errors = 0;
        self.pending.init = false;
        self.pending.cookie_echo = false;
        self.timers.stop(Timer::Setup as usize);
        if self.rto.smoothed().is_none() {
            // Backing off for the set-up says nothing about data.
            self.rto = Rto::new(&self.config);
        }
        if !self.outstanding.is_empty() {
            self.arm(Timer::Retransmit, self.rto.current());
        }
        self.arm_heartbeat();
        // DATA that went with the cookie may have brought events about already.
        self.events.push_front(Event::Connected);
        self.refuse_streams();
        self.start_waiting_resets();
    }

    /// Drops what was queued for streams that the peer does not take.
    fn refuse_streams(&mut self) {
        let refused = self.queue.streams_from(self.peer.outbound);
        for &stream in &refused {
            self.queue.remove(stream);
        }
        if !refused.is_empty() {
            self.events
                .push_back(Event::StreamsRefused { streams: refused });
        }
    }

    /// §5.2.4.1, action A.
    fn restart(&mut self, cookie: &Cookie) {
        self.queue = SendQueue::new();
        self.stats.abandoned += self.outstanding.abandoned_messages;
        self.outstanding = Outstanding::new(cookie.local_tsn);
        self.local_tag = cookie.local_tag;
        self.local_tsn = cookie.local_tsn;
        let mut receiver = std::mem::replace(&mut self.receiver, Receiver::new(&self.config, 0));
        receiver.restart(cookie.peer.tsn);
        self.reset = Reset::new(cookie.local_tsn, cookie.peer.tsn);
        self.adopt(&cookie.peer);
        self.receiver = receiver;
        self.rto = Rto::new(&self.config);
        self.congestion = Congestion::new(&self.config);
        self.timers.clear();
        self.heartbeat = None;
        self.fast_retransmit = false;
        self.window_limited = false;
        self.pending.forward = false;
        self.pending.shutdown = false;
        self.state = State::Established;
        self.errors = 0;
        self.arm_heartbeat();
        self.events.push_back(Event::Restarted);
    }

    fn init<'a>(&self, tag: u32, tsn: u32, parameters: &'a [u8]) -> Init<'a> {
        Init {
            initiate_tag: tag,
            a_rwnd: u32::try_from(self.config.receive_window).unwrap_or(u32::MAX),
            outbound_streams: self.config.max_streams,
            inbound_streams: self.config.max_streams,
            initial_tsn: tsn,
            parameters,
        }
    }

    fn parameters(&self, cookie: Option<&[u8]>, unrecognized: &[&[u8]]) -> Vec<u8> {
        const EXTENSIONS: [u8; 2] = [kind::RE_CONFIG, kind::FORWARD_TSN];
        let mut out = Vec::new();
        Parameter::ForwardTsnSupported.write(&mut out, true);
        let more = self.config.zero_checksum || cookie.is_some();
        Parameter::SupportedExtensions(&EXTENSIONS).write(&mut out, more);
        if self.config.zero_checksum {
            Parameter::ZeroChecksum(1).write(&mut out, true);
        }
        if let Some(cookie) = cookie {
            Parameter::StateCookie(cookie).write(&mut out, true);
        }
        for parameter in unrecognized {
            if out.len() + parameter.len() + 64 > self.config.max_packet_size {
                break;
            }
            put_parameter(&mut out, 8, parameter, true);
        }
        out
    }

    pub(super) fn write_init(&mut self, buf: &mut Vec<u8>) {
        let parameters = self.parameters(None, &[]);
        Chunk::Init(self.init(self.local_tag, self.local_tsn, &parameters)).write(buf);
    }

    fn age_ms(&self) -> u64 {
        self.now
            .saturating_duration_since(self.epoch)
            .as_millis()
            .try_into()
            .unwrap_or(u64::MAX)
    }
}

/// RFC 9260 §3.3.2: what ends the set-up.
fn acceptable(init: &Init<'_>) -> bool {
    init.initiate_tag != 0
        && init.outbound_streams > 0
        && init.inbound_streams > 0
        && init.a_rwnd >= MIN_WINDOW
}

fn peer_init(init: &Init<'_>, capabilities: &Capabilities<'_>) -> PeerInit {
    PeerInit {
        tag: init.initiate_tag,
        tsn: init.initial_tsn,
        a_rwnd: init.a_rwnd,
        outbound_streams: init.outbound_streams,
        inbound_streams: init.inbound_streams,
        forward_tsn: capabilities.forward_tsn,
        reconfig: capabilities.reconfig,
        zero_checksum: capabilities.zero_checksum,
    }
}

/// Smallest `a_rwnd` that an INIT may have.
const MIN_WINDOW: u32 = 1500;
