//! One published track and those who watch it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rtc::media::{Codec, LayerSwitch};
use rtc::rtp_transceiver::RtpCodecKind;
use rtc_tokio::{LocalTrack, RemoteTrack};

use crate::room::ParticipantId;

/// The names of the layers, the smallest first. What has no name is of the first.
pub(crate) const LAYERS: [&str; 3] = ["l", "m", "h"];

/// A layer by its place in [`LAYERS`].
pub(crate) type Layer = usize;

/// A track that somebody sends, and those who watch it.
pub(crate) struct Published {
    id: u32,
    owner: ParticipantId,
    name: String,
    track: RemoteTrack,
    viewers: Mutex<Vec<Viewer>>,
    layers: [LayerState; LAYERS.len()],
    forwarded: AtomicU64,
}

/// Somebody who watches.
struct Viewer {
    id: ParticipantId,
    track: LocalTrack,
    switch: LayerSwitch<Layer>,
}

/// What is known of a layer.
#[derive(Default)]
struct LayerState {
    /// Bits of the second under way.
    bits: AtomicU64,
    /// Bits of the last whole second.
    bitrate: AtomicU64,
    /// A viewer cannot go on without a key frame.
    key_frame_wanted: AtomicBool,
}

impl Published {
    pub(crate) fn new(id: u32, owner: ParticipantId, name: &str, track: RemoteTrack) -> Self {
        Self {
            id,
            owner,
            name: name.to_owned(),
            track,
            viewers: Mutex::default(),
            layers: Default::default(),
            forwarded: AtomicU64::new(0),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn owner(&self) -> ParticipantId {
        self.owner
    }

    /// The name of its owner.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn kind(&self) -> RtpCodecKind {
        self.track.kind()
    }

    /// The bitrate of each layer in bit/s; 0 for one that is not sent.
    pub(crate) fn bitrates(&self) -> [u64; LAYERS.len()] {
        let bitrate = |layer: &LayerState| layer.bitrate.load(Relaxed);
        self.layers.each_ref().map(bitrate)
    }

    /// Packets that were given to viewers.
    pub(crate) fn forwarded(&self) -> u64 {
        self.forwarded.load(Relaxed)
    }

    /// Somebody watches from now on.
    pub(crate) fn add_viewer(&self, id: ParticipantId, track: LocalTrack) {
        let codec = match self.kind() {
            RtpCodecKind::Audio => Codec::Opus,
            RtpCodecKind::Video => Codec::Vp8,
        };
        let mut switch = LayerSwitch::new(codec);
        switch.set_target(0);
        self.viewers().push(Viewer { id, track, switch });
    }

    pub(crate) fn remove_viewer(&self, id: ParticipantId) {
        self.viewers().retain(|viewer| viewer.id != id);
    }

    /// Chooses what a viewer sees; `None` is nothing.
    pub(crate) fn choose(&self, id: ParticipantId, layer: Option<Layer>) {
        if let Some(viewer) = self.viewers().iter_mut().find(|it| it.id == id) {
            match layer {
                Some(layer) => viewer.switch.set_target(layer),
                None => viewer.switch.pause(),
            }
        }
    }

    /// What a viewer sees.
    pub(crate) fn current(&self, id: ParticipantId) -> Option<Layer> {
        let viewers = self.viewers();
        let viewer = viewers.iter().find(|it| it.id == id)?;
        viewer.switch.current().copied()
    }

    /// A viewer has asked for a key frame.
    pub(crate) fn request_key_frame(&self, id: ParticipantId) {
        let layer = self.current(id).and_then(|layer| self.layers.get(layer));
        if let Some(layer) = layer {
            layer.key_frame_wanted.store(true, Relaxed);
        }
    }

    /// Gives each packet to each viewer, until the track ends. Nothing here waits for a viewer: what one
    /// cannot take in time is dropped at its connection, for it alone.
    pub(crate) async fn forward(&self) {
        let extensions = self.track.extension_map();
        let mut layers = HashMap::new();
        let mut second = Instant::now();
        let mut asked = [None; LAYERS.len()];
        while let Some(packet) = self.track.read_rtp().await {
            let now = Instant::now();
            let ssrc = packet.header.ssrc;
            let layer = *layers.entry(ssrc).or_insert_with(|| self.layer_of(ssrc));
            if let Some(state) = self.layers.get(layer) {
                let bits = packet.encoded_len() as u64 * 8;
                state.bits.fetch_add(bits, Relaxed);
            }
            if now.duration_since(second) >= SECOND {
                second = now;
                for state in &self.layers {
                    let bits = state.bits.swap(0, Relaxed);
                    state.bitrate.store(bits, Relaxed);
                }
            }

            let mut forwarded = 0;
            for viewer in self.viewers().iter_mut() {
                if let Some(packet) = viewer.switch.forward(now, &layer, &packet) {
                    // It fails when the viewer is leaving.
                    let result = viewer.track.try_forward_rtp(packet, &extensions);
                    forwarded += u64::from(result.is_ok());
                }
                let wanted = viewer.switch.wants_key_frame();
                if let Some(state) = wanted.and_then(|&layer| self.layers.get(layer)) {
                    state.key_frame_wanted.store(true, Relaxed);
                }
            }
            self.forwarded.fetch_add(forwarded, Relaxed);
            self.pass_requests(now, &mut asked);
        }
    }

    /// Asks the publisher for the key frames that are wanted, not too often.
    fn pass_requests(&self, now: Instant, asked: &mut [Option<Instant>; LAYERS.len()]) {
        for ((state, asked), name) in self.layers.iter().zip(asked).zip(LAYERS) {
            let is_recent = |at: Instant| now.duration_since(at) < ASK_AGAIN;
            if asked.is_some_and(is_recent) || !state.key_frame_wanted.swap(false, Relaxed) {
                continue;
            }
            *asked = Some(now);
            if !self.track.request_key_frame_of(name) {
                // It has no layers.
                self.track.request_key_frame();
            }
        }
    }

    fn layer_of(&self, ssrc: u32) -> Layer {
        let rid = self.track.rid_of(ssrc);
        let is_it = |name: &&str| rid.as_deref() == Some(*name);
        LAYERS.iter().position(is_it).unwrap_or(0)
    }

    fn viewers(&self) -> MutexGuard<'_, Vec<Viewer>> {
        // Nothing that could panic happens under the lock.
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// How long a request for a key frame may take to be met.
const ASK_AGAIN: Duration = Duration::from_millis(300);
