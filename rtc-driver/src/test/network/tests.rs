use super::*;

const MS: Duration = Duration::from_millis(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn datagram(network: &mut Network, from: &str, to: &str) -> Datagram {
    let contents = network.buffer(b"x");
    Datagram::new(from.parse().unwrap(), to.parse().unwrap(), contents)
}

/// What arrives, in order: when, where and from whom.
fn arrivals(network: &mut Network, start: Instant) -> Vec<(u128, HostId, String)> {
    let mut seen = Vec::new();
    while let Some(now) = network.poll_timeout() {
        while let Some((host, datagram)) = network.receive(now) {
            let after = (now - start).as_millis();
            seen.push((after, host, datagram.source.to_string()));
            network.recycle(datagram);
        }
    }
    seen
}

#[test]
fn a_datagram_passes_uplink_link_and_downlink() {
    let (mut network, start) = (Network::new(1), Instant::now());
    let alice = network.add_host([ip("192.0.2.1")]);
    let bob = network.add_host([ip("192.0.2.2"), ip("2001:db8::2")]);
    let there = datagram(&mut network, "192.0.2.1:1", "192.0.2.2:2");
    let time_of = |network: &mut Network, now| {
        network.send(now, alice, there.clone());
        let (time, host, _) = arrivals(network, now).remove(0);
        assert_eq!(host, bob);
        time
    };
    assert_eq!(time_of(&mut network, start), 10);
    network.set_uplink(alice, Link::new(3 * MS));
    network.set_downlink(bob, Link::new(5 * MS));
    assert_eq!(time_of(&mut network, start + 100 * MS), 18);
    *network.link_mut(alice, bob) = Link::new(MS);
    assert_eq!(time_of(&mut network, start + 200 * MS), 9);
    // The way back has another link, and the access links are not those of this direction.
    let back = datagram(&mut network, "[2001:db8::2]:2", "192.0.2.1:1");
    network.send(start + 300 * MS, bob, back);
    assert_eq!(arrivals(&mut network, start + 300 * MS)[0].0, 10);
    assert_eq!(network.traffic_of(alice).sent, 3);
    assert_eq!(network.traffic_of(bob).received, 3);
    assert_eq!(network.traffic().received_bytes, 4);
}

#[test]
fn what_cannot_arrive_is_counted_by_reason() {
    let (mut network, start) = (Network::new(1), Instant::now());
    let alice = network.add_host([ip("192.0.2.1")]);
    let bob = network.add_host([ip("192.0.2.2")]);
    let there = datagram(&mut network, "192.0.2.1:1", "192.0.2.2:2");
    let nowhere = datagram(&mut network, "192.0.2.1:1", "192.0.2.3:2");
    network.send(start, alice, nowhere);
    network.set_cut(alice, bob, true);
    network.send(start, alice, there.clone());
    network.set_cut(alice, bob, false);
    network.set_host_cut(alice, true);
    network.send(start, alice, there.clone());
    network.set_host_cut(alice, false);
    network.link_mut(alice, bob).mtu = 0;
    network.send(start, alice, there.clone());
    *network.link_mut(alice, bob) = Link::default().with_loss(1.0);
    network.send(start, alice, there.clone());
    *network.link_mut(alice, bob) = Link::default().with_duplication(1.0);
    network.send(start, alice, there.clone());
    let mut alone = network.traffic();
    assert_eq!(arrivals(&mut network, start).len(), 2);
    // The address goes away while a datagram is on its way to it.
    *network.link_mut(alice, bob) = Link::default();
    network.send(start, alice, there);
    network.remove_address(bob, ip("192.0.2.2"));
    assert_eq!(arrivals(&mut network, start), []);
    alone.sent += 1;
    alone.sent_bytes += 1;
    alone.unreachable += 1;
    assert_eq!(network.traffic_of(alice), alone);
    let expected = Traffic {
        sent: 7,
        sent_bytes: 7,
        lost: 1,
        too_large: 1,
        cut: 2,
        unreachable: 2,
        duplicated: 1,
        ..Traffic::default()
    };
    assert_eq!(alone, expected);
    assert_eq!(network.in_flight(), 0);
}

#[test]
fn a_host_reaches_itself_although_it_is_cut_off() {
    let (mut network, start) = (Network::new(1), Instant::now());
    let alice = network.add_host([ip("192.0.2.1")]);
    network.set_host_cut(alice, true);
    for (from, to) in [("192.0.2.1:1", "192.0.2.1:2"), ("127.0.0.1:1", "[::1]:2")] {
        let datagram = datagram(&mut network, from, to);
        network.send(start, alice, datagram);
    }
    assert_eq!(arrivals(&mut network, start).len(), 2);
}

/// Gives each host behind it a port range of its own.
struct Translator {
    public: IpAddr,
}

impl Gateway for Translator {
    fn outbound(&mut self, _: Instant, datagram: &mut Datagram) -> bool {
        let IpAddr::V4(inner) = datagram.source.ip() else {
            return false;
        };
        let port = u16::from(inner.octets()[3]) * 1000 + datagram.source.port();
        datagram.source = SocketAddr::new(self.public, port);
        true
    }

    fn inbound(&mut self, _: Instant, datagram: &mut Datagram) -> bool {
        let port = datagram.destination.port();
        let inner = [10, 0, 0, (port / 1000) as u8];
        datagram.destination = SocketAddr::from((inner, port % 1000));
        port > 1000
    }
}

#[test]
fn a_gateway_translates_both_ways_and_refuses() {
    let (mut network, start) = (Network::new(1), Instant::now());
    let public = ip("203.0.113.1");
    let gateway = network.add_gateway([public], Translator { public });
    let inner: Vec<_> = ["10.0.0.1", "10.0.0.2"]
        .map(|it| network.add_host_behind(gateway, [ip(it)]))
        .into();
    // The same address as one inside is another host outside.
    let server = network.add_host([ip("192.0.2.1"), ip("10.0.0.1")]);
    network.set_uplink(gateway, Link::new(2 * MS));

    let out = datagram(&mut network, "10.0.0.2:5", "192.0.2.1:9");
    network.send(start, inner[1], out);
    let seen = arrivals(&mut network, start);
    assert_eq!(seen, [(12, server, "203.0.113.1:2005".to_owned())]);

    let back = datagram(&mut network, "192.0.2.1:9", "203.0.113.1:2005");
    network.send(start, server, back);
    let seen = arrivals(&mut network, start);
    assert_eq!(seen, [(10, inner[1], "192.0.2.1:9".to_owned())]);

    // Within, and within by way of the public address.
    let direct = datagram(&mut network, "10.0.0.2:5", "10.0.0.1:7");
    network.send(start, inner[1], direct);
    let seen = arrivals(&mut network, start);
    assert_eq!(seen, [(0, inner[0], "10.0.0.2:5".to_owned())]);
    let hairpin = datagram(&mut network, "10.0.0.2:5", "203.0.113.1:1007");
    network.send(start, inner[1], hairpin);
    let seen = arrivals(&mut network, start);
    assert_eq!(seen, [(2, inner[0], "203.0.113.1:2005".to_owned())]);

    let refused = datagram(&mut network, "192.0.2.1:9", "203.0.113.1:5");
    network.send(start, server, refused);
    assert_eq!(arrivals(&mut network, start), []);
    assert_eq!(network.traffic().refused, 1);
}

#[test]
fn one_seed_gives_one_run() {
    let run = |seed| {
        let (mut network, start) = (Network::new(seed), Instant::now());
        let alice = network.add_host([ip("192.0.2.1")]);
        network.add_host([ip("192.0.2.2")]);
        let link = Link::default()
            .with_loss(0.1)
            .with_jitter(20 * MS)
            .with_reordering(0.1)
            .with_duplication(0.1);
        *network.default_link_mut() = link;
        for index in 0..1000 {
            let there = datagram(&mut network, "192.0.2.1:1", "192.0.2.2:2");
            network.send(start + index * MS, alice, there);
        }
        (arrivals(&mut network, start), network.traffic())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
