//! A peer that has all keys and does with them what it likes: behind a sound ICE and DTLS it sends
//! SCTP packets that are twisted, made up or out of order, and channels that break every rule.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::crypto::{Certificate, CertificateParams, Fingerprint, default_provider};
use rtc::data_channel::{RTCDataChannelInit, RTCDataChannelState};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::{
    DtlsRole, RTCConfiguration, RTCConfigurationBuilder, SettingEngine,
};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::sansio::Protocol;
use rtc::shared::{Rng, TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::statistics::StatsSelector;
use rtc::{dtls, ice, sctp};

use crate::corpus::entries_of;
use crate::seeds::{for_each_seed, rng_of};

#[test]
fn a_peer_that_breaks_every_rule_of_sctp_does_no_harm() {
    for_each_seed(200, |seed| {
        let mut pair = Pair::new(seed);
        pair.connect();
        for _ in 0..150 {
            pair.misbehave();
            pair.run(Duration::from_millis(20));
        }
        pair.end();
    });
}

#[test]
fn a_peer_that_twists_the_packets_of_an_honest_association_does_no_harm() {
    for_each_seed(200, |seed| {
        let mut pair = Pair::new(seed);
        pair.twist = 20;
        pair.connect();
        for number in 0..50 {
            pair.talk(number);
            pair.run(Duration::from_millis(20));
        }
        pair.twist = 0;
        pair.run(Duration::from_secs(20));
        pair.end();
    });
}

/// More channels than anyone needs: time and memory stay within bounds, and they can all be closed.
#[test]
fn a_peer_that_opens_thousands_of_channels_is_served() {
    let mut pair = Pair::new(1);
    pair.connect();
    let open = Bytes::from_static(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, b'x']);
    for stream in 0..3_000u16 {
        let sent = pair
            .sctp
            .send(2 * stream, 50, open.clone(), sctp::SendOptions::default());
        assert_eq!(sent, Ok(()));
    }
    pair.run(Duration::from_secs(10));
    // The peer is the client, whose streams are the even ones.
    assert_eq!(pair.open_channels(), 3_000 + 1);
    for stream in 0..3_000u16 {
        pair.sctp.reset_stream(2 * stream);
    }
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.open_channels(), 1);
    pair.end();
}

/// The one under test, and its peer in pieces.
struct Pair {
    rng: Rng,
    now: Instant,
    victim: RTCPeerConnection,
    victim_addr: SocketAddr,
    agent: ice::Agent,
    agent_addr: SocketAddr,
    dtls: dtls::Connection,
    sctp: sctp::Association,
    /// Verification tag that the victim wants to see.
    tag: [u8; 4],
    /// Percentage of packets that go out twisted, with the original behind them half of the time.
    twist: u32,
    /// SCTP packets that are to be sent as they are, but for tag and checksum.
    made_up: Vec<Vec<u8>>,
    sent: u64,
    answers: u64,
    read: usize,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut rng = rng_of(seed);
        // Any instant will do, only differences count.
        let now = Instant::now();
        let unix_time = Duration::from_secs(1_767_225_600);
        let provider = default_provider();
        let params = CertificateParams::new(unix_time);
        let certificate = Certificate::generate(provider, &params, &mut rng).unwrap();
        let credentials = ice::Credentials::new("evil", "e".repeat(24)).unwrap();

        let mut configuration = |setting: SettingEngine| -> RTCConfiguration {
            RTCConfigurationBuilder::new()
                .with_seed(rng.array())
                .with_now(now)
                .with_unix_time(unix_time)
                .with_setting_engine(setting)
                .with_certificates(vec![certificate.clone()])
                .build()
        };
        let mut victim = RTCPeerConnection::new(configuration(SettingEngine::default())).unwrap();
        let victim_addr = SocketAddr::from(([10, 0, 0, 1], 5000));
        let agent_addr = SocketAddr::from(([10, 0, 0, 2], 5000));
        victim
            .add_local_interface(victim_addr, TransportProtocol::UDP)
            .unwrap();
        victim.create_data_channel("victim", None).unwrap();
        victim.set_local_description_implicit().unwrap();
        let offer = victim.local_description().unwrap();

        // Another connection writes the answer in the name of the peer.
        let mut setting = SettingEngine::default();
        setting.ice.credentials = Some(credentials.clone());
        setting.answering_dtls_role = DtlsRole::Client;
        let mut scribe = RTCPeerConnection::new(configuration(setting)).unwrap();
        scribe
            .add_local_interface(agent_addr, TransportProtocol::UDP)
            .unwrap();
        scribe.set_remote_description(offer.clone()).unwrap();
        scribe.set_local_description_implicit().unwrap();
        victim
            .set_remote_description(scribe.local_description().unwrap())
            .unwrap();

        let value = |name: &str| -> String {
            let prefix = format!("a={name}:");
            let line = offer
                .sdp
                .lines()
                .find_map(|line| line.strip_prefix(&prefix));
            line.unwrap().to_owned()
        };
        let mut config = ice::AgentConfig::default();
        config.credentials = Some(credentials);
        let mut agent = ice::Agent::new(config, provider, rng.fork()).unwrap();
        agent.set_role(ice::Role::Controlled);
        let udp = TransportProtocol::UDP;
        agent
            .add_local_candidate(ice::Candidate::host(agent_addr, udp))
            .unwrap();
        let theirs = ice::Credentials::new(value("ice-ufrag"), value("ice-pwd")).unwrap();
        agent.set_remote_credentials(theirs).unwrap();
        agent
            .add_remote_candidate(ice::Candidate::host(victim_addr, udp))
            .unwrap();
        agent.handle_timeout(now).unwrap();
        let mut config = dtls::Config::new(provider, certificate);
        let fingerprint: Fingerprint = value("fingerprint").parse().unwrap();
        config.peer_fingerprints = vec![fingerprint];
        let dtls = dtls::Connection::new(config, dtls::Role::Client, now, rng.fork()).unwrap();
        let sctp = sctp::Association::new(sctp::Config::default(), now, rng.fork());
        Self {
            rng,
            now,
            victim,
            victim_addr,
            agent,
            agent_addr,
            dtls,
            sctp,
            tag: [0; 4],
            twist: 0,
            made_up: Vec::new(),
            sent: 0,
            answers: 0,
            read: 0,
        }
    }

    fn connect(&mut self) {
        self.run(Duration::from_secs(2));
        assert_eq!(
            self.victim.connection_state(),
            RTCPeerConnectionState::Connected
        );
        if self.twist == 0 {
            assert_eq!(self.sctp.state(), sctp::State::Established);
            assert_eq!(self.open_channels(), 1);
        }
    }

    fn open_channels(&mut self) -> usize {
        (0..u16::MAX)
            .filter(|id| {
                let channel = self.victim.data_channel(*id);
                channel.is_some_and(|it| it.ready_state() == RTCDataChannelState::Open)
            })
            .count()
    }

    /// Lets time pass; what both have to say is exchanged at once.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.exchange();
            let deadlines = [
                self.victim.poll_timeout(),
                self.agent.poll_timeout(),
                self.dtls.poll_timeout(),
                self.sctp.poll_timeout(),
            ];
            let next = deadlines.into_iter().flatten().min().unwrap_or(end);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.agent.handle_timeout(self.now).unwrap();
            self.dtls.handle_timeout(self.now);
            self.sctp.handle_timeout(self.now);
            if self
                .victim
                .poll_timeout()
                .is_some_and(|deadline| deadline <= self.now)
            {
                self.victim.handle_timeout(self.now).unwrap();
                let next = self.victim.poll_timeout();
                assert!(next.is_none_or(|next| next > self.now), "time goes on");
            }
            if next == end {
                break;
            }
        }
        self.now = end;
        self.exchange();
    }

    fn exchange(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "the two never fall silent");
            let before = (self.sent, self.answers);
            self.send();
            self.receive();
            if before == (self.sent, self.answers) {
                return;
            }
        }
    }

    fn send(&mut self) {
        while let Some(message) = self.agent.poll_write() {
            self.deliver(&message.message);
        }
        let mut buffer = Vec::new();
        while self
            .dtls
            .poll_transmit(self.now, &mut buffer, 1200)
            .is_some()
        {
            if self.agent.selected_path().is_some() {
                self.deliver(&std::mem::take(&mut buffer));
            }
            buffer.clear();
        }
        while let Some(event) = self.dtls.poll_event() {
            if event == dtls::Event::Connected {
                self.sctp.connect(self.now);
            }
        }
        if self.dtls.state() != dtls::State::Connected {
            return;
        }
        let mut packet = Vec::new();
        while self
            .sctp
            .poll_transmit(self.now, &mut packet, 1163)
            .is_some()
        {
            let packet = std::mem::take(&mut packet);
            if packet[4..8] != [0; 4] {
                self.tag = packet[4..8].try_into().unwrap();
            }
            if self.rng.below(100) < self.twist {
                let mut twisted = packet.clone();
                self.mutate(&mut twisted);
                self.seal(&mut twisted);
                if self.rng.below(2) == 0 {
                    self.protect(&packet);
                }
            } else {
                self.protect(&packet);
            }
        }
        for mut packet in std::mem::take(&mut self.made_up) {
            if let Some(header) = packet.get_mut(..8) {
                header[..4].copy_from_slice(&[0x13, 0x88, 0x13, 0x88]);
                header[4..].copy_from_slice(&self.tag);
            }
            self.seal(&mut packet);
        }
        while self.sctp.poll_event().is_some() {}
        while self.sctp.read().is_some() {}
    }

    /// Sends an SCTP packet with the checksum that it should have.
    fn seal(&mut self, packet: &mut [u8]) {
        if let Some(checksum) = packet.get_mut(8..12) {
            checksum.fill(0);
            let sum = crc32c(packet);
            packet[8..12].copy_from_slice(&sum.to_le_bytes());
        }
        self.protect(packet);
    }

    fn protect(&mut self, packet: &[u8]) {
        let mut datagram = Vec::new();
        let Ok(record) = self.dtls.begin_record(&mut datagram) else {
            return;
        };
        datagram.extend_from_slice(packet);
        if self.dtls.finish_record(&mut datagram, record).is_ok() {
            self.deliver(&datagram);
        }
    }

    fn deliver(&mut self, datagram: &[u8]) {
        self.sent += 1;
        let message = self.tagged(self.victim_addr, self.agent_addr, datagram);
        let _ = self.victim.handle_read(message);
    }

    fn tagged(&self, local: SocketAddr, peer: SocketAddr, datagram: &[u8]) -> TaggedBytesMut {
        TaggedBytesMut {
            now: self.now,
            transport: TransportContext {
                local_addr: local,
                peer_addr: peer,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            },
            message: BytesMut::from(datagram),
        }
    }

    fn receive(&mut self) {
        let mut buffer = Vec::new();
        while let Some(transmit) = self.victim.poll_transmit(self.now, 16, &mut buffer) {
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            for datagram in std::mem::take(&mut buffer).chunks(segment) {
                self.answers += 1;
                let message = self.tagged(self.agent_addr, self.victim_addr, datagram);
                if datagram[0] < 4 {
                    self.agent.handle_read(message).unwrap();
                } else {
                    let (now, sctp) = (self.now, &mut self.sctp);
                    self.dtls
                        .handle_datagram(now, message.message, &mut |packet| {
                            sctp.handle_packet(now, packet);
                        });
                }
            }
        }
        while self.victim.poll_event().is_some() {}
        while let Some(RTCMessage::DataChannelMessage(_, message)) = self.victim.poll_read() {
            self.read += message.data.len();
        }
    }

    fn mutate(&mut self, packet: &mut Vec<u8>) {
        for _ in 0..=self.rng.below(3) {
            let length = packet.len() as u32;
            let at = self.rng.below(length.max(1)) as usize;
            match self.rng.below(6) {
                0 if length > 12 => packet.truncate(12 + self.rng.below(length - 12) as usize),
                1 => packet.extend_from_slice(&self.rng.array::<8>()),
                2 if length > 12 => {
                    let chunks = packet[12..].to_vec();
                    packet.extend_from_slice(&chunks);
                }
                // Chunk headers and what follows them.
                3 if length > 12 => {
                    let at = 12 + self.rng.below((length - 12).min(20)) as usize;
                    packet[at] =
                        [0, 1, 0x7f, 0x80, 0xff, self.rng.u16() as u8][self.rng.below(6) as usize];
                }
                _ if length > 0 => packet[at] ^= 1 << self.rng.below(8),
                _ => {}
            }
        }
    }

    /// One thing that no honest peer does.
    fn misbehave(&mut self) {
        let stream = [0, 1, 2, 3, 7, 100, 65534, self.rng.u16()][self.rng.below(8) as usize];
        match self.rng.below(8) {
            0 | 1 => {
                let corpus = entries_of(&["malformed/sctp.json", "fuzz_seeds/sctp-packet.json"]);
                let mut packet = corpus[self.rng.below(corpus.len() as u32) as usize].clone();
                if self.rng.below(2) == 0 {
                    self.mutate(&mut packet);
                }
                self.made_up.push(packet);
            }
            2 | 3 => {
                let packet = self.random_packet();
                self.made_up.push(packet);
            }
            4 | 5 => {
                let dcep = entries_of(&["malformed/dcep.json"]);
                let payload = match self.rng.below(4) {
                    0 => vec![2],
                    1 => vec![3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, b'x'],
                    2 => dcep[self.rng.below(dcep.len() as u32) as usize].clone(),
                    _ => vec![7; 1 + self.rng.below(3000) as usize],
                };
                let ppid = [50, 50, 51, 52, 53, 54, 56, 57, 0, self.rng.u32()]
                    [self.rng.below(10) as usize];
                let options = sctp::SendOptions {
                    unordered: self.rng.below(2) == 0,
                    ..Default::default()
                };
                let _ = self.sctp.send(stream, ppid, payload.into(), options);
            }
            6 => self.sctp.reset_stream(stream),
            _ => {
                // The victim is a program that goes on.
                let init = RTCDataChannelInit {
                    negotiated: (self.rng.below(3) == 0).then_some(stream.min(65534)),
                    ..Default::default()
                };
                if let Ok(mut channel) = self.victim.create_data_channel("more", Some(init)) {
                    let _ = channel.send_text("hello");
                    if self.rng.below(2) == 0 {
                        channel.close().unwrap();
                    }
                }
            }
        }
    }

    /// Chunks of any type with any length and content.
    fn random_packet(&mut self) -> Vec<u8> {
        let mut packet = vec![0; 12];
        for _ in 0..=self.rng.below(4) {
            let kinds = [
                0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 64, 130, 192, 194, 255,
            ];
            let kind = kinds[self.rng.below(kinds.len() as u32) as usize];
            let length = self.rng.below(60) as usize;
            let said = if self.rng.below(4) == 0 {
                self.rng.u16()
            } else {
                4 + length as u16
            };
            packet.extend_from_slice(&[kind, self.rng.u16() as u8 & 0xf]);
            packet.extend_from_slice(&said.to_be_bytes());
            let mut content = vec![0; length.next_multiple_of(4)];
            self.rng.fill(&mut content);
            // Small numbers, and those that the association has now, get further.
            for word in content.chunks_mut(4) {
                match self.rng.below(4) {
                    0 => word.copy_from_slice(&[0, 0, 0, self.rng.below(16) as u8]),
                    1 => word.copy_from_slice(&[0, 0x0d, 0, 16]),
                    _ => {}
                }
            }
            packet.extend_from_slice(&content);
        }
        packet
    }

    /// What an honest peer does.
    fn talk(&mut self, number: u16) {
        let options = sctp::SendOptions::default();
        let open = Bytes::from_static(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, b'x']);
        let _ = self.sctp.send(2 * number, 50, open, options);
        for stream in 0..=number.min(5) {
            let _ = self.sctp.send(2 * stream, 53, vec![1; 700].into(), options);
        }
        if number % 10 == 9 {
            self.sctp.reset_stream(2 * (number - 4));
        }
        if let Some(mut channel) = self.victim.data_channel(0) {
            let _ = channel.send(BytesMut::zeroed(5_000));
        }
    }

    /// The victim is still well: it falls silent, takes operations, closes, and is drained.
    fn end(&mut self) {
        let before = (self.answers, self.sent);
        self.run(Duration::from_secs(60));
        let (answers, sent) = (self.answers - before.0, self.sent - before.1);
        assert!(
            answers < 2_000 && sent < 2_000,
            "{answers} answers to {sent} datagrams"
        );
        let report = self.victim.get_stats(StatsSelector::None);
        let by_kind = report.iter().fold(BTreeMap::new(), |mut kinds, (id, _)| {
            *kinds.entry(id.chars().next()).or_insert(0) += 1;
            kinds
        });
        assert!(by_kind[&Some('D')] < 4_000, "{by_kind:?}");
        self.victim.set_local_description_implicit().unwrap();
        let rollback = RTCSessionDescription::rollback(None).unwrap();
        self.victim.set_local_description(rollback).unwrap();
        self.victim.close().unwrap();
        self.exchange();
        assert!(self.victim.is_drained());
        assert_eq!(self.victim.poll_timeout(), None);
    }
}

/// CRC32c of RFC 9260 appendix A, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}
