use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rtc_shared::FiveTuple;
use rtc_stun::AddressFamily;

use super::allocation::{Allocation, FAMILIES, Relay, index_of};

/// Names a relay of an allocation: the socket that the owner holds for it. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId {
    pub(super) key: Key,
    ipv6: bool,
}

impl RelayId {
    pub(super) fn new(key: Key, family: AddressFamily) -> Self {
        Self {
            key,
            ipv6: family == AddressFamily::Ipv6,
        }
    }

    /// The family of its address.
    #[must_use]
    pub fn family(&self) -> AddressFamily {
        if self.ipv6 {
            AddressFamily::Ipv6
        } else {
            AddressFamily::Ipv4
        }
    }
}

/// Names an allocation for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    slot: u32,
    generation: u32,
}

/// All allocations, found by what messages show: client, relay, relayed address; and by time.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_client: HashMap<FiveTuple, Key>,
    by_relayed: HashMap<SocketAddr, Key>,
    per_user: HashMap<Arc<str>, u32>,
    deadlines: BTreeSet<(Instant, Key)>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    allocation: Option<Box<Allocation>>,
    deadline: Option<Instant>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    pub(super) fn of_user(&self, username: &str) -> u32 {
        self.per_user.get(username).copied().unwrap_or(0)
    }

    /// The user name as it is stored, so that all allocations of a user share it.
    pub(super) fn intern(&self, username: String) -> Arc<str> {
        match self.per_user.get_key_value(&*username) {
            Some((name, _)) => Arc::clone(name),
            None => username.into(),
        }
    }

    pub(super) fn of_client(&self, client: &FiveTuple) -> Option<Key> {
        self.by_client.get(client).copied()
    }

    /// True when the address is of a relay of this server.
    pub(super) fn is_relayed(&self, address: &SocketAddr) -> bool {
        self.by_relayed.contains_key(address)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Allocation> {
        let slot = self.slots.get(key.slot as usize)?;
        slot.allocation
            .as_deref()
            .filter(|_| slot.generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Allocation> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        slot.allocation
            .as_deref_mut()
            .filter(|_| slot.generation == key.generation)
    }

    /// Adds an allocation of a client that has none.
    pub(super) fn insert(&mut self, allocation: Allocation) -> Option<Key> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot::default());
                index
            }
        };
        let slot = self.slots.get_mut(index as usize)?;
        slot.generation = slot.generation.wrapping_add(1);
        let key = Key {
            slot: index,
            generation: slot.generation,
        };
        self.by_client.insert(allocation.client, key);
        *self
            .per_user
            .entry(Arc::clone(&allocation.username))
            .or_default() += 1;
        slot.allocation = Some(Box::new(allocation));
        self.reschedule(key);
        Some(key)
    }

    /// Notes the relayed address of an allocation; false when another has it.
    pub(super) fn set_relayed(&mut self, key: Key, family: AddressFamily, bound: Relay) -> bool {
        let Relay::Bound { address, .. } = bound else {
            return false;
        };
        match self.by_relayed.entry(address) {
            Entry::Occupied(_) => return false,
            Entry::Vacant(entry) => entry.insert(key),
        };
        if let Some(relay) = self.get_mut(key).and_then(|each| each.relay_mut(family)) {
            *relay = bound;
        }
        true
    }

    /// Deletes the relay of one family; true when it was bound.
    pub(super) fn clear_relay(&mut self, key: Key, family: AddressFamily) -> bool {
        let Some(relay) = self.get_mut(key).and_then(|each| each.relay_mut(family)) else {
            return false;
        };
        match std::mem::replace(relay, Relay::None) {
            Relay::Bound { address, .. } => self.by_relayed.remove(&address).is_some(),
            _ => false,
        }
    }

    /// Removes an allocation; gives it with the relays that were bound.
    pub(super) fn remove(&mut self, key: Key) -> Option<Box<Allocation>> {
        self.get(key)?;
        let slot = self.slots.get_mut(key.slot as usize)?;
        let allocation = slot.allocation.take()?;
        if let Some(deadline) = slot.deadline.take() {
            self.deadlines.remove(&(deadline, key));
        }
        self.free.push(key.slot);
        self.by_client.remove(&allocation.client);
        for family in FAMILIES {
            if let Some(Relay::Bound { address, .. }) = allocation.relays.get(index_of(family)) {
                self.by_relayed.remove(address);
            }
        }
        if let Some(count) = self.per_user.get_mut(&allocation.username) {
            *count -= 1;
            if *count == 0 {
                self.per_user.remove(&allocation.username);
            }
        }
        Some(allocation)
    }

    /// Takes over a changed deadline of an allocation.
    pub(super) fn reschedule(&mut self, key: Key) {
        let deadline = self.get(key).and_then(Allocation::deadline);
        let Some(slot) = self.slots.get_mut(key.slot as usize) else {
            return;
        };
        if slot.deadline == deadline {
            return;
        }
        if let Some(old) = slot.deadline {
            self.deadlines.remove(&(old, key));
        }
        slot.deadline = deadline;
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, key));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// The allocation whose deadline has come.
    pub(super) fn expired(&self, now: Instant) -> Option<Key> {
        let &(deadline, key) = self.deadlines.first()?;
        (deadline <= now).then_some(key)
    }

    /// All allocations, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Allocation)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| {
            let key = Key {
                slot: index,
                generation: slot.generation,
            };
            Some((key, slot.allocation.as_deref()?))
        })
    }
}
