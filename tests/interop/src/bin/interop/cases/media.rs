//! The cases that carry audio and video in one negotiation.

use std::time::Duration;

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::rtp_transceiver::RtpCodecKind::{self, Audio, Video};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc_driver::RtpTransceiver;
use rtc_interop::args::{Case, Role};
use serde_json::{Value, json};

use crate::agent::{Agent, after as pause};
use crate::cases::data::reliable;
use crate::failure::{Failure, check};
use crate::media::Arrivals;

/// Packets that each side wants of each kind.
const PACKETS: usize = 100;
/// Frames that each side wants of video.
const FRAMES: usize = 20;

/// The codec that a case allows alone.
fn only_codec(case: Case) -> Option<&'static str> {
    match case {
        Case::Audio | Case::SrtpGcm | Case::SrtpCm => Some("opus"),
        Case::VideoVp8 => Some("VP8"),
        Case::VideoVp9 => Some("VP9"),
        Case::VideoH264 => Some("H264"),
        Case::VideoAv1 => Some("AV1"),
        _ => None,
    }
}

/// Both roles of the cases of one codec.
pub(crate) async fn one(agent: &Agent, kind: RtpCodecKind) -> Result<(), Failure> {
    if agent.role() == Role::Offer {
        add(agent, kind, RTCRtpTransceiverDirection::Sendrecv)?;
        agent.offer(None).await?;
    }
    flows(agent, &[kind]).await?;
    let got = agent.text("codec");
    let is_wanted = only_codec(agent.args.case).is_none_or(|it| it.eq_ignore_ascii_case(&got));
    check!(is_wanted, "{got} arrives");
    Ok(())
}

/// Both roles of `srtp-gcm` and `srtp-cm`.
pub(crate) async fn srtp(agent: &Agent, profile: &str) -> Result<(), Failure> {
    one(agent, Audio).await?;
    agent.note_transport();
    let got = agent.text("srtp");
    check!(got == profile, "{got} was negotiated");
    Ok(())
}

/// Both roles of `av-bundle`.
pub(crate) async fn bundle(agent: &Agent) -> Result<(), Failure> {
    match agent.role() {
        Role::Offer => {
            for kind in [Audio, Video] {
                add(agent, kind, RTCRtpTransceiverDirection::Sendrecv)?;
            }
            let channel = agent.channel("data", reliable())?;
            agent.offer(None).await?;
            channel.opened().await?;
            channel.exchange("bundle".into()).await?;
            flows(agent, &[Audio, Video]).await?;
        }
        Role::Answer => {
            let channel = agent.incoming().await?;
            let label = channel.label();
            check!(label == "data", "the channel's label is {label}");
            let message = channel.next().await?;
            channel.send(message).await?;
            flows(agent, &[Audio, Video]).await?;
            agent.wait_peer_done().await;
        }
    }
    let report = json!(agent.pc.stats());
    let transports = of_type(&report, "transport").count();
    check!(transports == 1, "there are {transports} transports");
    Ok(())
}

/// Packets of video that a lossy connection is judged by.
const RECOVERED_PACKETS: usize = 400;

/// Both roles of `loss`.
pub(crate) async fn loss(agent: &Agent) -> Result<(), Failure> {
    let watched = async {
        let video = transceiver_of(agent, Video).await;
        more(agent, &video, RECOVERED_PACKETS, 0).await;
        let Arrivals { packets, lost, .. } = agent.media.arrivals(video.id());
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let percent = 100.0 * lost as f64 / (packets + lost) as f64;
        agent.detail("lost_after_recovery", (percent * 100.0).round() / 100.0);
        check!(percent < 0.5, "{percent:.2} % of the video is lost");
        Ok(())
    };
    match agent.role() {
        Role::Offer => {
            bundle(agent).await?;
            watched.await
        }
        // The offerer's `done`, which ends the bundle, comes once the video has come.
        Role::Answer => tokio::try_join!(bundle(agent), watched).map(|_| ()),
    }
}

/// What the statistics have to tell of a connection with audio, video and a channel.
const STATS: [&str; 11] = [
    "codec",
    "inbound-rtp",
    "outbound-rtp",
    "remote-inbound-rtp",
    "candidate-pair",
    "local-candidate",
    "remote-candidate",
    "transport",
    "certificate",
    "data-channel",
    "peer-connection",
];

/// Both roles of `stats`.
pub(crate) async fn stats(agent: &Agent) -> Result<(), Failure> {
    bundle(agent).await?;
    loop {
        let report = json!(agent.pc.stats());
        let lacks = |kind: &&str| of_type(&report, kind).next().is_none();
        let missing: Vec<_> = STATS.into_iter().filter(lacks).collect();
        agent.step(format!("waiting for the statistics {}", missing.join(", ")));
        if missing.is_empty() {
            agent.detail("stats", report);
            return Ok(());
        }
        pause(Duration::from_millis(200)).await;
    }
}

fn of_type<'a>(report: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = report.as_object().into_iter().flat_map(|it| it.values());
    all.filter(move |stats| stats.get("type").and_then(Value::as_str) == Some(kind))
}

/// Both roles of `direction`.
pub(crate) async fn direction(agent: &Agent) -> Result<(), Failure> {
    use RTCRtpTransceiverDirection::{Recvonly, Sendonly};
    let (kind, wanted) = match agent.role() {
        Role::Offer => {
            add(agent, Audio, Sendonly)?;
            agent.pc.add_transceiver_from_kind(Video, init(Recvonly))?;
            agent.offer(None).await?;
            (Video, [(Audio, Sendonly), (Video, Recvonly)])
        }
        Role::Answer => (Audio, [(Audio, Recvonly), (Video, Sendonly)]),
    };
    flows(agent, &[kind]).await?;
    if agent.role() == Role::Answer {
        agent.wait_peer_done().await;
    }
    for (kind, wanted) in wanted {
        let found = active(agent).into_iter().find(|it| it.kind() == kind);
        let Some(found) = found else {
            return Err(Failure::Failed(format!("there is no {kind}")));
        };
        let got = found.current_direction();
        check!(got == Some(wanted), "{kind} is {got:?}");
        let came = agent.media.arrivals(found.id()).packets;
        check!(
            wanted == Recvonly || came == 0,
            "{came} packets of {kind} came although it is {wanted}"
        );
    }
    Ok(())
}

/// Adds a transceiver whose sender is fed from disk.
pub(crate) fn add(
    agent: &Agent,
    kind: RtpCodecKind,
    direction: RTCRtpTransceiverDirection,
) -> Result<RtpTransceiver, Failure> {
    let transceiver = agent
        .pc
        .add_transceiver_from_track(track(kind), init(direction))?;
    prefer(agent, &transceiver)?;
    agent.media.feed(transceiver.sender(), &[]);
    Ok(transceiver)
}

fn init(direction: RTCRtpTransceiverDirection) -> RTCRtpTransceiverInit {
    RTCRtpTransceiverInit {
        direction,
        ..RTCRtpTransceiverInit::default()
    }
}

/// A track of that kind, of the one stream that the agent sends.
pub(crate) fn track(kind: RtpCodecKind) -> MediaStreamTrack {
    MediaStreamTrack::new("disk", kind.as_str(), "", kind, Vec::new())
}

/// Answers with a track in every transceiver of the peer's offer that has none yet.
pub(crate) fn fill(agent: &Agent) -> Result<(), Failure> {
    for transceiver in active(agent) {
        let sender = transceiver.sender();
        if sender.track_id().is_some() || transceiver.mid().is_none() {
            continue;
        }
        sender.replace_track(track(transceiver.kind()))?;
        sender.set_streams(vec!["disk".to_owned()])?;
        transceiver.set_direction(RTCRtpTransceiverDirection::Sendrecv)?;
        prefer(agent, &transceiver)?;
        agent.media.feed(sender, &[]);
    }
    Ok(())
}

/// Allows the codec of the case alone, with its retransmissions.
fn prefer(agent: &Agent, transceiver: &RtpTransceiver) -> Result<(), Failure> {
    let Some(only) = only_codec(agent.args.case) else {
        return Ok(());
    };
    allow(transceiver, only)
}

/// Allows one codec alone, with its retransmissions.
pub(crate) fn allow(transceiver: &RtpTransceiver, only: &str) -> Result<(), Failure> {
    let known = MediaEngine::with_defaults();
    let codecs = known.codecs(transceiver.kind()).iter();
    let codecs = codecs.filter(|it| it.rtp_codec.is(only) || it.rtp_codec.is("rtx"));
    Ok(transceiver.set_codec_preferences(codecs.cloned().collect())?)
}

/// The transceivers that have not stopped.
pub(crate) fn active(agent: &Agent) -> Vec<RtpTransceiver> {
    let mut all = agent.pc.transceivers();
    all.retain(|it| it.direction() != RTCRtpTransceiverDirection::Stopped);
    all
}

/// The transceivers by which media is to come.
pub(crate) fn receiving(agent: &Agent) -> Vec<RtpTransceiver> {
    use RTCRtpTransceiverDirection::{Recvonly, Sendrecv};
    let mut all = active(agent);
    all.retain(|it| matches!(it.current_direction(), Some(Recvonly | Sendrecv)));
    all
}

/// The first transceiver of a kind, once there is one.
pub(crate) async fn transceiver_of(agent: &Agent, kind: RtpCodecKind) -> RtpTransceiver {
    agent.step(format!("waiting for a transceiver of {kind}"));
    loop {
        let found = active(agent).into_iter().find(|it| it.kind() == kind);
        match found {
            Some(found) => return found,
            None => agent.media.tick().await,
        }
    }
}

/// Waits for media of each kind, and notes the figures.
pub(crate) async fn flows(agent: &Agent, kinds: &[RtpCodecKind]) -> Result<(), Failure> {
    for &kind in kinds {
        let frames = if kind == Video { FRAMES } else { 0 };
        let transceiver = transceiver_of(agent, kind).await;
        more(agent, &transceiver, PACKETS, frames).await;
        let arrivals = agent.media.arrivals(transceiver.id());
        let prefix = match kinds.len() {
            1 => String::new(),
            _ => format!("{kind}_"),
        };
        agent.detail(&format!("{prefix}packets"), arrivals.packets);
        agent.detail(&format!("{prefix}codec"), arrivals.codec);
        if kind == Video {
            agent.detail("frames", arrivals.frames);
            agent.detail("key_frames", arrivals.key_frames);
        }
    }
    Ok(())
}

/// Waits until so much more has come by a transceiver.
pub(crate) async fn more(
    agent: &Agent,
    transceiver: &RtpTransceiver,
    packets: usize,
    frames: usize,
) {
    let before = agent.media.arrivals(transceiver.id());
    loop {
        let now = agent.media.arrivals(transceiver.id());
        agent.step(format!(
            "waiting for {}: {} packets, {} frames",
            transceiver.kind(),
            now.packets,
            now.frames
        ));
        if now.packets >= before.packets + packets && now.frames >= before.frames + frames {
            return;
        }
        agent.media.tick().await;
    }
}
