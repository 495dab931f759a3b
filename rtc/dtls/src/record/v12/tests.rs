use proptest::prelude::*;
use rtc_crypto::{BlockCipherAlgorithm, HmacAlgorithm};
use rtc_shared::Rng;

use super::*;
use crate::record::{APPLICATION_DATA, MAX_PLAINTEXT};
use crate::testing::PROVIDER;

const KINDS: usize = 5;

fn cipher(kind: usize) -> Cipher {
    let aead = |algorithm: AeadAlgorithm| {
        PROVIDER
            .aead(algorithm)
            .unwrap()
            .key(&[7; 32][..algorithm.key_len()])
            .unwrap()
    };
    let cbc = |algorithm, key: &[u8]| {
        Cipher::Cbc(Box::new(Cbc {
            cipher: PROVIDER.block_cipher(algorithm).unwrap().key(key).unwrap(),
            mac: PROVIDER.hmac(HmacAlgorithm::Sha1).unwrap().key(&[3; 20]),
            rng: Rng::from_seed([5; 32]),
        }))
    };
    match kind {
        0 => Cipher::Gcm {
            key: aead(AeadAlgorithm::Aes128Gcm),
            salt: [1, 2, 3, 4],
        },
        1 => Cipher::Gcm {
            key: aead(AeadAlgorithm::Aes256Gcm),
            salt: [1, 2, 3, 4],
        },
        2 => Cipher::ChaCha {
            key: aead(AeadAlgorithm::ChaCha20Poly1305),
            iv: [9; 12],
        },
        3 => cbc(BlockCipherAlgorithm::Aes128, &[7; 16]),
        _ => cbc(BlockCipherAlgorithm::Aes256, &[7; 32]),
    }
}

fn pair(kind: usize) -> (RecordWriter, RecordReader) {
    let (mut writer, mut reader) = (RecordWriter::default(), RecordReader::default());
    writer.install(cipher(kind));
    reader.install(cipher(kind));
    (writer, reader)
}

fn seal(writer: &mut RecordWriter, plaintext: &[u8]) -> Vec<u8> {
    let mut buf = Vec::new();
    let start = writer.begin(Epoch::Sealed, &mut buf);
    buf.extend_from_slice(plaintext);
    writer
        .finish(Epoch::Sealed, APPLICATION_DATA, &mut buf, start)
        .unwrap();
    buf
}

fn open(reader: &mut RecordReader, record: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut record = record.to_vec();
    let header = RecordHeader::parse(&record).unwrap();
    let range = reader.open(header, &mut record)?;
    Ok(record[range].to_vec())
}

proptest! {
    #[test]
    fn a_record_opens_to_what_was_sealed_once(
        kind in 0..KINDS, plaintext in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let (mut writer, mut reader) = pair(kind);
        for _ in 0..2 {
            let record = seal(&mut writer, &plaintext);
            prop_assert!(record.len() <= plaintext.len() + writer.overhead(Epoch::Sealed));
            let opened = open(&mut reader, &record);
            prop_assert_eq!(opened.as_ref(), Ok(&plaintext));
            prop_assert_eq!(open(&mut reader, &record), Err(OpenError::Replayed));
        }
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed(
        kind in 0..KINDS,
        plaintext in prop::collection::vec(any::<u8>(), 0..80),
        at in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let (mut writer, mut reader) = pair(kind);
        let mut record = seal(&mut writer, &plaintext);
        let at = at.index(record.len());
        record[at] ^= 1u8 << bit;
        // The length is looked at by the caller; the explicit nonce stands for itself.
        let is_length = (11..13).contains(&at);
        prop_assert!(open(&mut reader, &record).is_err() || is_length);
    }

    #[test]
    fn arbitrary_records_do_not_open(
        kind in 0..KINDS, record in prop::collection::vec(any::<u8>(), 13..200),
    ) {
        let (_, mut reader) = pair(kind);
        prop_assert_eq!(open(&mut reader, &record), Err(OpenError::Unauthentic));
        prop_assert!(reader.window.highest().is_none(), "the window moves only by authentic records");
    }
}

#[test]
fn padding_of_every_length_is_taken_and_every_wrong_one_refused() {
    let Cipher::Cbc(cbc) = cipher(3) else {
        unreachable!()
    };
    let iv = [1; BLOCK_LEN];
    for padding in 0..=255_u8 {
        let length = 1024 - SHA1_LEN - usize::from(padding) - 1;
        let mut header = RecordHeader {
            content_type: APPLICATION_DATA,
            version: VERSION_1_2,
            epoch: 1,
            sequence: 0,
            length: length as u16,
        };
        let mut plain = vec![0x55; length];
        let mac = cbc.mac.sign(&[&additional_data(header), &plain]);
        plain.put(mac.as_ref());
        plain.resize(1024, padding);
        let good = plain.clone();
        header.length = 1024 + 16;
        let mut data = good.clone();
        cbc.cipher.cbc_encrypt(&iv, &mut data).unwrap();
        assert_eq!(cbc.open(header, &iv, &mut data), Ok(length));
        for wrong in [
            1024 - 1,
            1024 - 1 - usize::from(padding),
            1024 - 2 - usize::from(padding),
        ] {
            let mut data = good.clone();
            data[wrong] ^= 0x40;
            cbc.cipher.cbc_encrypt(&iv, &mut data).unwrap();
            let refused = cbc.open(header, &iv, &mut data);
            assert_eq!(
                refused,
                Err(CryptoError::Authentication),
                "{padding} {wrong}"
            );
        }
    }
}

#[test]
fn padding_longer_than_the_record_is_refused() {
    let Cipher::Cbc(cbc) = cipher(4) else {
        unreachable!()
    };
    let header = RecordHeader {
        content_type: APPLICATION_DATA,
        version: VERSION_1_2,
        epoch: 1,
        sequence: 0,
        length: 0,
    };
    for length in [0, 16, 32, 48] {
        let mut data = vec![255; length];
        cbc.cipher.cbc_encrypt(&[0; 16], &mut data).unwrap();
        assert!(cbc.open(header, &[0; 16], &mut data).is_err());
    }
}

#[test]
fn limits_of_a_record_and_of_an_epoch_are_kept() {
    for kind in 0..KINDS {
        let (mut writer, mut reader) = pair(kind);
        let longest = vec![1; MAX_PLAINTEXT];
        assert_eq!(
            open(&mut reader, &seal(&mut writer, &longest)).unwrap(),
            longest
        );
        let mut buf = Vec::new();
        let start = writer.begin(Epoch::Sealed, &mut buf);
        buf.resize(buf.len() + MAX_PLAINTEXT + 1, 0);
        let refused = writer.finish(Epoch::Sealed, APPLICATION_DATA, &mut buf, start);
        assert_eq!(refused, Err(Error::RecordTooLong));
        buf.truncate(start + 5);
        let refused = writer.finish(Epoch::Sealed, APPLICATION_DATA, &mut buf, start);
        assert_eq!(refused, Err(Error::RecordNotBegun));

        writer.set_next(Epoch::Sealed, MAX_SEQUENCE);
        assert!(open(&mut reader, &seal(&mut writer, b"last")).is_ok());
        let mut buf = Vec::new();
        let start = writer.begin(Epoch::Sealed, &mut buf);
        let refused = writer.finish(Epoch::Sealed, APPLICATION_DATA, &mut buf, start);
        assert_eq!(refused, Err(Error::SequenceExhausted));
    }
}

#[test]
fn without_keys_there_is_no_protected_record() {
    let (mut writer, mut reader) = (RecordWriter::default(), RecordReader::default());
    let mut buf = Vec::new();
    let start = writer.begin(Epoch::Sealed, &mut buf);
    let refused = writer.finish(Epoch::Sealed, APPLICATION_DATA, &mut buf, start);
    assert_eq!(refused, Err(Error::NotConnected));
    let record = seal(&mut pair(0).0, b"data");
    assert_eq!(open(&mut reader, &record), Err(OpenError::NoKeys));
}
