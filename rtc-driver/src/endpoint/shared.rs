use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Instant;

use rtc::endpoint::{Peer, RTCPeerId, RTCUnknownPeer};
use rtc::peer_connection::RTCPeerConnection;
use rtc::shared::{FiveTuple, TaggedBytesMut, TransportProtocol};

use super::EndpointCounters;
use crate::shared::{Phase, Shared};
use crate::waiters::{Key, Registry, Waiters, Watched, When};
use crate::{Error, Timer};

/// What the handles of an endpoint, its connections and its driver share.
pub(crate) struct EndpointShared {
    state: Mutex<EndpointState>,
    pub(super) handles: AtomicUsize,
    /// For connections that are made while the driver sleeps.
    clock: Mutex<Box<dyn Timer>>,
}

pub(crate) struct EndpointState {
    pub(super) phase: Phase,
    pub(super) interfaces: Interfaces,
    pub(super) send_limit: Option<usize>,
    /// Connections that the driver has not taken over yet.
    pub(super) incoming: Vec<Incoming>,
    /// Connections that were given something to do.
    pub(super) woken: Vec<RTCPeerId>,
    /// Datagrams that came in at another member of the group.
    pub(super) inbox: Vec<TaggedBytesMut>,
    /// Paths that now belong to a connection of another member.
    pub(super) released: Vec<FiveTuple>,
    pub(super) unknown: VecDeque<RTCUnknownPeer>,
    /// Live connections, incoming ones included.
    pub(super) peers: usize,
    pub(super) counters: EndpointCounters,
    /// Set by whoever gave the driver something to do.
    pub(super) nudge: bool,
    driver: Option<Waker>,
    waiting: Waiters,
    next_key: u64,
}

/// Local addresses, replaced as a whole when one comes or goes.
pub(super) type Interfaces = Arc<[(SocketAddr, TransportProtocol)]>;

/// A connection that was just made.
pub(super) struct Incoming {
    pub(super) shared: Arc<Shared>,
    /// What its core was told of.
    pub(super) interfaces: Interfaces,
    /// The check by which its peer announced itself.
    pub(super) datagram: Option<TaggedBytesMut>,
}

impl EndpointShared {
    pub(super) fn new(interfaces: Interfaces, clock: Box<dyn Timer>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(EndpointState {
                phase: Phase::Open,
                interfaces,
                send_limit: None,
                incoming: Vec::new(),
                woken: Vec::new(),
                inbox: Vec::new(),
                released: Vec::new(),
                unknown: VecDeque::new(),
                peers: 0,
                counters: EndpointCounters::default(),
                nudge: false,
                driver: None,
                waiting: Waiters::default(),
                next_key: 0,
            }),
            handles: AtomicUsize::new(0),
            clock: Mutex::new(clock),
        })
    }

    /// No code of others runs under the lock, so there is nothing that could poison it halfway.
    pub(super) fn lock(&self) -> MutexGuard<'_, EndpointState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Instant {
        self.clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .now()
    }
}

impl Watched for EndpointShared {
    type State = EndpointState;

    fn with<R>(&self, f: impl FnOnce(&mut EndpointState) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state);
        let driver = if std::mem::take(&mut state.nudge) {
            state.driver.take()
        } else {
            None
        };
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }
}

impl EndpointState {
    /// Err when no connection can be made any more.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Flushing | Phase::Closing | Phase::Ended(Ok(())) => Err(Error::Closed),
            Phase::Ended(Err(error)) => Err(error.clone()),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    pub(super) fn begin_close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
            self.nudge = true;
        }
    }

    pub(super) fn set_driver(&mut self, waker: &Waker) {
        if !self
            .driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(waker))
        {
            self.driver = Some(waker.clone());
        }
    }

    pub(super) fn push_unknown(&mut self, peer: RTCUnknownPeer) {
        if self.unknown.len() >= MAX_UNKNOWN {
            self.unknown.pop_front();
        }
        self.unknown.push_back(peer);
    }

    /// Everybody who waits is to look again.
    pub(super) fn take_waiting(&mut self, wakes: &mut Vec<Waker>) {
        self.waiting.take_all(wakes);
    }

    /// The driver is gone.
    pub(super) fn end(&mut self, result: Result<(), Error>, wakes: &mut Vec<Waker>) {
        if !self.has_ended() {
            self.phase = Phase::Ended(result);
        }
        self.driver = None;
        self.peers = 0;
        self.inbox = Vec::new();
        self.take_waiting(wakes);
    }
}

impl Registry for EndpointState {
    /// There is one list.
    type Place = ();

    fn register(&mut self, (): (), key: &mut Key, when: When, waker: &Waker) {
        self.next_key += 1;
        self.waiting.register(key, self.next_key, when, waker);
    }

    fn unregister(&mut self, (): (), key: &Key) {
        self.waiting.remove(key);
    }
}

/// A connection in its place at the endpoint.
pub(super) struct Member {
    pub(super) shared: Arc<Shared>,
    /// Wakes the driver for this connection.
    pub(super) waker: Option<Waker>,
    /// Its place among the alarms.
    pub(super) alarm: Option<Instant>,
}

impl Peer for Member {
    fn with<R>(&mut self, f: impl FnOnce(&mut RTCPeerConnection) -> R) -> R {
        f(&mut self.shared.lock().core)
    }
}

/// Names a connection to the driver when its handles have given it something to do.
pub(super) struct MemberWaker {
    pub(super) endpoint: Arc<EndpointShared>,
    pub(super) id: RTCPeerId,
}

impl Wake for MemberWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.endpoint.with(|state| {
            // Whoever wakes has taken the waker out, so that a connection is here once.
            state.woken.push(self.id);
            state.nudge = true;
        });
    }
}

/// Unknown peers that wait for a reader.
const MAX_UNKNOWN: usize = 128;
