use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use mio::event::{Event, Source};
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use rtc_driver::udp::EdgeSocket;
use rtc_driver::{DatagramSocket, Error, RecvMeta, SendBatch};

/// A UDP socket on a reactor of mio.
///
/// As a [`DatagramSocket`] it registers no waker: who gives it `Pending` has to be told by
/// [`process`](Self::process) when to try again.
#[derive(Debug)]
pub struct MioSocket {
    socket: EdgeSocket<UdpSocket>,
    token: Option<Token>,
}

impl MioSocket {
    /// Takes a bound socket over.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        Ok(Self {
            socket: EdgeSocket::new(UdpSocket::from_std(socket))?,
            token: None,
        })
    }

    pub(crate) fn all(
        sockets: impl IntoIterator<Item = std::net::UdpSocket>,
    ) -> Result<Vec<Self>, Error> {
        let wrap = |socket: std::net::UdpSocket| {
            let addr = socket.local_addr();
            Self::new(socket).map_err(|error| Error::Socket {
                addr: addr.unwrap_or_else(|_| ([0, 0, 0, 0], 0).into()),
                kind: error.kind(),
            })
        };
        sockets.into_iter().map(wrap).collect()
    }

    /// What the socket is registered as.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.token
    }

    /// Notes what an event says. `false`: it is not of this socket.
    pub fn process(&mut self, event: &Event) -> bool {
        if self.token != Some(event.token()) {
            return false;
        }
        // An error is learnt by the call that gets it.
        if event.is_readable() || event.is_error() || event.is_read_closed() {
            self.socket.set_readable(true);
        }
        if event.is_writable() || event.is_error() || event.is_write_closed() {
            self.socket.set_writable(true);
        }
        true
    }

    /// Without this, mio tells of no further readiness on some systems.
    fn tell_mio(&self) {
        let _ = self
            .socket
            .get_ref()
            .try_io(|| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }

    #[cfg(test)]
    pub(crate) fn fill_up(&mut self) {
        self.socket.set_writable(false);
    }

    #[cfg(test)]
    pub(crate) fn have_the_system_tell_again(&mut self, registry: &Registry) {
        let token = self.token.unwrap();
        let socket = self.socket.get_mut();
        socket.reregister(registry, token, BOTH).unwrap();
    }

    fn registered(&mut self, token: Option<Token>) {
        self.token = token;
        // Whatever the reactor before knew.
        self.socket.set_readable(true);
        self.socket.set_writable(true);
    }
}

impl DatagramSocket for MioSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    fn poll_recv(
        &mut self,
        _: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.socket.poll_recv(bufs, meta);
        if received.is_pending() {
            self.tell_mio();
        }
        received
    }

    fn poll_send(&mut self, _: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        let sent = self.socket.poll_send(batch);
        if sent.is_pending() {
            self.tell_mio();
        }
        sent
    }

    fn max_send_segments(&self) -> usize {
        self.socket.max_send_segments()
    }

    fn max_recv_segments(&self) -> usize {
        self.socket.max_recv_segments()
    }
}

/// Registers for reading and writing, whatever the interest: a connection needs both.
impl Source for MioSocket {
    fn register(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.socket.get_mut().register(registry, token, BOTH)?;
        self.registered(Some(token));
        Ok(())
    }

    fn reregister(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.socket.get_mut().reregister(registry, token, BOTH)?;
        self.registered(Some(token));
        Ok(())
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.get_mut().deregister(registry)?;
        self.registered(None);
        Ok(())
    }
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
