//! A connection and its peer in pieces: behind a sound ICE and DTLS the peer sends whatever RTP and
//! RTCP it is told to, under whatever description.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::crypto::{Certificate, CertificateParams, Fingerprint, default_provider};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::{RTCConfigurationBuilder, SettingEngine};
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::rtp::{Header, Packet};
use rtc::sansio::Protocol;
use rtc::shared::{Rng, TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::{dtls, ice, rtcp, srtp};

use crate::seeds::rng_of;

/// The connection under test, and its peer in pieces.
pub(crate) struct Wire {
    pub(crate) rng: Rng,
    pub(crate) now: Instant,
    pub(crate) victim: RTCPeerConnection,
    victim_addr: SocketAddr,
    /// Writes descriptions in the name of the peer.
    pub(crate) scribe: RTCPeerConnection,
    agent: ice::Agent,
    agent_addr: SocketAddr,
    dtls: dtls::Connection,
    keys: Option<(srtp::SendContext, srtp::ReceiveContext)>,
    /// What the connection sent.
    pub(crate) rtp: Vec<Packet>,
    pub(crate) rtcp: Vec<rtcp::Packet>,
    /// What the connection gave its application.
    pub(crate) events: Vec<RTCPeerConnectionEvent>,
    pub(crate) messages: Vec<RTCMessage>,
    /// Datagrams that were exchanged.
    exchanged: u64,
}

impl Wire {
    /// The peer offers what `prepare` puts into its connection, as `twist` changes it; the connection
    /// answers.
    pub(crate) fn offered(
        seed: u64,
        prepare: impl FnOnce(&mut RTCPeerConnection),
        twist: impl FnOnce(String) -> String,
    ) -> Self {
        let mut wire = Self::new(seed, SettingEngine::default());
        prepare(&mut wire.scribe);
        wire.negotiate(twist);
        wire
    }

    pub(crate) fn new(seed: u64, victim: SettingEngine) -> Self {
        let mut rng = rng_of(seed);
        // Any instant will do, only differences count.
        let now = Instant::now();
        let unix_time = Duration::from_secs(1_767_225_600);
        let provider = default_provider();
        let params = CertificateParams::new(unix_time);
        let certificate = Certificate::generate(provider, &params, &mut rng).unwrap();
        let credentials = ice::Credentials::new("wire", "w".repeat(24)).unwrap();
        let udp = TransportProtocol::UDP;
        let mut connection = |setting: SettingEngine, addr: SocketAddr| {
            let configuration = RTCConfigurationBuilder::new()
                .with_seed(rng.array())
                .with_now(now)
                .with_unix_time(unix_time)
                .with_setting_engine(setting)
                .with_certificates(vec![certificate.clone()])
                .build();
            let mut connection = RTCPeerConnection::new(configuration).unwrap();
            connection.add_local_interface(addr, udp).unwrap();
            connection
        };
        let victim_addr = SocketAddr::from(([10, 0, 0, 1], 5000));
        let agent_addr = SocketAddr::from(([10, 0, 0, 2], 5000));
        let victim = connection(victim, victim_addr);
        let mut setting = SettingEngine::default();
        setting.ice.credentials = Some(credentials.clone());
        let scribe = connection(setting, agent_addr);

        let mut config = ice::AgentConfig::default();
        config.credentials = Some(credentials);
        let mut agent = ice::Agent::new(config, provider, rng.fork()).unwrap();
        agent
            .add_local_candidate(ice::Candidate::host(agent_addr, udp))
            .unwrap();
        agent.handle_timeout(now).unwrap();
        let config = dtls::Config::new(provider, certificate);
        let dtls = dtls::Connection::new(config, dtls::Role::Server, now, rng.fork()).unwrap();
        Self {
            rng,
            now,
            victim,
            victim_addr,
            scribe,
            agent,
            agent_addr,
            dtls,
            keys: None,
            rtp: Vec::new(),
            rtcp: Vec::new(),
            events: Vec::new(),
            messages: Vec::new(),
            exchanged: 0,
        }
    }

    /// The peer offers, the connection answers.
    pub(crate) fn negotiate(&mut self, twist: impl FnOnce(String) -> String) {
        let first = self.victim.remote_description().is_none();
        self.offer(twist);
        self.answer();
        if first {
            self.learn_peer();
        }
    }

    pub(crate) fn offer(&mut self, twist: impl FnOnce(String) -> String) {
        self.scribe.set_local_description_implicit().unwrap();
        let mut offer = self.scribe.local_description().unwrap();
        offer.sdp = twist(offer.sdp);
        self.victim.set_remote_description(offer).unwrap();
    }

    pub(crate) fn answer(&mut self) {
        self.victim.set_local_description_implicit().unwrap();
        let answer = self.victim.local_description().unwrap();
        self.scribe.set_remote_description(answer).unwrap();
    }

    fn learn_peer(&mut self) {
        let RTCSessionDescription { sdp, .. } = self.victim.local_description().unwrap();
        let value = |name: &str| -> String {
            let prefix = format!("a={name}:");
            let line = sdp.lines().find_map(|line| line.strip_prefix(&prefix));
            line.unwrap().to_owned()
        };
        let theirs = ice::Credentials::new(value("ice-ufrag"), value("ice-pwd")).unwrap();
        self.agent.set_remote_credentials(theirs).unwrap();
        let candidate = ice::Candidate::host(self.victim_addr, TransportProtocol::UDP);
        self.agent.add_remote_candidate(candidate).unwrap();
        let fingerprint: Fingerprint = value("fingerprint").parse().unwrap();
        self.dtls
            .set_peer_fingerprints(self.now, vec![fingerprint], &mut |_| {});
    }

    /// Connects. The first messages may come before it returns.
    pub(crate) fn connect(&mut self) {
        self.run(Duration::from_secs(2));
        let state = self.victim.connection_state();
        assert_eq!(state, RTCPeerConnectionState::Connected);
        assert!(self.keys.is_some());
    }

    pub(crate) fn send_rtp(&mut self, packet: &Packet) {
        let mut datagram = Vec::new();
        packet.write(&mut datagram);
        self.send_plain(datagram);
    }

    pub(crate) fn send_rtcp(&mut self, packets: &[rtcp::Packet]) {
        let mut datagram = Vec::new();
        rtcp::write_packets(packets, &mut datagram);
        self.send_plain(datagram);
    }

    /// Sends a datagram encrypted, whatever it is; false if it cannot be encrypted.
    pub(crate) fn send_plain(&mut self, mut datagram: Vec<u8>) -> bool {
        let (send, _) = self.keys.as_mut().unwrap();
        let length = datagram.len();
        datagram.resize(length + 32, 0);
        let protected = match rtcp::is_rtcp(&datagram) {
            true => send.protect_rtcp(&mut datagram, length),
            false => send.protect_rtp(&mut datagram, length),
        };
        let Ok(length) = protected else { return false };
        self.deliver(&datagram[..length]);
        true
    }

    /// Hands the connection a datagram as it is.
    pub(crate) fn deliver(&mut self, datagram: &[u8]) {
        self.exchanged += 1;
        let message = TaggedBytesMut {
            now: self.now,
            transport: TransportContext {
                local_addr: self.victim_addr,
                peer_addr: self.agent_addr,
                ..TransportContext::default()
            },
            message: BytesMut::from(datagram),
        };
        self.victim.handle_read(message).unwrap();
    }

    /// Lets time pass; what both have to say is exchanged at once.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.exchange();
            let deadlines = [
                self.victim.poll_timeout(),
                self.agent.poll_timeout(),
                self.dtls.poll_timeout(),
            ];
            let next = deadlines.into_iter().flatten().min().unwrap_or(end);
            if next >= end {
                break;
            }
            self.now = self.now.max(next);
            self.agent.handle_timeout(self.now).unwrap();
            self.dtls.handle_timeout(self.now);
            let due = |deadline| deadline <= self.now;
            if self.victim.poll_timeout().is_some_and(due) {
                self.victim.handle_timeout(self.now).unwrap();
                let next = self.victim.poll_timeout();
                assert!(next.is_none_or(|next| next > self.now), "time goes on");
            }
        }
        self.now = end;
        self.exchange();
    }

    fn exchange(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "the two never fall silent");
            let before = self.exchanged;
            self.speak();
            self.listen();
            if before == self.exchanged {
                return;
            }
        }
    }

    fn speak(&mut self) {
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
                self.install_keys();
            }
        }
    }

    fn install_keys(&mut self) {
        let code = self.dtls.srtp_profile().unwrap().code();
        let profile = srtp::Profile::from_code(code).unwrap();
        let mut exported = vec![0; profile.exporter_len()];
        self.dtls
            .export_keying_material(srtp::EXPORTER_LABEL.as_bytes(), None, &mut exported)
            .unwrap();
        let keys = srtp::KeyingMaterial::from_exporter(profile, &exported).unwrap();
        let provider = default_provider();
        self.keys = Some((
            srtp::SendContext::new(&keys.server, provider).unwrap(),
            srtp::ReceiveContext::new(&keys.client, provider).unwrap(),
        ));
    }

    fn listen(&mut self) {
        let mut buffer = Vec::new();
        while let Some(transmit) = self.victim.poll_transmit(self.now, 8, &mut buffer) {
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            for datagram in std::mem::take(&mut buffer).chunks(segment) {
                self.exchanged += 1;
                self.take(datagram);
            }
        }
        while let Some(event) = self.victim.poll_event() {
            self.events.push(event);
        }
        while let Some(message) = self.victim.poll_read() {
            self.messages.push(message);
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        let mut message = BytesMut::from(datagram);
        match (datagram[0], &mut self.keys) {
            (20..=63, _) => self.dtls.handle_datagram(self.now, message, &mut |_| {}),
            (128..=191, Some((_, receive))) if rtcp::is_rtcp(datagram) => {
                let length = receive.unprotect_rtcp(&mut message).unwrap();
                let packets = rtcp::packets(&message[..length]);
                self.rtcp.extend(packets.map(Result::unwrap));
            }
            (128..=191, Some((_, receive))) => {
                let length = receive.unprotect_rtp(&mut message).unwrap();
                message.truncate(length);
                self.rtp.push(Packet::parse(message).unwrap());
            }
            _ => {
                let message = TaggedBytesMut {
                    now: self.now,
                    transport: TransportContext {
                        local_addr: self.agent_addr,
                        peer_addr: self.victim_addr,
                        ..TransportContext::default()
                    },
                    message,
                };
                self.agent.handle_read(message).unwrap();
            }
        }
    }

    /// Track and packet of everything that was read since the last call.
    pub(crate) fn read(&mut self) -> Vec<(String, Packet)> {
        let messages = std::mem::take(&mut self.messages);
        let rtp = messages.into_iter().filter_map(|message| match message {
            RTCMessage::RtpPacket(track, packet) => Some((track.to_string(), packet)),
            _ => None,
        });
        rtp.collect()
    }
}

/// A packet of so many bytes.
pub(crate) fn rtp(ssrc: u32, payload_type: u8, sequence_number: u16, length: usize) -> Packet {
    Packet {
        header: Header {
            ssrc,
            payload_type,
            sequence_number,
            timestamp: 3000 * u32::from(sequence_number),
            ..Header::default()
        },
        payload: Bytes::from(vec![sequence_number as u8; length]),
    }
}

/// The description without the lines that begin like this.
pub(crate) fn without(sdp: &str, beginnings: &[&str]) -> String {
    sdp.lines()
        .filter(|line| !beginnings.iter().any(|it| line.starts_with(it)))
        .flat_map(|line| [line, "\r\n"])
        .collect()
}
