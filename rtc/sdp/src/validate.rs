use crate::{
    Attribute, AttributeValue, ExtMap, Fingerprint, Fmtp, Group, IcePwd, IceUfrag, MaxMessageSize,
    MediaDescription, Mid, Msid, ParseError, RtcpFb, RtpMap, SctpMap, SctpPort, SessionDescription,
    Setup, Ssrc, SsrcGroup,
};

impl SessionDescription {
    /// Reads every attribute whose malformed value makes a WebRTC description as a whole invalid
    /// (RFC 9429 section 5.8), and the payload types of RTP sections; to be called before any of it
    /// is applied.
    ///
    /// Attributes that are to be ignored when they are malformed, `rid` and `simulcast` among them
    /// (RFC 8851 section 6, RFC 8853 section 5.1), are not looked at, nor is what attributes mean
    /// together.
    ///
    /// # Errors
    /// The first malformed value, in the order of lines.
    pub fn validate(&self) -> Result<(), ParseError> {
        self.attributes.iter().try_for_each(transport)?;
        for media in &self.media {
            if media.is_rtp() {
                media.payload_types()?;
            }
            media
                .attributes
                .iter()
                .try_for_each(|attribute| of_media(media, attribute))?;
        }
        Ok(())
    }
}

fn of_media(media: &MediaDescription, attribute: &Attribute) -> Result<(), ParseError> {
    transport(attribute)?;
    // Elsewhere formats are no payload types: old Firefox has `a=fmtp:webrtc-datachannel`.
    if media.is_rtp() {
        read::<RtpMap>(attribute)?;
        read::<Fmtp>(attribute)?;
        read::<RtcpFb>(attribute)?;
        read::<Ssrc>(attribute)?;
        read::<SsrcGroup>(attribute)?;
        read::<Msid>(attribute)?;
    }
    read::<Mid>(attribute)?;
    read::<SctpPort>(attribute)?;
    read::<SctpMap>(attribute)?;
    read::<MaxMessageSize>(attribute)
}

/// Those that may stand at both levels.
fn transport(attribute: &Attribute) -> Result<(), ParseError> {
    read::<Group>(attribute)?;
    read::<ExtMap>(attribute)?;
    read::<Setup>(attribute)?;
    read::<Fingerprint>(attribute)?;
    read::<IceUfrag>(attribute)?;
    read::<IcePwd>(attribute)
}

fn read<T: AttributeValue>(attribute: &Attribute) -> Result<(), ParseError> {
    if attribute.is(T::NAME) {
        attribute.parse::<T>()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

    fn validate(text: &str) -> Result<(), ParseError> {
        text.parse::<SessionDescription>().unwrap().validate()
    }

    #[test]
    fn a_malformed_attribute_is_reported_with_its_line() {
        for (attribute, kind) in [
            (
                "rtpmap:128 VP8/90000",
                ErrorKind::OutOfRange("payload type"),
            ),
            ("fmtp:x a=b", ErrorKind::Malformed("payload type")),
            ("rtcp-fb:96", ErrorKind::Missing("feedback type")),
            ("ssrc:4294967296 cname:x", ErrorKind::OutOfRange("ssrc")),
            ("ssrc-group:FID -1", ErrorKind::Malformed("ssrc")),
            ("extmap:0 urn:x", ErrorKind::OutOfRange("extension id")),
            ("msid", ErrorKind::Missing("stream id")),
            ("mid:a b", ErrorKind::Malformed("mid")),
            ("group", ErrorKind::Missing("semantics")),
            ("setup:both", ErrorKind::Unknown("setup role")),
            (
                "fingerprint:sha-256 XY",
                ErrorKind::Malformed("fingerprint"),
            ),
            ("ice-ufrag:abc", ErrorKind::OutOfRange("ice-ufrag")),
            ("ice-pwd:abc", ErrorKind::OutOfRange("ice-pwd")),
            ("sctp-port:65536", ErrorKind::OutOfRange("port")),
            ("sctpmap:65536 x", ErrorKind::OutOfRange("port")),
            ("max-message-size:-1", ErrorKind::Malformed("message size")),
        ] {
            let text = format!("{HEAD}m=video 9 RTP/SAVPF 96\r\na=x\r\na={attribute}\r\n");
            assert_eq!(
                validate(&text),
                Err(ParseError { line: 7, kind }),
                "{attribute}"
            );
        }
        let session = format!("{HEAD}a=setup:both\r\n");
        assert_eq!(validate(&session).unwrap_err().line, 5);
        let formats = format!("{HEAD}m=video 9 RTP/SAVPF 96 128\r\n");
        assert_eq!(validate(&formats).unwrap_err().line, 5);
    }

    #[test]
    fn what_is_to_be_ignored_is_ignored() {
        for attribute in [
            "rid:",
            "simulcast:x",
            "x:y",
            "ptime:x",
            "candidate:",
            "imageattr:*",
        ] {
            let text = format!("{HEAD}m=video 9 RTP/SAVPF 96\r\na={attribute}\r\n");
            assert_eq!(validate(&text), Ok(()), "{attribute}");
        }
        let data = format!(
            "{HEAD}m=application 9 DTLS/SCTP webrtc-datachannel\r\n\
             a=fmtp:webrtc-datachannel max-message-size=100000\r\n"
        );
        assert_eq!(validate(&data), Ok(()));
    }
}
