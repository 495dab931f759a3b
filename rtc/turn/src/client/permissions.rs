use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// The addresses that may send through the relay (RFC 8656 section 9), as the client wants them.
#[derive(Debug, Default)]
pub(super) struct Permissions {
    /// In order, so that requests are the same in every run.
    by_address: BTreeMap<IpAddr, Permission>,
}

#[derive(Debug)]
struct Permission {
    /// Has been asked for at least once: the server has it, or will when it hears the request.
    is_requested: bool,
    /// Has been granted, once at least.
    is_granted: bool,
    /// When to ask for it, when no request is under way.
    due: Option<Instant>,
    /// Was refused together with others, so that it has to be asked for alone.
    alone: bool,
}

impl Permissions {
    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// True once data to and from the address passes.
    pub(super) fn is_usable(&self, address: IpAddr) -> bool {
        self.by_address
            .get(&address)
            .is_some_and(|permission| permission.is_requested)
    }

    /// True once the server has granted it.
    pub(super) fn is_granted(&self, address: IpAddr) -> bool {
        self.by_address
            .get(&address)
            .is_some_and(|permission| permission.is_granted)
    }

    /// Wants a permission, to be asked for at once if it is new.
    pub(super) fn insert(&mut self, now: Instant, address: IpAddr) {
        self.by_address.entry(address).or_insert(Permission {
            is_requested: false,
            is_granted: false,
            due: Some(now),
            alone: false,
        });
    }

    /// Lets a permission run out.
    pub(super) fn remove(&mut self, address: IpAddr) {
        self.by_address.remove(&address);
    }

    pub(super) fn clear(&mut self) {
        self.by_address = BTreeMap::new();
    }

    /// When the next request is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.by_address.values().filter_map(|each| each.due).min()
    }

    /// Takes what one request may carry, when something is due; what is due soon goes along.
    pub(super) fn take_due(&mut self, now: Instant) -> SmallVec<[IpAddr; 4]> {
        let mut batch = SmallVec::new();
        if self.next_due().is_none_or(|due| due > now) {
            return batch;
        }
        for (address, permission) in &mut self.by_address {
            let is_due = |within| permission.due.is_some_and(|due| due <= now + within);
            let goes_along = match permission.alone {
                true => batch.is_empty() && is_due(Duration::ZERO),
                false => is_due(ALONG),
            };
            if goes_along {
                permission.due = None;
                permission.is_requested = true;
                batch.push(*address);
                if permission.alone || batch.len() == MAX_BATCH {
                    break;
                }
            }
        }
        batch
    }

    /// The server granted a request that was sent at `since`. True when the permission is new.
    pub(super) fn granted(&mut self, address: IpAddr, since: Instant) -> bool {
        let Some(permission) = self.by_address.get_mut(&address) else {
            return false;
        };
        permission.alone = false;
        permission.due = Some(since + REFRESH);
        !std::mem::replace(&mut permission.is_granted, true)
    }

    /// A request is to be sent again, alone if it was refused with others.
    pub(super) fn again(&mut self, now: Instant, addresses: &[IpAddr], alone: bool) {
        for address in addresses {
            if let Some(permission) = self.by_address.get_mut(address) {
                permission.due = Some(now);
                permission.alone |= alone;
            }
        }
    }
}

/// Most addresses in one request: it fits a packet with room to spare.
pub(super) const MAX_BATCH: usize = 16;
/// A permission lasts 5 minutes; it is asked for after four.
const REFRESH: Duration = Duration::from_secs(240);
/// How early a permission goes along with one that is due.
const ALONG: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the origin of a test"
    )]
    fn origin() -> Instant {
        Instant::now()
    }

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn requests_carry_a_bounded_batch() {
        let now = origin();
        let mut permissions = Permissions::default();
        (0..20).for_each(|last| permissions.insert(now, ip(last)));
        assert_eq!(permissions.take_due(now).len(), MAX_BATCH);
        assert_eq!(permissions.take_due(now).len(), 4);
        assert!(permissions.take_due(now).is_empty());
        assert_eq!(permissions.next_due(), None);
        assert!(permissions.is_usable(ip(3)));
    }

    #[test]
    fn a_refused_batch_is_asked_for_one_by_one() {
        let now = origin();
        let mut permissions = Permissions::default();
        (0..3).for_each(|last| permissions.insert(now, ip(last)));
        let batch = permissions.take_due(now);
        permissions.again(now, &batch, true);
        for last in 0..3 {
            assert_eq!(permissions.take_due(now)[..], [ip(last)]);
        }
        assert!(permissions.take_due(now).is_empty());
    }

    #[test]
    fn what_is_due_soon_goes_along() {
        let now = origin();
        let secs = Duration::from_secs;
        let mut permissions = Permissions::default();
        for (last, age) in [(1, 0), (2, 30), (3, 100)] {
            permissions.insert(now, ip(last));
            permissions.take_due(now);
            assert!(permissions.granted(ip(last), now + secs(age)));
        }
        assert_eq!(permissions.next_due(), Some(now + secs(240)));
        assert!(permissions.take_due(now + secs(239)).is_empty());
        assert_eq!(permissions.take_due(now + secs(240))[..], [ip(1), ip(2)]);
        assert!(
            !permissions.granted(ip(1), now + secs(240)),
            "it is not new"
        );
        assert_eq!(permissions.next_due(), Some(now + secs(340)));
    }
}
