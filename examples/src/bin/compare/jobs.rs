//! The work, written once for every runtime with tasks.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use rtc_driver::rtc::peer_connection::configuration::RTCConfiguration;
use rtc_driver::{Builder, DataChannel, EndpointBuilder, PeerConnection, Timer};
use rtc_examples::usage;

use crate::clients::Clients;
use crate::reactor;
use crate::{Figure, Job, Runtime, median};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Does a job once.
pub(crate) fn measure(runtime: Runtime, job: Job) -> Result<Vec<Figure>> {
    match runtime {
        Runtime::Tokio => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()?
            .block_on(async { run(rtc_tokio::TokioRuntime::current(), job).await }),
        Runtime::Smol => smol::block_on(run(rtc_smol::SmolRuntime::global(), job)),
        Runtime::AsyncStd => async_std::task::block_on(run(rtc_async_std::AsyncStdRuntime, job)),
        Runtime::Mio => reactor::run(job),
    }
}

async fn run<R: rtc_driver::Runtime>(runtime: R, job: Job) -> Result<Vec<Figure>> {
    let task = runtime.clone();
    // As a task of the runtime rather than on the thread that waits for it.
    spawned(&runtime, async move {
        match job {
            Job::Connect => connect(&task).await,
            Job::Bulk => bulk(&task).await,
            Job::Small => small(&task).await,
            Job::Idle => idle(&task).await,
            Job::Endpoint => endpoint(&task).await,
            Job::IdleEndpoint => idle_endpoint(&task).await,
        }
    })
    .await?
}

async fn connect<R: rtc_driver::Runtime>(runtime: &R) -> Result<Vec<Figure>> {
    let mut samples = Vec::new();
    for _ in 0..CONNECTS {
        let (alice, bob) = (peer(runtime)?, peer(runtime)?);
        let here = alice.create_data_channel("compare", None)?;
        let start = Instant::now();
        signal(&alice, &bob).await?;
        here.opened().await?;
        incoming(&bob).await?.opened().await?;
        samples.push(start.elapsed().as_secs_f64() * 1e3);
        alice.close().await?;
        bob.close().await?;
    }
    Ok(vec![Figure::new("connect", "ms", median(&samples))])
}

async fn bulk<R: rtc_driver::Runtime>(runtime: &R) -> Result<Vec<Figure>> {
    let (cpu, wall) = transfer(runtime, BULK_MESSAGE, BULK_COUNT).await?;
    Ok(bulk_figures(cpu, wall))
}

pub(crate) fn bulk_figures(cpu: Duration, wall: Duration) -> Vec<Figure> {
    let bytes = (BULK_MESSAGE * BULK_COUNT) as f64;
    vec![
        Figure::new("bulk", "MB/s", bytes / 1e6 / wall.as_secs_f64()),
        Figure::new("bulk, CPU", "s/GB", cpu.as_secs_f64() * 1e9 / bytes),
    ]
}

async fn small<R: rtc_driver::Runtime>(runtime: &R) -> Result<Vec<Figure>> {
    let (_, wall) = transfer(runtime, SMALL_MESSAGE, SMALL_COUNT).await?;
    Ok(vec![small_figure(wall)])
}

pub(crate) fn small_figure(wall: Duration) -> Figure {
    let rate = SMALL_COUNT as f64 / 1e3 / wall.as_secs_f64();
    Figure::new("64-byte messages", "1000/s", rate)
}

/// Sends from one task and receives in another. Gives CPU time and wall-clock time.
async fn transfer<R: rtc_driver::Runtime>(
    runtime: &R,
    size: usize,
    count: usize,
) -> Result<(Duration, Duration)> {
    let (alice, bob) = (peer(runtime)?, peer(runtime)?);
    let (here, there) = open(&alice, &bob).await?;
    let (cpu, wall) = (usage::cpu(), Instant::now());
    let sending = spawned(runtime, async move {
        let message = vec![0xa5; size];
        for _ in 0..count {
            here.send(message.as_slice()).await?;
        }
        Ok::<_, Error>(())
    });
    for _ in 0..count {
        there.recv().await.ok_or("the channel closed")??;
    }
    let used = (usage::cpu() - cpu, wall.elapsed());
    sending.await??;
    Ok(used)
}

async fn idle<R: rtc_driver::Runtime>(runtime: &R) -> Result<Vec<Figure>> {
    let before = usage::memory();
    let mut kept = Vec::new();
    for _ in 0..IDLE_PEERS / 2 {
        let (alice, bob) = (peer(runtime)?, peer(runtime)?);
        let channels = open(&alice, &bob).await?;
        kept.push((alice, bob, channels));
    }
    // Until every handshake is forgotten and its memory given back.
    sleep(runtime, SETTLE).await;
    let cpu = usage::cpu();
    sleep(runtime, IDLE_TIME).await;
    let used = usage::cpu() - cpu;
    Ok(idle_figures("idle peer", IDLE_PEERS, before, used))
}

/// Memory and CPU time of `count` idle connections.
pub(crate) fn idle_figures(
    what: &str,
    count: usize,
    before: Option<f64>,
    cpu: Duration,
) -> Vec<Figure> {
    let memory = match (before, usage::memory()) {
        (Some(before), Some(after)) => (after - before) / 1e3 / count as f64,
        _ => f64::NAN,
    };
    let share = cpu.as_secs_f64() / IDLE_TIME.as_secs_f64() * 1e6 / count as f64;
    vec![
        Figure::new(&format!("{what}, memory"), "kB", memory),
        Figure::new(&format!("{what}, CPU"), "µs/s", share),
    ]
}

async fn endpoint<R: rtc_driver::Runtime>(runtime: &R) -> Result<Vec<Figure>> {
    let endpoint = EndpointBuilder::new(runtime.clone())
        .bind(LOOPBACK)
        .build()?;
    let mut clients = Vec::new();
    for _ in 0..ENDPOINT_PEERS {
        let server = endpoint.peer_connection(RTCConfiguration::default())?;
        let client = peer(runtime)?;
        let (here, there) = open(&client, &server).await?;
        // The server's side: an echo.
        runtime.spawn(async move {
            while let Some(Ok(message)) = there.recv().await {
                if there.send(message).await.is_err() {
                    break;
                }
            }
        });
        clients.push((client, here, server));
    }
    let start = Instant::now();
    let mut echoes = Vec::new();
    for (_, channel, _) in &clients {
        let channel = channel.clone();
        echoes.push(spawned(runtime, async move {
            let message = vec![0x5a; ECHO_MESSAGE];
            for _ in 0..ECHOES {
                channel.send(message.as_slice()).await?;
                channel.recv().await.ok_or("the channel closed")??;
            }
            Ok::<_, Error>(())
        }));
    }
    for echo in echoes {
        echo.await??;
    }
    Ok(vec![endpoint_figure(start.elapsed())])
}

pub(crate) fn endpoint_figure(wall: Duration) -> Figure {
    let rate = (ENDPOINT_PEERS * ECHOES) as f64 / 1e3 / wall.as_secs_f64();
    Figure::new("200 peers echo on one endpoint", "1000/s", rate)
}

async fn idle_endpoint<R: rtc_driver::Runtime>(runtime: &R) -> Result<Vec<Figure>> {
    let endpoint = EndpointBuilder::new(runtime.clone())
        .bind(LOOPBACK)
        .build()?;
    let mut clients = Clients::start()?;
    let before = usage::memory();
    let mut kept = Vec::new();
    for _ in 0..MANY {
        let server = endpoint.peer_connection(RTCConfiguration::default())?;
        let channel = server.create_data_channel("compare", None)?;
        server.set_local_description(None)?;
        let answer = clients.answer(&server.gathering_complete().await?)?;
        server.set_remote_description(answer)?;
        channel.opened().await?;
        kept.push((server, channel));
    }
    sleep(runtime, SETTLE).await;
    let cpu = usage::cpu();
    sleep(runtime, IDLE_TIME).await;
    let used = usage::cpu() - cpu;
    Ok(idle_figures(MANY_WHAT, MANY, before, used))
}

fn peer<R: rtc_driver::Runtime>(runtime: &R) -> Result<PeerConnection> {
    Ok(Builder::new(runtime.clone()).bind(LOOPBACK).build()?)
}

async fn signal(alice: &PeerConnection, bob: &PeerConnection) -> Result<()> {
    alice.set_local_description(None)?;
    bob.set_remote_description(alice.gathering_complete().await?)?;
    bob.set_local_description(None)?;
    alice.set_remote_description(bob.gathering_complete().await?)?;
    Ok(())
}

/// Both ends of a channel.
async fn open(alice: &PeerConnection, bob: &PeerConnection) -> Result<(DataChannel, DataChannel)> {
    let here = alice.create_data_channel("compare", None)?;
    signal(alice, bob).await?;
    let there = incoming(bob).await?;
    here.opened().await?;
    there.opened().await?;
    Ok((here, there))
}

async fn incoming(connection: &PeerConnection) -> Result<DataChannel> {
    Ok(connection
        .data_channels()
        .next()
        .await
        .ok_or("no channel")?)
}

async fn sleep<R: rtc_driver::Runtime>(runtime: &R, duration: Duration) {
    let mut timer = runtime.timer();
    let deadline = timer.now() + duration;
    poll_fn(|cx| timer.poll_deadline(cx, deadline)).await;
}

/// What a task of the runtime gives in the end.
fn spawned<R: rtc_driver::Runtime, T: Send + 'static>(
    runtime: &R,
    future: impl Future<Output = T> + Send + 'static,
) -> oneshot::Receiver<T> {
    let (give, take) = oneshot::channel();
    runtime.spawn(async move {
        let _ = give.send(future.await);
    });
    take
}

pub(crate) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Threads of a runtime where that can be chosen; the others take as many as there are cores, or
/// are told by the environment.
pub(crate) const THREADS: usize = 2;

pub(crate) const CONNECTS: usize = 50;
pub(crate) const BULK_MESSAGE: usize = 16 * 1024;
pub(crate) const BULK_COUNT: usize = 65_536;
pub(crate) const SMALL_MESSAGE: usize = 64;
pub(crate) const SMALL_COUNT: usize = 1_000_000;
pub(crate) const IDLE_PEERS: usize = 1000;
pub(crate) const ENDPOINT_PEERS: usize = 200;
pub(crate) const ECHO_MESSAGE: usize = 1000;
pub(crate) const ECHOES: usize = 500;
pub(crate) const SETTLE: Duration = Duration::from_secs(12);
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(20);

/// Connections of the largest endpoint.
pub(crate) const MANY: usize = 10_000;
pub(crate) const MANY_WHAT: &str = "one of 10,000 on an endpoint";
