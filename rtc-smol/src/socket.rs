use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll, ready};

use async_io::Async;
use rtc_driver::udp::EdgeSocket;
use rtc_driver::{DatagramSocket, RecvMeta, SendBatch};

/// A UDP socket on the reactor of `async-io`, for every executor.
#[derive(Debug)]
pub struct SmolSocket {
    socket: EdgeSocket<Async<UdpSocket>>,
}

impl SmolSocket {
    /// Takes a bound socket over.
    ///
    /// # Errors
    /// When the system or the reactor refuses.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        Ok(Self {
            socket: EdgeSocket::new(Async::new(socket)?)?,
        })
    }
}

/// The system is asked first and the reactor, which costs a system call for each wish to be told,
/// only when there is nothing.
impl DatagramSocket for SmolSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().get_ref().local_addr()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Poll::Ready(result) = self.socket.poll_recv(bufs, meta) {
                return Poll::Ready(result);
            }
            ready!(self.socket.get_ref().poll_readable(cx))?;
            self.socket.set_readable(true);
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Poll::Ready(result) = self.socket.poll_send(batch) {
                return Poll::Ready(result);
            }
            ready!(self.socket.get_ref().poll_writable(cx))?;
            self.socket.set_writable(true);
        }
    }

    fn max_send_segments(&self) -> usize {
        self.socket.max_send_segments()
    }

    fn max_recv_segments(&self) -> usize {
        self.socket.max_recv_segments()
    }
}
