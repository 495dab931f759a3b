//! Simulcast: what the layers of one track become at the other end, also behind a forwarder.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rtc::media::{Codec, LayerSwitch};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::rtp_transceiver::RTCRtpTransceiverDirection::Sendonly;
use rtc::rtp_transceiver::RtpCodecKind::Video;
use rtc::rtp_transceiver::{RTCRtpEncodingParameters, RTCRtpTransceiverInit};
use rtc_driver::{LocalTrack, PeerConnection, RemoteTrack, TrackFeedback};
use rtc_interop::args::Role;
use serde_json::json;

use crate::agent::Agent;
use crate::cases::media;
use crate::failure::{Failure, check};
use crate::media::Media;

/// The layers, the largest first.
const RIDS: [&str; 3] = ["h", "m", "l"];
/// Packets wanted of each.
const PACKETS: usize = 50;
/// Frames wanted of each size that is forwarded.
const FRAMES: usize = 20;
/// How long a layer is forwarded.
const TURN: Duration = Duration::from_millis(1500);

/// Both roles of `simulcast`.
pub(crate) async fn simulcast(agent: &Agent) -> Result<(), Failure> {
    match agent.role() {
        Role::Offer => {
            let track = add_layers(&agent.pc)?;
            agent.media.feed(track, &RIDS);
            agent.offer(None).await?;
            agent.wait_peer_done().await;
        }
        Role::Answer => {
            let transceiver = media::transceiver_of(agent, Video).await;
            let rids = || agent.media.arrivals(transceiver.id()).rids;
            let wait_for_all = async |wanted: &str, enough: &dyn Fn(&str) -> bool| {
                while !RIDS.iter().all(|rid| enough(rid)) {
                    agent.step(format!("waiting for {wanted} of each layer: {:?}", rids()));
                    agent.media.tick().await;
                }
            };
            let packets = |rid: &str| rids().get(rid).map_or(0, |it| it.packets);
            let key_frames = |rid: &str| rids().get(rid).map_or(0, |it| it.key_frames);
            wait_for_all("packets", &|rid| packets(rid) >= PACKETS).await;
            let track = transceiver.receiver();
            let before = RIDS.map(|rid| (rid, key_frames(rid)));
            for rid in RIDS {
                check!(
                    track.request_key_frame_of(rid),
                    "{rid} cannot be asked for a key frame"
                );
            }
            let more = |rid: &str| {
                before
                    .iter()
                    .any(|it| it.0 == rid && it.1 < key_frames(rid))
            };
            wait_for_all("key frames", &more).await;
            let count = rids().len();
            check!(count == RIDS.len(), "{count} layers came");
            agent.detail("rids", json!(RIDS));
            agent.detail("packets", json!(RIDS.map(packets)));
        }
    }
    Ok(())
}

/// Adds a track that is sent in all layers.
fn add_layers(pc: &PeerConnection) -> Result<LocalTrack, Failure> {
    let init = RTCRtpTransceiverInit {
        direction: Sendonly,
        streams: Vec::new(),
        send_encodings: RIDS.map(RTCRtpEncodingParameters::with_rid).into(),
    };
    let transceiver = pc.add_transceiver_from_track(media::track(Video), init)?;
    media::allow(&transceiver, "VP8")?;
    Ok(transceiver.sender())
}

/// Both roles of `forward`.
pub(crate) async fn forward(agent: &Agent) -> Result<(), Failure> {
    match agent.role() {
        Role::Offer => forward_offer(agent).await,
        Role::Answer => {
            let transceiver = media::transceiver_of(agent, Video).await;
            loop {
                let arrivals = agent.media.arrivals(transceiver.id());
                let enough = |wanted: &(u16, u16)| {
                    arrivals
                        .sizes
                        .get(wanted)
                        .is_some_and(|&frames| frames >= FRAMES)
                };
                agent.step(format!(
                    "waiting for frames of each size: {:?}",
                    arrivals.sizes
                ));
                if SIZES.iter().all(enough) {
                    agent.detail("frames", arrivals.frames);
                    agent.detail("key_frames", arrivals.key_frames);
                    check!(arrivals.lost == 0, "{} packets are missing", arrivals.lost);
                    return Ok(());
                }
                agent.media.tick().await;
            }
        }
    }
}

/// Sizes of the layers' pictures.
const SIZES: [(u16, u16); 3] = [(320, 240), (160, 120), (80, 60)];

/// A publisher sends simulcast over a connection of its own; one layer of what comes out of that goes to
/// the peer, each in turn.
async fn forward_offer(agent: &Agent) -> Result<(), Failure> {
    let (publisher, intake) = (connection(agent)?, connection(agent)?);
    let publishing = Media::new(&publisher);
    publishing.feed(add_layers(&publisher)?, &RIDS);
    let mut tracks = intake.tracks();
    agent.step("connecting the publisher");
    connect(&publisher, &intake).await?;
    let played = async {
        let Some(track) = tracks.next().await else {
            return Err(Failure::Failed(
                "the publisher's track has not come".to_owned(),
            ));
        };
        let init = RTCRtpTransceiverInit {
            direction: Sendonly,
            ..RTCRtpTransceiverInit::default()
        };
        let out = agent
            .pc
            .add_transceiver_from_track(media::track(Video), init)?;
        media::allow(&out, "VP8")?;
        agent.offer(None).await?;
        agent.pc.connected().await?;
        let mut forwarder = Forwarder::new(out.sender(), track);
        agent.step("waiting for the peer's done");
        tokio::select! {
            ended = forwarder.run() => ended?,
            () = agent.peer_done() => {}
        }
        agent.detail("switches", forwarder.switch.switches());
        Ok(())
    };
    tokio::select! {
        ended = played => ended?,
        broken = publishing.run(&publisher) => broken.map(|never| match never {})?,
    }
    publisher.close().await?;
    Ok(intake.close().await?)
}

fn connection(agent: &Agent) -> Result<PeerConnection, Failure> {
    agent.another_connection(RTCConfigurationBuilder::new().build())
}

/// Connects two connections of this process.
async fn connect(offerer: &PeerConnection, answerer: &PeerConnection) -> Result<(), Failure> {
    offerer.set_local_description(None)?;
    answerer.set_remote_description(offerer.gathering_complete().await?)?;
    answerer.set_local_description(None)?;
    offerer.set_remote_description(answerer.gathering_complete().await?)?;
    Ok(offerer.connected().await?)
}

/// Sends on one layer of a track at a time.
struct Forwarder {
    out: LocalTrack,
    track: RemoteTrack,
    switch: LayerSwitch<&'static str>,
}

impl Forwarder {
    fn new(out: LocalTrack, track: RemoteTrack) -> Self {
        Self {
            out,
            track,
            switch: LayerSwitch::new(Codec::Vp8),
        }
    }

    async fn run(&mut self) -> Result<(), Failure> {
        let mut feedback = self.out.feedback();
        let mut names = HashMap::new();
        for rid in RIDS.iter().rev().cycle() {
            self.switch.set_target(rid);
            let mut asked = None;
            let mut switched: Option<Instant> = None;
            while switched.is_none_or(|it| it.elapsed() < TURN) {
                if let Some(rid) = self.switch.wants_key_frame()
                    && asked.is_none_or(|it: Instant| it.elapsed() > TURN / 5)
                {
                    self.track.request_key_frame_of(rid);
                    asked = Some(Instant::now());
                }
                let packet = tokio::select! {
                    packet = self.track.read_rtp() => packet,
                    Some(wish) = feedback.next() => {
                        if matches!(wish, TrackFeedback::KeyFrameRequest { .. }) {
                            self.track.request_key_frame_of(rid);
                        }
                        continue;
                    }
                };
                let Some(packet) = packet else {
                    return Err(Failure::Failed(
                        "the publisher's track has ended".to_owned(),
                    ));
                };
                let ssrc = packet.header.ssrc;
                let name = names.entry(ssrc).or_insert_with(|| {
                    let name = self.track.rid_of(ssrc);
                    RIDS.into_iter().find(|rid| name.as_deref() == Some(rid))
                });
                let Some(layer) = name else { continue };
                let now = Instant::now();
                if let Some(packet) = self.switch.forward(now, layer, &packet) {
                    let received = self.track.extension_map();
                    self.out.forward_rtp(packet, &received).await?;
                }
                if switched.is_none() && self.switch.current() == Some(rid) {
                    switched = Some(Instant::now());
                }
            }
        }
        Ok(())
    }
}
