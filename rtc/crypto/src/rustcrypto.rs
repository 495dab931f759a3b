//! Pure Rust algorithms for what `ring` and `aws-lc-rs` lack or are slow at.

use md5::{Digest as _, Md5};

use crate::{Digest, Hash, HashAlgorithm, HashContext};

/// MD5 (RFC 1321).
pub(crate) struct Md5Hash;

impl Hash for Md5Hash {
    fn algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::Md5
    }

    fn hash(&self, parts: &[&[u8]]) -> Digest {
        let mut context = Md5::new();
        for part in parts {
            context.update(part);
        }
        Digest::new(&context.finalize())
    }

    fn start(&self) -> Box<dyn HashContext> {
        Box::new(Md5Context(Md5::new()))
    }
}

struct Md5Context(Md5);

impl HashContext for Md5Context {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn current(&self) -> Digest {
        Digest::new(&self.0.clone().finalize())
    }
}

#[cfg(feature = "ring")]
pub(crate) use aes_modes::{AES_128, AES_256};

#[cfg(feature = "ring")]
pub(crate) use hmac_sha1::HmacSha1;

#[cfg(feature = "ring")]
mod hmac_sha1 {
    use sha1::{Digest as _, Sha1};
    use zeroize::Zeroizing;

    use crate::{Digest, Hmac, HmacAlgorithm, HmacKey};

    /// HMAC-SHA1 (RFC 2104).
    pub(crate) struct HmacSha1;

    impl Hmac for HmacSha1 {
        fn algorithm(&self) -> HmacAlgorithm {
            HmacAlgorithm::Sha1
        }

        fn key(&self, key: &[u8]) -> Box<dyn HmacKey> {
            let mut block = Zeroizing::new([0; BLOCK_LEN]);
            if key.len() > BLOCK_LEN {
                let hashed = Zeroizing::new(<[u8; 20]>::from(Sha1::digest(key)));
                fill(&mut block, &*hashed);
            } else {
                fill(&mut block, key);
            }
            let state = |pad| Sha1::new_with_prefix(Zeroizing::new(block.map(|byte| byte ^ pad)));
            Box::new(HmacSha1Key {
                inner: state(0x36),
                outer: state(0x5c),
            })
        }
    }

    /// The states after the padded key, from which every tag goes on.
    struct HmacSha1Key {
        inner: Sha1,
        outer: Sha1,
    }

    impl HmacKey for HmacSha1Key {
        fn sign(&self, parts: &[&[u8]]) -> Digest {
            let mut inner = self.inner.clone();
            for part in parts {
                inner.update(part);
            }
            let outer = self.outer.clone().chain_update(inner.finalize());
            Digest::new(&outer.finalize())
        }
    }

    fn fill(block: &mut [u8; BLOCK_LEN], key: &[u8]) {
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
    }

    const BLOCK_LEN: usize = 64;
}

#[cfg(feature = "ring")]
mod aes_modes {
    use std::marker::PhantomData;

    use aes::cipher::array::Array;
    use aes::cipher::{
        BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit,
        KeyInit, StreamCipher, StreamCipherCoreWrapper, consts::U16,
    };
    use ctr::CtrCore;
    use ctr::flavors::Ctr128BE;

    use crate::{BlockCipher, BlockCipherAlgorithm, BlockCipherKey, CryptoError};

    pub(crate) static AES_128: Aes<aes::Aes128Enc, aes::Aes128Dec> = Aes {
        algorithm: BlockCipherAlgorithm::Aes128,
        ciphers: PhantomData,
    };
    pub(crate) static AES_256: Aes<aes::Aes256Enc, aes::Aes256Dec> = Aes {
        algorithm: BlockCipherAlgorithm::Aes256,
        ciphers: PhantomData,
    };

    /// AES of one key length, by its encrypting and its decrypting half.
    pub(crate) struct Aes<E, D> {
        algorithm: BlockCipherAlgorithm,
        ciphers: PhantomData<fn() -> (E, D)>,
    }

    impl<E, D> BlockCipher for Aes<E, D>
    where
        E: BlockCipherEncrypt<BlockSize = U16> + KeyInit + Send + Sync + 'static,
        D: BlockCipherDecrypt<BlockSize = U16> + for<'a> From<&'a E> + 'static,
    {
        fn algorithm(&self) -> BlockCipherAlgorithm {
            self.algorithm
        }

        fn key(&self, key: &[u8]) -> Result<Box<dyn BlockCipherKey>, CryptoError> {
            let encrypt = E::new_from_slice(key).map_err(|_| CryptoError::InvalidKey)?;
            Ok(Box::new(AesKey::<E, D> {
                encrypt,
                decrypt: PhantomData,
            }))
        }
    }

    /// Keeps the encrypting schedule alone: decryption, which only the old CBC suites need, derives
    /// its own for each record in less time than one block takes.
    struct AesKey<E, D> {
        encrypt: E,
        decrypt: PhantomData<fn() -> D>,
    }

    impl<E, D> BlockCipherKey for AesKey<E, D>
    where
        E: BlockCipherEncrypt<BlockSize = U16> + Send + Sync,
        D: BlockCipherDecrypt<BlockSize = U16> + for<'a> From<&'a E>,
    {
        fn encrypt_block(&self, block: &mut [u8; 16]) {
            self.encrypt.encrypt_block(block.into());
        }

        fn ctr_apply(&self, counter: &[u8; 16], data: &mut [u8]) {
            let core = CtrCore::<&E, Ctr128BE>::inner_iv_init(&self.encrypt, counter.into());
            StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
        }

        fn cbc_encrypt(&self, iv: &[u8; 16], data: &mut [u8]) -> Result<(), CryptoError> {
            let blocks = blocks(data)?;
            cbc::Encryptor::inner_iv_init(&self.encrypt, iv.into()).encrypt_blocks(blocks);
            Ok(())
        }

        fn cbc_decrypt(&self, iv: &[u8; 16], data: &mut [u8]) -> Result<(), CryptoError> {
            let blocks = blocks(data)?;
            let decrypt = D::from(&self.encrypt);
            cbc::Decryptor::inner_iv_init(decrypt, iv.into()).decrypt_blocks(blocks);
            Ok(())
        }
    }

    fn blocks(data: &mut [u8]) -> Result<&mut [Array<u8, U16>], CryptoError> {
        match data.as_chunks_mut() {
            (blocks, []) => Ok(Array::cast_slice_from_core_mut(blocks)),
            _ => Err(CryptoError::InvalidLength),
        }
    }
}
