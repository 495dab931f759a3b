//! Identifiers of media streams and tracks (W3C mediacapture-main).

/// Identifier of a media stream.
pub type MediaStreamId = String;

/// Identifier of a track within a connection.
pub type MediaStreamTrackId = String;

/// Restriction identifier of a simulcast encoding (RFC 8851).
pub type RtpStreamId = String;
