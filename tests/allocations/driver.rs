//! What the driver allocates beside its core: nothing, once it is warm.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::RTCEvent;
use rtc::rtp::Packet;
use rtc::rtp_transceiver::RtpCodecKind;
use rtc::shared::{TaggedBytesMut, Transmit, TransportContext};
use rtc_driver::test::{Link, World};
use rtc_driver::{
    Core, DataChannel, DatagramSocket, PeerConnection, Progress, Pump, RecvMeta, SendBatch,
};

use crate::allocations;

/// A socket that always has as many datagrams as it is told, and room.
struct Source {
    /// Datagrams in each buffer, and buffers in each call.
    datagrams: usize,
    buffers: usize,
    /// Calls that still bring something.
    calls: usize,
}

impl DatagramSocket for Source {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(HERE.parse().unwrap())
    }

    fn poll_recv(
        &mut self,
        _: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.calls == 0 {
            return Poll::Pending;
        }
        self.calls -= 1;
        let count = self.buffers.min(bufs.len());
        for meta in &mut meta[..count] {
            *meta = RecvMeta {
                peer: THERE.parse().unwrap(),
                len: self.datagrams * SIZE,
                stride: SIZE,
                ..RecvMeta::default()
            };
        }
        Poll::Ready(Ok(count))
    }

    fn poll_send(&mut self, _: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        assert!(!batch.contents.is_empty());
        Poll::Ready(Ok(()))
    }

    fn max_send_segments(&self) -> usize {
        64
    }
}

/// Drops what comes, and has datagrams to send.
#[derive(Default)]
struct Sink {
    received: usize,
    to_send: usize,
}

impl Core for Sink {
    fn handle_read_batch(&mut self, batch: &mut Vec<TaggedBytesMut>) {
        self.received += batch.len();
        batch.clear();
    }

    fn poll_transmit(&mut self, _: Instant, max: usize, buf: &mut Vec<u8>) -> Option<Transmit> {
        let count = max.min(self.to_send);
        if count == 0 {
            return None;
        }
        self.to_send -= count;
        buf.resize(buf.len() + count * SIZE, 7);
        Some(Transmit {
            transport: TransportContext {
                local_addr: HERE.parse().unwrap(),
                peer_addr: THERE.parse().unwrap(),
                ..TransportContext::default()
            },
            size: count * SIZE,
            segment_size: (count > 1).then_some(SIZE),
        })
    }

    fn handle_event(&mut self, _: RTCEvent) {}

    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant) {}
}

/// The pump alone: what receive calls cost by the datagrams that they bring, and what sending costs.
pub(crate) fn measure_pump() {
    let now = Instant::now();
    let mut cx = Context::from_waker(Waker::noop());
    let mut drive = |pump: &mut Pump<Source>, core: &mut Sink| {
        while pump.drive(&mut cx, now, core) == Progress::MoreWork {}
    };
    // Buffers of a call and datagrams in each.
    for (buffers, datagrams) in [(1, 1), (1, 2), (1, 40), (16, 4), (3, 64)] {
        let socket = Source {
            datagrams,
            buffers,
            calls: 100,
        };
        let mut pump = Pump::new([socket]).unwrap();
        let mut core = Sink::default();
        drive(&mut pump, &mut core);
        pump.sockets_mut().next().unwrap().calls = 1_000;
        let before = allocations();
        drive(&mut pump, &mut core);
        let count = buffers * datagrams;
        let made = allocations() - before;
        println!("1000 receive calls with {count} datagrams: {made} allocations");
        // The test harness has a thread of its own that may allocate meanwhile.
        assert!(made < HARNESS, "receiving allocates");
        assert_eq!(core.received, 1_100 * count);
    }

    let socket = Source {
        datagrams: 0,
        buffers: 0,
        calls: 0,
    };
    let mut pump = Pump::new([socket]).unwrap();
    let mut core = Sink {
        to_send: 1_000,
        ..Sink::default()
    };
    drive(&mut pump, &mut core);
    core.to_send = 100_000;
    let before = allocations();
    drive(&mut pump, &mut core);
    assert!(allocations() - before < HARNESS, "sending allocates");
    assert_eq!(pump.counters().datagrams_sent, 101_000);
}

/// Drivers and handles on the virtual runtime, which allocates nothing itself once it is warm.
pub(crate) fn measure_driver() {
    let world = World::new(1);
    world.set_default_link(Link::new(Duration::from_millis(1)));
    let hosts = [world.host(["192.0.2.1"]), world.host(["192.0.2.2"])];
    let peers = [0, 1].map(|index| hosts[index].builder().build().unwrap());
    let (here, there) = world.run(open(&peers));
    let mut arena = BytesMut::new();
    // Each message is waited for before the next, so that every datagram is a receive call, a wake-up
    // and a turn of a driver.
    let mut transfer = |size: usize, count: usize| {
        world.run(async {
            for _ in 0..count {
                if arena.capacity() < size {
                    arena.reserve(1 << 20);
                }
                arena.resize(size, 7);
                here.send(arena.split()).await.unwrap();
                let received = there.recv().await.unwrap().unwrap();
                assert_eq!(received.data.len(), size);
            }
        });
    };
    for size in [64, 16 * 1024] {
        transfer(size, 3_000);
        let before = (allocations(), world.traffic().received);
        transfer(size, 10_000);
        let each = (allocations() - before.0) as f64 / 10_000.0;
        let datagrams = (world.traffic().received - before.1) as f64 / 10_000.0;
        println!("{size} bytes: {each:.3} allocations per message of {datagrams:.1} datagrams");
        // The memory of the message, which the reader keeps, and the event that nothing waits to be
        // sent any more.
        assert!(each < 2.1, "{each} allocations per message of {size} bytes");
    }

    world.run_for(Duration::from_secs(60));
    let before = (allocations(), world.traffic().received);
    world.run_for(Duration::from_secs(3_600));
    let each = (allocations() - before.0) as f64 / (world.traffic().received - before.1) as f64;
    println!("silence: {each:.3} allocations per datagram");
    // Requests and answers of ICE, which are made one by one.
    assert!(each < 2.0, "{each} allocations per datagram of silence");
}

/// Tracks on the virtual runtime: one packet after the other, and frames.
pub(crate) fn measure_tracks() {
    let world = World::new(1);
    world.set_default_link(Link::new(Duration::from_millis(1)));
    let hosts = [world.host(["192.0.2.1"]), world.host(["192.0.2.2"])];
    let peers = [0, 1].map(|index| hosts[index].builder().build().unwrap());
    let track = MediaStreamTrack::new("stream", "camera", "", RtpCodecKind::Video, vec![]);
    let here = peers[0].add_track(track).unwrap();
    world.run(open(&peers));
    let there = world.run(peers[1].tracks().next()).unwrap();
    let payload = Bytes::from(vec![7; SIZE]);
    let mut number = 0_u16;
    // Frames of twenty packets, each a millisecond after the one before.
    let mut transfer = |frames: usize| {
        world.run(async {
            for _ in 0..frames {
                for _ in 0..FRAME {
                    let mut packet = Packet::default();
                    packet.header.sequence_number = number;
                    packet.payload = payload.clone();
                    number = number.wrapping_add(1);
                    here.write_rtp(packet).await.unwrap();
                }
                for _ in 0..FRAME {
                    let received = there.read_rtp().await.unwrap();
                    assert_eq!(received.payload.len(), SIZE);
                }
            }
        });
    };
    transfer(2_000);
    let before = allocations();
    transfer(2_000);
    let each = (allocations() - before) as f64 / (2_000 * FRAME) as f64;
    println!("{each:.4} allocations per packet");
    // Reports and feedback, of which there is some for a thousand packets.
    assert!(each < 0.02, "{each} allocations per packet");
}

/// Packets of a frame.
const FRAME: usize = 20;

async fn open([alice, bob]: &[PeerConnection; 2]) -> (DataChannel, DataChannel) {
    let here = alice.create_data_channel("count", None).unwrap();
    alice.set_local_description(None).unwrap();
    bob.set_remote_description(alice.gathering_complete().await.unwrap())
        .unwrap();
    bob.set_local_description(None).unwrap();
    alice
        .set_remote_description(bob.gathering_complete().await.unwrap())
        .unwrap();
    let there = bob.data_channels().next().await.unwrap();
    here.opened().await.unwrap();
    (here, there)
}

const HERE: &str = "192.0.2.1:1";
const THERE: &str = "192.0.2.2:2";
const SIZE: usize = 1_000;

/// What others may allocate during a measurement.
const HARNESS: usize = 50;
