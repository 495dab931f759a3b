//! The Session Description Protocol as WebRTC uses it: a lossless grammar (RFC 8866) and typed views
//! of the attributes.
//!
//! [`SessionDescription`] is parsed with [`str::parse`] and written with `Display`; what was parsed is
//! written back line by line as it was. Attributes are kept as text. What they mean is read on
//! demand, by a type for each ([`RtpMap`], [`Fingerprint`], [`Simulcast`], …), with the methods
//! `get`, `all` and [`SessionDescription::get_of`]; building is the other way round, with `push` and
//! `with`. Errors carry the number of the line; [`SessionDescription::validate`] finds those of all
//! attributes at once.
//!
//! Offers, answers and what one makes of the other are not known here, nor are candidates: they are
//! text.
//!
//! ```
//! use rtc_sdp::{
//!     Attribute, Direction, ErrorKind, MediaDescription, Mid, Origin, RtpMap, SessionDescription,
//! };
//!
//! let text = "v=0\r\n\
//!     o=- 4611731400430051336 2 IN IP4 127.0.0.1\r\n\
//!     s=-\r\n\
//!     t=0 0\r\n\
//!     a=group:BUNDLE 0\r\n\
//!     m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
//!     c=IN IP4 0.0.0.0\r\n\
//!     a=mid:0\r\n\
//!     a=recvonly\r\n\
//!     a=rtpmap:111 opus/48000/2\r\n";
//! let offer: SessionDescription = text.parse()?;
//! assert_eq!(offer.to_string(), text);
//!
//! let audio = offer.media_with_mid("0").ok_or(ErrorKind::Missing("mid"))?;
//! assert_eq!(offer.direction_of(audio), Direction::RecvOnly);
//! let codecs = audio.all::<RtpMap>().collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(codecs, [RtpMap::new(111, "opus", 48000).with_channels(2)]);
//!
//! let answer = SessionDescription::new(Origin::new(7, 1)).with_media(
//!     MediaDescription::new("audio", 9, "UDP/TLS/RTP/SAVPF", ["111"])
//!         .with(Mid("0".into()))
//!         .with(Direction::SendOnly)
//!         .with(Attribute::flag("rtcp-mux"))
//!         .with(RtpMap::new(111, "opus", 48000).with_channels(2)),
//! );
//! assert!(answer.to_string().ends_with("a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"));
//!
//! let error = text.replace("9 UDP", "99999 UDP").parse::<SessionDescription>().unwrap_err();
//! assert_eq!((error.line, error.kind), (6, ErrorKind::OutOfRange("port")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attribute;
mod error;
mod fields;
mod fragment;
mod media;
pub mod name;
mod parse;
mod rtp;
mod session;
mod simulcast;
mod transport;
mod validate;

pub use attribute::{Attribute, AttributeValue};
pub use error::{ErrorKind, ParseError};
pub use fields::is_token;
pub use fragment::SdpFragment;
pub use media::MediaDescription;
pub use parse::{MAX_LENGTH, MAX_LINE_LENGTH, MAX_MEDIA};
pub use rtp::{
    Direction, ExtMap, Fmtp, MaxPtime, Msid, MsidSemantic, Ptime, RtcpFb, RtpMap, Ssrc, SsrcGroup,
};
pub use session::{Bandwidth, Connection, Origin, SessionDescription, Timing};
pub use simulcast::{Rid, RidDirection, Simulcast, SimulcastId, SimulcastStream};
pub use transport::{
    Fingerprint, Group, IceOptions, IcePacing, IcePwd, IceUfrag, MaxMessageSize, Mid, Rtcp,
    SctpMap, SctpPort, Setup, TlsId,
};
