//! Writes offers and answers (RFC 9429 section 5). Only what is known here is ever written: nothing
//! of the peer's description is copied but mids, media types, protocols, formats and the names of
//! simulcast layers.

pub(crate) mod answer;
mod numbers;
pub(crate) mod offer;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use rtc_crypto::Fingerprint;
use rtc_ice::{Candidate, Credentials};
use rtc_sdp::{
    Attribute, Connection, Direction, ExtMap, Group, IceOptions, IcePwd, IceUfrag, MaxMessageSize,
    MediaDescription, Mid, Msid, MsidSemantic, Origin, Rid, RidDirection, RtpMap, SctpMap,
    SctpPort, SessionDescription, Setup, Simulcast, SimulcastId, SimulcastStream, Ssrc, SsrcGroup,
    name,
};

pub(crate) use self::numbers::Numbers;
use crate::peer_connection::description::{Description, Section};
use crate::rtp_transceiver::transceivers::Transceiver;
use crate::rtp_transceiver::{NegotiatedLayer, RTCRtpCodecParameters, SSRC};
use crate::transport::LOCAL_SCTP_PORT;

/// What a local description says of our transport.
#[derive(Clone, Debug)]
pub(crate) struct LocalTransport {
    pub(crate) credentials: Credentials,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) lite: bool,
    pub(crate) max_message_size: usize,
}

/// Which description of ours this is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version {
    pub(crate) session_id: u64,
    pub(crate) version: u64,
}

/// What an m-line has, and the tag that goes with it.
#[derive(Clone, Debug)]
struct Head {
    mid: String,
    media: String,
    protocol: String,
    formats: Vec<String>,
}

impl From<&Section> for Head {
    fn from(section: &Section) -> Self {
        Self {
            mid: section.mid.clone(),
            media: section.media.clone(),
            protocol: section.protocol.clone(),
            formats: section.formats.clone(),
        }
    }
}

/// One m-section to be written.
enum Line {
    Data(Head),
    Media(Head, Box<Media>),
    Rejected(Head),
}

impl Line {
    fn head(&self) -> &Head {
        match self {
            Self::Data(head) | Self::Media(head, _) | Self::Rejected(head) => head,
        }
    }

    fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

/// What an m-section of audio or video is to say.
struct Media {
    direction: Direction,
    codecs: Vec<RTCRtpCodecParameters>,
    extensions: Vec<ExtMap>,
    reduced_size_rtcp: bool,
    /// Streams and track of ours.
    msids: Vec<Msid>,
    send_layers: Vec<NegotiatedLayer>,
    recv_layers: Vec<NegotiatedLayer>,
    /// Sources of ours, where no layer names them.
    sources: Option<(SSRC, Option<SSRC>)>,
    cname: String,
}

impl Media {
    /// What the sender of a transceiver has to say of its track, if it sends.
    fn describe_sender(&mut self, it: &Transceiver, cname: &str) {
        if !self.direction.sends() {
            return;
        }
        let track = &it.sender.msid_track;
        let msid = |stream: &str| Msid {
            stream: stream.to_owned(),
            track: Some(track.clone()),
        };
        self.msids = it
            .sender
            .streams
            .iter()
            .map(|stream| msid(stream))
            .collect();
        if self.msids.is_empty() {
            self.msids.push(msid("-"));
        }
        cname.clone_into(&mut self.cname);
        if self.send_layers.is_empty()
            && let Some(encoding) = it.sender.encodings.first()
        {
            let coding = &encoding.rtp_coding_parameters;
            let has_rtx = self.codecs.iter().any(|codec| codec.rtp_codec.is("rtx"));
            let rtx = coding.rtx.filter(|_| has_rtx).map(|rtx| rtx.ssrc);
            self.sources = coding.ssrc.map(|ssrc| (ssrc, rtx));
        }
    }
}

/// How m-sections are written that are not described on their own.
struct Frame<'a> {
    version: Version,
    transport: &'a LocalTransport,
    setup: Setup,
    /// Whether there is a BUNDLE group.
    bundles: bool,
    /// Whether both forms of header extensions may occur, said for the session.
    allow_mixed_headers: bool,
    /// Whether an m-section, by its place, exists within the BUNDLE group alone.
    bundle_only: &'a dyn Fn(usize) -> bool,
}

impl Frame<'_> {
    fn write(&self, lines: &[Line]) -> SessionDescription {
        let Version {
            session_id,
            version,
        } = self.version;
        let mut sdp = SessionDescription::new(Origin::new(session_id, version));
        let in_use = |line: &&Line| !line.is_rejected();
        let mids: Vec<&str> = lines
            .iter()
            .filter(in_use)
            .map(|it| it.head().mid.as_str())
            .collect();
        if self.bundles && !mids.is_empty() {
            sdp.push(Group::bundle(mids));
        }
        if self.transport.lite {
            sdp.push(Attribute::flag(name::ICE_LITE));
        }
        if lines.iter().any(|line| matches!(line, Line::Media(..))) {
            if self.allow_mixed_headers {
                sdp.push(Attribute::flag(name::EXTMAP_ALLOW_MIXED));
            }
            sdp.push(MsidSemantic {
                semantic: "WMS".to_owned(),
                ids: vec!["*".to_owned()],
            });
        }
        sdp.media = lines
            .iter()
            .enumerate()
            .map(|(at, line)| self.section(at, line))
            .collect();
        sdp
    }

    fn section(&self, index: usize, line: &Line) -> MediaDescription {
        let (head, media) = match line {
            Line::Rejected(head) => {
                let media = empty_section(head, 0);
                return if is_data(head) {
                    media
                } else {
                    media.with(Direction::Inactive)
                };
            }
            Line::Data(head) => (head, None),
            Line::Media(head, media) => (head, Some(media)),
        };
        // The transport is described in every m-section, also where RFC 9143 would leave it out:
        // Chromium rejects what follows a section without.
        let section = if (self.bundle_only)(index) {
            let section = empty_section(head, 0).with(Attribute::flag(name::BUNDLE_ONLY));
            self.with_transport(section)
        } else {
            self.with_transport(empty_section(head, 9))
        };
        match media {
            Some(media) => media_section(section, media),
            None => self.data_section(section, head),
        }
    }

    fn with_transport(&self, section: MediaDescription) -> MediaDescription {
        let LocalTransport {
            credentials,
            fingerprint,
            ..
        } = self.transport;
        section
            .with(IceUfrag(credentials.ufrag.clone()))
            .with(IcePwd(credentials.pwd.clone()))
            .with(IceOptions::trickle())
            .with(Attribute::new("fingerprint", fingerprint.to_string()))
            .with(self.setup)
    }

    fn data_section(&self, section: MediaDescription, head: &Head) -> MediaDescription {
        let section = if head.protocol == "DTLS/SCTP" {
            let port = head.formats.first().and_then(|port| port.parse().ok());
            section.with(SctpMap {
                port: port.unwrap_or_default(),
                protocol: "webrtc-datachannel".to_owned(),
                streams: Some(1024),
            })
        } else {
            section.with(SctpPort(LOCAL_SCTP_PORT))
        };
        section.with(MaxMessageSize(self.transport.max_message_size as u64))
    }
}

/// The lines that every m-section has; port 0 rejects it.
fn empty_section(head: &Head, port: u16) -> MediaDescription {
    let mut section = MediaDescription::new(&head.media, port, &head.protocol, &head.formats);
    section.connection = Some(Connection::new(Ipv4Addr::UNSPECIFIED.into()));
    section.with(Mid(head.mid.clone()))
}

fn is_data(head: &Head) -> bool {
    head.media == "application" && head.protocol.ends_with("DTLS/SCTP")
}

fn media_section(mut section: MediaDescription, media: &Media) -> MediaDescription {
    for extension in &media.extensions {
        section.push(extension.clone());
    }
    section.push(media.direction);
    for msid in &media.msids {
        section.push(msid.clone());
    }
    section.push(Attribute::flag(name::RTCP_MUX));
    if media.reduced_size_rtcp {
        section.push(Attribute::flag(name::RTCP_RSIZE));
    }
    for RTCRtpCodecParameters {
        rtp_codec,
        payload_type,
    } in &media.codecs
    {
        let mut map = RtpMap::new(*payload_type, rtp_codec.name(), rtp_codec.clock_rate);
        map.channels = u8::try_from(rtp_codec.channels)
            .ok()
            .filter(|channels| *channels > 1);
        section.push(map);
        for feedback in &rtp_codec.rtcp_feedback {
            section.push(feedback.to_attribute(*payload_type));
        }
        if !rtp_codec.sdp_fmtp_line.is_empty() {
            let fmtp = format!("{payload_type} {}", rtp_codec.sdp_fmtp_line);
            section.push(Attribute::new("fmtp", fmtp));
        }
    }
    push_layers(&mut section, media);
    if let Some((ssrc, rtx)) = media.sources {
        if let Some(rtx) = rtx {
            section.push(SsrcGroup {
                semantics: "FID".to_owned(),
                ssrcs: vec![ssrc, rtx],
            });
        }
        for ssrc in [Some(ssrc), rtx].into_iter().flatten() {
            section.push(Ssrc::new(ssrc, "cname", media.cname.as_str()));
            for msid in &media.msids {
                section.push(Ssrc::new(ssrc, "msid", msid.to_string()));
            }
        }
    }
    section
}

fn push_layers(section: &mut MediaDescription, media: &Media) {
    let streams = |layers: &[NegotiatedLayer]| {
        let stream = |layer: &NegotiatedLayer| {
            SimulcastStream(vec![SimulcastId {
                rid: layer.rid.clone(),
                paused: layer.paused,
            }])
        };
        layers.iter().map(stream).collect()
    };
    let simulcast = Simulcast {
        send: streams(&media.send_layers),
        recv: streams(&media.recv_layers),
    };
    if simulcast == Simulcast::default() {
        return;
    }
    for layer in &media.send_layers {
        section.push(Rid::new(layer.rid.as_str(), RidDirection::Send));
    }
    for layer in &media.recv_layers {
        section.push(Rid::new(layer.rid.as_str(), RidDirection::Recv));
    }
    section.push(simulcast);
}

/// The formats of an m-line of media.
fn formats(codecs: &[RTCRtpCodecParameters]) -> Vec<String> {
    codecs
        .iter()
        .map(|codec| codec.payload_type.to_string())
        .collect()
}

/// The description with the candidates gathered so far in some of its m-sections.
pub(crate) fn with_candidates<'a>(
    text: &str,
    sections: &[usize],
    candidates: impl Iterator<Item = Cow<'a, Candidate>>,
    complete: bool,
) -> String {
    let mut lines = String::new();
    for candidate in candidates {
        let _ = write!(lines, "a={candidate}\r\n");
    }
    if complete {
        lines.push_str("a=end-of-candidates\r\n");
    }
    let mut whole = String::with_capacity(text.len() + lines.len() * sections.len());
    // What stands before the first m-line is no m-section.
    for (index, part) in text.split("\r\nm=").enumerate() {
        if index > 0 {
            whole.push_str("m=");
        }
        whole.push_str(part);
        if !part.ends_with("\r\n") {
            whole.push_str("\r\n");
        }
        if index
            .checked_sub(1)
            .is_some_and(|index| sections.contains(&index))
        {
            whole.push_str(&lines);
        }
    }
    whole
}

/// Whether both header forms may occur in all media, as a description says it.
fn allows_mixed_headers(description: &Description) -> bool {
    let mut media = description
        .sections
        .iter()
        .filter_map(Section::as_media)
        .peekable();
    description.allow_mixed_headers
        || (media.peek().is_some() && media.all(|media| media.allow_mixed_headers))
}
