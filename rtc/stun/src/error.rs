use rtc_crypto::CryptoError;
use thiserror::Error;

use crate::AttributeType;

/// Why a datagram is not a message to work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Shorter than a header, or the first two bits or the magic cookie are wrong.
    #[error("not a STUN message")]
    NotStun,
    /// The length in the header is not that of the datagram, or not a multiple of 4.
    #[error("length of the message is wrong")]
    Length,
    /// An attribute runs past the end of the message.
    #[error("an attribute runs past the end of the message")]
    AttributeOverrun,
    /// Attributes follow FINGERPRINT, which has to be the last (RFC 8489 section 14.7).
    #[error("FINGERPRINT is not the last attribute")]
    FingerprintNotLast,
    /// The value of an attribute has not the form that its type asks for.
    #[error("value of {0} is malformed")]
    MalformedAttribute(AttributeType),
}

/// Why integrity or fingerprint did not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IntegrityError {
    /// The message does not have the attribute.
    #[error("attribute is missing")]
    Missing,
    /// The value has a length that the attribute cannot have.
    #[error("value has a wrong length")]
    Length,
    /// The value is not the one computed.
    #[error("value does not match")]
    Mismatch,
}

/// Why credentials cannot be used, or a request must not be repeated with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The message is not an error response 401 or 438.
    #[error("message is not a challenge")]
    NotAChallenge,
    /// REALM or NONCE is missing or malformed.
    #[error("challenge has no realm or no nonce")]
    IncompleteChallenge,
    /// The server does not accept the user name and password.
    #[error("server rejects the credentials")]
    Rejected,
    /// The server offers less protection than its nonce promises or than was agreed before.
    #[error("challenge lowers the protection")]
    BidDown,
    /// The server asks only for password algorithms that are not supported.
    #[error("no supported password algorithm")]
    UnsupportedAlgorithm,
    /// The server calls its own fresh nonce stale, or does so again and again.
    #[error("server calls every nonce stale")]
    NonceLoop,
    /// The cryptographic provider lacks an algorithm that is needed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}
