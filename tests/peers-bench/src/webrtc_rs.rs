//! `rtc` of webrtc-rs, driven as its documentation says.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use webrtc_rs_rtc::crypto::{self, SignatureScheme};
use webrtc_rs_rtc::data_channel::RTCDataChannelId;
use webrtc_rs_rtc::interceptor::Registry;
use webrtc_rs_rtc::media_stream::MediaStreamTrack;
use webrtc_rs_rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use webrtc_rs_rtc::peer_connection::configuration::RTCConfigurationBuilder;
use webrtc_rs_rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use webrtc_rs_rtc::peer_connection::configuration::media_engine::{MIME_TYPE_VP8, MediaEngine};
use webrtc_rs_rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use webrtc_rs_rtc::peer_connection::message::RTCMessage;
use webrtc_rs_rtc::peer_connection::sdp::RTCSessionDescription;
use webrtc_rs_rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, RTCIceCandidate, RTCIceCandidateInit,
};
use webrtc_rs_rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use webrtc_rs_rtc::rtp::Packet;
use webrtc_rs_rtc::rtp_transceiver::RTCRtpSenderId;
use webrtc_rs_rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use webrtc_rs_rtc::sansio::Protocol;
use webrtc_rs_rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use crate::media::{Care, Media};
use crate::{Connection, Received};

/// A peer.
pub struct WebrtcRs {
    connection: RTCPeerConnection,
    local: SocketAddr,
    channel: Option<RTCDataChannelId>,
    sender: Option<RTCRtpSenderId>,
}

impl WebrtcRs {
    fn built(local: SocketAddr, builder: RTCPeerConnectionBuilder, now: Instant) -> Self {
        let mut connection = builder.build(now).expect("a connection");
        let candidate = CandidateHostConfig {
            base_config: CandidateConfig {
                network: "udp".to_owned(),
                address: local.ip().to_string(),
                port: local.port(),
                component: 1,
                ..Default::default()
            },
            ..Default::default()
        };
        let candidate = candidate.new_candidate_host().expect("a candidate");
        let candidate = RTCIceCandidate::from(&candidate)
            .to_json()
            .expect("a candidate");
        connection
            .add_local_candidate(candidate)
            .expect("the candidate is taken");
        // The empty candidate ends gathering.
        connection
            .add_local_candidate(RTCIceCandidateInit::default())
            .expect("gathering ends");
        Self {
            connection,
            local,
            channel: None,
            sender: None,
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            if let RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) = event {
                self.channel = Some(id);
            }
        }
    }
}

impl Connection for WebrtcRs {
    const NAME: &'static str = "webrtc-rs";
    type Certificate = RTCCertificate;
    type Datagram = BytesMut;

    fn certificate() -> RTCCertificate {
        let provider = crypto::default_provider().expect("a provider");
        let params = CertificateParams::new(vec!["bench".to_owned()]).expect("parameters");
        RTCCertificate::generate(provider.crypto(), SignatureScheme::EcdsaP256Sha256, params)
            .expect("a certificate")
    }

    fn new(local: SocketAddr, certificate: Option<&RTCCertificate>, now: Instant) -> Self {
        let mut configuration = RTCConfigurationBuilder::new();
        if let Some(certificate) = certificate {
            configuration = configuration.with_certificates(vec![certificate.clone()]);
        }
        let builder = RTCPeerConnectionBuilder::new().with_configuration(configuration.build());
        Self::built(local, builder, now)
    }

    fn offer(&mut self, now: Instant) -> String {
        self.connection
            .create_data_channel("bench", None)
            .expect("a channel");
        let offer = self.connection.create_offer(None).expect("an offer");
        self.connection
            .set_local_description(now, offer.clone())
            .expect("the offer is set");
        offer.sdp
    }

    fn answer(&mut self, now: Instant, offer: &str) -> String {
        let offer = RTCSessionDescription::offer(offer.to_owned()).expect("the offer parses");
        self.connection
            .set_remote_description(now, offer)
            .expect("the offer is accepted");
        let answer = self.connection.create_answer(None).expect("an answer");
        self.connection
            .set_local_description(now, answer.clone())
            .expect("the answer is set");
        answer.sdp
    }

    fn accept(&mut self, now: Instant, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned()).expect("the answer parses");
        self.connection
            .set_remote_description(now, answer)
            .expect("the answer is accepted");
    }

    fn is_open(&self) -> bool {
        self.channel.is_some()
    }

    fn send(&mut self, now: Instant, payload: &[u8]) -> bool {
        let id = self.channel.expect("the channel is open");
        let mut channel = self
            .connection
            .data_channel(id)
            .expect("the channel exists");
        channel
            .send(now, BytesMut::from(payload))
            .expect("the message is taken");
        true
    }

    fn transmit(&mut self, _now: Instant, wire: &mut Vec<BytesMut>) {
        while let Some(datagram) = self.connection.poll_write() {
            wire.push(datagram.message);
        }
        self.events();
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, wire: &mut Vec<BytesMut>) {
        for message in wire.drain(..) {
            let transport = TransportContext {
                local_addr: self.local,
                peer_addr: from,
                ecn: None,
                transport_protocol: TransportProtocol::UDP,
            };
            self.connection
                .handle_read(TaggedBytesMut {
                    now,
                    transport,
                    message,
                })
                .expect("the datagram is taken");
        }
        self.events();
    }

    fn datagram(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    fn read(&mut self) -> Received {
        let mut received = Received::default();
        while let Some(tagged) = self.connection.poll_read() {
            if let RTCMessage::DataChannelMessage(_, message) = tagged.message {
                received.messages += 1;
                received.bytes += message.data.len() as u64;
            }
        }
        received
    }

    fn timeout(&mut self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.connection.handle_timeout(now).expect("time is taken");
        self.events();
    }
}

impl Media for WebrtcRs {
    type Payload = Bytes;
    type Packet = Packet;

    fn with_care(local: SocketAddr, care: Care, now: Instant) -> Self {
        let mut media_engine = MediaEngine::default();
        media_engine.register_default_codecs().expect("codecs");
        let mut registry = Registry::new();
        if care == Care::Usual {
            registry =
                register_default_interceptors(registry, &mut media_engine).expect("interceptors");
        }
        let builder = RTCPeerConnectionBuilder::new()
            .with_media_engine(media_engine)
            .with_interceptor_registry(registry);
        Self::built(local, builder, now)
    }

    fn add_video(&mut self) {
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(SSRC),
                ..Default::default()
            },
            codec: RTCRtpCodec {
                mime_type: MIME_TYPE_VP8.to_owned(),
                clock_rate: 90_000,
                ..Default::default()
            },
            ..Default::default()
        };
        let track = MediaStreamTrack::new(
            "bench".to_owned(),
            "video".to_owned(),
            "video".to_owned(),
            RtpCodecKind::Video,
            vec![encoding],
        );
        self.sender = Some(self.connection.add_track(track).expect("a sender"));
    }

    fn payload(bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(bytes)
    }

    fn write(&mut self, now: Instant, number: u64, timestamp: u32, payload: &Bytes) {
        let mut packet = Packet::default();
        packet.header.version = 2;
        packet.header.payload_type = VP8;
        packet.header.ssrc = SSRC;
        packet.header.sequence_number = number as u16;
        packet.header.timestamp = timestamp;
        packet.payload = payload.clone();
        let id = self.sender.expect("there is a track");
        let mut sender = self.connection.rtp_sender(id).expect("a sender");
        sender.write_rtp(now, packet).expect("a packet is sent");
    }

    fn forward(&mut self, now: Instant, _from: &Self, packet: &Packet) {
        let header = &packet.header;
        // Header extensions are negotiated anew on each connection.
        let number = header.sequence_number.into();
        self.write(now, number, header.timestamp, &packet.payload);
    }

    fn take(&mut self, packets: &mut Vec<Packet>) {
        while let Some(tagged) = self.connection.poll_read() {
            if let RTCMessage::RtpPacket(_, packet) = tagged.message {
                packets.push(packet);
            }
        }
    }
}

/// Payload type of VP8.
const VP8: u8 = 96;
const SSRC: u32 = 0x1234_5678;
