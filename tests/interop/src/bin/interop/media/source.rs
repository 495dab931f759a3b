//! A sender that is fed from disk.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rtc::peer_connection::RTCPeerConnection;
use rtc::rtp::Packet;
use rtc::rtp_transceiver::{RTCRtpCodec, RTCRtpSenderId};
use rtc::shared::Rng;
use rtc_media::{Codec, Sample, SampleSender, SampleSenderConfig};
use sha2::{Digest as _, Sha256};

use super::clip::Clip;
use crate::failure::Failure;

/// A sender that is fed from disk.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) sender: RTCRtpSenderId,
    /// How often the peer has asked for a key frame.
    pub(super) restarts: usize,
    layers: Vec<Layer>,
}

/// One stream of it.
#[derive(Debug)]
struct Layer {
    rid: Option<&'static str>,
    player: Option<Player>,
}

/// A clip being played in the form that was negotiated.
#[derive(Debug)]
struct Player {
    codec: RTCRtpCodec,
    clip: Clip,
    samples: SampleSender,
    next: usize,
    due: Instant,
    packets: Vec<Packet>,
}

impl Source {
    pub(super) fn new(sender: RTCRtpSenderId, rids: &[&'static str]) -> Self {
        let named = rids.iter().map(|rid| Some(*rid));
        let alone = rids.is_empty().then_some(None);
        let layer = |rid| Layer { rid, player: None };
        Self {
            sender,
            restarts: 0,
            layers: named.chain(alone).map(layer).collect(),
        }
    }

    /// Sends what is due, if sending was negotiated.
    pub(super) fn send(
        &mut self,
        core: &mut RTCPeerConnection,
        now: Instant,
    ) -> Result<(), Failure> {
        let Some(codec) = codec(core, self.sender) else {
            // Where it may send again, it begins again.
            self.layers.iter_mut().for_each(|layer| layer.player = None);
            return Ok(());
        };
        for Layer { rid, player } in &mut self.layers {
            let player = match player {
                Some(player) if player.codec == codec => player,
                _ => player.insert(Player::new(codec.clone(), *rid, now)?),
            };
            player.play(now)?;
            for packet in player.packets.drain(..) {
                let Some(mut sender) = core.rtp_sender(self.sender) else {
                    continue;
                };
                match rid {
                    Some(rid) => sender.write_rtp_layer(rid, packet)?,
                    None => sender.write_rtp(packet)?,
                }
            }
        }
        Ok(())
    }

    /// Goes on with a key frame, in one layer or in all.
    pub(super) fn restart(&mut self, rid: Option<&str>) {
        self.restarts += 1;
        for layer in &mut self.layers {
            if (rid.is_none() || rid == layer.rid)
                && let Some(player) = &mut layer.player
            {
                player.next = 0;
            }
        }
    }
}

impl Player {
    fn new(codec: RTCRtpCodec, rid: Option<&str>, now: Instant) -> Result<Self, Failure> {
        let known = Codec::from_mime_type(&codec.mime_type);
        let known = known.ok_or(Failure::Unsupported("an unknown codec was negotiated"))?;
        let mut rng = Rng::from_seed(seed());
        let packetizer = known
            .packetizer(&codec.sdp_fmtp_line, &mut rng)
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let config = SampleSenderConfig {
            // These two are the connection's to write.
            ssrc: 0,
            payload_type: UNKNOWN_PAYLOAD_TYPE,
            clock_rate: codec.clock_rate,
            max_payload: MAX_PAYLOAD,
        };
        Ok(Self {
            clip: Clip::of(known, rid)?,
            samples: SampleSender::new(packetizer, config, &mut rng),
            codec,
            next: 0,
            due: now,
            packets: Vec::new(),
        })
    }

    /// Makes the packets of what is due.
    fn play(&mut self, now: Instant) -> Result<(), Failure> {
        while self.due <= now {
            let Some(frame) = self.clip.frame(self.next) else {
                return Ok(());
            };
            let sample = Sample {
                data: frame.data.clone(),
                duration: frame.duration,
                ..Sample::default()
            };
            self.samples
                .send(&sample, &mut self.packets)
                .map_err(|error| Failure::Failed(error.to_string()))?;
            self.next += 1;
            self.due += frame.duration;
        }
        Ok(())
    }
}

/// The codec that a sender is to use, while it may send.
fn codec(core: &mut RTCPeerConnection, sender: RTCRtpSenderId) -> Option<RTCRtpCodec> {
    let negotiated = core.rtp_transceiver(sender.transceiver_id())?.negotiated()?;
    let first = negotiated.send?.codecs.into_iter().next()?;
    Some(first.parameters.rtp_codec)
}

/// Something that differs from run to run.
fn seed() -> [u8; 32] {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = time.unwrap_or_default().as_nanos();
    Sha256::digest(nanos.to_le_bytes()).into()
}

/// None that was negotiated: the connection writes the one of its first codec.
const UNKNOWN_PAYLOAD_TYPE: u8 = 127;
const MAX_PAYLOAD: usize = 1150;
