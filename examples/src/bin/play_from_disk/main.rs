//! Plays files to browsers: video out of IVF (VP8, VP9, AV1) or Annex B (H.264), sound out of Ogg (Opus).
//!
//! ```sh
//! cargo run -p rtc-examples --bin play_from_disk -- --video movie.ivf --audio movie.ogg
//! ```
//!
//! Open the address that it prints. Everybody who does sees the files from their begin, again and again.
//! Nothing is encoded: frames are sent as they are, each when its time has come. A browser that has lost
//! too much asks for a key frame; then it goes on from the last one.

mod timeline;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use rtc::media::Sample;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp_transceiver::RtpCodecKind;
use rtc_examples::{
    PLAYER_JS, Site, answer, complain, ended, engine_of, gone, peer, session, start_log,
};
use rtc_tokio::{Error, LocalTrack, SendError, TrackFeedback};
use tokio::time::sleep_until;

use timeline::Timeline;

/// Plays video and sound from disk to every browser that opens the page.
///
/// The environment variable RUST_LOG chooses what is logged on standard error, for example
/// RUST_LOG=debug.
#[derive(Debug, Parser)]
#[command(name = "play_from_disk", max_term_width = 100)]
struct Args {
    /// Address at which the page is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// An IVF file (.ivf) of VP8, VP9 or AV1, or anything else as H.264 in Annex B form.
    #[arg(long, value_name = "FILE", required_unless_present = "audio")]
    video: Option<PathBuf>,
    /// An Ogg file of Opus.
    #[arg(long, value_name = "FILE")]
    audio: Option<PathBuf>,
    /// Pictures in a second of H.264, which does not say it.
    #[arg(long, default_value_t = 30.0, value_parser = frame_rate)]
    frame_rate: f64,
}

fn frame_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("not a number from 0.1 to 1000".to_owned()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    start_log();
    let picture = Duration::from_secs_f64(1.0 / args.frame_rate);
    let timeline = match Timeline::read(args.video.as_deref(), picture, args.audio.as_deref()) {
        Ok(timeline) => Arc::new(timeline),
        Err(error) => return ended(Err(error)),
    };
    let watch = session(move |offer| watch(offer, Arc::clone(&timeline)));
    let site = Site::new(include_str!("page.html"), PLAYER_JS).route("/session", watch);
    ended(site.serve(args.listen).await)
}

/// Answers an offer to receive.
async fn watch(
    offer: RTCSessionDescription,
    timeline: Arc<Timeline>,
) -> Result<RTCSessionDescription, Error> {
    let connection = peer(engine_of(&timeline.codecs())?)?;
    let add = |kind, id| {
        let track = MediaStreamTrack::new("file", id, "", kind, vec![]);
        connection.add_track(track)
    };
    let tracks = Tracks {
        video: timeline
            .video()
            .map(|_| add(RtpCodecKind::Video, "video"))
            .transpose()?,
        audio: timeline
            .audio()
            .map(|_| add(RtpCodecKind::Audio, "audio"))
            .transpose()?,
    };
    answer(connection, offer, |connection| async move {
        tokio::select! {
            sent = play(&timeline, &tracks) => match sent {
                // Until the page has closed the connection.
                Ok(()) | Err(SendError::Closed) => {}
                Err(error) => complain(&format!("a page is not served: {error}")),
            },
            () = gone(&connection) => {}
        }
    })
    .await
}

struct Tracks {
    video: Option<LocalTrack>,
    audio: Option<LocalTrack>,
}

/// Sends the frames, each at its time, without end.
async fn play(timeline: &Timeline, tracks: &Tracks) -> Result<(), SendError> {
    let mut wishes = tracks.video.as_ref().map(LocalTrack::feedback);
    let mut begin = Instant::now();
    let mut next = 0;
    loop {
        let Some(frame) = timeline.frame(next) else {
            begin += timeline.length();
            next = 0;
            continue;
        };
        // After a sleep of the machine nothing is made up for.
        let now = Instant::now();
        begin = begin.max(now.checked_sub(frame.at + BEHIND).unwrap_or(begin));
        let wish = async {
            match &mut wishes {
                Some(wishes) => wishes.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            wish = wish => match wish {
                Some(TrackFeedback::KeyFrameRequest { .. }) => {
                    next = timeline.key_frame_before(next);
                    let at = timeline.frame(next).map(|frame| frame.at);
                    let now = Instant::now();
                    begin = now.checked_sub(at.unwrap_or_default()).unwrap_or(now);
                }
                Some(_) => {}
                None => return Ok(()),
            },
            () = sleep_until((begin + frame.at).into()) => {
                let track = if frame.is_video { &tracks.video } else { &tracks.audio };
                if let Some(track) = track
                    // A page may want the one and not the other.
                    && track.codec().is_some()
                {
                    let sample = Sample {
                        data: frame.data.clone(),
                        duration: frame.duration,
                        ..Sample::default()
                    };
                    track.write_sample(&sample).await?;
                }
                next += 1;
            }
        }
    }
}

/// How late frames may be.
const BEHIND: Duration = Duration::from_millis(200);
