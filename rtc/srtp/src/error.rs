use rtc_crypto::CryptoError;
use thiserror::Error;

/// Why a context cannot be made, or a packet not be protected or unprotected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The crypto provider lacks an algorithm of the profile.
    #[error("crypto provider lacks an algorithm of the profile")]
    Unsupported,
    /// Key, salt or exported material does not have the length that the profile needs.
    #[error("keying material has the wrong length for the profile")]
    KeyLength,
    /// Not an RTP or RTCP packet, too short for its header and tag, or longer than a datagram.
    #[error("not a packet of this protocol")]
    Malformed,
    /// The buffer has no room for what protection adds.
    #[error("buffer has no room for the tag")]
    BufferTooSmall,
    /// The tag does not match: forged, damaged, or of another key.
    #[error("authentication failed")]
    Authentication,
    /// The packet was received before, or is older than the replay window.
    #[error("packet was received before or is too old")]
    Replayed,
    /// An SRTCP packet that is not encrypted.
    #[error("SRTCP packet is not encrypted")]
    Unencrypted,
    /// Another packet was already sent under this sequence number, or may have been.
    #[error("sequence number was used for another packet")]
    IndexReused,
    /// The key has protected as many packets as it may (RFC 3711 section 9.2).
    #[error("lifetime of the key has ended")]
    KeyExhausted,
    /// More sources than a context sends for.
    #[error("too many sources")]
    TooManySources,
}

impl From<CryptoError> for Error {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::InvalidKey => Self::KeyLength,
            CryptoError::InvalidLength => Self::Malformed,
            CryptoError::Authentication => Self::Authentication,
            _ => Self::Unsupported,
        }
    }
}
