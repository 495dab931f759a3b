//! Many connections behind the same sockets.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use futures_util::future;
use rtc::crypto::{Certificate, CertificateParams, default_provider};
use rtc::ice::Credentials;
use rtc::peer_connection::configuration::{RTCConfiguration, SettingEngine};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::shared::Rng;
use rtc_driver::test::{Datagram, Gateway, Host, JoinHandle, Link, World};
use rtc_driver::{DataChannel, Endpoint, EndpointBuilder, Error, PeerConnection, Runtime, rtc};

use crate::scene::{Flag, bytes, connect, open, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const ADDR: &str = "192.0.2.1:3478";

fn addr() -> SocketAddr {
    ADDR.parse().unwrap()
}

/// A server with an endpoint, and hosts for clients.
struct Scene {
    world: World,
    server: Host,
    clients: Vec<Host>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let world = World::new(seed);
        Self {
            server: world.host(["192.0.2.1"]),
            clients: (1..=8)
                .map(|last| world.host([format!("198.51.100.{last}")]))
                .collect(),
            world,
        }
    }

    fn builder(&self) -> EndpointBuilder<impl Runtime> {
        Endpoint::builder(self.server.runtime()).bind(addr())
    }

    fn endpoint(&self) -> Endpoint {
        self.builder().build().unwrap()
    }

    fn configuration(&self) -> RTCConfiguration {
        self.server.configuration().build()
    }

    fn client(&self, number: usize) -> PeerConnection {
        self.clients[number % self.clients.len()]
            .builder()
            .build()
            .unwrap()
    }

    /// Connects a client to a peer of the endpoint; gives the client's channel and the task that
    /// echoes at the other end.
    async fn echo(&self, client: &PeerConnection, peer: PeerConnection) -> Echo {
        let (here, there) = open(client, &peer).await;
        let task = self.server.runtime().spawn_joinable(async move {
            while let Some(Ok(message)) = there.recv().await {
                if there.send(message).await.is_err() {
                    break;
                }
            }
            drop(peer);
        });
        Echo { here, task }
    }
}

struct Echo {
    here: DataChannel,
    task: JoinHandle<()>,
}

impl Echo {
    async fn say(&self, text: &str) {
        self.here.send(text).await.unwrap();
        assert_eq!(
            self.here.recv().await.unwrap().unwrap().as_str(),
            Some(text)
        );
    }
}

#[test]
fn many_peers_on_one_port_echo() {
    let scene = Scene::new(1);
    scene
        .world
        .set_default_link(Link::new(Duration::from_millis(20)).with_loss(0.02));
    let endpoint = scene.endpoint();
    assert_eq!(endpoint.local_addrs(), [addr()]);
    scene.world.run(async {
        let peers = (0..120).map(|number| {
            let (scene, endpoint) = (&scene, &endpoint);
            async move {
                let client = scene.client(number);
                let peer = endpoint.peer_connection(scene.configuration()).unwrap();
                let echo = scene.echo(&client, peer).await;
                for index in 0..10 {
                    echo.say(&format!("{number}: {index}")).await;
                }
                client.close().await.unwrap();
                echo.task.await;
            }
        });
        future::join_all(peers).await;
        assert_eq!(scene.server.sockets(), [addr()], "one socket for all");
    });
    scene.world.run_for(40 * SECOND);
    assert_eq!((endpoint.peers(), scene.server.tasks()), (0, 1));
    let counters = endpoint.counters();
    assert!(counters.datagrams.delivered > 120 * 20);
    drop(endpoint);
    scene.world.run_for(SECOND);
    assert_eq!((scene.world.tasks(), scene.world.sockets()), (0, 0));
}

#[test]
fn a_peer_can_be_dropped_in_any_state() {
    let scene = Scene::new(2);
    let endpoint = scene.endpoint();
    for stage in 0..8 {
        scene.world.run(async {
            let peer = endpoint.peer_connection(scene.configuration()).unwrap();
            if stage == 0 {
                return;
            }
            scene.world.sleep(SECOND).await;
            let client = scene.client(stage);
            let channel = client.create_data_channel("test", None).unwrap();
            if stage == 1 {
                return;
            }
            client.set_local_description(None).unwrap();
            let offer = client.gathering_complete().await.unwrap();
            peer.set_remote_description(offer).unwrap();
            if stage == 2 {
                return;
            }
            peer.set_local_description(None).unwrap();
            let answer = peer.gathering_complete().await.unwrap();
            if stage == 3 {
                return;
            }
            client.set_remote_description(answer).unwrap();
            if stage == 4 {
                return;
            }
            scene.world.sleep(Duration::from_millis(15)).await;
            if stage == 5 {
                return;
            }
            peer.connected().await.unwrap();
            if stage == 6 {
                return;
            }
            channel.opened().await.unwrap();
            channel.send(bytes(100_000)).await.unwrap();
        });
        scene.world.run_for(60 * SECOND);
        assert_eq!(endpoint.peers(), 0, "stage {stage}");
        assert_eq!(scene.world.tasks(), 1, "stage {stage}");
    }
    drop(endpoint);
    scene.world.run_for(SECOND);
    assert_eq!((scene.world.tasks(), scene.world.sockets()), (0, 0));
}

#[test]
fn an_endpoint_outlives_its_handle_as_long_as_it_has_peers() {
    let scene = Scene::new(3);
    let endpoint = scene.endpoint();
    let other = endpoint.clone();
    scene.world.run(async {
        let client = scene.client(0);
        let peer = endpoint.peer_connection(scene.configuration()).unwrap();
        drop(endpoint);
        let (here, there) = open(&client, &peer).await;
        drop(other);
        scene.world.sleep(SECOND).await;
        here.send("still there").await.unwrap();
        assert_eq!(there.recv().await, Some(Ok("still there".into())));
        assert_eq!(scene.server.sockets(), [addr()]);
        drop((peer, there));
        assert_eq!(here.recv().await, None);
        scene.world.sleep(SECOND).await;
        assert_eq!((scene.server.tasks(), scene.server.sockets()), (0, vec![]));
    });
}

#[test]
fn closing_an_endpoint_delivers_and_says_farewell_to_every_peer() {
    let scene = Scene::new(4);
    let endpoint = scene.endpoint();
    scene.world.run(async {
        let mut unknown = endpoint.unknown_peers();
        let mut channels = Vec::new();
        for number in 0..20 {
            let client = scene.client(number);
            let peer = endpoint.peer_connection(scene.configuration()).unwrap();
            let (here, there) = open(&client, &peer).await;
            there.send(bytes(20_000)).await.unwrap();
            channels.push((client, peer, here, there));
        }
        // Those that are not connected do not hold it up.
        let idle = endpoint.peer_connection(scene.configuration()).unwrap();
        let before = scene.world.elapsed();
        endpoint.close().await.unwrap();
        assert!(scene.world.elapsed() - before < 2 * SECOND);
        for (client, peer, here, there) in &channels {
            assert_eq!(here.recv().await.unwrap().unwrap().data, bytes(20_000));
            assert_eq!(here.recv().await, None);
            assert_eq!(there.recv().await, None);
            let closed = RTCPeerConnectionState::Closed;
            assert_eq!(client.connection_state(), closed);
            assert_eq!(peer.connection_state(), closed);
            assert_eq!(peer.connected().await, Err(Error::Closed));
        }
        assert_eq!(idle.connected().await, Err(Error::Closed));
        let late = endpoint.peer_connection(scene.configuration());
        assert!(matches!(late, Err(Error::Closed)));
        assert_eq!(unknown.next().await, None);
        endpoint.close().await.unwrap();
        assert_eq!(endpoint.peers(), 0);
    });
    scene.world.run_for(SECOND);
    assert_eq!((scene.world.tasks(), scene.world.sockets()), (0, 0));
}

#[test]
fn closing_one_peer_frees_its_place_and_leaves_the_others() {
    let scene = Scene::new(5);
    let endpoint = scene.endpoint();
    scene.world.run(async {
        let mut echoes = Vec::new();
        for number in 0..3 {
            let client = scene.client(number);
            let peer = endpoint.peer_connection(scene.configuration()).unwrap();
            echoes.push((scene.echo(&client, peer.clone()).await, peer));
        }
        assert_eq!(endpoint.peers(), 3);
        let (echo, peer) = echoes.remove(1);
        peer.close().await.unwrap();
        scene.world.sleep(Duration::from_millis(1)).await;
        assert_eq!(endpoint.peers(), 2);
        assert_eq!(echo.here.recv().await, None);
        for (echo, _) in &echoes {
            echo.say("still there").await;
        }
        // A client that says farewell frees its place too.
        let (echo, peer) = echoes.remove(0);
        drop(echo.here);
        assert_eq!(peer.connected().await, Ok(()));
        while peer.connection_state() != RTCPeerConnectionState::Closed {
            scene.world.sleep(Duration::from_millis(10)).await;
        }
        scene.world.sleep(Duration::from_millis(10)).await;
        assert_eq!(endpoint.peers(), 1);
    });
}

#[test]
fn a_lost_driver_is_told_to_everybody() {
    let scene = Scene::new(6);
    let (endpoint, driver) = scene.builder().build_unspawned().unwrap();
    let task = scene.world.spawn(async move {
        let _ = driver.await;
    });
    scene.world.run(async {
        let client = scene.client(0);
        let peer = endpoint.peer_connection(scene.configuration()).unwrap();
        let (_here, there) = open(&client, &peer).await;
        let fresh = endpoint.peer_connection(scene.configuration()).unwrap();
        let mut unknown = endpoint.unknown_peers();
        let flag: Arc<Flag> = Arc::default();
        let mut waits = pin!(future::join4(
            there.recv(),
            fresh.connected(),
            unknown.next(),
            endpoint.close(),
        ));
        assert!(poll_once(waits.as_mut(), &flag).is_pending());
        task.cancel();
        assert!(flag.take() > 0);
        let (message, connected, unknown, closed) = waits.await;
        assert_eq!(message, Some(Err(Error::DriverLost)));
        assert_eq!(connected, Err(Error::DriverLost));
        assert_eq!(unknown, None);
        assert_eq!(closed, Err(Error::DriverLost));
        let late = endpoint.peer_connection(scene.configuration());
        assert!(matches!(late, Err(Error::DriverLost)));
        assert_eq!(endpoint.peers(), 0);
    });
}

#[test]
fn a_panic_in_the_hands_of_one_user_costs_that_connection_only() {
    let scene = Scene::new(7);
    let endpoint = scene.endpoint();
    scene.world.run(async {
        let mut echoes = Vec::new();
        for number in 0..3 {
            let client = scene.client(number);
            let peer = endpoint.peer_connection(scene.configuration()).unwrap();
            echoes.push((scene.echo(&client, peer.clone()).await, peer));
        }
        let (_, victim) = &echoes[1];
        let panics = || victim.with_core(|_| std::panic::resume_unwind(Box::new("of a user")));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        scene.world.sleep(Duration::from_millis(1)).await;
        assert_eq!(endpoint.peers(), 2);
        assert!(matches!(victim.close().await, Err(Error::DriverLost)));
        for (echo, _) in [&echoes[0], &echoes[2]] {
            echo.say("still there").await;
        }
    });
}

#[test]
fn a_flood_of_one_peer_does_not_silence_the_others() {
    let scene = Scene::new(8);
    scene
        .world
        .set_default_link(Link::new(Duration::from_millis(10)));
    // What leaves the server has a line of 200 Mbit/s with little of a queue.
    let uplink = Link::new(Duration::ZERO).with_bandwidth(200_000_000, 200_000);
    scene.server.set_uplink(uplink);
    let endpoint = scene.endpoint();
    scene.world.run(async {
        let (busy, flood) = {
            let client = scene.client(0);
            let peer = endpoint.peer_connection(scene.configuration()).unwrap();
            open(&client, &peer).await
        };
        let flood = scene
            .world
            .spawn(async move { while flood.send(bytes(60_000)).await.is_ok() {} });
        let drain = scene.world.spawn(async move {
            let mut count = 0_u64;
            while let Some(Ok(_)) = busy.recv().await {
                count += 1;
                if count == 300 {
                    break;
                }
            }
            count
        });
        let mut echoes = Vec::new();
        for number in 1..10 {
            let client = scene.client(number);
            let peer = endpoint.peer_connection(scene.configuration()).unwrap();
            echoes.push(scene.echo(&client, peer).await);
        }
        let start = scene.world.elapsed();
        for round in 0..10 {
            let words = format!("round {round}");
            future::join_all(echoes.iter().map(|echo| echo.say(&words))).await;
        }
        // Twenty milliseconds a round, and a few in the queue.
        let took = scene.world.elapsed() - start;
        assert!(took < Duration::from_millis(600), "{took:?}");
        assert_eq!(drain.await, 300, "the flood goes on meanwhile");
        flood.cancel();
    });
}

#[test]
fn an_idle_endpoint_is_woken_for_deadlines_alone() {
    let scene = Scene::new(9);
    let endpoint = scene.endpoint();
    scene.world.run(async {
        let idle: Vec<_> = (0..300)
            .map(|_| endpoint.peer_connection(scene.configuration()).unwrap())
            .collect();
        scene.world.sleep(60 * SECOND).await;
        let before = (scene.server.polls(), scene.server.wakes());
        scene.world.sleep(3600 * SECOND).await;
        assert_eq!((scene.server.polls(), scene.server.wakes()), before);

        let client = scene.client(0);
        let peer = endpoint.peer_connection(scene.configuration()).unwrap();
        let (here, there) = open(&client, &peer).await;
        scene.world.sleep(60 * SECOND).await;
        let before = scene.server.polls();
        scene.world.sleep(600 * SECOND).await;
        let polls = scene.server.polls() - before;
        // Both sides ask for consent every five seconds or so: a question, its answer, a deadline.
        assert!(polls < 800, "{polls} polls in ten minutes");

        let before = scene.server.polls();
        there.send("hello").await.unwrap();
        here.recv().await.unwrap().unwrap();
        scene.world.sleep(SECOND).await;
        let polls = scene.server.polls() - before;
        assert!(polls < 8, "{polls} polls for a message");
        drop(idle);
    });
}

/// Credentials as a server gives them out that keeps no state: the password follows from the fragment.
fn with_credentials(host: &Host, ufrag: &str) -> RTCConfiguration {
    let mut setting: SettingEngine = host.setting_engine();
    let password = format!("{ufrag}{ufrag}{ufrag}aSecretOfTheServer");
    setting.ice.credentials = Some(Credentials::new(ufrag, password).unwrap());
    host.configuration().with_setting_engine(setting).build()
}

/// Answers an offer in the name of the server, from a place where its sockets are not.
async fn answer_elsewhere(
    scene: &Scene,
    configuration: RTCConfiguration,
    offer: RTCSessionDescription,
) -> RTCSessionDescription {
    let elsewhere = scene.world.host(["192.0.2.99"]);
    let builder = elsewhere.builder().with_configuration(configuration);
    let connection = builder
        .bind("192.0.2.99:3478".parse().unwrap())
        .build()
        .unwrap();
    connection.set_remote_description(offer).unwrap();
    connection.set_local_description(None).unwrap();
    let mut answer = connection.gathering_complete().await.unwrap();
    elsewhere.cut();
    answer.sdp = answer.sdp.replace("192.0.2.99", "192.0.2.1");
    answer
}

#[test]
fn a_peer_that_announces_itself_is_accepted() {
    let scene = Scene::new(10);
    let endpoint = scene.endpoint();
    scene.world.run(async {
        let client = scene.client(0);
        let channel = client.create_data_channel("test", None).unwrap();
        client.set_local_description(None).unwrap();
        let offer = client.gathering_complete().await.unwrap();
        // The certificate is the server's, known to both places.
        let certificate = Certificate::generate(
            default_provider(),
            &CertificateParams::new(Duration::from_secs(1_767_225_600)),
            &mut Rng::from_seed([7; 32]),
        )
        .unwrap();
        let configuration = || {
            let configuration = with_credentials(&scene.server, "knownHere1");
            let setting = configuration.setting_engine().clone();
            let builder = scene.server.configuration().with_setting_engine(setting);
            builder.with_certificates(vec![certificate.clone()]).build()
        };
        let answer = answer_elsewhere(&scene, configuration(), offer.clone()).await;
        let mut unknown = endpoint.unknown_peers();
        client.set_remote_description(answer).unwrap();

        let peer = unknown.next().await.unwrap();
        assert_eq!(peer.local_ufrag, "knownHere1");
        assert_eq!(peer.transport().local_addr, addr());
        let refused = endpoint.accept(peer.clone(), scene.configuration());
        assert!(matches!(refused, Err(Error::Core(_))), "other credentials");
        let server = endpoint.accept(peer, configuration()).unwrap();
        server.set_remote_description(offer).unwrap();
        server.set_local_description(None).unwrap();
        client.connected().await.unwrap();
        channel.send("hello").await.unwrap();
        let there = server.data_channels().next().await.unwrap();
        assert_eq!(there.recv().await, Some(Ok("hello".into())));
    });
    let counters = endpoint.counters().datagrams;
    assert!(counters.unknown_peers >= 1);
}

#[test]
fn interfaces_come_and_go_for_every_peer() {
    let scene = Scene::new(11);
    let endpoint = Endpoint::builder(scene.server.runtime())
        .bind("0.0.0.0:3478".parse().unwrap())
        .build()
        .unwrap();
    assert_eq!(endpoint.local_addrs(), [addr()]);
    scene.world.run(async {
        let client = scene.client(0);
        let peer = endpoint.peer_connection(scene.configuration()).unwrap();
        let (here, there) = open(&client, &peer).await;
        scene.server.add_interface("wlan0", "203.0.113.1");
        scene.world.sleep(SECOND).await;
        let second: SocketAddr = "203.0.113.1:3478".parse().unwrap();
        assert_eq!(endpoint.local_addrs(), [addr(), second]);
        // Made before, taken over after: it learns what has changed in between.
        let between = endpoint.peer_connection(scene.configuration()).unwrap();
        scene.server.remove_interface("192.0.2.1");
        scene.world.sleep(SECOND).await;
        assert_eq!(endpoint.local_addrs(), [second]);
        there.send("by the other one").await.unwrap();
        assert!(here.recv().await.unwrap().is_ok());
        let path = peer.with_core(|core| core.selected_path()).unwrap();
        assert_eq!(path.local_addr, second);
        let late = endpoint.peer_connection(scene.configuration()).unwrap();
        for peer in [between, late] {
            let client = scene.client(1);
            let (here, there) = open(&client, &peer).await;
            here.send("hello").await.unwrap();
            assert!(there.recv().await.unwrap().is_ok());
        }
    });
}

#[test]
fn members_of_a_group_hand_over_what_is_for_others() {
    let scene = Scene::new(12);
    let group = scene.builder().build_group(4).unwrap();
    assert_eq!(group.local_addrs(), [addr()]);
    assert_eq!(scene.server.sockets(), [addr(); 4]);
    scene.world.run(async {
        let peers = (0..40).map(|number| {
            let (scene, group) = (&scene, &group);
            async move {
                let client = scene.client(number);
                let peer = group.peer_connection(scene.configuration()).unwrap();
                let echo = scene.echo(&client, peer).await;
                for index in 0..10 {
                    echo.say(&format!("{number}: {index}")).await;
                }
                (client, echo)
            }
        });
        let echoes = future::join_all(peers).await;
        let counts: Vec<_> = group.members().iter().map(Endpoint::peers).collect();
        assert_eq!(counts, [10; 4]);
        let handed: u64 = group
            .members()
            .iter()
            .map(|it| it.counters().handed_over)
            .sum();
        assert!(handed > 40 * 10, "{handed}");
        for member in group.members() {
            let datagrams = member.counters().datagrams;
            assert_eq!(datagrams.unknown_peers, 0, "{datagrams:?}");
        }
        group.close().await.unwrap();
        for (client, echo) in echoes {
            assert_eq!(echo.here.recv().await, None);
            assert_eq!(client.connection_state(), RTCPeerConnectionState::Closed);
            echo.task.await;
        }
    });
    scene.world.run_for(SECOND);
    assert_eq!((scene.world.tasks(), scene.world.sockets()), (0, 0));
}

#[test]
fn an_ice_restart_of_a_peer_is_learned_by_every_member() {
    let scene = Scene::new(13);
    let group = scene.builder().build_group(3).unwrap();
    scene.world.run(async {
        for number in 0..12 {
            let client = scene.client(number);
            let peer = group.peer_connection(scene.configuration()).unwrap();
            let (here, there) = open(&client, &peer).await;
            let before = peer.local_description().unwrap().sdp;
            client.restart_ice().unwrap();
            connect(&client, &peer).await;
            assert_ne!(
                ufrag(&before),
                ufrag(&peer.local_description().unwrap().sdp)
            );
            // Beyond the time for which the old generation is served.
            scene.world.sleep(30 * SECOND).await;
            here.send("hello").await.unwrap();
            assert_eq!(there.recv().await, Some(Ok("hello".into())));
        }
    });
}

fn ufrag(sdp: &str) -> &str {
    let line = sdp
        .lines()
        .find_map(|line| line.strip_prefix("a=ice-ufrag:"));
    line.unwrap()
}

/// Maps every port of the host behind it to another, which can be changed.
struct Nat {
    shift: Arc<AtomicU16>,
}

impl Gateway for Nat {
    fn outbound(&mut self, _: Instant, datagram: &mut Datagram) -> bool {
        let shift = self.shift.load(Ordering::Relaxed);
        let port = datagram.source.port() ^ shift;
        datagram.source = SocketAddr::from(([203, 0, 113, 1], port));
        true
    }

    fn inbound(&mut self, _: Instant, datagram: &mut Datagram) -> bool {
        let port = datagram.destination.port() ^ self.shift.load(Ordering::Relaxed);
        datagram.destination = SocketAddr::from(([10, 0, 0, 1], port));
        true
    }
}

#[test]
fn a_peer_whose_address_changes_is_found_again_whichever_member_it_reaches() {
    let scene = Scene::new(14);
    let shift = Arc::new(AtomicU16::new(1));
    let nat = Nat {
        shift: Arc::clone(&shift),
    };
    let gateway = scene.world.gateway(["203.0.113.1"], nat);
    let inside = scene.world.host_behind(gateway, ["10.0.0.1"]);
    let group = scene.builder().build_group(4).unwrap();
    scene.world.run(async {
        let client = inside.builder().build().unwrap();
        let peer = group.peer_connection(scene.configuration()).unwrap();
        let echo = scene.echo(&client, peer).await;
        for round in 2..10 {
            shift.store(round, Ordering::Relaxed);
            echo.say(&format!("round {round}")).await;
            scene.world.sleep(SECOND).await;
        }
    });
}

#[test]
fn a_lost_member_leaves_the_others_working() {
    let scene = Scene::new(15);
    let (group, drivers) = scene.builder().build_group_unspawned(3).unwrap();
    let mut tasks: Vec<_> = drivers
        .into_iter()
        .map(|driver| {
            scene.world.spawn(async move {
                let _ = driver.await;
            })
        })
        .collect();
    scene.world.run(async {
        let mut echoes = Vec::new();
        for number in 0..12 {
            let client = scene.client(number);
            let member = &group.members()[number % 3];
            let peer = member.peer_connection(scene.configuration()).unwrap();
            echoes.push((scene.echo(&client, peer.clone()).await, peer, client));
        }
        tasks.remove(0).cancel();
        scene.world.sleep(SECOND).await;
        let lost = group.members()[0].peer_connection(scene.configuration());
        assert!(matches!(lost, Err(Error::DriverLost)));
        for (number, (echo, peer, _)) in echoes.iter().enumerate() {
            if number % 3 == 0 {
                assert_eq!(peer.close().await, Err(Error::DriverLost));
            } else {
                echo.say("still there").await;
            }
        }
        assert_eq!(group.close().await, Err(Error::DriverLost));
        assert_eq!(group.peers(), 0);
    });
}

#[test]
fn peers_made_from_other_threads_are_taken_over() {
    let scene = Scene::new(16);
    let endpoint = scene.endpoint();
    let peers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (endpoint, scene) = (endpoint.clone(), &scene);
                let configurations: Vec<_> = (0..8).map(|_| scene.configuration()).collect();
                scope.spawn(move || {
                    let make = |configuration| endpoint.peer_connection(configuration).unwrap();
                    configurations.into_iter().map(make).collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    assert_eq!(endpoint.peers(), 32);
    scene.world.run(async {
        for (number, peer) in peers.iter().enumerate() {
            let client = scene.client(number);
            open(&client, peer).await;
        }
    });
    drop(peers);
    scene.world.run_for(10 * SECOND);
    assert_eq!(endpoint.peers(), 0);
}
