//! `str0m`, driven as its documentation says: every mutation is followed by polling until a timeout.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::config::DtlsCert;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::media::{Care, Media};
use crate::{Connection, Received};

/// A peer.
pub struct Str0m {
    rtc: Rtc,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    channel: Option<ChannelId>,
    out: Vec<Vec<u8>>,
    received: Received,
    timeout: Instant,
    /// Where video is sent.
    has_video: bool,
    mid: Option<Mid>,
    care: Care,
    packets: Vec<RtpPacket>,
}

impl Str0m {
    fn configured(local: SocketAddr, config: RtcConfig, care: Care, now: Instant) -> Self {
        let mut rtc = config.build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
        Self {
            rtc,
            local,
            pending: None,
            channel: None,
            out: Vec::new(),
            received: Received::default(),
            timeout: now,
            has_video: false,
            mid: None,
            care,
            packets: Vec::new(),
        }
    }

    fn send_packet(&mut self, packet: RtpWrite) {
        let mid = self.mid.expect("there is a track");
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).expect("a stream");
        stream.write_rtp(packet.nackable(self.care == Care::Usual));
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().expect("str0m polls") {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
                Output::Transmit(transmit) => self.out.push(transmit.contents.into()),
                Output::Event(Event::ChannelOpen(id, _)) => self.channel = Some(id),
                Output::Event(Event::ChannelData(data)) => {
                    self.received.messages += 1;
                    self.received.bytes += data.data.len() as u64;
                }
                Output::Event(Event::RtpPacket(packet)) => self.packets.push(packet),
                Output::Event(_) => {}
            }
        }
    }
}

impl Connection for Str0m {
    const NAME: &'static str = "str0m";
    type Certificate = DtlsCert;
    type Datagram = Vec<u8>;

    fn certificate() -> DtlsCert {
        str0m::crypto::from_feature_flags()
            .dtls_provider
            .generate_certificate()
            .expect("a certificate")
    }

    fn new(local: SocketAddr, certificate: Option<&DtlsCert>, now: Instant) -> Self {
        let mut config = Rtc::builder();
        if let Some(certificate) = certificate {
            config = config.set_dtls_cert(certificate.clone());
        }
        Self::configured(local, config, Care::Usual, now)
    }

    fn offer(&mut self, _now: Instant) -> String {
        let mut change = self.rtc.sdp_api();
        change.add_channel("bench".to_owned());
        if self.has_video {
            let mid = change.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
            self.mid = Some(mid);
        }
        let (offer, pending) = change.apply().expect("an offer");
        self.pending = Some(pending);
        self.drain();
        offer.to_sdp_string()
    }

    fn answer(&mut self, _now: Instant, offer: &str) -> String {
        let offer = SdpOffer::from_sdp_string(offer).expect("the offer parses");
        let answer = self
            .rtc
            .sdp_api()
            .accept_offer(offer)
            .expect("the offer is accepted");
        self.drain();
        answer.to_sdp_string()
    }

    fn accept(&mut self, _now: Instant, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).expect("the answer parses");
        let pending = self.pending.take().expect("an offer was made");
        self.rtc
            .sdp_api()
            .accept_answer(pending, answer)
            .expect("the answer is accepted");
        self.drain();
    }

    fn is_open(&self) -> bool {
        self.channel.is_some()
    }

    fn send(&mut self, _now: Instant, payload: &[u8]) -> bool {
        let id = self.channel.expect("the channel is open");
        let Some(mut channel) = self.rtc.channel(id) else {
            return false;
        };
        let taken = channel
            .write(true, payload)
            .expect("str0m takes the message");
        self.drain();
        taken
    }

    fn transmit(&mut self, _now: Instant, wire: &mut Vec<Vec<u8>>) {
        wire.append(&mut self.out);
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, wire: &mut Vec<Vec<u8>>) {
        for datagram in wire.drain(..) {
            let Ok(contents) = datagram.as_slice().try_into() else {
                continue;
            };
            let receive = Receive {
                proto: Protocol::Udp,
                source: from,
                destination: self.local,
                contents,
            };
            self.rtc
                .handle_input(Input::Receive(now, receive))
                .expect("str0m takes a datagram");
            self.drain();
        }
    }

    fn datagram(bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn read(&mut self) -> Received {
        std::mem::take(&mut self.received)
    }

    fn timeout(&mut self) -> Option<Instant> {
        Some(self.timeout)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.rtc
            .handle_input(Input::Timeout(now))
            .expect("str0m takes time");
        self.drain();
    }
}

impl Media for Str0m {
    type Payload = Arc<[u8]>;
    type Packet = RtpPacket;

    fn with_care(local: SocketAddr, care: Care, now: Instant) -> Self {
        let mut config = Rtc::builder().set_rtp_mode(true);
        if care == Care::Bare {
            config = config
                .clear_extension_map()
                .set_extension(1, Extension::RtpMid);
        }
        Self::configured(local, config, care, now)
    }

    fn add_video(&mut self) {
        self.has_video = true;
    }

    fn payload(bytes: &[u8]) -> Arc<[u8]> {
        bytes.into()
    }

    fn write(&mut self, now: Instant, number: u64, timestamp: u32, payload: &Arc<[u8]>) {
        let payload = Arc::clone(payload);
        self.send_packet(RtpWrite::new(VP8, number.into(), timestamp, now, payload));
    }

    fn forward(&mut self, now: Instant, _from: &Self, packet: &RtpPacket) {
        let payload = Arc::clone(&packet.payload);
        let timestamp = packet.header.timestamp;
        self.send_packet(RtpWrite::new(VP8, packet.seq_no, timestamp, now, payload));
    }

    fn take(&mut self, packets: &mut Vec<RtpPacket>) {
        packets.append(&mut self.packets);
    }
}

/// Payload type of VP8.
const VP8: Pt = Pt::new_with_value(96);
