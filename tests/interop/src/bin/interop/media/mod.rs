//! Audio and video: streams from disk go out, what comes in is counted.

mod clip;
mod source;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::thread;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use rtc::rtp_transceiver::RTCRtpTransceiverId;
use rtc_driver::{LocalTrack, PeerConnection, RemoteTrack, Samples, Tracks};
use tokio::sync::{Mutex, mpsc, watch};

use self::source::Source;
use crate::failure::Failure;

/// How often it is looked whether something is to be sent.
const TICK: Duration = Duration::from_millis(5);

/// The audio and video of a connection.
#[derive(Debug)]
pub(crate) struct Media {
    start: mpsc::UnboundedSender<Source>,
    to_start: Mutex<mpsc::UnboundedReceiver<Source>>,
    /// Here from the first moment on: without it, tracks would be among the events.
    tracks: Mutex<Tracks>,
    arrivals: RefCell<BTreeMap<RTCRtpTransceiverId, Arrivals>>,
    clock: watch::Receiver<()>,
}

/// What has come of a track.
#[derive(Debug, Default, Clone)]
pub(crate) struct Arrivals {
    /// Packets that whole frames were made of.
    pub(crate) packets: usize,
    /// Packets that are missing between the frames.
    pub(crate) lost: usize,
    /// Whole frames.
    pub(crate) frames: usize,
    /// Those among them that a decoder can begin with.
    pub(crate) key_frames: usize,
    /// Name of the codec of the last frame.
    pub(crate) codec: String,
    /// Frames of each size, where it is known: in VP8.
    pub(crate) sizes: BTreeMap<(u16, u16), usize>,
    /// What came of each simulcast layer.
    pub(crate) rids: BTreeMap<String, Layer>,
}

/// What has come of a simulcast layer.
#[derive(Debug, Default, Clone)]
pub(crate) struct Layer {
    pub(crate) packets: usize,
    pub(crate) key_frames: usize,
}

impl Media {
    pub(crate) fn new(pc: &PeerConnection) -> Self {
        let (start, to_start) = mpsc::unbounded_channel();
        Self {
            start,
            to_start: Mutex::new(to_start),
            tracks: Mutex::new(pc.tracks()),
            arrivals: RefCell::default(),
            clock: clock(),
        }
    }

    /// Feeds a track from disk from now on, whenever it may send; with names, in so many simulcast
    /// layers.
    pub(crate) fn feed(&self, track: LocalTrack, rids: &[&'static str]) {
        // The receiver is a field of this.
        let _ = self.start.send(Source::new(track, rids));
    }

    /// What has come of a track.
    pub(crate) fn arrivals(&self, id: RTCRtpTransceiverId) -> Arrivals {
        let all = self.arrivals.borrow();
        all.get(&id).cloned().unwrap_or_default()
    }

    /// Waits a moment.
    pub(crate) async fn tick(&self) {
        let mut clock = self.clock.clone();
        clock.mark_unchanged();
        let _ = clock.changed().await;
    }

    /// Sends and receives until the case is over.
    pub(crate) async fn run(&self, pc: &PeerConnection) -> Result<Infallible, Failure> {
        let mut sources = self.to_start.lock().await;
        let mut tracks = self.tracks.lock().await;
        let mut running: FuturesUnordered<LocalBoxFuture<'_, Result<(), Failure>>> =
            FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(source) = sources.recv() => {
                    running.push(Box::pin(source.play(pc, self.clock.clone())));
                }
                Some(track) = tracks.next() => running.push(Box::pin(self.watch(track))),
                Some(ended) = running.next() => ended?,
                else => std::future::pending().await,
            }
        }
    }

    async fn watch(&self, track: RemoteTrack) -> Result<(), Failure> {
        let rids = track.rids();
        if rids.is_empty() {
            return self.count(track.id(), None, track.samples()).await;
        }
        let layers = rids.into_iter().map(|rid| {
            let samples = track.layer(&rid).samples();
            self.count(track.id(), Some(rid), samples)
        });
        let all: FuturesUnordered<_> = layers.collect();
        all.collect::<Vec<_>>().await.into_iter().collect()
    }

    async fn count(
        &self,
        id: RTCRtpTransceiverId,
        rid: Option<String>,
        samples: Samples,
    ) -> Result<(), Failure> {
        // Nobody watches: what is repaired late is repaired, where a busy machine makes the peer wait.
        let mut samples = samples.with_max_delay(Duration::from_secs(2));
        let mut size = None;
        let mut has_begun = false;
        while let Some(sample) = samples.next().await {
            let mut all = self.arrivals.borrow_mut();
            let arrivals = all.entry(id).or_default();
            let packets = usize::from(sample.packets);
            arrivals.packets += packets;
            // What was lost before the first frame cannot have been asked for again.
            if std::mem::replace(&mut has_begun, true) {
                arrivals.lost += usize::try_from(sample.packets_lost).unwrap_or(usize::MAX);
            }
            arrivals.frames += 1;
            arrivals.key_frames += usize::from(sample.key_frame);
            if let Some(codec) = samples.codec() {
                codec.rtp_codec.name().clone_into(&mut arrivals.codec);
            }
            if sample.key_frame && arrivals.codec == "VP8" {
                size = vp8_size(&sample.data);
            }
            if let Some(size) = size {
                *arrivals.sizes.entry(size).or_default() += 1;
            }
            if let Some(rid) = &rid {
                let layer = arrivals.rids.entry(rid.clone()).or_default();
                layer.packets += packets;
                layer.key_frames += usize::from(sample.key_frame);
            }
        }
        Ok(())
    }
}

/// Width and height of a key frame (RFC 6386 section 9.1).
fn vp8_size(frame: &[u8]) -> Option<(u16, u16)> {
    let &[_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = frame else {
        return None;
    };
    // The upper two bits are for scaling.
    let size = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    Some((size(w0, w1), size(h0, h1)))
}

/// Tells every [`TICK`], on whatever runtime.
fn clock() -> watch::Receiver<()> {
    let (sender, receiver) = watch::channel(());
    thread::spawn(move || {
        while sender.send(()).is_ok() {
            thread::sleep(TICK);
        }
    });
    receiver
}
