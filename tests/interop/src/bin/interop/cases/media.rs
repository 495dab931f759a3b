//! The cases that carry audio and video in one negotiation.

use std::time::Duration;

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::RTCPeerConnection;
use rtc::rtp_transceiver::RtpCodecKind::{self, Audio, Video};
use rtc::rtp_transceiver::{
    RTCRtpReceiverId, RTCRtpTransceiverDirection, RTCRtpTransceiverId, RTCRtpTransceiverInit,
};
use rtc_interop::args::{Case, Role};
use serde_json::{Value, json};

use crate::agent::{Agent, after as pause};
use crate::cases::data::reliable;
use crate::failure::{Failure, check};

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
            agent
                .pc
                .with_core(|core| core.add_transceiver_from_kind(Video, Some(init(Recvonly))))?;
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
        let found = active(agent).into_iter().find(|it| it.kind == kind);
        let Some(found) = found else {
            return Err(Failure::Failed(format!("there is no {kind}")));
        };
        check!(
            found.current == Some(wanted),
            "{kind} is {:?}",
            found.current
        );
        let came = agent.media.arrivals(found.receiver).packets;
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
) -> Result<RTCRtpTransceiverId, Failure> {
    let id = agent.pc.with_core(|core| {
        let id = core.add_transceiver_from_track(track(kind), Some(init(direction)))?;
        prefer(agent, core, id)?;
        Ok::<_, Failure>(id)
    })?;
    agent.media.feed(id.sender_id(), &[]);
    Ok(id)
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
    for it in active(agent) {
        let filled = agent.pc.with_core(|core| {
            let Some(mut transceiver) = core.rtp_transceiver(it.id) else {
                return Ok(false);
            };
            if transceiver.mid().is_none() {
                return Ok(false);
            }
            transceiver.set_direction(RTCRtpTransceiverDirection::Sendrecv)?;
            let Some(mut sender) = core.rtp_sender(it.id.sender_id()) else {
                return Ok(false);
            };
            if sender.track().is_some() {
                return Ok(false);
            }
            sender.replace_track(track(it.kind))?;
            sender.set_streams(vec!["disk".to_owned()])?;
            prefer(agent, core, it.id)?;
            Ok::<_, Failure>(true)
        })?;
        if filled {
            agent.media.feed(it.id.sender_id(), &[]);
        }
    }
    Ok(())
}

/// Allows the codec of the case alone, with its retransmissions.
fn prefer(
    agent: &Agent,
    core: &mut RTCPeerConnection,
    id: RTCRtpTransceiverId,
) -> Result<(), Failure> {
    let Some(only) = only_codec(agent.args.case) else {
        return Ok(());
    };
    let Some(kind) = core.rtp_transceiver(id).and_then(|it| it.kind()) else {
        return Ok(());
    };
    let codecs = core.get_configuration().media_engine().codecs(kind);
    let codecs = codecs.iter().filter(|it| it.rtp_codec.is(only) || it.rtp_codec.is("rtx"));
    let codecs = codecs.cloned().collect();
    let transceiver = core.rtp_transceiver(id);
    Ok(transceiver.map_or(Ok(()), |mut it| it.set_codec_preferences(codecs))?)
}

/// A transceiver that has not stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Active {
    pub(crate) id: RTCRtpTransceiverId,
    pub(crate) receiver: RTCRtpReceiverId,
    pub(crate) kind: RtpCodecKind,
    pub(crate) current: Option<RTCRtpTransceiverDirection>,
}

impl Active {
    pub(crate) fn receives(&self) -> bool {
        use RTCRtpTransceiverDirection::{Recvonly, Sendrecv};
        matches!(self.current, Some(Recvonly | Sendrecv))
    }
}

/// The transceivers that have not stopped.
pub(crate) fn active(agent: &Agent) -> Vec<Active> {
    agent.pc.with_core(|core| {
        let ids: Vec<_> = core.get_transceivers().collect();
        let look = |id: RTCRtpTransceiverId| {
            let transceiver = core.rtp_transceiver(id)?;
            if transceiver.direction() == RTCRtpTransceiverDirection::Stopped {
                return None;
            }
            Some(Active {
                id,
                receiver: transceiver.receiver(),
                kind: transceiver.kind()?,
                current: transceiver.current_direction(),
            })
        };
        ids.into_iter().filter_map(look).collect()
    })
}

/// Waits for media of each kind, and notes the figures.
pub(crate) async fn flows(agent: &Agent, kinds: &[RtpCodecKind]) -> Result<(), Failure> {
    for &kind in kinds {
        let frames = if kind == Video { FRAMES } else { 0 };
        let receiver = loop {
            let found = active(agent).into_iter().find(|it| it.kind == kind);
            match found {
                Some(found) => break found.receiver,
                None => agent.step(format!("waiting for a transceiver of {kind}")),
            }
            agent.media.next_tick().await;
        };
        more(agent, receiver, kind, PACKETS, frames).await?;
        let arrivals = agent.media.arrivals(receiver);
        let malformed = arrivals.malformed();
        check!(malformed == 0, "{malformed} packets of {kind} are malformed");
        let prefix = match kinds.len() {
            1 => String::new(),
            _ => format!("{kind}_"),
        };
        agent.detail(&format!("{prefix}packets"), arrivals.packets);
        agent.detail(&format!("{prefix}codec"), arrivals.codec.clone());
        if kind == Video {
            agent.detail("frames", arrivals.frames);
            agent.detail("key_frames", arrivals.key_frames);
            check!(arrivals.key_frames > 0, "no key frame came");
        }
    }
    Ok(())
}

/// Waits until so much more has come at a receiver.
pub(crate) async fn more(
    agent: &Agent,
    receiver: RTCRtpReceiverId,
    kind: RtpCodecKind,
    packets: usize,
    frames: usize,
) -> Result<(), Failure> {
    let count = || {
        let arrivals = agent.media.arrivals(receiver);
        (arrivals.packets, arrivals.frames)
    };
    let before = count();
    loop {
        let now = count();
        agent.step(format!(
            "waiting for {kind}: {} packets, {} frames",
            now.0, now.1
        ));
        if now.0 >= before.0 + packets && now.1 >= before.1 + frames {
            return Ok(());
        }
        agent.media.next_tick().await;
    }
}
