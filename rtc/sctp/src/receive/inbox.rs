//! Messages that can be read: in order of arrival over all streams or stream by stream, each in
//! constant time.

use crate::api::Message;

/// A slab of messages linked twice: by arrival, and within their stream.
#[derive(Debug)]
pub(crate) struct Inbox {
    nodes: Vec<Node>,
    free: u32,
    head: u32,
    tail: u32,
}

/// The messages of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    head: u32,
    tail: u32,
    /// Payload bytes in the lane.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Node {
    message: Option<Message>,
    previous: u32,
    /// Next by arrival, or next free node.
    next: u32,
    next_in_lane: u32,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            free: NONE,
            head: NONE,
            tail: NONE,
        }
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            bytes: 0,
        }
    }
}

impl Inbox {
    pub(crate) fn push(&mut self, lane: &mut Lane, message: Message) {
        lane.bytes += message.payload.len();
        let node = Node {
            message: Some(message),
            previous: self.tail,
            next: NONE,
            next_in_lane: NONE,
        };
        let index = match self.nodes.get_mut(self.free as usize) {
            Some(slot) => {
                let index = self.free;
                self.free = slot.next;
                *slot = node;
                index
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        match self.nodes.get_mut(self.tail as usize) {
            Some(tail) => tail.next = index,
            None => self.head = index,
        }
        self.tail = index;
        match self.nodes.get_mut(lane.tail as usize) {
            Some(tail) => tail.next_in_lane = index,
            None => lane.head = index,
        }
        lane.tail = index;
    }

    /// Messages inside.
    pub(crate) fn len(&self) -> usize {
        self.nodes
            .iter()
            .filter(|node| node.message.is_some())
            .count()
    }

    /// The stream of the oldest message.
    pub(crate) fn peek(&self) -> Option<u16> {
        let node = self.nodes.get(self.head as usize)?;
        node.message.as_ref().map(|message| message.stream)
    }

    /// Takes the oldest message of a lane.
    pub(crate) fn pop(&mut self, lane: &mut Lane) -> Option<Message> {
        let index = lane.head;
        let node = self.nodes.get_mut(index as usize)?;
        let message = node.message.take()?;
        let (previous, next) = (node.previous, node.next);
        lane.head = node.next_in_lane;
        node.next = self.free;
        self.free = index;
        if lane.head == NONE {
            lane.tail = NONE;
        }
        lane.bytes -= message.payload.len();
        match self.nodes.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.head = next,
        }
        match self.nodes.get_mut(next as usize) {
            Some(next) => next.previous = previous,
            None => self.tail = previous,
        }
        if self.head == NONE {
            self.reset();
        }
        Some(message)
    }

    /// Frees the slab of an empty inbox.
    pub(crate) fn shrink(&mut self) {
        if self.head == NONE {
            self.nodes = Vec::new();
            self.free = NONE;
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.nodes.capacity()
    }

    /// An empty slab is filled from its start again, so that it stays in the cache.
    fn reset(&mut self) {
        const KEPT: usize = 1024;
        self.free = NONE;
        self.nodes.clear();
        if self.nodes.capacity() > KEPT {
            self.nodes.shrink_to(KEPT);
        }
    }
}

/// No node.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec(0u16..9, 0..200)) {
            let mut inbox = Inbox::default();
            let mut lanes = [Lane::default(); 3];
            let mut model: VecDeque<(u16, u32)> = VecDeque::new();
            for (count, step) in steps.into_iter().enumerate() {
                let stream = step % 3;
                let lane = &mut lanes[usize::from(stream)];
                match step / 3 {
                    0 | 1 => {
                        let ppid = count as u32;
                        let payload = BytesMut::zeroed(count);
                        inbox.push(lane, Message { stream, ppid, payload, unordered: false });
                        model.push_back((stream, ppid));
                    }
                    _ => {
                        let at = model.iter().position(|&(owner, _)| owner == stream);
                        let expected = at.and_then(|at| model.remove(at));
                        let got = inbox.pop(lane).map(|message| (message.stream, message.ppid));
                        prop_assert_eq!(got, expected);
                    }
                }
                prop_assert_eq!(inbox.peek(), model.front().map(|&(stream, _)| stream));
                for (stream, lane) in (0u16..).zip(&lanes) {
                    let bytes: u32 = model.iter().filter(|m| m.0 == stream).map(|m| m.1).sum();
                    prop_assert_eq!(lane.bytes, bytes as usize);
                }
            }
        }
    }
}
