//! Simulcast: the browser sends its camera in three sizes, and gets back the one that it chooses.
//!
//! ```sh
//! cargo run -p rtc-examples --bin simulcast
//! ```
//!
//! Open the address that it prints. A [`LayerSwitch`] makes one stream of the three layers: it changes
//! over at a key frame, which the program asks the browser for, and the picture goes on without a
//! break. The page chooses, and is told what there is, over a data channel.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use rtc::media::{Codec, LayerSwitch};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp_transceiver::RtpCodecKind;
use rtc_examples::{Site, answer, ended, forwarding_engine, peer, session, start_log};
use rtc_tokio::{DataChannel, Error, LocalTrack, PeerConnection, RemoteTrack, TrackFeedback};
use serde::{Deserialize, Serialize};
use tokio::time::{interval, timeout};

/// Sends the layer of a simulcast back that the page chooses.
///
/// The environment variable RUST_LOG chooses what is logged on standard error, for example
/// RUST_LOG=debug.
#[derive(Debug, Parser)]
#[command(name = "simulcast", max_term_width = 100)]
struct Args {
    /// Address at which the page is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// What the page says over the channel.
#[derive(Debug, Deserialize)]
struct Choice {
    layer: String,
}

/// What it is told each second.
#[derive(Debug, Serialize)]
struct Status<'a> {
    current: Option<&'a str>,
    /// In bit/s, by layer.
    bitrates: &'a BTreeMap<String, u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    start_log();
    let site = Site::new(include_str!("page.html"), include_str!("page.js"));
    let site = site.route("/session", session(serve));
    ended(site.serve(args.listen).await)
}

/// Answers an offer; the connection then lives in a task of its own.
async fn serve(offer: RTCSessionDescription) -> Result<RTCSessionDescription, Error> {
    let connection = peer(forwarding_engine()?)?;
    // It takes the section in which the page wants to receive.
    let back = MediaStreamTrack::new("back", "video", "", RtpCodecKind::Video, vec![]);
    let back = connection.add_track(back)?;
    answer(connection, offer, |connection| async move {
        let wanted = timeout(CONNECT_TIMEOUT, connect(&connection)).await;
        if let Ok(Some((camera, channel))) = wanted {
            run(camera, back, channel).await;
        }
    })
    .await
}

/// The page's camera and its channel.
async fn connect(connection: &PeerConnection) -> Option<(RemoteTrack, DataChannel)> {
    let camera = connection.tracks().next().await?;
    let channel = connection.data_channels().next().await?;
    Some((camera, channel))
}

/// Sends the chosen layer back until the page goes.
async fn run(camera: RemoteTrack, back: LocalTrack, channel: DataChannel) {
    let extensions = camera.extension_map();
    let mut switch = LayerSwitch::new(Codec::Vp8);
    switch.set_target("l".to_owned());
    let mut names = HashMap::new();
    let mut bits = BTreeMap::new();
    let mut wishes = back.feedback();
    let mut second = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            packet = camera.read_rtp() => {
                let Some(packet) = packet else { return };
                let ssrc = packet.header.ssrc;
                let name = names.entry(ssrc).or_insert_with(|| camera.rid_of(ssrc).unwrap_or_default());
                *bits.entry(name.clone()).or_insert(0) += 8 * packet.encoded_len() as u64;
                if let Some(packet) = switch.forward(Instant::now(), name, &packet) {
                    // What cannot be sent in time is dropped: it is live.
                    let _ = back.forward_rtp(packet, &extensions).await;
                }
                if let Some(layer) = switch.wants_key_frame() {
                    // At most one each 200 ms is sent.
                    camera.request_key_frame_of(layer);
                }
            }
            wish = wishes.next() => match (wish, switch.current()) {
                (Some(TrackFeedback::KeyFrameRequest { .. }), Some(layer)) => {
                    camera.request_key_frame_of(layer);
                }
                (Some(_), _) => {}
                (None, _) => return,
            },
            message = channel.recv() => {
                let Some(Ok(message)) = message else { return };
                let choice = message.as_str().map(serde_json::from_str::<Choice>);
                if let Some(Ok(choice)) = choice {
                    switch.set_target(choice.layer);
                }
            }
            _ = second.tick() => {
                let current = switch.current().map(String::as_str);
                let status = Status { current, bitrates: &bits };
                if let Ok(text) = serde_json::to_string(&status) {
                    // A page that does not read can do without.
                    let _ = channel.try_send(text);
                }
                bits.clear();
            }
        }
    }
}

/// How long a page may take from a connection to its camera and its channel.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
