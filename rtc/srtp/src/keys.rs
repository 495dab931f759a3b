use std::fmt;

use rtc_crypto::{BlockCipherKey, CryptoProvider};
use rtc_shared::Reader;
use zeroize::Zeroizing;

use crate::{Error, Profile};

/// The label under which DTLS exports the keying material (RFC 5764 section 4.2).
pub const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// The master keys of both sides of a DTLS session.
///
/// Each side sends with its own and receives with the other's.
#[derive(Clone, Debug)]
pub struct KeyingMaterial {
    /// What the DTLS client writes with.
    pub client: MasterKey,
    /// What the DTLS server writes with.
    pub server: MasterKey,
}

impl KeyingMaterial {
    /// Splits what DTLS exported: client key, server key, client salt, server salt (RFC 5764 section
    /// 4.2). The caller wipes `exported` afterwards.
    ///
    /// # Errors
    /// [`Error::KeyLength`] unless there are [`Profile::exporter_len`] bytes.
    pub fn from_exporter(profile: Profile, exported: &[u8]) -> Result<Self, Error> {
        if exported.len() != profile.exporter_len() {
            return Err(Error::KeyLength);
        }
        let mut reader = Reader::new(exported);
        let mut take = |length| reader.take(length).map_err(|_| Error::KeyLength);
        let client_key = take(profile.key_len())?;
        let server_key = take(profile.key_len())?;
        let client_salt = take(profile.salt_len())?;
        let server_salt = take(profile.salt_len())?;
        Ok(Self {
            client: MasterKey::new(profile, client_key, client_salt)?,
            server: MasterKey::new(profile, server_key, server_salt)?,
        })
    }
}

/// Master key and master salt of one direction. Wiped when dropped, not shown by `Debug`.
#[derive(Clone)]
pub struct MasterKey {
    profile: Profile,
    key: Zeroizing<Vec<u8>>,
    /// That of GCM has two zero bytes appended (RFC 7714 section 11).
    salt: Zeroizing<[u8; 14]>,
}

impl MasterKey {
    /// Takes a key and a salt.
    ///
    /// # Errors
    /// [`Error::KeyLength`] when a length is not that of the profile.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, Error> {
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return Err(Error::KeyLength);
        }
        let mut padded = Zeroizing::new([0; 14]);
        for (to, from) in padded.iter_mut().zip(salt) {
            *to = *from;
        }
        Ok(Self {
            profile,
            key: Zeroizing::new(key.to_vec()),
            salt: padded,
        })
    }

    /// The profile that the key is for.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Derives the session keys (RFC 3711 section 4.3, RFC 6188 section 3 for AES-256). The key
    /// derivation rate is 0, so this is done once.
    pub(crate) fn derive(
        &self,
        protocol: Subprotocol,
        provider: &CryptoProvider,
    ) -> Result<SessionKeys, Error> {
        let cipher = provider
            .block_cipher(self.profile.block_cipher())
            .ok_or(Error::Unsupported)?
            .key(&self.key)?;
        let first_label = match protocol {
            Subprotocol::Rtp => 0,
            Subprotocol::Rtcp => 3,
        };
        let mut keys = SessionKeys {
            key: Zeroizing::new(vec![0; self.profile.key_len()]),
            auth: Zeroizing::new([0; AUTH_KEY_LEN]),
            salt: Zeroizing::new([0; 14]),
        };
        self.expand(&*cipher, first_label, &mut keys.key);
        self.expand(&*cipher, first_label + 1, &mut *keys.auth);
        self.expand(&*cipher, first_label + 2, &mut *keys.salt);
        Ok(keys)
    }

    /// The key stream of one label.
    fn expand(&self, cipher: &dyn BlockCipherKey, label: u8, out: &mut [u8]) {
        let mut counter = Zeroizing::new([0; 16]);
        for (to, from) in counter.iter_mut().zip(*self.salt) {
            *to = from;
        }
        let [_, _, _, _, _, _, _, at_label, ..] = &mut *counter;
        *at_label ^= label;
        out.fill(0);
        cipher.ctr_apply(&counter, out);
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// Which of the two protocols session keys are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    Rtp,
    Rtcp,
}

/// What is derived from a master key for one protocol.
pub(crate) struct SessionKeys {
    pub(crate) key: Zeroizing<Vec<u8>>,
    /// Unused with GCM.
    pub(crate) auth: Zeroizing<[u8; AUTH_KEY_LEN]>,
    /// GCM takes the first 12 bytes.
    pub(crate) salt: Zeroizing<[u8; 14]>,
}

const AUTH_KEY_LEN: usize = 20;
