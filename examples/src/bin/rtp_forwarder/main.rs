//! Plain RTP in, WebRTC out: what ffmpeg or GStreamer sends to a UDP port is seen by every browser that
//! opens the page.
//!
//! ```sh
//! cargo run -p rtc-examples --bin rtp_forwarder
//! ffmpeg -re -f lavfi -i testsrc=size=640x360:rate=30 -c:v libvpx -deadline realtime -g 60 \
//!     -f rtp 'rtp://127.0.0.1:5004?pkt_size=1200'
//! ```
//!
//! RTP without WebRTC has no way back: nobody can ask the source for a key frame. A viewer's picture
//! begins with the next one, so the source should make them often. When the source is started anew,
//! its SSRC is another one; a [`LayerSwitch`] for each viewer has the new stream go on where the old one
//! ended.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rtc::media::{Codec, LayerSwitch};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp::Packet;
use rtc::rtp::extension::ExtensionMap;
use rtc::rtp_transceiver::RtpCodecKind;
use rtc_examples::{Site, complain, say, session, start_log};
use rtc_tokio::{Error, LocalTrack, PeerConnection, SendError};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tracing::{debug, warn};

/// Forwards RTP from UDP ports to browsers.
///
/// The environment variable RUST_LOG chooses what is logged on standard error, for example
/// RUST_LOG=debug.
#[derive(Debug, Parser)]
#[command(name = "rtp_forwarder", max_term_width = 100)]
struct Args {
    /// Address at which the page is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address at which video comes in, any payload type.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5004")]
    video: SocketAddr,
    /// What the video is.
    #[arg(long, value_enum, default_value_t = VideoCodec::Vp8)]
    video_codec: VideoCodec,
    /// Address at which Opus comes in.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5006")]
    audio: SocketAddr,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VideoCodec {
    Vp8,
    Vp9,
    H264,
    Av1,
}

impl VideoCodec {
    fn codec(self) -> Codec {
        match self {
            Self::Vp8 => Codec::Vp8,
            Self::Vp9 => Codec::Vp9,
            Self::H264 => Codec::H264,
            Self::Av1 => Codec::Av1,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    start_log();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("rtp_forwarder: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let codec = args.video_codec.codec();
    let video = Source::bind(args.video, codec).await?;
    let audio = Source::bind(args.audio, Codec::Opus).await?;
    let sources = [Arc::clone(&video), Arc::clone(&audio)];
    let site = Site::new(include_str!("page.html"), include_str!("page.js")).route(
        "/session",
        session(move |offer| answer(offer, sources.clone())),
    );
    tokio::select! {
        served = site.serve(args.listen) => served?,
        ended = video.forward() => ended?,
        ended = audio.forward() => ended?,
    }
    Ok(())
}

/// A UDP port and those who see what comes in there.
struct Source {
    socket: UdpSocket,
    codec: Codec,
    viewers: Mutex<Vec<Viewer>>,
}

struct Viewer {
    track: LocalTrack,
    /// By SSRC.
    switch: LayerSwitch<u32>,
}

impl Source {
    async fn bind(addr: SocketAddr, codec: Codec) -> std::io::Result<Arc<Self>> {
        let socket = UdpSocket::bind(addr).await?;
        say(&format!(
            "{} is taken at {}",
            codec.mime_type(),
            socket.local_addr()?
        ));
        Ok(Arc::new(Self {
            socket,
            codec,
            viewers: Mutex::default(),
        }))
    }

    /// A track that is made for somebody who opens the page.
    fn track(&self) -> MediaStreamTrack {
        let (kind, id) = match self.codec.is_video() {
            true => (RtpCodecKind::Video, "video"),
            false => (RtpCodecKind::Audio, "audio"),
        };
        MediaStreamTrack::new("source", id, "", kind, vec![])
    }

    fn add_viewer(&self, track: LocalTrack) {
        let switch = LayerSwitch::new(self.codec);
        self.viewers().push(Viewer { track, switch });
    }

    /// Sends what comes in to all, for ever.
    async fn forward(&self) -> std::io::Result<()> {
        let mut datagram = [0; 2048];
        loop {
            let (length, from) = self.socket.recv_from(&mut datagram).await?;
            let received = datagram.get(..length).unwrap_or_default();
            match Packet::parse(received.to_vec()) {
                Ok(packet) => self.send(&packet),
                Err(error) => debug!(%from, %error, "no RTP"),
            }
        }
    }

    fn send(&self, packet: &Packet) {
        let (now, ssrc) = (Instant::now(), packet.header.ssrc);
        self.viewers().retain_mut(|viewer| {
            viewer.switch.set_target(ssrc);
            let Some(packet) = viewer.switch.forward(now, &ssrc, packet) else {
                return true;
            };
            // The source's header extensions were negotiated with nobody.
            match viewer
                .track
                .try_forward_rtp(packet, &ExtensionMap::default())
            {
                Err(SendError::Closed | SendError::DriverLost) => false,
                Err(error) => {
                    warn!(%error, "a packet cannot be sent");
                    true
                }
                Ok(()) => true,
            }
        });
    }

    fn viewers(&self) -> std::sync::MutexGuard<'_, Vec<Viewer>> {
        // Nothing that could panic happens under the lock.
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers an offer to receive.
async fn answer(
    offer: RTCSessionDescription,
    sources: [Arc<Source>; 2],
) -> Result<RTCSessionDescription, Error> {
    let configuration = RTCConfigurationBuilder::new()
        .with_media_engine(media_engine(&sources)?)
        .build();
    // Browsers on this machine may have no other address in common with us.
    let connection = rtc_tokio::builder()
        .with_loopback(true)
        .with_configuration(configuration)
        .build()?;
    let mut tracks = Vec::new();
    for source in sources {
        let track = connection.add_track(source.track())?;
        tracks.push((source, track));
    }
    connection.set_remote_description(offer)?;
    connection.set_local_description(None)?;
    let answer = connection.gathering_complete().await?;
    tokio::spawn(async move {
        if let Ok(Ok(())) = timeout(CONNECT_TIMEOUT, connection.connected()).await {
            for (source, track) in tracks {
                source.add_viewer(track);
            }
            ended(&connection).await;
        }
        // Nobody is left to tell when this fails.
        let _ = connection.close().await;
    });
    Ok(answer)
}

/// The codecs that come in, and no others: packets are sent on as they are.
fn media_engine(sources: &[Arc<Source>]) -> Result<MediaEngine, rtc::Error> {
    let all = MediaEngine::with_defaults();
    let mut engine = MediaEngine::default();
    engine.register_default_header_extensions();
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        let is_wanted = |name: &str| sources.iter().any(|it| it.codec.mime_type() == name);
        let mut wanted = Vec::new();
        for codec in all.codecs(kind) {
            let format = &codec.rtp_codec;
            let repairs = |pt: &u8| format.sdp_fmtp_line == format!("apt={pt}");
            if is_wanted(&format.mime_type) || wanted.iter().any(repairs) {
                wanted.push(codec.payload_type);
                engine.register_codec(codec.clone(), kind)?;
            }
        }
    }
    Ok(engine)
}

/// Ready when the page has gone.
async fn ended(connection: &PeerConnection) {
    use rtc::peer_connection::event::RTCPeerConnectionEvent::OnConnectionStateChangeEvent;
    use rtc::peer_connection::state::RTCPeerConnectionState::{Closed, Failed};
    let mut events = connection.events();
    while let Some(event) = events.next().await {
        if matches!(event, OnConnectionStateChangeEvent(Closed | Failed)) {
            return;
        }
    }
}

/// How long a page may take from its offer to a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
