use std::fmt;

/// What an alert says (RFC 5246 section 7.2, RFC 8446 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlertDescription(pub u8);

macro_rules! descriptions {
    ($($(#[$doc:meta])* $constant:ident = $value:literal, $name:literal;)*) => {
        impl AlertDescription {
            $($(#[$doc])* pub const $constant: Self = Self($value);)*

            /// The name in the RFCs, as `handshake_failure`; `None` for an unassigned number.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

descriptions! {
    /// The sender will send no more.
    CLOSE_NOTIFY = 0, "close_notify";
    /// A message came out of order.
    UNEXPECTED_MESSAGE = 10, "unexpected_message";
    /// A record did not authenticate.
    BAD_RECORD_MAC = 20, "bad_record_mac";
    /// A record is longer than allowed.
    RECORD_OVERFLOW = 22, "record_overflow";
    /// No acceptable set of parameters.
    HANDSHAKE_FAILURE = 40, "handshake_failure";
    /// A certificate is corrupt or not the expected one.
    BAD_CERTIFICATE = 42, "bad_certificate";
    /// A certificate is of an unsupported type.
    UNSUPPORTED_CERTIFICATE = 43, "unsupported_certificate";
    /// A certificate was revoked.
    CERTIFICATE_REVOKED = 44, "certificate_revoked";
    /// A certificate has expired.
    CERTIFICATE_EXPIRED = 45, "certificate_expired";
    /// Another reason against a certificate.
    CERTIFICATE_UNKNOWN = 46, "certificate_unknown";
    /// A field is out of range or inconsistent.
    ILLEGAL_PARAMETER = 47, "illegal_parameter";
    /// The issuer of a certificate is unknown.
    UNKNOWN_CA = 48, "unknown_ca";
    /// The sender of a valid certificate is not let in.
    ACCESS_DENIED = 49, "access_denied";
    /// A message cannot be read.
    DECODE_ERROR = 50, "decode_error";
    /// A signature or Finished message does not verify.
    DECRYPT_ERROR = 51, "decrypt_error";
    /// The protocol version is not supported.
    PROTOCOL_VERSION = 70, "protocol_version";
    /// The parameters are too weak.
    INSUFFICIENT_SECURITY = 71, "insufficient_security";
    /// An error that has nothing to do with the peer.
    INTERNAL_ERROR = 80, "internal_error";
    /// A retry with a lower version was not necessary.
    INAPPROPRIATE_FALLBACK = 86, "inappropriate_fallback";
    /// The handshake is given up for other reasons.
    USER_CANCELED = 90, "user_canceled";
    /// A renegotiation is refused.
    NO_RENEGOTIATION = 100, "no_renegotiation";
    /// An extension that must be there is missing.
    MISSING_EXTENSION = 109, "missing_extension";
    /// An extension was answered that was not offered.
    UNSUPPORTED_EXTENSION = 110, "unsupported_extension";
    /// A certificate is required.
    CERTIFICATE_REQUIRED = 116, "certificate_required";
    /// No common application protocol.
    NO_APPLICATION_PROTOCOL = 120, "no_application_protocol";
}

impl fmt::Display for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// An alert as it is on the wire: level and description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) fatal: bool,
    pub(crate) description: AlertDescription,
}

impl Alert {
    pub(crate) const CLOSE_NOTIFY: Self = Self::warning(AlertDescription::CLOSE_NOTIFY);

    pub(crate) const fn fatal(description: AlertDescription) -> Self {
        Self {
            fatal: true,
            description,
        }
    }

    pub(crate) const fn warning(description: AlertDescription) -> Self {
        Self {
            fatal: false,
            description,
        }
    }

    /// Reads the content of an alert record; `None` when it is not exactly one alert.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        match *payload {
            [level @ (1 | 2), description] => Some(Self {
                fatal: level == 2,
                description: AlertDescription(description),
            }),
            _ => None,
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; 2] {
        [if self.fatal { 2 } else { 1 }, self.description.0]
    }

    /// True when the sender is gone after it.
    pub(crate) fn ends(self) -> bool {
        self.fatal || self.description == AlertDescription::CLOSE_NOTIFY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_bytes_with_a_known_level_are_an_alert() {
        for description in 0..=255 {
            for level in [1, 2] {
                let alert = Alert::parse(&[level, description]).unwrap();
                assert_eq!(alert.to_bytes(), [level, description]);
            }
            assert_eq!(Alert::parse(&[3, description]), None);
        }
        assert_eq!(Alert::parse(&[2]), None);
        assert_eq!(Alert::parse(&[2, 40, 2, 40]), None);
    }

    #[test]
    fn a_description_is_shown_by_name_and_number() {
        assert_eq!(
            AlertDescription::HANDSHAKE_FAILURE.to_string(),
            "handshake_failure (40)"
        );
        assert_eq!(AlertDescription(200).to_string(), "200");
    }
}
