use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::CHANNEL_NUMBERS;

/// The channels of an allocation (RFC 8656 section 12), as the client wants them.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// The entry at index `i` has the number 0x4000 + `i`.
    by_number: Vec<Channel>,
    by_peer: BTreeMap<SocketAddr, u16>,
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    state: State,
    /// To be kept alive.
    wanted: bool,
    /// A request for it was sent: the server may use it.
    is_known: bool,
    /// When to ask for it, when no request is under way.
    due: Option<Instant>,
    /// When the server forgets it at the latest, as far as we know.
    expires: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be asked for.
    New,
    /// Asked for.
    Requested,
    Bound,
    /// The server does not want it. The number stays as it is until it may be used again.
    Refused,
}

impl Channels {
    /// Wants a channel to a peer; true when there is or will be one. A peer that had a number gets the
    /// same, as long as the server may remember it.
    pub(super) fn insert(&mut self, now: Instant, peer: SocketAddr, max: usize) -> bool {
        if let Some(channel) = self.of(peer) {
            let restart = !channel.wanted || channel.state == State::Refused;
            channel.wanted = true;
            if restart && channel.state != State::Requested {
                // Data goes by it once it is confirmed again.
                channel.state = State::New;
                channel.due = Some(now);
            }
            return true;
        }
        let channel = Channel {
            peer,
            state: State::New,
            wanted: true,
            is_known: false,
            due: Some(now),
            expires: now,
        };
        let is_free = |old: &Channel| !old.wanted && now >= old.expires + QUARANTINE;
        let index = match self.by_number.iter().position(is_free) {
            Some(index) => index,
            None if self.by_number.len() < max.min(CHANNEL_NUMBERS.len()) => self.by_number.len(),
            None => return false,
        };
        match self.by_number.get_mut(index) {
            Some(slot) => {
                let old = std::mem::replace(slot, channel);
                self.by_peer.remove(&old.peer);
            }
            None => self.by_number.push(channel),
        }
        self.by_peer
            .insert(peer, CHANNEL_NUMBERS.start() + index as u16);
        true
    }

    /// Lets a channel run out.
    pub(super) fn release(&mut self, peer: SocketAddr) {
        if let Some(channel) = self.of(peer) {
            channel.wanted = false;
            channel.due = None;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The number by which data to a peer may go.
    pub(super) fn bound(&self, peer: &SocketAddr) -> Option<u16> {
        let number = *self.by_peer.get(peer)?;
        let channel = self.at(number)?;
        (channel.state == State::Bound && channel.wanted).then_some(number)
    }

    /// The peer that data with this number comes from. The server may use a number before we know
    /// that it has bound it.
    pub(super) fn peer(&self, number: u16) -> Option<SocketAddr> {
        let channel = self.at(number)?;
        channel.is_known.then_some(channel.peer)
    }

    /// When the next request is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.by_number.iter().filter_map(|each| each.due).min()
    }

    /// Takes a channel that is to be asked for.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(u16, SocketAddr)> {
        let mut numbered = CHANNEL_NUMBERS.zip(&mut self.by_number);
        let (number, channel) =
            numbered.find(|(_, channel)| channel.due.is_some_and(|due| due <= now))?;
        channel.due = None;
        channel.is_known = true;
        // The server may carry it out whenever the request arrives, in any of its repetitions.
        channel.expires = channel.expires.max(now + LIFETIME + REPEATED);
        if channel.state == State::New {
            channel.state = State::Requested;
        }
        Some((number, channel.peer))
    }

    /// The server bound a channel by a request that was sent at `since`. True when it was not before.
    pub(super) fn bound_at(&mut self, number: u16, since: Instant) -> bool {
        let Some(channel) = self.at_mut(number) else {
            return false;
        };
        if channel.wanted {
            channel.due = Some(since + REFRESH);
        }
        std::mem::replace(&mut channel.state, State::Bound) != State::Bound
    }

    /// The server did not answer. True when the channel was bound before: it is asked for again, as
    /// long as it is wanted.
    pub(super) fn unanswered(&mut self, now: Instant, number: u16) -> bool {
        match self.at_mut(number) {
            Some(channel) if channel.state == State::Bound => {
                channel.due = channel.wanted.then_some(now);
                true
            }
            _ => false,
        }
    }

    /// The server does not bind a channel, or not any longer.
    pub(super) fn refused(&mut self, number: u16) {
        if let Some(channel) = self.at_mut(number) {
            channel.state = State::Refused;
            channel.wanted = false;
            channel.due = None;
        }
    }

    fn of(&mut self, peer: SocketAddr) -> Option<&mut Channel> {
        let number = *self.by_peer.get(&peer)?;
        self.at_mut(number)
    }

    fn at(&self, number: u16) -> Option<&Channel> {
        self.by_number.get(index(number)?)
    }

    fn at_mut(&mut self, number: u16) -> Option<&mut Channel> {
        self.by_number.get_mut(index(number)?)
    }
}

fn index(number: u16) -> Option<usize> {
    number
        .checked_sub(*CHANNEL_NUMBERS.start())
        .map(usize::from)
}

/// How long the server keeps a channel (RFC 8656 section 12).
const LIFETIME: Duration = Duration::from_secs(600);
/// When it is asked for again: early enough for a request that takes its full time.
const REFRESH: Duration = Duration::from_secs(540);
/// How long a request may be on its way: twice 39.5 s, when it has to be sent anew with a fresh nonce.
const REPEATED: Duration = Duration::from_secs(80);
/// Neither number nor peer goes into another channel for so long after it ran out.
const QUARANTINE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the origin of a test"
    )]
    fn origin() -> Instant {
        Instant::now()
    }

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    const fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn data_goes_by_a_channel_only_once_it_is_bound() {
        let now = origin();
        let mut channels = Channels::default();
        assert!(channels.insert(now, peer(1), 10));
        assert_eq!(channels.peer(0x4000), None);
        assert_eq!(channels.take_due(now), Some((0x4000, peer(1))));
        assert_eq!(channels.take_due(now), None);
        assert_eq!(channels.bound(&peer(1)), None);
        assert_eq!(
            channels.peer(0x4000),
            Some(peer(1)),
            "the server may use it already"
        );
        assert!(channels.bound_at(0x4000, now));
        assert_eq!(channels.bound(&peer(1)), Some(0x4000));
        assert_eq!(channels.next_due(), Some(now + secs(540)));
        assert_eq!(channels.peer(0x4001), None);
        assert_eq!(channels.peer(0x3fff), None);
    }

    #[test]
    fn a_number_is_used_again_only_when_the_server_has_long_forgotten_it() {
        let now = origin();
        let mut channels = Channels::default();
        assert!(channels.insert(now, peer(1), 1));
        channels.take_due(now);
        channels.bound_at(0x4000, now);
        channels.release(peer(1));
        assert_eq!(channels.bound(&peer(1)), None);
        assert_eq!(
            channels.peer(0x4000),
            Some(peer(1)),
            "what comes is still understood"
        );
        assert!(!channels.insert(now + secs(979), peer(2), 1));
        assert!(channels.insert(now + secs(980), peer(2), 1));
        assert_eq!(channels.take_due(now + secs(980)), Some((0x4000, peer(2))));
        assert_eq!(channels.bound(&peer(1)), None);
    }

    #[test]
    fn a_peer_that_comes_back_gets_its_number_back() {
        let now = origin();
        let mut channels = Channels::default();
        for port in [1, 2] {
            assert!(channels.insert(now, peer(port), 10));
            let (number, _) = channels.take_due(now).unwrap();
            channels.bound_at(number, now);
        }
        channels.release(peer(1));
        assert!(channels.insert(now + secs(700), peer(1), 10));
        assert_eq!(channels.bound(&peer(1)), None, "it may have run out");
        assert_eq!(channels.take_due(now + secs(700)), Some((0x4000, peer(1))));
        assert!(channels.bound_at(0x4000, now + secs(700)));
        assert_eq!(channels.bound(&peer(1)), Some(0x4000));
    }

    #[test]
    fn a_refused_channel_is_not_asked_for_until_wanted_anew() {
        let now = origin();
        let mut channels = Channels::default();
        assert!(channels.insert(now, peer(1), 10));
        channels.take_due(now);
        channels.refused(0x4000);
        assert_eq!(channels.next_due(), None);
        assert!(channels.insert(now, peer(1), 10));
        assert_eq!(channels.take_due(now), Some((0x4000, peer(1))));
    }

    #[test]
    fn there_are_no_more_than_4096() {
        let now = origin();
        let mut channels = Channels::default();
        for port in 0..4096 {
            assert!(channels.insert(now, peer(port), usize::MAX));
        }
        assert!(!channels.insert(now, peer(5000), usize::MAX));
        assert_eq!(channels.by_number.len(), 4096);
    }
}
