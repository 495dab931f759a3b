use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rtc::endpoint::{RTCEndpoint, RTCEndpointEvent, RTCPeerId};
use rtc::peer_connection::RTCEvent;
use rtc::shared::{TaggedBytesMut, Transmit};

use super::group::Link;
use super::shared::{EndpointShared, Incoming, Interfaces, Member, MemberWaker};
use super::{Endpoint, EndpointCounters};
use crate::pump::{Core, Progress, Pump};
use crate::service::Services;
use crate::shared::{Phase, Turn};
use crate::{Bound, DatagramSocket, Error, InterfaceWatch, Timer};

/// Carries datagrams and time to every connection of an endpoint; to be spawned on the runtime of its
/// sockets.
///
/// It ends by itself, with its sockets, when the endpoint has. If it is dropped earlier, the handles of
/// the endpoint and of its connections get [`Error::DriverLost`].
#[must_use = "a driver does nothing unless it is polled or spawned"]
pub struct EndpointDriver<S: DatagramSocket, T: Timer> {
    shared: Arc<EndpointShared>,
    core: Carrier,
    pump: Pump<S>,
    timer: T,
    watch: Option<InterfaceWatch<S>>,
    services: Option<Services<S, RTCPeerId>>,
    /// When connections are to be looked at on their own account, see [`State::alarm`](crate::shared::State::alarm).
    alarms: BTreeSet<(Instant, RTCPeerId)>,
    /// Connections to be looked at in this turn.
    attended: Vec<RTCPeerId>,
    close_told: bool,
    /// Kept for their memory.
    woken: Vec<RTCPeerId>,
    inbox: Vec<TaggedBytesMut>,
    wakes: Vec<Waker>,
}

/// What the pump drives.
pub(super) struct Carrier {
    pub(super) endpoint: RTCEndpoint<Member>,
    pub(super) link: Option<Link>,
    /// An address has come or gone.
    moved: bool,
}

impl Core for Carrier {
    fn handle_read_batch(&mut self, batch: &mut Vec<TaggedBytesMut>) {
        self.endpoint.handle_read_batch(batch);
        self.exchange();
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        max_datagrams: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        self.endpoint.poll_transmit(now, max_datagrams, buf)
    }

    fn handle_event(&mut self, event: RTCEvent) {
        self.moved |= !matches!(event, RTCEvent::SendFailed { .. });
        self.endpoint.handle_event(event);
        self.exchange();
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.exchange();
    }
}

impl Carrier {
    /// Tells the other members of a group what has changed, and gives them what is theirs.
    fn exchange(&mut self) {
        if let Some(link) = &mut self.link {
            link.exchange(&mut self.endpoint);
        }
    }
}

impl<S: DatagramSocket, T: Timer> EndpointDriver<S, T> {
    /// An endpoint over sockets, with a timer for the driver and a clock for those who make
    /// connections.
    ///
    /// # Errors
    /// [`Error::Socket`] when a socket has no address, [`Error::Interfaces`] when one has a wildcard
    /// address and the system does not tell what that stands for.
    pub fn with_sockets(
        sockets: impl IntoIterator<Item = S>,
        timer: T,
        clock: impl Timer,
    ) -> Result<(Endpoint, Self), Error> {
        let bound = Bound::endpoint(sockets)?;
        let endpoint = bound.core;
        let interfaces = Interfaces::from(endpoint.local_interfaces());
        let shared = EndpointShared::new(interfaces, Box::new(clock));
        Ok((
            Endpoint::new(Arc::clone(&shared)),
            Self {
                shared,
                core: Carrier {
                    endpoint,
                    link: None,
                    moved: false,
                },
                pump: bound.pump,
                timer,
                watch: bound.watch,
                services: None,
                alarms: BTreeSet::new(),
                attended: Vec::new(),
                close_told: false,
                woken: Vec::new(),
                inbox: Vec::new(),
                wakes: Vec::new(),
            },
        ))
    }

    /// Follows interfaces that come and go.
    pub(super) fn watch(&mut self, watch: Option<InterfaceWatch<S>>) {
        self.watch = watch;
    }

    /// Does what connections ask for from now on.
    pub(super) fn serve(&mut self, services: Services<S, RTCPeerId>) {
        self.services = Some(services);
    }

    /// Gives connections what came of their requests.
    fn take_answers(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(services) = &mut self.services else {
            return;
        };
        for (id, request, answer) in services.poll(cx) {
            if let Some(member) = self.core.endpoint.get_mut(id) {
                let core = &mut member.shared.lock().core;
                core.handle_answer(now, request, answer);
            }
            self.attended.push(id);
        }
    }

    /// Makes the endpoint a member of a group, before it has connections.
    pub(super) fn join(&mut self, link: Link) {
        self.core.endpoint.share_port();
        self.core.link = Some(link);
    }

    /// The addresses of the sockets.
    pub(super) fn bound_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.pump.local_addrs().map(|(addr, _)| addr)
    }

    pub(super) fn shared(&self) -> &Arc<EndpointShared> {
        &self.shared
    }

    /// Takes what was left for the driver since its last turn. Err when it has ended.
    fn take_news(&mut self, cx: &Context<'_>, now: Instant) -> Result<(), Result<(), Error>> {
        let mut woken = std::mem::take(&mut self.woken);
        let mut inbox = std::mem::take(&mut self.inbox);
        let (incoming, released, close) = {
            let mut state = self.shared.lock();
            if let Phase::Ended(result) = &state.phase {
                return Err(result.clone());
            }
            // Before anything is looked at: whoever leaves something from now on wakes us again.
            state.set_driver(cx.waker());
            std::mem::swap(&mut state.woken, &mut woken);
            std::mem::swap(&mut state.inbox, &mut inbox);
            (
                std::mem::take(&mut state.incoming),
                std::mem::take(&mut state.released),
                state.phase == Phase::Closing,
            )
        };
        for incoming in incoming {
            self.insert(incoming, now);
        }
        if close && !std::mem::replace(&mut self.close_told, true) {
            let ids: Vec<_> = self.core.endpoint.peer_ids().collect();
            for id in ids {
                if let Some(member) = self.core.endpoint.get(id) {
                    member.shared.lock().begin_close();
                    woken.push(id);
                }
            }
        }
        for id in woken.drain(..) {
            self.attend(id, now);
        }
        self.woken = woken;
        while let Some(&(at, id)) = self.alarms.first()
            && at <= now
        {
            self.alarms.pop_first();
            if let Some(member) = self.core.endpoint.get_mut(id) {
                member.alarm = None;
            }
            self.attend(id, now);
        }
        for path in released {
            self.core.endpoint.release_path(&path);
        }
        if !inbox.is_empty() {
            for message in &mut inbox {
                // It has waited.
                message.now = now;
            }
            self.core.endpoint.handle_read_batch(&mut inbox);
            // Whatever is not known here by now is known nowhere.
            while let Some(stray) = self.core.endpoint.poll_stray() {
                self.core.endpoint.reject(stray);
            }
        }
        self.inbox = inbox;
        self.core.exchange();
        Ok(())
    }

    fn insert(&mut self, incoming: Incoming, now: Instant) {
        let Incoming {
            shared,
            interfaces,
            datagram,
        } = incoming;
        let endpoint = &mut self.core.endpoint;
        let gone = interfaces
            .iter()
            .filter(|it| !endpoint.local_interfaces().contains(it));
        for &(local_addr, _) in gone {
            let event = RTCEvent::PathLost { local_addr };
            shared.lock().core.handle_event(event);
        }
        let id = endpoint.insert(Member {
            shared,
            waker: None,
            alarm: None,
        });
        if let Some(member) = endpoint.get_mut(id) {
            let endpoint = Arc::clone(&self.shared);
            member.waker = Some(Arc::new(MemberWaker { endpoint, id }).into());
        }
        if let Some(datagram) = datagram {
            endpoint.handle_read_batch(&mut vec![datagram]);
        }
        self.attend(id, now);
    }

    /// Looks at a connection that its handles have used, or whose time is up.
    fn attend(&mut self, id: RTCPeerId, now: Instant) {
        if let Some(member) = self.core.endpoint.get_mut(id) {
            member.shared.lock().close_if_flushed(now);
            self.attended.push(id);
        }
    }

    /// Passes on what the turn has brought to each connection. True when one wants another turn.
    fn settle(&mut self, now: Instant) -> bool {
        let mut again = Vec::new();
        while let Some(id) = self
            .attended
            .pop()
            .or_else(|| self.core.endpoint.poll_ready_peer())
        {
            let Some(member) = self.core.endpoint.get_mut(id) else {
                continue;
            };
            if let Some(services) = &mut self.services {
                loop {
                    let request = member.shared.lock().core.poll_request();
                    let Some(request) = request else { break };
                    if let Some((request, answer)) = services.begin(id, request, &mut self.pump) {
                        let core = &mut member.shared.lock().core;
                        core.handle_answer(now, request, answer);
                    }
                    // To be looked at again by the endpoint, and its lookup to be polled.
                    again.push(id);
                }
            }
            let (turn, alarm) = {
                let mut state = member.shared.lock();
                if let Some(waker) = &member.waker {
                    state.set_driver(waker);
                }
                // What is blocked stays with the pump, and is sent whatever becomes of the connection.
                (state.settle(now, false, &mut self.wakes), state.alarm())
            };
            let alarm = alarm.filter(|_| !matches!(turn, Turn::Ended(_)));
            let before = std::mem::replace(&mut member.alarm, alarm);
            if before != alarm {
                if let Some(before) = before {
                    self.alarms.remove(&(before, id));
                }
                self.alarms.extend(alarm.map(|alarm| (alarm, id)));
            }
            match turn {
                Turn::Ended(_) => {
                    if let Some(services) = &mut self.services {
                        services.forget(id, &mut self.pump);
                    }
                    drop(self.core.endpoint.remove(id));
                }
                Turn::Again => again.push(id),
                Turn::Until(_) => {}
            }
        }
        for &id in &again {
            self.attend(id, now);
        }
        self.core.exchange();
        !again.is_empty()
    }

    /// Tells the handles of the endpoint how things stand. True when the endpoint is over.
    fn report(&mut self) -> bool {
        let endpoint = &mut self.core.endpoint;
        let mut state = self.shared.lock();
        if std::mem::take(&mut self.core.moved) {
            state.interfaces = Interfaces::from(endpoint.local_interfaces());
        }
        while let Some(event) = endpoint.poll_event() {
            if let RTCEndpointEvent::UnknownPeer(peer) = event {
                state.push_unknown(peer);
                state.take_waiting(&mut self.wakes);
            }
        }
        state.peers = endpoint.len() + state.incoming.len();
        state.counters = EndpointCounters {
            datagrams: endpoint.counters(),
            sockets: self.pump.counters(),
            handed_over: self.core.link.as_ref().map_or(0, Link::handed_over),
            ..state.counters
        };
        let wanted = state.phase == Phase::Open && self.shared.handles.load(Ordering::Acquire) > 0;
        let over = state.peers == 0 && !wanted && !self.pump.is_blocked();
        if over {
            state.end(Ok(()), &mut self.wakes);
        }
        over
    }
}

impl<S: DatagramSocket + Unpin, T: Timer + Unpin> Future for EndpointDriver<S, T> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let now = this.timer.now();
        if let Err(result) = this.take_news(cx, now) {
            return Poll::Ready(result);
        }
        this.take_answers(cx, now);
        if let Some(watch) = &mut this.watch {
            watch.follow(cx, &mut this.pump, &mut this.core);
        }
        let progress = this.pump.drive(cx, now, &mut this.core);
        let again = this.settle(now);
        let over = this.report();
        this.wakes.drain(..).for_each(Waker::wake);
        if over {
            return Poll::Ready(Ok(()));
        }
        let alarm = this.alarms.first().map(|(at, _)| *at);
        let deadline = [this.core.endpoint.poll_timeout(), alarm];
        if progress == Progress::MoreWork {
            this.timer.wake_after_others(cx);
        } else if again {
            cx.waker().wake_by_ref();
        } else if let Some(deadline) = deadline.into_iter().flatten().min()
            && this.timer.poll_deadline(cx, deadline).is_ready()
        {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<S: DatagramSocket, T: Timer> Drop for EndpointDriver<S, T> {
    fn drop(&mut self) {
        let incoming = {
            let mut state = self.shared.lock();
            state.end(Err(Error::DriverLost), &mut self.wakes);
            std::mem::take(&mut state.incoming)
        };
        if let Some(link) = &self.core.link {
            link.leave();
        }
        let ids: Vec<_> = self.core.endpoint.peer_ids().collect();
        let members = ids.iter().filter_map(|id| self.core.endpoint.get(*id));
        for shared in members
            .map(|member| &member.shared)
            .chain(incoming.iter().map(|incoming| &incoming.shared))
        {
            shared.lock().end(Err(Error::DriverLost), &mut self.wakes);
        }
        self.wakes.drain(..).for_each(Waker::wake);
    }
}

impl<S: DatagramSocket, T: Timer> fmt::Debug for EndpointDriver<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointDriver")
            .field("peers", &self.core.endpoint.len())
            .finish_non_exhaustive()
    }
}
