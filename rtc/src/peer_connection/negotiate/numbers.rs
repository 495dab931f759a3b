//! Payload types and numbers of header extensions: what they mean in this session, and which are free.

use std::collections::BTreeMap;

use crate::peer_connection::description::{Description, Section};
use crate::rtp_transceiver::{PayloadType, RTCRtpCodec};

/// What numbers mean in the BUNDLE group of a session. Within it a number has one meaning
/// (RFC 9143 sections 9.1 and 14), and should keep it (RFC 3264 section 8.3.2).
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    payload_types: BTreeMap<PayloadType, RTCRtpCodec>,
    extensions: BTreeMap<u16, String>,
}

impl Numbers {
    /// Learns the meanings that a description gives; the latest one counts.
    pub(crate) fn learn(&mut self, description: &Description) {
        for media in description.sections.iter().filter_map(Section::as_media) {
            for codec in &media.codecs {
                self.payload_types
                    .insert(codec.payload_type, codec.rtp_codec.clone());
            }
            for extension in &media.extensions {
                self.extensions.insert(extension.id, extension.uri.clone());
            }
        }
    }

    /// A payload type for a codec: the preferred one if it is free or means it, one that means it, or
    /// a free one.
    pub(crate) fn payload_type(
        &mut self,
        codec: &RTCRtpCodec,
        preferred: PayloadType,
    ) -> Option<PayloadType> {
        let means = |known: &RTCRtpCodec| known.is_interchangeable_with(codec);
        let known = |payload_type| self.payload_types.get(&payload_type);
        let payload_type = Some(preferred)
            .filter(|payload_type| known(*payload_type).is_none_or(means))
            .or_else(|| {
                let mut all = self.payload_types.iter();
                all.find(|(_, codec)| means(codec))
                    .map(|(number, _)| *number)
            })
            .or_else(|| {
                DYNAMIC
                    .into_iter()
                    .flatten()
                    .find(|it| known(*it).is_none())
            })?;
        self.payload_types.insert(payload_type, codec.clone());
        Some(payload_type)
    }

    /// A number for a header extension: one that means it, or a free one.
    pub(crate) fn extension(&mut self, uri: &str) -> Option<u16> {
        let mut all = self.extensions.iter();
        let known = all.find(|(id, known)| *known == uri && is_usable(**id));
        let id = match known {
            Some((id, _)) => *id,
            None => (1..=255).find(|id| is_usable(*id) && !self.extensions.contains_key(id))?,
        };
        self.extensions.insert(id, uri.to_owned());
        Some(id)
    }
}

/// Whether a number can stand in a header; 15 cannot in the short form (RFC 8285 section 4.2).
pub(crate) fn is_usable(id: u16) -> bool {
    matches!(id, 1..=14 | 16..=255)
}

/// Those of RFC 3551 section 3 first, then the others that no RTCP packet looks like.
const DYNAMIC: [std::ops::RangeInclusive<PayloadType>; 2] = [96..=127, 35..=63];

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(name: &str, fmtp: &str) -> RTCRtpCodec {
        RTCRtpCodec {
            mime_type: format!("video/{name}"),
            clock_rate: 90000,
            sdp_fmtp_line: fmtp.to_owned(),
            ..RTCRtpCodec::default()
        }
    }

    #[test]
    fn a_payload_type_has_one_meaning() {
        let mut numbers = Numbers::default();
        let vp8 = codec("VP8", "");
        assert_eq!(numbers.payload_type(&vp8, 96), Some(96));
        assert_eq!(numbers.payload_type(&codec("VP9", ""), 96), Some(97));
        assert_eq!(numbers.payload_type(&vp8, 97), Some(96), "it has one");
        assert_eq!(
            numbers.payload_type(&vp8, 100),
            Some(100),
            "a free one is as good"
        );
        assert_eq!(numbers.payload_type(&codec("rtx", "apt=96"), 98), Some(98));
        assert_eq!(numbers.payload_type(&codec("rtx", "apt=97"), 98), Some(99));
        let mut given: Vec<_> = (0..200)
            .map_while(|number| numbers.payload_type(&codec(&format!("x{number}"), ""), 96))
            .collect();
        given.sort_unstable();
        given.dedup();
        assert_eq!(
            given.len(),
            32 + 29 - 5,
            "all but the five above, each once"
        );
        assert!(given.iter().all(|it| matches!(it, 35..=63 | 96..=127)));
    }

    #[test]
    fn extensions_keep_their_numbers() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.extension("a"), Some(1));
        assert_eq!(numbers.extension("b"), Some(2));
        assert_eq!(numbers.extension("a"), Some(1));
        let ids: Vec<u16> = (0..300)
            .map_while(|number| numbers.extension(&format!("urn:{number}")))
            .collect();
        assert_eq!(ids.len(), 252);
        assert!(!ids.contains(&15));
    }
}
