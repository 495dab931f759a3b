//! Both ends in one process: connect over UDP loopback, transfer both ways at once, check digests.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc_tokio::{DataChannel, Error, PeerConnection};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use crate::throughput::{MESSAGE_SIZE, figures};
use rtc_examples::say;

/// What went wrong.
#[derive(Debug, Error)]
pub(crate) enum SelfTestError {
    #[error("self-test failed: {0}")]
    Connection(#[from] Error),
    #[error("self-test failed: {what} took longer than {} s", time.as_secs())]
    Timeout { what: &'static str, time: Duration },
    #[error("self-test failed: the channel was closed after {received} of {AMOUNT} bytes")]
    ClosedEarly { received: usize },
    #[error("self-test failed: the data that arrived {0} is not what was sent")]
    WrongData(&'static str),
    #[error("self-test failed: {0}")]
    Task(#[from] JoinError),
}

/// Runs the test and prints its figures.
pub(crate) async fn run() -> Result<(), SelfTestError> {
    say("Two peers in this process over UDP loopback, 64 MiB each way at once.");
    let data = [bytes_of(1), bytes_of(2)];

    let begun = Instant::now();
    let (one, other) = (Peer::new()?, Peer::new()?);
    let [near, far] = within(CONNECT_TIMEOUT, "connecting", connect(&one, &other)).await??;
    say(&format!(
        "set-up     {:.1} ms",
        begun.elapsed().as_secs_f64() * 1e3
    ));

    let cpu = cpu_time();
    let begun = Instant::now();
    let there = transfer(begun, &data[0], &near, &far);
    let back = transfer(begun, &data[1], &far, &near);
    let both = async { tokio::try_join!(there, back) };
    let (there, back) = within(TRANSFER_TIMEOUT, "the transfer", both).await??;
    let time = begun.elapsed();
    let cpu = cpu_time()
        .zip(cpu)
        .map(|(end, start)| end.saturating_sub(start));

    for (way, sent, arrived) in [("there", &data[0], &there), ("back", &data[1], &back)] {
        if Sha256::digest(&arrived.data) != Sha256::digest(sent) {
            return Err(SelfTestError::WrongData(way));
        }
        let figures = figures(AMOUNT as u64, arrived.time);
        say(&format!("{way:<10} {figures}, SHA-256 is right"));
    }
    say(&format!("together   {}", figures(2 * AMOUNT as u64, time)));
    if let Some(cpu) = cpu {
        say(&format!(
            "CPU        {:.2} s for both peers",
            cpu.as_secs_f64()
        ));
    }

    let close = async { tokio::try_join!(one.0.close(), other.0.close()) };
    within(CLOSE_TIMEOUT, "closing", close).await??;
    say("ok");
    Ok(())
}

struct Peer(PeerConnection);

impl Peer {
    fn new() -> Result<Self, Error> {
        let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self(rtc_tokio::builder().bind(loopback).build()?))
    }
}

/// Offer, answer, and both ends of a channel once it is open.
async fn connect(one: &Peer, other: &Peer) -> Result<[DataChannel; 2], Error> {
    let (Peer(one), Peer(other)) = (one, other);
    let near = one.create_data_channel("throughput", None)?;
    one.set_local_description(None)?;
    other.set_remote_description(one.gathering_complete().await?)?;
    other.set_local_description(None)?;
    one.set_remote_description(other.gathering_complete().await?)?;
    near.opened().await?;
    let far = other.data_channels().next().await.ok_or(Error::Closed)?;
    Ok([near, far])
}

/// What came out at the other end, and how long after the beginning.
struct Arrived {
    data: Vec<u8>,
    time: Duration,
}

/// Sends `data` in a task of its own and receives it in another.
async fn transfer(
    begun: Instant,
    data: &Bytes,
    from: &DataChannel,
    to: &DataChannel,
) -> Result<Arrived, SelfTestError> {
    let (from, to, data) = (from.clone(), to.clone(), data.clone());
    let sending: JoinHandle<Result<(), SelfTestError>> = tokio::spawn(async move {
        for message in data.chunks(MESSAGE_SIZE) {
            from.send(message).await.map_err(Error::from)?;
        }
        Ok(())
    });
    let receiving: JoinHandle<Result<Arrived, SelfTestError>> = tokio::spawn(async move {
        let mut data = Vec::with_capacity(AMOUNT);
        while data.len() < AMOUNT {
            let message = to.recv().await;
            let message = message.ok_or(SelfTestError::ClosedEarly {
                received: data.len(),
            })??;
            data.extend_from_slice(&message.data);
        }
        Ok(Arrived {
            data,
            time: begun.elapsed(),
        })
    });
    sending.await??;
    receiving.await?
}

async fn within<T>(
    time: Duration,
    what: &'static str,
    future: impl Future<Output = T>,
) -> Result<T, SelfTestError> {
    timeout(time, future)
        .await
        .map_err(|_| SelfTestError::Timeout { what, time })
}

/// Bytes without any pattern, the same ones for the same seed (splitmix64).
fn bytes_of(seed: u64) -> Bytes {
    let mut state = seed;
    let mut bytes = BytesMut::with_capacity(AMOUNT);
    while bytes.len() < AMOUNT {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.freeze()
}

/// CPU time of this process, where the system tells it in a file.
fn cpu_time() -> Option<Duration> {
    /// Ticks in a second in what Linux shows to programs (`USER_HZ`), on every machine.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold blanks; user and system time are the 12th and 13th field
    // after it (proc(5)).
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields
        .split_whitespace()
        .skip(11)
        .map_while(|field| field.parse::<u32>().ok());
    let ticks = times.next()?.checked_add(times.next()?)?;
    Some(Duration::from_secs_f64(f64::from(ticks) / TICKS))
}

/// Bytes each way.
const AMOUNT: usize = 64 * 1024 * 1024;

/// Loopback takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Enough for a slow machine and a build without optimisation.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(120);

const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
