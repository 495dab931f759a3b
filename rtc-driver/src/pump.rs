use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use rtc::endpoint::{Peer, RTCEndpoint};
use rtc::peer_connection::{RTCEvent, RTCPeerConnection};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, Transmit, TransportContext, TransportProtocol};
use tracing::{debug, trace};

use crate::arena::Arenas;
use crate::{DatagramSocket, RecvMeta, SendBatch};

/// What a pump drives: one connection, or many behind the same sockets.
pub trait Core {
    /// Takes every datagram of one receive call and leaves the vector empty.
    fn handle_read_batch(&mut self, batch: &mut Vec<TaggedBytesMut>);

    /// Appends up to `max_datagrams` datagrams of one path and one size to `buf`, see
    /// [`RTCPeerConnection::poll_transmit`].
    fn poll_transmit(
        &mut self,
        now: Instant,
        max_datagrams: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit>;

    /// Takes what happened to a socket.
    fn handle_event(&mut self, event: RTCEvent);

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    fn poll_timeout(&mut self) -> Option<Instant>;

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);
}

impl Core for RTCPeerConnection {
    fn handle_read_batch(&mut self, batch: &mut Vec<TaggedBytesMut>) {
        Self::handle_read_batch(self, batch);
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        max_datagrams: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        Self::poll_transmit(self, now, max_datagrams, buf)
    }

    fn handle_event(&mut self, event: RTCEvent) {
        // Err only says that the connection is closed; likewise below.
        let _ = Protocol::handle_event(self, event);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        Protocol::poll_timeout(self)
    }

    fn handle_timeout(&mut self, now: Instant) {
        let _ = Protocol::handle_timeout(self, now);
    }
}

impl<P: Peer> Core for RTCEndpoint<P> {
    fn handle_read_batch(&mut self, batch: &mut Vec<TaggedBytesMut>) {
        Self::handle_read_batch(self, batch);
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        max_datagrams: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        Self::poll_transmit(self, now, max_datagrams, buf)
    }

    fn handle_event(&mut self, event: RTCEvent) {
        Self::handle_event(self, event);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        Self::poll_timeout(self)
    }

    fn handle_timeout(&mut self, now: Instant) {
        Self::handle_timeout(self, now);
    }
}

/// Lends the core to the pump, for one call at a time.
///
/// The core itself lends itself; a driver that shares its core takes a lock here. The pump makes no
/// system call while it has the core.
pub trait CoreAccess {
    /// What is lent.
    type Core: Core;

    /// Calls `f` with the core.
    fn with<R>(&mut self, f: impl FnOnce(&mut Self::Core) -> R) -> R;
}

impl<C: Core> CoreAccess for C {
    type Core = C;

    fn with<R>(&mut self, f: impl FnOnce(&mut C) -> R) -> R {
        f(self)
    }
}

/// Moves datagrams between sockets and a core: the one poll/handle loop of every adapter.
///
/// Between two calls it keeps no buffer, except one batch that a socket did not take yet: memory for
/// receiving and sending belongs to the thread and is shared by every pump that it runs.
#[derive(Debug)]
pub struct Pump<S> {
    sockets: Vec<Entry<S>>,
    /// The socket that is asked first next time, so that a busy one does not silence the others.
    first: usize,
    /// What waits for a socket to have room.
    blocked: Option<Box<Outgoing>>,
    counters: PumpCounters,
}

#[derive(Debug)]
struct Entry<S> {
    socket: S,
    local_addr: SocketAddr,
    protocol: TransportProtocol,
    /// Receive errors in a row that no datagram can be blamed for.
    failures: u32,
}

/// Datagrams on their way from the core to the sockets: at most [`MAX_SEGMENTS`].
#[derive(Debug, Default)]
struct Outgoing {
    contents: Vec<u8>,
    /// What `contents` is made of.
    transmits: Vec<Transmit>,
}

/// What a pump has left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Nothing, until a socket is ready, the core was given something, or its deadline has come.
    Idle,
    /// A bound was reached: call again soon, after others had their turn.
    MoreWork,
}

/// What a pump has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PumpCounters {
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Receive calls that brought something.
    pub receive_calls: u64,
    /// Datagrams handed to a socket.
    pub datagrams_sent: u64,
    /// Send calls that were taken.
    pub send_calls: u64,
    /// Receive calls that gave an error.
    pub receive_errors: u64,
    /// Datagrams lost to an error of a send call.
    pub send_errors: u64,
    /// Times that a socket had no room.
    pub sends_blocked: u64,
    /// Datagrams for a local address that has no socket any more.
    pub no_socket: u64,
}

impl<S: DatagramSocket> Pump<S> {
    /// A pump over `sockets`. The core has to be told their addresses:
    /// see [`local_addrs`](Self::local_addrs).
    ///
    /// # Errors
    /// When a socket does not know its address.
    pub fn new(sockets: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let mut pump = Self {
            sockets: Vec::new(),
            first: 0,
            blocked: None,
            counters: PumpCounters::default(),
        };
        for socket in sockets {
            pump.add_socket(socket)?;
        }
        Ok(pump)
    }

    /// One more socket. Gives its address.
    ///
    /// # Errors
    /// When the socket does not know its address.
    pub fn add_socket(&mut self, socket: S) -> io::Result<SocketAddr> {
        let local_addr = socket.local_addr()?;
        let protocol = socket.protocol();
        self.sockets.push(Entry {
            socket,
            local_addr,
            protocol,
            failures: 0,
        });
        Ok(local_addr)
    }

    /// Takes a socket out, with whatever waits for room in it.
    pub fn remove_socket(&mut self, local_addr: SocketAddr) -> Option<S> {
        let index = self
            .sockets
            .iter()
            .position(|entry| entry.local_addr == local_addr)?;
        Some(self.sockets.remove(index).socket)
    }

    /// The addresses of the sockets, for
    /// [`add_local_interface`](RTCPeerConnection::add_local_interface).
    pub fn local_addrs(&self) -> impl Iterator<Item = (SocketAddr, TransportProtocol)> {
        self.sockets
            .iter()
            .map(|entry| (entry.local_addr, entry.protocol))
    }

    /// The sockets, to register them somewhere.
    pub fn sockets_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.sockets.iter_mut().map(|entry| &mut entry.socket)
    }

    /// Whether a batch waits for its socket to be writable.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> PumpCounters {
        self.counters
    }

    /// Lets the core handle its timeout if that is due, then carries datagrams both ways until there
    /// are none or a bound is reached.
    ///
    /// Sockets register the waker of `cx`. Events, messages and the deadline are the caller's to poll
    /// from the core afterwards.
    pub fn drive(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        core: &mut impl CoreAccess,
    ) -> Progress {
        core.with(|core| {
            if core.poll_timeout().is_some_and(|deadline| deadline <= now) {
                core.handle_timeout(now);
            }
        });
        let mut scratch = SCRATCH.take().unwrap_or_else(Scratch::new);
        let progress = self.carry(cx, now, core, &mut scratch);
        SCRATCH.set(Some(scratch));
        progress
    }

    /// Receiving and sending take turns batch by batch: an acknowledgement that has come frees room
    /// to send, and a long burst does not overflow the receive buffers meanwhile.
    fn carry(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        core: &mut impl CoreAccess,
        scratch: &mut Scratch,
    ) -> Progress {
        let (mut received, mut sent, mut errors) = (0, 0, 0);
        loop {
            let got = self.receive(cx, now, core, scratch, &mut errors);
            let put = self.transmit(cx, now, core, scratch);
            received += got;
            sent += put;
            if received >= RECV_BOUND || sent >= TRANSMIT_BOUND || errors >= ERROR_BOUND {
                return Progress::MoreWork;
            }
            if got == 0 && put == 0 {
                return Progress::Idle;
            }
        }
    }

    /// One receive call's worth, of the first socket that has something. 0: every socket is empty
    /// and has the waker.
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        core: &mut impl CoreAccess,
        scratch: &mut Scratch,
        errors: &mut usize,
    ) -> usize {
        let mut turn = 0;
        while turn < self.sockets.len() && *errors < ERROR_BOUND {
            let index = (self.first + turn) % self.sockets.len();
            let Some(entry) = self.sockets.get_mut(index) else {
                break;
            };
            match entry.poll_recv(cx, scratch) {
                Poll::Pending => turn += 1,
                Poll::Ready(Ok(count)) => {
                    entry.failures = 0;
                    let datagrams = scratch.deliver(now, entry.context(), count, core);
                    self.first = index.wrapping_add(1);
                    self.counters.receive_calls += 1;
                    self.counters.datagrams_received += datagrams as u64;
                    // Nothing but empty datagrams is progress all the same.
                    return datagrams.max(1);
                }
                Poll::Ready(Err(error)) => {
                    *errors += 1;
                    self.counters.receive_errors += 1;
                    trace!(local_addr = %entry.local_addr, %error, "receive error");
                    if !is_temporary(&error) {
                        entry.failures += 1;
                    }
                    if entry.failures >= MAX_FAILURES {
                        debug!(local_addr = %entry.local_addr, %error, "socket is given up");
                        let local_addr = entry.local_addr;
                        self.sockets.remove(index);
                        core.with(|core| {
                            core.handle_event(RTCEvent::PathLost { local_addr });
                        });
                    }
                }
            }
        }
        0
    }

    /// What the core has to send, up to one full batch, if nothing earlier is in the way. Gives the
    /// number of datagrams.
    fn transmit(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        core: &mut impl CoreAccess,
        scratch: &mut Scratch,
    ) -> usize {
        if let Some(blocked) = self.blocked.take() {
            let datagrams = self.send_all(cx, &blocked, core);
            if self.blocked.is_some() {
                return datagrams;
            }
        }
        core.with(|core| scratch.outgoing.fill(now, core));
        if scratch.outgoing.transmits.is_empty() {
            return 0;
        }
        // What is blocked was taken from the core, which is progress.
        self.send_all(cx, &scratch.outgoing, core).max(1)
    }

    /// Sends what the sockets take, and keeps the rest in `blocked`. Gives the number of datagrams.
    fn send_all(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &Outgoing,
        core: &mut impl CoreAccess,
    ) -> usize {
        let mut datagrams = 0;
        let mut contents = outgoing.contents.as_slice();
        for (index, transmit) in outgoing.transmits.iter().enumerate() {
            let size = transmit.size.min(contents.len());
            let (batch, later) = contents.split_at(size);
            let left = self.send(cx, transmit, batch, core);
            datagrams += transmit.datagrams();
            if left > 0 {
                let (_, rest) = contents.split_at(size - left);
                let later = outgoing.transmits.get(index + 1..).unwrap_or_default();
                let first = Transmit {
                    size: left,
                    ..*transmit
                };
                datagrams -= first.datagrams();
                let transmits = std::iter::once(first)
                    .chain(later.iter().copied())
                    .collect();
                self.blocked = Some(Box::new(Outgoing {
                    contents: rest.to_vec(),
                    transmits,
                }));
                break;
            }
            contents = later;
        }
        datagrams
    }

    /// Sends one batch. Gives the bytes that the socket has no room for.
    fn send(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &Transmit,
        contents: &[u8],
        core: &mut impl CoreAccess,
    ) -> usize {
        let path = transmit.transport;
        let Some(entry) = self.sockets.iter_mut().find(|entry| entry.serves(&path)) else {
            self.counters.no_socket += transmit.datagrams() as u64;
            return 0;
        };
        // A socket of one address has nothing to choose.
        let local_ip = entry.is_wildcard().then(|| path.local_addr.ip());
        let segment = transmit.segment_size.unwrap_or(contents.len()).max(1);
        let (mut rest, mut failed) = (contents, false);
        while !rest.is_empty() {
            let segments = entry.socket.max_send_segments().max(1);
            let (batch, later) = rest.split_at(rest.len().min(segment.saturating_mul(segments)));
            let count = batch.len().div_ceil(segment);
            let sent = entry.socket.poll_send(
                cx,
                &SendBatch {
                    peer: path.peer_addr,
                    local_ip,
                    ecn: path.ecn,
                    segment_size: (count > 1).then_some(segment),
                    contents: batch,
                },
            );
            match sent {
                Poll::Ready(Ok(())) => {
                    self.counters.send_calls += 1;
                    self.counters.datagrams_sent += count as u64;
                }
                // Segmentation offload was refused: the same again, one by one.
                Poll::Ready(Err(_)) if entry.socket.max_send_segments() < segments.min(count) => {
                    continue;
                }
                Poll::Ready(Err(error)) => {
                    trace!(?path, %error, "send error");
                    self.counters.send_errors += count as u64;
                    failed = true;
                }
                Poll::Pending => {
                    self.counters.sends_blocked += 1;
                    break;
                }
            }
            rest = later;
        }
        if failed {
            core.with(|core| {
                core.handle_event(RTCEvent::SendFailed { transport: path });
            });
        }
        rest.len()
    }
}

impl Outgoing {
    /// Takes a batch from the core. What it gives one by one for one path and of one size is joined.
    fn fill(&mut self, now: Instant, core: &mut impl Core) {
        self.contents.clear();
        self.transmits.clear();
        let mut room = MAX_SEGMENTS;
        while room > 0
            && let Some(transmit) = core.poll_transmit(now, room, &mut self.contents)
        {
            room = room.saturating_sub(transmit.datagrams());
            if !self
                .transmits
                .last_mut()
                .is_some_and(|last| join(last, &transmit))
            {
                self.transmits.push(transmit);
            }
        }
    }
}

/// Makes `next` the end of `batch` if both can leave in one call.
fn join(batch: &mut Transmit, next: &Transmit) -> bool {
    let segment = batch.segment_size.unwrap_or(batch.size);
    let fits = match next.segment_size {
        Some(size) => size == segment,
        None => next.size <= segment,
    };
    // The datagram before has to be a full one.
    let joins = fits
        && batch.transport == next.transport
        && segment > 0
        && batch.size.is_multiple_of(segment);
    if joins {
        batch.size += next.size;
        batch.segment_size = Some(segment);
    }
    joins
}

impl<S: DatagramSocket> Entry<S> {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<io::Result<usize>> {
        let mut chunks = scratch.receive.chunks_mut(RECV_BUFFER);
        let mut bufs: [_; RECV_BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        self.socket.poll_recv(cx, &mut bufs, &mut scratch.meta)
    }

    fn context(&self) -> TransportContext {
        TransportContext {
            local_addr: self.local_addr,
            transport_protocol: self.protocol,
            ..TransportContext::default()
        }
    }

    /// Whether the socket is bound to every address of its family.
    fn is_wildcard(&self) -> bool {
        self.local_addr.ip().is_unspecified()
    }

    fn serves(&self, path: &TransportContext) -> bool {
        let here = self.local_addr;
        self.protocol == path.transport_protocol
            && (here == path.local_addr
                || self.is_wildcard()
                    && here.port() == path.local_addr.port()
                    && here.is_ipv4() == path.local_addr.is_ipv4())
    }
}

/// Buffers for receiving and sending, one set per thread.
struct Scratch {
    receive: Vec<u8>,
    meta: [RecvMeta; RECV_BUFFERS],
    outgoing: Outgoing,
    batch: Vec<TaggedBytesMut>,
    arenas: Arenas,
}

thread_local! {
    /// Taken while a pump runs, so that one inside another gets a set of its own.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    fn new() -> Box<Self> {
        Box::new(Self {
            // The system backs the pages that are written to, no more.
            receive: vec![0; RECV_BUFFERS * RECV_BUFFER],
            meta: [RecvMeta::default(); RECV_BUFFERS],
            outgoing: Outgoing::default(),
            batch: Vec::new(),
            arenas: Arenas::default(),
        })
    }

    /// Hands what was received in `count` buffers to the core, copied once into memory of about its size. Gives the
    /// number of datagrams.
    fn deliver(
        &mut self,
        now: Instant,
        context: TransportContext,
        count: usize,
        core: &mut impl CoreAccess,
    ) -> usize {
        let Self {
            receive,
            meta,
            batch,
            arenas,
            ..
        } = self;
        let mut total = 0;
        let mut buffers = receive.chunks(RECV_BUFFER);
        let mut filled = meta.get(..count).unwrap_or_default();
        while !filled.is_empty() {
            // The core is not held for longer than a batch takes, and a message that waits to be
            // read does not hold the memory of more than a batch.
            let (mut metas, mut count, mut size) = (0, 0, 0);
            for meta in filled {
                metas += 1;
                count += meta.len.div_ceil(stride(meta));
                size += meta.len;
                if count >= BATCH {
                    break;
                }
            }
            let (group, later) = filled.split_at(metas);
            filled = later;
            let arena = arenas.with_room(size);
            for (meta, buffer) in group.iter().zip(buffers.by_ref()) {
                let mut transport = TransportContext {
                    peer_addr: meta.peer,
                    ecn: meta.ecn,
                    ..context
                };
                if let Some(local_ip) = meta.local_ip
                    && context.local_addr.ip().is_unspecified()
                {
                    transport.local_addr.set_ip(local_ip);
                }
                let bytes = buffer.get(..meta.len).unwrap_or_default();
                for datagram in bytes.chunks(stride(meta)) {
                    arena.extend_from_slice(datagram);
                    batch.push(TaggedBytesMut {
                        now,
                        transport,
                        message: arena.split(),
                    });
                }
            }
            total += count;
            if !batch.is_empty() {
                core.with(|core| core.handle_read_batch(batch));
                batch.clear();
            }
        }
        total
    }
}

fn stride(meta: &RecvMeta) -> usize {
    if meta.stride == 0 {
        meta.len.max(1)
    } else {
        meta.stride
    }
}

/// Errors that ICMP messages, oversized datagrams and signals cause: they tell of one datagram, or
/// nothing at all, and not of the socket.
fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::OutOfMemory
    ) || quinn_udp::is_msg_size_err(error)
}

/// Datagrams received in one call of `drive` before others get a turn: ten full GSO batches.
const RECV_BOUND: usize = 160;
/// Datagrams sent in one call of `drive`. About 75 kB, a third of the receive buffer that Linux
/// gives by default, so that a receiver on the same machine keeps up.
const TRANSMIT_BOUND: usize = 64;
/// Datagrams of one send call. Longer ones save little and come in bursts that routers drop.
const MAX_SEGMENTS: usize = 16;
/// Receive errors in one call of `drive`.
const ERROR_BOUND: usize = 16;
/// Errors in a row, without a datagram between them, that make a socket count as broken.
const MAX_FAILURES: u32 = 16;
/// Buffers of one receive call; what recvmmsg takes at most in quinn-udp.
const RECV_BUFFERS: usize = 32;
/// Size of each, bytes: the largest coalesced datagram.
const RECV_BUFFER: usize = 64 * 1024;
/// Datagrams that the core gets at once.
const BATCH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn transmit(size: usize, segment_size: Option<usize>) -> Transmit {
        Transmit {
            transport: TransportContext::default(),
            size,
            segment_size,
        }
    }

    #[test]
    fn datagrams_of_one_size_are_joined_and_a_shorter_one_ends_the_batch() {
        let mut batch = transmit(100, None);
        assert!(!join(&mut batch, &transmit(101, None)));
        assert!(join(&mut batch, &transmit(100, None)));
        assert!(join(&mut batch, &transmit(250, Some(100))));
        assert_eq!(batch, transmit(450, Some(100)));
        assert!(!join(&mut batch, &transmit(50, None)));

        let mut batch = transmit(100, None);
        assert!(!join(&mut batch, &transmit(100, Some(50))));
        assert!(join(&mut batch, &transmit(99, None)));
        assert_eq!(batch.datagrams(), 2);
        assert!(!join(&mut batch, &transmit(99, None)));
    }

    #[test]
    fn datagrams_of_different_paths_are_not_joined() {
        let other = TransportContext {
            peer_addr: SocketAddr::from(([192, 0, 2, 1], 1)),
            ..TransportContext::default()
        };
        let mut batch = transmit(100, None);
        assert!(!join(
            &mut batch,
            &Transmit {
                transport: other,
                ..transmit(100, None)
            }
        ));
    }
}
