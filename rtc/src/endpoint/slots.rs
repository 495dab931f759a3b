use std::fmt;

/// Names a peer of an [`RTCEndpoint`](super::RTCEndpoint). The id of a peer that was removed names
/// none for ever after.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RTCPeerId {
    pub(super) index: u32,
    generation: u32,
}

impl fmt::Debug for RTCPeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RTCPeerId({}.{})", self.index, self.generation)
    }
}

/// A table whose places are used again, each time under another generation.
#[derive(Debug)]
pub(super) struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    /// Boxed, so that the table stays small however large a connection is.
    value: Option<Box<T>>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: T) -> RTCPeerId {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.entries.push(Entry {
                    generation: 0,
                    value: None,
                });
                self.entries.len() as u32 - 1
            }
        };
        let mut generation = 0;
        if let Some(entry) = self.entries.get_mut(index as usize) {
            entry.value = Some(Box::new(value));
            generation = entry.generation;
        }
        RTCPeerId { index, generation }
    }

    pub(super) fn remove(&mut self, id: RTCPeerId) -> Option<T> {
        let entry = self
            .entries
            .get_mut(id.index as usize)
            .filter(|entry| entry.generation == id.generation)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(*value)
    }

    pub(super) fn get(&self, id: RTCPeerId) -> Option<&T> {
        self.entries
            .get(id.index as usize)
            .filter(|entry| entry.generation == id.generation)?
            .value
            .as_deref()
    }

    pub(super) fn get_mut(&mut self, id: RTCPeerId) -> Option<&mut T> {
        self.entries
            .get_mut(id.index as usize)
            .filter(|entry| entry.generation == id.generation)?
            .value
            .as_deref_mut()
    }

    /// The value at a place, whatever its generation.
    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize)?.value.as_deref_mut()
    }

    /// The id of the value at a place.
    pub(super) fn id_at(&self, index: u32) -> Option<RTCPeerId> {
        let entry = self.entries.get(index as usize)?;
        entry.value.as_ref()?;
        Some(RTCPeerId {
            index,
            generation: entry.generation,
        })
    }

    /// Places in use, in order.
    pub(super) fn indices(&self) -> impl Iterator<Item = u32> {
        (0_u32..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.value.is_some())
            .map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_under_another_name() {
        let mut slots = Slots::new();
        let (a, b) = (slots.insert('a'), slots.insert('b'));
        assert_eq!(slots.remove(a), Some('a'));
        let c = slots.insert('c');
        assert_eq!((c.index, slots.len()), (a.index, 2));
        assert_ne!(a, c);
        assert_eq!(slots.get_mut(a), None);
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.get_mut(c), Some(&mut 'c'));
        assert_eq!(slots.id_at(b.index), Some(b));
        assert_eq!(slots.indices().collect::<Vec<_>>(), [0, 1]);
    }
}
