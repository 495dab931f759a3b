//! What is measured: every job gives one figure for one stack.

use std::time::Duration;

use cpu_time::ThreadTime;

use crate::{Connection, Pair};

/// Size of a message of the bulk job.
pub const LARGE: usize = 16 * 1024;
/// Size of a message of the small-message job.
pub const SMALL: usize = 64;
/// Large messages on the way at once: 1 MiB.
pub const LARGE_WINDOW: u64 = 64;
/// Small messages on the way at once: 256 KiB.
pub const SMALL_WINDOW: u64 = 4096;

/// Bulk transfer in megabytes (10^6) per CPU-second, both ends together.
pub fn bulk<C: Connection>(mebibytes: u64) -> f64 {
    let count = mebibytes * 1024 * 1024 / LARGE as u64;
    let spent = transfer::<C>(LARGE, count, LARGE_WINDOW);
    count as f64 * LARGE as f64 / 1e6 / spent.as_secs_f64()
}

/// Small messages in millions per CPU-second, both ends together.
pub fn small<C: Connection>(count: u64, window: u64) -> f64 {
    count as f64 / 1e6 / transfer::<C>(SMALL, count, window).as_secs_f64()
}

/// Milliseconds of CPU time from the making of two peers to a channel open at both, with
/// certificates made beforehand (`ready`) or on the way.
pub fn handshake<C: Connection>(pairs: u32, ready: bool) -> f64 {
    let certificates = ready.then(|| [C::certificate(), C::certificate()]);
    let start = ThreadTime::now();
    for _ in 0..pairs {
        drop(Pair::<C>::connected(certificates.as_ref()));
    }
    start.elapsed().as_secs_f64() * 1e3 / f64::from(pairs)
}

/// Milliseconds of CPU time to make two certificates.
pub fn certificates<C: Connection>(count: u32) -> f64 {
    let start = ThreadTime::now();
    for _ in 0..count {
        drop([C::certificate(), C::certificate()]);
    }
    start.elapsed().as_secs_f64() * 1e3 / f64::from(count)
}

/// Allocations (with reallocations) per message in steady state, both ends together; `allocations`
/// reads the counter.
pub fn allocations<C: Connection>(
    size: usize,
    count: u64,
    window: u64,
    allocations: impl Fn() -> usize,
) -> f64 {
    let mut pair = Pair::<C>::connected(None);
    let payload = vec![0xa5; size];
    pair.transfer(&payload, count, window);
    let before = allocations();
    pair.transfer(&payload, count, window);
    (allocations() - before) as f64 / count as f64
}

/// Bytes on the heap per connected peer that has been idle for `seconds`; `live` reads how many
/// are in use.
pub fn idle<C: Connection>(pairs: usize, seconds: u64, live: impl Fn() -> usize) -> f64 {
    // What is made once per process is not a peer's.
    drop(Pair::<C>::connected(None));
    let mut all = Vec::with_capacity(pairs);
    let before = live();
    for _ in 0..pairs {
        let mut pair = Pair::<C>::connected(None);
        pair.idle(Duration::from_secs(seconds));
        all.push(pair);
    }
    let after = live();
    let inline = size_of::<Pair<C>>() / 2;
    (after - before) as f64 / (2 * pairs) as f64 + inline as f64
}

fn transfer<C: Connection>(size: usize, count: u64, window: u64) -> Duration {
    let mut pair = Pair::<C>::connected(None);
    let payload = vec![0xa5; size];
    // The congestion window opens before time is taken.
    pair.transfer(&payload, count / 16, window);
    let start = ThreadTime::now();
    pair.transfer(&payload, count, window);
    start.elapsed()
}
