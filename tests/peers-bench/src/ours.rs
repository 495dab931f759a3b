//! `rtc` of this repository.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use ours::crypto::{Certificate, CertificateParams, default_provider};
use ours::data_channel::RTCDataChannelId;
use ours::interceptor::Registry;
use ours::media_stream::MediaStreamTrack;
use ours::peer_connection::RTCPeerConnection;
use ours::peer_connection::configuration::RTCConfigurationBuilder;
use ours::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use ours::peer_connection::message::RTCMessage;
use ours::peer_connection::sdp::RTCSessionDescription;
use ours::rtp::Packet;
use ours::rtp::extension::ExtensionMap;
use ours::rtp_transceiver::{RTCRtpSender, RTCRtpSenderId, RtpCodecKind};
use ours::sansio::Protocol;
use ours::shared::{Rng, TaggedBytesMut, TransportContext, TransportProtocol};

use crate::media::{Care, Media};
use crate::{Connection, Received};

/// A peer.
pub struct Ours {
    connection: RTCPeerConnection,
    local: SocketAddr,
    channel: Option<RTCDataChannelId>,
    sender: Option<RTCRtpSenderId>,
    /// Numbers of the header extensions of what it receives.
    extensions: Option<ExtensionMap>,
}

/// What a socket sends from and receives into; the peers of a thread share one.
#[derive(Default)]
struct Buffers {
    outgoing: Vec<u8>,
    incoming: BytesMut,
    batch: Vec<TaggedBytesMut>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl Ours {
    fn sender(&mut self) -> RTCRtpSender<'_> {
        let id = self.sender.expect("there is a track");
        self.connection.rtp_sender(id).expect("a sender")
    }

    fn configured(local: SocketAddr, configuration: RTCConfigurationBuilder) -> Self {
        let mut connection = RTCPeerConnection::new(configuration.build()).expect("a connection");
        connection
            .add_local_interface(local, TransportProtocol::UDP)
            .expect("the address is taken");
        Self {
            connection,
            local,
            channel: None,
            sender: None,
            extensions: None,
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

impl Connection for Ours {
    const NAME: &'static str = "ours";
    type Certificate = Certificate;
    type Datagram = BytesMut;

    fn certificate() -> Certificate {
        let unix_time = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("a clock");
        let mut seed = [0; 32];
        default_provider()
            .random
            .fill(&mut seed)
            .expect("randomness");
        let params = CertificateParams::new(unix_time);
        Certificate::generate(default_provider(), &params, &mut Rng::from_seed(seed))
            .expect("a certificate")
    }

    fn new(local: SocketAddr, certificate: Option<&Certificate>, now: Instant) -> Self {
        let mut configuration = RTCConfigurationBuilder::new().with_now(now);
        if let Some(certificate) = certificate {
            configuration = configuration.with_certificates(vec![certificate.clone()]);
        }
        Self::configured(local, configuration)
    }

    fn offer(&mut self, _now: Instant) -> String {
        self.connection
            .create_data_channel("bench", None)
            .expect("a channel");
        let offer = self.connection.create_offer(None).expect("an offer");
        self.connection
            .set_local_description(offer)
            .expect("the offer is set");
        self.connection
            .local_description()
            .expect("the offer is set")
            .sdp
    }

    fn answer(&mut self, _now: Instant, offer: &str) -> String {
        let offer = RTCSessionDescription::offer(offer.to_owned()).expect("the offer parses");
        self.connection
            .set_remote_description(offer)
            .expect("the offer is accepted");
        let answer = self.connection.create_answer(None).expect("an answer");
        self.connection
            .set_local_description(answer)
            .expect("the answer is set");
        self.connection
            .local_description()
            .expect("the answer is set")
            .sdp
    }

    fn accept(&mut self, _now: Instant, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned()).expect("the answer parses");
        self.connection
            .set_remote_description(answer)
            .expect("the answer is accepted");
    }

    fn is_open(&self) -> bool {
        self.channel.is_some()
    }

    fn send(&mut self, _now: Instant, payload: &[u8]) -> bool {
        let id = self.channel.expect("the channel is open");
        let mut channel = self
            .connection
            .data_channel(id)
            .expect("the channel exists");
        match channel.send(BytesMut::from(payload)) {
            Ok(()) => true,
            Err(ours::Error::BufferFull) => false,
            Err(error) => panic!("the message is refused: {error}"),
        }
    }

    fn transmit(&mut self, now: Instant, wire: &mut Vec<BytesMut>) {
        BUFFERS.with_borrow_mut(
            |Buffers {
                 outgoing, incoming, ..
             }| {
                loop {
                    outgoing.clear();
                    let transmit = self.connection.poll_transmit(now, MAX_DATAGRAMS, outgoing);
                    let Some(transmit) = transmit else { break };
                    // A receive call brings such a batch in one buffer, which is cut into datagrams.
                    if incoming.capacity() < transmit.size {
                        incoming.reserve(RECEIVE_BUFFER.max(transmit.size));
                    }
                    incoming.extend_from_slice(outgoing);
                    let segment = transmit.segment_size.unwrap_or(transmit.size);
                    while !incoming.is_empty() {
                        wire.push(incoming.split_to(segment.min(incoming.len())));
                    }
                }
            },
        );
        self.events();
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, wire: &mut Vec<BytesMut>) {
        let transport = TransportContext {
            local_addr: self.local,
            peer_addr: from,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        BUFFERS.with_borrow_mut(|Buffers { batch, .. }| {
            batch.extend(wire.drain(..).map(|message| TaggedBytesMut {
                now,
                transport,
                message,
            }));
            self.connection.handle_read_batch(batch);
        });
        self.events();
    }

    fn datagram(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    fn read(&mut self) -> Received {
        let mut received = Received::default();
        while let Some(message) = self.connection.poll_read() {
            if let RTCMessage::DataChannelMessage(_, message) = message {
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

impl Media for Ours {
    type Payload = Bytes;
    type Packet = Packet;

    fn with_care(local: SocketAddr, care: Care, now: Instant) -> Self {
        let mut configuration = RTCConfigurationBuilder::new().with_now(now);
        if care == Care::Bare {
            configuration = configuration.with_interceptor_registry(Registry::new);
        }
        Self::configured(local, configuration)
    }

    fn add_video(&mut self) {
        let track = MediaStreamTrack::new("bench", "video", "", RtpCodecKind::Video, vec![]);
        self.sender = Some(self.connection.add_track(track).expect("a sender"));
    }

    fn payload(bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(bytes)
    }

    fn write(&mut self, _now: Instant, number: u64, timestamp: u32, payload: &Bytes) {
        let mut packet = Packet::default();
        packet.header.sequence_number = number as u16;
        packet.header.timestamp = timestamp;
        packet.payload = payload.clone();
        self.sender().write_rtp(packet).expect("a packet is sent");
    }

    fn forward(&mut self, _now: Instant, from: &Self, packet: &Packet) {
        let received = from.extensions.as_ref().expect("packets were received");
        let packet = packet.clone();
        self.sender()
            .forward_rtp(packet, received)
            .expect("a packet is sent");
    }

    fn take(&mut self, packets: &mut Vec<Packet>) {
        while let Some(message) = self.connection.poll_read() {
            if let RTCMessage::RtpPacket(_, packet) = message {
                packets.push(packet);
            }
        }
        if self.extensions.is_none() {
            let id = self.connection.get_receivers().next();
            let receiver = id.and_then(|id| self.connection.rtp_receiver(id));
            self.extensions = receiver.map(|receiver| receiver.extension_map());
        }
    }
}

/// Datagrams per send call.
const MAX_DATAGRAMS: usize = 32;
/// A receive buffer that holds a whole batch.
const RECEIVE_BUFFER: usize = 64 * 1024;
