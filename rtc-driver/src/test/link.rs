use std::time::{Duration, Instant};

use rtc::shared::{EcnCodepoint, Rng};

/// What one direction of a path does to datagrams. Every field may be changed while datagrams are on
/// their way; it counts from the next one on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Link {
    /// Shortest one-way delay.
    pub latency: Duration,
    /// What the delay may be longer, each time by chance.
    pub jitter: Duration,
    /// Whether a datagram that is delayed by `jitter` delays those behind it, as a queue does. Else
    /// they overtake it.
    pub in_order: bool,
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// How many datagrams in a row a loss takes on average; up to 1, each is lost on its own.
    pub loss_burst: f64,
    /// Probability that a datagram is held back by up to three times the longest delay, and overtaken
    /// by others.
    pub reordering: f64,
    /// Probability that a datagram arrives twice.
    pub duplication: f64,
    /// Longer datagrams vanish; bytes of UDP payload.
    pub mtu: usize,
    /// Bits of UDP payload that pass in a second; `None` is no limit.
    pub bandwidth: Option<u64>,
    /// Bytes that may wait for the bandwidth; what does not fit is lost.
    pub queue: usize,
    /// With so many bytes in the queue, datagrams of ECN-capable senders are marked
    /// [`Ce`](EcnCodepoint::Ce).
    pub ce_threshold: Option<usize>,
    /// Whether ECN marks get through at all.
    pub keeps_ecn: bool,
}

impl Link {
    /// A link that delays, and does nothing else.
    #[must_use]
    pub fn new(latency: Duration) -> Self {
        Self {
            latency,
            jitter: Duration::ZERO,
            in_order: true,
            loss: 0.0,
            loss_burst: 1.0,
            reordering: 0.0,
            duplication: 0.0,
            mtu: ETHERNET_PAYLOAD,
            bandwidth: None,
            queue: QUEUE,
            ce_threshold: None,
            keeps_ecn: true,
        }
    }

    /// The same with this [`loss`](Self::loss).
    #[must_use]
    pub fn with_loss(mut self, loss: f64) -> Self {
        self.loss = loss;
        self
    }

    /// The same with this [`jitter`](Self::jitter).
    #[must_use]
    pub fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// The same with this [`reordering`](Self::reordering).
    #[must_use]
    pub fn with_reordering(mut self, reordering: f64) -> Self {
        self.reordering = reordering;
        self
    }

    /// The same with this [`duplication`](Self::duplication).
    #[must_use]
    pub fn with_duplication(mut self, duplication: f64) -> Self {
        self.duplication = duplication;
        self
    }

    /// The same with this [`mtu`](Self::mtu), bytes.
    #[must_use]
    pub fn with_mtu(mut self, mtu: usize) -> Self {
        self.mtu = mtu;
        self
    }

    /// The same with this [`bandwidth`](Self::bandwidth), bits per second, and a [`queue`](Self::queue)
    /// of so many bytes before it.
    #[must_use]
    pub fn with_bandwidth(mut self, bandwidth: u64, queue: usize) -> Self {
        self.bandwidth = Some(bandwidth);
        self.queue = queue;
        self
    }
}

impl Default for Link {
    /// Ten milliseconds and no faults.
    fn default() -> Self {
        Self::new(Duration::from_millis(10))
    }
}

/// Why a datagram did not get over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    Chance,
    TooLarge,
    QueueFull,
}

/// When a datagram arrives, and when its double does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) at: Instant,
    pub(super) again: Option<Instant>,
}

/// What a link has to remember.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    /// When the last datagram in the queue has passed.
    busy_until: Option<Instant>,
    /// The latest arrival among those that keep their order.
    latest: Option<Instant>,
    /// Within a burst of losses.
    losing: bool,
}

impl Lane {
    /// Sends a datagram of `size` bytes over the link.
    pub(super) fn carry(
        &mut self,
        link: &Link,
        now: Instant,
        size: usize,
        ecn: &mut Option<EcnCodepoint>,
        rng: &mut Rng,
    ) -> Result<Passage, Loss> {
        if size > link.mtu {
            return Err(Loss::TooLarge);
        }
        let out = self.queue(link, now, size, ecn)?;
        if self.is_lost(link, rng) {
            return Err(Loss::Chance);
        }
        if !link.keeps_ecn {
            *ecn = None;
        }
        let at = self.arrival(link, out, rng);
        let again = chance(link.duplication, rng).then(|| self.arrival(link, out, rng));
        Ok(Passage { at, again })
    }

    /// When the datagram is out of the queue.
    fn queue(
        &mut self,
        link: &Link,
        now: Instant,
        size: usize,
        ecn: &mut Option<EcnCodepoint>,
    ) -> Result<Instant, Loss> {
        let Some(bandwidth) = link.bandwidth else {
            return Ok(now);
        };
        let bandwidth = u128::from(bandwidth.max(1));
        let start = self.busy_until.map_or(now, |busy| busy.max(now));
        let waiting = (start - now).as_nanos() * bandwidth / (8 * NANOS);
        if waiting > 0 && waiting + size as u128 > link.queue as u128 {
            return Err(Loss::QueueFull);
        }
        if ecn.is_some() && link.ce_threshold.is_some_and(|it| waiting >= it as u128) {
            *ecn = Some(EcnCodepoint::Ce);
        }
        let nanos = size as u128 * 8 * NANOS / bandwidth;
        let out = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.busy_until = Some(out);
        Ok(out)
    }

    fn is_lost(&mut self, link: &Link, rng: &mut Rng) -> bool {
        if link.loss_burst <= 1.0 || link.loss >= 1.0 {
            self.losing = false;
            return chance(link.loss, rng);
        }
        // A chain of two states: lost datagrams are followed by lost ones.
        let change = if self.losing {
            1.0 / link.loss_burst
        } else {
            link.loss / (link.loss_burst * (1.0 - link.loss))
        };
        self.losing ^= chance(change, rng);
        self.losing
    }

    fn arrival(&mut self, link: &Link, out: Instant, rng: &mut Rng) -> Instant {
        let mut at = out + link.latency;
        if !link.jitter.is_zero() {
            at += link.jitter.mul_f64(rng.unit());
        }
        if chance(link.reordering, rng) {
            return at + (link.latency + link.jitter).mul_f64(3.0 * rng.unit());
        }
        if link.in_order {
            at = self.latest.map_or(at, |latest| latest.max(at));
            self.latest = Some(at);
        }
        at
    }
}

fn chance(probability: f64, rng: &mut Rng) -> bool {
    probability > 0.0 && rng.unit() < probability
}

const NANOS: u128 = 1_000_000_000;
/// What an Ethernet frame of 1500 bytes leaves after the headers of IPv4 and UDP.
const ETHERNET_PAYLOAD: usize = 1472;
/// A tenth of a second at twenty megabits.
const QUEUE: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rng() -> Rng {
        Rng::from_seed([1; 32])
    }

    #[test]
    fn a_perfect_link_delays_and_keeps_the_order() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        let link = Link::new(20 * MS);
        for _ in 0..1000 {
            let passage = lane.carry(&link, now, 1472, &mut None, &mut rng());
            let at = now + 20 * MS;
            assert_eq!(passage, Ok(Passage { at, again: None }));
        }
        let late = lane.carry(&link, now, 1473, &mut None, &mut rng());
        assert_eq!(late, Err(Loss::TooLarge));
    }

    #[test]
    fn bandwidth_spaces_datagrams_and_a_full_queue_loses_them() {
        let (mut lane, now, mut rng) = (Lane::default(), Instant::now(), rng());
        // One datagram of a thousand bytes in a millisecond, and five waiting.
        let mut link = Link::new(10 * MS).with_bandwidth(8_000_000, 5_000);
        link.ce_threshold = Some(3_000);
        let mut ecns = Vec::new();
        let mut at = Vec::new();
        let fate = std::iter::from_fn(|| {
            let mut ecn = Some(EcnCodepoint::Ect0);
            let passage = lane.carry(&link, now, 1_000, &mut ecn, &mut rng).ok()?;
            ecns.push(ecn == Some(EcnCodepoint::Ce));
            at.push((passage.at - now).as_millis());
            Some(())
        });
        assert_eq!(fate.count(), 5);
        assert_eq!(at, [11, 12, 13, 14, 15]);
        assert_eq!(ecns, [false, false, false, true, true]);
        let later = lane.carry(&link, now + 100 * MS, 1_000, &mut None, &mut rng);
        assert_eq!(later.map(|it| it.at), Ok(now + 111 * MS));
    }

    #[test]
    fn losses_come_in_bursts_of_their_mean_length_and_number() {
        for (loss, burst) in [(0.05, 1.0), (0.05, 8.0), (0.3, 4.0)] {
            let (mut lane, now, mut rng) = (Lane::default(), Instant::now(), rng());
            let mut link = Link::default().with_loss(loss);
            link.loss_burst = burst;
            let lost: Vec<_> = (0..200_000)
                .map(|_| lane.carry(&link, now, 100, &mut None, &mut rng).is_err())
                .collect();
            let count = lost.iter().filter(|&&it| it).count() as f64;
            let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
            let share = count / lost.len() as f64;
            assert!((share / loss - 1.0).abs() < 0.1, "{share} of {loss}");
            let expected = if burst > 1.0 {
                burst
            } else {
                1.0 / (1.0 - loss)
            };
            let mean = count / bursts;
            assert!((mean / expected - 1.0).abs() < 0.1, "{mean} of {expected}");
        }
    }

    #[test]
    fn jitter_overtakes_only_where_order_is_not_kept() {
        let arrivals = |link: &Link| {
            let (mut lane, now, mut rng) = (Lane::default(), Instant::now(), rng());
            (0..100)
                .map(|index| {
                    let passage = lane.carry(link, now + index * MS, 1, &mut None, &mut rng);
                    passage.unwrap().at
                })
                .collect::<Vec<_>>()
        };
        let mut link = Link::default().with_jitter(50 * MS);
        assert!(arrivals(&link).is_sorted());
        link.in_order = false;
        assert!(!arrivals(&link).is_sorted());
        let link = Link::default().with_reordering(0.1);
        assert!(!arrivals(&link).is_sorted());
    }
}
