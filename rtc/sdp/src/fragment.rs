use std::fmt;

use crate::attribute::attribute_accessors;
use crate::session::write_lines;
use crate::{Attribute, MediaDescription};

/// A piece of a description that carries ICE candidates and credentials between descriptions: media
/// type `application/trickle-ice-sdpfrag` (RFC 8840 section 9), the body of a WHIP `PATCH`
/// (RFC 9725 section 4.3).
///
/// Attributes come first, then media sections, whose `m=` lines only keep the sections apart
/// (`m=audio 9 RTP/AVP 0`); a section is told by its `a=mid`.
///
/// ```
/// use rtc_sdp::{Attribute, IcePwd, IceUfrag, MediaDescription, Mid, SdpFragment};
///
/// let mut fragment = SdpFragment::default()
///     .with(IceUfrag("EsAw".into()))
///     .with(IcePwd("P2uYro0UCOQ4zxjKXaWCBui1".into()));
/// fragment.media.push(
///     MediaDescription::new("audio", 9, "RTP/AVP", ["0"])
///         .with(Mid("0".into()))
///         .with(Attribute::new("candidate", "1 1 udp 2130706431 192.0.2.1 61764 typ host"))
///         .with(Attribute::flag("end-of-candidates")),
/// );
/// let text = fragment.to_string();
/// assert!(text.starts_with("a=ice-ufrag:EsAw\r\na=ice-pwd:"));
/// assert_eq!(text.parse(), Ok(fragment));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SdpFragment {
    /// `a=` before the first media section, in their order.
    pub attributes: Vec<Attribute>,
    /// The media sections, in their order.
    pub media: Vec<MediaDescription>,
}

attribute_accessors!(SdpFragment);

impl SdpFragment {
    /// The value of the first attribute of that name in the media section, or else before all
    /// sections: credentials may stand at either place.
    pub fn attribute_of<'a>(&'a self, media: &'a MediaDescription, name: &str) -> Option<&'a str> {
        media.attribute(name).or_else(|| self.attribute(name))
    }
}

impl fmt::Display for SdpFragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, 'a', &self.attributes)?;
        self.media.iter().try_for_each(|media| media.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_whip_fragment_is_read() {
        let text = "a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n\
            m=audio 9 RTP/AVP 0\na=mid:0\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\n\
            m=video 9 RTP/AVP 0\na=mid:1\na=ice-ufrag:other\na=end-of-candidates\n";
        let fragment: SdpFragment = text.parse().unwrap();
        let [audio, video] = fragment.media.as_slice() else {
            panic!("two sections")
        };
        assert_eq!(audio.candidates().count(), 1);
        assert_eq!(fragment.attribute_of(audio, "ice-ufrag"), Some("EsAw"));
        assert_eq!(fragment.attribute_of(video, "ice-ufrag"), Some("other"));
        assert!(video.has("end-of-candidates"));
        assert_eq!(fragment.to_string(), text.replace('\n', "\r\n"));
    }

    #[test]
    fn a_whole_description_is_no_fragment() {
        assert_eq!("".parse(), Ok(SdpFragment::default()));
        let error = "v=0\r\n".parse::<SdpFragment>().unwrap_err();
        assert_eq!(error, ErrorKind::OutOfOrder('v').at(1));
    }
}
