use rtc_rtp::extension::ExtensionKind;
use rtc_sdp::{Direction, ExtMap, SessionDescription, Setup};

use super::numbers::is_usable;
use super::offer::send_layers;
use super::{
    Frame, Head, Line, LocalTransport, Media, Numbers, Version, allows_mixed_headers, formats,
};
use crate::peer_connection::configuration::media_engine::MediaEngine;
use crate::peer_connection::description::{Content, Description, MediaSection, Section};
use crate::rtp_transceiver::apply::multiplexes_rtcp;
use crate::rtp_transceiver::codec::{Purpose, references, retransmission_of, with_references};
use crate::rtp_transceiver::transceivers::{Transceiver, Transceivers};
use crate::rtp_transceiver::{NegotiatedLayer, PayloadType, RTCRtpCodecParameters};

/// What an answer is made of.
pub(crate) struct Basis<'a> {
    pub(crate) offer: &'a Description,
    /// Our current description.
    pub(crate) local: Option<&'a Description>,
    pub(crate) media: &'a Transceivers,
    pub(crate) engine: &'a MediaEngine,
    pub(crate) numbers: &'a Numbers,
}

/// What is accepted of an offer.
pub(crate) struct Plan {
    lines: Vec<Line>,
    /// The one of the offer's transports that the accepted m-sections share.
    pub(crate) transport: Option<usize>,
}

impl Basis<'_> {
    /// Chooses what to accept (RFC 9429 section 5.3.1): what is understood and on one transport, the
    /// one in use if there is one.
    pub(crate) fn plan(&self) -> Plan {
        let mut lines: Vec<Option<Line>> = Vec::with_capacity(self.offer.sections.len());
        let mut numbers = self.numbers.clone();
        numbers.learn(self.offer);
        let mut has_data = false;
        for (index, section) in self.offer.sections.iter().enumerate() {
            let line = match &section.content {
                Content::None => None,
                Content::Data(_) => {
                    (!std::mem::replace(&mut has_data, true)).then(|| Line::Data(section.into()))
                }
                Content::Media(media) => self.media_line(index, section, media, &mut numbers),
            };
            lines.push(line);
        }
        let acceptable = || {
            let sections = self.offer.sections.iter().zip(&lines).enumerate();
            sections.filter(|(_, (_, line))| line.is_some())
        };
        let was_in_use = |index: usize| {
            let local = self.local.and_then(|local| local.sections.get(index));
            local.is_some_and(|section| !section.rejected)
        };
        let transport = acceptable()
            .find(|(index, _)| was_in_use(*index))
            .or_else(|| acceptable().next())
            .and_then(|(_, (section, _))| section.transport);
        let lines = self
            .offer
            .sections
            .iter()
            .zip(lines)
            .map(|(section, line)| {
                line.filter(|_| section.transport == transport)
                    .unwrap_or_else(|| Line::Rejected(section.into()))
            })
            .collect();
        Plan { lines, transport }
    }

    fn media_line(
        &self,
        index: usize,
        section: &Section,
        offered: &MediaSection,
        numbers: &mut Numbers,
    ) -> Option<Line> {
        let it = self
            .media
            .at(index, &section.mid)
            .filter(|it| !it.stopping)?;
        if !multiplexes_rtcp(self.offer, section) {
            return None;
        }
        let codecs = self.codecs(it, offered);
        if !codecs
            .iter()
            .any(|codec| codec.rtp_codec.purpose() == Purpose::Media)
        {
            return None;
        }
        let extensions = self.extensions(it, offered, numbers);
        let names_layers = extensions
            .iter()
            .any(|it| it.uri == ExtensionKind::RtpStreamId.uri());
        let direction = it.direction.intersection(offered.direction.reversed());
        let head = Head {
            formats: formats(&codecs),
            ..section.into()
        };
        let mut media = Media {
            direction,
            codecs,
            extensions,
            reduced_size_rtcp: offered.reduced_size_rtcp,
            msids: Vec::new(),
            send_layers: Vec::new(),
            recv_layers: Vec::new(),
            sources: None,
            cname: String::new(),
        };
        if names_layers {
            if direction.receives() {
                let layers = offered.send_layers.iter();
                media.recv_layers = layers.map(NegotiatedLayer::unrestricted).collect();
            }
            if direction.sends() && it.sender.simulcast {
                media.send_layers = send_layers(it);
                media
                    .send_layers
                    .retain(|layer| offered.recv_layers.iter().any(|it| it.rid == layer.rid));
            }
        }
        media.describe_sender(it, &self.media.cname);
        Some(Line::Media(head, Box::new(media)))
    }

    /// The offered codecs that we have, with the offered payload types, in the offered order or that
    /// of our preferences; each followed by its retransmission.
    fn codecs(&self, it: &Transceiver, offered: &MediaSection) -> Vec<RTCRtpCodecParameters> {
        let ours = self.engine.preferred(it.kind, &it.preferences);
        let is_primary = |codec: &&RTCRtpCodecParameters| !codec.rtp_codec.is_retransmission();
        // Place in our order, ours, theirs.
        let mut common: Vec<(usize, &RTCRtpCodecParameters, &RTCRtpCodecParameters)> = offered
            .codecs
            .iter()
            .filter(is_primary)
            .filter_map(|theirs| {
                let mut candidates = ours
                    .iter()
                    .enumerate()
                    .filter(|(_, codec)| is_primary(codec));
                let (place, ours) =
                    candidates.find(|(_, ours)| ours.rtp_codec.matches(&theirs.rtp_codec))?;
                Some((place, ours, theirs))
            })
            .collect();
        if !it.preferences.is_empty() {
            common.sort_by_key(|(place, ..)| *place);
        }
        // From registered payload types to those of the offer.
        let offered_number = |registered: PayloadType| {
            let mut all = common.iter();
            let found = all.find(|(_, ours, _)| ours.payload_type == registered);
            found.map(|(_, _, theirs)| theirs.payload_type)
        };
        let mut codecs = Vec::with_capacity(2 * common.len());
        for (_, ours_one, theirs) in &common {
            let refers = !references(&ours_one.rtp_codec).is_empty();
            let fmtp = if refers {
                with_references(&ours_one.rtp_codec, offered_number)
            } else {
                Some(ours_one.rtp_codec.answer_to(&theirs.rtp_codec))
            };
            let Some(sdp_fmtp_line) = fmtp else { continue };
            let mut codec = (*theirs).clone();
            codec.rtp_codec.sdp_fmtp_line = sdp_fmtp_line;
            codec
                .rtp_codec
                .rtcp_feedback
                .retain(|feedback| ours_one.rtp_codec.rtcp_feedback.contains(feedback));
            codecs.push(codec);
            if retransmission_of(&ours, ours_one.payload_type).is_some()
                && let Some(theirs) = retransmission_of(&offered.codecs, theirs.payload_type)
            {
                let mut rtx = theirs.clone();
                let apt = references(&rtx.rtp_codec)
                    .first()
                    .copied()
                    .unwrap_or_default();
                rtx.rtp_codec.sdp_fmtp_line = format!("apt={apt}");
                rtx.rtp_codec.rtcp_feedback.clear();
                codecs.push(rtx);
            }
        }
        codecs
    }

    /// The offered header extensions that we have, with the offered numbers (RFC 8285 section 5).
    fn extensions(
        &self,
        it: &Transceiver,
        offered: &MediaSection,
        numbers: &mut Numbers,
    ) -> Vec<ExtMap> {
        let mut extensions: Vec<ExtMap> = Vec::new();
        for theirs in &offered.extensions {
            let mut all = self.engine.header_extensions(it.kind);
            let Some((_, ours)) = all.find(|(uri, _)| *uri == theirs.uri) else {
                continue;
            };
            if extensions.iter().any(|known| known.uri == theirs.uri) {
                continue;
            }
            let direction = ours.intersection(theirs.direction.unwrap_or_default().reversed());
            // A number above the range of headers offers alternatives: ours is to choose one within.
            let id = match theirs.id {
                id if is_usable(id) => Some(id),
                4096.. => numbers.extension(&theirs.uri),
                _ => None,
            };
            if let (Some(id), true) = (id, direction != Direction::Inactive) {
                extensions.push(ExtMap {
                    direction: Some(direction).filter(|it| *it != Direction::SendRecv),
                    ..ExtMap::new(id, theirs.uri.as_str())
                });
            }
        }
        extensions
    }
}

impl Plan {
    /// The answer.
    pub(crate) fn answer(
        &self,
        version: Version,
        offer: &Description,
        setup: Setup,
        transport: &LocalTransport,
    ) -> SessionDescription {
        let accepted = self.transport.and_then(|index| offer.transports.get(index));
        let frame = Frame {
            version,
            transport,
            setup,
            bundles: accepted.is_some_and(|transport| transport.is_bundled),
            allow_mixed_headers: allows_mixed_headers(offer),
            bundle_only: &|_| false,
        };
        frame.write(&self.lines)
    }
}
