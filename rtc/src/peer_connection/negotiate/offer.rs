use rtc_rtp::extension::ExtensionKind;
use rtc_sdp::{Direction, ExtMap, SessionDescription, Setup};

use super::{Frame, Head, Line, LocalTransport, Media, Numbers, Version, formats};
use crate::peer_connection::configuration::RTCBundlePolicy;
use crate::peer_connection::configuration::media_engine::MediaEngine;
use crate::peer_connection::description::{Description, MediaSection, Section};
use crate::rtp_transceiver::codec::{references, with_references};
use crate::rtp_transceiver::transceivers::{Transceiver, Transceivers};
use crate::rtp_transceiver::{
    NegotiatedLayer, PayloadType, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpTransceiverId,
};

/// What an offer is made of.
pub(crate) struct Basis<'a> {
    pub(crate) version: Version,
    pub(crate) transport: &'a LocalTransport,
    /// Our description that the offer follows: the pending offer, else the current description.
    pub(crate) local: Option<&'a Description>,
    /// The peer's current description.
    pub(crate) remote: Option<&'a Description>,
    pub(crate) media: &'a Transceivers,
    pub(crate) engine: &'a MediaEngine,
    pub(crate) numbers: &'a Numbers,
    pub(crate) bundle_policy: RTCBundlePolicy,
    /// Whether there are data channels that need an m-section.
    pub(crate) wants_data: bool,
}

/// An offer, and the transceiver that each of its m-sections stands for.
pub(crate) struct Offer {
    pub(crate) sdp: SessionDescription,
    pub(crate) plan: Vec<Option<RTCRtpTransceiverId>>,
}

impl Basis<'_> {
    /// The offer (RFC 9429 sections 5.2.1 and 5.2.2): the m-sections that there are in their places,
    /// new ones in the places of those that are not in use any more, and then behind.
    pub(crate) fn offer(&self) -> Offer {
        let mut maker = Maker {
            basis: self,
            numbers: self.numbers.clone(),
            lines: Vec::new(),
            plan: Vec::new(),
            free: Vec::new(),
        };
        if let Some(local) = self.local {
            for (index, section) in local.sections.iter().enumerate() {
                maker.continue_section(index, section);
            }
        }
        for it in &self.media.list {
            if !it.is_associated() && !it.stopping {
                let mid = maker.unused_mid();
                let line = maker.media_line(it, mid, PROTOCOL, None);
                maker.place(line, Some(it.id));
            }
        }
        let has_data = maker.lines.iter().any(|line| matches!(line, Line::Data(_)));
        if self.wants_data && !has_data {
            let line = Line::Data(Head {
                mid: maker.unused_mid(),
                media: "application".to_owned(),
                protocol: "UDP/DTLS/SCTP".to_owned(),
                formats: vec!["webrtc-datachannel".to_owned()],
            });
            maker.place(line, None);
        }
        let Maker { lines, plan, .. } = maker;
        let frame = Frame {
            version: self.version,
            transport: self.transport,
            setup: Setup::Actpass,
            bundles: true,
            allow_mixed_headers: true,
            bundle_only: &|index| self.is_bundle_only(&lines, index),
        };
        Offer {
            sdp: frame.write(&lines),
            plan,
        }
    }

    /// Whether an m-section is offered for the BUNDLE group alone (RFC 9429 section 4.1.1). Once the
    /// peer has shown that it bundles this says nothing new.
    fn is_bundle_only(&self, lines: &[Line], index: usize) -> bool {
        let is_established = self
            .remote
            .is_some_and(|remote| remote.transport().is_some());
        if is_established {
            return false;
        }
        let mut earlier = lines.iter().take(index).filter(|line| !line.is_rejected());
        match self.bundle_policy {
            RTCBundlePolicy::MaxCompat => false,
            RTCBundlePolicy::MaxBundle => earlier.next().is_some(),
            RTCBundlePolicy::Balanced => {
                let media = lines.get(index).map(|line| &line.head().media);
                earlier.any(|line| Some(&line.head().media) == media)
            }
        }
    }
}

struct Maker<'a> {
    basis: &'a Basis<'a>,
    /// With those that this offer gives.
    numbers: Numbers,
    lines: Vec<Line>,
    plan: Vec<Option<RTCRtpTransceiverId>>,
    /// Places that a new m-section may take.
    free: Vec<usize>,
}

impl Maker<'_> {
    /// Repeats an m-section of our last description as it is now.
    fn continue_section(&mut self, index: usize, section: &Section) {
        let counterpart = self
            .basis
            .remote
            .and_then(|remote| remote.sections.get(index));
        // A tag that the peer does not know yet is one of a pending offer.
        let rejected_by_peer = counterpart.is_some_and(|it| it.rejected && it.mid == section.mid);
        let it = self.basis.media.at(index, &section.mid);
        let (line, id) = match it {
            Some(it) if it.stopping => (Line::Rejected(section.into()), Some(it.id)),
            Some(it) => {
                let mid = section.mid.clone();
                let line = self.media_line(it, mid, &section.protocol, Some(section));
                (line, Some(it.id))
            }
            None if section.as_data().is_some() && !rejected_by_peer => {
                (Line::Data(section.into()), None)
            }
            None => {
                if section.rejected || rejected_by_peer {
                    self.free.push(index);
                }
                (Line::Rejected(section.into()), None)
            }
        };
        self.lines.push(line);
        self.plan.push(id);
    }

    /// Puts a new m-section into the first free place, or behind the others.
    fn place(&mut self, line: Line, id: Option<RTCRtpTransceiverId>) {
        let index = if self.free.is_empty() {
            self.lines.len()
        } else {
            self.free.remove(0)
        };
        match (self.lines.get_mut(index), self.plan.get_mut(index)) {
            (Some(slot), Some(planned)) => {
                *slot = line;
                *planned = id;
            }
            _ => {
                self.lines.push(line);
                self.plan.push(id);
            }
        }
    }

    /// The smallest number that no m-section has or had lately as its tag.
    fn unused_mid(&self) -> String {
        let descriptions = [self.basis.local, self.basis.remote];
        let is_used = |mid: &str| {
            let mut sections = descriptions.iter().flatten().flat_map(|it| &it.sections);
            sections.any(|section| section.mid == mid)
                || self.lines.iter().any(|line| line.head().mid == mid)
                || self
                    .basis
                    .media
                    .list
                    .iter()
                    .any(|it| it.mid.as_deref() == Some(mid))
        };
        let mut number = 0usize;
        loop {
            let mid = number.to_string();
            if !is_used(&mid) {
                return mid;
            }
            number += 1;
        }
    }

    fn media_line(
        &mut self,
        it: &Transceiver,
        mid: String,
        protocol: &str,
        section: Option<&Section>,
    ) -> Line {
        let last = section.and_then(Section::as_media);
        let codecs = self.codecs(it, last);
        let head = Head {
            mid,
            media: it.kind.as_str().to_owned(),
            protocol: protocol.to_owned(),
            formats: formats(&codecs),
        };
        if codecs.is_empty() {
            // All payload types are taken; the section keeps its place.
            let formats = section.map_or_else(|| vec!["0".to_owned()], |it| it.formats.clone());
            return Line::Rejected(Head { formats, ..head });
        }
        let extensions = self.extensions(it, last);
        let names_layers = extensions
            .iter()
            .any(|it| it.uri == ExtensionKind::RtpStreamId.uri());
        let mut media = Media {
            direction: it.direction,
            codecs,
            extensions,
            reduced_size_rtcp: true,
            msids: Vec::new(),
            send_layers: Vec::new(),
            recv_layers: Vec::new(),
            sources: None,
            cname: String::new(),
        };
        if names_layers {
            if it.direction.sends() && it.sender.simulcast {
                media.send_layers = send_layers(it);
            }
            if it.direction.receives() {
                media.recv_layers = received_layers(it);
            }
        }
        media.describe_sender(it, &self.basis.media.cname);
        Line::Media(head, Box::new(media))
    }

    /// The codecs of a transceiver with the payload types that they have in its m-section, or get.
    /// Without preferences, those that the m-section has come first, in its order.
    fn codecs(
        &mut self,
        it: &Transceiver,
        last: Option<&MediaSection>,
    ) -> Vec<RTCRtpCodecParameters> {
        let mut wanted = self.basis.engine.preferred(it.kind, &it.preferences);
        let current = last.map_or(&[][..], |last| &last.codecs);
        if it.preferences.is_empty() {
            wanted = in_order_of(wanted, current);
        }
        // From registered payload types to those of the offer.
        let mut renumbered: Vec<(PayloadType, PayloadType)> = Vec::with_capacity(wanted.len());
        for refers in [false, true] {
            for codec in &wanted {
                if references(&codec.rtp_codec).is_empty() == refers {
                    continue;
                }
                let given = self.payload_type(codec, current, &renumbered);
                renumbered.extend(given.map(|given| (codec.payload_type, given)));
            }
        }
        wanted
            .into_iter()
            .filter_map(|mut codec| {
                let given = new_number(&renumbered, codec.payload_type)?;
                codec.rtp_codec.sdp_fmtp_line =
                    with_references(&codec.rtp_codec, |it| new_number(&renumbered, it))?;
                codec.payload_type = given;
                Some(codec)
            })
            .collect()
    }

    fn payload_type(
        &mut self,
        codec: &RTCRtpCodecParameters,
        current: &[RTCRtpCodecParameters],
        renumbered: &[(PayloadType, PayloadType)],
    ) -> Option<PayloadType> {
        let mut rtp_codec = codec.rtp_codec.clone();
        rtp_codec.sdp_fmtp_line = with_references(&rtp_codec, |it| new_number(renumbered, it))?;
        let is_given = |payload_type| renumbered.iter().any(|(_, given)| *given == payload_type);
        let own = current.iter().find(|known| {
            known.rtp_codec.is_interchangeable_with(&rtp_codec) && !is_given(known.payload_type)
        });
        match own {
            Some(known) => Some(known.payload_type),
            None => self.numbers.payload_type(&rtp_codec, codec.payload_type),
        }
        .filter(|payload_type| !is_given(*payload_type))
    }

    fn extensions(&mut self, it: &Transceiver, last: Option<&MediaSection>) -> Vec<ExtMap> {
        self.basis
            .engine
            .header_extensions(it.kind)
            .filter_map(|(uri, direction)| {
                let own = last.and_then(|last| last.extension(uri)).map(|it| it.id);
                let id = own.or_else(|| self.numbers.extension(uri))?;
                Some(ExtMap {
                    direction: Some(direction).filter(|it| *it != Direction::SendRecv),
                    ..ExtMap::new(id, uri)
                })
            })
            .collect()
    }
}

/// The layers of a sender; those that are not active are announced as paused.
pub(super) fn send_layers(it: &Transceiver) -> Vec<NegotiatedLayer> {
    let layer = |encoding: &crate::rtp_transceiver::RTCRtpEncodingParameters| NegotiatedLayer {
        rid: encoding.rid().to_owned(),
        paused: !encoding.active,
        ..NegotiatedLayer::default()
    };
    it.sender.encodings.iter().map(layer).collect()
}

/// The layers in which the peer sends, wanted as before.
fn received_layers(it: &Transceiver) -> Vec<NegotiatedLayer> {
    let layers = it.receive.iter().flat_map(|receive| &receive.layers);
    layers.map(NegotiatedLayer::unrestricted).collect()
}

/// Codecs with those first that `current` has, in its order; each followed by its retransmission.
fn in_order_of(
    wanted: Vec<RTCRtpCodecParameters>,
    current: &[RTCRtpCodecParameters],
) -> Vec<RTCRtpCodecParameters> {
    let place = |codec: &RTCRtpCodec| {
        let mut known = current.iter();
        known
            .position(|known| known.rtp_codec.matches(codec))
            .unwrap_or(usize::MAX)
    };
    let mut groups: Vec<Vec<RTCRtpCodecParameters>> = Vec::new();
    for codec in wanted {
        match groups.last_mut() {
            Some(group) if codec.rtp_codec.is_retransmission() => {
                group.push(codec);
            }
            _ => groups.push(vec![codec]),
        }
    }
    groups.sort_by_cached_key(|group| {
        group
            .first()
            .map_or(usize::MAX, |codec| place(&codec.rtp_codec))
    });
    groups.into_iter().flatten().collect()
}

fn new_number(
    renumbered: &[(PayloadType, PayloadType)],
    payload_type: PayloadType,
) -> Option<PayloadType> {
    let mut all = renumbered.iter();
    all.find(|(registered, _)| *registered == payload_type)
        .map(|(_, given)| *given)
}

/// RFC 9429 section 5.1.2.
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";
