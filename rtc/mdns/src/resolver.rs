//! Names of others: what is asked for, and what is known.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::Name;
use crate::message::{Data, Kind, Message, Question};

/// Queries under way and addresses found.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    queries: BTreeMap<Name, Query>,
    cache: BTreeMap<Name, Vec<Found>>,
}

#[derive(Debug)]
struct Query {
    /// When to ask next.
    due: Instant,
    /// How long to wait afterwards; `None` before the first time.
    interval: Option<Duration>,
    /// When to give up.
    deadline: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    addr: IpAddr,
    received: Instant,
    expires: Instant,
}

impl Resolver {
    /// The addresses of a name that are known.
    pub(crate) fn cached(&self, name: &Name, now: Instant) -> Vec<IpAddr> {
        let found = self.cache.get(name).map(Vec::as_slice).unwrap_or_default();
        found
            .iter()
            .filter(|found| found.expires > now)
            .map(|found| found.addr)
            .collect()
    }

    /// Begins to ask for a name, unless that goes on already. False when too many are asked for.
    pub(crate) fn ask(&mut self, name: Name, now: Instant, timeout: Duration) -> bool {
        if self.queries.contains_key(&name) {
            return true;
        }
        if self.queries.len() >= MAX_QUERIES {
            return false;
        }
        let query = Query {
            due: now,
            interval: None,
            deadline: now + timeout.min(MAX_TIMEOUT),
        };
        self.queries.insert(name, query);
        true
    }

    pub(crate) fn cancel(&mut self, name: &Name) {
        self.queries.remove(name);
    }

    /// Asks everything anew: there is a network to ask now.
    pub(crate) fn restart(&mut self, now: Instant) {
        for query in self.queries.values_mut() {
            query.due = now;
            query.interval = None;
        }
    }

    /// The names whose time is over, which are forgotten.
    pub(crate) fn take_failed(&mut self, now: Instant) -> Vec<Name> {
        let over = |query: &Query| query.deadline <= now;
        let mut failed = Vec::new();
        self.queries.retain(|name, query| {
            if over(query) {
                failed.push(*name);
            }
            !over(query)
        });
        failed
    }

    /// The questions that are due.
    pub(crate) fn take_questions(&mut self, now: Instant) -> Vec<Question> {
        let mut questions = Vec::new();
        for (&name, query) in &mut self.queries {
            if query.due > now {
                continue;
            }
            // By unicast the first time; if that does not arrive, perhaps multicast does.
            let unicast = query.interval.is_none();
            let interval = query
                .interval
                .map_or(FIRST_INTERVAL, |interval| interval * 2);
            query.interval = Some(interval);
            query.due = now + interval;
            questions.extend([Kind::A, Kind::Aaaa].map(|kind| Question {
                name,
                kind,
                unicast,
            }));
        }
        questions
    }

    /// Takes the addresses of a response, of names that are or were asked for. Returns those that
    /// are resolved by it.
    pub(crate) fn take(&mut self, response: &Message, now: Instant) -> Vec<(Name, Vec<IpAddr>)> {
        let mut resolved = Vec::new();
        for record in response.answers.iter().chain(&response.additional) {
            let Data::Address(addr) = record.data else {
                continue;
            };
            let asked = self.queries.contains_key(&record.name);
            if !asked && !self.cache.contains_key(&record.name) || !is_host(addr) {
                continue;
            }
            let found = self.cache.entry(record.name).or_default();
            found.retain(|it| it.expires > now);
            if record.cache_flush {
                // Others of the same family end, but for those that came with it, which can be in
                // several messages (RFC 6762 section 10.2).
                for it in &mut *found {
                    if it.addr.is_ipv4() == addr.is_ipv4() && it.received + LINGER < now {
                        it.expires = it.expires.min(now + LINGER);
                    }
                }
            }
            let expires = match record.ttl {
                // Taken back, unless somebody disagrees within a second (section 10.1).
                0 => now + LINGER,
                ttl => now + Duration::from_secs(ttl.into()).min(MAX_TTL),
            };
            let is_new = found.iter().all(|it| it.addr != addr);
            if is_new && (record.ttl == 0 || found.len() >= MAX_ADDRESSES) {
                continue;
            }
            found.retain(|it| it.addr != addr);
            found.push(Found {
                addr,
                received: now,
                expires,
            });
            if asked && record.ttl > 0 && !resolved.contains(&record.name) {
                resolved.push(record.name);
            }
        }
        let resolved: Vec<_> = resolved
            .into_iter()
            .map(|name| (name, self.cached(&name, now)))
            .collect();
        for (name, _) in &resolved {
            self.queries.remove(name);
        }
        self.trim(now);
        resolved
    }

    /// When to ask, or to give up, next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let times = self
            .queries
            .values()
            .map(|query| query.due.min(query.deadline));
        times.min()
    }

    /// Keeps the cache within its bounds; what expires first goes first.
    fn trim(&mut self, now: Instant) {
        let last = |found: &Vec<Found>| found.iter().map(|it| it.expires).max();
        self.cache
            .retain(|_, found| last(found).is_some_and(|last| last > now));
        while self.cache.len() > MAX_CACHED {
            let first = self.cache.iter().min_by_key(|(_, found)| last(found));
            match first.map(|(name, _)| *name) {
                Some(name) => self.cache.remove(&name),
                None => break,
            };
        }
    }
}

/// True for addresses that a host can have.
fn is_host(addr: IpAddr) -> bool {
    !addr.is_unspecified()
        && !addr.is_multicast()
        && addr != IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
}

/// From one asking to the next, doubled each time (RFC 6762 section 5.2).
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// Nobody waits longer for a candidate.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// For how long addresses are kept at most: what RFC 6762 section 10 recommends for hosts.
const MAX_TTL: Duration = Duration::from_secs(120);
/// For how long an address that was taken back or replaced is kept.
const LINGER: Duration = Duration::from_secs(1);
/// Names that are asked for at once: more than the candidates of many connections.
const MAX_QUERIES: usize = 256;
const MAX_CACHED: usize = 256;
/// Addresses of one name.
const MAX_ADDRESSES: usize = 8;
