//! Media echo: the browser's camera and microphone come back to it.
//!
//! ```sh
//! cargo run -p rtc-examples --bin echo
//! ```
//!
//! Open the address that it prints; the page shows both pictures side by side. Packets go back as they
//! come, without decoding. When the browser cannot decode what comes back and asks for a key frame, the
//! wish is passed on to where the video comes from: the same browser.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp_transceiver::RtpCodecKind;
use rtc_examples::{Site, answer, ended, forwarding_engine, peer, session, start_log};
use rtc_tokio::{Error, LocalTrack, PeerConnection, RemoteTrack, TrackFeedback};

/// Sends camera and microphone of a browser back to it.
///
/// The environment variable RUST_LOG chooses what is logged on standard error, for example
/// RUST_LOG=debug.
#[derive(Debug, Parser)]
#[command(name = "echo", max_term_width = 100)]
struct Args {
    /// Address at which the page is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
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
    // They take the sections in which the page sends, and wants to receive.
    let mut backs = Vec::new();
    for (kind, id) in [
        (RtpCodecKind::Audio, "audio"),
        (RtpCodecKind::Video, "video"),
    ] {
        let track = MediaStreamTrack::new("echo", id, "", kind, vec![]);
        backs.push(connection.add_track(track)?);
    }
    answer(connection, offer, |connection| run(connection, backs)).await
}

/// Sends every track back until the page goes.
async fn run(connection: PeerConnection, backs: Vec<LocalTrack>) {
    let mut tracks = connection.tracks();
    while let Some(track) = tracks.next().await {
        let back = backs.iter().find(|it| it.kind() == track.kind());
        if let Some(back) = back {
            tokio::spawn(echo(track, back.clone()));
        }
    }
}

async fn echo(track: RemoteTrack, back: LocalTrack) {
    let extensions = track.extension_map();
    let mut wishes = back.feedback();
    loop {
        tokio::select! {
            packet = track.read_rtp() => match packet {
                // What cannot be sent in time is dropped: it is live.
                Some(packet) => drop(back.forward_rtp(packet, &extensions).await),
                None => return,
            },
            wish = wishes.next() => match wish {
                Some(TrackFeedback::KeyFrameRequest { .. }) => drop(track.request_key_frame()),
                Some(_) => {}
                None => return,
            },
        }
    }
}
