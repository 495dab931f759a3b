//! What adapters make their UDP sockets of.

use std::io::{self, IoSliceMut};
use std::task::Poll;

use quinn_udp::{Transmit, UdpSocketState};
use rtc::shared::EcnCodepoint;

use crate::{RecvMeta, SendBatch};

pub use quinn_udp::UdpSockRef;

/// Batched receiving and sending on a non-blocking UDP socket: segmentation offload in both
/// directions and ECN marks where the system has them, single datagrams where it has not.
///
/// What every adapter's socket is made of, next to the runtime's own readiness.
#[derive(Debug)]
pub struct UdpState {
    state: UdpSocketState,
}

/// What one receive call brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Filled buffers.
    pub count: usize,
    /// The system said that nothing is left, which spares the call that would find out. An adapter
    /// with edge-triggered readiness clears it then.
    pub drained: bool,
}

impl UdpState {
    /// Prepares the socket: non-blocking, offloading, ECN, no fragmentation.
    ///
    /// # Errors
    /// When the system refuses what every system has.
    pub fn new<S>(socket: &S) -> io::Result<Self>
    where
        for<'s> UdpSockRef<'s>: From<&'s S>,
    {
        Ok(Self {
            state: UdpSocketState::new(socket.into())?,
        })
    }

    /// Receives into up to `bufs.len()` buffers.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing, and whatever the system says.
    pub fn recv<S>(
        &self,
        socket: &S,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> io::Result<Received>
    where
        for<'s> UdpSockRef<'s>: From<&'s S>,
    {
        let mut raw = [quinn_udp::RecvMeta::default(); quinn_udp::BATCH_SIZE];
        let wanted = bufs.len().min(meta.len()).min(raw.len());
        let (Some(bufs), Some(raw)) = (bufs.get_mut(..wanted), raw.get_mut(..wanted)) else {
            return Ok(Received {
                count: 0,
                drained: false,
            });
        };
        let count = self.state.recv(socket.into(), bufs, raw)?;
        for (meta, raw) in meta.iter_mut().zip(raw.iter()).take(count) {
            *meta = RecvMeta {
                peer: raw.addr,
                len: raw.len,
                stride: raw.stride,
                ecn: raw.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
                local_ip: raw.dst_ip,
            };
        }
        Ok(Received {
            count,
            drained: RECVMMSG && count < wanted,
        })
    }

    /// Sends one batch.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is no room now, and whatever the system says.
    /// When it refuses segmentation offload, [`max_send_segments`](Self::max_send_segments) is 1
    /// from then on.
    pub fn send<S>(&mut self, socket: &S, batch: &SendBatch<'_>) -> io::Result<()>
    where
        for<'s> UdpSockRef<'s>: From<&'s S>,
    {
        let transmit = Transmit {
            destination: batch.peer,
            ecn: batch
                .ecn
                .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: batch.contents,
            segment_size: batch.segment_size,
            src_ip: batch.local_ip,
        };
        let segments = self.state.max_gso_segments();
        let result = self.state.try_send(socket.into(), &transmit);
        let segmented = batch
            .segment_size
            .is_some_and(|size| size < batch.contents.len());
        if result.is_err() && !segmented && self.state.max_gso_segments() < segments {
            // A destination that cannot be reached gives the same EINVAL as a driver without
            // offloading, and destinations are chosen by peers. A single datagram says nothing
            // about offloading, so the verdict is taken back.
            self.state = UdpSocketState::new(socket.into())?;
        }
        result
    }

    /// How many datagrams [`send`](Self::send) takes at once.
    #[must_use]
    pub fn max_send_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// How many datagrams one buffer of [`recv`](Self::recv) can come to hold.
    #[must_use]
    pub fn max_recv_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

/// A non-blocking UDP socket that remembers what it is ready for, for reactors that tell of readiness
/// once, when it begins.
///
/// Nothing is asked of the system while the answer is known. `Pending` means that the reactor has to
/// be asked, and told on with [`set_readable`](Self::set_readable) and
/// [`set_writable`](Self::set_writable).
#[derive(Debug)]
pub struct EdgeSocket<S> {
    socket: S,
    state: UdpState,
    readable: bool,
    writable: bool,
}

impl<S> EdgeSocket<S>
where
    for<'s> UdpSockRef<'s>: From<&'s S>,
{
    /// Prepares the socket, see [`UdpState::new`]. It counts as ready for everything.
    ///
    /// # Errors
    /// When the system refuses what every system has.
    pub fn new(socket: S) -> io::Result<Self> {
        let state = UdpState::new(&socket)?;
        Ok(Self {
            socket,
            state,
            readable: true,
            writable: true,
        })
    }

    /// Receives into up to `bufs.len()` buffers. `Pending`: the socket is empty.
    pub fn poll_recv(
        &mut self,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if !self.readable {
            return Poll::Pending;
        }
        match self.state.recv(&self.socket, bufs, meta) {
            Ok(received) => {
                self.readable = !received.drained;
                Poll::Ready(Ok(received.count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Sends one batch. `Pending`: there is no room now.
    pub fn poll_send(&mut self, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        if !self.writable {
            return Poll::Pending;
        }
        match self.state.send(&self.socket, batch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    /// Whether the socket may have something.
    pub fn set_readable(&mut self, readable: bool) {
        self.readable = readable;
    }

    /// Whether the socket may have room.
    pub fn set_writable(&mut self, writable: bool) {
        self.writable = writable;
    }

    /// See [`UdpState::max_send_segments`].
    #[must_use]
    pub fn max_send_segments(&self) -> usize {
        self.state.max_send_segments()
    }

    /// See [`UdpState::max_recv_segments`].
    #[must_use]
    pub fn max_recv_segments(&self) -> usize {
        self.state.max_recv_segments()
    }
}

impl<S> EdgeSocket<S> {
    /// The socket.
    pub fn get_ref(&self) -> &S {
        &self.socket
    }

    /// The socket, to register it somewhere.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.socket
    }
}

/// Whether a receive call that fills fewer buffers than it was given has found the socket empty.
/// Elsewhere one call brings one datagram at most.
const RECVMMSG: bool = cfg!(any(target_os = "linux", target_os = "android"));

#[cfg(test)]
mod tests;
