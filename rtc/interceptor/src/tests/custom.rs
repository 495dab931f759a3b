use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::*;

type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what passes.
struct Named(&'static str, Log);

impl Named {
    fn note(&self, what: &str) -> Flow {
        self.1.lock().unwrap().push(format!("{} {what}", self.0));
        Flow::Forward
    }
}

impl Interceptor for Named {
    fn incoming_rtp(&mut self, _: &mut Context<'_>, _: &mut IncomingRtp) -> Flow {
        self.note("in")
    }

    fn outgoing_rtp(&mut self, _: &mut Context<'_>, _: &mut OutgoingRtp) -> Flow {
        self.note("out")
    }

    fn incoming_rtcp(&mut self, _: &mut Context<'_>, _: &mut RtcpPacket) -> Flow {
        self.note("rtcp in")
    }

    fn outgoing_rtcp(&mut self, _: &mut Context<'_>, _: &mut RtcpPacket) -> Flow {
        self.note("rtcp out")
    }
}

/// Holds each packet that is sent for a while, as a pacer does.
#[derive(Default)]
struct Delay {
    held: VecDeque<(Instant, OutgoingRtp)>,
}

impl Interceptor for Delay {
    fn outgoing_rtp(&mut self, cx: &mut Context<'_>, outgoing: &mut OutgoingRtp) -> Flow {
        self.held.push_back((cx.now + ms(50), outgoing.clone()));
        Flow::Stop
    }

    fn poll_outgoing_rtp(&mut self, cx: &mut Context<'_>) -> Option<OutgoingRtp> {
        let (release, _) = self.held.front()?;
        (*release <= cx.now)
            .then(|| self.held.pop_front())?
            .map(|(_, held)| held)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.held.front().map(|(release, _)| *release)
    }
}

/// Delivers packets in the order of their numbers, without giving any up, as a jitter buffer does.
#[derive(Default)]
struct InOrder {
    next: Option<u16>,
    held: Vec<IncomingRtp>,
}

impl Interceptor for InOrder {
    fn incoming_rtp(&mut self, _: &mut Context<'_>, incoming: &mut IncomingRtp) -> Flow {
        let number = incoming.packet.header.sequence_number;
        let next = self.next.get_or_insert(number);
        if *next == number {
            *next = next.wrapping_add(1);
            return Flow::Forward;
        }
        self.held.push(incoming.clone());
        Flow::Stop
    }

    fn poll_incoming_rtp(&mut self, _: &mut Context<'_>) -> Option<IncomingRtp> {
        let next = self.next?;
        let fits = |held: &IncomingRtp| held.packet.header.sequence_number == next;
        let index = self.held.iter().position(fits)?;
        self.next = Some(next.wrapping_add(1));
        Some(self.held.remove(index))
    }
}

/// Asks for a time that has gone by, always.
struct Impatient(Instant);

impl Interceptor for Impatient {
    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.0)
    }
}

fn plain() -> StreamInfo {
    StreamInfo::new(SSRC, 96, 90_000, "video/VP8")
}

#[test]
fn a_chain_can_go_to_another_thread() {
    fn sendable<T: Send>() {}
    sendable::<Chain>();
    sendable::<Registry>();
}

#[test]
fn stages_stand_in_the_order_of_their_slots() {
    let log = Log::default();
    let named = |name| Named(name, log.clone());
    let registry = Registry::new()
        .with(Slot::JitterBuffer, named("app"))
        .with(Slot::Custom(3_500), named("second"))
        .with(Slot::CongestionControl, named("net"))
        .with(Slot::Custom(3_500), named("third"));
    let slots: Vec<_> = registry.slots().map(Slot::order).collect();
    assert_eq!(slots, [1_000, 3_500, 3_500, 13_000]);
    let now = instant();
    let mut chain = chain(1, now, registry, true);
    chain.bind_local_stream(now, &plain()).unwrap();
    let mut other = plain();
    other.ssrc = 9;
    chain.bind_remote_stream(now, &other).unwrap();

    let taken = |log: &Log| std::mem::take(&mut *log.lock().unwrap());
    assert!(chain.outgoing_rtp(now, packet(0, 0), None).is_some());
    assert_eq!(
        taken(&log),
        ["app out", "third out", "second out", "net out"]
    );
    let mut incoming = packet(0, 0);
    incoming.header.ssrc = 9;
    assert!(chain.incoming_rtp(now, incoming, None).is_some());
    assert_eq!(taken(&log), ["net in", "second in", "third in", "app in"]);
    let pli = RtcpPacket::from(rtc_rtcp::Pli::default());
    assert_eq!(chain.incoming_rtcp(now, pli.clone()), Some(pli.clone()));
    assert_eq!(
        taken(&log),
        [
            "net rtcp in",
            "second rtcp in",
            "third rtcp in",
            "app rtcp in"
        ]
    );
    chain.outgoing_rtcp(now, pli);
    assert_eq!(
        taken(&log),
        [
            "app rtcp out",
            "third rtcp out",
            "second rtcp out",
            "net rtcp out"
        ]
    );
}

#[test]
fn what_a_stage_sends_passes_only_the_stages_beyond_it() {
    let log = Log::default();
    let registry = Registry::with_defaults()
        .with(Slot::Pacer, Named("pacer", log.clone()))
        .with(Slot::FecEncoder, Named("fec", log.clone()));
    let now = instant();
    let mut chain = chain(1, now, registry, true);
    chain.bind_local_stream(now, &video()).unwrap();
    for number in 0..3 {
        assert!(chain.outgoing_rtp(now, packet(number, 0), None).is_some());
    }
    log.lock().unwrap().clear();
    chain.incoming_rtcp(now, rtc_rtcp::Nack::new(1, SSRC, [1]).into());
    assert!(chain.poll_outgoing_rtp(now).is_some());
    assert_eq!(
        log.lock().unwrap()[..],
        ["pacer rtcp in", "fec rtcp in", "pacer out"]
    );
}

#[test]
fn a_pacer_fits_between_and_numbers_are_given_when_packets_leave() {
    let registry = Registry::with_defaults().with(Slot::Pacer, Delay::default());
    let mut world = World::with(registry, Registry::with_defaults(), true);
    world.bind(&video());
    let mut left = 1;
    world.fate = Box::new(move |from, wire| {
        let lost = from == A && matches!(wire, Wire::Rtp(datagram) if datagram[3] == 3) && left > 0;
        left -= i32::from(lost);
        (!lost).then_some(ms(20))
    });
    world.stream(0, 10, ms(5));
    world.run(ms(500));
    let mut delivered = world.delivered(B);
    assert_eq!(delivered.len(), 10);
    delivered.sort_unstable();
    assert_eq!(delivered, (0..10).collect::<Vec<_>>());
    let sent = &world.sides[A].sent;
    assert!(
        sent.iter()
            .enumerate()
            .all(|(index, sent)| { sent.transport_sequence_number == Some(index as u16) })
    );
    assert_eq!(sent[0].stream, sent[9].stream);
    assert_eq!(
        world.sides[A].chain.local_stats(SSRC).unwrap().packets_sent,
        11
    );
}

#[test]
fn a_jitter_buffer_fits_behind_everything() {
    let registry = Registry::with_defaults().with(Slot::JitterBuffer, InOrder::default());
    let mut world = World::with(Registry::with_defaults(), registry, true);
    world.bind(&video());
    let mut left = 2;
    world.fate = Box::new(move |from, wire| {
        let lost =
            from == A && matches!(wire, Wire::Rtp(datagram) if datagram[3] % 7 == 3) && left > 0;
        left -= i32::from(lost);
        (!lost).then_some(ms(20))
    });
    world.stream(0, 30, ms(5));
    world.run(ms(500));
    assert_eq!(world.delivered(B), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_stage_that_asks_for_times_gone_by_cannot_make_its_owner_spin() {
    let start = instant();
    let mut chain = chain(
        1,
        start,
        Registry::new().with(Slot::Custom(1), Impatient(start)),
        true,
    );
    let mut now = start;
    for _ in 0..10 {
        chain.handle_timeout(now);
        let next = chain.poll_timeout().unwrap();
        assert!(next > now);
        now = next;
    }
}

#[test]
fn time_does_not_go_back() {
    let mut world = World::new();
    world.bind(&video());
    let later = world.now + Duration::from_secs(5);
    let chain = &mut world.sides[A].chain;
    assert!(chain.outgoing_rtp(later, packet(0, 0), None).is_some());
    assert!(chain.outgoing_rtp(world.now, packet(1, 0), None).is_some());
    let mut datagram = Vec::new();
    assert!(chain.poll_rtcp(world.now, MAX_LEN, &mut datagram).is_some());
    let Some(Ok(RtcpPacket::SenderReport(report))) = rtc_rtcp::packets(&datagram).next() else {
        panic!("no sender report");
    };
    assert_eq!(
        report.info.ntp_time.to_unix(),
        UNIX_TIME + Duration::from_secs(5)
    );
}

#[test]
fn rtcp_of_the_application_is_bounded_and_too_long_packets_are_dropped() {
    let now = instant();
    for reduced_size in [false, true] {
        let mut chain = chain(1, now, Registry::new(), reduced_size);
        let raw = |length| {
            RtcpPacket::from(rtc_rtcp::Raw {
                packet_type: 210,
                count: 0,
                content: vec![0; length].into(),
            })
        };
        chain.outgoing_rtcp(now, raw(2_000));
        chain.outgoing_rtcp(now, raw(100));
        let mut datagram = Vec::new();
        let length = chain.poll_rtcp(now, MAX_LEN, &mut datagram).unwrap();
        assert_eq!(length, 104 + if reduced_size { 0 } else { 36 });
        assert_eq!(chain.dropped_rtcp_packets(), 1);
        assert_eq!(chain.poll_rtcp(now, MAX_LEN, &mut datagram), None);
        for _ in 0..1_000 {
            chain.outgoing_rtcp(now, raw(100));
        }
        let mut count = 0;
        loop {
            datagram.clear();
            if chain.poll_rtcp(now, MAX_LEN, &mut datagram).is_none() {
                break;
            }
            count += rtc_rtcp::packets(&datagram)
                .filter(|packet| matches!(packet, Ok(RtcpPacket::Raw(_))))
                .count();
        }
        assert_eq!(count, 256);
        // No room for anything at all.
        chain.outgoing_rtcp(now, raw(100));
        assert_eq!(chain.poll_rtcp(now, 0, &mut datagram), None);
    }
}
