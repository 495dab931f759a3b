use rtc_crypto::CryptoError;
use rtc_shared::Truncated;
use thiserror::Error;

use crate::AlertDescription;

/// Why a connection could not be made, used or kept.
///
/// Junk from the network never becomes an error: it is counted in [`Stats`](crate::Stats) and dropped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration and the provider have no cipher suite in common that the certificate can serve.
    #[error("no cipher suite is left of configuration, provider and certificate")]
    NoCipherSuite,
    /// The configuration and the provider have no key agreement group in common.
    #[error("no key agreement group is left of configuration and provider")]
    NoGroup,
    /// The configured range of versions is empty or holds none that is implemented.
    #[error("range of protocol versions is empty or not implemented")]
    VersionRange,
    /// The configured datagram size leaves no room for a handshake fragment.
    #[error("maximum datagram size is too small")]
    MtuTooSmall,
    /// The operation needs a connection that is established and open.
    #[error("connection is not established")]
    NotConnected,
    /// The plaintext of a record is longer than 2^14 bytes (RFC 6347 section 4.1).
    #[error("plaintext is too long for one record")]
    RecordTooLong,
    /// The buffer does not hold the record that is to be finished.
    #[error("buffer does not hold the record that was begun")]
    RecordNotBegun,
    /// All 2^48 record numbers of the epoch are used.
    #[error("record numbers are exhausted")]
    SequenceExhausted,
    /// The exporter label is one that the protocol itself uses (RFC 5705 section 4).
    #[error("exporter label is reserved")]
    ReservedLabel,
    /// The exporter context is longer than 2^16 - 1 bytes (RFC 5705 section 4).
    #[error("exporter context is too long")]
    ContextTooLong,
    /// The peer ended the connection with this alert.
    #[error("peer sent alert {0}")]
    AlertReceived(AlertDescription),
    /// The handshake did not finish within the configured time.
    #[error("handshake timed out")]
    HandshakeTimeout,
    /// A message of the peer cannot be read.
    #[error("peer sent a malformed {0}")]
    Decode(&'static str),
    /// A message of the peer does not belong here.
    #[error("peer sent an unexpected message while {0} was due")]
    UnexpectedMessage(&'static str),
    /// A value of the peer is out of range or was not offered.
    #[error("peer sent an illegal {0}")]
    IllegalParameter(&'static str),
    /// The peer does not speak a version that we do.
    #[error("no common protocol version")]
    NoCommonVersion,
    /// The peer offers no cipher suite that we and our certificate can serve.
    #[error("no common cipher suite")]
    NoCommonCipherSuite,
    /// The peer offers no key agreement group that we have.
    #[error("no common key agreement group")]
    NoCommonGroup,
    /// The peer takes no signature scheme that our key can make.
    #[error("no common signature scheme")]
    NoCommonSignatureScheme,
    /// The peer does not support the extended master secret (RFC 7627), which is required.
    #[error("peer lacks the extended master secret")]
    MissingExtendedMasterSecret,
    /// The server answered an extension that was not offered.
    #[error("server sent extension {0}, which was not offered")]
    UnsupportedExtension(u16),
    /// The peer's renegotiation_info is that of a renegotiation (RFC 5746).
    #[error("renegotiation info is not that of a first handshake")]
    Renegotiation,
    /// The peer speaks a lower version than both sides are able to (RFC 8446 section 4.1.3).
    #[error("protocol version was downgraded")]
    Downgrade,
    /// The peer did not send a certificate.
    #[error("peer sent no certificate")]
    MissingCertificate,
    /// The peer's certificate is not valid X.509.
    #[error("certificate of the peer is malformed")]
    BadCertificate,
    /// The key of the peer's certificate is of a type that cannot be used here.
    #[error("key type of the peer's certificate cannot be used")]
    UnsupportedCertificate,
    /// The peer's certificate matches none of its signalled fingerprints.
    #[error("certificate of the peer does not match its fingerprint")]
    FingerprintMismatch,
    /// A signature of the peer does not verify.
    #[error("signature of the peer does not verify")]
    BadSignature,
    /// The peer's Finished message does not verify: the two sides saw different handshakes.
    #[error("Finished message of the peer does not verify")]
    BadFinished,
    /// A cryptographic operation of ours failed.
    #[error("cryptography: {0}")]
    Crypto(#[from] CryptoError),
    /// The handshake is in a state that its own messages cannot lead to.
    #[error("internal error")]
    Internal,
}

impl Error {
    /// The alert that tells the peer about this error; `None` for errors that are not the peer's
    /// business or came from it.
    #[must_use]
    pub fn alert(&self) -> Option<AlertDescription> {
        Some(match self {
            Self::NoCipherSuite
            | Self::NoGroup
            | Self::VersionRange
            | Self::MtuTooSmall
            | Self::NotConnected
            | Self::RecordTooLong
            | Self::RecordNotBegun
            | Self::SequenceExhausted
            | Self::ReservedLabel
            | Self::ContextTooLong
            | Self::AlertReceived(_) => return None,
            Self::Decode(_) => AlertDescription::DECODE_ERROR,
            Self::UnexpectedMessage(_) => AlertDescription::UNEXPECTED_MESSAGE,
            Self::IllegalParameter(_) | Self::Downgrade => AlertDescription::ILLEGAL_PARAMETER,
            Self::NoCommonVersion => AlertDescription::PROTOCOL_VERSION,
            Self::NoCommonCipherSuite
            | Self::NoCommonGroup
            | Self::NoCommonSignatureScheme
            | Self::MissingExtendedMasterSecret
            | Self::Renegotiation
            | Self::MissingCertificate
            | Self::HandshakeTimeout => AlertDescription::HANDSHAKE_FAILURE,
            Self::UnsupportedExtension(_) => AlertDescription::UNSUPPORTED_EXTENSION,
            Self::BadCertificate | Self::FingerprintMismatch => AlertDescription::BAD_CERTIFICATE,
            Self::UnsupportedCertificate => AlertDescription::UNSUPPORTED_CERTIFICATE,
            Self::BadSignature | Self::BadFinished => AlertDescription::DECRYPT_ERROR,
            Self::Crypto(_) | Self::Internal => AlertDescription::INTERNAL_ERROR,
        })
    }
}

/// Names the message in which a read ran past the end.
pub(crate) trait InMessage<T> {
    /// Turns [`Truncated`] into [`Error::Decode`] of `message`.
    fn in_message(self, message: &'static str) -> Result<T, Error>;
}

impl<T> InMessage<T> for Result<T, Truncated> {
    fn in_message(self, message: &'static str) -> Result<T, Error> {
        self.map_err(|Truncated| Error::Decode(message))
    }
}
