//! Messages that can be read: in order of arrival over all streams or stream by stream, each in
//! constant time.

use crate::api::Message;

/// A slab of messages linked twice: by arrival, and within their stream.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    nodes: Vec<Node>,
    free: Option<u32>,
    head: Option<u32>,
    tail: Option<u32>,
}

/// The messages of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lane {
    head: Option<u32>,
    tail: Option<u32>,
    /// Payload bytes in the lane.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Node {
    message: Option<Message>,
    previous: Option<u32>,
    /// Next by arrival, or next free node.
    next: Option<u32>,
    next_in_lane: Option<u32>,
}

impl Inbox {
    pub(crate) fn push(&mut self, lane: &mut Lane, message: Message) {
        lane.bytes += message.payload.len();
        let node = Node {
            message: Some(message),
            previous: self.tail,
            next: None,
            next_in_lane: None,
        };
        let index = match self.free {
            Some(index) => {
                if let Some(slot) = self.nodes.get_mut(index as usize) {
                    self.free = slot.next;
                    *slot = node;
                }
                index
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        match self.tail.and_then(|tail| self.nodes.get_mut(tail as usize)) {
            Some(tail) => tail.next = Some(index),
            None => self.head = Some(index),
        }
        self.tail = Some(index);
        match lane.tail.and_then(|tail| self.nodes.get_mut(tail as usize)) {
            Some(tail) => tail.next_in_lane = Some(index),
            None => lane.head = Some(index),
        }
        lane.tail = Some(index);
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
        self.nodes
            .get(self.head? as usize)?
            .message
            .as_ref()
            .map(|message| message.stream)
    }

    /// Takes the oldest message of a lane.
    pub(crate) fn pop(&mut self, lane: &mut Lane) -> Option<Message> {
        let index = lane.head?;
        let node = self.nodes.get_mut(index as usize)?;
        let message = node.message.take()?;
        let (previous, next) = (node.previous.take(), node.next);
        lane.head = node.next_in_lane.take();
        node.next = self.free;
        self.free = Some(index);
        if lane.head.is_none() {
            lane.tail = None;
        }
        lane.bytes -= message.payload.len();
        match previous.and_then(|previous| self.nodes.get_mut(previous as usize)) {
            Some(previous) => previous.next = next,
            None => self.head = next,
        }
        match next.and_then(|next| self.nodes.get_mut(next as usize)) {
            Some(next) => next.previous = previous,
            None => self.tail = previous,
        }
        if self.head.is_none() {
            self.reset();
        }
        Some(message)
    }

    /// Frees the slab of an empty inbox.
    pub(crate) fn shrink(&mut self) {
        if self.head.is_none() {
            self.nodes = Vec::new();
            self.free = None;
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.nodes.capacity()
    }

    /// An empty slab is filled from its start again, so that it stays in the cache.
    fn reset(&mut self) {
        const KEPT: usize = 1024;
        self.free = None;
        self.nodes.clear();
        if self.nodes.capacity() > KEPT {
            self.nodes.shrink_to(KEPT);
        }
    }
}

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
