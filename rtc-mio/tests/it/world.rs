//! Two peers in one loop.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rtc_driver::rtc::data_channel::{RTCDataChannel, RTCDataChannelId, RTCDataChannelMessage};
use rtc_driver::rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc_driver::rtc::peer_connection::message::RTCMessage;
use rtc_mio::{PeerConnection, SocketOptions};

pub(crate) struct World {
    pub(crate) poll: Poll,
    events: Events,
    pub(crate) peers: Vec<PeerConnection>,
    channels: [Option<RTCDataChannelId>; 2],
    pub(crate) heard: [VecDeque<RTCDataChannelMessage>; 2],
}

pub(crate) fn socket() -> UdpSocket {
    SocketOptions::default()
        .open("127.0.0.1:0".parse().unwrap())
        .unwrap()
}

pub(crate) fn connection() -> PeerConnection {
    let addr = "127.0.0.1:0".parse().unwrap();
    let builder = rtc_mio::builder().bind(addr).bind(addr);
    PeerConnection::new(builder, Instant::now()).unwrap()
}

pub(crate) fn signal(alice: &mut PeerConnection, bob: &mut PeerConnection) {
    alice.core().set_local_description_implicit().unwrap();
    let offer = alice.core().local_description().unwrap();
    bob.core().set_remote_description(offer).unwrap();
    bob.core().set_local_description_implicit().unwrap();
    let answer = bob.core().local_description().unwrap();
    alice.core().set_remote_description(answer).unwrap();
}

pub(crate) fn bytes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

impl World {
    pub(crate) fn connected() -> Self {
        let poll = Poll::new().unwrap();
        let (mut alice, mut bob) = (connection(), connection());
        let channel = alice.core().create_data_channel("x", None).unwrap().id();
        signal(&mut alice, &mut bob);
        let mut peers = vec![alice, bob];
        for (i, peer) in peers.iter_mut().enumerate() {
            let token = Token(i * PeerConnection::TOKENS);
            poll.registry()
                .register(peer, token, Interest::READABLE)
                .unwrap();
        }
        let mut world = Self {
            poll,
            events: Events::with_capacity(16),
            peers,
            channels: [None; 2],
            heard: Default::default(),
        };
        world.wait(|world| world.channels.iter().all(Option::is_some).then_some(()));
        assert_eq!(world.channels[0], Some(channel));
        world
    }

    pub(crate) fn channel(&mut self, peer: usize) -> RTCDataChannel<'_> {
        let id = self.channels[peer].unwrap();
        self.peers[peer].core().data_channel(id).unwrap()
    }

    pub(crate) fn send(&mut self, from: usize, message: RTCDataChannelMessage) {
        self.channel(from).send_message(message).unwrap();
        self.peers[from].drive(Instant::now());
    }

    /// Runs the loop until there is what is waited for.
    pub(crate) fn wait<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        loop {
            if let Some(value) = done(self) {
                return value;
            }
            self.turn();
        }
    }

    fn turn(&mut self) {
        let Self {
            poll,
            events,
            peers,
            channels,
            heard,
        } = self;
        let now = Instant::now();
        let deadline = peers.iter_mut().filter_map(|peer| peer.deadline(now)).min();
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(now));
        assert!(timeout < Some(Duration::from_secs(60)), "nothing is due");
        poll.poll(events, timeout).unwrap();
        let now = Instant::now();
        for event in events.iter() {
            let (mine, other) = match event.token().0 / PeerConnection::TOKENS {
                0 => (0, 1),
                _ => (1, 0),
            };
            assert!(peers[mine].process(event, now));
            assert!(!peers[other].process(event, now));
        }
        for (i, peer) in peers.iter_mut().enumerate() {
            if peer.deadline(now).is_some_and(|deadline| deadline <= now) {
                peer.drive(now);
            }
            while let Some(event) = peer.poll_event() {
                use RTCPeerConnectionEvent::OnDataChannel;
                if let OnDataChannel(RTCDataChannelEvent::OnOpen(id)) = event {
                    channels[i] = Some(id);
                }
            }
            while let Some(message) = peer.poll_read() {
                if let RTCMessage::DataChannelMessage(_, message) = message {
                    heard[i].push_back(message);
                }
            }
        }
    }
}
