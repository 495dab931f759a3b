//! Two hosts and what tests do with the connections between them.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::SettingEngine;
use rtc::rtp::{Header, Packet};
use rtc::rtp_transceiver::RtpCodecKind;
use rtc_driver::test::{Host, World};
use rtc_driver::{DataChannel, LocalTrack, PeerConnection, RemoteTrack, rtc};

/// A world with two hosts.
pub struct Scene {
    world: World,
    pub a: Host,
    pub b: Host,
}

impl Scene {
    pub fn new() -> Self {
        Self::with_seed(1)
    }

    pub fn with_seed(seed: u64) -> Self {
        let world = World::new(seed);
        Self {
            a: world.host(["192.0.2.1"]),
            b: world.host(["192.0.2.2"]),
            world,
        }
    }

    /// A connection on either host.
    pub fn pair(&self) -> (PeerConnection, PeerConnection) {
        self.pair_with(|_| ())
    }

    pub fn pair_with(
        &self,
        change: impl Fn(&mut SettingEngine),
    ) -> (PeerConnection, PeerConnection) {
        let peer = |host: &Host| {
            let mut setting = host.setting_engine();
            change(&mut setting);
            let configuration = host.configuration().with_setting_engine(setting).build();
            let builder = host.builder().with_configuration(configuration);
            builder.build().unwrap()
        };
        (peer(&self.a), peer(&self.b))
    }

    /// Both ends of a channel between new connections.
    pub async fn channel(&self) -> (DataChannel, DataChannel) {
        let (alice, bob) = self.pair();
        open(&alice, &bob).await
    }
}

impl Deref for Scene {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

/// Exchanges the descriptions and waits until both are connected.
pub async fn connect(alice: &PeerConnection, bob: &PeerConnection) {
    signal(alice, bob).await;
    alice.connected().await.unwrap();
    bob.connected().await.unwrap();
}

pub async fn signal(alice: &PeerConnection, bob: &PeerConnection) {
    alice.set_local_description(None).unwrap();
    bob.set_remote_description(alice.gathering_complete().await.unwrap())
        .unwrap();
    bob.set_local_description(None).unwrap();
    alice
        .set_remote_description(bob.gathering_complete().await.unwrap())
        .unwrap();
}

/// Connects with a channel, and gives both ends of it.
pub async fn open(alice: &PeerConnection, bob: &PeerConnection) -> (DataChannel, DataChannel) {
    let here = alice.create_data_channel("test", None).unwrap();
    connect(alice, bob).await;
    let there = bob.data_channels().next().await.unwrap();
    here.opened().await.unwrap();
    (here, there)
}

/// A track from alice to bob, and its both ends.
pub struct OneWay {
    pub alice: PeerConnection,
    pub bob: PeerConnection,
    pub here: LocalTrack,
    pub there: RemoteTrack,
}

impl Scene {
    pub async fn one_way(&self, kind: RtpCodecKind) -> OneWay {
        let (alice, bob) = self.pair();
        let here = alice.add_track(track("camera", kind)).unwrap();
        connect(&alice, &bob).await;
        let there = bob.tracks().next().await.unwrap();
        OneWay {
            alice,
            bob,
            here,
            there,
        }
    }
}

pub fn track(id: &str, kind: RtpCodecKind) -> MediaStreamTrack {
    MediaStreamTrack::new("stream", id, id, kind, vec![])
}

/// A packet whose payload tells its number.
pub fn packet(number: u16) -> Packet {
    Packet {
        header: Header {
            sequence_number: number,
            timestamp: u32::from(number) * 960,
            ..Header::default()
        },
        payload: Bytes::from(number.to_be_bytes().to_vec()),
    }
}

pub fn number(packet: &Packet) -> u16 {
    u16::from_be_bytes(packet.payload[..2].try_into().unwrap())
}

/// A pseudo-random text that shows what is missing.
pub fn bytes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// Counts wake-ups.
#[derive(Default)]
pub struct Flag(AtomicUsize);

impl Flag {
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls once.
pub fn poll_once<F: Future>(future: Pin<&mut F>, flag: &Arc<Flag>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(flag))))
}
