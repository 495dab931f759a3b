//! Real sockets on loopback: `cargo run --release --features udp --bin peers-udp`.
//!
//! The async crates run on one tokio runtime each, as `#[tokio::main]` makes it; str0m has a thread
//! per peer with the loop of its documentation.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use clap::Parser;
use cpu_time::ProcessTime;
use peers_bench::jobs::LARGE;
use peers_bench::report::{Report, Runner, Runner2, median};
use peers_bench::webrtc_rs::WebrtcRs;
use str0m::change::SdpPendingOffer;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::sync::mpsc;
use webrtc_rs_webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc_rs_webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState,
};

#[derive(Parser)]
struct Options {
    /// Times that every stack has its turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Worker threads of the runtime; 0 runs everything on the main thread.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// KiB that a sender on webrtc-rs may have outstanding.
    #[arg(long, default_value_t = 1024)]
    webrtc_limit: usize,
    /// Only stacks whose name contains this.
    #[arg(long, default_value = "")]
    stack: String,
    /// Only jobs whose name contains this.
    #[arg(long, default_value = "")]
    job: String,
    /// File for the results as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    str0m::crypto::from_feature_flags().install_process_default();
    let runtime = || {
        let mut builder = match options.threads {
            0 => tokio::runtime::Builder::new_current_thread(),
            threads => {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.worker_threads(threads);
                builder
            }
        };
        builder.enable_all().build().expect("a runtime")
    };
    let mut report = Report::new(options.rounds, &options.job, &options.stack);
    let ours =
        || runtime().block_on(async { tokio::spawn(ours_bulk(1024)).await.expect("no panic") });
    let webrtc_rs = || {
        runtime().block_on(async {
            tokio::spawn(webrtc_rs_bulk(256, options.webrtc_limit))
                .await
                .expect("no panic")
        })
    };
    let rustrtc =
        || runtime().block_on(async { tokio::spawn(rustrtc_bulk(256)).await.expect("no panic") });
    let rtc = || {
        let (bytes, cpu, wall) = peers_bench::sockets::bulk::<WebrtcRs>(128);
        figures(bytes, cpu, wall)
    };
    let both: Vec<Runner2<'_>> = vec![
        ("ours", Box::new(ours)),
        ("webrtc", Box::new(webrtc_rs)),
        ("rtc", Box::new(rtc)),
        ("str0m", Box::new(|| str0m_bulk(128))),
        ("rustrtc", Box::new(rustrtc)),
    ];
    report.measure_two(
        [
            "bulk over loopback UDP, CPU",
            "bulk over loopback UDP, rate",
        ],
        ["CPU-s/GB", "MB/s"],
        both,
    );
    let setup: Vec<Runner<'_>> = vec![
        (
            "ours",
            Box::new(|| {
                let runtime = runtime();
                let samples = (0..50).map(|_| {
                    let peers = async { tokio::spawn(ours_peers()).await.expect("no panic") };
                    runtime.block_on(peers).setup.as_secs_f64() * 1e3
                });
                median(&samples.collect::<Vec<_>>())
            }),
        ),
        (
            "webrtc",
            Box::new(|| {
                let runtime = runtime();
                let samples = (0..50).map(|_| {
                    let peers = async {
                        let peers = webrtc_rs_peers(1024).await;
                        peers.a.close().await.expect("closed");
                        peers.b.close().await.expect("closed");
                        peers.setup
                    };
                    let setup = async { tokio::spawn(peers).await.expect("no panic") };
                    runtime.block_on(setup).as_secs_f64() * 1e3
                });
                median(&samples.collect::<Vec<_>>())
            }),
        ),
    ];
    report.measure("set-up over loopback UDP, on tokio", "ms", setup);
    report.finish(options.json.as_deref())
}

/// CPU-seconds of the process per gigabyte (10^9), and megabytes per second of wall-clock time.
fn figures(bytes: usize, cpu: Duration, wall: Duration) -> (f64, f64) {
    (
        cpu.as_secs_f64() * 1e9 / bytes as f64,
        bytes as f64 / 1e6 / wall.as_secs_f64(),
    )
}

struct OursPeers {
    sender: ours_tokio::DataChannel,
    receiver: ours_tokio::DataChannel,
    _peers: [ours_tokio::PeerConnection; 2],
    setup: Duration,
}

async fn ours_peers() -> OursPeers {
    let peer = || {
        let addr = "127.0.0.1:0".parse().expect("an address");
        ours_tokio::builder().bind(addr).build().expect("a peer")
    };
    let (a, b) = (peer(), peer());
    let sender = a.create_data_channel("bench", None).expect("a channel");
    a.set_local_description(None).expect("an offer");
    let offer = a.gathering_complete().await.expect("an offer");
    b.set_remote_description(offer)
        .expect("the offer is accepted");
    let start = Instant::now();
    b.set_local_description(None).expect("an answer");
    let answer = b.gathering_complete().await.expect("an answer");
    a.set_remote_description(answer)
        .expect("the answer is accepted");
    sender.opened().await.expect("the channel opens");
    let receiver = b.data_channels().next().await.expect("a channel");
    receiver.opened().await.expect("the channel opens");
    OursPeers {
        sender,
        receiver,
        _peers: [a, b],
        setup: start.elapsed(),
    }
}

async fn ours_bulk(mebibytes: usize) -> (f64, f64) {
    let peers = ours_peers().await;
    let bytes = mebibytes * 1024 * 1024;
    let (cpu, wall) = (ProcessTime::now(), Instant::now());
    let sender = peers.sender.clone();
    let sending = tokio::spawn(async move {
        let payload = vec![0xa5; LARGE];
        for _ in 0..bytes / LARGE {
            sender
                .send(BytesMut::from(&payload[..]))
                .await
                .expect("the message is taken");
        }
    });
    let mut received = 0;
    while received < bytes {
        let message = peers
            .receiver
            .recv()
            .await
            .expect("the channel is open")
            .expect("a message");
        received += message.data.len();
    }
    let figures = figures(bytes, cpu.elapsed(), wall.elapsed());
    sending.await.expect("no panic");
    figures
}

async fn rustrtc_bulk(mebibytes: usize) -> (f64, f64) {
    use rustrtc::{DataChannelEvent, PeerConnection, PeerConnectionEvent, RtcConfiguration};
    let peer = || {
        let mut configuration = RtcConfiguration::default();
        configuration.bind_ip = Some("127.0.0.1".to_owned());
        PeerConnection::new(configuration)
    };
    let (a, b) = (peer(), peer());
    let sender = a.create_data_channel("bench", None).expect("a channel");
    let offer = a.create_offer().await.expect("an offer");
    a.set_local_description(offer).expect("the offer is set");
    a.wait_for_gathering_complete().await;
    let offer = a.local_description().expect("an offer");
    b.set_remote_description(offer)
        .await
        .expect("the offer is accepted");
    let answer = b.create_answer().await.expect("an answer");
    b.set_local_description(answer).expect("the answer is set");
    b.wait_for_gathering_complete().await;
    let answer = b.local_description().expect("an answer");
    a.set_remote_description(answer)
        .await
        .expect("the answer is accepted");
    let receiver = loop {
        match b.recv().await.expect("the connection lives") {
            PeerConnectionEvent::DataChannel(channel) => break channel,
            PeerConnectionEvent::Track(_) => {}
        }
    };
    while !matches!(
        sender.recv().await.expect("the channel lives"),
        DataChannelEvent::Open
    ) {}
    let bytes = mebibytes * 1024 * 1024;
    let (cpu, wall) = (ProcessTime::now(), Instant::now());
    let (connection, id) = (a.clone(), sender.id);
    let sending = tokio::spawn(async move {
        let payload = vec![0xa5; LARGE];
        for _ in 0..bytes / LARGE {
            connection
                .send_data(id, &payload)
                .await
                .expect("the message is taken");
        }
    });
    let mut received = 0;
    while received < bytes {
        match receiver.recv().await.expect("the channel is open") {
            DataChannelEvent::Message(message) => received += message.len(),
            DataChannelEvent::Close => panic!("the channel closed"),
            _ => {}
        }
    }
    let figures = figures(bytes, cpu.elapsed(), wall.elapsed());
    sending.await.expect("no panic");
    a.close();
    b.close();
    figures
}

struct Handler {
    gathered: mpsc::UnboundedSender<()>,
    channels: mpsc::UnboundedSender<Arc<dyn DataChannel>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send(()).ok();
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        self.channels.send(channel).ok();
    }
}

struct WebrtcRsPeers {
    sender: Arc<dyn DataChannel>,
    receiver: Arc<dyn DataChannel>,
    a: Arc<dyn PeerConnection>,
    b: Arc<dyn PeerConnection>,
    setup: Duration,
}

async fn webrtc_rs_peers(limit: usize) -> WebrtcRsPeers {
    async fn peer(
        channels: mpsc::UnboundedSender<Arc<dyn DataChannel>>,
        limit: usize,
    ) -> (Arc<dyn PeerConnection>, mpsc::UnboundedReceiver<()>) {
        let (gathered, gathering) = mpsc::unbounded_channel();
        let runtime = webrtc_rs_webrtc::runtime::default_runtime().expect("a runtime");
        let peer = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_handler(Arc::new(Handler { gathered, channels }))
            .with_runtime(runtime)
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .with_data_channel_send_buffer_limit(limit * 1024)
            .build()
            .await
            .expect("a peer");
        (Arc::new(peer), gathering)
    }
    let (channels, mut incoming) = mpsc::unbounded_channel();
    let (a, mut gathering_a) = peer(channels.clone(), limit).await;
    let (b, mut gathering_b) = peer(channels, limit).await;
    let sender = a
        .create_data_channel("bench", None)
        .await
        .expect("a channel");
    let offer = a.create_offer(None).await.expect("an offer");
    a.set_local_description(offer)
        .await
        .expect("the offer is set");
    gathering_a.recv().await.expect("gathered");
    let offer = a.local_description().await.expect("an offer");
    b.set_remote_description(offer)
        .await
        .expect("the offer is accepted");
    let answer = b.create_answer(None).await.expect("an answer");
    let start = Instant::now();
    b.set_local_description(answer)
        .await
        .expect("the answer is set");
    gathering_b.recv().await.expect("gathered");
    let answer = b.local_description().await.expect("an answer");
    a.set_remote_description(answer)
        .await
        .expect("the answer is accepted");
    open(&sender).await;
    let receiver = incoming.recv().await.expect("a channel");
    open(&receiver).await;
    WebrtcRsPeers {
        sender,
        receiver,
        a,
        b,
        setup: start.elapsed(),
    }
}

async fn open(channel: &Arc<dyn DataChannel>) {
    while let Some(event) = channel.poll().await {
        if matches!(event, DataChannelEvent::OnOpen) {
            return;
        }
    }
    panic!("the channel does not open");
}

async fn webrtc_rs_bulk(mebibytes: usize, limit: usize) -> (f64, f64) {
    let peers = webrtc_rs_peers(limit).await;
    let bytes = mebibytes * 1024 * 1024;
    let (cpu, wall) = (ProcessTime::now(), Instant::now());
    let sender = Arc::clone(&peers.sender);
    let sending = tokio::spawn(async move {
        let payload = vec![0xa5; LARGE];
        for _ in 0..bytes / LARGE {
            sender
                .send(BytesMut::from(&payload[..]))
                .await
                .expect("the message is taken");
        }
    });
    let mut received = 0;
    while received < bytes {
        match peers.receiver.poll().await.expect("the channel is open") {
            DataChannelEvent::OnMessage(message) => received += message.data.len(),
            DataChannelEvent::OnClose => panic!("the channel closed"),
            _ => {}
        }
    }
    let figures = figures(bytes, cpu.elapsed(), wall.elapsed());
    sending.await.expect("no panic");
    peers.a.close().await.expect("closed");
    peers.b.close().await.expect("closed");
    figures
}

fn str0m_bulk(mebibytes: usize) -> (f64, f64) {
    let bytes = mebibytes * 1024 * 1024;
    let peer = || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let mut rtc = Rtc::new(Instant::now());
        let addr = socket.local_addr().expect("an address");
        rtc.add_local_candidate(Candidate::host(addr, "udp").expect("a candidate"));
        (rtc, socket)
    };
    let ((mut a, a_socket), (mut b, b_socket)) = (peer(), peer());
    let mut change = a.sdp_api();
    change.add_channel("bench".to_owned());
    let (offer, pending): (_, SdpPendingOffer) = change.apply().expect("an offer");
    let answer = b
        .sdp_api()
        .accept_offer(offer)
        .expect("the offer is accepted");
    a.sdp_api()
        .accept_answer(pending, answer)
        .expect("the answer is accepted");
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let (cpu, wall) = (ProcessTime::now(), Instant::now());
    let sending = std::thread::spawn(move || {
        str0m_loop(a, &a_socket, bytes, |_| stop.load(Ordering::Relaxed));
    });
    str0m_loop(b, &b_socket, 0, |received| received >= bytes);
    let figures = figures(bytes, cpu.elapsed(), wall.elapsed());
    done.store(true, Ordering::Relaxed);
    sending.join().expect("no panic");
    figures
}

/// The loop of the documentation, which sends what the channel takes before it waits.
fn str0m_loop(mut rtc: Rtc, socket: &UdpSocket, mut to_send: usize, done: impl Fn(usize) -> bool) {
    let payload = vec![0xa5; LARGE];
    let mut buffer = vec![0; 2000];
    let local = socket.local_addr().expect("an address");
    let mut channel = None;
    let mut received = 0;
    loop {
        let timeout = loop {
            match rtc.poll_output().expect("str0m polls") {
                Output::Timeout(at) => break at,
                Output::Transmit(transmit) => {
                    socket
                        .send_to(&transmit.contents, transmit.destination)
                        .expect("it is sent");
                }
                Output::Event(Event::ChannelOpen(id, _)) => channel = Some(id),
                Output::Event(Event::ChannelData(data)) => received += data.data.len(),
                Output::Event(_) => {}
            }
        };
        if done(received) {
            return;
        }
        if to_send > 0
            && let Some(mut channel) = channel.and_then(|id| rtc.channel(id))
            && channel.write(true, &payload).expect("it is taken")
        {
            to_send -= LARGE;
            continue;
        }
        let wait = timeout.saturating_duration_since(Instant::now());
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(100));
        socket.set_read_timeout(Some(wait)).expect("a timeout");
        let input = match socket.recv_from(&mut buffer) {
            Ok((size, source)) => {
                let Ok(contents) = buffer[..size].try_into() else {
                    continue;
                };
                let receive = Receive {
                    proto: Protocol::Udp,
                    source,
                    destination: local,
                    contents,
                };
                Input::Receive(Instant::now(), receive)
            }
            Err(_) => Input::Timeout(Instant::now()),
        };
        rtc.handle_input(input).expect("str0m takes it");
    }
}
