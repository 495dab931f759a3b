//! The process that publishes and watches.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::media::{Codec, Sample};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp::sequence::SequenceTracker;
use rtc::rtp_transceiver::{
    RTCRtpEncodingParameters, RTCRtpTransceiverDirection, RTCRtpTransceiverInit, RtpCodecKind,
};
use rtc_examples::usage::Usage;
use rtc_tokio::{LocalTrack, PeerConnection, RemoteTrack, TrackFeedback};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{FromClients, ToClients};
use crate::Failure;
use crate::forward::LAYERS;
use crate::participant::{FromPage, ToPage};

/// What the clients received, sent and lost.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ClientsReport {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) frames: u64,
    /// Gaps in the sequence numbers of the viewers that nothing has filled.
    pub(super) missing: u64,
    pub(super) lost_inside: u64,
    pub(super) kernel_drops: u64,
    /// From the publisher through the server to the viewer, in microseconds: median, 99th percentile,
    /// maximum.
    pub(super) latency: [u64; 3],
    pub(super) cpu: Duration,
    pub(super) memory: u64,
    pub(super) memory_peak: u64,
}

/// What a viewer has seen.
struct Seen {
    connection: PeerConnection,
    received: u64,
    missing: u64,
    /// Of each frame, since it was told to measure.
    latencies: Vec<u64>,
}

/// One publisher, the client 0, and so many viewers.
pub(crate) async fn run(viewers: usize) -> Result<(), Failure> {
    let run = Arc::new(Run {
        start: Instant::now(),
        waiting: AtomicUsize::new(viewers),
        stop: watch::Sender::new(false),
    });
    let (mut links, mut doors) = (Vec::new(), Vec::new());
    for client in 0..=viewers {
        let (door, incoming) = mpsc::channel(16);
        doors.push(door);
        links.push(Link { client, incoming });
    }
    let reading = tokio::spawn(read_lines(doors, Arc::clone(&run)));
    let mut links = links.into_iter();
    let publishing = links
        .next()
        .map(|link| tokio::spawn(publish(link, Arc::clone(&run))));
    let mut watching = JoinSet::new();
    for link in links {
        watching.spawn(watch_room(link, Arc::clone(&run)));
    }
    let (before, mut lines) = reading.await??;
    let used = Usage::now();

    let mut report = ClientsReport {
        cpu: used.cpu.saturating_sub(before.cpu),
        memory: used.memory,
        memory_peak: used.memory_peak,
        kernel_drops: used.kernel_drops,
        ..ClientsReport::default()
    };
    let mut connections = Vec::new();
    if let Some(publishing) = publishing {
        let connection = publishing.await??;
        report.sent = connection.with_core(|core| core.counters().media.rtp_sent);
        connections.push(connection);
    }
    let mut latencies = Vec::new();
    while let Some(seen) = watching.join_next().await {
        let seen = seen??;
        report.received += seen.received;
        report.missing += seen.missing;
        latencies.extend(seen.latencies);
        connections.push(seen.connection);
    }
    for connection in &connections {
        report.lost_inside += dropped(connection);
    }
    report.frames = latencies.len() as u64;
    latencies.sort_unstable();
    let at = |percent: usize| {
        latencies.get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1)))
    };
    report.latency = [50, 99, 100].map(|percent| at(percent).copied().unwrap_or(0));
    write(&FromClients::Report(report));
    // The server counts before anybody leaves, and says when it has.
    lines.next_line().await?;
    for connection in connections {
        connection.close().await?;
    }
    Ok(())
}

/// Packets that were lost in a connection, for whatever reason.
pub(super) fn dropped(connection: &PeerConnection) -> u64 {
    let media = connection.with_core(|core| core.counters().media);
    let received = media.dropped_early
        + media.dropped_unexplained
        + media.dropped_payload_type
        + media.dropped_unread;
    received + media.dropped_inactive + media.dropped_unsent + media.dropped_unencryptable
}

/// What all clients share.
struct Run {
    /// Frames carry the time since then.
    start: Instant,
    /// Viewers that do not see the largest layer yet.
    waiting: AtomicUsize,
    stop: watch::Sender<bool>,
}

/// The signalling of one client.
struct Link {
    client: usize,
    incoming: mpsc::Receiver<ToPage>,
}

impl Link {
    fn send(&self, message: FromPage) {
        let client = self.client;
        write(&FromClients::Message { client, message });
    }

    fn join(&self, sends: bool) {
        let name = format!("client {}", self.client);
        self.send(FromPage::Join { name, sends });
    }
}

/// A line for the other process. There is nobody else to complain to if it is gone.
fn write(line: &FromClients) {
    if let Ok(mut line) = serde_json::to_string(line) {
        line.push('\n');
        let _ = std::io::stdout().write_all(line.as_bytes());
    }
}

/// Reads what the server says until it says to stop; gives what was used when all were ready.
async fn read_lines(
    doors: Vec<mpsc::Sender<ToPage>>,
    run: Arc<Run>,
) -> Result<(Usage, Lines<BufReader<Stdin>>), Failure> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut before = None;
    let mut look = interval(Duration::from_millis(20));
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            _ = look.tick(), if before.is_none() => {
                if run.waiting.load(Ordering::Relaxed) == 0 {
                    before = Some(Usage::now());
                    write(&FromClients::Ready);
                }
                continue;
            }
        };
        match serde_json::from_str(&line.ok_or("the server has ended")?)? {
            ToClients::Message { client, message } => {
                if let Some(door) = doors.get(client) {
                    // One that has failed says so itself.
                    let _ = door.send(message).await;
                }
            }
            ToClients::Leave => return Err("sent away too early".into()),
            ToClients::Stop => {
                run.stop.send_replace(true);
                // What is on its way arrives, also what has to be asked for again.
                sleep(DRAIN).await;
                let before = before.ok_or("stopped too early")?;
                return Ok((before, lines));
            }
        }
    }
}

fn connection() -> Result<PeerConnection, rtc_tokio::Error> {
    rtc_tokio::builder()
        .bind(([127, 0, 0, 1], 0).into())
        .build()
}

async fn publish(mut link: Link, run: Arc<Run>) -> Result<PeerConnection, Failure> {
    let connection = connection()?;
    let camera = MediaStreamTrack::new("camera", "video", "", RtpCodecKind::Video, vec![]);
    let init = RTCRtpTransceiverInit {
        direction: RTCRtpTransceiverDirection::Sendonly,
        streams: Vec::new(),
        send_encodings: LAYERS.map(RTCRtpEncodingParameters::with_rid).into(),
    };
    let track = connection
        .add_transceiver_from_track(camera, init)?
        .sender();
    connection.set_local_description(None)?;
    let description = connection.gathering_complete().await?;
    link.join(true);
    link.send(FromPage::Description { description });
    while let Some(message) = link.incoming.recv().await {
        if let ToPage::Description { description, .. } = message {
            connection.set_remote_description(description)?;
            break;
        }
    }
    connection.connected().await?;
    let mut stop = run.stop.subscribe();
    tokio::select! {
        fed = feed(track, run.start) => fed?,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    sleep(DRAIN / 2).await;
    Ok(connection)
}

/// Sends three layers of pictures that look like VP8 to whoever does not decode them.
async fn feed(track: LocalTrack, start: Instant) -> Result<(), Failure> {
    let mut feedback = track.feedback();
    let mut layers = BITRATES.map(|_| true);
    let mut tick = interval(PICTURE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut picture = 0_usize;
    loop {
        tokio::select! {
            wish = feedback.next() => match wish {
                Some(TrackFeedback::KeyFrameRequest { rid, .. }) => {
                    for (wanted, name) in layers.iter_mut().zip(LAYERS) {
                        *wanted |= rid.as_deref().is_none_or(|rid| rid == name);
                    }
                }
                Some(_) => {}
                None => return Ok(()),
            },
            _ = tick.tick() => {
                picture += 1;
                for (at, name) in LAYERS.into_iter().enumerate() {
                    let (Some(is_key), Some(&bitrate)) = (layers.get_mut(at), BITRATES.get(at)) else {
                        continue;
                    };
                    let data = frame(bitrate, std::mem::take(is_key), picture, start.elapsed());
                    let sample = Sample { data, duration: PICTURE, ..Sample::default() };
                    track.write_sample_layer(name, &sample).await?;
                }
            }
        }
    }
}

/// A frame whose last bytes are the time.
fn frame(bitrate: usize, is_key: bool, picture: usize, time: Duration) -> Bytes {
    let usual = bitrate / 8 / PICTURES;
    // Sizes vary by a third, and key frames have several times as much.
    let varied = usual * (67 + picture * 29 % 67) / 100;
    let size = if is_key { usual * 6 } else { varied };
    let begin: &[u8] = match is_key {
        true => &[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02],
        false => &[0x11, 0, 0],
    };
    let mut data = begin.to_vec();
    data.resize(size.max(begin.len()), picture as u8);
    data.extend_from_slice(&(time.as_micros() as u64).to_be_bytes());
    data.into()
}

async fn watch_room(mut link: Link, run: Arc<Run>) -> Result<Seen, Failure> {
    let connection = connection()?;
    link.join(false);
    let (done, mut seen) = oneshot::channel();
    let mut done = Some(done);
    let mut tracks = connection.tracks();
    loop {
        tokio::select! {
            message = link.incoming.recv() => {
                if let Some(ToPage::Description { description, .. }) = message {
                    connection.set_remote_description(description)?;
                    connection.set_local_description(None)?;
                    let description = connection.gathering_complete().await?;
                    link.send(FromPage::Description { description });
                }
            }
            Some(track) = tracks.next() => if let Some(done) = done.take() {
                tokio::spawn(view(connection.clone(), track, Arc::clone(&run), done));
            },
            seen = &mut seen => return Ok(seen?),
        }
    }
}

/// Counts what comes of a track.
async fn view(
    connection: PeerConnection,
    track: RemoteTrack,
    run: Arc<Run>,
    done: oneshot::Sender<Seen>,
) {
    let mut stop = run.stop.subscribe();
    let mut sequence = SequenceTracker::new();
    let (mut latencies, mut frame_size, mut is_ready) = (Vec::new(), 0, false);
    let read = async {
        while let Some(packet) = track.read_rtp().await {
            sequence.receive(packet.header.sequence_number);
            frame_size += packet.payload.len();
            if !packet.header.marker {
                continue;
            }
            // What is as large is of the largest layer.
            if !is_ready && frame_size > READY_SIZE && !Codec::Vp8.is_key_frame(&packet.payload) {
                is_ready = true;
                run.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            frame_size = 0;
            if let Some(time) = packet.payload.last_chunk().filter(|_| is_ready) {
                let now = run.start.elapsed().as_micros() as u64;
                latencies.push(now.saturating_sub(u64::from_be_bytes(*time)));
            }
        }
    };
    let stopped = async {
        let _ = stop.wait_for(|stop| *stop).await;
        sleep(DRAIN).await;
    };
    tokio::select! {
        () = read => {}
        () = stopped => {}
    }
    let missing = u64::try_from(sequence.lost()).unwrap_or(0);
    let received = sequence.received();
    let _ = done.send(Seen {
        connection,
        received,
        missing,
        latencies,
    });
}

/// Bit/s of the layers.
const BITRATES: [usize; LAYERS.len()] = [150_000, 500_000, 1_500_000];

const PICTURES: usize = 30;

const PICTURE: Duration = Duration::from_nanos(33_333_333);

/// Frames of more bytes are of the largest layer, or key frames.
const READY_SIZE: usize = 3500;

/// How long after the last packet was sent all have arrived.
const DRAIN: Duration = Duration::from_millis(1500);
