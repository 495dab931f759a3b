//! Every pair of NATs, with and without servers: a connection comes to be whenever there is a way, by
//! the cheapest one.

use std::time::Duration;

use rtc::peer_connection::configuration::{RTCIceServer, RTCIceTransportPolicy};
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc_driver::test::{Dependence, Host, Link, Nat, NatModel, World};
use rtc_driver::{PeerConnection, rtc};

use crate::relay::RelayServer;
use crate::scene::open;

use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};

/// How a host is connected to the Internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// By an address of its own.
    Public,
    /// Through a NAT.
    Nat(Dependence, Dependence),
    /// Through a NAT that lets nothing but its own servers through.
    Firewall,
}

const ACCESSES: [Access; 7] = [
    Access::Public,
    Access::Nat(EndpointIndependent, EndpointIndependent),
    Access::Nat(EndpointIndependent, AddressDependent),
    Access::Nat(EndpointIndependent, AddressAndPortDependent),
    Access::Nat(AddressDependent, AddressDependent),
    Access::Nat(AddressAndPortDependent, AddressAndPortDependent),
    Access::Firewall,
];

/// What servers both sides have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Servers {
    None,
    Stun,
    StunAndTurn,
}

/// How two hosts can reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Direct,
    Relayed,
    None,
}

impl Access {
    fn is_blocked(self) -> bool {
        self == Self::Firewall
    }

    /// Mapping and filtering; no NAT is one that does not matter.
    fn behaviour(self) -> (Dependence, Dependence) {
        match self {
            Self::Public | Self::Firewall => (EndpointIndependent, EndpointIndependent),
            Self::Nat(mapping, filtering) => (mapping, filtering),
        }
    }
}

/// True when checks of `from` reach `to` at the address that it knows of itself.
fn reaches(from: Access, to: Access, servers: Servers) -> bool {
    let (mapping, filtering) = to.behaviour();
    let knows_itself = to == Access::Public || servers != Servers::None;
    // From another address its answers would be worth nothing.
    let keeps_address = mapping == EndpointIndependent;
    // `to` sends checks to the address that `from` knows of itself.
    let (source, _) = from.behaviour();
    let knows_source = from == Access::Public || servers != Servers::None;
    let lets_through = match filtering {
        EndpointIndependent => true,
        AddressDependent => knows_source,
        AddressAndPortDependent => knows_source && source == EndpointIndependent,
    };
    knows_itself && keeps_address && lets_through
}

fn expected(a: Access, b: Access, servers: Servers) -> Way {
    if a.is_blocked() || b.is_blocked() {
        return Way::None;
    }
    if reaches(a, b, servers) || reaches(b, a, servers) {
        return Way::Direct;
    }
    match servers {
        Servers::StunAndTurn => Way::Relayed,
        _ => Way::None,
    }
}

fn host(world: &World, seed: u64, access: Access, outside: &str, inside: &str) -> Host {
    if access == Access::Public {
        return world.host([outside]);
    }
    let (mapping, filtering) = access.behaviour();
    let mut model = NatModel::new(mapping, filtering);
    model.is_blocked = access.is_blocked();
    let nat = Nat::new(seed, model, [outside.parse().unwrap()]);
    let gateway = world.gateway([outside], nat);
    world.host_behind(gateway, [inside])
}

fn connection(host: &Host, servers: Servers, policy: RTCIceTransportPolicy) -> PeerConnection {
    let server = |url: &str| RTCIceServer {
        urls: vec![url.to_owned()],
        username: "user".to_owned(),
        credential: "pass".to_owned(),
    };
    let servers = match servers {
        Servers::None => Vec::new(),
        Servers::Stun => vec![server("stun:85.10.0.1")],
        Servers::StunAndTurn => vec![server("stun:85.10.0.1"), server("turn:85.10.0.1")],
    };
    let configuration = host
        .configuration()
        .with_ice_servers(servers)
        .with_ice_transport_policy(policy)
        .build();
    let builder = host.builder().with_configuration(configuration);
    builder.build().unwrap()
}

/// Sends candidates over as they come.
async fn trickle(from: PeerConnection, to: PeerConnection) {
    let mut candidates = from.ice_candidates();
    while let Some(candidate) = candidates.next().await {
        // The other side may be closed already.
        let _ = to.add_ice_candidate(Some(candidate.to_init()));
    }
    let _ = to.add_ice_candidate(None);
}

/// How many relays are in the path of a connection.
fn relays(connection: &PeerConnection) -> usize {
    let path = connection.with_core(|core| core.selected_path()).unwrap();
    let relay: std::net::IpAddr = "85.10.0.1".parse().unwrap();
    [path.local_addr, path.peer_addr]
        .iter()
        .filter(|addr| addr.ip() == relay)
        .count()
}

/// The way that two connections find within a minute.
fn found(seed: u64, a: Access, b: Access, servers: Servers) -> Way {
    let world = World::new(seed);
    world.set_default_link(Link::new(Duration::from_millis(15)).with_loss(0.01));
    let server = world.host(["85.10.0.1"]);
    let relay = RelayServer::start(&server);
    let left = host(&world, seed, a, "93.1.0.1", "192.168.1.2");
    let right = host(&world, seed + 1, b, "93.2.0.1", "10.0.0.2");
    world.run(async {
        let all = RTCIceTransportPolicy::All;
        let alice = connection(&left, servers, all);
        let bob = connection(&right, servers, all);
        let here = alice.create_data_channel("test", None).unwrap();
        alice.set_local_description(None).unwrap();
        bob.set_remote_description(alice.local_description().unwrap())
            .unwrap();
        bob.set_local_description(None).unwrap();
        alice
            .set_remote_description(bob.local_description().unwrap())
            .unwrap();
        drop(world.spawn(trickle(alice.clone(), bob.clone())));
        drop(world.spawn(trickle(bob.clone(), alice.clone())));
        world.sleep(Duration::from_secs(60)).await;
        let is_up =
            |it: &PeerConnection| it.connection_state() == RTCPeerConnectionState::Connected;
        let way = match (is_up(&alice), is_up(&bob)) {
            (true, true) => {
                here.send("hello").await.unwrap();
                let there = bob.data_channels().next().await.unwrap();
                assert_eq!(there.recv().await.unwrap().unwrap().as_str(), Some("hello"));
                let count = relays(&alice);
                assert_eq!(count == 0, relays(&bob) == 0);
                assert!(count < 2, "one relay is enough");
                if count == 0 {
                    Way::Direct
                } else {
                    Way::Relayed
                }
            }
            (false, false) => Way::None,
            (up, _) => panic!("only one side is connected: {up}"),
        };
        alice.close().await.unwrap();
        bob.close().await.unwrap();
        world.sleep(Duration::from_secs(2)).await;
        assert_eq!(relay.allocations(), 0, "every allocation is given back");
        assert_eq!((left.sockets().len(), right.sockets().len()), (0, 0));
        way
    })
}

#[test]
fn hosts_behind_one_nat_find_each_other() {
    for hairpins in [false, true] {
        let world = World::new(7);
        let server = world.host(["85.10.0.1"]);
        let relay = RelayServer::start(&server);
        let mut model = NatModel::new(EndpointIndependent, AddressAndPortDependent);
        model.hairpins = hairpins;
        let nat = Nat::new(7, model, ["93.1.0.1".parse().unwrap()]);
        let gateway = world.gateway(["93.1.0.1"], nat);
        let left = world.host_behind(gateway, ["192.168.1.2"]);
        let right = world.host_behind(gateway, ["192.168.1.3"]);
        // They are kept apart, as guests of a wireless network are.
        for is_split in [false, true] {
            if is_split {
                world.cut(&left, &right);
            }
            world.run(async {
                let all = RTCIceTransportPolicy::All;
                let alice = connection(&left, Servers::StunAndTurn, all);
                let bob = connection(&right, Servers::StunAndTurn, all);
                let (here, there) = open(&alice, &bob).await;
                here.send("hello").await.unwrap();
                assert_eq!(there.recv().await.unwrap().unwrap().as_str(), Some("hello"));
                world.sleep(Duration::from_secs(10)).await;
                let path = alice.with_core(|core| core.selected_path()).unwrap();
                match (is_split, hairpins) {
                    (false, _) => assert_eq!(path.peer_addr.ip(), right.addresses()[0]),
                    (true, true) => assert_eq!(path.peer_addr.ip().to_string(), "93.1.0.1"),
                    (true, false) => assert_eq!(relays(&alice), 1),
                }
                alice.close().await.unwrap();
                bob.close().await.unwrap();
                world.sleep(Duration::from_secs(2)).await;
                assert_eq!(relay.allocations(), 0);
            });
        }
    }
}

#[test]
fn with_relays_alone_two_of_them_are_the_way() {
    let world = World::new(8);
    let server = world.host(["85.10.0.1"]);
    let relay = RelayServer::start(&server);
    let nat = Access::Nat(AddressAndPortDependent, AddressAndPortDependent);
    let left = host(&world, 1, nat, "93.1.0.1", "192.168.1.2");
    let right = host(&world, 2, nat, "93.2.0.1", "10.0.0.2");
    world.run(async {
        let only = RTCIceTransportPolicy::Relay;
        let alice = connection(&left, Servers::StunAndTurn, only);
        let bob = connection(&right, Servers::StunAndTurn, only);
        let (here, there) = open(&alice, &bob).await;
        here.send("hello").await.unwrap();
        assert_eq!(there.recv().await.unwrap().unwrap().as_str(), Some("hello"));
        assert_eq!((relays(&alice), relays(&bob)), (2, 2));
        assert_eq!(relay.allocations(), 2);
    });
}

/// A path that loses in one direction, carries small packets alone, or dies, with a relay beside it.
#[test]
fn a_relay_takes_over_where_the_direct_path_dies_and_gives_back() {
    let world = World::new(9);
    let mut link = Link::new(Duration::from_millis(30));
    // Of 1280 bytes of an IPv6 packet.
    link.mtu = 1232;
    world.set_default_link(link.clone());
    let server = world.host(["85.10.0.1"]);
    let _relay = RelayServer::start(&server);
    let (left, right) = (world.host(["93.1.0.1"]), world.host(["93.2.0.1"]));
    world.set_link(&left, &right, link.with_loss(0.1));
    world.run(async {
        let all = RTCIceTransportPolicy::All;
        let alice = connection(&left, Servers::StunAndTurn, all);
        let bob = connection(&right, Servers::StunAndTurn, all);
        let (here, there) = open(&alice, &bob).await;
        let exchange = async |text: String| {
            here.send(text.as_str()).await.unwrap();
            assert_eq!(there.recv().await.unwrap().unwrap().as_str(), Some(&*text));
        };
        exchange("a".repeat(50_000)).await;
        assert_eq!((relays(&alice), relays(&bob)), (0, 0));
        world.cut(&left, &right);
        world.sleep(Duration::from_secs(10)).await;
        assert_eq!(alice.connection_state(), RTCPeerConnectionState::Connected);
        assert!(relays(&alice) > 0 && relays(&bob) > 0);
        exchange("b".repeat(50_000)).await;
        world.heal(&left, &right);
        world.sleep(Duration::from_secs(60)).await;
        exchange("c".repeat(50_000)).await;
        assert_eq!(alice.connection_state(), RTCPeerConnectionState::Connected);
        assert_eq!(
            (relays(&alice), relays(&bob)),
            (0, 0),
            "the direct path is cheaper"
        );
    });
}

#[test]
fn there_is_a_way_whenever_there_can_be_and_it_is_the_cheapest() {
    let mut wrong = Vec::new();
    for (index, a) in ACCESSES.into_iter().enumerate() {
        for b in ACCESSES.into_iter().skip(index) {
            for servers in [Servers::None, Servers::Stun, Servers::StunAndTurn] {
                for seed in 1..=4 {
                    let (found, expected) = (found(seed, a, b, servers), expected(a, b, servers));
                    if found != expected {
                        wrong.push(format!(
                            "{a:?} – {b:?}, {servers:?}, seed {seed}: {found:?}, not {expected:?}"
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
