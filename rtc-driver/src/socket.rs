use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use rtc::shared::{EcnCodepoint, TransportProtocol};

/// A non-blocking datagram socket that one task owns.
///
/// The trait can be made into an object: `Box<dyn DatagramSocket>` is a socket too, for sets of
/// different kinds.
pub trait DatagramSocket: Send + 'static {
    /// The address that the socket is bound to. A socket of a wildcard address tells of each datagram
    /// where it came in ([`RecvMeta::local_ip`]) and sends from where it is told to
    /// ([`SendBatch::local_ip`]).
    ///
    /// # Errors
    /// When the system does not tell.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Fills up to `bufs.len()` buffers, `meta` tells with what, and gives how many were filled. A
    /// buffer can hold several datagrams of one peer, see [`RecvMeta::stride`].
    ///
    /// `Pending` registers for readability; only the last waker is kept.
    ///
    /// # Errors
    /// Per-datagram errors (ICMP, truncation) are temporary: the next call may succeed. An error
    /// that comes again and again without a datagram in between costs the socket its place.
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>>;

    /// Sends one batch whole, or registers for writability and gives `Pending`; only the last waker
    /// is kept. Never gives `WouldBlock`.
    ///
    /// # Errors
    /// The batch is lost. Never fatal: the path is judged by its connectivity checks.
    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>>;

    /// What the datagrams travel on. Framed TCP says [`TransportProtocol::TCP`].
    fn protocol(&self) -> TransportProtocol {
        TransportProtocol::UDP
    }

    /// How many datagrams a [`SendBatch`] may hold. May fall while the socket lives: an error of
    /// [`poll_send`](Self::poll_send) after which this is smaller than before means that the
    /// system refused the batching, not the datagrams, and the pump sends them again in smaller
    /// batches.
    fn max_send_segments(&self) -> usize {
        1
    }

    /// How many datagrams one buffer of [`poll_recv`](Self::poll_recv) can come to hold.
    fn max_recv_segments(&self) -> usize {
        1
    }
}

impl<S: DatagramSocket + ?Sized> DatagramSocket for Box<S> {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        (**self).local_addr()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_recv(cx, bufs, meta)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        (**self).poll_send(cx, batch)
    }

    // The provided methods too, or offloading would be lost without a word.
    fn protocol(&self) -> TransportProtocol {
        (**self).protocol()
    }

    fn max_send_segments(&self) -> usize {
        (**self).max_send_segments()
    }

    fn max_recv_segments(&self) -> usize {
        (**self).max_recv_segments()
    }
}

/// What one filled buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvMeta {
    /// Who sent it.
    pub peer: SocketAddr,
    /// Filled bytes.
    pub len: usize,
    /// Size of each datagram in the buffer but the last, which may be shorter; bytes.
    pub stride: usize,
    /// ECN mark of the datagrams.
    pub ecn: Option<EcnCodepoint>,
    /// The address they were sent to, where the system tells.
    pub local_ip: Option<IpAddr>,
}

impl Default for RecvMeta {
    /// A value to be overwritten.
    fn default() -> Self {
        Self {
            peer: SocketAddr::from(([0, 0, 0, 0], 0)),
            len: 0,
            stride: 0,
            ecn: None,
            local_ip: None,
        }
    }
}

/// Datagrams to send, all to one peer and of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendBatch<'a> {
    /// The receiver.
    pub peer: SocketAddr,
    /// The source address, where the socket has more than one.
    pub local_ip: Option<IpAddr>,
    /// ECN mark.
    pub ecn: Option<EcnCodepoint>,
    /// Size of each datagram but the last, which may be shorter; `None` for a single one.
    pub segment_size: Option<usize>,
    /// The datagrams, one after the other.
    pub contents: &'a [u8],
}
