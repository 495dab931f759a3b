//! Seeded runs: `RTC_SEED=n` replays one, `RTC_SEEDS=n` sets how many there are.

use rtc::shared::Rng;

/// The generator of a seed.
pub(crate) fn rng_of(seed: u64) -> Rng {
    let mut bytes = [0x5e; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Rng::from_seed(bytes)
}

/// Spreads the seeds over the processors; a failure names its seed.
pub(crate) fn for_each_seed(count: u64, run: impl Fn(u64) + Sync) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    let seeds: Vec<u64> = match number("RTC_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("RTC_SEEDS").unwrap_or(count)).collect(),
    };
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (seeds, run) = (&seeds, &run);
            scope.spawn(move || {
                for seed in seeds.iter().skip(worker).step_by(workers) {
                    let _name = SeedName(*seed);
                    run(*seed);
                }
            });
        }
    });
}

/// Names the seed when a run panics without doing so itself.
struct SeedName(u64);

impl Drop for SeedName {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with RTC_SEED={}", self.0);
        }
    }
}
