use proptest::prelude::*;

use super::*;

/// One fragment of a sender's stream of messages.
#[derive(Clone, Debug)]
struct Sent {
    tsn: u32,
    stream: u16,
    ssn: u16,
    unordered: bool,
    begin: bool,
    end: bool,
    payload: Vec<u8>,
}

/// Cuts messages (stream, unordered, fragments) into chunks from a TSN on.
fn fragments(messages: &[(u16, bool, usize)], first_tsn: u32) -> Vec<Sent> {
    let mut ssns = BTreeMap::new();
    let mut sent = Vec::new();
    let mut tsn = first_tsn;
    for (number, &(stream, unordered, count)) in messages.iter().enumerate() {
        let ssn = if unordered {
            0
        } else {
            let next = ssns.entry(stream).or_insert(0u16);
            *next += 1;
            *next - 1
        };
        for part in 0..count {
            let (begin, end) = (part == 0, part + 1 == count);
            let payload = vec![number as u8; 1 + (number + part) % 5];
            sent.push(Sent {
                tsn,
                stream,
                ssn,
                unordered,
                begin,
                end,
                payload,
            });
            tsn = tsn.wrapping_add(1);
        }
    }
    sent
}

fn take(receiver: &mut Receiver, chunk: &Sent) -> Result<(), Violation> {
    let tsn = receiver.tsns.extend(chunk.tsn);
    let place = receiver.tsns.place(tsn);
    if !matches!(place, Place::Next | Place::Ahead) {
        return Ok(());
    }
    let Sent {
        stream,
        ssn,
        unordered,
        begin,
        end,
        ..
    } = *chunk;
    let meta = Meta {
        stream,
        ssn,
        ppid: 7,
        unordered,
    };
    receiver.insert(
        &Fragment {
            tsn,
            meta,
            begin,
            end,
        },
        place,
        Payload::Borrowed(&chunk.payload),
    )
}

fn read_all(receiver: &mut Receiver) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(stream) = receiver.peek() {
        messages.extend(receiver.read_stream(stream));
    }
    messages
}

fn receiver(first_tsn: u32) -> Receiver {
    Receiver::new(&Config::default().sanitised(), first_tsn)
}

fn sequence() -> impl Strategy<Value = Vec<(u16, bool, usize)>> {
    prop::collection::vec((0u16..3, any::<bool>(), 1usize..6), 1..30)
}

proptest! {
    #[test]
    fn any_order_of_arrival_gives_every_message_once(
        messages in sequence(), seed: prop::sample::Index, swaps in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..200))
    {
        let first_tsn = u32::MAX - seed.index(40) as u32;
        let mut chunks = fragments(&messages, first_tsn);
        for (a, b) in swaps {
            let (a, b) = (a.index(chunks.len()), b.index(chunks.len()));
            chunks.swap(a, b);
        }
        let mut receiver = receiver(first_tsn);
        for chunk in &chunks {
            take(&mut receiver, chunk).unwrap();
            take(&mut receiver, chunk).unwrap();
        }
        let got = read_all(&mut receiver);
        prop_assert_eq!(receiver.charge(), 0);
        prop_assert!(!receiver.tsns.has_gaps());
        prop_assert_eq!(got.len(), messages.len());
        for (number, &(stream, unordered, count)) in messages.iter().enumerate() {
            let matching: Vec<_> =
                got.iter().filter(|message| message.payload[0] == number as u8).collect();
            prop_assert_eq!(matching.len(), 1);
            let length: usize = (0..count).map(|part| 1 + (number + part) % 5).sum();
            prop_assert_eq!(matching[0].payload.len(), length);
            prop_assert!(matching[0].payload.iter().all(|&byte| byte == number as u8));
            prop_assert_eq!((matching[0].stream, matching[0].unordered), (stream, unordered));
        }
        for stream in 0..3 {
            let ordered: Vec<_> = got
                .iter()
                .filter(|message| message.stream == stream && !message.unordered)
                .map(|message| message.payload[0])
                .collect();
            prop_assert!(ordered.is_sorted());
        }
    }

    #[test]
    fn skipped_messages_leave_nothing_behind(
        messages in sequence(), lost in prop::collection::vec(any::<bool>(), 30),
        swaps in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..100))
    {
        // Of a lost message, every second fragment arrives.
        let chunks = fragments(&messages, 100);
        let number_of = |chunk: &Sent| usize::from(chunk.payload[0]);
        let mut arriving: Vec<_> = chunks
            .iter()
            .filter(|chunk| !lost[number_of(chunk)] || chunk.tsn % 2 == 0)
            .collect();
        for (a, b) in swaps {
            let count = arriving.len().max(1);
            let (a, b) = (a.index(count), b.index(count));
            if a.max(b) < arriving.len() {
                arriving.swap(a, b);
            }
        }
        let mut receiver = receiver(100);
        for chunk in arriving {
            take(&mut receiver, chunk).unwrap();
        }
        let last = receiver.tsns.extend(chunks.last().unwrap().tsn);
        let skips = chunks
            .iter()
            .filter(|chunk| lost[number_of(chunk)] && !chunk.unordered)
            .map(|chunk| (chunk.stream, chunk.ssn));
        if last > receiver.tsns.cumulative() {
            receiver.forward(last, skips).unwrap();
        }
        let got = read_all(&mut receiver);
        prop_assert_eq!(receiver.charge(), 0);
        prop_assert_eq!(receiver.tsns.cumulative(), last);
        for (number, &(_, _, count)) in messages.iter().enumerate() {
            let arrived = got.iter().filter(|message| message.payload[0] == number as u8).count();
            let whole = !lost[number] || (count == 1 && {
                chunks.iter().any(|chunk| number_of(chunk) == number && chunk.tsn % 2 == 0)
            });
            prop_assert_eq!(arrived, usize::from(whole));
        }
    }

    #[test]
    fn arbitrary_fragments_never_upset_the_sums(chunks in prop::collection::vec(
        (0u32..40, 0u16..3, 0u16..4, any::<[bool; 3]>(), 1usize..600, 0u8..12), 0..120))
    {
        let mut receiver = receiver(1);
        for (tsn, stream, ssn, [unordered, begin, end], length, what) in chunks {
            match what {
                0 => {
                    let to = receiver.tsns.extend(tsn);
                    if to > receiver.tsns.cumulative() {
                        let _ = receiver.forward(to, [(stream, ssn)].into_iter());
                    }
                }
                1 => {
                    let last = receiver.tsns.extend(tsn);
                    receiver.defer_reset(last, vec![stream]);
                }
                2 => {
                    if let Some((_, streams)) = receiver.take_due_reset() {
                        receiver.reset_streams(&streams);
                    }
                }
                3 => receiver.discard(stream),
                4 => drop(receiver.read_stream(stream)),
                _ => {
                    let payload = vec![0; length];
                    let chunk = Sent { tsn, stream, ssn, unordered, begin, end, payload };
                    // A violation ends the association.
                    if take(&mut receiver, &chunk).is_err() {
                        return Ok(());
                    }
                }
            }
        }
        // The second time for what the first has let go.
        receiver.reset_streams(&[0, 1, 2]);
        receiver.reset_streams(&[0, 1, 2]);
        let end = receiver.tsns.extend(1000);
        let _ = receiver.forward(end, std::iter::empty());
        read_all(&mut receiver);
        prop_assert_eq!(receiver.charge(), 0);
    }
}

#[test]
fn messages_of_other_streams_do_not_wait_for_a_gap() {
    let messages = [
        (0, false, 1),
        (1, false, 1),
        (0, false, 2),
        (2, true, 3),
        (1, false, 1),
    ];
    let chunks = fragments(&messages, 5);
    let mut receiver = receiver(5);
    for chunk in &chunks[1..] {
        take(&mut receiver, chunk).unwrap();
    }
    let streams: Vec<_> = read_all(&mut receiver)
        .iter()
        .map(|message| message.stream)
        .collect();
    assert_eq!(streams, [1, 2, 1]);
    take(&mut receiver, &chunks[0]).unwrap();
    let streams: Vec<_> = read_all(&mut receiver)
        .iter()
        .map(|message| message.stream)
        .collect();
    assert_eq!(streams, [0, 0]);
}

#[test]
fn joined_messages_have_no_room_to_spare() {
    let mut receiver = receiver(1);
    let chunks = fragments(&[(0, false, 100), (0, false, 100), (0, false, 30)], 1);
    for chunk in &chunks {
        take(&mut receiver, chunk).unwrap();
    }
    for message in read_all(&mut receiver) {
        let spare = message.payload.capacity() - message.payload.len();
        assert!(spare <= message.payload.len() / 4 + 64, "{spare}");
    }
}
