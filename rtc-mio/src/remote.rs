use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::TrySendError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;
use rtc_driver::rtc::peer_connection::RTCPeerConnection;

/// Reaches a connection from other threads; made by
/// [`PeerConnection::remote`](crate::PeerConnection::remote).
#[derive(Clone)]
pub struct Remote {
    calls: Arc<Calls>,
}

impl Remote {
    pub(crate) fn new(calls: &Arc<Calls>, waker: Arc<Waker>) -> Self {
        calls.lock().waker = Some(waker);
        Self {
            calls: Arc::clone(calls),
        }
    }

    /// Has the thread of the connection call `f`, and wakes it.
    ///
    /// # Errors
    /// `f` comes back: [`TrySendError::Full`] when 256 calls wait already,
    /// [`TrySendError::Disconnected`] when the connection is gone.
    pub fn call<F>(&self, f: F) -> Result<(), TrySendError<F>>
    where
        F: FnOnce(&mut RTCPeerConnection) + Send + 'static,
    {
        let mut queue = self.calls.lock();
        if queue.closed {
            return Err(TrySendError::Disconnected(f));
        }
        if queue.calls.len() >= MAX_CALLS {
            return Err(TrySendError::Full(f));
        }
        queue.calls.push_back(Box::new(f));
        self.calls.waiting.store(true, Ordering::Release);
        // Those that follow are taken in the same turn.
        let is_first = queue.calls.len() == 1;
        let waker = is_first.then(|| queue.waker.clone()).flatten();
        drop(queue);
        if let Some(waker) = waker {
            // Err: the reactor is gone, and the connection will not be driven any more.
            let _ = waker.wake();
        }
        Ok(())
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

type Call = Box<dyn FnOnce(&mut RTCPeerConnection) + Send>;

/// What remotes have asked for and the connection has not done yet.
#[derive(Default)]
pub(crate) struct Calls {
    queue: Mutex<Queue>,
    /// Whether there are any, without the lock.
    waiting: AtomicBool,
}

#[derive(Default)]
struct Queue {
    calls: VecDeque<Call>,
    /// Kept here, since a waker that is dropped takes its event with it.
    waker: Option<Arc<Waker>>,
    closed: bool,
}

impl Calls {
    pub(crate) fn are_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Does what waits now; what these calls ask for in turn is for the next time.
    pub(crate) fn run(&self, core: &mut RTCPeerConnection) {
        if !self.are_waiting() {
            return;
        }
        let calls = {
            let mut queue = self.lock();
            self.waiting.store(false, Ordering::Release);
            std::mem::take(&mut queue.calls)
        };
        for call in calls {
            call(core);
        }
    }

    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let calls = std::mem::take(&mut queue.calls);
        // What they hold may have a remote itself.
        drop(queue);
        drop(calls);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under the lock can panic and leave a queue that is not one.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls that wait. More means that the thread of the connection does not keep up.
const MAX_CALLS: usize = 256;
