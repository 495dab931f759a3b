//! Known answers in `vectors`, behaviour of both contexts here, arbitrary traffic in `traffic`.

mod traffic;
mod vectors;

use rtc_crypto::CryptoProvider;

use crate::{Error, KeyingMaterial, MasterKey, Profile, ReceiveContext, SendContext};

fn provider() -> &'static CryptoProvider {
    rtc_crypto::default_provider()
}

fn master_key(profile: Profile) -> MasterKey {
    let key: Vec<u8> = (0..profile.key_len()).map(|at| at as u8).collect();
    let salt: Vec<u8> = (0..profile.salt_len()).map(|at| 0xa0 + at as u8).collect();
    MasterKey::new(profile, &key, &salt).unwrap()
}

fn sender(profile: Profile) -> SendContext {
    SendContext::new(&master_key(profile), provider()).unwrap()
}

fn receiver(profile: Profile) -> ReceiveContext {
    ReceiveContext::new(&master_key(profile), provider()).unwrap()
}

/// An RTP packet without extension.
fn rtp(ssrc: u32, sequence_number: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(sequence_number.to_be_bytes());
    packet.extend(u32::from(sequence_number).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// An empty receiver report, and whatever follows it.
fn rtcp(ssrc: u32, more: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(more);
    packet
}

fn protect_rtp(context: &mut SendContext, plain: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + context.rtp_overhead(), 0);
    let length = context.protect_rtp(&mut buffer, plain.len())?;
    assert_eq!(length, buffer.len());
    Ok(buffer)
}

fn protect_rtcp(context: &mut SendContext, plain: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + context.rtcp_overhead(), 0);
    let length = context.protect_rtcp(&mut buffer, plain.len())?;
    assert_eq!(length, buffer.len());
    Ok(buffer)
}

fn unprotect_rtp(context: &mut ReceiveContext, protected: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packet = protected.to_vec();
    let length = context.unprotect_rtp(&mut packet)?;
    packet.truncate(length);
    Ok(packet)
}

fn unprotect_rtcp(context: &mut ReceiveContext, protected: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packet = protected.to_vec();
    let length = context.unprotect_rtcp(&mut packet)?;
    packet.truncate(length);
    Ok(packet)
}

#[test]
fn every_profile_can_be_found_by_its_code_and_has_the_lengths_of_its_rfc() {
    for (profile, code, name, lengths) in [
        (
            Profile::Aes128CmHmacSha1_80,
            Some(1),
            "SRTP_AES128_CM_HMAC_SHA1_80",
            [60, 10, 14],
        ),
        (
            Profile::Aes128CmHmacSha1_32,
            Some(2),
            "SRTP_AES128_CM_HMAC_SHA1_32",
            [60, 4, 14],
        ),
        (
            Profile::Aes256CmHmacSha1_80,
            None,
            "SRTP_AES256_CM_HMAC_SHA1_80",
            [92, 10, 14],
        ),
        (
            Profile::AeadAes128Gcm,
            Some(7),
            "SRTP_AEAD_AES_128_GCM",
            [56, 16, 20],
        ),
        (
            Profile::AeadAes256Gcm,
            Some(8),
            "SRTP_AEAD_AES_256_GCM",
            [88, 16, 20],
        ),
    ] {
        assert_eq!(profile.code(), code);
        assert_eq!(profile.to_string(), name);
        let found = [
            profile.exporter_len(),
            profile.rtp_overhead(),
            profile.rtcp_overhead(),
        ];
        assert_eq!(found, lengths, "{profile}");
        if let Some(code) = code {
            assert_eq!(Profile::from_code(code), Some(profile));
        }
    }
    for code in [0, 3, 4, 5, 6, 9, 0xffff] {
        assert_eq!(Profile::from_code(code), None);
    }
}

#[test]
fn exported_material_is_split_into_keys_then_salts() {
    let provider = provider();
    for profile in Profile::ALL {
        let exported: Vec<u8> = (0..profile.exporter_len()).map(|at| at as u8).collect();
        let keys = KeyingMaterial::from_exporter(profile, &exported).unwrap();
        let (key, salt) = (profile.key_len(), profile.salt_len());
        let expected = |side: usize| {
            let salt_at = 2 * key + side * salt;
            let key = &exported[side * key..][..key];
            MasterKey::new(profile, key, &exported[salt_at..][..salt]).unwrap()
        };
        for (split, side) in [(&keys.client, 0), (&keys.server, 1)] {
            let plain = rtp(1, 1, b"payload");
            let mut a = SendContext::new(split, provider).unwrap();
            let mut b = ReceiveContext::new(&expected(side), provider).unwrap();
            let protected = protect_rtp(&mut a, &plain).unwrap();
            assert_eq!(unprotect_rtp(&mut b, &protected), Ok(plain));
            // The other direction has another key.
            let mut b = ReceiveContext::new(&expected(1 - side), provider).unwrap();
            let refused = unprotect_rtp(&mut b, &protected);
            assert_eq!(refused, Err(Error::Authentication));
        }
        for wrong in [0, exported.len() - 1, exported.len() + 1] {
            let refused = KeyingMaterial::from_exporter(profile, &vec![0; wrong]);
            assert_eq!(refused.err(), Some(Error::KeyLength));
        }
        assert!(!format!("{keys:?}").contains("1, 2, 3"), "keys are secret");
    }
}

#[test]
fn a_provider_without_the_algorithm_is_told() {
    let bare = CryptoProvider {
        aeads: &[],
        hmacs: &[],
        ..*provider()
    };
    for profile in Profile::ALL {
        let key = master_key(profile);
        let refused = SendContext::new(&key, &bare).err();
        assert_eq!(refused, Some(Error::Unsupported));
        let refused = ReceiveContext::new(&key, &bare).err();
        assert_eq!(refused, Some(Error::Unsupported));
    }
}

#[test]
fn every_turned_bit_and_every_truncation_is_refused() {
    for profile in Profile::ALL {
        let mut tx = sender(profile);
        let plain = rtp(7, 40_000, b"some payload");
        let protected = protect_rtp(&mut tx, &plain).unwrap();
        let report = protect_rtcp(&mut tx, &rtcp(7, b"more of it!!")).unwrap();
        let mut rx = receiver(profile);
        for bit in 0..protected.len() * 8 {
            let mut forged = protected.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotect_rtp(&mut rx, &forged).is_err(), "{profile} {bit}");
        }
        for bit in 0..report.len() * 8 {
            let mut forged = report.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotect_rtcp(&mut rx, &forged).is_err(), "{profile} {bit}");
        }
        for length in 0..protected.len() {
            assert!(unprotect_rtp(&mut rx, &protected[..length]).is_err());
        }
        for length in 0..report.len() {
            assert!(unprotect_rtcp(&mut rx, &report[..length]).is_err());
        }
        // None of it has changed anything.
        assert_eq!(unprotect_rtp(&mut rx, &protected), Ok(plain));
        assert_eq!(
            unprotect_rtcp(&mut rx, &report),
            Ok(rtcp(7, b"more of it!!"))
        );
    }
}

#[test]
fn a_packet_is_taken_once() {
    for profile in Profile::ALL {
        let (mut tx, mut rx) = (sender(profile), receiver(profile));
        let packets: Vec<_> = (0..3000)
            .map(|number| protect_rtp(&mut tx, &rtp(1, number, b"x")).unwrap())
            .collect();
        let reports: Vec<_> = (0..300)
            .map(|_| protect_rtcp(&mut tx, &rtcp(1, b"")).unwrap())
            .collect();
        // Every second arrives, then all of them.
        for packet in packets.iter().step_by(2) {
            assert!(unprotect_rtp(&mut rx, packet).is_ok());
        }
        for report in reports.iter().step_by(2) {
            assert!(unprotect_rtcp(&mut rx, report).is_ok());
        }
        for (number, packet) in packets.iter().enumerate() {
            // The highest was 2998, and the window 1024 wide.
            let fresh = number % 2 == 1 && number > 2998 - 1024;
            let expected = match fresh {
                true => Ok(rtp(1, number as u16, b"x")),
                false => Err(Error::Replayed),
            };
            assert_eq!(unprotect_rtp(&mut rx, packet), expected, "{number}");
        }
        for (number, report) in reports.iter().enumerate() {
            let fresh = number % 2 == 1 && number > 298 - 128;
            let taken = unprotect_rtcp(&mut rx, report);
            assert_eq!(taken.is_ok(), fresh, "{number}");
        }
    }
}

#[test]
fn sources_have_counters_of_their_own() {
    let profile = Profile::AeadAes128Gcm;
    let (mut tx, mut rx) = (sender(profile), receiver(profile));
    for number in [5, 30_000, 60_000, 20_000] {
        for ssrc in [9, 1, 5] {
            let plain = rtp(ssrc, number, b"payload");
            let protected = protect_rtp(&mut tx, &plain).unwrap();
            assert_eq!(unprotect_rtp(&mut rx, &protected), Ok(plain));
        }
    }
}

#[test]
fn a_packet_does_not_pass_for_one_of_another_source_or_key() {
    for profile in Profile::ALL {
        let (mut tx, mut rx) = (sender(profile), receiver(profile));
        let mut protected = protect_rtp(&mut tx, &rtp(1, 1, b"payload")).unwrap();
        protected[11] = 2;
        let refused = unprotect_rtp(&mut rx, &protected);
        assert_eq!(refused, Err(Error::Authentication));
        protected[11] = 1;

        let key = vec![0xff; profile.key_len()];
        let salt = vec![0xa0; profile.salt_len()];
        let other = MasterKey::new(profile, &key, &salt).unwrap();
        let mut other = ReceiveContext::new(&other, provider()).unwrap();
        let refused = unprotect_rtp(&mut other, &protected);
        assert_eq!(refused, Err(Error::Authentication));
        assert!(unprotect_rtp(&mut rx, &protected).is_ok());

        // RTP is not taken for RTCP, whose keys are others.
        let mut tx = sender(profile);
        let report = protect_rtcp(&mut tx, &rtcp(1, &[0; 32])).unwrap();
        assert!(unprotect_rtp(&mut rx, &report).is_err());
        assert!(unprotect_rtcp(&mut rx, &protected).is_err());
    }
}

#[test]
fn the_rollover_counter_survives_wraps_with_loss_and_reordering() {
    for profile in Profile::ALL {
        let (mut tx, mut rx) = (sender(profile), receiver(profile));
        let mut number = 1_u16;
        let mut held: Option<(Vec<u8>, Vec<u8>)> = None;
        // Five wraps in strides that are never the same around a wrap, each third packet lost, each
        // fifth overtaken by its successor.
        for round in 0..5 * 65_536 / 331 {
            let plain = rtp(1, number, &[round as u8; 5]);
            let protected = protect_rtp(&mut tx, &plain).unwrap();
            match round % 15 {
                0 | 3 | 6 | 9 | 12 => {}
                5 | 10 => held = Some((plain, protected)),
                _ => {
                    assert_eq!(unprotect_rtp(&mut rx, &protected), Ok(plain));
                    if let Some((plain, protected)) = held.take() {
                        assert_eq!(unprotect_rtp(&mut rx, &protected), Ok(plain));
                    }
                }
            }
            number = number.wrapping_add(331);
        }
    }
}

#[test]
fn a_stream_that_begins_before_the_wrap_is_heard_from_after_it() {
    for profile in Profile::ALL {
        let (mut tx, mut rx) = (sender(profile), receiver(profile));
        let before = protect_rtp(&mut tx, &rtp(1, 65_535, b"before")).unwrap();
        let after = protect_rtp(&mut tx, &rtp(1, 0, b"after")).unwrap();
        let next = protect_rtp(&mut tx, &rtp(1, 1, b"next")).unwrap();
        assert_eq!(unprotect_rtp(&mut rx, &after), Ok(rtp(1, 0, b"after")));
        assert_eq!(unprotect_rtp(&mut rx, &next), Ok(rtp(1, 1, b"next")));
        assert_eq!(
            unprotect_rtp(&mut rx, &before),
            Ok(rtp(1, 65_535, b"before"))
        );
        for replayed in [before, after, next] {
            assert_eq!(unprotect_rtp(&mut rx, &replayed), Err(Error::Replayed));
        }
    }
}

#[test]
fn a_sequence_number_is_not_used_twice() {
    for profile in Profile::ALL {
        let mut tx = sender(profile);
        protect_rtp(&mut tx, &rtp(1, 7, b"one")).unwrap();
        protect_rtp(&mut tx, &rtp(1, 9, b"three")).unwrap();
        protect_rtp(&mut tx, &rtp(1, 8, b"two, late")).unwrap();
        for (number, payload) in [(7, &b"one"[..]), (8, b"another"), (9, b"three")] {
            let refused = protect_rtp(&mut tx, &rtp(1, number, payload));
            assert_eq!(refused, Err(Error::IndexReused));
        }
        // Other sources have their own.
        protect_rtp(&mut tx, &rtp(2, 7, b"one")).unwrap();
        // What is older than the record may have been used.
        protect_rtp(&mut tx, &rtp(1, 2000, b"far")).unwrap();
        let refused = protect_rtp(&mut tx, &rtp(1, 10, b"late"));
        assert_eq!(refused, Err(Error::IndexReused));
        protect_rtp(&mut tx, &rtp(1, 2000 - 1023, b"late")).unwrap();
    }
}

#[test]
fn a_packet_may_be_sent_again_as_it_was_and_not_otherwise() {
    for profile in Profile::ALL {
        let mut tx = sender(profile);
        protect_rtp(&mut tx, &rtp(1, 0, b"before")).unwrap();
        tx.allow_retransmission(1).unwrap();
        let packets: Vec<_> = (1..=2000)
            .map(|number| rtp(1, number, &number.to_be_bytes()))
            .collect();
        let sent: Vec<_> = packets
            .iter()
            .map(|packet| protect_rtp(&mut tx, packet).unwrap())
            .collect();
        for _ in 0..2 {
            for number in 2000 - 1023..=2000 {
                let again = protect_rtp(&mut tx, &packets[number - 1]);
                assert_eq!(again.as_ref(), Ok(&sent[number - 1]), "{number}");
            }
        }
        for number in [0, 1, 2000 - 1024] {
            let refused = protect_rtp(&mut tx, &rtp(1, number, &number.to_be_bytes()));
            assert_eq!(refused, Err(Error::IndexReused), "{number}");
        }
        // Another payload, another header, another length.
        let mut marked = packets[1998].clone();
        marked[1] |= 0x80;
        for changed in [rtp(1, 1999, b"!!"), marked, rtp(1, 1999, b"longer")] {
            let mut buffer = changed.clone();
            buffer.resize(changed.len() + tx.rtp_overhead(), 0xee);
            let refused = tx.protect_rtp(&mut buffer, changed.len());
            assert_eq!(refused, Err(Error::IndexReused));
            let payload = &buffer[12..];
            assert!(payload.iter().all(|&byte| byte == 0), "nothing to leak");
        }
        // Only the source that was named.
        protect_rtp(&mut tx, &rtp(2, 1, b"one")).unwrap();
        let refused = protect_rtp(&mut tx, &rtp(2, 1, b"one"));
        assert_eq!(refused, Err(Error::IndexReused));
    }
}

#[test]
fn a_forgotten_source_goes_on_above_what_it_used() {
    let profile = Profile::AeadAes128Gcm;
    let (mut tx, mut rx) = (sender(profile), receiver(profile));
    tx.forget(1);
    let old = protect_rtp(&mut tx, &rtp(1, 65_000, b"old")).unwrap();
    unprotect_rtp(&mut rx, &old).unwrap();
    tx.forget(1);
    tx.forget(1);
    for number in [65_000, 64_999, 40_000] {
        let refused = protect_rtp(&mut tx, &rtp(1, number, b"new"));
        assert_eq!(refused, Err(Error::IndexReused));
    }
    let next = protect_rtp(&mut tx, &rtp(1, 10, b"next counter")).unwrap();
    assert_eq!(
        unprotect_rtp(&mut rx, &next),
        Ok(rtp(1, 10, b"next counter"))
    );
    // Late ones between are in order again, the old ones still are not.
    protect_rtp(&mut tx, &rtp(1, 65_001, b"late")).unwrap();
    let refused = protect_rtp(&mut tx, &rtp(1, 65_000, b"old"));
    assert_eq!(refused, Err(Error::IndexReused));
}

#[test]
fn a_receiver_that_forgets_begins_anew() {
    let profile = Profile::Aes128CmHmacSha1_80;
    let (mut tx, mut rx) = (sender(profile), receiver(profile));
    let packet = protect_rtp(&mut tx, &rtp(1, 1, b"payload")).unwrap();
    let report = protect_rtcp(&mut tx, &rtcp(1, b"")).unwrap();
    assert!(unprotect_rtp(&mut rx, &packet).is_ok());
    assert!(unprotect_rtcp(&mut rx, &report).is_ok());
    rx.forget(2);
    assert_eq!(unprotect_rtp(&mut rx, &packet), Err(Error::Replayed));
    rx.forget(1);
    assert!(unprotect_rtp(&mut rx, &packet).is_ok());
    assert!(unprotect_rtcp(&mut rx, &report).is_ok());
}

#[test]
fn the_source_that_was_silent_the_longest_gives_way() {
    let profile = Profile::AeadAes128Gcm;
    let (mut tx, mut rx) = (sender(profile), receiver(profile));
    let mut first = Vec::new();
    for ssrc in 0..1024 {
        let protected = protect_rtp(&mut tx, &rtp(ssrc, 1, b"x")).unwrap();
        assert!(unprotect_rtp(&mut rx, &protected).is_ok());
        first.push(protected);
    }
    // Source 0 speaks again, so 1 is the one.
    let again = protect_rtp(&mut tx, &rtp(0, 2, b"x")).unwrap();
    assert!(unprotect_rtp(&mut rx, &again).is_ok());
    // Junk of an unknown source displaces none.
    let mut junk = first[5].clone();
    junk[8] = 0xff;
    assert!(unprotect_rtp(&mut rx, &junk).is_err());
    assert_eq!(unprotect_rtp(&mut rx, &first[1]), Err(Error::Replayed));

    let new = protect_rtp(&mut tx, &rtp(5000, 1, b"x")).unwrap();
    assert!(unprotect_rtp(&mut rx, &new).is_ok());
    assert_eq!(unprotect_rtp(&mut rx, &first[0]), Err(Error::Replayed));
    assert_eq!(unprotect_rtp(&mut rx, &first[2]), Err(Error::Replayed));
    assert!(unprotect_rtp(&mut rx, &first[1]).is_ok(), "was forgotten");
}

#[test]
fn what_is_no_packet_is_refused_before_it_is_touched() {
    for profile in Profile::ALL {
        let (mut tx, mut rx) = (sender(profile), receiver(profile));
        let mut wrong_version = rtp(1, 1, b"payload");
        wrong_version[0] = 0x40;
        let mut cut_csrc = rtp(1, 1, b"");
        cut_csrc[0] = 0x8f;
        let mut cut_extension = rtp(1, 1, &[0xbe, 0xde, 0, 200, 1, 2, 3, 4]);
        cut_extension[0] = 0x90;
        for plain in [&[][..], &[0x80], &wrong_version, &cut_csrc, &cut_extension] {
            let refused = protect_rtp(&mut tx, plain);
            assert_eq!(refused, Err(Error::Malformed));
            let refused = unprotect_rtp(&mut rx, plain);
            assert_eq!(refused, Err(Error::Malformed));
        }
        for plain in [&[][..], &[0x80, 200, 0, 0, 1, 2, 3], &[0; 40]] {
            let refused = protect_rtcp(&mut tx, plain);
            assert_eq!(refused, Err(Error::Malformed));
            let refused = unprotect_rtcp(&mut rx, plain);
            assert_eq!(refused, Err(Error::Malformed));
        }
        // A header that ends in the tag.
        let mut long_header = rtp(1, 1, &[0; 19]);
        long_header[0] = 0x84;
        let refused = unprotect_rtp(&mut rx, &long_header);
        assert!(refused.is_err());
    }
}

#[test]
fn a_buffer_without_room_or_longer_than_a_datagram_is_refused() {
    for profile in Profile::ALL {
        let mut tx = sender(profile);
        let plain = rtp(1, 1, b"payload");
        let report = rtcp(1, b"");
        for room in 0..tx.rtp_overhead() {
            let mut buffer = plain.clone();
            buffer.resize(plain.len() + room, 0);
            let refused = tx.protect_rtp(&mut buffer, plain.len());
            assert_eq!(refused, Err(Error::BufferTooSmall));
            assert!(buffer.starts_with(&plain), "untouched");
        }
        for room in 0..tx.rtcp_overhead() {
            let mut buffer = report.clone();
            buffer.resize(report.len() + room, 0);
            let refused = tx.protect_rtcp(&mut buffer, report.len());
            assert_eq!(refused, Err(Error::BufferTooSmall));
            assert!(buffer.starts_with(&report), "untouched");
        }
        let mut buffer = plain.clone();
        let refused = tx.protect_rtp(&mut buffer, plain.len() + 1);
        assert_eq!(refused, Err(Error::BufferTooSmall));
        let refused = tx.protect_rtp(&mut buffer, usize::MAX);
        assert_eq!(refused, Err(Error::Malformed));
        let long = rtp(1, 1, &[0; 65_535]);
        assert_eq!(protect_rtp(&mut tx, &long), Err(Error::Malformed));
        // All of these have used no sequence number.
        assert!(protect_rtp(&mut tx, &plain).is_ok());
    }
}

#[test]
fn reports_of_all_sources_share_a_growing_index() {
    for profile in Profile::ALL {
        let (mut tx, mut rx) = (sender(profile), receiver(profile));
        for index in 0..5_u32 {
            let plain = rtcp(index % 2, b"body");
            let protected = protect_rtcp(&mut tx, &plain).unwrap();
            let behind = match profile.aead() {
                Some(_) => 0,
                None => 10,
            };
            let word = &protected[protected.len() - behind - 4..][..4];
            assert_eq!(word, (1 << 31 | index).to_be_bytes());
            assert_eq!(unprotect_rtcp(&mut rx, &protected), Ok(plain));
        }
    }
}

#[test]
fn no_more_packets_are_protected_than_a_key_may() {
    let mut tx = sender(Profile::AeadAes128Gcm);
    let mut rx = receiver(Profile::AeadAes128Gcm);
    tx.next_rtcp_index = (1 << 31) - 1;
    let last = protect_rtcp(&mut tx, &rtcp(1, b"")).unwrap();
    assert_eq!(unprotect_rtcp(&mut rx, &last), Ok(rtcp(1, b"")));
    for _ in 0..2 {
        let refused = protect_rtcp(&mut tx, &rtcp(1, b""));
        assert_eq!(refused, Err(Error::KeyExhausted));
    }

    tx.rtp_left = 1;
    protect_rtp(&mut tx, &rtp(1, 1, b"")).unwrap();
    let refused = protect_rtp(&mut tx, &rtp(1, 2, b""));
    assert_eq!(refused, Err(Error::KeyExhausted));
}
