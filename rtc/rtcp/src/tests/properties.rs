use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rtc_shared::EcnCodepoint;

use super::{MALFORMED, SEEDS, VECTORS, bytes, entries, exercise, one, written};
use crate::*;

fn block() -> impl Strategy<Value = ReportBlock> {
    (any::<[u32; 5]>(), any::<u8>(), -(1 << 23)..1i32 << 23).prop_map(
        |([ssrc, highest, jitter, last, delay], fraction_lost, cumulative_lost)| ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost,
            extended_highest_sequence_number: highest,
            jitter,
            last_sender_report: NtpShort(last),
            delay_since_last_sender_report: NtpShort(delay),
        },
    )
}

fn words(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u32>(), 0..max)
        .prop_map(|words| words.iter().flat_map(|word| word.to_be_bytes()).collect())
}

fn text() -> impl Strategy<Value = Text> {
    vec(any::<u8>(), 0..=255).prop_map(Text::from_vec)
}

fn sdes() -> impl Strategy<Value = SourceDescription> {
    let item = (1u8.., text()).prop_map(|(item_type, value)| SdesItem { item_type, value });
    let chunk = (any::<u32>(), vec(item, 0..4)).prop_map(|(ssrc, items)| SdesChunk {
        ssrc,
        items: items.into(),
    });
    vec(chunk, 0..=31).prop_map(|chunks| SourceDescription {
        chunks: chunks.into(),
    })
}

fn remb() -> impl Strategy<Value = Remb> {
    (
        any::<u32>(),
        0u64..1 << 18,
        0u32..46,
        vec(any::<u32>(), 0..=255),
    )
        .prop_map(|(sender_ssrc, mantissa, exponent, ssrcs)| Remb {
            sender_ssrc,
            bitrate: mantissa << exponent,
            ssrcs: ssrcs.into(),
        })
}

fn extended_report() -> impl Strategy<Value = ExtendedReport> {
    let item = any::<[u32; 3]>().prop_map(|[ssrc, last, delay]| DlrrItem {
        ssrc,
        last_receiver_report: NtpShort(last),
        delay_since_last_receiver_report: NtpShort(delay),
    });
    let block = prop_oneof![
        any::<u64>().prop_map(|time| XrBlock::ReceiverReferenceTime(NtpTime(time))),
        vec(item, 0..8).prop_map(|items| XrBlock::Dlrr(items.into())),
        (6u8.., any::<u8>(), words(8)).prop_map(|(block_type, specific, content)| XrBlock::Raw {
            block_type,
            specific,
            content,
        }),
    ];
    (any::<u32>(), vec(block, 0..=64)).prop_map(|(ssrc, blocks)| ExtendedReport {
        ssrc,
        blocks: blocks.into(),
    })
}

fn ccfb() -> impl Strategy<Value = Ccfb> {
    let ecn = (0u8..4).prop_map(EcnCodepoint::from_bits);
    let arrival = (any::<u16>(), 0u64..20_000, ecn)
        .prop_map(|(step, time, ecn)| (step % 40, Duration::from_millis(time), ecn));
    let block =
        (any::<u32>(), any::<u16>(), vec(arrival, 0..60)).prop_map(|(ssrc, begin, arrivals)| {
            let mut number = begin;
            let arrivals = arrivals.into_iter().map(|(step, time, ecn)| {
                number = number.wrapping_add(step);
                (number, time, ecn)
            });
            CcfbBlock::from_arrivals(ssrc, Duration::from_secs(10), arrivals)
        });
    (any::<u32>(), vec(block, 0..4), any::<u32>()).prop_map(|(sender_ssrc, blocks, time)| Ccfb {
        sender_ssrc,
        blocks: blocks.into(),
        report_timestamp: NtpShort(time),
    })
}

/// Packets that arrive: how many numbers and how much time in ticks after the one before.
fn arrivals() -> impl Strategy<Value = Vec<(u16, i64)>> {
    let step = prop_oneof![8 => Just(1u16), 2 => 2u16..20, 1 => 1u16..10_000];
    let time = prop_oneof![8 => 0i64..20, 2 => -40i64..400, 1 => -0x8000i64..0x8000];
    vec((step, time), 1..400)
}

fn twcc() -> impl Strategy<Value = Twcc> {
    (any::<u16>(), arrivals(), any::<u8>()).prop_map(|(base, arrivals, count)| {
        let mut builder = TwccBuilder::new(base, 65_536);
        let mut number = base;
        let mut ticks = 1i64 << 30;
        for (step, time) in arrivals {
            number = number.wrapping_add(step);
            ticks += time;
            if !builder.push(number, Duration::from_micros(250 * ticks.unsigned_abs())) {
                break;
            }
        }
        builder.finish(1, 2, count).unwrap()
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let any_words = words(20);
    prop_oneof![
        (any::<[u32; 4]>(), any::<u64>(), vec(block(), 0..=31)).prop_map(
            |([ssrc, rtp_timestamp, packet_count, octet_count], time, blocks)| {
                SenderReport {
                    ssrc,
                    info: SenderInfo {
                        ntp_time: NtpTime(time),
                        rtp_timestamp,
                        packet_count,
                        octet_count,
                    },
                    blocks: blocks.into(),
                }
                .into()
            }
        ),
        (any::<u32>(), vec(block(), 0..=31)).prop_map(|(ssrc, blocks)| ReceiverReport {
            ssrc,
            blocks: blocks.into()
        }
        .into()),
        sdes().prop_map(Packet::from),
        (vec(any::<u32>(), 0..=31), proptest::option::of(text())).prop_map(|(ssrcs, reason)| Bye {
            ssrcs: ssrcs.into(),
            reason
        }
        .into()),
        (0u8..32, any::<u32>(), any::<[u8; 4]>(), words(20)).prop_map(
            |(subtype, ssrc, name, data)| App {
                subtype,
                ssrc,
                name,
                data
            }
            .into()
        ),
        (any::<[u32; 2]>(), vec(any::<u16>(), 1..100))
            .prop_map(|([sender, media], numbers)| Nack::new(sender, media, numbers).into()),
        any::<[u32; 2]>().prop_map(|[sender_ssrc, media_ssrc]| Pli {
            sender_ssrc,
            media_ssrc
        }
        .into()),
        (any::<u32>(), vec(any::<(u32, u8)>(), 1..20)).prop_map(|(sender_ssrc, entries)| Fir {
            sender_ssrc,
            entries: entries
                .into_iter()
                .map(|(ssrc, sequence_number)| FirEntry {
                    ssrc,
                    sequence_number
                })
                .collect(),
        }
        .into()),
        remb().prop_map(Packet::from),
        ccfb().prop_map(Packet::from),
        twcc().prop_map(Packet::from),
        extended_report().prop_map(Packet::from),
        (5u8..11, any::<[u32; 2]>(), words(20)).prop_map(
            |(format, [sender_ssrc, media_ssrc], content)| RawFeedback {
                packet_type: 205,
                format,
                sender_ssrc,
                media_ssrc,
                content
            }
            .into()
        ),
        (208u8..=223, 0u8..32, any_words).prop_map(|(packet_type, count, content)| Raw {
            packet_type,
            count,
            content
        }
        .into()),
    ]
}

fn corpus() -> Vec<Vec<u8>> {
    let lists = [
        entries(VECTORS, Some("rtcp")),
        entries(VECTORS, Some("twcc")),
        entries(MALFORMED, None),
        entries(SEEDS, None),
    ];
    lists.iter().flatten().map(bytes).collect()
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(packet in packet()) {
        prop_assert_eq!(one(&written(&packet)), packet);
    }

    #[test]
    fn compounds_keep_their_packets(list in vec(packet(), 1..6)) {
        let mut datagram = Vec::new();
        write_packets(&list, &mut datagram);
        prop_assert_eq!(datagram.len(), packets_len(&list));
        let read: Result<Vec<_>, _> = packets(&datagram).collect();
        prop_assert_eq!(read, Ok(list));
    }

    #[test]
    fn arbitrary_bytes_never_panic(datagram in vec(any::<u8>(), 0..200)) {
        exercise(&datagram);
    }

    #[test]
    fn arbitrary_contents_never_panic(
        packet_type in 192u8..=223,
        first in 0x80u8..0xc0,
        content in words(60),
    ) {
        let words = (content.len() / 4) as u16;
        let mut datagram = vec![first, packet_type];
        datagram.extend_from_slice(&words.to_be_bytes());
        datagram.extend_from_slice(&content);
        exercise(&datagram);
    }

    #[test]
    fn mutated_packets_never_panic(
        packet in any::<Index>(),
        changes in vec((any::<Index>(), any::<u8>()), 1..6),
        cut in any::<Index>(),
    ) {
        let corpus = corpus();
        let mut datagram = packet.get(&corpus).clone();
        if datagram.is_empty() {
            return Ok(());
        }
        for (at, value) in changes {
            let at = at.index(datagram.len());
            datagram[at] = value;
        }
        exercise(&datagram);
        datagram.truncate(cut.index(datagram.len() + 1));
        exercise(&datagram);
    }

    #[test]
    fn times_go_to_ntp_and_back(seconds in 0u64..4_000_000_000, nanos in 0u32..1_000_000_000) {
        let time = Duration::new(seconds, nanos);
        prop_assert!(NtpTime::from_unix(time).to_unix().abs_diff(time) <= Duration::from_nanos(1));
    }

    #[test]
    fn transport_feedback_tells_exactly_what_was_pushed(
        base in any::<u16>(),
        steps in arrivals(),
        max_len in 30usize..1500,
    ) {
        let mut builder = TwccBuilder::new(base, max_len);
        // The first arrival may be of the first number itself.
        let mut number = base.wrapping_sub(1);
        let mut ticks = 1i64 << 30;
        let mut pushed = Vec::new();
        for (step, time) in steps {
            number = number.wrapping_add(step);
            ticks += time;
            if !builder.push(number, Duration::from_micros(250 * ticks.unsigned_abs())) {
                break;
            }
            pushed.push((number, ticks));
        }
        let twcc = builder.finish(1, 2, 3);
        prop_assert_eq!(twcc.is_none(), pushed.is_empty());
        if let Some(twcc) = twcc {
            let statuses: Vec<_> = twcc.statuses().collect();
            let numbers = statuses.iter().map(|status| status.sequence_number);
            prop_assert!(numbers.eq((0..twcc.status_count()).map(|index| base.wrapping_add(index))));
            let received: Vec<_> = statuses
                .iter()
                .filter_map(|status| Some((status.sequence_number, status.arrival?)))
                .collect();
            let shift = ticks_shift(&received, &pushed);
            let pushed: Vec<_> = pushed.iter().map(|&(number, ticks)| (number, ticks - shift)).collect();
            prop_assert_eq!(received, pushed);
            let datagram = written(&twcc.clone().into());
            prop_assert!(datagram.len() <= max_len);
            prop_assert_eq!(one(&datagram), Packet::from(twcc));
        }
    }
}

/// By how many whole wraps of the clock the times differ.
fn ticks_shift(received: &[(u16, i64)], pushed: &[(u16, i64)]) -> i64 {
    (pushed[0].1 - received[0].1) / Twcc::WRAP * Twcc::WRAP
}
