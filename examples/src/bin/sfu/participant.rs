//! One browser: negotiation, what it sees, and which layer of it.
//!
//! A browser makes the first offer, for what it publishes. All others are made here, one at a
//! time, when something to watch comes or goes, so that offers never meet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCRtpSenderEvent};
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit, RtpCodecKind};
use rtc_tokio::{Error, PeerConnection, RtpTransceiver};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::forward::{LAYERS, Layer, Published};
use crate::room::{ParticipantId, Room};

/// What a page says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum FromPage {
    /// The first message. Who sends something makes the first offer, who only watches makes none.
    Join { name: String, sends: bool },
    /// The first offer, or an answer.
    Description { description: RTCSessionDescription },
    /// The layer that it wants of a track.
    Layer { mid: String, choice: Choice },
}

/// What a page is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ToPage {
    /// An offer, or the answer to the first one, and what the tracks in it are.
    Description {
        description: RTCSessionDescription,
        tracks: Vec<TrackInfo>,
    },
    /// What comes of each track of video at present.
    Status { tracks: Vec<TrackStatus> },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrackInfo {
    pub(crate) mid: String,
    owner: ParticipantId,
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrackStatus {
    mid: String,
    choice: Choice,
    current: Option<String>,
    /// In bit/s, of each layer that is there.
    bitrates: BTreeMap<String, u64>,
}

/// What a viewer wants of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Choice {
    /// The largest layer that the network has room for.
    Auto,
    H,
    M,
    L,
    Off,
}

/// Somebody in the room.
struct Participant {
    id: ParticipantId,
    name: String,
    room: Arc<Room>,
    connection: PeerConnection,
    outgoing: mpsc::Sender<ToPage>,
    /// What it watches, by what is published.
    views: BTreeMap<u32, View>,
    /// The browser's first offer has not come, or one of ours has not been answered.
    is_negotiating: bool,
    /// What reaches the browser, as it estimates, in bit/s.
    limit: Option<u64>,
}

/// A published track on its way to one browser.
struct View {
    published: Arc<Published>,
    transceiver: RtpTransceiver,
    choice: Choice,
    /// Packets are on their way.
    has_begun: bool,
}

/// Serves a page until it goes.
pub(crate) async fn run(
    room: Arc<Room>,
    mut incoming: mpsc::Receiver<FromPage>,
    outgoing: mpsc::Sender<ToPage>,
) -> Result<(), Error> {
    let Some(FromPage::Join { name, sends }) = incoming.recv().await else {
        return Ok(());
    };
    let (id, connection) = room.enter()?;
    let mut participant = Participant {
        id,
        name: name.chars().take(MAX_NAME).collect(),
        room,
        connection,
        outgoing,
        views: BTreeMap::new(),
        is_negotiating: sends,
        limit: None,
    };
    let result = participant.stay(&mut incoming).await;
    participant.leave().await;
    result
}

impl Participant {
    async fn stay(&mut self, incoming: &mut mpsc::Receiver<FromPage>) -> Result<(), Error> {
        let mut published = self.room.published();
        published.mark_changed();
        let mut tracks = self.connection.tracks();
        let mut events = self.connection.events();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = incoming.recv() => match message {
                    Some(message) => self.on_message(message).await?,
                    None => return Ok(()),
                },
                _ = published.changed(), if !self.is_negotiating => {
                    let all = published.borrow_and_update().clone();
                    self.follow(all).await?;
                }
                Some(track) = tracks.next() => self.room.publish(self.id, &self.name, track),
                event = events.next() => match event {
                    Some(event) => if self.has_ended_after(event) { return Ok(()) },
                    None => return Ok(()),
                },
                _ = tick.tick() => self.report(),
            }
        }
    }

    async fn on_message(&mut self, message: FromPage) -> Result<(), Error> {
        match message {
            FromPage::Join { .. } => {}
            FromPage::Description { description } => {
                let is_offer = description.sdp_type == RTCSdpType::Offer;
                self.connection.set_remote_description(description)?;
                if is_offer {
                    self.connection.set_local_description(None)?;
                    self.send_description().await?;
                }
                self.is_negotiating = false;
                self.begin_views();
            }
            FromPage::Layer { mid, choice } => {
                let is_it = |view: &&mut View| view.transceiver.mid().as_ref() == Some(&mid);
                if let Some(view) = self.views.values_mut().find(is_it) {
                    view.choice = choice;
                }
                self.choose_layers();
            }
        }
        Ok(())
    }

    /// Sends what others publish, and no more what has gone.
    async fn follow(&mut self, all: Vec<Arc<Published>>) -> Result<(), Error> {
        let gone = |id: &u32, _: &mut View| !all.iter().any(|it| it.id() == *id);
        let gone: Vec<_> = self.views.extract_if(.., gone).collect();
        for (_, view) in &gone {
            // Its m-section can be used again.
            view.transceiver.stop()?;
        }
        let mut is_changed = !gone.is_empty();
        for published in all {
            if published.owner() == self.id || self.views.contains_key(&published.id()) {
                continue;
            }
            let (stream, track) = (published.owner().to_string(), published.id().to_string());
            let track = MediaStreamTrack::new(stream, track, "", published.kind(), vec![]);
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Sendonly,
                ..RTCRtpTransceiverInit::default()
            };
            let transceiver = self.connection.add_transceiver_from_track(track, init)?;
            let view = View {
                published: Arc::clone(&published),
                transceiver,
                choice: Choice::Auto,
                has_begun: false,
            };
            self.views.insert(published.id(), view);
            is_changed = true;
        }
        if is_changed {
            self.is_negotiating = true;
            self.connection.set_local_description(None)?;
            self.send_description().await?;
        }
        Ok(())
    }

    /// Begins to send what the browser has agreed to see, once there is a way to it: key frames that come
    /// too early would have to be sent again.
    fn begin_views(&mut self) {
        if self.is_negotiating
            || self.connection.connection_state() != RTCPeerConnectionState::Connected
        {
            return;
        }
        for view in self.views.values_mut().filter(|view| !view.has_begun) {
            view.has_begun = true;
            view.published
                .add_viewer(self.id, view.transceiver.sender());
        }
        self.choose_layers();
    }

    async fn send_description(&self) -> Result<(), Error> {
        let description = self.connection.gathering_complete().await?;
        let info = |view: &View| {
            Some(TrackInfo {
                mid: view.transceiver.mid()?,
                owner: view.published.owner(),
                name: view.published.name().to_owned(),
            })
        };
        let tracks = self.views.values().filter_map(info).collect();
        let message = ToPage::Description {
            description,
            tracks,
        };
        // A page that is gone is noticed where its messages are read.
        let _ = self.outgoing.send(message).await;
        Ok(())
    }

    /// True when the connection is over.
    fn has_ended_after(&mut self, event: RTCPeerConnectionEvent) -> bool {
        use RTCPeerConnectionEvent::{OnConnectionStateChangeEvent, OnRtpSender};
        match event {
            OnConnectionStateChangeEvent(state) => {
                self.begin_views();
                matches!(
                    state,
                    RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed
                )
            }
            OnRtpSender(RTCRtpSenderEvent::OnKeyFrameRequest { sender_id, .. }) => {
                let id = sender_id.transceiver_id();
                let mut views = self.views.values();
                if let Some(view) = views.find(|view| view.transceiver.id() == id) {
                    view.published.request_key_frame(self.id);
                }
                false
            }
            OnRtpSender(RTCRtpSenderEvent::OnMaxBitrate { bitrate, .. }) => {
                self.limit = Some(bitrate);
                false
            }
            _ => false,
        }
    }

    /// Looks which layers there are and have room, and tells the page.
    fn report(&mut self) {
        self.choose_layers();
        let video = self.video();
        let status = |view: &View| {
            let bitrates = LAYERS.into_iter().zip(view.published.bitrates());
            let current = view.published.current(self.id);
            Some(TrackStatus {
                mid: view.transceiver.mid()?,
                choice: view.choice,
                current: current
                    .and_then(|it| LAYERS.get(it))
                    .map(|it| (*it).to_owned()),
                bitrates: bitrates
                    .filter(|(_, bitrate)| *bitrate > 0)
                    .map(|(name, bitrate)| (name.to_owned(), bitrate))
                    .collect(),
            })
        };
        let tracks: Vec<_> = video.filter_map(status).collect();
        if !tracks.is_empty() {
            // A page that does not keep up can do without.
            let _ = self.outgoing.try_send(ToPage::Status { tracks });
        }
    }

    /// Divides what reaches the browser among what it wants to see.
    fn choose_layers(&self) {
        let seen = self.video().filter(|it| it.choice != Choice::Off).count();
        let share = self.limit.map(|limit| limit / seen.max(1) as u64);
        for view in self.video() {
            let bitrates = view.published.bitrates();
            let current = view.published.current(self.id);
            let layer = match view.choice {
                Choice::Off => None,
                Choice::L => Some(0),
                Choice::M => Some(1),
                Choice::H => Some(2),
                Choice::Auto => Some(best_layer(bitrates, current, share)),
            };
            view.published.choose(self.id, layer);
        }
    }

    fn video(&self) -> impl Iterator<Item = &View> {
        let mut views = self.views.values();
        std::iter::from_fn(move || views.find(|it| it.published.kind() == RtpCodecKind::Video))
    }

    async fn leave(self) {
        for view in self.views.values() {
            view.published.remove_viewer(self.id);
        }
        self.room.leave(self.id);
        if let Err(error) = self.connection.close().await {
            debug!(%error, "closing");
        }
    }
}

/// The largest layer that is sent and fits into `share`; else the smallest.
fn best_layer(bitrates: [u64; LAYERS.len()], current: Option<Layer>, share: Option<u64>) -> Layer {
    let sent = bitrates
        .iter()
        .enumerate()
        .filter(|(_, bitrate)| **bitrate > 0);
    let fits = |layer: Layer, bitrate: u64| {
        // Changing up takes some room to spare, so that it does not go back and forth.
        let needed = match current.is_none_or(|current| layer > current) {
            true => bitrate + bitrate / 5,
            false => bitrate,
        };
        share.is_none_or(|share| needed <= share)
    };
    let fitting = sent
        .clone()
        .filter(|(layer, bitrate)| fits(*layer, **bitrate));
    let layer = fitting.map(|(layer, _)| layer).max();
    let smallest = sent.map(|(layer, _)| layer).min();
    layer.or(smallest).or(current).unwrap_or(0)
}

/// How often layers are chosen anew.
const TICK: Duration = Duration::from_secs(1);

/// Characters of a name.
const MAX_NAME: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_layer_that_fits_is_chosen() {
        let bitrates = [150_000, 500_000, 1_500_000];
        assert_eq!(best_layer(bitrates, None, None), 2);
        assert_eq!(best_layer(bitrates, Some(0), Some(1_000_000)), 1);
        assert_eq!(best_layer(bitrates, Some(0), Some(520_000)), 0);
        assert_eq!(best_layer(bitrates, Some(1), Some(520_000)), 1);
        assert_eq!(best_layer(bitrates, Some(1), Some(1)), 0);
        assert_eq!(best_layer([0, 500_000, 0], Some(0), Some(1)), 1);
        assert_eq!(best_layer([0; 3], Some(2), None), 2);
    }
}
