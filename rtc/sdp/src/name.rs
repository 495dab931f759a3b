//! Names of attributes that have no typed view: those without a value, and those whose value is kept
//! as text here because another part reads it.

/// A candidate (RFC 8839 section 5.1). ICE reads the value.
pub const CANDIDATE: &str = "candidate";
/// No further candidates will come (RFC 8840 section 8).
pub const END_OF_CANDIDATES: &str = "end-of-candidates";
/// The agent only answers checks (RFC 8839 section 5.3). Session level.
pub const ICE_LITE: &str = "ice-lite";
/// RTCP comes on the port of RTP (RFC 5761).
pub const RTCP_MUX: &str = "rtcp-mux";
/// RTCP can come on the port of RTP alone (RFC 8858).
pub const RTCP_MUX_ONLY: &str = "rtcp-mux-only";
/// RTCP packets may be of reduced size (RFC 5506).
pub const RTCP_RSIZE: &str = "rtcp-rsize";
/// Which extended reports are wanted (RFC 3611).
pub const RTCP_XR: &str = "rtcp-xr";
/// The section is for use in its BUNDLE group only (RFC 9143 section 6).
pub const BUNDLE_ONLY: &str = "bundle-only";
/// One- and two-byte header extensions may both occur (RFC 8285 section 6).
pub const EXTMAP_ALLOW_MIXED: &str = "extmap-allow-mixed";
/// The SCTP INIT chunk in base64 (draft-hancke-tsvwg-snap).
pub const SCTP_INIT: &str = "sctp-init";
/// An SDES key (RFC 4568), which WebRTC must not use.
pub const CRYPTO: &str = "crypto";
/// Sizes of images (RFC 6236).
pub const IMAGEATTR: &str = "imageattr";
/// An identity assertion (RFC 8827 section 5).
pub const IDENTITY: &str = "identity";
/// A data channel negotiated in SDP (RFC 8864).
pub const DCMAP: &str = "dcmap";
/// An attribute of a data channel's subprotocol (RFC 8864).
pub const DCSA: &str = "dcsa";
/// Marks a conference for old Chromium versions.
pub const X_GOOGLE_FLAG: &str = "x-google-flag";
