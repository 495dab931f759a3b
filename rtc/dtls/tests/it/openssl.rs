//! Handshakes with the `openssl` program over loopback; skipped where there is none.

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_crypto::ring::PROVIDER;
use rtc_crypto::{Certificate, Fingerprint, HashAlgorithm, KeyAlgorithm};
use rtc_dtls::{CipherSuite, Config, Connection, Role, State};
use rtc_shared::Rng;

use crate::sim::certificate;

/// A running `openssl s_server` or `s_client`, ended when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has_openssl() -> bool {
    let help = Command::new("openssl").args(["s_client", "-help"]).output();
    let has = help.is_ok_and(|it| String::from_utf8_lossy(&it.stderr).contains("-dtls1_2"));
    if !has {
        eprintln!("skipped: no `openssl` with DTLS 1.2 on this machine");
    }
    has
}

/// Starts the program with a certificate of the key type.
fn start(key: KeyAlgorithm, arguments: &[&str]) -> (Program, Certificate) {
    // The program does not read Ed25519 keys in the form that our library writes them in.
    let theirs = match key {
        KeyAlgorithm::Ed25519 => {
            Certificate::from_pem(&PROVIDER, include_str!("../data/ed25519.pem")).unwrap()
        }
        key => certificate(key, Role::Server),
    };
    let file = format!(
        "{}/{}-{key:?}.pem",
        env!("CARGO_TARGET_TMPDIR"),
        arguments[0]
    );
    std::fs::write(&file, theirs.to_pem()).unwrap();
    let child = Command::new("openssl")
        .args(arguments)
        .args(["-dtls1_2", "-cert", &file, "-key", &file])
        .args(["-use_srtp", "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"])
        .args(["-cipher", "ALL:@SECLEVEL=0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (Program(child), theirs)
}

fn config(theirs: &Certificate, suite: Option<CipherSuite>) -> Config {
    let ours = certificate(KeyAlgorithm::EcdsaP256, Role::Client);
    let mut config = Config::new(&PROVIDER, ours);
    let fingerprint = Fingerprint::of(theirs.der(), HashAlgorithm::Sha256, &PROVIDER);
    config.peer_fingerprints.extend(fingerprint);
    config.legacy_cbc = suite.is_some_and(|suite| CipherSuite::CBC.contains(&suite));
    config.cipher_suites = suite.map(|suite| vec![suite]);
    config
}

/// Runs a connection over the socket until `done`, at most ten seconds.
fn drive(
    connection: &mut Connection,
    socket: &UdpSocket,
    mut done: impl FnMut(&mut Connection, &[u8]) -> bool,
) {
    let start = Instant::now();
    let mut received = Vec::new();
    let mut buffer = [0; 2048];
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    while !done(connection, &received) {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{connection:?} {:?}",
            connection.stats()
        );
        assert_ne!(
            connection.state(),
            State::Failed,
            "{:?}",
            connection.poll_event()
        );
        let mut datagram = Vec::new();
        while connection
            .poll_transmit(Instant::now(), &mut datagram, 1200)
            .is_some()
        {
            let _ = socket.send(&datagram);
            datagram.clear();
        }
        if let Ok(length) = socket.recv(&mut buffer) {
            let datagram = BytesMut::from(&buffer[..length]);
            connection.handle_datagram(Instant::now(), datagram, &mut |data| {
                received.extend_from_slice(&data);
            });
        }
        if connection
            .poll_timeout()
            .is_some_and(|at| at <= Instant::now())
        {
            connection.handle_timeout(Instant::now());
        }
    }
}

fn send(connection: &mut Connection, socket: &UdpSocket, text: &[u8]) {
    let datagram = crate::sim::sealed(connection, &[text]);
    socket.send(&datagram).unwrap();
}

/// Waits until the program prints a line that contains `text`.
fn await_line(program: &mut Program, text: &str) {
    let stdout = program.0.stdout.take().unwrap();
    let (lines, printed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    while !printed
        .recv_timeout(Duration::from_secs(10))
        .unwrap()
        .contains(text)
    {}
}

#[test]
fn our_client_connects_to_its_server() {
    if !has_openssl() {
        return;
    }
    let cases = [
        (KeyAlgorithm::EcdsaP256, None, "-no_ticket"),
        (
            KeyAlgorithm::EcdsaP384,
            Some(CipherSuite::EcdheEcdsaAes256GcmSha384),
            "-listen",
        ),
        (
            // As DTLS server it does not use Ed25519.
            KeyAlgorithm::EcdsaP384,
            Some(CipherSuite::EcdheEcdsaChaCha20Poly1305Sha256),
            "-listen",
        ),
        (
            KeyAlgorithm::Rsa,
            Some(CipherSuite::EcdheRsaAes128GcmSha256),
            "-no_ticket",
        ),
        (
            KeyAlgorithm::Rsa,
            Some(CipherSuite::EcdheRsaAes256CbcSha),
            "-no_ticket",
        ),
        (
            KeyAlgorithm::EcdsaP256,
            Some(CipherSuite::EcdheEcdsaAes128CbcSha),
            "-no_ticket",
        ),
    ];
    for (key, suite, option) in cases {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let accept = format!("127.0.0.1:{port}");
        let arguments = [
            "s_server",
            "-accept",
            &accept,
            "-verify_quiet",
            "-Verify",
            "1",
            option,
        ];
        let (mut program, theirs) = start(key, &arguments);
        socket.connect(("127.0.0.1", port)).unwrap();
        let mut config = config(&theirs, suite);
        config.initial_rtt = Some(Duration::from_millis(50));
        let mut client = Connection::new(
            config,
            Role::Client,
            Instant::now(),
            Rng::from_seed([6; 32]),
        )
        .unwrap();
        drive(&mut client, &socket, |client, _| {
            client.state() == State::Connected
        });
        assert!(client.srtp_profile().is_some());
        assert!(suite.is_none_or(|suite| client.cipher_suite() == Some(suite)));
        send(&mut client, &socket, b"from the client\n");
        await_line(&mut program, "from the client");
        program
            .0
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"from the server\n")
            .unwrap();
        drive(&mut client, &socket, |_, received| {
            received == b"from the server\n"
        });
        client.close(Instant::now());
    }
}

#[test]
fn its_client_connects_to_our_server() {
    if !has_openssl() {
        return;
    }
    let cases = [
        (KeyAlgorithm::EcdsaP256, None, false),
        (
            KeyAlgorithm::EcdsaP384,
            Some(CipherSuite::EcdheEcdsaAes256GcmSha384),
            true,
        ),
        (
            KeyAlgorithm::Rsa,
            Some(CipherSuite::EcdheEcdsaChaCha20Poly1305Sha256),
            true,
        ),
        (
            KeyAlgorithm::Ed25519,
            Some(CipherSuite::EcdheEcdsaAes256CbcSha),
            false,
        ),
    ];
    for (key, suite, cookie_exchange) in cases {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let connect = socket.local_addr().unwrap().to_string();
        let (mut program, theirs) = start(key, &["s_client", "-connect", &connect]);
        let mut config = config(&theirs, suite);
        config.cookie_exchange = cookie_exchange;
        let mut server = Connection::new(
            config,
            Role::Server,
            Instant::now(),
            Rng::from_seed([7; 32]),
        )
        .unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let (_, peer) = socket.peek_from(&mut [0; 2048]).unwrap();
        socket.connect(peer).unwrap();
        drive(&mut server, &socket, |server, _| {
            server.state() == State::Connected
        });
        assert!(server.srtp_profile().is_some());
        program
            .0
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"from the client\n")
            .unwrap();
        drive(&mut server, &socket, |_, received| {
            received == b"from the client\n"
        });
        send(&mut server, &socket, b"from the server\n");
        await_line(&mut program, "from the server");
    }
}
