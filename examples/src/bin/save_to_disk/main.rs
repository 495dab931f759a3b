//! Records browsers: video into IVF (VP8, VP9, AV1) or Annex B (H.264), sound into Ogg (Opus).
//!
//! ```sh
//! cargo run -p rtc-examples --bin save_to_disk -- --folder recordings
//! ```
//!
//! Open the address that it prints; the page sends camera and microphone until the recording is stopped
//! there. Nothing is decoded: packets are put together to frames, and frames are written. Video begins
//! with a key frame, and goes on with one after a loss that could not be repaired.

mod recording;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use rtc::media::{Codec, FileError, Sample};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc_examples::{
    Site, VideoCodec, answer, complain, ended, engine_of, peer, say, session, start_log,
};
use rtc_tokio::{DataChannel, Error, PeerConnection, RemoteTrack};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use recording::{Recording, Summary};

/// Writes camera and microphone of browsers to disk.
///
/// The environment variable RUST_LOG chooses what is logged on standard error, for example
/// RUST_LOG=debug.
#[derive(Debug, Parser)]
#[command(name = "save_to_disk", max_term_width = 100)]
struct Args {
    /// Address at which the page is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the files are written; made if it does not exist.
    #[arg(long, default_value = "recordings")]
    folder: PathBuf,
    /// How the browser is to encode video.
    #[arg(long, value_enum, default_value_t = VideoCodec::Vp8)]
    video_codec: VideoCodec,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    start_log();
    if let Err(error) = std::fs::create_dir_all(&args.folder) {
        return ended(Err(format!("{}: {error}", args.folder.display())));
    }
    let folder: Arc<Path> = args.folder.into();
    let codec = args.video_codec.into();
    let record = session(move |offer| record(offer, codec, Arc::clone(&folder)));
    let site = Site::new(include_str!("page.html"), include_str!("page.js"));
    ended(site.route("/session", record).serve(args.listen).await)
}

/// Answers an offer to send.
async fn record(
    offer: RTCSessionDescription,
    codec: Codec,
    folder: Arc<Path>,
) -> Result<RTCSessionDescription, Error> {
    let connection = peer(engine_of(&[codec, Codec::Opus])?)?;
    answer(connection, offer, |connection| async move {
        match timeout(CHANNEL_TIMEOUT, connection.data_channels().next()).await {
            Ok(Some(channel)) => run(&connection, &channel, &folder).await,
            Ok(None) | Err(_) => complain("a page has opened no channel"),
        }
    })
    .await
}

/// Writes every track until the page stops or goes, and tells it each second what is written.
async fn run(connection: &PeerConnection, channel: &DataChannel, folder: &Path) {
    let begin = Instant::now();
    let (frame, mut frames) = mpsc::channel(QUEUE);
    let mut tracks = connection.tracks();
    let mut recordings: Vec<Recording> = Vec::new();
    let mut second = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            track = tracks.next() => match track {
                Some(track) => drop(tokio::spawn(read(track, frame.clone()))),
                None => break,
            },
            Some((codec, sample)) = frames.recv() => {
                if let Err(error) = write(&mut recordings, codec, &sample, begin, folder) {
                    complain(&format!("cannot write: {error}"));
                    break;
                }
            }
            message = channel.recv() => match message {
                // The page has one thing to say: that it stops.
                Some(Ok(_)) | None => break,
                Some(Err(_)) => {}
            },
            _ = second.tick() => tell(channel, &recordings),
        }
    }
    for recording in recordings {
        match recording.finish() {
            Ok(Summary {
                path,
                seconds,
                frames,
                ..
            }) => {
                say(&format!("Wrote {path}: {frames} frames, {seconds:.1} s"));
            }
            Err(error) => complain(&format!("cannot write: {error}")),
        }
    }
}

/// Frames of a track, put together.
async fn read(track: RemoteTrack, frames: mpsc::Sender<(Codec, Sample)>) {
    let mut samples = track.samples();
    while let Some(sample) = samples.next().await {
        let mime_type = samples.codec().map(|codec| &codec.rtp_codec.mime_type);
        let codec = mime_type.and_then(|it| Codec::from_mime_type(it));
        if let Some(codec) = codec
            && frames.send((codec, sample)).await.is_err()
        {
            return;
        }
    }
}

/// Writes a frame to the file of its codec, which the first one begins.
fn write(
    recordings: &mut Vec<Recording>,
    codec: Codec,
    sample: &Sample,
    begin: Instant,
    folder: &Path,
) -> Result<(), FileError> {
    let recording = match recordings.iter_mut().find(|it| it.codec() == codec) {
        Some(recording) => recording,
        None => {
            let received = sample.received.unwrap_or(begin);
            let offset = received.saturating_duration_since(begin);
            recordings.push(Recording::begin(folder, codec, sample, offset)?);
            match recordings.last_mut() {
                Some(recording) => recording,
                None => return Ok(()),
            }
        }
    };
    recording.write(sample)
}

fn tell(channel: &DataChannel, recordings: &[Recording]) {
    let summaries: Vec<Summary> = recordings.iter().map(Recording::summary).collect();
    if let Ok(text) = serde_json::to_string(&summaries) {
        // A page that does not read can do without.
        let _ = channel.try_send(text);
    }
}

/// How long a page may take from a connection to its channel.
const CHANNEL_TIMEOUT: Duration = Duration::from_secs(30);

/// Frames that wait to be written.
const QUEUE: usize = 64;
