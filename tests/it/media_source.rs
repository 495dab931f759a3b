//! Tracks that are sent and received packet by packet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use rtc::Error;
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCRtpSenderEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::rtp::{Header, Packet};
use rtc::rtp_transceiver::{RTCRtpSenderId, RTCRtpTransceiverInit, RtpCodecKind};
use rtc::sdp::{Msid, SessionDescription};
use rtc_tests::sim::{Link, Side, Simulation};

use crate::media_pair::*;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A track that is sent, packet after packet.
pub(crate) struct Source {
    pub(crate) side: Side,
    pub(crate) sender: RTCRtpSenderId,
    pub(crate) rid: Option<&'static str>,
    pub(crate) next: u16,
    pub(crate) timestamp: u32,
}

impl Source {
    pub(crate) fn new(sim: &mut Simulation, side: Side, id: &str, kind: RtpCodecKind) -> Self {
        let connection = &mut sim.peer(side).connection;
        let sender = connection.add_track(track(id, kind)).unwrap();
        Self::of(side, sender)
    }

    pub(crate) fn of(side: Side, sender: RTCRtpSenderId) -> Self {
        Self {
            side,
            sender,
            rid: None,
            next: 100,
            timestamp: 1000,
        }
    }

    pub(crate) fn send(&mut self, sim: &mut Simulation) {
        self.try_send(sim).unwrap();
    }

    pub(crate) fn try_send(&mut self, sim: &mut Simulation) -> Result<(), Error> {
        let mut packet = packet(self.next, self.timestamp);
        packet.header.marker = self.next % 5 == 0;
        let connection = &mut sim.peer(self.side).connection;
        let mut sender = connection.rtp_sender(self.sender).unwrap();
        match self.rid {
            Some(rid) => sender.write_rtp_layer(rid, packet)?,
            None => sender.write_rtp(packet)?,
        }
        self.next = self.next.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(1000);
        Ok(())
    }
}

/// A packet whose payload tells its number.
pub(crate) fn packet(sequence_number: u16, timestamp: u32) -> Packet {
    Packet {
        header: Header {
            sequence_number,
            timestamp,
            payload_type: 127,
            ..Header::default()
        },
        payload: Bytes::from([&sequence_number.to_be_bytes()[..], &[7; 600]].concat()),
    }
}

/// The packets that a side has received, in order, by the name that the other side gave the track.
/// Its own name is another where its transceiver was there before the other's.
pub(crate) fn received(sim: &mut Simulation, side: Side) -> BTreeMap<String, Vec<Packet>> {
    let connection = &mut sim.peer(side).connection;
    let description = connection.remote_description().unwrap().sdp;
    let description = description.parse::<SessionDescription>().unwrap();
    let name = |mid: &str| {
        let section = description.media.iter().find(|it| it.mid() == Some(mid))?;
        let msid = section.all::<Msid>().next()?.unwrap();
        msid.track
    };
    let ids: Vec<_> = connection.get_transceivers().collect();
    let mut names = BTreeMap::new();
    for id in ids {
        let transceiver = connection.rtp_transceiver(id).unwrap();
        let name = transceiver.mid().and_then(name);
        let receiver = connection.rtp_receiver(id.receiver_id()).unwrap();
        let track = receiver.track().unwrap().track_id().to_string();
        names.insert(track.clone(), name.unwrap_or(track));
    }
    let mut tracks = BTreeMap::<_, Vec<_>>::new();
    for message in &sim.peer(side).messages {
        if let RTCMessage::RtpPacket(track, packet) = message {
            let track = track.as_str();
            let name = names.get(track).map_or(track, String::as_str);
            let packets = tracks.entry(name.to_owned()).or_default();
            packets.push(packet.clone());
        }
    }
    tracks
}

pub(crate) fn numbers(packets: &[Packet]) -> Vec<u16> {
    packets
        .iter()
        .map(|packet| {
            let [high, low, ..] = packet.payload[..] else {
                panic!("{packet:?}")
            };
            let number = u16::from_be_bytes([high, low]);
            assert_eq!(packet.header.sequence_number, number);
            number
        })
        .collect()
}

/// Every packet from the first that came on came, and came once.
pub(crate) fn assert_whole(packets: &[Packet], last: u16) {
    let came = numbers(packets);
    let unique: BTreeSet<u16> = came.iter().copied().collect();
    assert_eq!(unique.len(), came.len(), "none comes twice");
    // Nobody can know of what was sent before the first that came.
    let first = came[0];
    let missing: Vec<u16> = (first..=last).filter(|it| !unique.contains(it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

pub(crate) fn wait(sim: &mut Simulation, milliseconds: u64) {
    sim.run(Duration::from_millis(milliseconds), |_| false);
}

pub(crate) fn connected(sim: &mut Simulation) {
    sim.negotiate().unwrap();
    assert!(sim.connect(10 * SECOND));
}

pub(crate) fn bad_link() -> Link {
    Link::default()
        .with_loss(0.1)
        .with_reordering(0.1)
        .with_duplication(0.05)
        .with_jitter(Duration::from_millis(10))
}

pub(crate) fn sender_events(sim: &mut Simulation, side: Side) -> Vec<RTCRtpSenderEvent> {
    let events = sim.peer(side).events.drain(..);
    let of_sender = |event| match event {
        RTCPeerConnectionEvent::OnRtpSender(event) => Some(event),
        _ => None,
    };
    events.filter_map(of_sender).collect()
}

pub(crate) fn simulcast(sim: &mut Simulation) -> [Source; 3] {
    let init = RTCRtpTransceiverInit {
        direction: Sendonly,
        send_encodings: layers(&["q", "h", "f"]),
        ..RTCRtpTransceiverInit::default()
    };
    let id = sim
        .a
        .connection
        .add_transceiver_from_track(track("camera", Video), Some(init))
        .unwrap();
    // A browser would answer such an offer with all layers.
    sim.a.connection.set_local_description_implicit().unwrap();
    let offer = sim.a.connection.local_description().unwrap();
    sim.b.connection.set_remote_description(offer).unwrap();
    sim.b.connection.set_local_description_implicit().unwrap();
    let answer = sim.b.connection.local_description().unwrap();
    sim.a.connection.set_remote_description(answer).unwrap();
    assert!(sim.connect(10 * SECOND));
    ["q", "h", "f"].map(|rid| Source {
        rid: Some(rid),
        ..Source::of(Side::A, id.sender_id())
    })
}
