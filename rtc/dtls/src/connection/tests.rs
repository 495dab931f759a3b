//! What only a peer that holds the keys can do.

use rtc_crypto::HashAlgorithm;

use super::inbound::MAX_REFUSALS;
use super::*;
use crate::alert::AlertDescription;
use crate::message::{CERTIFICATE, CLIENT_HELLO, FINISHED, HELLO_REQUEST, write_message};
use crate::record::{CHANGE_CIPHER_SPEC, HANDSHAKE, RecordHeader};
use crate::testing::{PROVIDER, certificate, start};

/// A connected client and server.
fn connected(now: Instant) -> [Connection; 2] {
    let certificate = certificate();
    let mut config = Config::new(PROVIDER, certificate.clone());
    config
        .peer_fingerprints
        .extend(certificate.fingerprint(HashAlgorithm::Sha256, PROVIDER));
    let config = Arc::new(config);
    let mut peers = [Role::Client, Role::Server].map(|role| {
        Connection::new(
            Arc::clone(&config),
            role,
            now,
            Rng::from_seed([role as u8; 32]),
        )
        .unwrap()
    });
    for _ in 0..3 {
        for from in 0..2 {
            for datagram in take(&mut peers[from], now) {
                let datagram = BytesMut::from(&datagram[..]);
                peers[1 - from].handle_datagram(now, datagram, &mut |_| ());
            }
        }
    }
    for peer in &mut peers {
        assert_eq!(peer.poll_event(), Some(Event::Connected));
    }
    peers
}

fn take(peer: &mut Connection, now: Instant) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    let mut datagram = Vec::new();
    while peer.poll_transmit(now, &mut datagram, 1200).is_some() {
        datagrams.push(std::mem::take(&mut datagram));
    }
    datagrams
}

/// A record of any type, protected by the keys of `from`.
fn seal(from: &mut Connection, content_type: u8, payload: &[u8]) -> BytesMut {
    let mut buf = Vec::new();
    let at = from.writer.begin(Epoch::Sealed, &mut buf);
    buf.extend_from_slice(payload);
    from.writer
        .finish(Epoch::Sealed, content_type, &mut buf, at)
        .unwrap();
    BytesMut::from(&buf[..])
}

/// Sends a protected record and returns what the other side answers, decrypted.
fn exchange(
    [from, to]: [&mut Connection; 2],
    content_type: u8,
    payload: &[u8],
    now: Instant,
) -> Vec<(u8, Vec<u8>)> {
    let record = seal(from, content_type, payload);
    to.handle_datagram(now, record, &mut |_| panic!("not application data"));
    let mut answers = Vec::new();
    for mut answer in take(to, now) {
        let header = RecordHeader::parse(&answer).unwrap();
        let range = from.reader.open(header, &mut answer).unwrap();
        answers.push((header.content_type, answer[range].to_vec()));
    }
    answers
}

#[test]
fn a_renegotiation_is_refused_by_a_warning_but_not_forever() {
    for (kind, asks) in [(HELLO_REQUEST, 1), (CLIENT_HELLO, 0)] {
        let now = start();
        let mut peers = connected(now);
        let mut refusals = 0;
        for seq in 10..20 {
            let [client, server] = &mut peers;
            let order = if asks == 0 {
                [client, server]
            } else {
                [server, client]
            };
            let mut message = Vec::new();
            write_message(&mut message, kind, seq, |_| ());
            let answers = exchange(order, HANDSHAKE, &message, now);
            assert!(
                answers
                    .iter()
                    .all(|answer| *answer == (ALERT, vec![1, 100]))
            );
            refusals += answers.len();
        }
        assert_eq!(refusals as u64, MAX_REFUSALS);
        assert!(peers.iter().all(|peer| peer.state() == State::Connected));
        assert_eq!(peers[1 - asks].stats().renegotiations_refused, 10);
    }
}

#[test]
fn other_late_handshake_messages_are_ignored() {
    let now = start();
    let [mut client, mut server] = connected(now);
    for payload in [&[][..], &[1, 2, 3], &[20; 40]] {
        assert_eq!(
            exchange([&mut client, &mut server], HANDSHAKE, payload, now),
            []
        );
    }
    let mut message = Vec::new();
    write_message(&mut message, CERTIFICATE, 7, |out| out.extend([0, 0, 0]));
    assert_eq!(
        exchange([&mut server, &mut client], HANDSHAKE, &message, now),
        []
    );
    assert_eq!(
        (client.state(), server.state()),
        (State::Connected, State::Connected)
    );
}

#[test]
fn an_authentic_fatal_alert_fails_the_connection_without_an_answer() {
    let now = start();
    let [mut client, mut server] = connected(now);
    assert_eq!(
        exchange([&mut client, &mut server], ALERT, &[2, 80], now),
        []
    );
    let told = Error::AlertReceived(AlertDescription::INTERNAL_ERROR);
    assert_eq!(server.poll_event(), Some(Event::Failed(told)));
    assert_eq!(server.poll_event(), None);
    assert_eq!(server.state(), State::Failed);
}

#[test]
fn authentic_warnings_and_malformed_alerts_change_nothing() {
    let now = start();
    let [mut client, mut server] = connected(now);
    for payload in [&[1, 90][..], &[1, 100], &[2], &[], &[3, 0], &[2, 80, 0]] {
        assert_eq!(
            exchange([&mut client, &mut server], ALERT, payload, now),
            []
        );
    }
    assert_eq!(server.state(), State::Connected);
    assert_eq!(server.stats().malformed_records, 4);
}

#[test]
fn records_of_other_types_are_counted() {
    let now = start();
    let [mut client, mut server] = connected(now);
    for content_type in [CHANGE_CIPHER_SPEC, 24, 25, 26, 99] {
        assert_eq!(
            exchange([&mut client, &mut server], content_type, &[1], now),
            []
        );
    }
    assert_eq!(server.stats().unexpected_records, 5);
}

#[test]
fn a_repeated_finished_brings_the_last_flight_again_until_data_comes() {
    let now = start();
    let [mut client, mut server] = connected(now);
    let mut message = Vec::new();
    // The client's messages are hello, Certificate, ClientKeyExchange, CertificateVerify, Finished.
    write_message(&mut message, FINISHED, 4, |out| out.extend([0; 12]));
    let later = now + Duration::from_secs(2);
    let record = seal(&mut client, HANDSHAKE, &message);
    server.handle_datagram(later, record, &mut |_| ());
    assert_eq!(take(&mut server, later).len(), 1);
    assert_eq!(server.stats().flights_repeated, 1);

    let record = seal(&mut client, APPLICATION_DATA, b"data");
    let later = later + Duration::from_secs(2);
    server.handle_datagram(later, record, &mut |_| ());
    let record = seal(&mut client, HANDSHAKE, &message);
    server.handle_datagram(later, record, &mut |_| ());
    assert_eq!(take(&mut server, later), Vec::<Vec<u8>>::new());
    assert!(server.flight.is_none(), "freed");
}

#[test]
fn what_the_handshake_needed_is_freed() {
    let [client, server] = connected(start());
    for peer in [&client, &server] {
        assert!(peer.handshake.is_none());
        assert_eq!(peer.held.capacity(), 0);
        assert_eq!(peer.poll_timeout(), None);
    }
    assert!(client.flight.is_none());
    assert!(server.flight.is_some());
}

#[test]
fn plaintext_is_a_part_of_the_buffer_that_came() {
    let now = start();
    let [mut client, mut server] = connected(now);
    let record = seal(&mut client, APPLICATION_DATA, &[7; 100]);
    let buffer = record.as_ptr() as usize..record.as_ptr() as usize + record.len();
    let mut handed_over = 0;
    server.handle_datagram(now, record, &mut |data| {
        assert!(buffer.contains(&(data.as_ptr() as usize)));
        handed_over += data.len();
    });
    assert_eq!(handed_over, 100);
}

#[test]
fn an_earlier_instant_counts_as_the_latest() {
    let now = start() + Duration::from_secs(100);
    let certificate = certificate();
    let config = Config::new(PROVIDER, certificate);
    let mut client = Connection::new(config, Role::Client, now, Rng::from_seed([1; 32])).unwrap();
    assert_eq!(take(&mut client, now - Duration::from_secs(50)).len(), 1);
    assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(1)));
    client.handle_timeout(now - Duration::from_secs(10));
    assert!(!client.wants_transmit());
    client.set_rtt(Duration::from_millis(100));
    assert_eq!(
        client.poll_timeout(),
        Some(now + Duration::from_millis(200))
    );
}
