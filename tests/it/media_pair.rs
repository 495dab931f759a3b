//! Two connections that exchange descriptions and nothing else, and words to look at what they agreed.

use std::path::Path;

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCTrackEvent, RTCTrackEventInit};
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::RTCSignalingState;
use rtc::rtp_transceiver::{
    NegotiatedMedia, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpEncodingParameters,
    RTCRtpTransceiverDirection, RTCRtpTransceiverId, RTCRtpTransceiverInit, RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::sdp::{MediaDescription, SessionDescription};
use rtc::shared::TransportProtocol;

pub(crate) use RTCRtpTransceiverDirection::{Inactive, Recvonly, Sendonly, Sendrecv, Stopped};
pub(crate) use RtpCodecKind::{Audio, Video};

pub(crate) fn connection(seed: u8) -> RTCPeerConnection {
    connection_of(seed, RTCConfigurationBuilder::new())
}

pub(crate) fn connection_of(seed: u8, builder: RTCConfigurationBuilder) -> RTCPeerConnection {
    let configuration = builder.with_seed([seed; 32]).build();
    let mut connection = RTCPeerConnection::new(configuration).unwrap();
    let address = format!("192.0.2.{seed}:5000").parse().unwrap();
    connection
        .add_local_interface(address, TransportProtocol::UDP)
        .unwrap();
    connection
}

pub(crate) fn track(id: &str, kind: RtpCodecKind) -> MediaStreamTrack {
    MediaStreamTrack::new("stream", id, "", kind, vec![])
}

pub(crate) fn with_direction(
    direction: RTCRtpTransceiverDirection,
) -> Option<RTCRtpTransceiverInit> {
    Some(RTCRtpTransceiverInit {
        direction,
        ..RTCRtpTransceiverInit::default()
    })
}

pub(crate) fn layers(rids: &[&str]) -> Vec<RTCRtpEncodingParameters> {
    rids.iter()
        .map(|rid| RTCRtpEncodingParameters::with_rid(*rid))
        .collect()
}

/// A video codec.
pub(crate) fn codec(mime_type: &str, fmtp: &str) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime_type.to_owned(),
            clock_rate: 90000,
            sdp_fmtp_line: fmtp.to_owned(),
            ..RTCRtpCodec::default()
        },
        payload_type: 0,
    }
}

pub(crate) struct Pair {
    pub(crate) a: RTCPeerConnection,
    pub(crate) b: RTCPeerConnection,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self {
            a: connection(1),
            b: connection(2),
        }
    }

    /// A offers, B answers.
    pub(crate) fn exchange(&mut self) {
        exchange(&mut self.a, &mut self.b);
    }

    /// B offers, A answers.
    pub(crate) fn exchange_back(&mut self) {
        exchange(&mut self.b, &mut self.a);
    }

    /// A's offer is applied on both sides.
    pub(crate) fn offer(&mut self) {
        self.a.set_local_description_implicit().unwrap();
        let offer = self.a.local_description().unwrap();
        self.b.set_remote_description(offer).unwrap();
    }

    /// B's answer is applied on both sides.
    pub(crate) fn answer(&mut self) {
        self.b.set_local_description_implicit().unwrap();
        let answer = self.b.local_description().unwrap();
        self.a.set_remote_description(answer).unwrap();
    }
}

/// Offers and answers between two connections until both are stable.
pub(crate) fn exchange(offerer: &mut RTCPeerConnection, answerer: &mut RTCPeerConnection) {
    offerer.set_local_description_implicit().unwrap();
    let offer = offerer.local_description().unwrap();
    answerer.set_remote_description(offer).unwrap();
    answerer.set_local_description_implicit().unwrap();
    let answer = answerer.local_description().unwrap();
    offerer.set_remote_description(answer).unwrap();
    assert_eq!(offerer.signaling_state(), RTCSignalingState::Stable);
    assert_eq!(answerer.signaling_state(), RTCSignalingState::Stable);
}

pub(crate) fn events(connection: &mut RTCPeerConnection) -> Vec<RTCPeerConnectionEvent> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

/// The track events since the last call.
pub(crate) fn track_events(connection: &mut RTCPeerConnection) -> Vec<RTCTrackEvent> {
    let of_track = |event| match event {
        RTCPeerConnectionEvent::OnTrack(event) => Some(event),
        _ => None,
    };
    events(connection)
        .into_iter()
        .filter_map(of_track)
        .collect()
}

/// The tracks that opened since the last call; nothing else may have happened to tracks.
pub(crate) fn opened(connection: &mut RTCPeerConnection) -> Vec<RTCTrackEventInit> {
    let init = |event| match event {
        RTCTrackEvent::OnOpen(init) => init,
        other => panic!("{other:?}"),
    };
    track_events(connection).into_iter().map(init).collect()
}

/// How often negotiation was said to be needed since the last call.
pub(crate) fn needed(connection: &mut RTCPeerConnection) -> usize {
    let is_it =
        |event: &RTCPeerConnectionEvent| *event == RTCPeerConnectionEvent::OnNegotiationNeededEvent;
    events(connection)
        .iter()
        .filter(|event| is_it(event))
        .count()
}

pub(crate) fn local(connection: &RTCPeerConnection) -> SessionDescription {
    parsed(&connection.local_description().unwrap())
}

pub(crate) fn parsed(description: &RTCSessionDescription) -> SessionDescription {
    let sdp: SessionDescription = description.sdp.parse().unwrap();
    sdp.validate().unwrap();
    assert_eq!(sdp.to_string(), description.sdp);
    sdp
}

pub(crate) fn rollback() -> RTCSessionDescription {
    RTCSessionDescription {
        sdp_type: RTCSdpType::Rollback,
        sdp: String::new(),
    }
}

pub(crate) fn transceivers(connection: &RTCPeerConnection) -> Vec<RTCRtpTransceiverId> {
    connection.get_transceivers().collect()
}

/// Wanted and negotiated direction.
pub(crate) fn directions(
    connection: &mut RTCPeerConnection,
    id: RTCRtpTransceiverId,
) -> (
    RTCRtpTransceiverDirection,
    Option<RTCRtpTransceiverDirection>,
) {
    match connection.rtp_transceiver(id) {
        Some(it) => (it.direction(), it.current_direction()),
        None => (Stopped, None),
    }
}

pub(crate) fn mid(connection: &mut RTCPeerConnection, id: RTCRtpTransceiverId) -> Option<String> {
    let it = connection.rtp_transceiver(id)?;
    it.mid().map(str::to_owned)
}

pub(crate) fn negotiated(connection: &RTCPeerConnection) -> Vec<NegotiatedMedia> {
    connection.negotiated_media().collect()
}

/// Port, kind and tag of each m-section.
pub(crate) fn lines(sdp: &SessionDescription) -> Vec<(u16, &str, &str)> {
    sdp.media
        .iter()
        .map(|media| (media.port, media.media.as_str(), media.mid().unwrap_or("-")))
        .collect()
}

pub(crate) fn values<'a>(media: &'a MediaDescription, name: &'a str) -> Vec<&'a str> {
    media.attributes_named(name).collect()
}

/// A description of the corpus.
pub(crate) fn corpus(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/sdp");
    std::fs::read_to_string(folder.join(name).with_extension("sdp")).unwrap()
}

/// The names of the descriptions of the corpus that contain a word.
pub(crate) fn corpus_names(word: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/sdp");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "sdp"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name.contains(word))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}
