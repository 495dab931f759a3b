//! Two connections are taken through random sequences of operations, sensible ones and others: the
//! signalling state follows the table of W3C, what is refused changes nothing, and in the end both
//! sides agree on everything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::BytesMut;
use rtc::Error;
use rtc::data_channel::{
    RTCDataChannelId, RTCDataChannelInit, RTCDataChannelParameters, RTCDataChannelState,
    RTCPriorityType,
};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::{DtlsRole, RTCOfferOptions, SettingEngine};
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::{
    RTCIceConnectionState, RTCIceGatheringState, RTCPeerConnectionState, RTCSignalingState,
};
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::sansio::Protocol;
use rtc::shared::Rng;
use rtc::statistics::StatsSelector;
use rtc_tests::sim::{Link, Peer, Side, Simulation};

use crate::seeds::{for_each_seed, rng_of};

/// Operations of one run.
const STEPS: usize = 150;

#[test]
fn any_sequence_of_operations_ends_in_agreement() {
    for_each_seed(150, |seed| {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        if !world.has_failed() {
            world.settle();
        }
        world.end();
    });
}

#[test]
fn an_answer_that_was_made_for_an_earlier_offer_is_refused() {
    let mut sim = Simulation::new(1, Link::default()).unwrap();
    let first = sim.a.connection.create_offer(None).unwrap();
    sim.b.connection.set_remote_description(first).unwrap();
    let answer = sim.b.connection.create_answer(None).unwrap();
    sim.a.connection.create_data_channel("x", None).unwrap();
    let second = sim.a.connection.create_offer(None).unwrap();
    sim.b.connection.set_remote_description(second).unwrap();
    let before = Snapshot::of(&sim.b.connection);
    let result = sim.b.connection.set_local_description(answer);
    assert!(
        matches!(result, Err(Error::InvalidModification(_))),
        "{result:?}"
    );
    assert_eq!(Snapshot::of(&sim.b.connection), before);
}

/// What can be seen of a connection and must not change when a call is refused.
#[derive(Debug, PartialEq)]
struct Snapshot {
    signaling: RTCSignalingState,
    descriptions: [Option<RTCSessionDescription>; 6],
    trickle: Option<bool>,
    gathering: RTCIceGatheringState,
    ice: RTCIceConnectionState,
    connection: RTCPeerConnectionState,
}

impl Snapshot {
    fn of(connection: &RTCPeerConnection) -> Self {
        Self {
            signaling: connection.signaling_state(),
            descriptions: [
                connection.local_description(),
                connection.current_local_description(),
                connection.pending_local_description(),
                connection.remote_description(),
                connection.current_remote_description(),
                connection.pending_remote_description(),
            ],
            trickle: connection.can_trickle_ice_candidates(),
            gathering: connection.ice_gathering_state(),
            ice: connection.ice_connection_state(),
            connection: connection.connection_state(),
        }
    }
}

/// The table of webrtc-pc section 4.4.1.5 with its rollbacks; `None`: not allowed.
pub(crate) fn next_state(
    state: RTCSignalingState,
    is_local: bool,
    sdp_type: RTCSdpType,
) -> Option<RTCSignalingState> {
    use RTCSdpType as T;
    use RTCSignalingState as S;
    match (state, is_local, sdp_type) {
        (S::Stable | S::HaveLocalOffer, true, T::Offer) => Some(S::HaveLocalOffer),
        // The last of these rolls our own offer back.
        (S::Stable | S::HaveRemoteOffer | S::HaveLocalOffer, false, T::Offer) => {
            Some(S::HaveRemoteOffer)
        }
        (S::HaveRemoteOffer | S::HaveLocalPranswer, true, T::Answer) => Some(S::Stable),
        (S::HaveRemoteOffer | S::HaveLocalPranswer, true, T::Pranswer) => {
            Some(S::HaveLocalPranswer)
        }
        (S::HaveLocalOffer | S::HaveRemotePranswer, false, T::Answer) => Some(S::Stable),
        (S::HaveLocalOffer | S::HaveRemotePranswer, false, T::Pranswer) => {
            Some(S::HaveRemotePranswer)
        }
        (S::HaveLocalOffer | S::HaveRemoteOffer, _, T::Rollback) => Some(S::Stable),
        _ => None,
    }
}

/// A data channel as both sides should see it.
struct Flow {
    label: String,
    init: RTCDataChannelInit,
    ends: [Option<RTCDataChannelId>; 2],
    closed_by: [bool; 2],
    /// A negotiated channel that one side gave up before the peer could have been told.
    given_up: bool,
    /// Lengths of the messages that each side has sent.
    sent: [Vec<usize>; 2],
    received: [Vec<usize>; 2],
}

impl Flow {
    fn is_reliable(&self) -> bool {
        self.init.max_retransmits.is_none() && self.init.max_packet_life_time.is_none()
    }
}

/// What one side has made so far.
#[derive(Default)]
struct Made {
    descriptions: Vec<RTCSessionDescription>,
    candidates: Vec<RTCIceCandidateInit>,
    events_seen: usize,
    opened: Vec<RTCDataChannelId>,
    closed: BTreeSet<RTCDataChannelId>,
    /// By the last event.
    signaling: RTCSignalingState,
}

struct World {
    seed: u64,
    rng: Rng,
    sim: Simulation,
    flows: Vec<Flow>,
    by_end: [BTreeMap<RTCDataChannelId, usize>; 2],
    made: [Made; 2],
    log: Vec<String>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {}:\n{}", self.seed, self.log.join("\n"));
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = rng_of(seed);
        let mut setting = || {
            let mut setting = SettingEngine::default();
            setting.answering_dtls_role = if rng.below(3) == 0 {
                DtlsRole::Server
            } else {
                DtlsRole::Client
            };
            setting
        };
        let (a, b) = (setting(), setting());
        let sim = Simulation::with_settings(seed, Link::default(), a, b).unwrap();
        Self {
            seed,
            rng,
            sim,
            flows: Vec::new(),
            by_end: [BTreeMap::new(), BTreeMap::new()],
            made: [Made::default(), Made::default()],
            log: Vec::new(),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.below(100) < percent
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u32) as usize
    }

    fn connection(&mut self, side: Side) -> &mut RTCPeerConnection {
        &mut self.sim.peer(side).connection
    }

    fn note(&mut self, side: Side, what: impl Into<String>) {
        let at = (self.sim.now - self.sim.start).as_secs_f64();
        let what = what.into();
        self.log.push(format!("{at:7.3} {side:?} {what}"));
    }

    fn step(&mut self) {
        let side = if self.chance(50) { Side::A } else { Side::B };
        match self.below(100) {
            0..8 => self.create_channel(side),
            8..12 => self.make_other_end(),
            12..15 => self.close_channel(side),
            15..40 => self.send(side),
            40..46 => self.create_description(side),
            46..52 => self.set_local(side),
            52..62 => self.set_remote(side),
            62..66 => self.roll_back(side),
            66..68 => self.connection(side).restart_ice(),
            68..76 => self.add_candidate(side),
            76..82 => self.exchange(side),
            82..84 => self.sim.peer(side).pause_reading ^= true,
            84..87 => self.change_link(),
            87 => drop(self.connection(side).get_stats(StatsSelector::None)),
            _ => self.pass_time(),
        }
        self.observe();
    }

    fn create_channel(&mut self, side: Side) {
        let mut init = RTCDataChannelInit {
            ordered: self.chance(60),
            protocol: if self.chance(20) {
                "p".to_owned()
            } else {
                String::new()
            },
            priority: [
                RTCPriorityType::VeryLow,
                RTCPriorityType::Low,
                RTCPriorityType::High,
            ][self.below(3)],
            ..Default::default()
        };
        match self.below(4) {
            0 => init.max_retransmits = Some(self.rng.below(3) as u16),
            1 => init.max_packet_life_time = Some(1 + self.rng.below(500) as u16),
            _ => {}
        }
        if self.chance(25) {
            init.negotiated = Some(500 + self.flows.len() as u16);
        }
        if self.chance(5) {
            let mut bad = init.clone();
            (bad.max_retransmits, bad.max_packet_life_time) = (Some(1), Some(1));
            assert!(matches!(
                self.connection(side).create_data_channel("bad", Some(bad)),
                Err(Error::Type(_))
            ));
        }
        let label = format!("flow {}", self.flows.len());
        self.note(side, format!("creates {label:?}: {init:?}"));
        self.flows.push(Flow {
            label,
            init,
            ends: [None; 2],
            closed_by: [false; 2],
            given_up: false,
            sent: Default::default(),
            received: Default::default(),
        });
        self.make_end(side, self.flows.len() - 1);
    }

    fn make_end(&mut self, side: Side, index: usize) {
        let (label, init) = (
            self.flows[index].label.clone(),
            self.flows[index].init.clone(),
        );
        let channel = self
            .connection(side)
            .create_data_channel(&label, Some(init))
            .unwrap();
        let id = channel.id();
        self.flows[index].ends[side as usize] = Some(id);
        self.by_end[side as usize].insert(id, index);
    }

    /// The other end of a negotiated channel, some time after the first.
    fn make_other_end(&mut self) {
        let lonely = self.flows.iter().position(|flow| {
            flow.init.negotiated.is_some()
                && flow.ends.contains(&None)
                && flow.closed_by == [false; 2]
        });
        let Some(index) = lonely else { return };
        let side = if self.flows[index].ends[0].is_none() {
            Side::A
        } else {
            Side::B
        };
        self.note(side, format!("makes its end of {index}"));
        self.make_end(side, index);
    }

    fn any_end(&mut self, side: Side) -> Option<(usize, RTCDataChannelId)> {
        if self.flows.is_empty() {
            return None;
        }
        let index = self.below(self.flows.len());
        Some((index, self.flows[index].ends[side as usize]?))
    }

    fn close_channel(&mut self, side: Side) {
        let Some((index, id)) = self.any_end(side) else {
            return;
        };
        self.note(side, format!("closes {index}"));
        self.flows[index].closed_by[side as usize] = true;
        let mut channel = self.connection(side).data_channel(id).unwrap();
        let early = channel.ready_state() == RTCDataChannelState::Connecting;
        channel.close().unwrap();
        self.flows[index].given_up |= early && self.flows[index].init.negotiated.is_some();
    }

    fn send(&mut self, side: Side) {
        let Some((index, id)) = self.any_end(side) else {
            return;
        };
        // What is sent to a negotiated channel that is not there yet is kept within bounds.
        let lonely = self.flows[index].ends.contains(&None);
        let length = 8 + if lonely {
            self.below(100)
        } else {
            self.below(8000)
        };
        if lonely && self.flows[index].sent[side as usize].len() > 5 {
            return;
        }
        let count = self.flows[index].sent[side as usize].len();
        let data = content(index, side, count, length);
        let mut channel = self.connection(side).data_channel(id).unwrap();
        let is_open = channel.ready_state() == RTCDataChannelState::Open;
        match channel.send(data) {
            Ok(()) => {
                assert!(is_open);
                self.note(side, format!("sends {count} on {index}"));
                self.flows[index].sent[side as usize].push(length);
            }
            // The stream has had another channel just now.
            Err(Error::BufferFull) if is_open => {}
            Err(error) => {
                assert!(!is_open, "{error}");
                assert!(matches!(error, Error::InvalidState(_)), "{error}");
            }
        }
        if self.chance(3) {
            let mut channel = self.connection(side).data_channel(id).unwrap();
            let max = channel.max_message_size();
            if channel.ready_state() == RTCDataChannelState::Open && max < usize::MAX {
                let size = max + 1;
                let error = channel.send(BytesMut::zeroed(size)).unwrap_err();
                assert_eq!(error, Error::MessageTooLarge { size, max });
            }
        }
    }

    fn create_description(&mut self, side: Side) {
        let before = Snapshot::of(self.connection(side));
        let offer = self.chance(60);
        let ice_restart = self.chance(10);
        let connection = self.connection(side);
        let result = if offer {
            connection.create_offer(Some(RTCOfferOptions { ice_restart }))
        } else {
            connection.create_answer(None)
        };
        let after = Snapshot::of(connection);
        assert_eq!(before, after, "to make a description changes nothing");
        let answers = next_state(before.signaling, true, RTCSdpType::Answer).is_some();
        assert_eq!(result.is_ok(), offer || answers, "{result:?}");
        if let Ok(description) = result {
            self.note(side, format!("makes an {}", description.sdp_type));
            self.made[side as usize].descriptions.push(description);
        }
    }

    fn set_local(&mut self, side: Side) {
        if self.chance(60) {
            let state = self.connection(side).signaling_state();
            let is_answer = next_state(state, true, RTCSdpType::Answer).is_some();
            let sdp_type = if is_answer {
                RTCSdpType::Answer
            } else {
                RTCSdpType::Offer
            };
            self.apply(
                side,
                true,
                sdp_type,
                RTCPeerConnection::set_local_description_implicit,
            );
            return;
        }
        let Some(mut description) = self.old_description(side) else {
            return;
        };
        if self.chance(30) {
            description.sdp = String::new();
        }
        self.set(side, true, description);
    }

    fn set_remote(&mut self, side: Side) {
        if let Some(description) = self.old_description(side.other()) {
            self.set(side, false, description);
        }
    }

    /// One of the latest descriptions that a side has made, mostly the last, at times twisted.
    fn old_description(&mut self, side: Side) -> Option<RTCSessionDescription> {
        let count = self.made[side as usize].descriptions.len();
        let back = if self.chance(70) { 0 } else { self.below(6) };
        let index = count.checked_sub(1 + back)?;
        let mut description = self.made[side as usize].descriptions[index].clone();
        if self.chance(15) && description.sdp_type == RTCSdpType::Answer {
            description.sdp_type = RTCSdpType::Pranswer;
        }
        if self.chance(4) {
            description.sdp_type = [RTCSdpType::Offer, RTCSdpType::Answer][self.below(2)];
        }
        if self.chance(6) {
            let is_offer = description.sdp_type == RTCSdpType::Offer;
            let twist = self.below(5);
            let (from, to) = [
                ("a=ice-pwd", "a=x-pwd"),
                ("a=setup:", "a=setup:x"),
                // An offer with it could be agreed on, by one side.
                ("a=mid:", if is_offer { "a=mid:" } else { "a=mid:x" }),
                ("a=ice-ufrag:", "a=ice-ufrag:!"),
                ("sha-256", "md5"),
            ][twist];
            description.sdp = description.sdp.replace(from, to);
        }
        Some(description)
    }

    fn set(&mut self, side: Side, is_local: bool, description: RTCSessionDescription) -> bool {
        let sdp_type = description.sdp_type;
        self.apply(side, is_local, sdp_type, |connection| {
            if is_local {
                connection.set_local_description(description)
            } else {
                connection.set_remote_description(description)
            }
        })
    }

    /// Applies a description and checks what came of it; tells whether it was taken.
    fn apply(
        &mut self,
        side: Side,
        is_local: bool,
        sdp_type: RTCSdpType,
        operation: impl FnOnce(&mut RTCPeerConnection) -> Result<(), Error>,
    ) -> bool {
        let connection = self.connection(side);
        let before = Snapshot::of(connection);
        let next = next_state(before.signaling, is_local, sdp_type);
        let result = operation(connection);
        let after = Snapshot::of(connection);
        let whose = if is_local { "local" } else { "remote" };
        self.note(
            side,
            format!("sets {whose} {sdp_type}: {result:?}, {}", after.signaling),
        );
        match (result, next) {
            (Ok(()), Some(next)) => {
                assert_eq!(after.signaling, next);
                if let Some(description) = self.connection(side).local_description() {
                    self.made[side as usize].descriptions.push(description);
                }
                true
            }
            (Err(error), next) => {
                assert!(before == after, "what is refused changes nothing: {error}");
                assert!(
                    next.is_some() || matches!(error, Error::InvalidState(_)),
                    "{error} for {sdp_type} in {}",
                    before.signaling
                );
                false
            }
            (Ok(()), None) => panic!("{sdp_type} was taken in {}", before.signaling),
        }
    }

    fn roll_back(&mut self, side: Side) {
        let is_local = self.chance(70);
        self.set(
            side,
            is_local,
            RTCSessionDescription::rollback(None).unwrap(),
        );
    }

    fn add_candidate(&mut self, side: Side) {
        let theirs = &self.made[side.other() as usize].candidates;
        let real = (!theirs.is_empty()).then(|| theirs[theirs.len() - 1].clone());
        let mut init = match (self.below(10), real) {
            (0..6, Some(init)) => init,
            (6, _) => RTCIceCandidateInit::default(),
            (kind, _) => RTCIceCandidateInit {
                candidate: match kind {
                    7 => "candidate:1 1 udp 1 not-an-address 5000 typ host".to_owned(),
                    8 => "candidate:1 1 tcp 1 10.0.0.9 9 typ host tcptype active".to_owned(),
                    _ => format!(
                        "candidate:1 1 udp 2130706431 10.0.0.{} 5000 typ host",
                        3 + self.below(200)
                    ),
                },
                sdp_mid: Some("0".to_owned()),
                ..Default::default()
            },
        };
        match self.below(10) {
            0 => init.sdp_mid = Some("nowhere".to_owned()),
            1 => (init.sdp_mid, init.sdp_mline_index) = (None, Some(7)),
            2 => init.username_fragment = Some("wrong".to_owned()),
            3 => init.username_fragment = None,
            4 => (init.sdp_mid, init.sdp_mline_index) = (None, None),
            _ => {}
        }
        let connection = self.connection(side);
        let before = Snapshot::of(connection);
        let has_remote = connection.remote_description().is_some();
        let result = connection.add_remote_candidate(init.clone());
        let after = Snapshot::of(connection);
        self.note(side, format!("adds candidate {init:?}: {result:?}"));
        if let Err(error) = result {
            assert!(before == after, "what is refused changes nothing: {error}");
            assert_eq!(
                matches!(error, Error::InvalidState(_)),
                !has_remote,
                "{error}"
            );
        }
    }

    /// Offer and answer as an application does it, with glare now and then.
    fn exchange(&mut self, side: Side) {
        self.note(side, "begins an exchange");
        let other = side.other();
        let offers = |sdp_type| {
            move |world: &mut Self, side: Side| {
                let implicit = RTCPeerConnection::set_local_description_implicit;
                world.apply(side, true, sdp_type, implicit)
            }
        };
        let (offer, answer) = (offers(RTCSdpType::Offer), offers(RTCSdpType::Answer));
        let is_stable = |world: &mut Self, side| {
            world.connection(side).signaling_state() == RTCSignalingState::Stable
        };
        if !is_stable(self, side) || !offer(self, side) {
            return;
        }
        if self.chance(20) && is_stable(self, other) {
            offer(self, other);
        }
        let Some(description) = self.connection(side).local_description() else {
            return;
        };
        if self.set(other, false, description) && answer(self, other) {
            let Some(description) = self.connection(other).local_description() else {
                return;
            };
            if self.chance(10) {
                let mut provisional = description.clone();
                provisional.sdp_type = RTCSdpType::Pranswer;
                self.set(side, false, provisional);
            }
            self.set(side, false, description);
        }
    }

    fn change_link(&mut self) {
        let mut link = Link::new(Duration::from_millis(u64::from(self.rng.below(60))))
            .with_loss([0.0, 0.02, 0.1][self.below(3)])
            .with_duplication([0.0, 0.05][self.below(2)])
            .with_reordering([0.0, 0.1][self.below(2)])
            .with_jitter(Duration::from_millis(u64::from(self.rng.below(40))));
        link.in_order = false;
        *self.sim.link() = link;
    }

    fn pass_time(&mut self) {
        let time = [0, 1, 30, 300, 2000][self.below(5)];
        self.sim.run(Duration::from_millis(time), |_| false);
    }

    /// Takes in what the connections have told, and checks it.
    fn observe(&mut self) {
        self.sim.run(Duration::ZERO, |_| false);
        for side in [Side::A, Side::B] {
            let mut events = std::mem::take(&mut self.sim.peer(side).events);
            for event in events.drain(..) {
                self.on_event(side, event);
            }
            let connection = self.connection(side);
            let (state, closed) = (connection.signaling_state(), connection.is_closed());
            assert!(
                closed || self.made[side as usize].signaling == state,
                "events tell the state"
            );
            let messages = std::mem::take(&mut self.sim.peer(side).messages);
            for message in messages {
                self.on_message(side, message);
            }
        }
    }

    fn on_event(&mut self, side: Side, event: RTCPeerConnectionEvent) {
        let made = &mut self.made[side as usize];
        made.events_seen += 1;
        match event {
            RTCPeerConnectionEvent::OnSignalingStateChangeEvent(state) => made.signaling = state,
            RTCPeerConnectionEvent::OnIceCandidateEvent(event) => {
                made.candidates.push(event.candidate.to_init());
            }
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) => {
                assert!(!made.opened.contains(&id), "a channel opens once");
                assert!(
                    !made.closed.contains(&id),
                    "a channel opens before it closes"
                );
                made.opened.push(id);
                let channel = self.connection(side).data_channel(id).unwrap();
                let (incoming, label) = (channel.is_incoming(), channel.label().to_owned());
                let stream = channel.stream_id();
                if incoming {
                    let index = self
                        .flows
                        .iter()
                        .position(|flow| flow.label == label)
                        .unwrap();
                    assert_eq!(self.flows[index].ends[side as usize], None, "{label} twice");
                    self.flows[index].ends[side as usize] = Some(id);
                    self.by_end[side as usize].insert(id, index);
                }
                self.note(
                    side,
                    format!("{label:?} is open as {id} on stream {stream:?}"),
                );
            }
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnClose(id)) => {
                assert!(made.closed.insert(id), "a channel closes once");
                self.note(side, format!("channel {id} is closed"));
            }
            RTCPeerConnectionEvent::OnDataChannel(event) => {
                assert!(
                    !made.closed.contains(&event.channel_id()),
                    "close is the last: {event:?}"
                );
            }
            RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => {
                self.note(side, format!("connection is {state}"));
            }
            _ => {}
        }
    }

    fn on_message(&mut self, side: Side, message: RTCMessage) {
        let RTCMessage::DataChannelMessage(id, message) = message else {
            panic!()
        };
        assert!(
            self.made[side as usize].opened.contains(&id),
            "a message before its channel"
        );
        let index = self.by_end[side as usize][&id];
        let number = u32::from_be_bytes(message.data[4..8].try_into().unwrap()) as usize;
        let flow = &mut self.flows[index];
        let sent = &flow.sent[side.other() as usize];
        let expected = content(index, side.other(), number, sent[number]);
        assert_eq!(message.data, expected, "message {number} of {index}");
        let received = &mut flow.received[side as usize];
        assert!(
            !received.contains(&number),
            "message {number} of {index} came twice"
        );
        if flow.init.ordered {
            assert!(
                received.iter().all(|earlier| *earlier < number),
                "{number} of {index}: order"
            );
        }
        received.push(number);
        if flow.init.ordered && flow.is_reliable() {
            let received = &self.flows[index].received[side as usize];
            assert_eq!(
                received.len(),
                number + 1,
                "a message of {index} is missing"
            );
        }
    }

    /// Ends the exchange that is under way, has ICE begin anew, and waits until all is quiet.
    fn settle(&mut self) {
        self.log.push("settle".to_owned());
        *self.sim.link() = Link::default();
        for side in [Side::A, Side::B] {
            self.sim.peer(side).pause_reading = false;
            use RTCSignalingState as S;
            match self.connection(side).signaling_state() {
                S::HaveLocalOffer | S::HaveRemoteOffer => {
                    assert!(self.set(side, true, RTCSessionDescription::rollback(None).unwrap()));
                }
                S::HaveLocalPranswer => {
                    let answer = self.connection(side).create_answer(None).unwrap();
                    assert!(self.set(side, true, answer));
                }
                S::HaveRemotePranswer => {
                    let mut answer = self.connection(side).remote_description().unwrap();
                    answer.sdp_type = RTCSdpType::Answer;
                    assert!(self.set(side, false, answer));
                }
                _ => {}
            }
        }
        while self.flows.iter().any(|flow| {
            flow.init.negotiated.is_some()
                && flow.ends.contains(&None)
                && flow.closed_by == [false; 2]
        }) {
            self.make_other_end();
        }
        self.create_channel(Side::A);
        let last = self.flows.len() - 1;
        self.flows[last].closed_by = [false; 2];
        if self.flows[last].init.negotiated.is_some() {
            self.make_end(Side::B, last);
        }
        self.connection(Side::A).restart_ice();
        for side in [Side::A, Side::B] {
            let implicit = RTCPeerConnection::set_local_description_implicit;
            let sdp_type = if side == Side::A {
                RTCSdpType::Offer
            } else {
                RTCSdpType::Answer
            };
            assert!(self.apply(side, true, sdp_type, implicit));
            let description = self.connection(side).local_description().unwrap();
            assert!(self.set(side.other(), false, description));
        }
        // The new path has to be found, and to last.
        self.sim.run(Duration::from_secs(10), |_| false);
        if !self.sim.connect(Duration::from_secs(120)) {
            assert!(self.has_failed(), "connects");
            return;
        }
        let quiet = |world: &mut Self| {
            world.observe();
            world.unsettled().is_none()
        };
        let end = self.sim.now + Duration::from_secs(300);
        while !quiet(self) && self.sim.now < end {
            self.sim.run(Duration::from_millis(500), |_| false);
        }
        assert_eq!(self.unsettled(), None);
        assert!(self.sim.connect(Duration::ZERO), "stays connected");
        let open = [Side::A, Side::B].map(|side| self.open_channels(side));
        assert_eq!(open[0], open[1], "both sides have the same channels");
        assert!(open[0].contains_key(&self.flows[last].label));
    }

    /// Something that is not yet as it will be.
    fn unsettled(&mut self) -> Option<String> {
        for side in [Side::A, Side::B] {
            for (id, index) in self.by_end[side as usize].clone() {
                let state = self
                    .connection(side)
                    .data_channel(id)
                    .unwrap()
                    .ready_state();
                let flow = &self.flows[index];
                let expected = if flow.closed_by == [false; 2] {
                    RTCDataChannelState::Open
                } else {
                    RTCDataChannelState::Closed
                };
                let is_told = flow.closed_by[side as usize] || !flow.given_up;
                if state != expected && is_told {
                    return Some(format!("{:?} is {state} on side {side:?}", flow.label));
                }
            }
        }
        for flow in &self.flows {
            for side in [Side::A, Side::B] {
                let sent = flow.sent[side as usize].len();
                let received = flow.received[side.other() as usize].len();
                // Whoever closes a channel has sent everything before, and reads no more.
                let reads = !flow.closed_by[side.other() as usize];
                let there = flow.ends[side.other() as usize].is_some();
                if flow.is_reliable() && !flow.given_up && reads && there && received != sent {
                    return Some(format!(
                        "{received} of {sent} messages of {side:?} on {:?} arrived",
                        flow.label
                    ));
                }
                if flow.closed_by == [false; 2] && !there {
                    return Some(format!("{:?} has one end", flow.label));
                }
            }
        }
        None
    }

    fn open_channels(&mut self, side: Side) -> BTreeMap<String, RTCDataChannelParameters> {
        let ids: Vec<_> = self.by_end[side as usize].keys().copied().collect();
        let given_up: Vec<_> = ids
            .iter()
            .copied()
            .filter(|id| self.flows[self.by_end[side as usize][id]].given_up)
            .collect();
        let connection = self.connection(side);
        ids.into_iter()
            .filter_map(|id| {
                let channel = connection.data_channel(id)?;
                let parameters = channel.parameters();
                (channel.ready_state() == RTCDataChannelState::Open && !given_up.contains(&id))
                    .then(|| (parameters.label.clone(), parameters))
            })
            .collect()
    }

    /// Two that answered each other's offers begin DTLS as clients both, and do not come together any
    /// more when they notice it. There is no other way to fail.
    fn has_failed(&self) -> bool {
        let error = |side: &Peer| match side.connection.last_error() {
            None => false,
            Some(error) => {
                assert!(error.to_string().contains("unexpected message"), "{error}");
                true
            }
        };
        error(&self.sim.a) || error(&self.sim.b)
    }

    /// One side closes; afterwards nothing can be done with either, and nothing goes wrong.
    fn end(&mut self) {
        if self.has_failed() {
            self.connection(Side::B).close().unwrap();
        }
        self.connection(Side::A).close().unwrap();
        let closed = self.sim.run(Duration::from_secs(10), |sim| {
            sim.b.connection.connection_state() == RTCPeerConnectionState::Closed
        });
        assert!(closed, "the other side notices");
        self.observe();
        for side in [Side::A, Side::B] {
            assert_eq!(
                self.made[side as usize].opened.len(),
                self.by_end[side as usize]
                    .keys()
                    .filter(|id| self.made[side as usize].opened.contains(id))
                    .count()
            );
            let ends: Vec<_> = self.by_end[side as usize].keys().copied().collect();
            for id in ends {
                assert!(
                    self.made[side as usize].closed.contains(&id),
                    "every channel is closed"
                );
                let mut channel = self.connection(side).data_channel(id).unwrap();
                assert_eq!(channel.ready_state(), RTCDataChannelState::Closed);
                assert!(channel.send_text("x").is_err());
                channel.close().unwrap();
                self.connection(side).release_data_channel(id);
                assert!(self.connection(side).data_channel(id).is_none());
            }
            let connection = self.connection(side);
            assert_eq!(connection.signaling_state(), RTCSignalingState::Closed);
            assert_eq!(connection.poll_timeout(), None);
            let offer = RTCSessionDescription {
                sdp_type: RTCSdpType::Offer,
                sdp: String::new(),
            };
            for result in [
                connection.create_offer(None).map(drop),
                connection.create_answer(None).map(drop),
                connection.set_local_description_implicit(),
                connection.set_remote_description(offer),
                connection.add_remote_candidate(RTCIceCandidateInit::default()),
                connection.create_data_channel("x", None).map(drop),
            ] {
                assert!(matches!(result, Err(Error::InvalidState(_))));
            }
            connection.restart_ice();
            connection.close().unwrap();
            assert!(connection.is_drained());
        }
    }
}

/// Bytes that tell which message they are.
fn content(flow: usize, from: Side, number: usize, length: usize) -> BytesMut {
    let mut data = BytesMut::with_capacity(length);
    data.extend_from_slice(&(flow as u32).to_be_bytes());
    data.extend_from_slice(&(number as u32).to_be_bytes());
    data.extend((8..length).map(|at| (at * 13 + number * 7 + flow + from as usize) as u8));
    data
}
