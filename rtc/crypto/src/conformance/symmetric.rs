//! Hashes, keyed hashes and ciphers.

use super::{Checks, ConformanceError, flipped, hex};
use crate::{
    Aead, AeadAlgorithm, AeadKey, BlockCipher, BlockCipherAlgorithm, CryptoError, CryptoProvider,
    Hash, HashAlgorithm, Hmac, HmacAlgorithm,
};

pub(super) fn run(provider: &CryptoProvider, checks: Checks) -> Result<(), ConformanceError> {
    provider
        .hashes
        .iter()
        .try_for_each(|it| hash(*it, checks))?;
    provider.hmacs.iter().try_for_each(|it| hmac(*it, checks))?;
    provider.aeads.iter().try_for_each(|it| aead(*it, checks))?;
    provider
        .block_ciphers
        .iter()
        .try_for_each(|it| block_cipher(*it, checks))
}

pub(super) fn run_between(
    from: &CryptoProvider,
    to: &CryptoProvider,
    checks: Checks,
) -> Result<(), ConformanceError> {
    for hmac in from.hmacs {
        let algorithm = hmac.algorithm();
        let Some(other) = to.hmac(algorithm) else {
            continue;
        };
        for length in LENGTHS {
            // Keys up to and beyond a block, messages that end anywhere in one.
            let key = pattern(length % 150);
            let (head, tail) = (pattern(length), pattern(length % 7));
            let tag = hmac.key(&key).sign(&[&head, &tail]);
            let verified = other.key(&key).verify(&[&head, &tail], tag.as_ref());
            checks.expect(
                algorithm,
                "verifies what the other provider signed",
                verified.is_ok(),
            )?;
        }
    }
    for aead in from.aeads {
        let algorithm = aead.algorithm();
        let Some(other) = to.aead(algorithm) else {
            continue;
        };
        let key = vec![0x3c; algorithm.key_len()];
        let sealing = checks.value(algorithm, "takes a key", aead.key(&key))?;
        let opening = checks.value(algorithm, "takes a key", other.key(&key))?;
        for length in LENGTHS {
            let plain = pattern(length);
            let mut data = plain.clone();
            let tag = checks.value(
                algorithm,
                "seals",
                sealing.seal_in_place(&[1; 12], &[2; 5], &mut data),
            )?;
            data.extend(tag);
            let opened = opening.open_in_place(&[1; 12], &[2; 5], &mut data);
            let opened = opened.is_ok_and(|it| *it == *plain);
            checks.expect(algorithm, "opens what the other provider sealed", opened)?;
        }
    }
    for cipher in from.block_ciphers {
        let algorithm = cipher.algorithm();
        let Some(other) = to.block_cipher(algorithm) else {
            continue;
        };
        let key = vec![0x3c; aes_key_len(algorithm)];
        let encrypting = checks.value(algorithm, "takes a key", cipher.key(&key))?;
        let decrypting = checks.value(algorithm, "takes a key", other.key(&key))?;
        for length in LENGTHS {
            let mut data = pattern(length);
            encrypting.ctr_apply(&[0xff; 16], &mut data);
            decrypting.ctr_apply(&[0xff; 16], &mut data);
            let same = data == pattern(length);
            checks.expect(algorithm, "CTR mode is the other provider's", same)?;
        }
    }
    Ok(())
}

/// FIPS 180-4 and RFC 1321: the hashes of `abc` and of nothing.
fn hash(hash: &dyn Hash, checks: Checks) -> Result<(), ConformanceError> {
    let algorithm = hash.algorithm();
    let (abc, empty) = match algorithm {
        HashAlgorithm::Md5 => (
            "900150983cd24fb0d6963f7d28e17f72",
            "d41d8cd98f00b204e9800998ecf8427e",
        ),
        HashAlgorithm::Sha1 => (
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        ),
        HashAlgorithm::Sha256 => (
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        HashAlgorithm::Sha384 => (
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed
             8086072ba1e7cc2358baeca134c825a7",
            "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da
             274edebfe76f65fbd51ad2f14898b95b",
        ),
        HashAlgorithm::Sha512 => (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce
             47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ),
    };
    let (abc, empty) = (hex(abc), hex(empty));
    checks.expect(
        algorithm,
        "output length",
        abc.len() == algorithm.output_len(),
    )?;
    checks.expect(
        algorithm,
        "hash of abc",
        hash.hash(&[b"abc"]).as_ref() == abc,
    )?;
    checks.expect(
        algorithm,
        "hash of parts",
        hash.hash(&[b"a", b"", b"bc"]).as_ref() == abc,
    )?;
    checks.expect(
        algorithm,
        "hash of nothing",
        hash.hash(&[]).as_ref() == empty,
    )?;

    let mut context = hash.start();
    checks.expect(
        algorithm,
        "incremental, nothing",
        context.current().as_ref() == empty,
    )?;
    context.update(b"ab");
    let _ = context.current();
    context.update(b"c");
    checks.expect(
        algorithm,
        "incremental, abc",
        context.current().as_ref() == abc,
    )?;
    let long = pattern(1000);
    context.update(&long);
    let whole = hash.hash(&[b"abc", &long]);
    checks.expect(
        algorithm,
        "incremental, several blocks",
        context.current() == whole,
    )
}

/// RFC 2202 section 3 and RFC 4231 sections 4.3 and 4.7: test cases 2 and 6.
fn hmac(hmac: &dyn Hmac, checks: Checks) -> Result<(), ConformanceError> {
    let algorithm = hmac.algorithm();
    let (short, long_key, long) = match algorithm {
        HmacAlgorithm::Sha1 => (
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            [0xaa; 80].as_slice(),
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        ),
        HmacAlgorithm::Sha256 => (
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            [0xaa; 131].as_slice(),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        HmacAlgorithm::Sha384 => (
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e
             8e2240ca5e69e2c78b3239ecfab21649",
            [0xaa; 131].as_slice(),
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6
             0c2ef6ab4030fe8296248df163f44952",
        ),
    };
    let (short, long) = (hex(short), hex(long));
    let key = hmac.key(b"Jefe");
    let parts: [&[u8]; 3] = [b"what do ya want ", b"", b"for nothing?"];
    checks.expect(
        algorithm,
        "known answer",
        key.sign(&parts).as_ref() == short,
    )?;
    checks.expect(
        algorithm,
        "second use of a key",
        key.sign(&parts).as_ref() == short,
    )?;
    let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
    let long_tag = hmac.key(long_key).sign(&[text]);
    checks.expect(
        algorithm,
        "key longer than a block",
        long_tag.as_ref() == long,
    )?;

    checks.expect(
        algorithm,
        "verifies the tag",
        key.verify(&parts, &short).is_ok(),
    )?;
    let truncated = short.get(..10).unwrap_or_default();
    checks.expect(
        algorithm,
        "verifies a truncated tag",
        key.verify(&parts, truncated).is_ok(),
    )?;
    let longer = [short.as_slice(), &[0]].concat();
    for wrong in [
        &flipped(&short, 9),
        &flipped(&short, 0),
        &longer,
        &Vec::new(),
    ] {
        let refused = key.verify(&parts, wrong) == Err(CryptoError::Authentication);
        checks.expect(algorithm, "refuses a wrong, empty or overlong tag", refused)?;
    }
    Ok(())
}

/// The GCM specification's test cases 4 and 16, and RFC 8439 section 2.8.2.
fn aead(aead: &dyn Aead, checks: Checks) -> Result<(), ConformanceError> {
    let algorithm = aead.algorithm();
    let gcm_key = "feffe9928665731c6d6a8f9467308308";
    let gcm_plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                     1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    let gcm_aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let gcm_nonce = [
        0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88,
    ];
    let (key, nonce, aad, plain, sealed) = match algorithm {
        AeadAlgorithm::Aes128Gcm => (
            hex(gcm_key),
            gcm_nonce,
            gcm_aad,
            hex(gcm_plain),
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091
             5bc94fbc3221a5db94fae95ae7121a47",
        ),
        AeadAlgorithm::Aes256Gcm => (
            hex(&gcm_key.repeat(2)),
            gcm_nonce,
            gcm_aad,
            hex(gcm_plain),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662
             76fc6ece0f4e1768cddf8853bb2d551b",
        ),
        AeadAlgorithm::ChaCha20Poly1305 => (
            (0x80..0xa0).collect(),
            [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47],
            hex("50515253c0c1c2c3c4c5c6c7"),
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for \
              the future, sunscreen would be it."
                .to_vec(),
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
             3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
             92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
             3ff4def08e4b7a9de576d26586cec64b6116
             1ae10b594f09e26a7e902ecbd0600691",
        ),
    };
    let sealed = hex(sealed);
    checks.expect(algorithm, "key length", key.len() == algorithm.key_len())?;
    for wrong in [0, key.len() - 1, key.len() + 1] {
        let refused = matches!(aead.key(&vec![0; wrong]), Err(CryptoError::InvalidKey));
        checks.expect(algorithm, "refuses a key of wrong length", refused)?;
    }
    let key = checks.value(algorithm, "takes a key", aead.key(&key))?;
    let mut data = plain.clone();
    let tag = checks.value(
        algorithm,
        "seals",
        key.seal_in_place(&nonce, &aad, &mut data),
    )?;
    data.extend(tag);
    checks.expect(algorithm, "known answer", data == sealed)?;
    let opened = key
        .open_in_place(&nonce, &aad, &mut data)
        .is_ok_and(|it| *it == *plain);
    checks.expect(algorithm, "opens the known answer", opened)?;

    for index in 0..sealed.len() {
        let refused = refuses(&*key, &nonce, &aad, flipped(&sealed, index));
        checks.expect(algorithm, "refuses a turned bit", refused)?;
    }
    for index in 0..aad.len() {
        let refused = refuses(&*key, &nonce, &flipped(&aad, index), sealed.clone());
        checks.expect(algorithm, "refuses other associated data", refused)?;
    }
    let refused = refuses(&*key, &[0; 12], &aad, sealed.clone());
    checks.expect(algorithm, "refuses another nonce", refused)?;
    for length in (0..sealed.len()).rev() {
        let truncated = sealed.get(..length).unwrap_or_default().to_vec();
        let refused = refuses(&*key, &nonce, &aad, truncated);
        checks.expect(algorithm, "refuses a truncated message", refused)?;
    }
    for length in LENGTHS {
        let plain = pattern(length);
        let mut data = plain.clone();
        let tag = checks.value(
            algorithm,
            "seals",
            key.seal_in_place(&nonce, &[], &mut data),
        )?;
        data.extend(tag);
        let opened = key
            .open_in_place(&nonce, &[], &mut data)
            .is_ok_and(|it| *it == *plain);
        checks.expect(algorithm, "opens what it sealed, at any length", opened)?;
    }
    Ok(())
}

fn refuses(key: &dyn AeadKey, nonce: &[u8; 12], aad: &[u8], mut data: Vec<u8>) -> bool {
    matches!(
        key.open_in_place(nonce, aad, &mut data),
        Err(CryptoError::Authentication)
    )
}

/// NIST SP 800-38A appendix F; the counter that overflows all of its 128 bits is our own.
fn block_cipher(cipher: &dyn BlockCipher, checks: Checks) -> Result<(), ConformanceError> {
    let algorithm = cipher.algorithm();
    let plain = hex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
                     30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    );
    let [key, ecb, cbc, ctr, overflow] = match algorithm {
        BlockCipherAlgorithm::Aes128 => [
            "2b7e151628aed2a6abf7158809cf4f3c",
            "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf
             43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2
             73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
            "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff
             5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
            "e13338e36cb71962e00d020b4cedbd86d3dae15b04bb352fa0f59febfcb4da3e
             67da610697ed5aae4b0fa7a0dd783d2961a00ab697367915d23c754bd99e2899",
        ],
        BlockCipherAlgorithm::Aes256 => [
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870
             b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d
             39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5
             2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
            "50fd97c3e61abb4873fb78df1e8e77e64b457cd68accda4a89fa236c06bf2605
             a1dd021ba826fb0a252c6dc9b434030be1910794ac1349c2d4cd7bf39da5ff03",
        ],
    }
    .map(hex);
    for wrong in [0, 15, 17, 24, 31, 33, 48 - key.len()] {
        let refused = matches!(cipher.key(&vec![0; wrong]), Err(CryptoError::InvalidKey));
        checks.expect(algorithm, "refuses a key of wrong length", refused)?;
    }
    let key = checks.value(algorithm, "takes a key", cipher.key(&key))?;

    for (mut block, expected) in plain
        .as_chunks()
        .0
        .iter()
        .copied()
        .zip(ecb.as_chunks::<16>().0)
    {
        key.encrypt_block(&mut block);
        checks.expect(algorithm, "single block", block == *expected)?;
    }

    let start: [u8; 16] = std::array::from_fn(|index| 0xf0 + index as u8);
    for (counter, expected, what) in [
        (start, ctr, "CTR mode"),
        (
            [0xff; 16],
            overflow,
            "CTR mode, overflow of the whole counter",
        ),
    ] {
        for length in 0..=plain.len() {
            let mut data = plain.get(..length).unwrap_or_default().to_vec();
            key.ctr_apply(&counter, &mut data);
            checks.expect(
                algorithm,
                what,
                expected.get(..length) == Some(data.as_slice()),
            )?;
        }
    }

    let iv: [u8; 16] = std::array::from_fn(|index| index as u8);
    for length in (0..=plain.len()).step_by(16) {
        let plain = plain.get(..length).unwrap_or_default();
        let mut data = plain.to_vec();
        let encrypted = key.cbc_encrypt(&iv, &mut data).is_ok();
        let known = cbc.get(..length) == Some(data.as_slice());
        checks.expect(algorithm, "CBC mode encrypts", encrypted && known)?;
        let decrypted = key.cbc_decrypt(&iv, &mut data).is_ok() && *data == *plain;
        checks.expect(algorithm, "CBC mode decrypts", decrypted)?;
    }
    for length in [1, 15, 17, 31] {
        let mut data = vec![0; length];
        let refused = key.cbc_encrypt(&iv, &mut data) == Err(CryptoError::InvalidLength)
            && key.cbc_decrypt(&iv, &mut data) == Err(CryptoError::InvalidLength)
            && data == vec![0; length];
        checks.expect(algorithm, "CBC mode refuses a partial block", refused)?;
    }
    Ok(())
}

fn aes_key_len(algorithm: BlockCipherAlgorithm) -> usize {
    match algorithm {
        BlockCipherAlgorithm::Aes128 => 16,
        BlockCipherAlgorithm::Aes256 => 32,
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7) as u8).collect()
}

/// Around the widths at which implementations change their path, and a full datagram.
const LENGTHS: [usize; 12] = [0, 1, 15, 16, 17, 63, 64, 65, 255, 256, 1200, 1500];
