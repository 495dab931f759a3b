//! ClientHellos as browsers send them, and as they should not.

use rtc_dtls::{AlertDescription, Error, Event, SrtpProfile, State};

use crate::sim::{Network, Pair, default_configs};
use crate::wire::{Hello, fragment, message, plain_messages, record};

/// A server that has settled, with a silent network.
fn server() -> Pair {
    Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        1,
    )
}

/// What the server answers to a datagram.
fn answer(hello: &Hello) -> (Pair, Vec<(u8, u16, Vec<u8>)>) {
    let mut pair = server();
    pair.deliver(1, &hello.datagram());
    pair.settle();
    let messages = pair.sent[1]
        .iter()
        .flat_map(|datagram| plain_messages(datagram))
        .collect();
    (pair, messages)
}

/// The extensions of a ServerHello.
fn extensions(server_hello: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut block = &server_hello[2 + 32 + 1 + 2 + 1 + 2..];
    let mut extensions = Vec::new();
    while !block.is_empty() {
        let kind = u16::from_be_bytes([block[0], block[1]]);
        let length = usize::from(u16::from_be_bytes([block[2], block[3]]));
        extensions.push((kind, block[4..4 + length].to_vec()));
        block = &block[4 + length..];
    }
    extensions
}

fn assert_good_answer(messages: &[(u8, u16, Vec<u8>)]) {
    let kinds: Vec<u8> = messages.iter().map(|(kind, _, _)| *kind).collect();
    assert_eq!(kinds, [2, 11, 12, 13, 14]);
    let hello = &messages[0].2;
    assert_eq!(hello[..2], [0xfe, 0xfd]);
    assert!(
        !hello[2..34].ends_with(b"DOWNGRD\x01"),
        "this server speaks nothing higher"
    );
    assert_eq!(hello[34], 0, "no session");
    assert_eq!(hello[35..37], [0xc0, 0x2b]);
    let extensions = extensions(hello);
    assert!(extensions.contains(&(23, vec![])));
    assert!(extensions.contains(&(0xff01, vec![0])));
    assert!(
        extensions.contains(&(14, vec![0, 2, 0, 7, 0])),
        "by the server's order"
    );
    assert!(
        extensions
            .iter()
            .all(|(kind, _)| [11, 14, 23, 0xff01].contains(kind))
    );
}

#[test]
fn a_hello_with_version_1_3_and_a_post_quantum_share_falls_back() {
    let (pair, messages) = answer(&Hello::chromium());
    assert_eq!(pair.peers[1].state(), State::Connecting);
    assert_good_answer(&messages);
}

#[test]
fn the_large_hello_may_come_in_fragments_in_any_order() {
    let body = Hello::chromium().body();
    assert!(body.len() > 1400);
    for pieces in [2, 3, 7] {
        for order in 0..6 {
            let step = body.len().div_ceil(pieces);
            let mut fragments: Vec<Vec<u8>> = (0..body.len())
                .step_by(step)
                .map(|start| fragment(1, 0, &body, start..(start + step + 9).min(body.len())))
                .collect();
            match order {
                0 => {}
                1 => fragments.reverse(),
                n => fragments.rotate_left(n % pieces),
            }
            let mut pair = server();
            for (sequence, fragment) in fragments.iter().enumerate() {
                let datagram = record(22, sequence as u64, fragment);
                pair.deliver(1, &datagram);
                pair.deliver(1, &datagram);
            }
            pair.settle();
            let messages: Vec<_> = pair.sent[1]
                .iter()
                .flat_map(|datagram| plain_messages(datagram))
                .collect();
            assert_good_answer(&messages);
        }
    }
}

#[test]
fn both_fragments_may_come_in_one_datagram_or_one_record() {
    let body = Hello::chromium().body();
    let (a, b) = (
        fragment(1, 0, &body, 0..1100),
        fragment(1, 0, &body, 1100..body.len()),
    );
    let two_records = [record(22, 0, &a), record(22, 1, &b)].concat();
    let one_record = record(22, 0, &[a, b].concat());
    for datagram in [two_records, one_record] {
        let mut pair = server();
        pair.deliver(1, &datagram);
        pair.settle();
        assert_good_answer(&plain_messages(&pair.sent[1][0]));
    }
}

#[test]
fn a_fragmented_hello_gets_its_cookie() {
    let mut configs = default_configs();
    configs[1].cookie_exchange = true;
    let mut pair = Pair::new(
        configs,
        Network {
            loss: 1.0,
            ..Network::default()
        },
        2,
    );
    let body = Hello::chromium().body();
    pair.deliver(1, &record(22, 0, &fragment(1, 0, &body, 900..body.len())));
    pair.settle();
    assert!(pair.sent[1].is_empty());
    pair.deliver(1, &record(22, 1, &fragment(1, 0, &body, 0..900)));
    pair.settle();
    let [(3, 0, request)] = &plain_messages(&pair.sent[1][0])[..] else {
        panic!()
    };
    assert_eq!(request[..2], [0xfe, 0xff]);
    let cookie = &request[3..];

    // The hello again, with a wrong cookie, then with the right one.
    let with_cookie = |cookie: &[u8]| {
        let mut with = body[..35].to_vec();
        with.push(cookie.len() as u8);
        with.extend_from_slice(cookie);
        with.extend_from_slice(&body[36..]);
        with
    };
    pair.deliver(1, &record(22, 2, &message(1, 1, &with_cookie(b"wrong"))));
    pair.settle();
    let [(3, 1, again)] = &plain_messages(&pair.sent[1][1])[..] else {
        panic!()
    };
    assert_eq!(&again[3..], cookie, "the same hello has the same cookie");
    pair.deliver(1, &record(22, 3, &message(1, 2, &with_cookie(cookie))));
    pair.settle();
    let messages: Vec<_> = pair.sent[1][2..]
        .iter()
        .flat_map(|it| plain_messages(it))
        .collect();
    assert_good_answer(&messages);
    assert_eq!(messages[0].1, 2, "message_seq goes on");
}

#[test]
fn a_client_repeats_as_many_cookies_as_it_is_asked_for() {
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        3,
    );
    pair.settle();
    let first = plain_messages(&pair.sent[0][0]).remove(0).2;
    let request = |cookie: &[u8]| [&[0xfe, 0xff, cookie.len() as u8], cookie].concat();
    // Once as the RFC numbers it, then by a server without memory that begins at 0 again.
    for (cookie, seq) in [(&b"one"[..], 0), (&b"another"[..], 1), (&b"third"[..], 0)] {
        let before = pair.sent[0].len();
        for _ in 0..2 {
            pair.deliver(0, &record(22, 0, &message(3, seq, &request(cookie))));
            pair.settle();
        }
        assert_eq!(
            pair.sent[0].len(),
            before + 1,
            "a repetition is not answered"
        );
        let hello = plain_messages(pair.sent[0].last().unwrap()).remove(0);
        assert_eq!(hello.1, before as u16);
        assert_eq!(hello.2[..35], first[..35], "same random");
        assert_eq!(
            hello.2[35..36 + cookie.len()],
            [&[cookie.len() as u8], cookie].concat()
        );
        assert_eq!(hello.2[36 + cookie.len()..], first[36..]);
    }
}

fn assert_refused(hello: &Hello, error: Error, alert: AlertDescription) {
    let (pair, messages) = answer(hello);
    assert_eq!(pair.events[1], [Event::Failed(error)]);
    assert!(messages.is_empty());
    assert_eq!(pair.sent[1], [record(21, 0, &[2, alert.0])]);
}

#[test]
fn a_hello_that_has_nothing_for_us_is_refused_with_the_right_alert() {
    let mut only_1_3 = Hello::chromium();
    only_1_3.set(43, &[2, 0xfe, 0xfc]);
    assert_refused(
        &only_1_3,
        Error::NoCommonVersion,
        AlertDescription::PROTOCOL_VERSION,
    );

    let mut old = Hello::chromium();
    old.remove(43);
    old.version = 0xfeff;
    assert_refused(
        &old,
        Error::NoCommonVersion,
        AlertDescription::PROTOCOL_VERSION,
    );

    let mut suites = Hello::chromium();
    suites.suites = vec![0x1301, 0x0a0a, 0xc02f];
    assert_refused(
        &suites,
        Error::NoCommonCipherSuite,
        AlertDescription::HANDSHAKE_FAILURE,
    );

    let mut groups = Hello::chromium();
    groups.set(10, &[0, 4, 0x11, 0xec, 0, 0x1e]);
    assert_refused(
        &groups,
        Error::NoCommonGroup,
        AlertDescription::HANDSHAKE_FAILURE,
    );

    let mut schemes = Hello::chromium();
    schemes.set(13, &[0, 2, 0x02, 0x01]);
    let refused = Error::NoCommonSignatureScheme;
    assert_refused(&schemes, refused, AlertDescription::HANDSHAKE_FAILURE);

    let mut secret = Hello::chromium();
    secret.remove(23);
    let refused = Error::MissingExtendedMasterSecret;
    assert_refused(&secret, refused, AlertDescription::HANDSHAKE_FAILURE);

    let mut renegotiation = Hello::chromium();
    renegotiation.set(0xff01, &[2, 1, 2]);
    let refused = Error::Renegotiation;
    assert_refused(&renegotiation, refused, AlertDescription::HANDSHAKE_FAILURE);
}

#[test]
fn a_hello_of_the_old_kind_is_taken() {
    let mut hello = Hello::chromium();
    for extension in [43, 51, 10, 11, 0xff01, 14] {
        hello.remove(extension);
    }
    hello.suites = vec![0x00ff, 0xc02b];
    let (pair, messages) = answer(&hello);
    assert_eq!(pair.peers[1].state(), State::Connecting);
    let mut kinds: Vec<u16> = extensions(&messages[0].2)
        .iter()
        .map(|(kind, _)| *kind)
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [23, 0xff01],
        "the signalling suite is answered by the extension"
    );
}

#[test]
fn without_extended_master_secret_only_when_it_is_not_required() {
    let mut hello = Hello::chromium();
    hello.remove(23);
    let mut configs = default_configs();
    configs[1].require_extended_master_secret = false;
    let mut pair = Pair::new(
        configs,
        Network {
            loss: 1.0,
            ..Network::default()
        },
        4,
    );
    pair.deliver(1, &hello.datagram());
    pair.settle();
    let messages = plain_messages(&pair.sent[1][0]);
    assert!(
        extensions(&messages[0].2)
            .iter()
            .all(|(kind, _)| *kind != 23)
    );
}

/// A ServerHello as answer to our client.
fn server_hello(suite: u16, extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend([8; 32]);
    body.push(0);
    body.extend(suite.to_be_bytes());
    body.push(0);
    let mut block = Vec::new();
    for (kind, data) in extensions {
        block.extend(kind.to_be_bytes());
        block.extend((data.len() as u16).to_be_bytes());
        block.extend_from_slice(data);
    }
    body.extend((block.len() as u16).to_be_bytes());
    body.extend(block);
    record(22, 0, &message(2, 0, &body))
}

fn assert_client_refuses(datagram: &[u8], error: Error, alert: AlertDescription) {
    let mut configs = default_configs();
    configs[0].srtp_profiles = vec![SrtpProfile::AeadAes128Gcm];
    let mut pair = Pair::new(
        configs,
        Network {
            loss: 1.0,
            ..Network::default()
        },
        5,
    );
    pair.settle();
    pair.deliver(0, datagram);
    pair.settle();
    assert_eq!(pair.events[0], [Event::Failed(error)]);
    assert_eq!(pair.sent[0].last().unwrap()[13..], [2, alert.0]);
}

#[test]
fn a_client_refuses_answers_that_it_did_not_offer() {
    use AlertDescription as Alert;
    let secret = (23, &[][..]);
    let illegal = |what| Error::IllegalParameter(what);
    for (datagram, error, alert) in [
        (
            server_hello(0xc009, &[secret]),
            illegal("cipher suite"),
            Alert::ILLEGAL_PARAMETER,
        ),
        (
            server_hello(0x1301, &[secret]),
            illegal("cipher suite"),
            Alert::ILLEGAL_PARAMETER,
        ),
        (
            server_hello(0xc02b, &[secret, (14, &[0, 2, 0, 1, 0])]),
            illegal("SRTP profile"),
            Alert::ILLEGAL_PARAMETER,
        ),
        (
            server_hello(0xc02b, &[secret, (14, &[0, 2, 0, 5, 0])]),
            illegal("SRTP profile"),
            Alert::ILLEGAL_PARAMETER,
        ),
        (
            server_hello(0xc02b, &[secret, (14, &[0, 4, 0, 7, 0, 7, 0])]),
            illegal("number of SRTP profiles"),
            Alert::ILLEGAL_PARAMETER,
        ),
        (
            server_hello(0xc02b, &[secret, (35, &[])]),
            Error::UnsupportedExtension(35),
            Alert::UNSUPPORTED_EXTENSION,
        ),
        (
            server_hello(0xc02b, &[secret, (43, &[0xfe, 0xfc])]),
            Error::UnsupportedExtension(43),
            Alert::UNSUPPORTED_EXTENSION,
        ),
        (
            server_hello(0xc02b, &[secret, (0xff01, &[1, 7])]),
            Error::Renegotiation,
            Alert::HANDSHAKE_FAILURE,
        ),
        (
            server_hello(0xc02b, &[]),
            Error::MissingExtendedMasterSecret,
            Alert::HANDSHAKE_FAILURE,
        ),
    ] {
        assert_client_refuses(&datagram, error, alert);
    }
}
