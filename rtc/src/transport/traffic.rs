use std::time::Instant;

use rtc_shared::FiveTuple;

/// What went over a path beside ICE's own messages, as the statistics of pairs tell it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: Direction,
    pub(crate) received: Direction,
}

/// One way of a path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Direction {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// When the last packet passed.
    pub(crate) last: Option<Instant>,
}

impl Direction {
    pub(super) fn add(&mut self, now: Instant, packets: usize, bytes: usize) {
        self.packets += packets as u64;
        self.bytes += bytes as u64;
        self.last = Some(now);
    }
}

/// The traffic of each path. The one in use stands first, so that a packet costs one comparison.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    known: Vec<(FiveTuple, Traffic)>,
}

impl Paths {
    /// The traffic of a path.
    pub(crate) fn get(&self, path: &FiveTuple) -> Traffic {
        let mut known = self.known.iter();
        let found = known.find(|(it, _)| it == path);
        found.map(|(_, traffic)| *traffic).unwrap_or_default()
    }

    /// Changes the traffic of a path, which ICE has accepted.
    pub(super) fn update(&mut self, path: &FiveTuple, change: impl FnOnce(&mut Traffic)) {
        if self.known.first().is_none_or(|(it, _)| it != path) {
            match self.known.iter().position(|(it, _)| it == path) {
                Some(place) => self.known.swap(0, place),
                None => {
                    self.known.truncate(MAX_PATHS - 1);
                    self.known.insert(0, (*path, Traffic::default()));
                }
            }
        }
        if let Some((_, traffic)) = self.known.first_mut() {
            change(traffic);
        }
    }
}

/// Paths that are remembered. A connection uses one or two at a time.
const MAX_PATHS: usize = 32;
