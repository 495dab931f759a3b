use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time needs some instant to start from"
)]
fn some_instant() -> Instant {
    Instant::now()
}

fn message(length: usize, max_retransmits: Option<u16>) -> Queued {
    Queued {
        payload: vec![1; length].into(),
        ppid: 0,
        unordered: false,
        max_retransmits,
        lifetime: Lifetime::Unlimited,
    }
}

/// The fragments of a message of so many bytes.
fn push(out: &mut Outstanding, stream: u16, length: usize, max: Option<u16>, now: Instant) {
    out.begin(stream, 0, message(length, max));
    while out.push_chunk(100, now).is_some() {}
}

#[test]
fn three_packets_above_a_hole_find_it_lost_at_once() {
    let now = some_instant();
    let mut out = Outstanding::new(u32::MAX - 2);
    push(&mut out, 0, 1000, None, now);
    let none = std::iter::empty();
    let acked = out
        .acknowledge(u32::MAX - 2, none, 116, false, now)
        .unwrap();
    assert!(acked.advanced && !acked.loss);
    // Two above: not yet. A third: lost.
    let acked = out
        .acknowledge(u32::MAX - 2, [(2, 3)].into_iter(), 116, false, now)
        .unwrap();
    assert!(!acked.loss);
    assert_eq!(acked.bytes, 232);
    let acked = out
        .acknowledge(u32::MAX - 2, [(2, 4)].into_iter(), 116, false, now)
        .unwrap();
    assert!(acked.loss);
    out.check();
    let (index, length) = out.next_lost(now).unwrap();
    assert_eq!((index, length), (0, 100));
    out.resend(index);
    // What was sent before the retransmission says nothing about it.
    let acked = out
        .acknowledge(u32::MAX - 2, [(2, 9)].into_iter(), 116, false, now)
        .unwrap();
    assert!(!acked.loss);
    // What is sent after it does.
    push(&mut out, 0, 300, None, now);
    let acked = out
        .acknowledge(u32::MAX - 2, [(2, 12)].into_iter(), 116, false, now)
        .unwrap();
    assert!(acked.loss);
    out.check();
}

#[test]
fn round_trips_are_not_measured_by_what_was_sent_twice() {
    let now = some_instant();
    let later = now + Duration::from_millis(70);
    let mut out = Outstanding::new(1);
    push(&mut out, 0, 100, None, now);
    let none = || std::iter::empty();
    let acked = out.acknowledge(1, none(), 116, false, later).unwrap();
    assert_eq!(acked.rtt, Some(Duration::from_millis(70)));
    push(&mut out, 0, 100, None, now);
    out.time_out();
    let (index, _) = out.next_lost(now).unwrap();
    out.resend(index);
    assert_eq!(
        out.acknowledge(2, none(), 116, false, later).unwrap().rtt,
        None
    );
}

#[test]
fn a_message_is_given_up_as_a_whole() {
    let now = some_instant();
    let mut out = Outstanding::new(1);
    push(&mut out, 5, 300, Some(0), now);
    push(&mut out, 6, 300, None, now);
    assert!(
        out.acknowledge(1, [(2, 4)].into_iter(), 1, false, now)
            .unwrap()
            .loss
    );
    out.check();
    assert_eq!(out.abandoned_messages, 1);
    assert!(out.needs_forward());
    // TSN 2 is skipped; 3 to 5 have come, of which 3 belongs to the message given up.
    assert_eq!(out.forward_point(10), Some((2, vec![(5, 0)])));
    assert_eq!(out.forward_point(0), None);
}

#[test]
fn what_the_peer_takes_back_of_a_given_up_message_is_skipped() {
    let now = some_instant();
    let mut out = Outstanding::new(1);
    push(&mut out, 5, 100, None, now);
    let mut mortal = message(400, None);
    mortal.lifetime = Lifetime::Until(now);
    out.begin(5, 1, mortal);
    while out.push_chunk(100, now).is_some() {}
    out.acknowledge(0, [(3, 5)].into_iter(), 116, false, now)
        .unwrap();
    out.time_out();
    // TSN 2 is given up, 3 to 5 have come: until the peer says otherwise.
    let (index, _) = out.next_lost(now).unwrap();
    assert_eq!(index, 0);
    out.resend(0);
    assert_eq!(out.next_lost(now), None);
    out.acknowledge(2, std::iter::empty(), 116, false, now)
        .unwrap();
    out.check();
    assert_eq!(out.next_lost(now), None);
    assert_eq!(out.forward_point(9), Some((5, vec![(5, 1)])));
}

#[test]
fn old_and_impossible_acknowledgements_are_refused() {
    let now = some_instant();
    let mut out = Outstanding::new(10);
    push(&mut out, 0, 300, None, now);
    let none = || std::iter::empty();
    assert!(out.acknowledge(8, none(), 116, false, now).is_none());
    assert!(out.acknowledge(13, none(), 116, false, now).is_none());
    assert!(out.acknowledge(11, none(), 116, false, now).is_some());
    assert!(out.acknowledge(10, none(), 116, false, now).is_none());
    assert_eq!(out.flight(), 116);
}

proptest! {
    #[test]
    fn sums_hold_whatever_is_acknowledged(steps in prop::collection::vec(
        (0u8..8, any::<u16>(), 1u16..500, prop::collection::vec((0u16..40, 0u16..40), 0..4)),
        1..80))
    {
        let now = some_instant();
        let mut out = Outstanding::new(u32::MAX - 30);
        let mut sent = 0;
        for (what, number, length, gaps) in steps {
            match what {
                0..=2 if out.open_stream().is_none() => {
                    sent += 1;
                    let mut queued = message(length.into(), (number % 3 == 0).then_some(number % 2));
                    if number % 7 == 0 {
                        queued.lifetime = Lifetime::Until(now);
                    }
                    out.begin(number % 3, sent, queued);
                }
                0..=2 => drop(out.push_chunk(100, now)),
                3 => out.time_out(),
                4 => {
                    if let Some((index, _)) = out.next_lost(now) {
                        prop_assert!(out.data(index).is_some());
                        out.resend(index);
                    }
                }
                5 => out.expire_open(now),
                _ => {
                    let cumulative = out.cumulative().wrapping_add(u32::from(number % 4));
                    out.acknowledge(cumulative, gaps.into_iter(), 116, number % 2 == 0, now);
                }
            }
            out.check();
            if out.needs_forward() {
                prop_assert!(out.forward_point(100).is_some());
            }
        }
        let last = out.next_tsn().wrapping_sub(1);
        out.acknowledge(last, std::iter::empty(), 116, false, now).unwrap();
        out.check();
        prop_assert_eq!((out.flight(), out.has_lost()), (0, false));
        prop_assert!(out.is_empty());
    }
}

#[test]
fn equal_streams_take_turns_and_weights_count() {
    let mut queue = SendQueue::new();
    queue.set_priority(1, 512);
    for _ in 0..100 {
        for stream in 0..3 {
            queue.push(stream, message(100, None));
        }
    }
    let mut turns: BTreeMap<u16, u32> = BTreeMap::new();
    for _ in 0..40 {
        let (stream, _, message) = queue.pop(OPEN).unwrap();
        queue.sent(stream, message.payload.len());
        *turns.entry(stream).or_default() += 1;
    }
    assert_eq!(turns, BTreeMap::from([(0, 10), (1, 20), (2, 10)]));
    assert_eq!(queue.buffered(), 260 * 100);
    queue.remove(1);
    assert_eq!(queue.buffered(), 180 * 100);
    for _ in 0..180 {
        let (stream, _, message) = queue.pop(OPEN).unwrap();
        assert_ne!(stream, 1);
        queue.sent(stream, message.payload.len());
    }
    assert!(queue.pop(OPEN).is_none() && !queue.is_ready());
    assert_eq!(queue.buffered(), 0);
}

#[test]
fn a_stream_that_was_idle_saves_no_turns_up() {
    let mut queue = SendQueue::new();
    for _ in 0..50 {
        queue.push(0, message(1000, None));
    }
    for _ in 0..40 {
        queue.pop(OPEN).unwrap();
    }
    for _ in 0..50 {
        queue.push(1, message(1000, None));
    }
    let streams: Vec<u16> = (0..10).map(|_| queue.pop(OPEN).unwrap().0).collect();
    let late = streams.iter().filter(|&&stream| stream == 1).count();
    assert!((4..=6).contains(&late), "{streams:?}");
}

#[test]
fn lifetimes_start_when_the_time_is_known() {
    let now = some_instant();
    let mut queue = SendQueue::new();
    let mortal = |ms| Queued {
        payload: Bytes::from_static(b"x"),
        ppid: 0,
        unordered: true,
        max_retransmits: None,
        lifetime: Lifetime::Unstamped(Duration::from_millis(ms)),
    };
    queue.push(0, mortal(10));
    queue.push(0, message(1, None));
    queue.push(1, mortal(u64::MAX));
    assert!(queue.needs_stamp());
    queue.stamp(now);
    let later = now + Duration::from_millis(5);
    queue.push(0, mortal(10));
    queue.stamp(later);
    assert!(queue.purge_expired(later).is_empty());
    queue.set_low_threshold(0, 2);
    assert_eq!(queue.purge_expired(now + Duration::from_millis(12)), [0]);
    assert_eq!(queue.take_purged(), 1);
    assert_eq!(queue.buffered(), 3);
    queue.purge_expired(now + Duration::from_secs(1));
    assert_eq!(queue.take_purged(), 1);
    assert_eq!(queue.buffered(), 2);
    let mut left = 0;
    while let Some((stream, _, message)) = queue.pop(OPEN) {
        queue.sent(stream, message.payload.len());
        left += 1;
    }
    assert_eq!((left, queue.buffered()), (2, 0));
}

const OPEN: PeerWindow = PeerWindow {
    free: usize::MAX,
    occupied: 0,
};
