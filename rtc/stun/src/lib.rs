//! STUN (RFC 8489): messages, integrity, long-term credentials and client transactions.
//!
//! * [`Message`] is a checked view of a received datagram; reading it allocates nothing.
//! * [`MessageBuilder`] writes a message, [`AttributeType`] is the table of the attributes that ICE,
//!   TURN and the extensions of browsers use.
//! * [`Message::verify_integrity`], [`Message::verify_integrity_sha256`] and
//!   [`Message::verify_fingerprint`] check what protects it.
//! * [`LongTermCredentials`] answers the challenges of a server, [`ClientTransaction`] repeats a
//!   request until it is answered. Neither knows a socket or a clock.
//!
//! ```
//! use rtc_crypto::HmacAlgorithm;
//! use rtc_shared::Rng;
//! use rtc_stun::{Class, Message, MessageBuilder, Method, TransactionId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hmac = rtc_crypto::ring::PROVIDER.hmac(HmacAlgorithm::Sha1).ok_or("no HMAC-SHA1")?;
//! let key = hmac.key(b"VOkJxbRl1RmTxUk/WvJxBt");
//! let mut rng = Rng::from_seed([7; 32]);
//!
//! let check = MessageBuilder::new(Class::Request, Method::BINDING, TransactionId::random(&mut rng))
//!     .username("evtj:h6vY")
//!     .priority(1_845_494_271)
//!     .ice_controlling(rng.u64())
//!     .message_integrity(&*key)
//!     .fingerprint()
//!     .finish();
//!
//! assert!(rtc_stun::is_stun(&check));
//! let message = Message::parse(&check)?;
//! message.verify_fingerprint()?;
//! message.verify_integrity(&*key)?;
//! assert_eq!(message.username(), Some("evtj:h6vY"));
//! assert_eq!(message.priority(), Some(1_845_494_271));
//! # Ok(())
//! # }
//! ```

mod attribute;
mod builder;
mod credentials;
mod error;
mod header;
mod integrity;
mod message;
mod transaction;
mod value;

#[cfg(test)]
mod tests;

pub use attribute::AttributeType;
pub use builder::MessageBuilder;
pub use credentials::{
    LongTermCredentials, PasswordAlgorithm, SecurityFeatures, long_term_key, user_hash,
};
pub use error::{CredentialsError, DecodeError, IntegrityError};
pub use header::{Class, HEADER_LEN, MAGIC_COOKIE, Method, TransactionId, is_stun, message_len};
pub use message::{Attributes, Message};
pub use transaction::{ClientTransaction, TransactionConfig, TransactionState};
pub use value::{
    AddressErrorCode, AddressFamily, ErrorCode, Icmp, NetworkCost, PasswordAlgorithms,
    UnknownAttributes,
};
