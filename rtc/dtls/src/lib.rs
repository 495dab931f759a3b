//! DTLS 1.2 (RFC 6347) for WebRTC: client and server, without a socket or a clock.
//!
//! A [`Connection`] takes datagrams and the time, and gives datagrams, events and plaintext. Both sides
//! send certificates, which are checked against the fingerprints of signalling; the keys of SRTP come
//! from [`Connection::export_keying_material`]. There is no resumption and no renegotiation.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use bytes::BytesMut;
//! use rtc_crypto::{Certificate, CertificateParams, HashAlgorithm, ring::PROVIDER};
//! use rtc_dtls::{Config, Connection, Event, Role, SRTP_EXPORTER_LABEL, State};
//! use rtc_shared::Rng;
//!
//! // Two peers that told each other their fingerprints, here in one program.
//! let mut rng = Rng::from_seed([1; 32]); // in earnest: from the system's random source
//! let params = CertificateParams::new(Duration::from_secs(1_767_225_600));
//! let ours = Certificate::generate(&PROVIDER, &params, &mut rng)?;
//! let theirs = Certificate::generate(&PROVIDER, &params, &mut rng)?;
//! let mut config = Config::new(&PROVIDER, ours.clone());
//! config.peer_fingerprints.extend(theirs.fingerprint(HashAlgorithm::Sha256, &PROVIDER));
//! let mut peer_config = Config::new(&PROVIDER, theirs);
//! peer_config.peer_fingerprints.extend(ours.fingerprint(HashAlgorithm::Sha256, &PROVIDER));
//!
//! let now = Instant::now();
//! let mut client = Connection::new(config, Role::Client, now, rng.fork())?;
//! let mut server = Connection::new(peer_config, Role::Server, now, rng.fork())?;
//! while client.state() != State::Connected || server.state() != State::Connected {
//!     for (from, to) in [(0, 1), (1, 0)] {
//!         let mut peers = [&mut client, &mut server];
//!         let mut datagram = Vec::new();
//!         while peers[from].poll_transmit(now, &mut datagram, 1200).is_some() {
//!             peers[to].handle_datagram(now, BytesMut::from(&datagram[..]), &mut |_| ());
//!             datagram.clear();
//!         }
//!     }
//! }
//! assert_eq!(client.poll_event(), Some(Event::Connected));
//!
//! let profile = client.srtp_profile().expect("both offer the same profiles");
//! let mut keys = vec![0; profile.keying_material_len()];
//! client.export_keying_material(SRTP_EXPORTER_LABEL, None, &mut keys)?;
//!
//! let mut datagram = Vec::new();
//! let record = client.begin_record(&mut datagram)?;
//! datagram.extend_from_slice(b"hello");
//! client.finish_record(&mut datagram, record)?;
//! server.handle_datagram(now, BytesMut::from(&datagram[..]), &mut |data| {
//!     assert_eq!(data, &b"hello"[..]);
//! });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alert;
mod config;
mod connection;
mod error;
mod extension;
mod flight;
mod message;
mod reassembly;
mod record;
mod suite;
#[cfg(test)]
mod testing;
mod v12;

pub use alert::AlertDescription;
pub use config::{Config, Role, Version};
pub use connection::{Connection, Event, RecordStart, State, Stats};
pub use error::Error;
pub use suite::{CipherSuite, SrtpProfile};

/// The exporter label of SRTP keys (RFC 5764 section 4.2).
pub const SRTP_EXPORTER_LABEL: &[u8] = b"EXTRACTOR-dtls_srtp";
