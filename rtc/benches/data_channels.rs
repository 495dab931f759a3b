//! Two connections in memory, both on one thread: bulk, small messages, and setting up.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark fails by panicking and measures real time"
)]

use std::hint::black_box;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rtc::crypto::{Certificate, CertificateParams, default_provider};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::sansio::Protocol;
use rtc::shared::{Rng, TaggedBytesMut, TransportContext, TransportProtocol};

struct Peer {
    connection: RTCPeerConnection,
    channel: Option<u16>,
}

/// Two peers and what a network between them would hold.
struct Pair {
    a: Peer,
    b: Peer,
    buffer: Vec<u8>,
    batch: Vec<TaggedBytesMut>,
}

impl Pair {
    /// Both with their descriptions, nothing sent yet.
    fn negotiated(certificates: &[Certificate; 2]) -> Self {
        let [mut a, mut b] = [(0, 1000), (1, 2000)].map(|(side, port)| {
            let certificate = certificates.get(side).unwrap().clone();
            let configuration = RTCConfigurationBuilder::new()
                .with_certificates(vec![certificate])
                .build();
            let mut connection = RTCPeerConnection::new(configuration).unwrap();
            let addr = ([127, 0, 0, 1], port).into();
            connection
                .add_local_interface(addr, TransportProtocol::UDP)
                .unwrap();
            Peer {
                connection,
                channel: None,
            }
        });
        a.connection.create_data_channel("bench", None).unwrap();
        a.connection.set_local_description_implicit().unwrap();
        let offer = a.connection.local_description().unwrap();
        b.connection.set_remote_description(offer).unwrap();
        b.connection.set_local_description_implicit().unwrap();
        let answer = b.connection.local_description().unwrap();
        a.connection.set_remote_description(answer).unwrap();
        Self {
            a,
            b,
            buffer: Vec::new(),
            batch: Vec::new(),
        }
    }

    fn connect(&mut self) {
        while self.a.channel.is_none() || self.b.channel.is_none() {
            self.turn();
        }
    }

    /// Each side sends what it has and takes what the other one sent.
    fn turn(&mut self) {
        let now = Instant::now();
        let Self {
            a,
            b,
            buffer,
            batch,
        } = self;
        for from_a in [true, false] {
            let (from, to) = if from_a {
                (&mut *a, &mut *b)
            } else {
                (&mut *b, &mut *a)
            };
            if from
                .connection
                .poll_timeout()
                .is_some_and(|deadline| deadline <= now)
            {
                from.connection.handle_timeout(now).unwrap();
            }
            while let Some(transmit) = from.connection.poll_transmit(now, 16, buffer) {
                let segment = transmit.segment_size.unwrap_or(transmit.size);
                let mut bytes = BytesMut::from(&buffer[..]);
                buffer.clear();
                while !bytes.is_empty() {
                    let message = bytes.split_to(segment.min(bytes.len()));
                    let transport = TransportContext {
                        local_addr: transmit.transport.peer_addr,
                        peer_addr: transmit.transport.local_addr,
                        ..transmit.transport
                    };
                    batch.push(TaggedBytesMut {
                        now,
                        transport,
                        message,
                    });
                }
                to.connection.handle_read_batch(batch);
            }
            while let Some(event) = from.connection.poll_event() {
                if let RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) =
                    event
                {
                    from.channel = Some(id);
                }
            }
        }
    }

    /// Sends `count` messages from A to B and waits until B has read them.
    fn transfer(&mut self, payload: &[u8], count: usize) {
        let id = self.a.channel.unwrap();
        let (mut sent, mut received) = (0, 0);
        while received < count {
            let mut channel = self.a.connection.data_channel(id).unwrap();
            while sent < count && channel.buffered_amount() < 256 * 1024 {
                channel.send(BytesMut::from(payload)).unwrap();
                sent += 1;
            }
            self.turn();
            while let Some(message) = self.b.connection.poll_read() {
                black_box(message);
                received += 1;
            }
        }
    }
}

fn certificates() -> [Certificate; 2] {
    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    [1, 2].map(|seed| {
        let params = CertificateParams::new(unix_time);
        Certificate::generate(default_provider(), &params, &mut Rng::from_seed([seed; 32])).unwrap()
    })
}

fn messages(criterion: &mut Criterion) {
    let certificates = certificates();
    for (name, size, count) in [
        ("bulk, 16 KiB messages", 16 * 1024, 256),
        ("64-byte messages", 64, 4096),
    ] {
        let mut pair = Pair::negotiated(&certificates);
        pair.connect();
        let payload = vec![7; size];
        let mut group = criterion.benchmark_group(name);
        group.throughput(if size > 1024 {
            Throughput::Bytes((size * count) as u64)
        } else {
            Throughput::Elements(count as u64)
        });
        group.bench_function("one way", |bencher| {
            bencher.iter(|| pair.transfer(&payload, count));
        });
        group.finish();
    }
}

fn handshake(criterion: &mut Criterion) {
    let certificates = certificates();
    criterion.bench_function("handshake pair", |bencher| {
        bencher.iter(|| Pair::negotiated(&certificates).connect());
    });
}

criterion_group!(benches, messages, handshake);
criterion_main!(benches);
