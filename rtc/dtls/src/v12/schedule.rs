//! The key schedule of version 1.2 (RFC 5246 sections 5, 6.3, 8.1; RFC 5705; RFC 7627).

use rtc_crypto::{CryptoProvider, Digest, HmacAlgorithm, HmacKey};
use rtc_shared::Rng;
use smallvec::SmallVec;
use zeroize::{Zeroize, Zeroizing};

use super::Session;
use crate::message::VERIFY_DATA_LEN;
use crate::record::v12::{Cbc, Cipher};
use crate::suite::Protection;
use crate::{Config, Error, Role};

/// The secret that all keys come from.
#[derive(Default)]
pub(crate) struct MasterSecret(Zeroizing<Vec<u8>>);

impl MasterSecret {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl Session {
    /// Computes the master secret. `session_hash` is the hash of the transcript through
    /// ClientKeyExchange, which the extended master secret is bound to.
    pub(crate) fn derive_master_secret(
        &mut self,
        config: &Config,
        premaster_secret: &[u8],
        session_hash: &Digest,
    ) -> Result<(), Error> {
        let key = self.hmac(config.provider)?.key(premaster_secret);
        let mut master = Zeroizing::new(vec![0; MASTER_SECRET_LEN]);
        if self.extended_master_secret {
            let seed = [session_hash.as_ref()];
            prf(key.as_ref(), b"extended master secret", &seed, &mut master);
        } else {
            let seed = [&self.client_random[..], &self.server_random];
            prf(key.as_ref(), b"master secret", &seed, &mut master);
        }
        self.master_secret = MasterSecret(master);
        Ok(())
    }

    /// Derives the keys of epoch 1: first those we write with, then those we read with.
    pub(crate) fn derive_ciphers(
        &self,
        config: &Config,
        role: Role,
        rng: &mut Rng,
    ) -> Result<(Cipher, Cipher), Error> {
        let provider = config.provider;
        let (mac_len, key_len, iv_len) = self.suite.protection().key_lens();
        let mut block = [0; MAX_KEY_BLOCK_LEN];
        let length = 2 * (mac_len + key_len + iv_len);
        let block_out = block.get_mut(..length).ok_or(Error::Internal)?;
        let seed = [&self.server_random[..], &self.client_random];
        prf(
            self.keyed(provider)?.as_ref(),
            b"key expansion",
            &seed,
            block_out,
        );

        let mut rest = rtc_shared::Reader::new(block_out);
        let mut take = |length| rest.take(length).map_err(|_| Error::Internal);
        let [client_mac, server_mac] = [take(mac_len)?, take(mac_len)?];
        let [client_key, server_key] = [take(key_len)?, take(key_len)?];
        let [client_iv, server_iv] = [take(iv_len)?, take(iv_len)?];
        let client = self.cipher(provider, client_mac, client_key, client_iv, rng)?;
        let server = self.cipher(provider, server_mac, server_key, server_iv, rng)?;
        block.zeroize();
        Ok(match role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        })
    }

    fn cipher(
        &self,
        provider: &CryptoProvider,
        mac: &[u8],
        key: &[u8],
        iv: &[u8],
        rng: &mut Rng,
    ) -> Result<Cipher, Error> {
        Ok(match self.suite.protection() {
            Protection::Aead(aead) => {
                let key = provider.aead(aead).ok_or(Error::Internal)?.key(key)?;
                match *iv {
                    [a, b, c, d] => Cipher::Gcm {
                        key,
                        salt: [a, b, c, d],
                    },
                    _ => Cipher::ChaCha {
                        key,
                        iv: iv.try_into().map_err(|_| Error::Internal)?,
                    },
                }
            }
            Protection::Cbc(cipher) => Cipher::Cbc(Box::new(Cbc {
                cipher: provider
                    .block_cipher(cipher)
                    .ok_or(Error::Internal)?
                    .key(key)?,
                mac: provider
                    .hmac(HmacAlgorithm::Sha1)
                    .ok_or(Error::Internal)?
                    .key(mac),
                rng: rng.fork(),
            })),
        })
    }

    /// The content of the Finished message of `sender` (RFC 5246 section 7.4.9).
    pub(crate) fn verify_data(
        &self,
        provider: &CryptoProvider,
        sender: Role,
        transcript_hash: &Digest,
    ) -> Result<[u8; VERIFY_DATA_LEN], Error> {
        let label: &[u8] = match sender {
            Role::Client => b"client finished",
            Role::Server => b"server finished",
        };
        let mut out = [0; VERIFY_DATA_LEN];
        prf(
            self.keyed(provider)?.as_ref(),
            label,
            &[transcript_hash.as_ref()],
            &mut out,
        );
        Ok(out)
    }

    /// Exports keying material (RFC 5705 section 4).
    pub(crate) fn export(
        &self,
        provider: &CryptoProvider,
        label: &[u8],
        context: Option<&[u8]>,
        out: &mut [u8],
    ) -> Result<(), Error> {
        if RESERVED_LABELS.contains(&label) {
            return Err(Error::ReservedLabel);
        }
        let key = self.keyed(provider)?;
        let randoms = [&self.client_random[..], &self.server_random];
        match context {
            None => prf(key.as_ref(), label, &randoms, out),
            Some(context) => {
                let length = u16::try_from(context.len()).map_err(|_| Error::ContextTooLong)?;
                let length = length.to_be_bytes();
                let [client, server] = randoms;
                prf(
                    key.as_ref(),
                    label,
                    &[client, server, &length, context],
                    out,
                );
            }
        }
        Ok(())
    }

    fn hmac(&self, provider: &CryptoProvider) -> Result<&'static dyn rtc_crypto::Hmac, Error> {
        provider.hmac(self.suite.hmac()).ok_or(Error::Internal)
    }

    fn keyed(&self, provider: &CryptoProvider) -> Result<Box<dyn HmacKey>, Error> {
        Ok(self.hmac(provider)?.key(self.master_secret.as_bytes()))
    }
}

/// The pseudo-random function `P_hash(secret, label ‖ seed)` (RFC 5246 section 5).
pub(crate) fn prf(secret: &dyn HmacKey, label: &[u8], seed: &[&[u8]], out: &mut [u8]) {
    let keyed = |prefix: &[u8]| {
        let mut parts = SmallVec::<[&[u8]; 8]>::new();
        parts.extend([prefix, label]);
        parts.extend_from_slice(seed);
        secret.sign(&parts)
    };
    let mut a = keyed(&[]);
    let mut chunks = out.chunks_mut(a.as_ref().len().max(1)).peekable();
    while let Some(chunk) = chunks.next() {
        let block = keyed(a.as_ref());
        for (to, from) in chunk.iter_mut().zip(block.as_ref()) {
            *to = *from;
        }
        if chunks.peek().is_some() {
            a = secret.sign(&[a.as_ref()]);
        }
    }
}

const MASTER_SECRET_LEN: usize = 48;

/// Two MAC keys of 20 and two keys of 32 bytes.
const MAX_KEY_BLOCK_LEN: usize = 104;

const RESERVED_LABELS: [&[u8]; 5] = [
    b"client finished",
    b"server finished",
    b"master secret",
    b"extended master secret",
    b"key expansion",
];
