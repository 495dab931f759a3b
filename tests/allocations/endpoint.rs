//! What a peer of an endpoint costs beside its connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::{Certificate, CertificateParams, default_provider};
use rtc::endpoint::{RTCEndpoint, RTCPeerId};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::sansio::Protocol;
use rtc::shared::{Rng, TaggedBytesMut, Transmit, TransportContext, TransportProtocol};

use crate::{allocations, bytes_in_use};

#[expect(clippy::print_stdout, reason = "it prints what it measured")]
pub(crate) fn measure() {
    let idle = 1_000;
    let mut star = Star::new();
    let connections: Vec<_> = (0..idle).map(|_| star.connection()).collect();
    let before = bytes_in_use();
    let ids: Vec<_> = connections
        .into_iter()
        .map(|connection| star.endpoint.insert(connection))
        .collect();
    let each = (bytes_in_use() - before) / idle;
    println!(
        "a place at the endpoint: {each} bytes, which moves a connection of {} bytes",
        size_of::<RTCPeerConnection>()
    );
    assert!(each < 1_024, "{each} bytes");
    drop(
        ids.into_iter()
            .map(|id| star.endpoint.remove(id))
            .collect::<Vec<_>>(),
    );

    let peers = 50;
    for _ in 0..peers {
        star.join();
    }
    star.connect();
    star.run_for(Duration::from_secs(60));
    star.echo(20);
    let count = 200;
    let before = allocations();
    star.echo(count);
    let each = (allocations() - before) as f64 / (count * peers) as f64;
    println!("{each:.3} allocations per echoed message, both ends together");
    assert!(each < 16.0, "{each} allocations");

    star.run_for(Duration::from_secs(60));
    let before = bytes_in_use();
    for index in 0..peers {
        star.endpoint.remove(star.ids[index]);
    }
    let each = (before - bytes_in_use()) / peers;
    println!("a connected peer that has been idle: {each} bytes in all");
}

/// Clients around an endpoint.
struct Star {
    endpoint: RTCEndpoint,
    addr: SocketAddr,
    clients: Vec<RTCPeerConnection>,
    ids: Vec<RTCPeerId>,
    certificate: Certificate,
    now: Instant,
    outgoing: Vec<u8>,
    incoming: BytesMut,
    batch: Vec<TaggedBytesMut>,
    received: usize,
}

impl Star {
    fn new() -> Self {
        let addr = SocketAddr::from(([10, 0, 0, 1], 3478));
        let mut endpoint = RTCEndpoint::new();
        endpoint.add_local_interface(addr, TransportProtocol::UDP);
        let params = CertificateParams::new(Duration::from_secs(1_800_000_000));
        let mut rng = Rng::from_seed([1; 32]);
        Self {
            endpoint,
            addr,
            clients: Vec::new(),
            ids: Vec::new(),
            certificate: Certificate::generate(default_provider(), &params, &mut rng).unwrap(),
            now: Instant::now(),
            outgoing: Vec::new(),
            incoming: BytesMut::new(),
            batch: Vec::new(),
            received: 0,
        }
    }

    fn connection(&self) -> RTCPeerConnection {
        let configuration = RTCConfigurationBuilder::new()
            .with_now(self.now)
            .with_unix_time(Duration::from_secs(1_800_000_000))
            .with_certificates(vec![self.certificate.clone()])
            .build();
        RTCPeerConnection::new(configuration).unwrap()
    }

    /// Addresses of clients differ by their port alone.
    fn client_addr(index: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 2], 10_000 + index as u16))
    }

    fn join(&mut self) {
        let mut client = self.connection();
        let addr = Self::client_addr(self.clients.len());
        client
            .add_local_interface(addr, TransportProtocol::UDP)
            .unwrap();
        client.create_data_channel("echo", None).unwrap();
        client.set_local_description_implicit().unwrap();
        let offer = client.local_description().unwrap();
        let peer = self.connection();
        let id = self.endpoint.insert(peer);
        let peer = self.endpoint.get_mut(id).unwrap();
        peer.set_remote_description(offer).unwrap();
        peer.set_local_description_implicit().unwrap();
        client
            .set_remote_description(peer.local_description().unwrap())
            .unwrap();
        self.clients.push(client);
        self.ids.push(id);
    }

    fn connect(&mut self) {
        while self.clients.iter_mut().any(|client| {
            client.connection_state() != RTCPeerConnectionState::Connected
                || client.data_channel(0).unwrap().send_text("open?").is_err()
        }) {
            self.turn();
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.turn();
        }
    }

    fn echo(&mut self, count: usize) {
        for _ in 0..count {
            self.received = 0;
            for client in &mut self.clients {
                let mut channel = client.data_channel(0).unwrap();
                channel.send(BytesMut::from(&[7; 64][..])).unwrap();
            }
            while self.received < self.clients.len() {
                self.turn();
            }
        }
    }

    fn turn(&mut self) {
        self.now += Duration::from_micros(100);
        let now = self.now;
        let mut moved = false;
        for index in 0..self.clients.len() {
            while let Some(transmit) =
                self.clients[index].poll_transmit(now, 16, &mut self.outgoing)
            {
                self.receive(transmit);
            }
        }
        moved |= !self.batch.is_empty();
        self.endpoint.handle_read_batch(&mut self.batch);
        while let Some(id) = self.endpoint.poll_ready_peer() {
            let peer = self.endpoint.get_mut(id).unwrap();
            while peer.poll_event().is_some() {}
            while let Some(message) = peer.poll_read() {
                peer.handle_write(message).unwrap();
            }
        }
        while let Some(transmit) = self.endpoint.poll_transmit(now, 16, &mut self.outgoing) {
            let to = usize::from(transmit.transport.peer_addr.port()) - 10_000;
            self.receive(transmit);
            moved = true;
            self.clients[to].handle_read_batch(&mut self.batch);
        }
        for client in &mut self.clients {
            while client.poll_event().is_some() {}
            while let Some(RTCMessage::DataChannelMessage(..)) = client.poll_read() {
                self.received += 1;
            }
        }
        if !moved {
            let clients = self.clients.iter_mut().filter_map(Protocol::poll_timeout);
            let next = clients.chain(self.endpoint.poll_timeout()).min();
            self.now = self.now.max(next.unwrap());
        }
        let now = self.now;
        if self.endpoint.poll_timeout().is_some_and(|at| at <= now) {
            self.endpoint.handle_timeout(now);
        }
        for client in &mut self.clients {
            if client.poll_timeout().is_some_and(|at| at <= now) {
                client.handle_timeout(now).unwrap();
            }
        }
    }

    /// Turns what was sent into what is received.
    fn receive(&mut self, transmit: Transmit) {
        if self.incoming.capacity() < transmit.size {
            self.incoming.reserve(64 * 1024);
        }
        self.incoming.extend_from_slice(&self.outgoing);
        self.outgoing.clear();
        let segment = transmit.segment_size.unwrap_or(transmit.size);
        let transport = TransportContext {
            local_addr: transmit.transport.peer_addr,
            peer_addr: transmit.transport.local_addr,
            ..transmit.transport
        };
        assert!(transport.local_addr == self.addr || transport.peer_addr == self.addr);
        while !self.incoming.is_empty() {
            let message = self.incoming.split_to(segment.min(self.incoming.len()));
            self.batch.push(TaggedBytesMut {
                now: self.now,
                transport,
                message,
            });
        }
    }
}
