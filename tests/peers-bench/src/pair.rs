//! Two peers in memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::{Connection, Received};

/// Two peers of one stack and the wire between them. The clock is virtual: it moves on by
/// [`ONE_WAY`] with every crossing, and jumps to the next timer when nothing is on the wire.
pub struct Pair<C: Connection> {
    /// The offerer.
    pub a: C,
    /// The answerer.
    pub b: C,
    /// Virtual time.
    pub now: Instant,
    addrs: [SocketAddr; 2],
    wire: Vec<C::Datagram>,
    /// Datagrams that crossed.
    pub datagrams: u64,
}

impl<C: Connection> Pair<C> {
    /// Makes two peers and connects them until the data channel is open at both ends.
    ///
    /// # Panics
    /// When they do not connect.
    pub fn connected(certificates: Option<&[C::Certificate; 2]>) -> Self {
        let mut pair = Self::negotiated(certificates);
        pair.open();
        pair
    }

    /// Makes two peers that know each other's descriptions.
    pub fn negotiated(certificates: Option<&[C::Certificate; 2]>) -> Self {
        let mut pair =
            Self::made(|addr, index, now| C::new(addr, certificates.map(|both| &both[index]), now));
        pair.negotiate();
        pair
    }

    /// Makes two peers of what `make` gives for an address and a place.
    pub fn made(mut make: impl FnMut(SocketAddr, usize, Instant) -> C) -> Self {
        let now = Instant::now();
        let addrs = [([10, 0, 0, 1], 5000).into(), ([10, 0, 0, 2], 5000).into()];
        Self {
            a: make(addrs[0], 0, now),
            b: make(addrs[1], 1, now),
            now,
            addrs,
            wire: Vec::new(),
            datagrams: 0,
        }
    }

    /// Exchanges the descriptions.
    pub fn negotiate(&mut self) {
        let offer = self.a.offer(self.now);
        let answer = self.b.answer(self.now, &offer);
        self.a.accept(self.now, &answer);
    }

    /// Goes on until the data channel is open at both ends.
    ///
    /// # Panics
    /// When they do not connect.
    pub fn open(&mut self) {
        let end = self.now + CONNECT_LIMIT;
        while !(self.a.is_open() && self.b.is_open()) {
            self.step();
            assert!(self.now < end, "{} does not connect", C::NAME);
        }
    }

    /// The addresses of both.
    pub fn addrs(&self) -> [SocketAddr; 2] {
        self.addrs
    }

    /// Carries what both want to send, or else waits for the next timer.
    pub fn step(&mut self) {
        if !self.exchange() {
            self.wait();
        }
    }

    /// Carries what both want to send; tells whether there was anything.
    pub fn exchange(&mut self) -> bool {
        let before = self.datagrams;
        self.a.transmit(self.now, &mut self.wire);
        self.datagrams += self.wire.len() as u64;
        self.now += ONE_WAY;
        if !self.wire.is_empty() {
            self.b.receive(self.now, self.addrs[0], &mut self.wire);
        }
        self.b.transmit(self.now, &mut self.wire);
        self.datagrams += self.wire.len() as u64;
        self.now += ONE_WAY;
        if !self.wire.is_empty() {
            self.a.receive(self.now, self.addrs[1], &mut self.wire);
        }
        self.fire();
        self.datagrams != before
    }

    /// Jumps to the next timer.
    pub fn wait(&mut self) {
        let next = [self.a.timeout(), self.b.timeout()]
            .into_iter()
            .flatten()
            .min();
        let limit = self.now + Duration::from_millis(100);
        self.now = next.map_or(limit, |next| next.clamp(self.now, limit));
        self.fire();
    }

    /// Lets time pass without application data.
    pub fn idle(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.step();
            self.a.read();
            self.b.read();
        }
    }

    /// Sends `count` messages from a to b, at most `window` of them on the way, until all arrived.
    ///
    /// # Panics
    /// When messages are lost or nothing moves.
    pub fn transfer(&mut self, payload: &[u8], count: u64, window: u64) -> Received {
        let mut received = Received::default();
        let mut sent = 0;
        let mut last_progress = self.now;
        while received.messages < count {
            while sent < count && sent - received.messages < window {
                if !self.a.send(self.now, payload) {
                    break;
                }
                sent += 1;
            }
            self.step();
            let news = self.b.read();
            self.a.read();
            received.messages += news.messages;
            received.bytes += news.bytes;
            if news.messages > 0 {
                last_progress = self.now;
            }
            assert!(
                self.now < last_progress + STALL_LIMIT,
                "{} stalls at {received:?}, {sent} sent",
                C::NAME
            );
        }
        assert_eq!(
            received.bytes,
            count * payload.len() as u64,
            "{}: bytes arrived",
            C::NAME
        );
        received
    }

    fn fire(&mut self) {
        let now = self.now;
        for peer in [&mut self.a, &mut self.b] {
            if peer.timeout().is_some_and(|deadline| deadline <= now) {
                peer.handle_timeout(now);
            }
        }
    }
}

/// Time a datagram takes.
const ONE_WAY: Duration = Duration::from_micros(100);
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
const STALL_LIMIT: Duration = Duration::from_secs(60);
