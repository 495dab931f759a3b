use thiserror::Error;

/// Why a datagram is not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It ends before its header does.
    #[error("packet ends within its header")]
    Truncated,
    /// The version is not 2.
    #[error("version is not 2")]
    Version,
    /// The count of padding bytes is 0 or more than there are.
    #[error("count of padding bytes is wrong")]
    Padding,
}

/// Why an element cannot be put into a header extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// The identifier 0 is padding.
    #[error("identifier 0 is reserved")]
    ReservedId,
    /// An element has at most 255 bytes, all together at most 65 535.
    #[error("element is too long")]
    TooLong,
    /// The extension is of a profile other than that of RFC 8285, which has no elements.
    #[error("extension is of another profile")]
    OtherProfile,
    /// The value has parts that its format cannot express.
    #[error("value cannot be expressed")]
    Unencodable,
}
