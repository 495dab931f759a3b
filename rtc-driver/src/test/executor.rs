use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::world::Shared;

/// The tasks of a world, run in the order in which they were woken.
#[derive(Debug, Default)]
pub(super) struct Executor {
    ready: Arc<Mutex<VecDeque<Arc<Task>>>>,
    live: Mutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    tasks: BTreeMap<u64, Arc<Task>>,
    next: u64,
    is_closed: bool,
}

/// What tasks have done, alone or together with others.
#[derive(Debug, Default)]
pub(super) struct Activity {
    pub(super) live: AtomicU64,
    pub(super) polls: AtomicU64,
    pub(super) wakes: AtomicU64,
}

pub(super) struct Task {
    id: u64,
    /// `None` while it is polled, once it has ended, and of the future that a world runs itself.
    future: Mutex<Option<BoxFuture>>,
    is_queued: AtomicBool,
    ready: Arc<Mutex<VecDeque<Arc<Self>>>>,
    activity: Activity,
    /// Those that share an origin.
    group: Arc<Activity>,
}

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Executor {
    /// A task that has no future here; its turn comes by [`next`](Self::next) all the same.
    pub(super) fn foreign_task(&self) -> Arc<Task> {
        Arc::new(self.task(u64::MAX, None, Arc::default()))
    }

    fn task(&self, id: u64, future: Option<BoxFuture>, group: Arc<Activity>) -> Task {
        Task {
            id,
            future: Mutex::new(future),
            is_queued: AtomicBool::new(false),
            ready: Arc::clone(&self.ready),
            activity: Activity::default(),
            group,
        }
    }

    /// Runs a task from now on. After the end of the world it is dropped at once.
    pub(super) fn spawn(
        &self,
        group: &Arc<Activity>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Arc<Task> {
        let mut live = lock(&self.live);
        let id = live.next;
        live.next += 1;
        let future: BoxFuture = Box::pin(future);
        if live.is_closed {
            drop(live);
            drop(future);
            return Arc::new(self.task(id, None, Arc::clone(group)));
        }
        let task = Arc::new(self.task(id, Some(future), Arc::clone(group)));
        live.tasks.insert(id, Arc::clone(&task));
        group.live.fetch_add(1, Ordering::Relaxed);
        drop(live);
        Arc::clone(&task).wake();
        task
    }

    /// The task whose turn it is.
    pub(super) fn next(&self) -> Option<Arc<Task>> {
        let task = lock(&self.ready).pop_front()?;
        task.is_queued.store(false, Ordering::Relaxed);
        Some(task)
    }

    /// Gives a task its turn. If it panics, it ends, and the panic goes on.
    pub(super) fn poll(&self, task: &Arc<Task>) {
        let Some(mut future) = lock(&task.future).take() else {
            return;
        };
        task.count_poll();
        let waker = Waker::from(Arc::clone(task));
        let mut cx = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        match polled {
            Ok(Poll::Pending) if !lock(&self.live).is_closed => {
                *lock(&task.future) = Some(future);
            }
            Ok(_) => {
                drop(future);
                self.end(task);
            }
            Err(panic) => {
                drop(future);
                self.end(task);
                resume_unwind(panic);
            }
        }
    }

    /// Drops the future of a task, unless it is being polled.
    pub(super) fn cancel(&self, task: &Task) {
        let future = lock(&task.future).take();
        if future.is_some() {
            drop(future);
            self.end(task);
        }
    }

    /// Number of live tasks.
    pub(super) fn len(&self) -> usize {
        lock(&self.live).tasks.len()
    }

    /// Drops every task.
    pub(super) fn close(&self) {
        lock(&self.live).is_closed = true;
        loop {
            let task = lock(&self.live).tasks.pop_first();
            let Some((_, task)) = task else { break };
            task.group.live.fetch_sub(1, Ordering::Relaxed);
            let future = lock(&task.future).take();
            drop(future);
        }
        lock(&self.ready).clear();
    }

    fn end(&self, task: &Task) {
        if lock(&self.live).tasks.remove(&task.id).is_some() {
            task.group.live.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Task {
    pub(super) fn count_poll(&self) {
        self.activity.polls.fetch_add(1, Ordering::Relaxed);
        self.group.polls.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.activity.wakes.fetch_add(1, Ordering::Relaxed);
        self.group.wakes.fetch_add(1, Ordering::Relaxed);
        if !self.is_queued.swap(true, Ordering::Relaxed) {
            let ready = Arc::clone(&self.ready);
            lock(&ready).push_back(self);
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id)
            .field("activity", &self.activity)
            .finish_non_exhaustive()
    }
}

/// A spawned task. As a future it gives what the task has made; dropped, it leaves the task running.
///
/// A panic of the task goes on in whoever awaits it; without a handle, in
/// [`World::run`](super::World::run).
#[derive(Debug)]
#[must_use = "drop it to let the task run on its own"]
pub struct JoinHandle<T> {
    shared: Arc<Shared>,
    outcome: Arc<Mutex<Outcome<T>>>,
    task: Arc<Task>,
}

#[derive(Debug)]
struct Outcome<T> {
    result: Option<std::thread::Result<T>>,
    waiter: Option<Waker>,
}

impl<T: Send + 'static> JoinHandle<T> {
    pub(super) fn spawn(
        shared: &Arc<Shared>,
        group: &Arc<Activity>,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let outcome = Arc::new(Mutex::new(Outcome {
            result: None,
            waiter: None,
        }));
        let task = Joined {
            future: Some(Box::pin(future)),
            outcome: Arc::clone(&outcome),
        };
        Self {
            shared: Arc::clone(shared),
            outcome,
            task: shared.executor.spawn(group, task),
        }
    }
}

impl<T> JoinHandle<T> {
    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        lock(&self.outcome).result.is_some()
    }

    /// How often the task was polled.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.task.activity.polls.load(Ordering::Relaxed)
    }

    /// How often the task was woken, its beginning included. Wake-ups that come before it had its turn
    /// are one poll.
    #[must_use]
    pub fn wakes(&self) -> u64 {
        self.task.activity.wakes.load(Ordering::Relaxed)
    }

    /// Drops the future of the task, if it has not ended. The handle will never give anything then.
    pub fn cancel(&self) {
        self.shared.executor.cancel(&self.task);
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut outcome = lock(&self.outcome);
        match outcome.result.take() {
            Some(Ok(value)) => Poll::Ready(value),
            Some(Err(panic)) => {
                drop(outcome);
                resume_unwind(panic)
            }
            None => {
                outcome.waiter = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Runs a future and keeps what it makes for a [`JoinHandle`].
struct Joined<F: Future> {
    future: Option<Pin<Box<F>>>,
    outcome: Arc<Mutex<Outcome<F::Output>>>,
}

impl<F: Future> Future for Joined<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(future) = &mut this.future else {
            return Poll::Ready(());
        };
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let result = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(panic),
        };
        this.future = None;
        if Arc::strong_count(&this.outcome) == 1 {
            if let Err(panic) = result {
                resume_unwind(panic);
            }
            return Poll::Ready(());
        }
        let mut outcome = lock(&this.outcome);
        outcome.result = Some(result);
        let waiter = outcome.waiter.take();
        drop(outcome);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        Poll::Ready(())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
