//! Arbitrary packets over a network that loses, reorders and repeats.

use proptest::prelude::*;

use super::*;

/// A header with contributing sources and an extension, as long as it says.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let csrc = prop::collection::vec(any::<[u8; 4]>(), 0..=15);
    let extension = prop::option::of((
        any::<[u8; 2]>(),
        prop::collection::vec(any::<[u8; 4]>(), 0..20),
    ));
    (any::<bool>(), any::<u8>(), any::<u32>(), csrc, extension).prop_map(
        |(padding, second, timestamp, csrc, extension)| {
            let first = 0x80
                | u8::from(padding) << 5
                | u8::from(extension.is_some()) << 4
                | csrc.len() as u8;
            let mut header = vec![first, second, 0, 0];
            header.extend(timestamp.to_be_bytes());
            header.extend([0, 0, 0, 1]);
            header.extend(csrc.iter().flatten());
            if let Some((profile, words)) = extension {
                header.extend(profile);
                header.extend((words.len() as u16).to_be_bytes());
                header.extend(words.iter().flatten());
            }
            header
        },
    )
}

fn profile() -> impl Strategy<Value = Profile> {
    prop::sample::select(Profile::ALL.to_vec())
}

proptest! {
    #[test]
    fn what_is_protected_can_be_unprotected(
        profile in profile(),
        header in header(),
        payload in prop::collection::vec(any::<u8>(), 0..1300),
        number in any::<u16>(),
        ssrc in any::<u32>(),
    ) {
        let mut plain = header.clone();
        plain[2..4].copy_from_slice(&number.to_be_bytes());
        plain[8..12].copy_from_slice(&ssrc.to_be_bytes());
        plain.extend(&payload);
        let (mut tx, mut rx) = (sender(profile), receiver(profile));
        let protected = protect_rtp(&mut tx, &plain).unwrap();
        prop_assert_eq!(&protected[..header.len()], &plain[..header.len()]);
        if payload.len() >= 16 {
            prop_assert_ne!(&protected[header.len()..plain.len()], &payload[..]);
        }
        prop_assert_eq!(unprotect_rtp(&mut rx, &protected), Ok(plain));
    }

    #[test]
    fn what_is_protected_of_rtcp_can_be_unprotected(
        profile in profile(),
        body in prop::collection::vec(any::<u8>(), 0..1300),
        ssrc in any::<u32>(),
        before in 0_u64..1 << 31,
    ) {
        let plain = rtcp(ssrc, &body);
        let (mut tx, mut rx) = (sender(profile), receiver(profile));
        tx.next_rtcp_index = before;
        let protected = protect_rtcp(&mut tx, &plain).unwrap();
        prop_assert_eq!(unprotect_rtcp(&mut rx, &protected), Ok(plain));
    }

    /// Jumps and displacements that stay within the window, over several wraps. Each packet is
    /// delivered some times, and taken once.
    #[test]
    fn every_packet_within_the_window_is_taken_once(
        profile in profile(),
        start in 0_u16..1 << 15,
        packets in prop::collection::vec((1_u16..300, 0_u64..700, 0_usize..3), 1..600),
    ) {
        let (mut tx, mut rx) = (sender(profile), receiver(profile));
        let mut number = u64::from(start);
        let mut network = Vec::new();
        for (step, delay, copies) in packets {
            let plain = rtp(3, number as u16, &number.to_be_bytes());
            let protected = protect_rtp(&mut tx, &plain).unwrap();
            for copy in 0..copies as u64 {
                network.push((number + (delay + 150 * copy).min(700), plain.clone(), protected.clone()));
            }
            number += u64::from(step);
        }
        network.sort_by_key(|(due, ..)| *due);
        let mut taken = std::collections::BTreeSet::new();
        for (_, plain, protected) in network {
            let expected = match taken.insert(plain.clone()) {
                true => Ok(plain),
                false => Err(Error::Replayed),
            };
            prop_assert_eq!(unprotect_rtp(&mut rx, &protected), expected);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(
        profile in profile(),
        mut junk in prop::collection::vec(any::<u8>(), 0..200),
        rtp_like in any::<bool>(),
    ) {
        if let (true, Some(first)) = (rtp_like, junk.first_mut()) {
            *first = *first & 0x3f | 0x80;
        }
        let mut rx = receiver(profile);
        prop_assert!(unprotect_rtp(&mut rx, &junk).is_err());
        prop_assert!(unprotect_rtcp(&mut rx, &junk).is_err());
    }

    #[test]
    fn arbitrary_plain_bytes_never_panic(
        profile in profile(),
        mut junk in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Some(first) = junk.first_mut() {
            *first = *first & 0x3f | 0x80;
        }
        let (mut tx, mut rx) = (sender(profile), receiver(profile));
        if let Ok(protected) = protect_rtp(&mut tx, &junk) {
            prop_assert_eq!(unprotect_rtp(&mut rx, &protected), Ok(junk.clone()));
        }
        if let Ok(protected) = protect_rtcp(&mut tx, &junk) {
            prop_assert_eq!(unprotect_rtcp(&mut rx, &protected), Ok(junk));
        }
    }
}
