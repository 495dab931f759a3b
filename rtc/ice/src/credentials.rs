use std::fmt;

use rtc_crypto::{Hmac, HmacKey};
use rtc_shared::Rng;

use crate::Error;

/// User name fragment and password of one side for one generation (RFC 8839 section 5.4).
///
/// `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `ice-ufrag`, 4 to 256 characters of letters, digits, `+` and `/`.
    pub ufrag: String,
    /// `ice-pwd`, 22 to 256 such characters.
    pub pwd: String,
}

impl Credentials {
    /// Takes over credentials as they stand in a description.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when a part has the wrong length or characters.
    pub fn new(ufrag: impl Into<String>, pwd: impl Into<String>) -> Result<Self, Error> {
        let credentials = Self {
            ufrag: ufrag.into(),
            pwd: pwd.into(),
        };
        credentials.validate()?;
        Ok(credentials)
    }

    /// Random credentials; lengths outside what the grammar allows are clamped.
    #[must_use]
    pub fn random(rng: &mut Rng, ufrag_length: usize, pwd_length: usize) -> Self {
        Self {
            ufrag: rng.string(ICE_CHARS, ufrag_length.clamp(MIN_UFRAG, MAX_LENGTH)),
            pwd: rng.string(ICE_CHARS, pwd_length.clamp(MIN_PWD, MAX_LENGTH)),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let pwd_fits =
            (MIN_PWD..=MAX_LENGTH).contains(&self.pwd.len()) && self.pwd.bytes().all(is_ice_char);
        if is_valid_ufrag(&self.ufrag) && pwd_fits {
            Ok(())
        } else {
            Err(Error::InvalidCredentials)
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// Credentials with their password scheduled as a key, once per generation.
pub(crate) struct Keyed {
    pub(crate) credentials: Credentials,
    pub(crate) key: Box<dyn HmacKey>,
}

impl Keyed {
    pub(crate) fn new(credentials: Credentials, hmac: &'static dyn Hmac) -> Self {
        let key = hmac.key(credentials.pwd.as_bytes());
        Self { credentials, key }
    }

    pub(crate) fn ufrag(&self) -> &str {
        &self.credentials.ufrag
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.credentials.fmt(f)
    }
}

pub(crate) fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

pub(crate) fn is_valid_ufrag(ufrag: &str) -> bool {
    (MIN_UFRAG..=MAX_LENGTH).contains(&ufrag.len()) && ufrag.bytes().all(is_ice_char)
}

/// 64 characters, so that each carries 6 bits.
const ICE_CHARS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const MIN_UFRAG: usize = 4;
const MIN_PWD: usize = 22;
const MAX_LENGTH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_credentials_are_valid_and_differ() {
        let mut rng = Rng::from_seed([3; 32]);
        let first = Credentials::random(&mut rng, 4, 24);
        let second = Credentials::random(&mut rng, 0, 1000);
        assert_eq!((first.ufrag.len(), first.pwd.len()), (4, 24));
        assert_eq!((second.ufrag.len(), second.pwd.len()), (4, 256));
        assert!(first.validate().is_ok() && second.validate().is_ok());
        assert_ne!(first, second);
    }

    #[test]
    fn short_long_and_foreign_characters_are_refused() {
        let pwd = "a".repeat(22);
        assert!(Credentials::new("abcd", &*pwd).is_ok());
        for (ufrag, pwd) in [
            ("abc", &*pwd),
            ("ab:d", &*pwd),
            (&*"a".repeat(257), &*pwd),
            ("abcd", &*"a".repeat(21)),
            ("abcd", "aaaaaaaaaaaaaaaaaaaaaa "),
        ] {
            assert_eq!(Credentials::new(ufrag, pwd), Err(Error::InvalidCredentials));
        }
    }

    #[test]
    fn debug_does_not_show_the_password() {
        let credentials = Credentials::new("abcd", "p".repeat(22)).unwrap();
        assert!(!format!("{credentials:?}").contains("ppp"));
    }
}
