//! What scenarios do with a runtime, whichever it is.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rtc::peer_connection::configuration::RTCConfiguration;
use rtc_driver::{Builder, DataChannel, PeerConnection, Runtime, Timer};

use super::probe::Probe;

/// Two places on a runtime that can reach each other.
#[derive(Clone)]
pub(super) struct Env<R> {
    pub(super) a: Place<R>,
    pub(super) b: Place<R>,
    /// Time does not pass by itself, and nobody waits for it.
    pub(super) is_virtual: bool,
}

/// Where connections are made.
#[derive(Clone)]
pub(super) struct Place<R> {
    pub(super) probe: Probe<R>,
    /// Addresses that can be bound here.
    pub(super) ips: [IpAddr; 2],
    configuration: Arc<dyn Fn() -> RTCConfiguration + Send + Sync>,
}

impl<R: Runtime> Place<R> {
    pub(super) fn new(runtime: R, ips: [&str; 2]) -> Self {
        Self {
            probe: Probe::new(runtime),
            ips: ips.map(|ip| ip.parse().unwrap()),
            configuration: Arc::new(RTCConfiguration::default),
        }
    }

    pub(super) fn with_configuration(
        mut self,
        make: impl Fn() -> RTCConfiguration + Send + Sync + 'static,
    ) -> Self {
        self.configuration = Arc::new(make);
        self
    }

    /// A builder that binds nothing yet.
    pub(super) fn bare_builder(&self) -> Builder<Probe<R>> {
        Builder::new(self.probe.clone()).with_configuration((self.configuration)())
    }

    pub(super) fn builder(&self) -> Builder<Probe<R>> {
        self.bare_builder().bind(SocketAddr::new(self.ips[0], 0))
    }

    pub(super) fn peer(&self) -> PeerConnection {
        self.builder().build().unwrap()
    }
}

impl<R: Runtime> Env<R> {
    pub(super) fn pair(&self) -> (PeerConnection, PeerConnection) {
        (self.a.peer(), self.b.peer())
    }

    /// Two connected peers with both ends of a channel.
    pub(super) async fn open(&self) -> (PeerConnection, PeerConnection, DataChannel, DataChannel) {
        let (alice, bob) = self.pair();
        let (here, there) = self.soon(open(&alice, &bob)).await;
        (alice, bob, here, there)
    }

    /// Runs a task.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Join<T> {
        let outcome: Arc<Mutex<Outcome<T>>> = Arc::default();
        self.a.probe.spawn(Spawned {
            future: Some(Box::pin(future)),
            outcome: Arc::clone(&outcome),
        });
        Join(outcome)
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        let mut timer = self.a.probe.timer();
        let deadline = timer.now() + duration;
        poll_fn(|cx| timer.poll_deadline(cx, deadline)).await;
    }

    /// What `future` gives, unless it takes longer.
    pub(super) async fn timeout<T>(
        &self,
        duration: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let (mut future, mut sleep) = (pin!(future), pin!(self.sleep(duration)));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    /// Keeps a test that would hang for ever from doing so.
    pub(super) async fn soon<T>(&self, future: impl Future<Output = T>) -> T {
        let soon = self.timeout(Duration::from_secs(120), future).await;
        soon.expect("this does not take two minutes")
    }

    /// Waits until `done` says so.
    pub(super) async fn until(&self, mut done: impl FnMut() -> bool) {
        self.soon(async {
            while !done() {
                self.sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Live tasks and sockets.
    pub(super) fn left(&self) -> [usize; 2] {
        let probes = [&self.a.probe, &self.b.probe];
        [
            probes.iter().map(|probe| probe.tasks()).sum(),
            probes.iter().map(|probe| probe.sockets()).sum(),
        ]
    }

    /// Waits until no task and no socket is left.
    pub(super) async fn nothing_left(&self) {
        let nothing = async {
            while self.left() != [0, 0] {
                self.sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = self.timeout(Duration::from_secs(30), nothing).await;
        assert!(
            in_time.is_some(),
            "tasks and sockets left: {:?}",
            self.left()
        );
    }
}

/// Gives what a task has made, its panic too.
pub(super) struct Join<T>(Arc<Mutex<Outcome<T>>>);

struct Outcome<T> {
    result: Option<std::thread::Result<T>>,
    waiter: Option<Waker>,
}

impl<T> Default for Outcome<T> {
    fn default() -> Self {
        Self {
            result: None,
            waiter: None,
        }
    }
}

impl<T> Join<T> {
    /// As awaiting it, but the panic is a value.
    pub(super) async fn result(self) -> std::thread::Result<T> {
        poll_fn(|cx| {
            let mut outcome = self.0.lock().unwrap();
            match outcome.result.take() {
                Some(result) => Poll::Ready(result),
                None => {
                    outcome.waiter = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    pub(super) async fn join(self) -> T {
        self.result()
            .await
            .unwrap_or_else(|panic| resume_unwind(panic))
    }
}

struct Spawned<F: Future> {
    future: Option<Pin<Box<F>>>,
    outcome: Arc<Mutex<Outcome<F::Output>>>,
}

impl<F: Future> Future for Spawned<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let future = this.future.as_mut().unwrap();
        let result = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(panic),
        };
        this.future = None;
        let waiter = {
            let mut outcome = this.outcome.lock().unwrap();
            outcome.result = Some(result);
            outcome.waiter.take()
        };
        waiter.into_iter().for_each(Waker::wake);
        Poll::Ready(())
    }
}

/// Exchanges the descriptions.
pub(super) async fn signal(offerer: &PeerConnection, answerer: &PeerConnection) {
    offerer.set_local_description(None).unwrap();
    let offer = offerer.gathering_complete().await.unwrap();
    answerer.set_remote_description(offer).unwrap();
    answerer.set_local_description(None).unwrap();
    let answer = answerer.gathering_complete().await.unwrap();
    offerer.set_remote_description(answer).unwrap();
}

/// Connects, and gives both ends of a channel.
pub(super) async fn open(
    alice: &PeerConnection,
    bob: &PeerConnection,
) -> (DataChannel, DataChannel) {
    let here = alice.create_data_channel("test", None).unwrap();
    signal(alice, bob).await;
    let there = bob.data_channels().next().await.unwrap();
    here.opened().await.unwrap();
    (here, there)
}

/// Polls a future once and drops it.
pub(super) async fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}

/// Lets others have their turn.
pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Sends back what comes, until the channel ends.
pub(super) async fn echo(channel: DataChannel) {
    while let Some(Ok(message)) = channel.recv().await {
        if channel.send(message).await.is_err() {
            break;
        }
    }
}

/// A message that tells its number, of a length that differs.
pub(super) fn message(number: u32) -> Vec<u8> {
    let length = 4 + number as usize * 7919 % 20_000;
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(length, number as u8);
    bytes
}
