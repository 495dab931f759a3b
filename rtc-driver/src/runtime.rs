use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::{DatagramSocket, Interface, InterfaceChanges, SocketOptions};

/// Clock and alarm in one, so that a virtual clock replaces both.
pub trait Timer: Send + 'static {
    /// The time. Never goes backwards.
    fn now(&self) -> Instant;

    /// Ready once `now() >= deadline`, judged by the clock; else sets the alarm, if it is not set to
    /// this deadline already, and registers the waker.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()>;

    /// Has the task polled again soon, after others had their turn. A runtime that looks at its
    /// sockets only now and then while tasks are ready does that first here: otherwise a sender that
    /// always has more to send fills the receive buffer of a peer in the same process before that
    /// peer learns of the first datagram.
    fn wake_after_others(&mut self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }
}

impl<T: Timer + ?Sized> Timer for Box<T> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        (**self).poll_deadline(cx, deadline)
    }

    fn wake_after_others(&mut self, cx: &mut Context<'_>) {
        (**self).wake_after_others(cx);
    }
}

/// What a runtime gives: sockets, timers, tasks and names.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Its UDP socket.
    type Socket: DatagramSocket + Unpin;
    /// Its timer.
    type Timer: Timer + Unpin;

    /// Makes a bound socket the runtime's.
    ///
    /// # Errors
    /// When the system or the runtime refuses.
    fn wrap(&self, socket: std::net::UdpSocket) -> io::Result<Self::Socket>;

    /// Binds a socket: one of the system, unless the runtime has sockets of another kind.
    ///
    /// # Errors
    /// When the system or the runtime refuses.
    fn bind(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<Self::Socket> {
        self.wrap(options.open(addr)?)
    }

    /// Every address of every interface: those of this machine, unless the runtime has a network of
    /// its own.
    ///
    /// # Errors
    /// When the system does not list them.
    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        Interface::list()
    }

    /// Tells when [`interfaces`](Self::interfaces) may have changed.
    fn interface_changes(&self) -> InterfaceChanges {
        InterfaceChanges::of_system()
    }

    /// A new timer.
    fn timer(&self) -> Self::Timer;

    /// Runs a task until it ends.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);

    /// A copy for a task of the runtime itself, which is used for sockets and names and must not keep
    /// the runtime alive. Where a clone does not, it serves.
    #[must_use]
    fn for_tasks(&self) -> Self {
        self.clone()
    }

    /// The addresses of a host.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// Where sockets come from: any [`Runtime`], and reactors that have no tasks.
pub trait Network {
    /// Its UDP socket.
    type Socket: DatagramSocket;

    /// See [`Runtime::bind`].
    ///
    /// # Errors
    /// When the system or the reactor refuses.
    fn bind_socket(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<Self::Socket>;

    /// See [`Runtime::interfaces`].
    ///
    /// # Errors
    /// When the system does not list them.
    fn list_interfaces(&self) -> io::Result<Vec<Interface>> {
        Interface::list()
    }

    /// See [`Runtime::interface_changes`].
    fn watch_interfaces(&self) -> InterfaceChanges {
        InterfaceChanges::of_system()
    }
}

impl<R: Runtime> Network for R {
    type Socket = R::Socket;

    fn bind_socket(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<R::Socket> {
        self.bind(addr, options)
    }

    fn list_interfaces(&self) -> io::Result<Vec<Interface>> {
        self.interfaces()
    }

    fn watch_interfaces(&self) -> InterfaceChanges {
        self.interface_changes()
    }
}
