//! SRTP and SRTCP (RFC 3711, RFC 7714), in place.
//!
//! A session has two contexts, one for each direction: a [`SendContext`] protects what leaves, a
//! [`ReceiveContext`] unprotects what arrives. Both work on the packet where it lies and allocate
//! only when a source is new. [`KeyingMaterial`] splits what the DTLS handshake exports into the
//! master keys of the two sides (RFC 5764).
//!
//! * Keys are derived and scheduled once, when a context is made.
//! * The rollover counter of each source is kept here, guessed by RFC 3711 section 3.3.1 and moved
//!   by authenticated packets alone; so are the replay windows.
//! * No index is used for two different packets. A packet may be sent again as it was, where the
//!   peer asks for retransmissions without RTX: see [`SendContext::allow_retransmission`].
//!
//! There is no MKI and no key derivation rate, since DTLS-SRTP has neither in WebRTC, and SRTCP
//! without encryption is refused (RFC 8827 section 6.5).
//!
//! ```
//! use rtc_srtp::{Error, KeyingMaterial, Profile, ReceiveContext, SendContext};
//!
//! # fn main() -> Result<(), Error> {
//! let provider = rtc_crypto::default_provider();
//! let profile = Profile::AeadAes128Gcm;
//! // What DTLS exports with the label `EXPORTER_LABEL` and no context.
//! let exported = vec![0x5a; profile.exporter_len()];
//! let keys = KeyingMaterial::from_exporter(profile, &exported)?;
//!
//! // The DTLS client writes with the client's key, the server reads with it.
//! let mut client = SendContext::new(&keys.client, provider)?;
//! let mut server = ReceiveContext::new(&keys.client, provider)?;
//!
//! let plain = b"\x80\x6f\x00\x07\x00\x00\x03\xc0\x12\x34\x56\x78opus";
//! let mut packet = plain.to_vec();
//! packet.resize(plain.len() + profile.rtp_overhead(), 0);
//! let length = client.protect_rtp(&mut packet, plain.len())?;
//! assert_eq!(length, packet.len());
//!
//! let mut replay = packet.clone();
//! let length = server.unprotect_rtp(&mut packet)?;
//! assert_eq!(&packet[..length], plain);
//! assert_eq!(server.unprotect_rtp(&mut replay), Err(Error::Replayed));
//! # Ok(())
//! # }
//! ```

mod cipher;
mod error;
mod index;
mod keys;
mod profile;
mod receive;
mod send;
mod sources;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use keys::{EXPORTER_LABEL, KeyingMaterial, MasterKey};
pub use profile::Profile;
pub use receive::ReceiveContext;
pub use send::SendContext;
