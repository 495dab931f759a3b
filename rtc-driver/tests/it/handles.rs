//! Events, signalling and what handles promise.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future;
use rtc::media::Sample;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::state::{
    RTCIceGatheringState, RTCPeerConnectionState, RTCSignalingState,
};
use rtc::rtp::extension::ExtensionMap;
use rtc_driver::{
    Candidates, DataChannel, DataChannelIo, DataChannels, Error, Events, Feedback, LocalTrack,
    PeerConnection, RemoteLayer, RemoteTrack, RtpTransceiver, Samples, Tracks, rtc,
};

use crate::scene::{Flag, Scene, connect, packet, poll_once};

#[test]
fn handles_and_their_futures_can_be_sent_to_threads() {
    fn shared<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn sent<T: Send + Unpin + 'static>() {}
    fn future<T: Send>(_: impl FnOnce(&'static PeerConnection, &'static DataChannel) -> T) {}
    shared::<PeerConnection>();
    shared::<DataChannel>();
    sent::<Events>();
    sent::<DataChannels>();
    sent::<Candidates>();
    sent::<DataChannelIo>();
    future(|connection, _| connection.connected());
    future(|connection, _| connection.gathering_complete());
    future(|connection, _| connection.close());
    future(|_, channel| channel.recv());
    future(|_, channel| channel.send("x"));
    future(|_, channel| channel.opened());
    future(|_, channel| channel.buffered_amount_low());
}

#[test]
fn so_can_those_of_tracks() {
    fn shared<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn sent<T: Send + Unpin + 'static>() {}
    fn future<T: Send>(_: impl FnOnce(&'static LocalTrack, &'static RemoteTrack) -> T) {}
    shared::<LocalTrack>();
    shared::<RemoteTrack>();
    shared::<RemoteLayer>();
    shared::<RtpTransceiver>();
    sent::<Tracks>();
    sent::<Feedback>();
    sent::<Samples>();
    static SAMPLE: std::sync::LazyLock<Sample> = std::sync::LazyLock::new(Sample::default);
    static MAP: std::sync::LazyLock<ExtensionMap> = std::sync::LazyLock::new(ExtensionMap::default);
    future(|here, _| here.write_rtp(packet(1)));
    future(|here, _| here.write_rtp_layer("h", packet(1)));
    future(|here, _| here.forward_rtp(packet(1), &MAP));
    future(|here, _| here.write_sample(&SAMPLE));
    future(|_, there| there.read_rtp());
    fn next<'a, F, T: Send>(_: F)
    where
        F: FnOnce(&'a mut Tracks, &'a mut Feedback, &'a mut Samples) -> T,
    {
    }
    next(|tracks, _, _| tracks.next());
    next(|_, feedback, _| feedback.next());
    next(|_, _, samples| samples.next());
}

#[test]
fn candidates_can_be_exchanged_one_by_one() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let _channel = alice.create_data_channel("x", None).unwrap();
        let (mut from_alice, mut from_bob) = (alice.ice_candidates(), bob.ice_candidates());
        let offer = alice.create_offer(None).unwrap();
        alice.set_local_description(offer.clone()).unwrap();
        bob.set_remote_description(offer).unwrap();
        let answer = bob.create_answer(None).unwrap();
        bob.set_local_description(answer.clone()).unwrap();
        alice.set_remote_description(answer).unwrap();
        let forth = async {
            let mut count = 0;
            while let Some(candidate) = from_alice.next().await {
                bob.add_ice_candidate(candidate.to_init()).unwrap();
                count += 1;
            }
            bob.add_ice_candidate(None).unwrap();
            count
        };
        let back = async {
            while let Some(candidate) = from_bob.next().await {
                alice.add_ice_candidate(candidate.to_init()).unwrap();
            }
        };
        let (count, ()) = future::join(forth, back).await;
        assert_eq!(count, 1);
        alice.connected().await.unwrap();
        bob.connected().await.unwrap();
    });
}

#[test]
fn events_come_in_order_and_end_with_the_connection() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let here = alice.create_data_channel("x", None).unwrap();
        let mut events = alice.events();
        let collect = async {
            let mut seen = Vec::new();
            while let Some(event) = events.next().await {
                seen.push(event);
            }
            seen
        };
        let act = async {
            connect(&alice, &bob).await;
            here.opened().await.unwrap();
            alice.close().await.unwrap();
        };
        let (seen, ()) = future::join(collect, act).await;
        let position = |event: RTCPeerConnectionEvent| {
            seen.iter()
                .position(|other| *other == event)
                .unwrap_or_else(|| panic!("no {event:?}"))
        };
        use RTCPeerConnectionEvent as E;
        let order = [
            position(E::OnIceGatheringStateChangeEvent(
                RTCIceGatheringState::Complete,
            )),
            position(E::OnSignalingStateChangeEvent(RTCSignalingState::Stable)),
            position(E::OnConnectionStateChangeEvent(
                RTCPeerConnectionState::Connected,
            )),
            position(E::OnDataChannel(RTCDataChannelEvent::OnOpen(here.id()))),
            position(E::OnDataChannel(RTCDataChannelEvent::OnClose(here.id()))),
        ];
        assert!(order.is_sorted(), "{seen:#?}");
        assert_eq!(alice.connection_state(), RTCPeerConnectionState::Closed);
    });
}

#[test]
fn a_channel_can_be_taken_from_its_event() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let here = alice.create_data_channel("x", None).unwrap();
        connect(&alice, &bob).await;
        here.send("hello").await.unwrap();
        here.close();
        let mut events = bob.events();
        let id = loop {
            if let RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) =
                events.next().await.unwrap()
            {
                break id;
            }
        };
        let there = bob.data_channel(id).unwrap();
        assert_eq!(there.recv().await, Some(Ok("hello".into())));
        assert_eq!(there.recv().await, None);
    });
}

#[test]
fn a_channel_that_was_closed_before_it_was_taken_still_gives_its_messages() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let here = alice.create_data_channel("x", None).unwrap();
        connect(&alice, &bob).await;
        here.send("short").await.unwrap();
        here.close();
        assert_eq!(here.recv().await, None);
        let there = bob.data_channels().next().await.unwrap();
        assert_eq!(there.recv().await, Some(Ok("short".into())));
        assert_eq!(there.recv().await, None);
    });
}

#[test]
fn waiting_futures_can_be_dropped_and_begun_again() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let _channel = alice.create_data_channel("x", None).unwrap();
        let flag: Arc<Flag> = Arc::default();
        for _ in 0..3 {
            assert!(poll_once(pin!(alice.connected()), &flag).is_pending());
            assert!(poll_once(pin!(alice.gathering_complete()), &flag).is_pending());
            assert!(poll_once(pin!(alice.events().next()), &flag).is_pending());
        }
        connect(&alice, &bob).await;
        assert_eq!(flag.take(), 0);
    });
}

#[test]
fn mistakes_are_told_apart() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let error = alice.create_answer(None).unwrap_err();
        assert!(
            matches!(error, Error::Core(rtc::Error::InvalidState(_))),
            "{error:?}"
        );
        alice.close().await.unwrap();
        assert_eq!(alice.create_offer(None).unwrap_err(), Error::Closed);
        assert_eq!(alice.connected().await, Err(Error::Closed));
        assert_eq!(alice.gathering_complete().await, Err(Error::Closed));
        drop(bob);
    });
}
