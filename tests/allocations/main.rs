//! How often two connected peers allocate per message. A test binary of its own, because the
//! counting allocator is that of the whole process.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it measured"
)]

mod driver;
mod endpoint;

use std::alloc::System;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// No other thread may allocate meanwhile.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_place_at_an_endpoint_costs_little() {
    let _alone = ALONE.lock().unwrap();
    endpoint::measure();
}

#[test]
fn the_pump_allocates_nothing() {
    let _alone = ALONE.lock().unwrap();
    driver::measure_pump();
}

#[test]
fn a_driver_allocates_for_messages_and_not_for_datagrams() {
    let _alone = ALONE.lock().unwrap();
    driver::measure_driver();
}

#[test]
fn tracks_cost_few_allocations() {
    let _alone = ALONE.lock().unwrap();
    driver::measure_tracks();
}

#[test]
fn a_message_costs_few_allocations() {
    let _alone = ALONE.lock().unwrap();
    let mut pair = Pair::connected();
    for (size, count, bound) in [(16 * 1024, 2_000, 20.0), (64, 100_000, 2.0)] {
        // Queues and windows grow to what they need before it is counted.
        pair.transfer(size, count);
        let before = allocations();
        pair.transfer(size, count);
        let each = (allocations() - before) as f64 / count as f64;
        println!("{size} bytes: {each:.3} allocations per message, both ends together");
        assert!(
            each <= bound,
            "{each} allocations per message of {size} bytes, {bound} allowed"
        );
    }
}

/// Two peers on one thread with a virtual clock.
struct Pair {
    peers: [RTCPeerConnection; 2],
    channel: u16,
    now: Instant,
    /// What sockets would send from, receive into, and hand over.
    outgoing: Vec<u8>,
    incoming: BytesMut,
    batch: Vec<TaggedBytesMut>,
    /// Where the application makes its messages.
    arena: BytesMut,
}

impl Pair {
    fn connected() -> Self {
        let now = Instant::now();
        let mut peers = [5000, 5001].map(|port| {
            let configuration = RTCConfigurationBuilder::new()
                .with_now(now)
                .with_seed([port as u8; 32])
                .build();
            let mut peer = RTCPeerConnection::new(configuration).unwrap();
            let addr = SocketAddr::from(([10, 0, 0, 1], port));
            peer.add_local_interface(addr, TransportProtocol::UDP)
                .unwrap();
            peer
        });
        let channel = peers[0].create_data_channel("count", None).unwrap().id();
        peers[0].set_local_description_implicit().unwrap();
        let offer = peers[0].local_description().unwrap();
        peers[1].set_remote_description(offer).unwrap();
        peers[1].set_local_description_implicit().unwrap();
        let answer = peers[1].local_description().unwrap();
        peers[0].set_remote_description(answer).unwrap();
        let mut pair = Self {
            peers,
            channel,
            now,
            outgoing: Vec::new(),
            incoming: BytesMut::new(),
            batch: Vec::new(),
            arena: BytesMut::new(),
        };
        // A message gets through once the channel is open.
        while pair.send(64).is_err() {
            pair.turn();
            assert!(
                pair.now < now + Duration::from_secs(20),
                "the peers do not connect"
            );
        }
        while pair.peers[1].poll_read().is_none() {
            pair.turn();
        }
        pair
    }

    fn transfer(&mut self, size: usize, count: usize) {
        let window = (1024 * 1024 / size).min(4096);
        let (mut sent, mut received) = (0, 0);
        let end = self.now + Duration::from_secs(60);
        while received < count {
            while sent < count.min(received + window) && self.send(size).is_ok() {
                sent += 1;
            }
            self.turn();
            while self.peers[1].poll_read().is_some() {
                received += 1;
            }
            assert!(self.now < end, "nothing moves after {received} messages");
        }
    }

    fn send(&mut self, size: usize) -> Result<(), rtc::Error> {
        if self.arena.capacity() < size {
            self.arena.reserve(1024 * 1024);
        }
        self.arena.resize(size, 7);
        let data = self.arena.split();
        let mut channel = self.peers[0]
            .data_channel(self.channel)
            .expect("the channel exists");
        channel.send(data)
    }

    /// Carries what is to be sent, and lets the clock jump to the next timer when it is nothing.
    fn turn(&mut self) {
        let mut moved = false;
        for from in [0, 1] {
            self.now += Duration::from_micros(100);
            let now = self.now;
            loop {
                self.outgoing.clear();
                let transmit = self.peers[from].poll_transmit(now, 32, &mut self.outgoing);
                let Some(transmit) = transmit else { break };
                if self.incoming.capacity() < transmit.size {
                    self.incoming.reserve(64 * 1024);
                }
                self.incoming.extend_from_slice(&self.outgoing);
                let segment = transmit.segment_size.unwrap_or(transmit.size);
                let transport = TransportContext {
                    local_addr: transmit.transport.peer_addr,
                    peer_addr: transmit.transport.local_addr,
                    ..transmit.transport
                };
                while !self.incoming.is_empty() {
                    let message = self.incoming.split_to(segment.min(self.incoming.len()));
                    self.batch.push(TaggedBytesMut {
                        now,
                        transport,
                        message,
                    });
                }
            }
            moved |= !self.batch.is_empty();
            self.peers[1 - from].handle_read_batch(&mut self.batch);
            while self.peers[1 - from].poll_event().is_some() {}
        }
        if !moved {
            let next = self
                .peers
                .iter_mut()
                .filter_map(Protocol::poll_timeout)
                .min();
            self.now = self.now.max(next.expect("something is waited for"));
        }
        for peer in &mut self.peers {
            if peer
                .poll_timeout()
                .is_some_and(|deadline| deadline <= self.now)
            {
                peer.handle_timeout(self.now).unwrap();
            }
        }
    }
}

fn bytes_in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}
