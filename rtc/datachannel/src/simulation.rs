//! Two ends over a network that keeps the order within a stream, or not for unordered messages, and
//! carries resets behind the data of their stream; all else comes in any order, by the seed.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use rtc_shared::Rng;

use crate::{
    Channel, Error, Incoming, Message, Parameters, PayloadProtocolId, PendingMessages, ReadyState,
    Role, StreamIds,
};

/// What one end sends on one stream.
enum Packet {
    Payload {
        ordered: bool,
        ppid: PayloadProtocolId,
        payload: Bytes,
    },
    Reset,
    /// The other end has carried out our reset.
    ResetDone,
}

struct End {
    ids: StreamIds,
    channels: BTreeMap<u16, Channel>,
    pending: PendingMessages,
    /// By stream, towards the other end.
    sent: BTreeMap<u16, VecDeque<Packet>>,
    /// What the application has sent and got, by label.
    said: BTreeMap<String, Vec<u64>>,
    heard: BTreeMap<String, Vec<u64>>,
    opened: usize,
    /// Whether it waits for an answer before it sends unordered, as it must.
    patient: bool,
    /// How many messages came before their OPEN.
    early: u64,
    /// Messages that came for a channel that this end had begun to close.
    too_late: u64,
}

impl End {
    fn new(role: Role, patient: bool) -> Self {
        let mut ids = StreamIds::new();
        ids.set_role(role);
        Self {
            ids,
            channels: BTreeMap::new(),
            pending: PendingMessages::default(),
            sent: BTreeMap::new(),
            said: BTreeMap::new(),
            heard: BTreeMap::new(),
            opened: 0,
            patient,
            early: 0,
            too_late: 0,
        }
    }

    fn open(&mut self, label: String, ordered: bool) {
        let parameters = Parameters {
            label,
            ordered,
            ..Parameters::default()
        };
        let mut channel = Channel::open(parameters).unwrap();
        let id = self.ids.allocate().unwrap();
        channel.set_stream_id(id);
        channel.handle_connected();
        assert!(
            self.channels.insert(id, channel).is_none(),
            "stream {id} was not free"
        );
        self.opened += 1;
        self.flush(id);
    }

    fn send(&mut self, id: u16, number: u64) {
        let channel = &self.channels[&id];
        if channel.state() != ReadyState::Open {
            return;
        }
        let is_string = number.is_multiple_of(2);
        let text = if number == 0 {
            String::new()
        } else {
            number.to_string()
        };
        let (ppid, payload) = Message::to_payload(is_string, Bytes::from(text));
        let parameters = channel.parameters();
        let ordered = parameters.ordered || (channel.sends_ordered() && self.patient);
        let label = parameters.label.clone();
        self.said.entry(label).or_default().push(number);
        self.push(
            id,
            Packet::Payload {
                ordered,
                ppid,
                payload,
            },
        );
    }

    fn push(&mut self, id: u16, packet: Packet) {
        self.sent.entry(id).or_default().push_back(packet);
    }

    /// Does what the channel asks for.
    fn flush(&mut self, id: u16) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        if let Some(payload) = channel.poll_dcep() {
            let ppid = PayloadProtocolId::DCEP;
            self.push(
                id,
                Packet::Payload {
                    ordered: true,
                    ppid,
                    payload,
                },
            );
        }
        let channel = self.channels.get_mut(&id).unwrap();
        if channel.poll_reset() {
            self.push(id, Packet::Reset);
        }
        let channel = &self.channels[&id];
        if channel.state() == ReadyState::Closed && self.ids.release(channel) {
            self.too_late += channel.discarded().not_open;
            self.channels.remove(&id);
        }
    }

    fn receive(&mut self, id: u16, packet: Packet) {
        match packet {
            Packet::Payload { ppid, payload, .. } => {
                self.receive_payload(id, ppid, BytesMut::from(&*payload));
            }
            Packet::Reset => {
                self.push(id, Packet::ResetDone);
                self.channels.get_mut(&id).unwrap().handle_incoming_reset();
            }
            Packet::ResetDone => self.channels.get_mut(&id).unwrap().handle_outgoing_reset(),
        }
        self.flush(id);
    }

    fn receive_payload(&mut self, id: u16, ppid: PayloadProtocolId, payload: BytesMut) {
        let Some(channel) = self.channels.get_mut(&id) else {
            if ppid != PayloadProtocolId::DCEP {
                assert!(self.pending.push(id, ppid, payload));
                self.early += 1;
                return;
            }
            match Channel::accept(id, &payload) {
                Ok(channel) => {
                    self.ids.accept(id).unwrap();
                    self.channels.insert(id, channel);
                    self.flush(id);
                    while let Some((ppid, payload)) = self.pending.take(id) {
                        self.receive_payload(id, ppid, payload);
                    }
                }
                Err(error) => assert_eq!(error, Error::NotAnOpen),
            }
            return;
        };
        match channel.handle_message(ppid, payload) {
            Some(Incoming::Message(message)) => {
                let text = message.text();
                let number = if text.is_empty() {
                    0
                } else {
                    text.parse().unwrap()
                };
                assert_eq!(message.is_string, number % 2 == 0);
                let label = channel.parameters().label.clone();
                self.heard.entry(label).or_default().push(number);
            }
            Some(Incoming::Violation(error)) => panic!("{error}"),
            Some(Incoming::Ack) | None => {}
        }
    }
}

/// Takes a packet that may arrive next on that stream: the first, or an unordered payload which only
/// other payloads stand before (its own reset may not be overtaken, nor overtakes it).
fn next_arrival(queue: &mut VecDeque<Packet>, rng: &mut Rng) -> Option<Packet> {
    let free = queue
        .iter()
        .take_while(|packet| matches!(packet, Packet::Payload { .. }))
        .enumerate()
        .filter(|(_, packet)| matches!(packet, Packet::Payload { ordered: false, .. }))
        .map(|(at, _)| at);
    let mut candidates: Vec<_> = free.collect();
    candidates.push(0);
    let at = candidates[pick(rng, candidates.len())];
    queue.remove(at)
}

fn pick(rng: &mut Rng, below: usize) -> usize {
    rng.below(u32::try_from(below).unwrap()) as usize
}

fn run(seed: u64) {
    let mut rng = Rng::from_seed(seed_bytes(seed));
    let patient = seed.is_multiple_of(2);
    let mut ends = [
        End::new(Role::Client, patient),
        End::new(Role::Server, patient),
    ];
    let mut unordered = Vec::new();
    for turn in 0..3000_u64 {
        let (one, other) = ends.split_at_mut(1);
        let (one, other) = (&mut one[0], &mut other[0]);
        let (end, peer) = if pick(&mut rng, 2) == 0 {
            (one, other)
        } else {
            (other, one)
        };
        let streams: Vec<_> = end.channels.keys().copied().collect();
        match pick(&mut rng, 10) {
            0 if turn < 2000 && streams.len() < 20 => {
                let label = format!("channel {turn}");
                let ordered = pick(&mut rng, 2) == 0;
                if !ordered {
                    unordered.push(label.clone());
                }
                end.open(label, ordered);
            }
            1..4 if !streams.is_empty() => {
                end.send(streams[pick(&mut rng, streams.len())], turn);
            }
            4 if !streams.is_empty() => {
                let id = streams[pick(&mut rng, streams.len())];
                end.channels.get_mut(&id).unwrap().close();
                end.flush(id);
            }
            _ => deliver(peer, end, &mut rng),
        }
    }
    // Everything arrives, then everything is closed.
    for closing in [false, true] {
        for end in &mut ends {
            let streams: Vec<_> = end.channels.keys().copied().filter(|_| closing).collect();
            for id in streams {
                end.channels.get_mut(&id).unwrap().close();
                end.flush(id);
            }
        }
        while ends
            .iter()
            .any(|end| end.sent.values().any(|queue| !queue.is_empty()))
        {
            let (one, other) = ends.split_at_mut(1);
            deliver(&mut one[0], &mut other[0], &mut rng);
            deliver(&mut other[0], &mut one[0], &mut rng);
        }
    }
    let [client, server] = &ends;
    for (from, to) in [(client, server), (server, client)] {
        assert!(from.channels.is_empty() && from.pending.is_empty());
        assert!(from.opened > 20, "the simulation does something");
        assert_eq!(to.early == 0, patient);
        let mut lost = 0;
        for (label, said) in &from.said {
            let mut heard = to.heard.get(label).cloned().unwrap_or_default();
            lost += (said.len() - heard.len()) as u64;
            if unordered.contains(label) {
                heard.sort_unstable();
            }
            // Only what came after the receiver began to close is missing.
            let mut rest = said.iter();
            assert!(
                heard.iter().all(|number| rest.any(|said| said == number)),
                "{label}"
            );
        }
        assert_eq!(lost, to.too_late);
    }
}

/// One packet on its way from one end to the other.
fn deliver(from: &mut End, to: &mut End, rng: &mut Rng) {
    from.sent.retain(|_, queue| !queue.is_empty());
    let streams: Vec<_> = from.sent.keys().copied().collect();
    if streams.is_empty() {
        return;
    }
    let id = streams[pick(rng, streams.len())];
    if let Some(packet) = next_arrival(from.sent.get_mut(&id).unwrap(), rng) {
        to.receive(id, packet);
    }
}

fn seed_bytes(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes
}

#[test]
fn channels_open_talk_and_close_in_any_interleaving() {
    for seed in 0..40 {
        if std::panic::catch_unwind(|| run(seed)).is_err() {
            panic!("failed with seed {seed}");
        }
    }
}
