use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rtc::peer_connection::RTCPeerConnection;

use crate::pump::{Progress, Pump, PumpCounters};
use crate::service::Services;
use crate::shared::{Handle, Locked, Phase, Shared, Turn};
use crate::{Bound, DatagramSocket, Error, InterfaceWatch, PeerConnection, Timer};

/// Carries datagrams and time to one connection; to be spawned on the runtime of its sockets.
///
/// It ends by itself, with its sockets, once the connection is closed: by
/// [`close`](PeerConnection::close), by the peer, or because the last handle was dropped. If it is
/// dropped earlier, handles get [`Error::DriverLost`].
#[must_use = "a driver does nothing unless it is polled or spawned"]
pub struct Driver<S: DatagramSocket, T: Timer> {
    shared: Arc<Shared>,
    pump: Pump<S>,
    timer: T,
    watch: Option<InterfaceWatch<S>>,
    services: Option<Services<S, ()>>,
    /// Kept for its memory.
    wakes: Vec<Waker>,
}

impl<S: DatagramSocket, T: Timer> Driver<S, T> {
    /// Joins a core with sockets and a timer. The core is told the addresses of the sockets; a socket
    /// of a wildcard address has those of every interface of this machine, loopback excepted unless
    /// there is nothing else.
    ///
    /// # Errors
    /// [`Error::Socket`] when a socket has no address, [`Error::Core`] when the core does not take
    /// one.
    ///
    /// There is no runtime to look names up or bind further sockets: servers of STUN and TURN are to be
    /// given by address, or the requests of the core ([`RTCPeerConnection::poll_request`]) answered by
    /// the caller.
    pub fn with_sockets(
        core: RTCPeerConnection,
        sockets: impl IntoIterator<Item = S>,
        timer: T,
    ) -> Result<(PeerConnection, Self), Error> {
        let Bound { core, pump, watch } = Bound::connection(core, sockets)?;
        let shared = Shared::new(core);
        let connection = PeerConnection::new(Handle::new(&shared));
        Ok((
            connection,
            Self {
                shared,
                pump,
                timer,
                watch,
                services: None,
                wakes: Vec::new(),
            },
        ))
    }

    /// Follows interfaces that come and go.
    pub(crate) fn watch(&mut self, watch: Option<InterfaceWatch<S>>) {
        self.watch = watch;
    }

    /// Does what the connection asks for from now on.
    pub(crate) fn serve(&mut self, services: Services<S, ()>) {
        self.services = Some(services);
    }

    /// What the sockets have carried so far.
    #[must_use]
    pub fn counters(&self) -> PumpCounters {
        self.pump.counters()
    }
}

impl<S: DatagramSocket + Unpin, T: Timer + Unpin> Future for Driver<S, T> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            shared,
            pump,
            timer,
            watch,
            services,
            wakes,
        } = self.get_mut();
        let now = timer.now();
        {
            let mut state = shared.lock();
            if let Phase::Ended(result) = &state.phase {
                return Poll::Ready(result.clone());
            }
            // Before anything is looked at: whoever changes the state from now on wakes us again.
            state.set_driver(cx.waker());
            state.close_if_flushed(now);
        }
        if let Some(watch) = watch {
            watch.follow(cx, pump, &mut Locked(shared));
        }
        if let Some(services) = services {
            serve(services, cx, now, pump, shared);
        }
        let progress = pump.drive(cx, now, &mut Locked(shared));
        let turn = shared.lock().settle(now, pump.is_blocked(), wakes);
        wakes.drain(..).for_each(Waker::wake);
        if services.is_some() && shared.lock().core.has_requests() {
            cx.waker().wake_by_ref();
        }
        let deadline = match turn {
            Turn::Ended(result) => return Poll::Ready(result),
            Turn::Again => Some(now),
            Turn::Until(deadline) => deadline,
        };
        if progress == Progress::MoreWork {
            timer.wake_after_others(cx);
        } else if let Some(deadline) = deadline
            && timer.poll_deadline(cx, deadline).is_ready()
        {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Does what the connection has asked for, and gives it what came of it.
fn serve<S: DatagramSocket>(
    services: &mut Services<S, ()>,
    cx: &mut Context<'_>,
    now: Instant,
    pump: &mut Pump<S>,
    shared: &Shared,
) {
    loop {
        let request = shared.lock().core.poll_request();
        let Some(request) = request else { break };
        if let Some((id, answer)) = services.begin((), request, pump) {
            shared.lock().core.handle_answer(now, id, answer);
        }
    }
    for ((), id, answer) in services.poll(cx) {
        shared.lock().core.handle_answer(now, id, answer);
    }
}

impl<S: DatagramSocket, T: Timer> Drop for Driver<S, T> {
    fn drop(&mut self) {
        self.shared
            .lock()
            .end(Err(Error::DriverLost), &mut self.wakes);
        self.wakes.drain(..).for_each(Waker::wake);
    }
}

impl<S: DatagramSocket, T: Timer> fmt::Debug for Driver<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
