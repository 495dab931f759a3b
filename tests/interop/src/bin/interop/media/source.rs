//! A track that is fed from disk.

use std::time::{Duration, Instant};

use rtc::media::{Codec, Sample};
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc_driver::{LocalTrack, PeerConnection, SendError, TrackFeedback};
use tokio::sync::watch;

use super::clip::Clip;
use crate::failure::Failure;

/// A track that is fed from disk.
#[derive(Debug)]
pub(super) struct Source {
    track: LocalTrack,
    layers: Vec<Layer>,
}

/// One stream of it.
#[derive(Debug)]
struct Layer {
    rid: Option<&'static str>,
    player: Option<Player>,
}

/// A clip being played.
#[derive(Debug)]
struct Player {
    codec: Codec,
    clip: Clip,
    next: usize,
    due: Instant,
}

impl Source {
    pub(super) fn new(track: LocalTrack, rids: &[&'static str]) -> Self {
        let named = rids.iter().map(|rid| Some(*rid));
        let alone = rids.is_empty().then_some(None);
        let layer = |rid| Layer { rid, player: None };
        Self {
            track,
            layers: named.chain(alone).map(layer).collect(),
        }
    }

    /// Sends until the track has ended.
    pub(super) async fn play(
        mut self,
        pc: &PeerConnection,
        mut clock: watch::Receiver<()>,
    ) -> Result<(), Failure> {
        let mut feedback = self.track.feedback();
        loop {
            tokio::select! {
                wish = feedback.next() => match wish {
                    Some(TrackFeedback::KeyFrameRequest { rid, .. }) => self.restart(rid.as_deref()),
                    Some(_) => {}
                    None => return Ok(()),
                },
                _ = clock.changed() => {}
            }
            if pc.connection_state() == RTCPeerConnectionState::Connected {
                match self.send().await {
                    Err(Ended::Failure(failure)) => return Err(failure),
                    Err(Ended::Send(SendError::Closed)) => return Ok(()),
                    Err(Ended::Send(error)) => return Err(error.into()),
                    Ok(()) => {}
                }
            }
        }
    }

    /// Sends what is due, if sending was negotiated.
    async fn send(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        for Layer { rid, player } in &mut self.layers {
            let codec = match rid {
                Some(rid) => self.track.codec_of_layer(rid),
                None => self.track.codec(),
            };
            let Some(codec) = codec else {
                // Where it may send again, it begins again.
                *player = None;
                continue;
            };
            let codec = Codec::from_mime_type(&codec.rtp_codec.mime_type)
                .ok_or(Failure::Unsupported("an unknown codec was negotiated"))?;
            let player = match player {
                Some(player) if player.codec == codec => player,
                _ => player.insert(Player::new(codec, *rid, now)?),
            };
            while let Some(sample) = player.due(now) {
                match rid {
                    Some(rid) => self.track.write_sample_layer(rid, &sample).await?,
                    None => self.track.write_sample(&sample).await?,
                }
            }
        }
        Ok(())
    }

    /// Goes on with a key frame, in one layer or in all.
    fn restart(&mut self, rid: Option<&str>) {
        for layer in &mut self.layers {
            if (rid.is_none() || rid == layer.rid)
                && let Some(player) = &mut layer.player
            {
                player.next = 0;
            }
        }
    }
}

/// Why nothing more is sent.
enum Ended {
    Failure(Failure),
    Send(SendError),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<SendError> for Ended {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl Player {
    fn new(codec: Codec, rid: Option<&str>, now: Instant) -> Result<Self, Failure> {
        Ok(Self {
            codec,
            clip: Clip::of(codec, rid)?,
            next: 0,
            due: now,
        })
    }

    /// The next frame, if it is time for it.
    fn due(&mut self, now: Instant) -> Option<Sample> {
        if self.due > now {
            return None;
        }
        let frame = self.clip.frame(self.next)?;
        self.next += 1;
        // A machine that was asleep does not catch up.
        self.due = (self.due + frame.duration).max(now.checked_sub(BEHIND).unwrap_or(now));
        Some(Sample {
            data: frame.data.clone(),
            duration: frame.duration,
            ..Sample::default()
        })
    }
}

/// How far playing may be behind.
const BEHIND: Duration = Duration::from_millis(200);
