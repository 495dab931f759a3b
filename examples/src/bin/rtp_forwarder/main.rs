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
use std::time::Instant;

use clap::Parser;
use rtc::media::{Codec, LayerSwitch};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp::Packet;
use rtc::rtp::extension::ExtensionMap;
use rtc::rtp_transceiver::RtpCodecKind;
use rtc_examples::{
    PLAYER_JS, Site, VideoCodec, answer, ended, engine_of, gone, peer, say, session, start_log,
};
use rtc_tokio::{Error, LocalTrack, SendError};
use tokio::net::UdpSocket;
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

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    start_log();
    ended(run(args).await)
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let video = Source::bind(args.video, args.video_codec.into()).await?;
    let audio = Source::bind(args.audio, Codec::Opus).await?;
    let sources = [Arc::clone(&video), Arc::clone(&audio)];
    let site = Site::new(include_str!("page.html"), PLAYER_JS).route(
        "/session",
        session(move |offer| watch(offer, sources.clone())),
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
async fn watch(
    offer: RTCSessionDescription,
    sources: [Arc<Source>; 2],
) -> Result<RTCSessionDescription, Error> {
    // The codecs that come in, and no others: packets are sent on as they are.
    let connection = peer(engine_of(&sources.each_ref().map(|source| source.codec))?)?;
    let mut tracks = Vec::new();
    for source in sources {
        let track = connection.add_track(source.track())?;
        tracks.push((source, track));
    }
    answer(connection, offer, |connection| async move {
        for (source, track) in tracks {
            source.add_viewer(track);
        }
        gone(&connection).await;
    })
    .await
}
