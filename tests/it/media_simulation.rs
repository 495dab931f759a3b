//! Two connections that do whatever the operations of W3C allow, with the signalling of perfect
//! negotiation between them: messages arrive late, offers collide, are taken back and replaced. Each
//! side follows the state machine at every step, and whenever nothing is under way both agree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rtc::Error;
use rtc::media_stream::MediaStreamTrackId;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::{RTCBundlePolicy, RTCConfigurationBuilder};
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCTrackEvent};
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::RTCSignalingState;
use rtc::rtp_transceiver::{
    NegotiatedMedia, RTCRtpReceiverId, RTCRtpTransceiverDirection, RTCRtpTransceiverId,
    RTCRtpTransceiverInit, RtpCodecKind,
};
use rtc::sdp::{Direction, ExtMap, RtpMap, SessionDescription};
use rtc::shared::Rng;

use crate::media_pair::*;
use crate::operations::next_state;
use crate::seeds::{for_each_seed, rng_of};

#[test]
fn any_sequence_of_operations_on_media_ends_in_agreement() {
    for_each_seed(100, |seed| {
        World::run(seed, 150);
    });
}

/// What a session leaves behind (m-sections, tags, payload types, ids of extensions) is used again, so
/// that it may be as long as it likes.
#[test]
fn a_long_session_stays_in_agreement_and_does_not_grow() {
    for_each_seed(1, |seed| {
        let world = World::run(seed, 10_000);
        // Six on each side at most, and the one of data channels.
        for side in &world.sides {
            assert!(side.places.len() <= 13, "{:?}", side.places);
        }
    });
}

const A: usize = 0;
const B: usize = 1;

/// What can be seen of a connection and must not change when a call is refused.
#[derive(Debug, PartialEq)]
struct Snapshot {
    signaling: RTCSignalingState,
    descriptions: [Option<RTCSessionDescription>; 4],
    transceivers: Vec<Seen>,
    media: Vec<NegotiatedMedia>,
}

/// What can be seen of a transceiver.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    id: RTCRtpTransceiverId,
    kind: RtpCodecKind,
    mid: Option<String>,
    direction: RTCRtpTransceiverDirection,
    current: Option<RTCRtpTransceiverDirection>,
    track: Option<MediaStreamTrackId>,
    streams: Vec<String>,
    encodings: Vec<(String, bool)>,
}

fn snapshot(connection: &mut RTCPeerConnection) -> Snapshot {
    let ids: Vec<_> = connection.get_transceivers().collect();
    let mut seen = Vec::new();
    for id in ids {
        let it = connection.rtp_transceiver(id).unwrap();
        let (kind, mid) = (it.kind().unwrap(), it.mid().map(str::to_owned));
        let (direction, current) = (it.direction(), it.current_direction());
        let sender = connection.rtp_sender(id.sender_id()).unwrap();
        seen.push(Seen {
            id,
            kind,
            mid,
            direction,
            current,
            track: sender.track().map(|track| track.track_id().clone()),
            streams: sender.streams().to_vec(),
            encodings: Vec::new(),
        });
    }
    Snapshot {
        signaling: connection.signaling_state(),
        descriptions: [
            connection.current_local_description(),
            connection.pending_local_description(),
            connection.current_remote_description(),
            connection.pending_remote_description(),
        ],
        transceivers: seen,
        media: connection.negotiated_media().collect(),
    }
}

/// The life of a remote track as it is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Open,
    Closing,
    Closed,
}

struct Side {
    connection: RTCPeerConnection,
    /// Negotiation was said to be needed and was not begun since.
    needed: bool,
    /// Descriptions on their way to this side.
    inbox: VecDeque<RTCSessionDescription>,
    tracks: BTreeMap<MediaStreamTrackId, (RTCRtpReceiverId, Life)>,
    signaling: RTCSignalingState,
    made_tracks: usize,
    /// Tags of the m-sections of the last current description, with whether each was in use.
    places: Vec<(String, bool)>,
    generation: u64,
    /// Its offer waits for an answer, and one of the peer was ignored since.
    has_ignored: bool,
    checked: Option<[Option<RTCSessionDescription>; 4]>,
}

struct World {
    seed: u64,
    rng: Rng,
    sides: [Side; 2],
    agreements: usize,
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
        let mut side = |number| {
            let policy = match rng.below(3) {
                0 => RTCBundlePolicy::Balanced,
                1 => RTCBundlePolicy::MaxCompat,
                _ => RTCBundlePolicy::MaxBundle,
            };
            let builder = RTCConfigurationBuilder::new().with_bundle_policy(policy);
            Side {
                connection: connection_of(number, builder),
                needed: false,
                inbox: VecDeque::new(),
                tracks: BTreeMap::new(),
                signaling: RTCSignalingState::Stable,
                made_tracks: 0,
                places: Vec::new(),
                generation: 0,
                has_ignored: false,
                checked: None,
            }
        };
        let sides = [side(1), side(2)];
        Self {
            seed,
            rng,
            sides,
            agreements: 0,
            log: Vec::new(),
        }
    }

    /// Takes so many steps and ends in agreement.
    fn run(seed: u64, steps: usize) -> Self {
        let mut world = Self::new(seed);
        for _ in 0..steps {
            world.step();
        }
        world.settle();
        world
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u32) as usize
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.below(100) < percent
    }

    fn note(&mut self, side: usize, what: impl Into<String>) {
        let name = if side == A { "A" } else { "B" };
        self.log.push(format!("{name} {}", what.into()));
    }

    fn connection(&mut self, side: usize) -> &mut RTCPeerConnection {
        &mut self.sides[side].connection
    }

    fn state(&self, side: usize) -> RTCSignalingState {
        self.sides[side].connection.signaling_state()
    }

    fn step(&mut self) {
        let side = self.below(2);
        match self.below(100) {
            0..9 => self.add_track(side),
            9..14 => self.remove_track(side),
            14..20 => self.add_transceiver(side),
            20..24 => self.stop(side),
            24..32 => self.set_direction(side),
            32..35 => self.replace_track(side),
            35..38 => self.set_streams(side),
            38..41 => self.set_parameters(side),
            41..43 => self.prefer_codecs(side),
            43 => drop(self.connection(side).create_data_channel("x", None)),
            44 => self.connection(side).restart_ice(),
            45..55 => self.negotiate(side),
            55..75 => self.deliver(side),
            75..83 => self.answer(side),
            83..87 => self.take_back(side),
            87..91 => self.do_wrong(side),
            _ => self.converge(),
        }
        self.observe(A);
        self.observe(B);
        self.check_agreement();
    }

    fn any_transceiver(&mut self, side: usize) -> Option<RTCRtpTransceiverId> {
        let ids = transceivers(self.connection(side));
        (!ids.is_empty()).then(|| ids[self.below(ids.len())])
    }

    fn any_kind(&mut self) -> RtpCodecKind {
        if self.chance(50) { Audio } else { Video }
    }

    fn any_direction(&mut self) -> RTCRtpTransceiverDirection {
        [Sendrecv, Sendonly, Recvonly, Inactive][self.below(4)]
    }

    fn new_track(
        &mut self,
        side: usize,
        kind: RtpCodecKind,
    ) -> rtc::media_stream::MediaStreamTrack {
        self.sides[side].made_tracks += 1;
        track(
            &format!("track{}of{side}", self.sides[side].made_tracks),
            kind,
        )
    }

    fn has_room(&mut self, side: usize) -> bool {
        self.connection(side).get_transceivers().count() < 6
    }

    fn add_track(&mut self, side: usize) {
        if !self.has_room(side) {
            return;
        }
        let kind = self.any_kind();
        let track = self.new_track(side, kind);
        let before = snapshot(self.connection(side)).transceivers;
        let sender = self.connection(side).add_track(track.clone()).unwrap();
        let id = sender.transceiver_id();
        self.note(side, format!("adds a track of {kind} to {id}"));
        let after = snapshot(self.connection(side)).transceivers;
        let now = after.iter().find(|it| it.id == id).unwrap();
        assert!(matches!(now.direction, Sendrecv | Sendonly));
        match before.iter().find(|it| it.id == id) {
            Some(old) => {
                assert_eq!((old.kind, &old.track), (kind, &None));
                assert!(!matches!(old.current, Some(Sendrecv | Sendonly)));
                assert_eq!(old.mid, now.mid);
            }
            None => assert_eq!((now.direction, &now.mid), (Sendrecv, &None)),
        }
        let again = self.connection(side).add_track(track).unwrap_err();
        assert!(matches!(again, Error::InvalidAccess(_)), "{again}");
    }

    fn remove_track(&mut self, side: usize) {
        let Some(id) = self.any_transceiver(side) else {
            return;
        };
        self.note(side, format!("removes the track of {id}"));
        self.connection(side).remove_track(id.sender_id()).unwrap();
        let sender = self.connection(side).rtp_sender(id.sender_id()).unwrap();
        let track = sender.track().is_some();
        let (direction, _) = directions(self.connection(side), id);
        assert!(!track || direction == Stopped);
    }

    fn add_transceiver(&mut self, side: usize) {
        if !self.has_room(side) {
            return;
        }
        let kind = self.any_kind();
        let direction = self.any_direction();
        let mut init = RTCRtpTransceiverInit {
            direction,
            ..Default::default()
        };
        if self.chance(30) {
            init.send_encodings = layers(&["q", "h", "f"][self.below(2)..]);
        }
        let id = if self.chance(50) {
            let track = self.new_track(side, kind);
            self.connection(side)
                .add_transceiver_from_track(track, Some(init))
        } else {
            self.connection(side)
                .add_transceiver_from_kind(kind, Some(init))
        };
        let id = id.unwrap();
        self.note(side, format!("makes {id} of {kind}, {direction}"));
        assert_eq!(directions(self.connection(side), id), (direction, None));
        assert_eq!(mid(self.connection(side), id), None);
    }

    fn stop(&mut self, side: usize) {
        let Some(id) = self.any_transceiver(side) else {
            return;
        };
        self.note(side, format!("stops {id}"));
        self.connection(side)
            .rtp_transceiver(id)
            .unwrap()
            .stop()
            .unwrap();
        assert_eq!(directions(self.connection(side), id).0, Stopped);
    }

    fn set_direction(&mut self, side: usize) {
        let Some(id) = self.any_transceiver(side) else {
            return;
        };
        let direction = self.any_direction();
        let (before, current) = directions(self.connection(side), id);
        let mut it = self.connection(side).rtp_transceiver(id).unwrap();
        match it.set_direction(direction) {
            Ok(()) => {
                assert_ne!(before, Stopped);
                self.note(side, format!("sets {id} from {before} to {direction}"));
                assert_eq!(directions(self.connection(side), id), (direction, current));
            }
            Err(error) => {
                assert_eq!(before, Stopped);
                assert!(matches!(error, Error::InvalidState(_)));
            }
        }
    }

    fn replace_track(&mut self, side: usize) {
        let Some(id) = self.any_transceiver(side) else {
            return;
        };
        let kind = self
            .connection(side)
            .rtp_transceiver(id)
            .unwrap()
            .kind()
            .unwrap();
        let track = if self.chance(70) {
            Some(self.new_track(side, kind))
        } else {
            None
        };
        let media = negotiated(self.connection(side));
        let stopped = directions(self.connection(side), id).0 == Stopped;
        let mut sender = self.connection(side).rtp_sender(id.sender_id()).unwrap();
        let result = sender.replace_track(track);
        assert_eq!(result.is_ok(), !stopped);
        assert_eq!(negotiated(self.connection(side)), media);
    }

    fn set_streams(&mut self, side: usize) {
        let Some(id) = self.any_transceiver(side) else {
            return;
        };
        let count = self.below(3);
        let streams: Vec<String> = (0..count).map(|_| format!("s{}", self.below(3))).collect();
        self.note(side, format!("sets streams {streams:?} of {id}"));
        let stopped = directions(self.connection(side), id).0 == Stopped;
        let mut sender = self.connection(side).rtp_sender(id.sender_id()).unwrap();
        assert_eq!(sender.set_streams(streams).is_ok(), !stopped);
    }

    fn set_parameters(&mut self, side: usize) {
        let Some(id) = self.any_transceiver(side) else {
            return;
        };
        let stopped = directions(self.connection(side), id).0 == Stopped;
        let active = self.chance(50);
        let mut sender = self.connection(side).rtp_sender(id.sender_id()).unwrap();
        let mut parameters = sender.get_parameters();
        for encoding in &mut parameters.encodings {
            encoding.active = active;
        }
        let result = sender.set_parameters(parameters, None);
        assert_eq!(result.is_ok(), !stopped, "{result:?}");
    }

    fn prefer_codecs(&mut self, side: usize) {
        let Some(id) = self.any_transceiver(side) else {
            return;
        };
        let (wanted, _) = directions(self.connection(side), id);
        let kind = self
            .connection(side)
            .rtp_transceiver(id)
            .unwrap()
            .kind()
            .unwrap();
        let engine = self.connection(side).get_configuration().media_engine();
        let mut codecs = engine.codecs(kind).to_vec();
        // The first is always among them, so that both sides have one in common.
        let last = codecs.len();
        codecs.truncate(1 + self.below(last));
        if self.chance(30) {
            codecs.clear();
        } else if self.chance(50) {
            codecs.reverse();
        }
        let mut it = self.connection(side).rtp_transceiver(id).unwrap();
        assert_eq!(it.set_codec_preferences(codecs).is_ok(), wanted != Stopped);
    }

    /// Applies a description and checks what came of it.
    fn apply(&mut self, side: usize, is_local: bool, description: RTCSessionDescription) -> bool {
        let sdp_type = description.sdp_type;
        let connection = self.connection(side);
        let before = snapshot(connection);
        let result = if is_local {
            connection.set_local_description(description)
        } else {
            connection.set_remote_description(description)
        };
        let after = snapshot(connection);
        let whose = if is_local { "local" } else { "remote" };
        self.note(
            side,
            format!("sets {whose} {sdp_type}: {result:?}, {}", after.signaling),
        );
        let next = next_state(before.signaling, is_local, sdp_type);
        match result {
            Ok(()) => assert_eq!(Some(after.signaling), next),
            Err(_) => assert_eq!(before, after, "what is refused changes nothing"),
        }
        self.observe(side);
        after.signaling != before.signaling || next == Some(before.signaling)
    }

    fn offer_now(&mut self, side: usize) {
        self.sides[side].needed = false;
        let offer = self.connection(side).create_offer(None).unwrap();
        assert!(self.apply(side, true, offer));
        let offer = self.connection(side).local_description().unwrap();
        self.sides[1 - side].inbox.push_back(offer);
    }

    /// Begins an exchange if there is a reason; seldom without.
    fn negotiate(&mut self, side: usize) {
        if self.state(side) == RTCSignalingState::Stable
            && (self.sides[side].needed || self.chance(10))
        {
            if self.chance(15) {
                // Time passes between making and applying.
                let offer = self.connection(side).create_offer(None).unwrap();
                self.set_direction(side);
                self.stop(side);
                self.observe(side);
                let result = self.connection(side).set_local_description(offer);
                match result {
                    Ok(()) => {
                        let offer = self.connection(side).local_description().unwrap();
                        self.sides[side].needed = false;
                        self.sides[1 - side].inbox.push_back(offer);
                    }
                    Err(error) => panic!("{error}"),
                }
                self.observe(side);
                return;
            }
            self.offer_now(side);
        }
    }

    /// The next message arrives.
    fn deliver(&mut self, side: usize) {
        let Some(description) = self.sides[side].inbox.pop_front() else {
            return;
        };
        let collides = description.sdp_type == RTCSdpType::Offer
            && self.state(side) != RTCSignalingState::Stable;
        if collides && side == A {
            self.note(side, "ignores an offer");
            self.sides[side].has_ignored = true;
            return;
        }
        assert!(
            self.apply(side, false, description),
            "the peer's descriptions are good"
        );
    }

    /// Answers the offer that waits, at times provisionally first, or after second thoughts.
    fn answer(&mut self, side: usize) {
        use RTCSignalingState as S;
        let state = self.state(side);
        if !matches!(state, S::HaveRemoteOffer | S::HaveLocalPranswer) {
            return;
        }
        if state == S::HaveRemoteOffer && self.chance(15) {
            let offer = self.connection(side).remote_description().unwrap();
            assert!(self.apply(side, false, rollback()));
            assert!(self.apply(side, false, offer.clone()));
            if self.chance(30) {
                assert!(self.apply(side, false, offer));
            }
        }
        let mut answer = self.connection(side).create_answer(None).unwrap();
        if self.chance(15) {
            answer.sdp_type = RTCSdpType::Pranswer;
        }
        assert!(self.apply(side, true, answer));
        let answer = self.connection(side).local_description().unwrap();
        self.sides[1 - side].inbox.push_back(answer);
    }

    /// Takes an offer back, or makes another one, before the peer has seen it.
    fn take_back(&mut self, side: usize) {
        let inbox = &self.sides[1 - side].inbox;
        let is_unseen = inbox
            .back()
            .is_some_and(|it| it.sdp_type == RTCSdpType::Offer);
        if self.state(side) != RTCSignalingState::HaveLocalOffer || !is_unseen {
            return;
        }
        self.sides[1 - side].inbox.pop_back();
        // Who has ignored an offer owes an exchange.
        if self.chance(50) && !self.sides[side].has_ignored {
            let is_local = self.chance(50);
            assert!(self.apply(side, is_local, rollback()));
        } else {
            self.offer_now(side);
        }
    }

    /// Calls that have to be refused.
    fn do_wrong(&mut self, side: usize) {
        let state = self.state(side);
        let (is_local, mut description) = match self.below(3) {
            0 => (self.chance(50), rollback()),
            1 => {
                let Some(description) = self.connection(side).remote_description() else {
                    return;
                };
                (self.chance(50), description)
            }
            _ => {
                let Some(description) = self.connection(side).local_description() else {
                    return;
                };
                (true, description)
            }
        };
        let is_legal = next_state(state, is_local, description.sdp_type).is_some();
        if is_legal {
            if description.sdp_type == RTCSdpType::Rollback {
                return;
            }
            let twists = [
                ("a=mid:0", "a=mid:nowhere"),
                ("a=ice-pwd:", "a=x-pwd:"),
                ("a=setup:", "a=setup:x"),
                ("a=rtpmap:", "a=rtpmap:300 x"),
                ("a=fingerprint:sha-256", "a=fingerprint:md5"),
            ];
            let (from, to) = twists[self.below(twists.len())];
            if !description.sdp.contains(from) {
                return;
            }
            // A tag may change where no section is known yet.
            if from == "a=mid:0" && !is_local {
                return;
            }
            description.sdp = description.sdp.replace(from, to);
        }
        let connection = self.connection(side);
        let before = snapshot(connection);
        let result = if is_local {
            connection.set_local_description(description.clone())
        } else {
            connection.set_remote_description(description.clone())
        };
        assert!(result.is_err(), "{state} {is_local} {description:?}");
        assert_eq!(snapshot(connection), before, "{result:?}");
        if !is_legal {
            assert!(matches!(result, Err(Error::InvalidState(_))), "{result:?}");
        }
    }

    /// Lets everything that is under way arrive and be answered.
    fn converge(&mut self) {
        for _ in 0..20 {
            for side in [A, B] {
                self.deliver(side);
                self.answer(side);
            }
            if self.is_quiet() {
                return;
            }
        }
        panic!("exchanges come to an end");
    }

    fn is_quiet(&self) -> bool {
        [A, B].into_iter().all(|side| {
            self.state(side) == RTCSignalingState::Stable && self.sides[side].inbox.is_empty()
        })
    }

    /// Takes in what a connection has told, and checks what holds at any time.
    fn observe(&mut self, side: usize) {
        let events: Vec<_> = events(self.connection(side));
        for event in events {
            match event {
                RTCPeerConnectionEvent::OnNegotiationNeededEvent => {
                    assert_eq!(self.state(side), RTCSignalingState::Stable);
                    self.sides[side].needed = true;
                    self.note(side, "has a need");
                }
                RTCPeerConnectionEvent::OnSignalingStateChangeEvent(state) => {
                    assert_ne!(state, self.sides[side].signaling);
                    self.sides[side].signaling = state;
                    if state == RTCSignalingState::Stable {
                        self.sides[side].needed = false;
                        self.sides[side].has_ignored = false;
                    }
                }
                RTCPeerConnectionEvent::OnTrack(event) => self.on_track(side, event),
                _ => {}
            }
        }
        assert_eq!(
            self.sides[side].signaling,
            self.state(side),
            "events tell the state"
        );
        self.check_side(side);
    }

    fn on_track(&mut self, side: usize, event: RTCTrackEvent) {
        self.note(side, format!("is told {event:?}"));
        let tracks = &mut self.sides[side].tracks;
        match event {
            RTCTrackEvent::OnOpen(init) => {
                let before = tracks.insert(init.track_id, (init.receiver_id, Life::Open));
                // The peer may give a name again, to another track.
                let is_over =
                    |(receiver, life)| life == Life::Closed && receiver == init.receiver_id;
                assert!(
                    !before.is_some_and(is_over),
                    "a track that has ended stays so"
                );
            }
            RTCTrackEvent::OnClosing(id) => {
                let (_, life) = tracks.get_mut(&id).unwrap();
                assert_eq!(std::mem::replace(life, Life::Closing), Life::Open);
            }
            RTCTrackEvent::OnClose(id) => {
                let (_, life) = tracks.get_mut(&id).unwrap();
                assert_ne!(std::mem::replace(life, Life::Closed), Life::Closed);
            }
            other => panic!("{other:?}"),
        }
    }

    fn check_side(&mut self, side: usize) {
        let Snapshot {
            transceivers,
            media,
            descriptions,
            signaling,
        } = snapshot(self.connection(side));
        let mut mids = BTreeSet::new();
        for it in &transceivers {
            if let Some(mid) = &it.mid {
                assert!(mids.insert(mid.clone()), "{mid} twice");
            }
        }
        let is_checked = self.sides[side].checked.as_ref() == Some(&descriptions);
        if !is_checked {
            let sdp = |it: &RTCSessionDescription| it.sdp.parse::<SessionDescription>().unwrap();
            let known: Vec<_> = descriptions.iter().flatten().map(sdp).collect();
            for it in &media {
                let mut place = known.iter().filter_map(|sdp| sdp.media.get(it.mline_index));
                let mid = Some(it.mid.as_str());
                assert!(
                    place.any(|media| media.mid() == mid),
                    "{mid:?} at its place"
                );
            }
            self.check_places(side, &descriptions);
            self.sides[side].checked = Some(descriptions);
        }
        for it in &media {
            let seen = transceivers
                .iter()
                .find(|seen| seen.id == it.transceiver_id)
                .unwrap();
            let sends = matches!(seen.current, Some(Sendrecv | Sendonly));
            assert_eq!(
                it.send.is_some(),
                sends && seen.direction != Stopped,
                "{it:?} {seen:?}"
            );
            let receives = matches!(seen.current, Some(Sendrecv | Recvonly));
            if receives && seen.direction != Stopped {
                assert!(it.receive.is_some(), "{it:?} {seen:?}");
            }
        }
        let mut sources = BTreeSet::new();
        for send in media.iter().filter_map(|it| it.send.as_ref()) {
            for encoding in &send.encodings {
                assert!(sources.insert(encoding.ssrc), "a source is used once");
                assert!(encoding.rtx.is_none_or(|rtx| sources.insert(rtx)));
            }
        }
        for it in &transceivers {
            let receiver = self
                .connection(side)
                .rtp_receiver(it.id.receiver_id())
                .unwrap();
            let track = receiver.track().unwrap().track_id().clone();
            let told = self.sides[side].tracks.get(&track);
            let own = told.filter(|(receiver, _)| *receiver == it.id.receiver_id());
            let life = own.map(|(_, life)| *life);
            if it.direction == Stopped {
                assert!(matches!(life, None | Some(Life::Closed)), "{it:?} {life:?}");
            } else if signaling == RTCSignalingState::Stable {
                let receives = matches!(it.current, Some(Sendrecv | Recvonly));
                assert_eq!(life == Some(Life::Open), receives, "{it:?} {life:?}");
            }
        }
        let generation = self.connection(side).media_generation();
        assert!(generation >= self.sides[side].generation);
        self.sides[side].generation = generation;
    }

    /// M-sections keep their places; only one that is out of use gives its place away.
    fn check_places(&mut self, side: usize, descriptions: &[Option<RTCSessionDescription>; 4]) {
        let [Some(local), _, Some(remote), _] = descriptions else {
            return;
        };
        let (local, remote) = (parsed(local), parsed(remote));
        assert_eq!(local.media.len(), remote.media.len());
        let places: Vec<(String, bool)> = local
            .media
            .iter()
            .zip(&remote.media)
            .map(|(ours, theirs)| {
                assert_eq!(ours.mid(), theirs.mid());
                let in_use = !ours.is_rejected() && !theirs.is_rejected();
                (ours.mid().unwrap().to_owned(), in_use)
            })
            .collect();
        let before = std::mem::take(&mut self.sides[side].places);
        assert!(places.len() >= before.len());
        for ((mid, _), (old, was_in_use)) in places.iter().zip(&before) {
            assert!(mid == old || !was_in_use, "{old} became {mid}");
        }
        self.sides[side].places = places;
        for sdp in [&local, &remote] {
            check_numbers(sdp);
        }
    }

    /// When nothing is under way both sides see the same.
    fn check_agreement(&mut self) {
        if !self.is_quiet() {
            return;
        }
        self.agreements += 1;
        let [a, b] = [A, B].map(|side| snapshot(self.connection(side)));
        let of = |snapshot: &Snapshot| -> BTreeMap<String, Seen> {
            let seen = snapshot.transceivers.iter();
            seen.filter_map(|it| Some((it.mid.clone()?, it.clone())))
                .collect()
        };
        let (seen_a, seen_b) = (of(&a), of(&b));
        assert_eq!(
            seen_a.keys().collect::<Vec<_>>(),
            seen_b.keys().collect::<Vec<_>>(),
            "both have the same m-sections in use"
        );
        for (mid, one) in &seen_a {
            let other = &seen_b[mid];
            assert_eq!(one.kind, other.kind);
            let reversed = |it: RTCRtpTransceiverDirection| match it {
                Sendonly => Recvonly,
                Recvonly => Sendonly,
                other => other,
            };
            assert_eq!(one.current, other.current.map(reversed), "{mid}");
            let media = |snapshot: &Snapshot| {
                let mut all = snapshot.media.iter();
                all.find(|it| it.mid == *mid).unwrap().clone()
            };
            let (media_a, media_b) = (media(&a), media(&b));
            assert_eq!(media_a.mline_index, media_b.mline_index);
            check_flow(&media_a, &media_b);
            check_flow(&media_b, &media_a);
        }
    }

    /// Does what is needed until nothing is, and checks that nothing was forgotten.
    fn settle(&mut self) {
        self.log.push("settle".to_owned());
        for _ in 0..20 {
            self.converge();
            for side in [A, B] {
                self.observe(side);
            }
            self.check_agreement();
            let Some(side) = [A, B].into_iter().find(|side| self.sides[*side].needed) else {
                break;
            };
            self.offer_now(side);
        }
        assert!(
            !self.sides[A].needed && !self.sides[B].needed,
            "needs are met"
        );
        assert!(self.agreements > 0);
        let [a, b] = [A, B].map(|side| snapshot(self.connection(side)).transceivers);
        assert_eq!(a.len(), b.len(), "everything has an m-section: {a:?} {b:?}");
        for one in &a {
            assert_ne!(one.direction, Stopped, "what has stopped is forgotten");
            let other = b.iter().find(|it| it.mid == one.mid).unwrap();
            let flows = |direction: RTCRtpTransceiverDirection| match direction {
                Sendrecv => Direction::SendRecv,
                Sendonly => Direction::SendOnly,
                Recvonly => Direction::RecvOnly,
                _ => Direction::Inactive,
            };
            let expected = flows(one.direction).intersection(flows(other.direction).reversed());
            assert_eq!(one.current.map(flows), Some(expected), "{one:?} {other:?}");
        }
        for (side, seen) in [(A, &a), (B, &b)] {
            for it in seen {
                let mid = it.mid.clone();
                let theirs = [&b, &a][side].iter().find(|it| it.mid == mid).unwrap();
                let receiver = theirs.id.receiver_id();
                let receiver = self.connection(1 - side).rtp_receiver(receiver).unwrap();
                let streams = receiver.streams().to_vec();
                if matches!(it.current, Some(Sendrecv | Sendonly)) {
                    assert_eq!(streams, it.streams, "the peer knows the streams");
                } else {
                    assert!(streams.is_empty());
                }
            }
        }
    }
}

/// What one side sends is what the other expects.
fn check_flow(from: &NegotiatedMedia, to: &NegotiatedMedia) {
    let (Some(send), Some(receive)) = (&from.send, &to.receive) else {
        return;
    };
    assert!(!send.codecs.is_empty());
    assert_eq!(
        send.codecs, receive.codecs,
        "codecs, payload types and retransmission"
    );
    assert_eq!(send.header_extensions, receive.header_extensions);
    assert_eq!(send.reduced_size_rtcp, receive.reduced_size_rtcp);
    let rids: Vec<&str> = send
        .encodings
        .iter()
        .filter_map(|it| it.rid.as_deref())
        .collect();
    let layers: Vec<&str> = receive.layers.iter().map(|it| it.rid.as_str()).collect();
    assert_eq!(rids, layers);
    if rids.is_empty() {
        let [encoding] = &send.encodings[..] else {
            panic!("{send:?}")
        };
        let [source] = &receive.sources[..] else {
            panic!("{receive:?}")
        };
        assert_eq!(source.ssrc, encoding.ssrc);
        assert!(encoding.rtx.is_none() || encoding.rtx == source.rtx);
    }
}

/// In a description a number has one meaning.
fn check_numbers(sdp: &SessionDescription) {
    let mut codecs: BTreeMap<u8, RtpMap> = BTreeMap::new();
    let mut extensions: BTreeMap<u16, String> = BTreeMap::new();
    for media in &sdp.media {
        for map in media.all::<RtpMap>().map(Result::unwrap) {
            let known = codecs
                .entry(map.payload_type)
                .or_insert_with(|| map.clone());
            assert_eq!(known.encoding, map.encoding);
        }
        for extension in media.all::<ExtMap>().map(Result::unwrap) {
            let known = extensions
                .entry(extension.id)
                .or_insert_with(|| extension.uri.clone());
            assert_eq!(*known, extension.uri);
        }
    }
}
