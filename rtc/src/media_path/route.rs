//! Which m-section, and which of its streams, an RTP packet belongs to (RFC 9143 section 9.2, RFC 8852).

use rtc_interceptor::{PayloadInfo, RtcpFeedback, RtxInfo, StreamInfo};
use rtc_rtp::extension::{ExtensionKind, ExtensionMap};
use rtc_rtp::{Extensions, Header};

use crate::media_stream::RtpStreamId;
use crate::rtp_transceiver::codec::Purpose;
use crate::rtp_transceiver::{
    NegotiatedCodec, NegotiatedReceive, PayloadType, RTCRtpTransceiverId, SSRC,
};

/// The m-sections that receive and the sources that send to them.
///
/// A source is known because the peer's description announced it, or learnt from a packet that said
/// its `mid` or `rid`, or whose payload type only one m-section has. Those that were learnt are bounded:
/// of each m-section the one that was silent the longest makes room.
#[derive(Debug, Default)]
pub(super) struct Router {
    sections: Vec<Section>,
    /// Sorted by SSRC.
    sources: Vec<(SSRC, Source)>,
    mid: Option<u8>,
    rid: Option<u8>,
    repaired_rid: Option<u8>,
    /// Counts packets, to tell which source was silent the longest.
    clock: u64,
}

/// An m-section that receives.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) transceiver: RTCRtpTransceiverId,
    mid: String,
    extensions: ExtensionMap,
    codecs: Vec<NegotiatedCodec>,
    layers: Vec<RtpStreamId>,
    announced: Vec<(SSRC, Role)>,
    /// What each payload type stands for.
    payloads: Box<[Payload; 128]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Payload {
    #[default]
    Unknown,
    Media,
    Retransmission,
    /// Repair packets in a stream of their own.
    Repair,
}

/// A source of the peer.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    section: usize,
    pub(super) role: Role,
    /// The simulcast layer, by its place.
    layer: Option<usize>,
    announced: bool,
    /// The interceptors know it.
    pub(super) bound: bool,
    last_used: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Media {
        rtx: Option<SSRC>,
    },
    /// `media` is `None` until it is known what is retransmitted.
    Retransmission {
        media: Option<SSRC>,
    },
    Repair,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To this transceiver, as a packet of this media source. The source has yet to be bound, or bound
    /// anew, if `bind` says so.
    Stream {
        section: usize,
        media: SSRC,
        bind: bool,
        /// The source was not known before.
        learnt: bool,
    },
    /// Nothing says yet where it belongs.
    Unexplained,
    /// Nowhere: its payload type was not negotiated, or it repairs what nobody can.
    Nowhere,
}

impl Router {
    /// Begins anew with other m-sections; call [`finish`](Self::finish) after the last
    /// [`add`](Self::add).
    pub(super) fn clear(&mut self) -> Vec<Section> {
        (self.mid, self.rid, self.repaired_rid) = (None, None, None);
        std::mem::take(&mut self.sections)
    }

    pub(super) fn add(
        &mut self,
        transceiver: RTCRtpTransceiverId,
        mid: String,
        receive: NegotiatedReceive,
    ) {
        let extensions = receive.extension_map();
        let id = |kind| extensions.id(kind);
        // In a bundle a number means the same everywhere (RFC 9143 section 10.1).
        self.mid = self.mid.or_else(|| id(ExtensionKind::Mid));
        self.rid = self.rid.or_else(|| id(ExtensionKind::RtpStreamId));
        self.repaired_rid = self
            .repaired_rid
            .or_else(|| id(ExtensionKind::RepairedRtpStreamId));
        let mut payloads = Box::new([Payload::Unknown; 128]);
        let mut set = |payload_type: PayloadType, payload| {
            if let Some(slot) = payloads.get_mut(usize::from(payload_type)) {
                *slot = payload;
            }
        };
        for codec in &receive.codecs {
            let kind = match codec.parameters.rtp_codec.purpose() {
                Purpose::ErrorCorrection => Payload::Repair,
                _ => Payload::Media,
            };
            set(codec.parameters.payload_type, kind);
            if let Some(rtx) = codec.rtx {
                set(rtx, Payload::Retransmission);
            }
        }
        let mut announced = Vec::new();
        for source in &receive.sources {
            announced.push((source.ssrc, Role::Media { rtx: source.rtx }));
            let media = Some(source.ssrc);
            announced.extend(source.rtx.map(|rtx| (rtx, Role::Retransmission { media })));
            announced.extend(source.fec.map(|fec| (fec, Role::Repair)));
        }
        announced.truncate(MAX_ANNOUNCED);
        self.sections.push(Section {
            transceiver,
            mid,
            extensions,
            codecs: receive.codecs,
            layers: receive.layers.into_iter().map(|layer| layer.rid).collect(),
            announced,
            payloads,
        });
    }

    /// Carries over from the m-sections `before` what was learnt. Returns the media sources that were
    /// bound and are gone.
    pub(super) fn finish(&mut self, before: &[Section]) -> Vec<SSRC> {
        let mut old = std::mem::take(&mut self.sources);
        for (section, it) in self.sections.iter().enumerate() {
            for &(ssrc, role) in &it.announced {
                let source = Source {
                    section,
                    role,
                    layer: None,
                    announced: true,
                    bound: false,
                    last_used: 0,
                };
                if let Err(at) = find(&self.sources, ssrc) {
                    self.sources.insert(at, (ssrc, source));
                }
            }
        }
        let mut gone = Vec::new();
        for (ssrc, source) in old.drain(..) {
            let was = before.get(source.section);
            let section = was.and_then(|was| {
                let is_same = |it: &Section| it.transceiver == was.transceiver && it.mid == was.mid;
                self.sections.iter().position(is_same)
            });
            let at = find(&self.sources, ssrc);
            let known = at.ok().and_then(|at| self.sources.get_mut(at));
            match (known, section) {
                (Some((_, known)), Some(section)) if known.section == section => {
                    known.bound = source.bound;
                    known.last_used = source.last_used;
                    known.layer = source.layer;
                    // The description may be silent of a retransmission that was seen.
                    if let Role::Media { rtx: rtx @ None } = &mut known.role
                        && let Role::Media { rtx: seen } = source.role
                    {
                        *rtx = seen;
                    }
                }
                (None, Some(section)) => {
                    let layer = source.layer.and_then(|layer| {
                        let name = was?.layers.get(layer)?;
                        self.sections
                            .get(section)?
                            .layers
                            .iter()
                            .position(|it| it == name)
                    });
                    // One that was announced and is not any more may be learnt again.
                    if source.announced {
                        gone.extend(source.bound.then_some(ssrc));
                    } else if let Err(at) = at {
                        let source = Source {
                            section,
                            layer,
                            ..source
                        };
                        self.sources.insert(at, (ssrc, source));
                    }
                }
                _ => gone.extend(source.bound.then_some(ssrc)),
            }
        }
        gone
    }

    pub(super) fn section(&self, index: usize) -> Option<&Section> {
        self.sections.get(index)
    }

    /// The media sources that are bound.
    pub(super) fn bound(&self) -> impl Iterator<Item = (SSRC, &Source, &Section)> {
        self.sources
            .iter()
            .filter(|(_, source)| source.bound)
            .filter_map(|(ssrc, source)| Some((*ssrc, source, self.sections.get(source.section)?)))
    }

    /// The transceiver that receives a source.
    pub(super) fn receiver_of(&self, ssrc: SSRC) -> Option<RTCRtpTransceiverId> {
        let source = self.get(ssrc)?;
        Some(self.sections.get(source.section)?.transceiver)
    }

    /// The name of the simulcast layer of a source.
    pub(crate) fn rid_of(&self, ssrc: SSRC) -> Option<&RtpStreamId> {
        let source = self.get(ssrc)?;
        let section = self.sections.get(source.section)?;
        section.layers.get(source.layer?)
    }

    /// Finds out where a packet goes.
    pub(super) fn route(&mut self, header: &Header) -> Route {
        self.clock += 1;
        let clock = self.clock;
        let Ok(at) = find(&self.sources, header.ssrc) else {
            return self.learn(header);
        };
        let names = !header.extensions.is_empty() && self.is_moved(at, header);
        if names {
            self.sources.remove(at);
            return self.learn(header);
        }
        let Some((ssrc, source)) = self.sources.get_mut(at) else {
            return Route::Nowhere;
        };
        source.last_used = clock;
        let section = source.section;
        let payload = self
            .sections
            .get(section)
            .map_or(Payload::Unknown, |it| it.payload(header.payload_type));
        match (source.role, payload) {
            (Role::Media { .. }, Payload::Media | Payload::Repair) => Route::Stream {
                section,
                media: *ssrc,
                bind: !source.bound,
                learnt: false,
            },
            (Role::Retransmission { media: Some(media) }, Payload::Retransmission) => {
                let bind = self.get(media).is_some_and(|media| !media.bound);
                Route::Stream {
                    section,
                    media,
                    bind,
                    learnt: false,
                }
            }
            (Role::Retransmission { media: None }, Payload::Retransmission) => {
                match self.join_retransmission(header) {
                    Some(media) => Route::Stream {
                        section,
                        media,
                        bind: true,
                        learnt: false,
                    },
                    None => Route::Nowhere,
                }
            }
            _ => Route::Nowhere,
        }
    }

    /// Marks a media source as bound or not.
    pub(super) fn set_bound(&mut self, ssrc: SSRC, bound: bool) {
        if let Ok(at) = find(&self.sources, ssrc)
            && let Some((_, source)) = self.sources.get_mut(at)
        {
            source.bound = bound;
        }
    }

    /// Marks all as not bound.
    pub(super) fn unbind_all(&mut self) {
        self.sources
            .iter_mut()
            .for_each(|(_, source)| source.bound = false);
    }

    /// Forgets that media and retransmission belong together, so that the media can be bound at least.
    pub(super) fn part_retransmission(&mut self, media: SSRC) {
        if let Ok(at) = find(&self.sources, media)
            && let Some((_, source)) = self.sources.get_mut(at)
        {
            source.role = Role::Media { rtx: None };
        }
    }

    /// A source has said goodbye. Whether it was one of media that was bound.
    pub(super) fn end(&mut self, ssrc: SSRC) -> bool {
        let Ok(at) = find(&self.sources, ssrc) else {
            return false;
        };
        let Some((_, source)) = self.sources.get_mut(at) else {
            return false;
        };
        let bound = std::mem::take(&mut source.bound);
        if !source.announced {
            self.sources.remove(at);
        }
        bound
    }

    /// How the interceptors are to know a media source of which a packet of this payload type came.
    pub(super) fn stream_info(&self, media: SSRC, payload_type: PayloadType) -> Option<StreamInfo> {
        let source = self.get(media)?;
        let section = self.sections.get(source.section)?;
        let Role::Media { rtx } = source.role else {
            return None;
        };
        let is_it = |codec: &&NegotiatedCodec| {
            codec.parameters.payload_type == payload_type || codec.rtx == Some(payload_type)
        };
        let codec = section
            .codecs
            .iter()
            .find(is_it)
            .or_else(|| section.codecs.first())?;
        Some(stream_info(
            media,
            codec,
            &section.codecs,
            rtx,
            section.extensions,
        ))
    }

    fn get(&self, ssrc: SSRC) -> Option<&Source> {
        let at = find(&self.sources, ssrc).ok()?;
        self.sources.get(at).map(|(_, source)| source)
    }

    /// Whether a packet of a known source says that it belongs elsewhere. A layer that was not known is
    /// noted.
    fn is_moved(&mut self, at: usize, header: &Header) -> bool {
        let Some((_, source)) = self.sources.get_mut(at) else {
            return false;
        };
        let Some(section) = self.sections.get(source.section) else {
            return true;
        };
        if let Some(mid) = text(&header.extensions, self.mid)
            && mid != section.mid.as_bytes()
        {
            return self.sections.iter().any(|it| it.mid.as_bytes() == mid);
        }
        if section.layers.is_empty() || !matches!(source.role, Role::Media { .. }) {
            return false;
        }
        if let Some(rid) = text(&header.extensions, self.rid)
            && let Some(layer) = section.layer(rid)
        {
            source.layer = Some(layer);
        }
        false
    }

    /// A packet of a source that is not known.
    fn learn(&mut self, header: &Header) -> Route {
        let Some(index) = self.section_for(header) else {
            return Route::Unexplained;
        };
        let Some(section) = self.sections.get(index) else {
            return Route::Nowhere;
        };
        let role = match section.payload(header.payload_type) {
            Payload::Media => Role::Media { rtx: None },
            Payload::Retransmission => Role::Retransmission { media: None },
            Payload::Repair => Role::Repair,
            Payload::Unknown => return Route::Nowhere,
        };
        let rid = text(&header.extensions, self.rid);
        let layer = rid.and_then(|rid| section.layer(rid));
        self.make_room(index);
        let source = Source {
            section: index,
            role,
            layer,
            announced: false,
            bound: false,
            last_used: self.clock,
        };
        if let Err(at) = find(&self.sources, header.ssrc) {
            self.sources.insert(at, (header.ssrc, source));
        }
        let media = match role {
            Role::Media { .. } => Some(header.ssrc),
            Role::Retransmission { .. } => self.join_retransmission(header),
            Role::Repair => None,
        };
        match media {
            Some(media) => Route::Stream {
                section: index,
                media,
                bind: true,
                learnt: true,
            },
            None => Route::Nowhere,
        }
    }

    /// The m-section that a packet names, or the only one that it can be of.
    fn section_for(&self, header: &Header) -> Option<usize> {
        if let Some(mid) = text(&header.extensions, self.mid) {
            return self.sections.iter().position(|it| it.mid.as_bytes() == mid);
        }
        let rid = text(&header.extensions, self.rid)
            .or_else(|| text(&header.extensions, self.repaired_rid));
        if let Some(rid) = rid
            && let Some(index) = self.only(|it| it.layer(rid).is_some())
        {
            return Some(index);
        }
        self.only(|it| it.payload(header.payload_type) != Payload::Unknown)
    }

    fn only(&self, is_it: impl Fn(&Section) -> bool) -> Option<usize> {
        let mut fitting =
            (0..self.sections.len()).filter(|&index| self.sections.get(index).is_some_and(&is_it));
        fitting.next().filter(|_| fitting.next().is_none())
    }

    /// Finds the media that a source of retransmissions repeats: by the name of the layer, else the
    /// only source of the m-section that has no retransmissions yet.
    fn join_retransmission(&mut self, header: &Header) -> Option<SSRC> {
        let section_index = self.get(header.ssrc)?.section;
        let section = self.sections.get(section_index)?;
        let layer = text(&header.extensions, self.repaired_rid).map(|rid| section.layer(rid));
        let candidates = self.sources.iter().filter(|(_, source)| {
            source.section == section_index
                && matches!(source.role, Role::Media { .. })
                && source.bound
        });
        let media = match layer {
            // The latest, since a layer that began anew has another source.
            Some(Some(layer)) => {
                candidates
                    .filter(|(_, source)| source.layer == Some(layer))
                    .max_by_key(|(_, source)| source.last_used)?
                    .0
            }
            Some(None) => return None,
            None => {
                let mut alone =
                    candidates.filter(|(_, source)| source.role == Role::Media { rtx: None });
                alone.next().filter(|_| alone.next().is_none())?.0
            }
        };
        let rtx = header.ssrc;
        for (ssrc, source) in &mut self.sources {
            if *ssrc == media {
                source.role = Role::Media { rtx: Some(rtx) };
            } else if *ssrc == rtx {
                let media = Some(media);
                source.role = Role::Retransmission { media };
            } else if source.role == (Role::Retransmission { media: Some(media) }) {
                source.role = Role::Retransmission { media: None };
            }
        }
        Some(media)
    }

    /// Lets the source of an m-section go that was silent the longest when too many were learnt; of
    /// those that are bound [`surplus`](Self::surplus) tells.
    fn make_room(&mut self, section: usize) {
        let learnt = |source: &Source| !source.announced && source.section == section;
        let count = self
            .sources
            .iter()
            .filter(|(_, source)| learnt(source))
            .count();
        if count < MAX_LEARNT {
            return;
        }
        let oldest = self
            .sources
            .iter()
            .enumerate()
            .filter(|(_, (_, source))| learnt(source) && !source.bound)
            .min_by_key(|(_, (_, source))| source.last_used)
            .map(|(at, _)| at);
        if let Some(at) = oldest {
            self.sources.remove(at);
        }
    }

    /// The bound source of an m-section that was silent the longest, if there are too many.
    pub(super) fn surplus(&self, section: usize) -> Option<SSRC> {
        let learnt = |source: &Source| !source.announced && source.section == section;
        let mut bound = self
            .sources
            .iter()
            .filter(|(_, source)| learnt(source) && source.bound);
        let count = bound.clone().count();
        let oldest = bound.by_ref().min_by_key(|(_, source)| source.last_used);
        oldest.filter(|_| count >= MAX_BOUND).map(|(ssrc, _)| *ssrc)
    }
}

impl Source {
    /// The source of its retransmissions.
    pub(crate) fn rtx(&self) -> Option<SSRC> {
        match self.role {
            Role::Media { rtx } => rtx,
            _ => None,
        }
    }
}

impl Section {
    fn payload(&self, payload_type: PayloadType) -> Payload {
        let known = self.payloads.get(usize::from(payload_type));
        known.copied().unwrap_or_default()
    }

    fn layer(&self, rid: &[u8]) -> Option<usize> {
        self.layers.iter().position(|it| it.as_bytes() == rid)
    }

    pub(crate) fn codec(&self, payload_type: PayloadType) -> Option<&NegotiatedCodec> {
        self.codecs
            .iter()
            .find(|codec| codec.parameters.payload_type == payload_type)
    }

    pub(crate) fn mid(&self) -> &str {
        &self.mid
    }
}

/// What the interceptors know of a stream of either direction.
pub(super) fn stream_info(
    ssrc: SSRC,
    codec: &NegotiatedCodec,
    codecs: &[NegotiatedCodec],
    rtx: Option<SSRC>,
    extensions: ExtensionMap,
) -> StreamInfo {
    let parameters = &codec.parameters;
    let format = &parameters.rtp_codec;
    let mut info = StreamInfo::new(
        ssrc,
        parameters.payload_type,
        format.clock_rate,
        &format.mime_type,
    );
    info.rtcp_feedback = feedback(codec);
    info.extensions = extensions;
    info.rtx = rtx
        .zip(codec.rtx)
        .map(|(ssrc, payload_type)| RtxInfo { ssrc, payload_type });
    let others = codecs
        .iter()
        .filter(|other| other.parameters.payload_type != parameters.payload_type);
    info.alternatives = others
        .map(|other| PayloadInfo {
            payload_type: other.parameters.payload_type,
            clock_rate: other.parameters.rtp_codec.clock_rate,
            rtx_payload_type: other.rtx.filter(|_| rtx.is_some()),
        })
        .collect();
    info
}

fn feedback(codec: &NegotiatedCodec) -> RtcpFeedback {
    let mut feedback = RtcpFeedback::default();
    for it in &codec.parameters.rtp_codec.rtcp_feedback {
        match it.parameter.is_empty() {
            true => feedback.insert(&it.typ),
            false => feedback.insert(&format!("{} {}", it.typ, it.parameter)),
        };
    }
    feedback
}

fn text(extensions: &Extensions, id: Option<u8>) -> Option<&[u8]> {
    extensions.get(id?)
}

fn find(sources: &[(SSRC, Source)], ssrc: SSRC) -> Result<usize, usize> {
    sources.binary_search_by_key(&ssrc, |(ssrc, _)| *ssrc)
}

/// Sources that an m-section may announce: more than the layers of any simulcast, each with its
/// retransmission and repair.
const MAX_ANNOUNCED: usize = 48;
/// Sources of an m-section that are remembered because of their packets.
const MAX_LEARNT: usize = 48;
/// Those among them that the interceptors know.
const MAX_BOUND: usize = 16;
