//! Names of our own: announcing, answering, defending.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::Name;
use crate::message::{Data, Kind, Message, Record};

/// Our names and when each is to be told on each interface.
#[derive(Debug, Default)]
pub(crate) struct Responder {
    names: BTreeMap<Name, Own>,
    links: usize,
    /// Replies by unicast since the time.
    replies: Option<(Instant, u32)>,
}

#[derive(Debug)]
struct Own {
    addr: IpAddr,
    /// By the place of the interface.
    links: Vec<Link>,
}

/// What is sent of a name on one interface.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// How often it is still to be announced.
    announcements: u8,
    /// When it was multicast last.
    last: Option<Instant>,
    /// When to multicast it next.
    due: Option<Instant>,
}

/// How a query came, which decides how the reply looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// The place of the interface.
    pub(crate) link: usize,
    /// It asked from another port, so knows nothing of multicast DNS (RFC 6762 section 6.7).
    pub(crate) legacy: bool,
}

impl Responder {
    /// Adds a name. False when there are too many.
    pub(crate) fn add(&mut self, name: Name, addr: IpAddr, now: Instant) -> bool {
        if self.names.len() >= MAX_NAMES {
            return false;
        }
        let links = vec![Link::announced_at(now); self.links];
        self.names.insert(name, Own { addr, links });
        true
    }

    /// Removes a name; returns the records that take it back.
    pub(crate) fn remove(&mut self, name: &Name) -> Option<Record> {
        let own = self.names.remove(name)?;
        Some(goodbye(*name, &own))
    }

    /// Removes all names; returns the records that take them back.
    pub(crate) fn clear(&mut self) -> Vec<Record> {
        let names = std::mem::take(&mut self.names);
        names
            .iter()
            .map(|(&name, own)| goodbye(name, own))
            .collect()
    }

    pub(crate) fn addr(&self, name: &Name) -> Option<IpAddr> {
        self.names.get(name).map(|own| own.addr)
    }

    /// Adds an interface behind the others.
    pub(crate) fn add_link(&mut self, now: Instant) {
        self.links += 1;
        for own in self.names.values_mut() {
            own.links.push(Link::announced_at(now));
        }
    }

    /// Removes the interface at `place`; those behind it move up.
    pub(crate) fn remove_link(&mut self, place: usize) {
        self.links = self.links.saturating_sub(1);
        for own in self.names.values_mut() {
            if place < own.links.len() {
                own.links.remove(place);
            }
        }
    }

    /// Takes a query. Returns the reply that goes to the asker alone; what is to be multicast
    /// becomes due.
    ///
    /// Records are our own alone, so there is nobody to collide with and no reason to wait (RFC 6762
    /// section 6), nor for the rest of the known answers when they come in several messages: what we
    /// could hear of there is one record.
    pub(crate) fn answer(
        &mut self,
        query: &Message,
        asker: Asker,
        now: Instant,
    ) -> Option<Message> {
        let mut reply = Reply::default();
        for question in &query.questions {
            let Some(own) = self.names.get_mut(&question.name) else {
                continue;
            };
            let exists = match question.kind {
                Kind::A => own.addr.is_ipv4(),
                Kind::Aaaa => own.addr.is_ipv6(),
                Kind::Any => true,
            };
            let known = query.answers.iter().any(|record| {
                record.name == question.name
                    && record.data == Data::Address(own.addr)
                    && record.ttl >= TTL / 2
            });
            if known && exists {
                continue;
            }
            let Some(link) = own.links.get_mut(asker.link) else {
                continue;
            };
            if question.unicast || asker.legacy {
                reply.add(question.name, own.addr, exists);
            }
            // An answer by unicast does not refresh the caches of others, so at times all hear it
            // (section 5.4).
            let stale = link.last.is_none_or(|last| now >= last + REFRESH);
            if !asker.legacy && (!question.unicast || stale) {
                link.schedule(now);
            }
        }
        if reply.names.is_empty() || !self.may_reply(now) {
            return None;
        }
        Some(reply.message(query, asker))
    }

    /// Takes a response of somebody else, or our own that comes back. What claims something else of
    /// our names, or lets them end, is set right. Returns how many other addresses were claimed.
    pub(crate) fn watch(&mut self, response: &Message, link: usize, now: Instant) -> u64 {
        let mut conflicts = 0;
        for record in response.answers.iter().chain(&response.additional) {
            let (Some(own), Data::Address(addr)) = (self.names.get_mut(&record.name), record.data)
            else {
                continue;
            };
            let claimed = addr != own.addr && addr.is_ipv4() == own.addr.is_ipv4();
            let ending = addr == own.addr && record.ttl < TTL / 2;
            if claimed && record.ttl > 0 {
                conflicts += 1;
            }
            if (claimed || ending)
                && let Some(link) = own.links.get_mut(link)
            {
                link.schedule(now);
            }
        }
        conflicts
    }

    /// The records that are due on the interface at `place`, for multicast.
    pub(crate) fn take_due(&mut self, place: usize, now: Instant) -> Vec<Record> {
        let mut records = Vec::new();
        for (&name, own) in &mut self.names {
            let Some(link) = own.links.get_mut(place) else {
                continue;
            };
            if link.due.is_some_and(|due| due <= now) {
                link.sent(now);
                records.push(address(name, own.addr));
            }
        }
        records
    }

    /// When something is due next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let links = self.names.values().flat_map(|own| &own.links);
        links.filter_map(|link| link.due).min()
    }

    /// Bounds the replies, so that questions with a forged source are no flood to it.
    fn may_reply(&mut self, now: Instant) -> bool {
        match &mut self.replies {
            Some((since, count)) if now < *since + Duration::from_secs(1) => {
                *count += 1;
                *count <= MAX_REPLIES_PER_SECOND
            }
            replies => {
                *replies = Some((now, 1));
                true
            }
        }
    }
}

impl Link {
    fn announced_at(now: Instant) -> Self {
        Self {
            announcements: ANNOUNCEMENTS,
            last: None,
            due: Some(now),
        }
    }

    /// Multicasts as soon as the last time is long enough ago (RFC 6762 section 6).
    fn schedule(&mut self, now: Instant) {
        let free = self.last.map_or(now, |last| (last + INTERVAL).max(now));
        self.due = Some(self.due.map_or(free, |due| due.min(free)));
    }

    fn sent(&mut self, now: Instant) {
        self.announcements = self.announcements.saturating_sub(1);
        self.last = Some(now);
        self.due = (self.announcements > 0).then(|| now + INTERVAL);
    }
}

/// What one asker is told.
#[derive(Default)]
struct Reply {
    names: Vec<Asked>,
}

struct Asked {
    name: Name,
    addr: IpAddr,
    /// A type was asked for that the name has.
    existing: bool,
    /// A type was asked for that it has not.
    missing: bool,
}

impl Reply {
    fn add(&mut self, name: Name, addr: IpAddr, exists: bool) {
        let at = match self.names.iter().position(|asked| asked.name == name) {
            Some(at) => at,
            // Who asks for more asks again.
            None if self.names.len() >= NAMES_PER_MESSAGE => return,
            None => {
                self.names.push(Asked {
                    name,
                    addr,
                    existing: false,
                    missing: false,
                });
                self.names.len() - 1
            }
        };
        if let Some(asked) = self.names.get_mut(at) {
            asked.existing |= exists;
            asked.missing |= !exists;
        }
    }

    fn message(self, query: &Message, asker: Asker) -> Message {
        let mut reply = Message {
            id: query.id,
            response: true,
            ..Message::default()
        };
        for asked in &self.names {
            let address = address(asked.name, asked.addr);
            let exists = existing(&address);
            // Each helps whoever asked for the other.
            match asked.existing {
                true => reply.answers.push(address),
                false => reply.additional.push(address),
            }
            match asked.missing {
                true => reply.answers.push(exists),
                false => reply.additional.push(exists),
            }
        }
        if asker.legacy {
            let ours = |name| self.names.iter().any(|asked| asked.name == name);
            reply.questions = query.questions.clone();
            reply.questions.retain(|question| ours(question.name));
            reply.questions.truncate(2 * NAMES_PER_MESSAGE);
            for question in &mut reply.questions {
                question.unicast = false;
            }
            for record in reply.answers.iter_mut().chain(&mut reply.additional) {
                record.ttl = record.ttl.min(LEGACY_TTL);
                record.cache_flush = false;
            }
        }
        reply
    }
}

/// Responses for multicast, with as many of the records in each as fit.
pub(crate) fn multicast(records: &[Record]) -> impl Iterator<Item = Message> + '_ {
    records.chunks(NAMES_PER_MESSAGE).map(|records| Message {
        response: true,
        answers: records.to_vec(),
        additional: records
            .iter()
            .filter(|record| record.ttl > 0)
            .map(existing)
            .collect(),
        ..Message::default()
    })
}

fn address(name: Name, addr: IpAddr) -> Record {
    Record {
        name,
        data: Data::Address(addr),
        ttl: TTL,
        cache_flush: true,
    }
}

fn goodbye(name: Name, own: &Own) -> Record {
    Record {
        ttl: 0,
        ..address(name, own.addr)
    }
}

/// That there is no address but this, so that nobody waits for one of the other family.
fn existing(address: &Record) -> Record {
    let a = matches!(address.data, Data::Address(IpAddr::V4(_)));
    Record {
        data: Data::Exists { a, aaaa: !a },
        ..*address
    }
}

/// Seconds that our records may be kept (RFC 6762 section 10).
const TTL: u32 = 120;
/// The same for those who do not hear when they end (section 6.7).
const LEGACY_TTL: u32 = 10;
/// A record that was not multicast for so long, a quarter of its life, is.
const REFRESH: Duration = Duration::from_secs(30);
/// From one multicast of a record to the next on an interface (section 6).
const INTERVAL: Duration = Duration::from_secs(1);
/// How often a name is announced (section 8.3).
const ANNOUNCEMENTS: u8 = 2;
/// More than the connections of a client have; servers have no names.
const MAX_NAMES: usize = 256;
const MAX_REPLIES_PER_SECOND: u32 = 50;
/// Each takes up to 140 bytes, so that messages stay below any MTU.
const NAMES_PER_MESSAGE: usize = 8;
