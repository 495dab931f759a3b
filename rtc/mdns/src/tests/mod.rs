//! Hosts in a virtual network; messages are in `messages`.

mod messages;
mod network;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use network::{Network, epoch, ip, socket};
use proptest::prelude::*;
use rtc_shared::{Protocol, Rng, TaggedBytesMut, TransportContext};

use crate::message::{Data, Kind, Message, Question, Record};
use crate::{Config, Error, Event, GROUP_V4, Interface, Mdns, Name, PORT};

const SECOND: Duration = Duration::from_secs(1);

/// One host at 192.0.2.1/24, outside of any network.
struct Host {
    mdns: Mdns,
    now: Instant,
}

impl Host {
    fn new() -> Self {
        let now = epoch();
        let mut mdns = Mdns::new(Config::default(), Rng::from_seed([9; 32]), now);
        let interface = Interface::new(socket("192.0.2.1:5353"), 24);
        mdns.add_interface(interface, now).unwrap();
        Self { mdns, now }
    }

    /// One that has registered a name two seconds ago, and announced it.
    fn with_name() -> (Self, Name) {
        let mut host = Self::new();
        let name = host.mdns.register(ip("192.0.2.1"), host.now).unwrap();
        host.wait(2 * SECOND);
        assert_eq!(host.sent().len(), 2);
        host.wait(2 * SECOND);
        assert!(host.sent().is_empty());
        (host, name)
    }

    /// Lets time pass, timers included.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.mdns.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.mdns.handle_timeout(self.now).unwrap();
            assert!(self.mdns.poll_timeout().is_none_or(|next| next > self.now));
        }
        self.now = end;
    }

    fn sent(&mut self) -> Vec<(SocketAddr, Message)> {
        std::iter::from_fn(|| self.mdns.poll_write())
            .map(|sent| {
                assert_eq!(sent.transport.local_addr, socket("192.0.2.1:5353"));
                assert!(sent.message.len() <= 1400);
                let message = Message::parse(&sent.message).unwrap();
                (sent.transport.peer_addr, message)
            })
            .collect()
    }

    fn receive(&mut self, from: &str, to: &str, message: &Message) {
        let mut datagram = BytesMut::new();
        message.write(&mut datagram);
        self.receive_bytes(from, to, &datagram);
    }

    fn receive_bytes(&mut self, from: &str, to: &str, bytes: &[u8]) {
        let datagram = TaggedBytesMut {
            now: self.now,
            transport: TransportContext {
                local_addr: socket(to),
                peer_addr: socket(from),
                ..TransportContext::default()
            },
            message: BytesMut::from(bytes),
        };
        self.mdns.handle_read(datagram).unwrap();
    }

    /// A response of somebody else on the link.
    fn hear(&mut self, records: &[Record]) {
        let response = Message {
            response: true,
            answers: records.to_vec(),
            ..Message::default()
        };
        self.receive("192.0.2.7:5353", "224.0.0.251:5353", &response);
    }
}

fn name(label: &str) -> Name {
    format!("{label}.local").parse().unwrap()
}

fn address(name: Name, addr: &str, ttl: u32) -> Record {
    Record {
        name,
        data: Data::Address(ip(addr)),
        ttl,
        cache_flush: true,
    }
}

fn query(name: Name, kind: Kind, unicast: bool) -> Message {
    Message {
        id: 77,
        questions: vec![Question {
            name,
            kind,
            unicast,
        }],
        ..Message::default()
    }
}

fn resolved(name: Name, addrs: &[&str]) -> Option<Event> {
    Some(Event::Resolved {
        name,
        addrs: addrs.iter().map(|addr| ip(addr)).collect(),
    })
}

const GROUP: &str = "224.0.0.251:5353";
const OTHER: &str = "192.0.2.7:5353";

#[test]
fn a_name_is_asked_for_by_unicast_then_by_multicast_then_given_up() {
    let mut host = Host::new();
    let started = host.now;
    host.mdns.resolve(name("a"), host.now).unwrap();
    host.mdns.resolve(name("a"), host.now).unwrap();
    let mut times = Vec::new();
    while let Some(due) = host.mdns.poll_timeout() {
        host.now = due;
        host.mdns.handle_timeout(due).unwrap();
        for (to, message) in host.sent() {
            assert_eq!(to, socket(GROUP));
            assert_eq!(message.id, 0);
            let unicast = times.is_empty();
            let expected = [Kind::A, Kind::Aaaa].map(|kind| Question {
                name: name("a"),
                kind,
                unicast,
            });
            assert_eq!(message.questions, expected);
            times.push((due - started).as_secs());
        }
    }
    assert_eq!(times, [0, 1, 3, 7]);
    assert_eq!(host.now - started, 10 * SECOND);
    let failed = Event::Failed { name: name("a") };
    assert_eq!(host.mdns.poll_event(), Some(failed));
    assert_eq!(host.mdns.poll_event(), None);
}

#[test]
fn names_asked_for_together_share_datagrams() {
    let mut host = Host::new();
    for number in 0..30 {
        let wanted = name(&format!("{number:0>36}"));
        host.mdns.resolve(wanted, host.now).unwrap();
    }
    let sent = host.sent();
    let counts: Vec<_> = sent.iter().map(|(_, it)| it.questions.len()).collect();
    assert_eq!(counts, [24, 24, 12]);
}

#[test]
fn an_answer_resolves_and_is_kept_for_its_life() {
    for (ttl, kept) in [(50, 50), (120, 120), (u32::MAX, 120)] {
        let mut host = Host::new();
        host.mdns.resolve(name("a"), host.now).unwrap();
        host.sent();
        host.hear(&[address(name("b"), "192.0.2.8", ttl)]);
        assert_eq!(host.mdns.poll_event(), None, "not what was asked");
        host.hear(&[address(name("a"), "192.0.2.7", ttl)]);
        assert_eq!(host.mdns.poll_event(), resolved(name("a"), &["192.0.2.7"]));
        assert_eq!(host.mdns.poll_timeout(), None);

        host.wait((kept - 1) * SECOND);
        host.mdns.resolve(name("a"), host.now).unwrap();
        assert_eq!(host.mdns.poll_event(), resolved(name("a"), &["192.0.2.7"]));
        assert!(host.sent().is_empty());
        host.wait(SECOND);
        host.mdns.resolve(name("a"), host.now).unwrap();
        assert_eq!(host.mdns.poll_event(), None);
        assert_eq!(host.sent().len(), 1);
    }
}

#[test]
fn an_address_that_is_taken_back_lingers_for_a_second() {
    let mut host = Host::new();
    host.mdns.resolve(name("a"), host.now).unwrap();
    host.hear(&[address(name("a"), "192.0.2.7", 0)]);
    assert_eq!(host.mdns.poll_event(), None, "a goodbye resolves nothing");
    host.hear(&[address(name("a"), "192.0.2.7", 120)]);
    assert!(host.mdns.poll_event().is_some());
    host.hear(&[address(name("a"), "192.0.2.7", 0)]);
    host.wait(SECOND / 2);
    host.mdns.resolve(name("a"), host.now).unwrap();
    assert!(host.mdns.poll_event().is_some());
    host.wait(SECOND / 2);
    host.mdns.resolve(name("a"), host.now).unwrap();
    assert_eq!(host.mdns.poll_event(), None);
}

#[test]
fn a_new_address_replaces_an_old_one_of_its_family() {
    let mut host = Host::new();
    host.mdns.resolve(name("a"), host.now).unwrap();
    host.hear(&[
        address(name("a"), "192.0.2.7", 120),
        address(name("a"), "2001:db8::7", 120),
    ]);
    let both = resolved(name("a"), &["192.0.2.7", "2001:db8::7"]);
    assert_eq!(host.mdns.poll_event(), both);
    host.wait(5 * SECOND);
    host.hear(&[address(name("a"), "192.0.2.8", 120)]);
    host.wait(2 * SECOND);
    host.mdns.resolve(name("a"), host.now).unwrap();
    let now = resolved(name("a"), &["2001:db8::7", "192.0.2.8"]);
    assert_eq!(host.mdns.poll_event(), now);
}

#[test]
fn an_address_that_no_host_has_is_no_answer() {
    let mut host = Host::new();
    host.mdns.resolve(name("a"), host.now).unwrap();
    for addr in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1"] {
        host.hear(&[address(name("a"), addr, 120)]);
        assert_eq!(host.mdns.poll_event(), None, "{addr}");
    }
}

#[test]
fn answers_are_taken_from_the_link_and_the_port_alone() {
    let mut host = Host::new();
    let at = |host: &mut Host, from: &str, to: &str| {
        host.mdns.resolve(name("a"), host.now).unwrap();
        let response = Message {
            response: true,
            answers: vec![address(name("a"), "192.0.2.7", 120)],
            ..Message::default()
        };
        host.receive(from, to, &response);
        let taken = host.mdns.poll_event().is_some();
        host.wait(200 * SECOND);
        while host.mdns.poll_event().is_some() {}
        taken
    };
    assert!(at(&mut host, OTHER, "192.0.2.1:5353"));
    assert!(at(&mut host, "169.254.3.4:5353", "192.0.2.1:5353"));
    assert!(
        at(&mut host, "198.51.100.1:5353", GROUP),
        "a group is local"
    );
    assert!(!at(&mut host, "198.51.100.1:5353", "192.0.2.1:5353"));
    assert!(!at(&mut host, "[2001:db8::1]:5353", GROUP));
    assert_eq!(host.mdns.stats().off_link, 2);
    assert!(!at(&mut host, "192.0.2.7:5354", "192.0.2.1:5353"));
    assert_eq!(host.mdns.stats().wrong_port, 1);
}

#[test]
fn a_name_that_is_not_wanted_any_more_gives_no_event() {
    let mut host = Host::new();
    host.mdns.resolve(name("a"), host.now).unwrap();
    host.mdns.cancel(&name("a"));
    host.hear(&[address(name("a"), "192.0.2.7", 120)]);
    host.wait(20 * SECOND);
    assert_eq!(host.mdns.poll_event(), None);
    assert!(host.sent().is_empty());
}

#[test]
fn our_own_name_needs_no_network() {
    let (mut host, own) = Host::with_name();
    host.mdns.resolve(own, host.now).unwrap();
    host.mdns.resolve(own, host.now).unwrap();
    assert_eq!(host.mdns.poll_event(), resolved(own, &["192.0.2.1"]));
    assert_eq!(host.mdns.poll_event(), None);
    assert!(host.sent().is_empty());
}

#[test]
fn a_name_is_announced_twice_and_taken_back_at_the_end() {
    let mut host = Host::new();
    let first = host.mdns.register(ip("192.0.2.1"), host.now).unwrap();
    let second = host.mdns.register(ip("2001:db8::1"), host.now).unwrap();
    assert_ne!(first, second);
    for _ in 0..2 {
        let sent = host.sent();
        let [(to, message)] = &sent[..] else {
            panic!("one datagram: {sent:?}")
        };
        assert_eq!(*to, socket(GROUP));
        assert_eq!((message.id, message.response), (0, true));
        let mut expected = [
            address(first, "192.0.2.1", 120),
            address(second, "2001:db8::1", 120),
        ];
        expected.sort_by_key(|record| record.name);
        assert_eq!(message.answers, expected);
        let existing: Vec<_> = message.additional.iter().map(|it| it.data).collect();
        let only = |first: &Record| match first.data {
            Data::Address(IpAddr::V4(_)) => Data::Exists {
                a: true,
                aaaa: false,
            },
            _ => Data::Exists {
                a: false,
                aaaa: true,
            },
        };
        assert_eq!(existing, expected.each_ref().map(only));
        host.wait(SECOND);
    }
    assert!(host.sent().is_empty());
    assert_eq!(host.mdns.poll_timeout(), None);

    host.mdns.unregister(&first, host.now);
    let sent = host.sent();
    assert_eq!(sent[0].1.answers, [address(first, "192.0.2.1", 0)]);
    assert!(sent[0].1.additional.is_empty());
    host.mdns.close().unwrap();
    host.mdns.close().unwrap();
    assert!(!host.mdns.is_drained());
    let sent = host.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1.answers, [address(second, "2001:db8::1", 0)]);
    assert!(host.mdns.is_drained());
}

#[test]
fn questions_are_answered_the_way_they_were_asked() {
    let (mut host, own) = Host::with_name();
    let full = address(own, "192.0.2.1", 120);
    let only_a = Record {
        data: Data::Exists {
            a: true,
            aaaa: false,
        },
        ..full
    };

    // By unicast, soon after it was multicast.
    host.receive(OTHER, GROUP, &query(own, Kind::A, true));
    let sent = host.sent();
    let reply = Message {
        id: 77,
        response: true,
        answers: vec![full],
        additional: vec![only_a],
        ..Message::default()
    };
    assert_eq!(sent, [(socket(OTHER), reply.clone())]);

    // By multicast.
    host.receive(OTHER, GROUP, &query(own, Kind::Any, false));
    let sent = host.sent();
    let multicast = Message { id: 0, ..reply };
    assert_eq!(sent, [(socket(GROUP), multicast.clone())]);

    // By unicast, when caches may have lost it.
    host.wait(30 * SECOND);
    host.receive(OTHER, GROUP, &query(own, Kind::A, true));
    let sent = host.sent();
    assert_eq!(
        sent.iter().map(|(to, _)| *to).collect::<Vec<_>>(),
        [socket(OTHER), socket(GROUP)]
    );

    // For the other family: there is none.
    host.receive(OTHER, GROUP, &query(own, Kind::Aaaa, true));
    let sent = host.sent();
    assert_eq!(sent[0].1.answers, [only_a]);
    assert_eq!(sent[0].1.additional, [full]);

    // Of a resolver that knows nothing of multicast.
    host.receive("192.0.2.7:40000", GROUP, &query(own, Kind::A, false));
    let sent = host.sent();
    assert_eq!(sent.len(), 1);
    let (to, reply) = &sent[0];
    assert_eq!(*to, socket("192.0.2.7:40000"));
    assert_eq!(reply.id, 77);
    assert_eq!(reply.questions, query(own, Kind::A, false).questions);
    let short = Record {
        ttl: 10,
        cache_flush: false,
        ..full
    };
    assert_eq!(reply.answers, [short]);

    // Names of others, and known answers.
    host.receive(OTHER, GROUP, &query(name("a"), Kind::A, true));
    for ttl in [60, 120] {
        let mut known = query(own, Kind::A, false);
        known.answers.push(address(own, "192.0.2.1", ttl));
        host.receive(OTHER, GROUP, &known);
    }
    assert!(host.sent().is_empty());
    host.wait(2 * SECOND);
    for record in [
        address(own, "192.0.2.1", 59),
        address(own, "192.0.2.2", 120),
    ] {
        let mut known = query(own, Kind::A, false);
        known.answers.push(record);
        host.receive(OTHER, GROUP, &known);
        assert_eq!(host.sent().len(), 1);
        host.wait(2 * SECOND);
    }
}

#[test]
fn a_record_is_multicast_once_a_second_at_most() {
    let (mut host, own) = Host::with_name();
    let mut times = Vec::new();
    for tenth in 0..50 {
        host.receive(OTHER, GROUP, &query(own, Kind::A, false));
        for _ in host.sent() {
            times.push(tenth);
        }
        host.wait(SECOND / 10);
    }
    assert_eq!(times, [0, 10, 20, 30, 40]);
    // And the last one is not forgotten.
    host.wait(SECOND);
    assert_eq!(host.sent().len(), 1);
    assert_eq!(host.mdns.poll_timeout(), None);
}

#[test]
fn replies_by_unicast_have_a_rate() {
    let (mut host, own) = Host::with_name();
    for _ in 0..2 {
        for _ in 0..1000 {
            host.receive("192.0.2.7:53", GROUP, &query(own, Kind::A, false));
        }
        assert_eq!(host.sent().len(), 50);
        host.wait(SECOND);
    }
}

#[test]
fn a_claim_to_our_name_is_set_right() {
    let (mut host, own) = Host::with_name();
    for (claim, conflicts) in [
        (address(own, "192.0.2.66", 120), 1),
        (address(own, "192.0.2.1", 0), 1),
        (address(own, "192.0.2.66", 120), 2),
    ] {
        host.hear(&[claim; 3]);
        let sent = host.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].1.answers, [address(own, "192.0.2.1", 120)]);
        assert_eq!(host.mdns.stats().conflicts, 3 * conflicts);
        host.wait(2 * SECOND);
    }
    // What we said ourselves is none.
    host.hear(&[address(own, "192.0.2.1", 120)]);
    host.hear(&[address(own, "2001:db8::1", 120)]);
    assert!(host.sent().is_empty());
}

#[test]
fn every_interface_is_asked_and_told() {
    let now = epoch();
    let mut mdns = Mdns::new(Config::default(), Rng::from_seed([1; 32]), now);
    let own = mdns.register(ip("192.0.2.1"), now).unwrap();
    mdns.resolve(name("a"), now).unwrap();
    assert_eq!(mdns.poll_write(), None, "nowhere to send it to");
    let interfaces = [
        ("192.0.2.1:5353", SocketAddr::from((GROUP_V4, PORT))),
        ("198.51.100.1:5353", (GROUP_V4, PORT).into()),
        ("[fe80::1%3]:5353", "[ff02::fb%3]:5353".parse().unwrap()),
        ("203.0.113.1:40000", (GROUP_V4, PORT).into()),
    ];
    for (addr, _) in interfaces {
        let interface = Interface::new(socket(addr), 24);
        mdns.add_interface(interface, now).unwrap();
        mdns.add_interface(interface, now).unwrap();
    }
    let mut questions = Vec::new();
    let mut announcements = Vec::new();
    while let Some(sent) = mdns.poll_write() {
        let path = (sent.transport.local_addr, sent.transport.peer_addr);
        match Message::parse(&sent.message).unwrap().response {
            true => announcements.push(path),
            false => questions.push(path),
        }
    }
    let expected = interfaces.map(|(addr, group)| (socket(addr), group));
    assert_eq!(questions, expected);
    // A response from another port would be ignored.
    assert_eq!(announcements, expected[..3]);

    // A question is answered where it was heard.
    mdns.cancel(&name("a"));
    let mut host = Host { mdns, now };
    host.wait(5 * SECOND);
    while host.mdns.poll_write().is_some() {}
    host.mdns.remove_interface(socket("192.0.2.1:5353"));
    let ask = query(own, Kind::A, false);
    for (from, to, by) in [
        ("198.51.100.9:5353", "0.0.0.0:5353", 1),
        ("[fe80::9%3]:5353", "[ff02::fb]:5353", 2),
        ("[fe80::9%3]:5353", "[fe80::1%3]:5353", 2),
    ] {
        host.receive(from, to, &ask);
        let sent = host.mdns.poll_write().unwrap();
        assert_eq!(sent.transport.local_addr, expected[by].0);
        assert_eq!(host.mdns.poll_write(), None);
        host.wait(SECOND);
    }
    host.receive(OTHER, "192.0.2.1:5353", &ask);
    assert_eq!(host.mdns.poll_write(), None, "that interface is gone");
}

#[test]
fn everything_has_a_bound() {
    let mut host = Host::new();
    for number in 0..256 {
        let wanted = name(&format!("a{number}"));
        host.mdns.resolve(wanted, host.now).unwrap();
        host.mdns.register(ip("192.0.2.1"), host.now).unwrap();
    }
    let refused = host.mdns.resolve(name("b"), host.now);
    assert_eq!(refused, Err(Error::TooMany));
    let refused = host.mdns.register(ip("192.0.2.1"), host.now);
    assert_eq!(refused, Err(Error::TooMany));
    host.mdns.resolve(name("a7"), host.now).unwrap();
    for port in 1..100 {
        let interface = Interface::new(([192, 0, 2, 1], port).into(), 24);
        let added = host.mdns.add_interface(interface, host.now);
        assert_eq!(added.is_ok(), port < 64, "{port}");
    }
    // All of them told by all interfaces are more than is kept.
    host.mdns.handle_timeout(host.now).unwrap();
    let mut count = 0;
    while host.mdns.writes_pending() > 0 {
        host.mdns.poll_write();
        count += 1;
    }
    assert_eq!(count, 1024);
    assert!(host.mdns.stats().overflow > 0);

    // One name of many addresses.
    let mut host = Host::new();
    host.mdns.resolve(name("a"), host.now).unwrap();
    let many: Vec<_> = (1..200)
        .map(|last| address(name("a"), &format!("192.0.2.{last}"), 120))
        .collect();
    host.hear(&many);
    let Some(Event::Resolved { addrs, .. }) = host.mdns.poll_event() else {
        panic!("resolved")
    };
    assert_eq!(addrs.len(), 8);

    // More answers than the cache takes: the first that expire are dropped.
    for number in 0..600 {
        let wanted = name(&format!("c{number}"));
        host.mdns.resolve(wanted, host.now).unwrap();
        host.hear(&[address(wanted, "192.0.2.7", 20 + number)]);
        assert_eq!(host.mdns.poll_event(), resolved(wanted, &["192.0.2.7"]));
    }
}

#[test]
fn nothing_works_after_closing() {
    let (mut host, own) = Host::with_name();
    host.mdns.resolve(name("a"), host.now).unwrap();
    host.mdns.close().unwrap();
    while host.mdns.poll_write().is_some() {}
    let (now, mdns) = (host.now, &mut host.mdns);
    assert_eq!(mdns.resolve(name("a"), now), Err(Error::Closed));
    assert_eq!(mdns.register(ip("192.0.2.1"), now), Err(Error::Closed));
    assert_eq!(mdns.handle_timeout(now), Err(Error::Closed));
    mdns.unregister(&own, now);
    assert_eq!(mdns.poll_timeout(), None);
    assert_eq!(mdns.poll_write(), None);
}

#[test]
fn a_clock_that_goes_back_is_ignored() {
    let mut host = Host::new();
    let early = host.now;
    host.wait(10 * SECOND);
    host.mdns.handle_timeout(host.now).unwrap();
    host.mdns.resolve(name("a"), early).unwrap();
    assert_eq!(host.mdns.poll_timeout(), Some(host.now));
}

#[test]
fn hosts_find_each_other_through_loss() {
    for seed in 0..40 {
        let loss = [0, 10, 30][seed as usize % 3];
        let mut network = Network::new(seed, 5, loss);
        let names: Vec<_> = (0..5).map(|host| network.register(host)).collect();
        network.run(Duration::from_millis(seed * 37));
        for (host, name) in names.iter().enumerate() {
            for asker in (0..5).filter(|&asker| asker != host) {
                network.resolve(asker, *name);
            }
        }
        network.run(12 * SECOND);
        for asker in 0..5 {
            let events = network.events(asker);
            assert_eq!(events.len(), 4, "seed {seed}");
            for event in events {
                let Event::Resolved { name, addrs } = event else {
                    // Four rounds lost, of question or answer: not without loss.
                    assert!(loss > 0, "seed {seed}: {event:?}");
                    continue;
                };
                let host = names.iter().position(|it| *it == name).unwrap();
                assert_eq!(addrs, [network.addr(host).ip()], "seed {seed}");
            }
        }
        // Then all is silent.
        network.run(5 * SECOND);
        assert!(network.is_idle(), "seed {seed}");
        assert!(
            network.datagrams < 400,
            "seed {seed}: {}",
            network.datagrams
        );
    }
}

#[test]
fn without_loss_a_name_is_found_in_one_round_trip() {
    let mut network = Network::new(1, 2, 0);
    let name = network.register(0);
    network.run(3 * SECOND);
    network.resolve(1, name);
    network.run(Duration::from_millis(10));
    assert_eq!(network.events(1).len(), 1);
}

proptest! {
    /// Whatever arrives, from whomever: no panic, progress, and nothing but what was asked for.
    #[test]
    fn hostile_datagrams_do_no_harm(
        datagrams in prop::collection::vec(
            (messages::hostile(), any::<[u8; 4]>(), any::<bool>(), 0_u64..3000),
            1..60,
        ),
    ) {
        let (mut host, own) = Host::with_name();
        host.mdns.resolve(name("a"), host.now).unwrap();
        for (bytes, source, on_link, wait) in datagrams {
            let [a, b, c, d] = source;
            let port = if d % 2 == 0 { 5353 } else { 1000 };
            let from = match on_link {
                true => format!("192.0.2.{a}:{port}"),
                false => format!("{a}.{b}.{c}.{d}:{port}"),
            };
            host.receive_bytes(&from, GROUP, &bytes);
            prop_assert!(host.sent().len() <= 10);
            host.wait(Duration::from_millis(wait));
            while let Some(event) = host.mdns.poll_event() {
                let (Event::Resolved { name: it, .. } | Event::Failed { name: it }) = event;
                prop_assert_eq!(it, name("a"));
            }
        }
        // Still there.
        host.wait(5 * SECOND);
        host.sent();
        host.receive(OTHER, GROUP, &query(own, Kind::A, true));
        prop_assert!(!host.sent().is_empty());
    }
}
