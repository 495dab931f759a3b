use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use rtc_driver::udp::UdpState;
use rtc_driver::{DatagramSocket, RecvMeta, SendBatch};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A UDP socket on tokio.
#[derive(Debug)]
pub struct TokioSocket {
    socket: UdpSocket,
    state: UdpState,
}

impl TokioSocket {
    /// Takes a bound socket over, on the current runtime.
    ///
    /// # Errors
    /// When the system or the runtime refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        // Makes it non-blocking as well, which tokio relies on.
        let state = UdpState::new(&socket)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            state,
        })
    }
}

impl DatagramSocket for TokioSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            let mut last = None;
            let result = self.socket.try_io(Interest::READABLE, || {
                let received = self.state.recv(&self.socket, bufs, meta)?;
                if received.drained {
                    // What tokio would learn from one more call. It has to learn it here: readiness
                    // that comes after this call is not cleared by it.
                    last = Some(received.count);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(received.count)
            });
            match (result, last) {
                (_, Some(count)) | (Ok(count), None) => return Poll::Ready(Ok(count)),
                (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => {}
                (Err(error), None) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_send_ready(cx))?;
            let Self { socket, state } = self;
            match socket.try_io(Interest::WRITABLE, || state.send(&*socket, batch)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn max_send_segments(&self) -> usize {
        self.state.max_send_segments()
    }

    fn max_recv_segments(&self) -> usize {
        self.state.max_recv_segments()
    }
}
