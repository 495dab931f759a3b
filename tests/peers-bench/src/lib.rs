//! The rtc stack beside the published `str0m` and `rtc` (webrtc-rs) crates, doing the same work.
//!
//! Each stack is one implementation of [`Connection`], written the way the documentation of that
//! crate drives it. [`Pair`] connects two of them in memory, on one thread, with a virtual clock; the
//! jobs in [`jobs`] run over any `Pair`. The binaries measure: `peers-bench` CPU time with the
//! system's allocator, `peers-alloc` allocations and memory with a counting one, `peers-udp` real
//! sockets.

pub mod jobs;
pub mod media;
pub mod ours;
mod pair;
pub mod report;
pub mod sockets;
pub mod str0m;
pub mod webrtc_rs;

use std::net::SocketAddr;
use std::time::Instant;

pub use pair::Pair;

/// What has arrived at one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One peer of one stack, driven from outside.
pub trait Connection: Sized {
    /// Name in reports.
    const NAME: &'static str;
    /// A key and certificate made beforehand.
    type Certificate: Clone;
    /// An outgoing datagram in the form in which the stack gives and takes it.
    type Datagram: AsRef<[u8]>;

    /// Makes a key and certificate.
    fn certificate() -> Self::Certificate;
    /// A peer with one host candidate; it makes its own certificate when none is given.
    fn new(local: SocketAddr, certificate: Option<&Self::Certificate>, now: Instant) -> Self;
    /// The offer of a data channel, as text.
    fn offer(&mut self, now: Instant) -> String;
    /// The answer to an offer.
    fn answer(&mut self, now: Instant, offer: &str) -> String;
    /// Takes the answer.
    fn accept(&mut self, now: Instant, answer: &str);
    /// Whether the data channel is open at this end.
    fn is_open(&self) -> bool;
    /// Sends a message; `false` when the stack asks to wait.
    fn send(&mut self, now: Instant, payload: &[u8]) -> bool;
    /// Everything there is to put on the wire.
    fn transmit(&mut self, now: Instant, wire: &mut Vec<Self::Datagram>);
    /// Takes what came over the wire, leaving it empty.
    fn receive(&mut self, now: Instant, from: SocketAddr, wire: &mut Vec<Self::Datagram>);
    /// A datagram that was read from a socket.
    fn datagram(bytes: &[u8]) -> Self::Datagram;
    /// Messages that arrived since the last call; they are read and dropped.
    fn read(&mut self) -> Received;
    /// When [`handle_timeout`](Self::handle_timeout) is due.
    fn timeout(&mut self) -> Option<Instant>;
    /// Time has come.
    fn handle_timeout(&mut self, now: Instant);
}
