use std::collections::BTreeMap;

use rtc_sdp::{
    Bandwidth, Direction, ExtMap, Fmtp, MediaDescription, Msid, Rid, RidDirection, RtcpFb, RtpMap,
    SessionDescription, Simulcast, SimulcastStream, Ssrc, SsrcGroup, name,
};

use super::Section;
use crate::Error;
use crate::media_stream::MediaStreamId;
use crate::rtp_transceiver::{
    NegotiatedLayer, PayloadType, RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RemoteSource,
    RtpCodecKind,
};

/// What an m-section of audio or video says, seen from the describer.
#[derive(Clone, Debug)]
pub(crate) struct MediaSection {
    pub(crate) kind: RtpCodecKind,
    pub(crate) direction: Direction,
    /// In the order of the m-line; those without a meaning are left out.
    pub(crate) codecs: Vec<RTCRtpCodecParameters>,
    pub(crate) extensions: Vec<ExtMap>,
    pub(crate) allow_mixed_headers: bool,
    /// The streams of the describer's track.
    pub(crate) streams: Vec<MediaStreamId>,
    /// The identifier of the describer's track.
    pub(crate) track: Option<String>,
    /// Layers that the describer sends.
    pub(crate) send_layers: Vec<NegotiatedLayer>,
    /// Layers that the describer receives.
    pub(crate) recv_layers: Vec<NegotiatedLayer>,
    /// Sources of the describer.
    pub(crate) sources: Vec<RemoteSource>,
    pub(crate) rtcp_mux: bool,
    pub(crate) reduced_size_rtcp: bool,
    /// The most the describer wants to receive, in bit/s.
    pub(crate) max_bitrate: Option<u64>,
}

impl MediaSection {
    pub(super) fn read(
        kind: RtpCodecKind,
        media: &MediaDescription,
        session: &SessionDescription,
    ) -> Result<Self, Error> {
        let ssrcs = media.all::<Ssrc>().collect::<Result<Vec<_>, _>>()?;
        let (streams, track) = msids(media, &ssrcs)?;
        let extensions = session
            .all_of::<ExtMap>(media)
            .take(MAX_EXTENSIONS)
            .collect::<Result<Vec<_>, _>>()?;
        // A malformed a=simulcast counts as none (RFC 8853 section 5.1).
        let simulcast = media.get::<Simulcast>().ok().flatten().unwrap_or_default();
        let rids: Vec<Rid> = media
            .all::<Rid>()
            .filter_map(Result::ok)
            .take(MAX_LAYERS)
            .collect();
        Ok(Self {
            kind,
            direction: session.direction_of(media),
            codecs: codecs(kind, media)?,
            extensions,
            allow_mixed_headers: session.has_of(media, name::EXTMAP_ALLOW_MIXED),
            streams,
            track,
            send_layers: layers(&simulcast.send, &rids, RidDirection::Send),
            recv_layers: layers(&simulcast.recv, &rids, RidDirection::Recv),
            sources: sources(media, &ssrcs)?,
            rtcp_mux: media.has(name::RTCP_MUX) || media.has(name::RTCP_MUX_ONLY),
            reduced_size_rtcp: session.has_of(media, name::RTCP_RSIZE),
            max_bitrate: media
                .bandwidth
                .iter()
                .filter_map(Bandwidth::bits_per_second)
                .min(),
        })
    }

    /// The number of a header extension that the describer uses in a direction.
    pub(crate) fn extension(&self, uri: &str) -> Option<&ExtMap> {
        self.extensions
            .iter()
            .find(|extension| extension.uri == uri)
    }
}

/// In a BUNDLE group the number of a header extension is one URI, or packets cannot be routed by it
/// (RFC 9143 section 14).
///
/// A payload type should be one codec in the same way, but Firefox gives one to two codecs of
/// different sections when its own numbers meet those of the peer.
pub(super) fn check_bundles(sections: &[Section]) -> Result<(), Error> {
    let mut extensions: BTreeMap<(usize, u16), &str> = BTreeMap::new();
    for section in sections {
        let (Some(media), Some(transport)) = (section.as_media(), section.transport) else {
            continue;
        };
        for extension in &media.extensions {
            let known = extensions
                .entry((transport, extension.id))
                .or_insert(&extension.uri);
            if *known != extension.uri {
                return Err(Error::InvalidAccess(format!(
                    "m-section {:?}: header extension {} is {} where it was {known}",
                    section.mid, extension.id, extension.uri
                )));
            }
        }
    }
    Ok(())
}

fn codecs(
    kind: RtpCodecKind,
    media: &MediaDescription,
) -> Result<Vec<RTCRtpCodecParameters>, Error> {
    let mut codecs: BTreeMap<PayloadType, RTCRtpCodec> = BTreeMap::new();
    for map in media.all::<RtpMap>() {
        let map = map?;
        codecs
            .entry(map.payload_type)
            .or_insert_with(|| RTCRtpCodec {
                mime_type: format!("{kind}/{}", map.encoding),
                clock_rate: map.clock_rate,
                channels: map.channels.unwrap_or_default().into(),
                ..RTCRtpCodec::default()
            });
    }
    let formats = media.payload_types()?;
    if kind == RtpCodecKind::Audio {
        for payload_type in &formats {
            if let Some((_, name)) = STATIC.iter().find(|(fixed, _)| fixed == payload_type) {
                codecs.entry(*payload_type).or_insert_with(|| RTCRtpCodec {
                    mime_type: format!("audio/{name}"),
                    clock_rate: 8000,
                    ..RTCRtpCodec::default()
                });
            }
        }
    }
    for fmtp in media.all::<Fmtp>() {
        let fmtp = fmtp?;
        if let Some(codec) = codecs.get_mut(&fmtp.payload_type)
            && codec.sdp_fmtp_line.is_empty()
        {
            codec.sdp_fmtp_line = fmtp.parameters_text();
        }
    }
    for feedback in media.all::<RtcpFb>() {
        let RtcpFb {
            payload_type,
            kind,
            parameter,
        } = feedback?;
        let feedback = RTCPFeedback::new(kind, parameter.unwrap_or_default());
        let add = |codec: &mut RTCRtpCodec| {
            let list = &mut codec.rtcp_feedback;
            if list.len() < MAX_FEEDBACK && !list.contains(&feedback) {
                list.push(feedback.clone());
            }
        };
        match payload_type {
            Some(payload_type) => codecs.get_mut(&payload_type).into_iter().for_each(add),
            None => codecs.values_mut().for_each(add),
        }
    }
    let in_order = formats.into_iter().filter_map(|payload_type| {
        // Taken out, a payload type that is listed twice counts once.
        let rtp_codec = codecs.remove(&payload_type)?;
        Some(RTCRtpCodecParameters {
            rtp_codec,
            payload_type,
        })
    });
    Ok(in_order.collect())
}

/// Streams and track by `a=msid` or, in older peers, by an attribute of the first source.
fn msids(
    media: &MediaDescription,
    ssrcs: &[Ssrc],
) -> Result<(Vec<MediaStreamId>, Option<String>), Error> {
    let mut msids = media.all::<Msid>().collect::<Result<Vec<_>, _>>()?;
    if msids.is_empty() {
        let first = ssrcs.first().map(|source| source.ssrc);
        let of_source = ssrcs
            .iter()
            .find(|it| Some(it.ssrc) == first && it.attribute == "msid");
        msids.extend(of_source.and_then(|it| it.value.as_deref()?.parse::<Msid>().ok()));
    }
    let mut streams: Vec<MediaStreamId> = Vec::new();
    for stream in msids.iter().filter_map(Msid::stream_id) {
        if streams.len() < MAX_STREAMS && !streams.iter().any(|known| known == stream) {
            streams.push(stream.to_owned());
        }
    }
    let track = msids.into_iter().find_map(|msid| msid.track);
    Ok((streams, track))
}

/// The layers of one direction of `a=simulcast`. Of alternatives the first counts that is described
/// by an `a=rid` line; a layer without one is left out (RFC 8853 section 5.2).
fn layers(
    streams: &[SimulcastStream],
    rids: &[Rid],
    direction: RidDirection,
) -> Vec<NegotiatedLayer> {
    let mut layers: Vec<NegotiatedLayer> = Vec::new();
    for SimulcastStream(alternatives) in streams.iter().take(MAX_LAYERS) {
        let layer = alternatives.iter().find_map(|alternative| {
            let rid = rids
                .iter()
                .find(|rid| rid.id == alternative.rid && rid.direction == direction)?;
            Some(layer(rid, alternative.paused))
        });
        if let Some(layer) = layer
            && !layers.iter().any(|known| known.rid == layer.rid)
        {
            layers.push(layer);
        }
    }
    layers
}

fn layer(rid: &Rid, paused: bool) -> NegotiatedLayer {
    let number = |name: &str| rid.restriction(name)?.trim().parse().ok();
    NegotiatedLayer {
        rid: rid.id.clone(),
        paused,
        payload_types: rid.payload_types.clone(),
        max_bitrate: rid
            .restriction("max-br")
            .and_then(|it| it.trim().parse().ok()),
        max_width: number("max-width"),
        max_height: number("max-height"),
        max_framerate: number("max-fps"),
    }
}

/// The sources that carry media, with those that repair them.
fn sources(media: &MediaDescription, ssrcs: &[Ssrc]) -> Result<Vec<RemoteSource>, Error> {
    let groups = media.all::<SsrcGroup>().collect::<Result<Vec<_>, _>>()?;
    let mut sources: Vec<RemoteSource> = Vec::new();
    for Ssrc {
        ssrc,
        attribute,
        value,
    } in ssrcs
    {
        let index = sources.iter().position(|source| source.ssrc == *ssrc);
        if index.is_none() {
            if sources.len() == MAX_SOURCES {
                continue;
            }
            sources.push(RemoteSource {
                ssrc: *ssrc,
                ..RemoteSource::default()
            });
        }
        let source = match index {
            Some(index) => sources.get_mut(index),
            None => sources.last_mut(),
        };
        if let (Some(source), "cname", Some(value)) = (source, attribute.as_str(), value) {
            source.cname.clone_from(value);
        }
    }
    // Old simulcast: the group lists the layers, the smallest first.
    if let Some(group) = groups.iter().find(|group| group.semantics == "SIM") {
        let place = |source: &RemoteSource| group.ssrcs.iter().position(|it| *it == source.ssrc);
        sources.sort_by_key(|source| place(source).unwrap_or(usize::MAX));
    }
    for group in groups.iter().take(2 * MAX_SOURCES) {
        let [primary, repair, ..] = group.ssrcs[..] else {
            continue;
        };
        let is_repair = |semantics: &str| group.semantics == semantics && primary != repair;
        if !is_repair("FID") && !is_repair("FEC-FR") {
            continue;
        }
        let Some(source) = sources.iter_mut().find(|source| source.ssrc == primary) else {
            continue;
        };
        if group.semantics == "FID" {
            source.rtx = Some(repair);
        } else {
            source.fec = Some(repair);
        }
        sources.retain(|source| source.ssrc != repair);
    }
    Ok(sources)
}

/// Payload types that are fixed (RFC 3551 section 6), all with a clock of 8000 Hz.
const STATIC: &[(PayloadType, &str)] = &[(0, "PCMU"), (8, "PCMA"), (9, "G722"), (13, "CN")];

const MAX_EXTENSIONS: usize = 256;
const MAX_FEEDBACK: usize = 32;
const MAX_LAYERS: usize = 16;
const MAX_SOURCES: usize = 64;
const MAX_STREAMS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(attributes: &[&str]) -> Result<MediaSection, Error> {
        let mut text = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\n"
            .to_owned();
        for attribute in attributes {
            text.push_str(&format!("a={attribute}\r\n"));
        }
        let session: SessionDescription = text.parse().unwrap();
        MediaSection::read(RtpCodecKind::Video, &session.media[0], &session)
    }

    #[test]
    fn sources_are_paired_by_their_groups() {
        let section = read(&[
            "ssrc-group:SIM 3 1 2",
            "ssrc-group:FID 1 11",
            "ssrc-group:FID 2 12",
            "ssrc-group:FEC-FR 2 22",
            "ssrc:1 cname:c",
            "ssrc:2 cname:c",
            "ssrc:3 cname:c",
            "ssrc:11 cname:c",
            "ssrc:12 msid:s t",
            "ssrc:22 cname:c",
        ])
        .unwrap();
        let source = |ssrc, rtx, fec| RemoteSource {
            ssrc,
            rtx,
            fec,
            cname: "c".to_owned(),
        };
        assert_eq!(
            section.sources,
            [
                source(3, None, None),
                source(1, Some(11), None),
                source(2, Some(12), Some(22))
            ]
        );
        let odd = read(&["ssrc-group:FID 1 1", "ssrc-group:FID 1", "ssrc:1 cname:c"]).unwrap();
        assert_eq!(odd.sources, [source(1, None, None)]);
        let lines: Vec<String> = (0..1000)
            .map(|ssrc| format!("ssrc:{ssrc} cname:c"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(read(&lines).unwrap().sources.len(), MAX_SOURCES);
    }

    #[test]
    fn streams_are_read_in_both_forms() {
        let section = read(&["msid:a t", "msid:b t", "msid:a t", "msid:-"]).unwrap();
        assert_eq!(
            (section.streams, section.track),
            (vec!["a".into(), "b".into()], Some("t".into()))
        );
        let old = read(&["ssrc:1 cname:c", "ssrc:1 msid:s t", "ssrc:2 msid:other t"]).unwrap();
        assert_eq!(
            (old.streams, old.track),
            (vec!["s".into()], Some("t".into()))
        );
    }

    #[test]
    fn layers_need_a_rid_line() {
        let section = read(&[
            "rid:h send pt=96,97;max-width=1280",
            "rid:l send",
            "rid:x recv",
            "rid:bad both",
            "simulcast:send q,h;~l;x;l",
        ])
        .unwrap();
        let layer = |rid: &str, paused, payload_types: &[u8]| NegotiatedLayer {
            rid: rid.to_owned(),
            paused,
            payload_types: payload_types.to_vec(),
            max_width: (rid == "h").then_some(1280),
            ..NegotiatedLayer::default()
        };
        assert_eq!(
            section.send_layers,
            [layer("h", false, &[96, 97]), layer("l", true, &[])]
        );
        assert_eq!(section.recv_layers, []);
        assert_eq!(
            read(&["rid:h send", "simulcast:nonsense"])
                .unwrap()
                .send_layers,
            []
        );
    }

    #[test]
    fn codecs_have_their_parameters_and_feedback() {
        let section = read(&[
            "rtpmap:97 rtx/90000",
            "fmtp:97 apt=96",
            "rtpmap:96 VP8/90000",
            "rtpmap:96 H264/90000",
            "rtcp-fb:* transport-cc",
            "rtcp-fb:96 nack",
            "rtcp-fb:96 nack pli",
            "rtcp-fb:96 nack",
        ])
        .unwrap();
        let [vp8, rtx] = &section.codecs[..] else {
            panic!("98 has no meaning: {:?}", section.codecs)
        };
        assert_eq!(
            (vp8.payload_type, vp8.rtp_codec.mime_type.as_str()),
            (96, "video/VP8")
        );
        assert_eq!(vp8.rtp_codec.rtcp_feedback.len(), 3);
        assert_eq!(
            (rtx.payload_type, rtx.rtp_codec.sdp_fmtp_line.as_str()),
            (97, "apt=96")
        );
        let error = read(&["rtpmap:128 VP8/90000"]).unwrap_err();
        assert_eq!(error.name(), "RTCError");
    }
}
