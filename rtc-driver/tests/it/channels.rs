//! Messages over data channels.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt, future};
use rtc::data_channel::{RTCDataChannelInit, RTCDataChannelState};
use rtc_driver::test::Link;
use rtc_driver::{DataChannel, DataChannelMessage, Error, SendError, TrySendError, rtc};

use crate::scene::{Flag, Scene, bytes, connect, open, poll_once};

/// Sends `data` in messages of 16 KiB and reads it at the other end.
async fn transfer(from: &DataChannel, to: &DataChannel, data: &[u8]) {
    let send = async {
        for chunk in data.chunks(16 * 1024) {
            from.send(chunk).await.unwrap();
        }
    };
    let recv = async {
        let mut received = Vec::new();
        while received.len() < data.len() {
            received.extend_from_slice(&to.recv().await.unwrap().unwrap().data);
        }
        received
    };
    let ((), received) = future::join(send, recv).await;
    assert!(received == data, "the data arrived changed");
}

#[test]
fn messages_arrive_whole_and_in_order_in_both_directions() {
    let world = Scene::new();
    world.run(async {
        let (here, there) = world.channel().await;
        assert_eq!(there.label(), "test");
        here.send("one").await.unwrap();
        here.send(vec![2, 2]).await.unwrap();
        here.send("").await.unwrap();
        assert_eq!(there.recv().await.unwrap().unwrap().as_str(), Some("one"));
        assert_eq!(
            there.recv().await,
            Some(Ok(DataChannelMessage::from(vec![2, 2])))
        );
        assert_eq!(there.recv().await, Some(Ok(DataChannelMessage::from(""))));
        there.send("back").await.unwrap();
        assert_eq!(here.recv().await, Some(Ok("back".into())));
    });
}

#[test]
fn a_message_sent_before_the_channel_opens_waits() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let here = alice.create_data_channel("early", None).unwrap();
        assert_eq!(here.try_send("no"), Err(TrySendError::NotOpen("no".into())));
        let (sent, ()) = future::join(here.send("first"), connect(&alice, &bob)).await;
        sent.unwrap();
        let there = bob.data_channels().next().await.unwrap();
        assert_eq!(there.recv().await, Some(Ok("first".into())));
    });
}

#[test]
fn a_large_transfer_is_carried_in_batches() {
    let world = Scene::new();
    world.run(async {
        let (here, there) = world.channel().await;
        transfer(&here, &there, &bytes(4 << 20)).await;
    });
    let (a, b) = (world.a.socket_calls(), world.b.socket_calls());
    assert_eq!(a.largest_batch, 16);
    let sends = a.sends + b.sends;
    assert!(sends < 2_000, "{sends} send calls for 4 MiB");
}

#[test]
fn a_transfer_survives_loss() {
    let world = Scene::new();
    world.run(async {
        let (here, there) = world.channel().await;
        world.set_default_link(Link::default().with_loss(0.02));
        transfer(&here, &there, &bytes(1 << 20)).await;
    });
}

#[test]
fn a_sender_waits_for_a_reader_that_does_not_read() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair_with(|setting| setting.sctp_receive_window = 512 * 1024);
        let (here, there) = open(&alice, &bob).await;
        let data = bytes(16 * 1024);
        let mut sent = 0;
        loop {
            let quiet = world.sleep(Duration::from_secs(10));
            match future::select(here.send(&data[..]), quiet).await {
                future::Either::Left((result, _)) => result.unwrap(),
                future::Either::Right(_) => break,
            }
            sent += 1;
        }
        let held = sent * data.len();
        assert!(
            held < 2 << 20,
            "{held} bytes are held for a reader that does not read"
        );
        assert!(here.buffered_amount() >= 256 * 1024);
        assert!(matches!(
            here.try_send(&data[..]),
            Err(TrySendError::Full(_))
        ));
        // The cancelled send was not sent; everything else arrives once somebody reads.
        for _ in 0..sent {
            assert_eq!(there.recv().await.unwrap().unwrap().data, data);
        }
        here.send("last").await.unwrap();
        assert_eq!(there.recv().await, Some(Ok("last".into())));
    });
}

#[test]
fn every_blocked_channel_goes_on() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair_with(|setting| setting.sctp_send_buffer = 512 * 1024);
        let channels: Vec<_> = (0..8)
            .map(|id| {
                let init = || RTCDataChannelInit {
                    negotiated: Some(id),
                    ..RTCDataChannelInit::default()
                };
                let here = alice.create_data_channel("many", init()).unwrap();
                (here, bob.create_data_channel("many", init()).unwrap())
            })
            .collect();
        connect(&alice, &bob).await;
        let data = bytes(1 << 20);
        future::join_all(
            channels
                .iter()
                .map(|(here, there)| transfer(here, there, &data)),
        )
        .await;
    });
}

#[test]
fn a_dropped_recv_loses_nothing_and_a_dropped_send_sends_nothing() {
    let world = Scene::new();
    world.run(async {
        let (here, there) = world.channel().await;
        let flag = Arc::default();
        for _ in 0..3 {
            assert!(poll_once(pin!(there.recv()), &flag).is_pending());
        }
        here.send("kept").await.unwrap();
        assert_eq!(there.recv().await, Some(Ok("kept".into())));
        assert_eq!(flag.take(), 0, "a future that is gone was woken");

        drop(here.send("never"));
        let full = std::iter::repeat_with(|| here.try_send(bytes(16_384)))
            .take_while(Result::is_ok)
            .count();
        assert!(poll_once(pin!(here.send("neither")), &flag).is_pending());
        for _ in 0..full {
            there.recv().await.unwrap().unwrap();
        }
        here.send("but this").await.unwrap();
        assert_eq!(there.recv().await, Some(Ok("but this".into())));
    });
}

#[test]
fn a_reader_is_woken_once_and_by_its_latest_waker() {
    let world = Scene::new();
    world.run(async {
        let (here, there) = world.channel().await;
        let (old, new): (Arc<Flag>, Arc<Flag>) = Default::default();
        let mut recv = pin!(there.recv());
        assert!(poll_once(recv.as_mut(), &old).is_pending());
        assert!(poll_once(recv.as_mut(), &new).is_pending());
        assert!(poll_once(recv.as_mut(), &new).is_pending());
        here.send("x").await.unwrap();
        here.send("y").await.unwrap();
        world.sleep(Duration::from_secs(1)).await;
        assert_eq!((old.take(), new.take()), (0, 1));
        assert!(poll_once(recv, &new).is_ready());
    });
}

#[test]
fn buffered_amount_low_waits_for_its_threshold() {
    let world = Scene::new();
    world.run(async {
        let (here, there) = world.channel().await;
        here.set_buffered_amount_low_threshold(50_000);
        here.buffered_amount_low().await.unwrap();
        while here.try_send(bytes(16_384)).is_ok() {}
        assert!(here.buffered_amount() > 200_000);
        here.buffered_amount_low().await.unwrap();
        assert!(here.buffered_amount() <= 50_000);
        drop(there);
    });
}

#[test]
fn closing_a_channel_delivers_what_was_sent_and_ends_both_streams() {
    let world = Scene::new();
    world.run(async {
        let (here, there) = world.channel().await;
        let data = bytes(200_000);
        here.send(&data[..]).await.unwrap();
        here.close();
        assert_eq!(here.send("late").await, Err(SendError::Closed));
        let message = "late".into();
        assert_eq!(
            here.try_send("late"),
            Err(TrySendError::Refused {
                error: SendError::Closed,
                message
            })
        );
        assert_eq!(there.recv().await.unwrap().unwrap().data, data);
        assert_eq!(there.recv().await, None);
        assert_eq!(here.recv().await, None);
        assert_eq!(there.ready_state(), RTCDataChannelState::Closed);
        assert_eq!(there.opened().await, Err(Error::Closed));
    });
}

#[test]
fn a_message_that_the_peer_does_not_take_is_refused() {
    let world = Scene::new();
    world.run(async {
        let (here, there) = world.channel().await;
        let max = here.max_message_size();
        assert_eq!(
            here.send(vec![0; max + 1]).await,
            Err(SendError::TooLarge { max })
        );
        here.send(vec![7; max]).await.unwrap();
        assert_eq!(there.recv().await.unwrap().unwrap().data.len(), max);
    });
}

#[test]
fn a_channel_is_a_stream_and_a_sink() {
    let world = Scene::new();
    world.run(async {
        let (mut here, there) = world.channel().await;
        let messages = 100;
        let send = async {
            let mut all =
                futures_util::stream::iter((0..messages).map(|_| Ok(bytes(10_000).into())));
            here.send_all(&mut all).await.unwrap();
            SinkExt::<DataChannelMessage>::close(&mut here)
                .await
                .unwrap();
        };
        let (count, ()) = future::join(there.clone().count(), send).await;
        assert_eq!(count, messages);
    });
}

#[test]
fn a_channel_is_a_stream_of_bytes() {
    let world = Scene::new();
    world.run(async {
        let (here, there) = world.channel().await;
        let (mut here, mut there) = (here.into_io(), there.into_io());
        let data = bytes(1_000_000);
        let send = async {
            here.write_all(&data).await.unwrap();
            here.flush().await.unwrap();
            assert_eq!(here.channel().buffered_amount(), 0);
            here.close().await.unwrap();
        };
        let mut received = Vec::new();
        let (result, ()) = future::join(there.read_to_end(&mut received), send).await;
        result.unwrap();
        assert!(received == data);
    });
}

#[test]
fn unread_data_of_a_dropped_channel_does_not_hold_up_the_others() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair_with(|setting| setting.sctp_receive_window = 300 * 1024);
        let (here, there) = open(&alice, &bob).await;
        let other = alice.create_data_channel("other", None).unwrap();
        let other_there = bob.data_channels().next().await.unwrap();
        let send = async {
            for _ in 0..100 {
                here.send(bytes(16_384)).await.unwrap();
            }
        };
        let read = async {
            there.recv().await.unwrap().unwrap();
            drop(there);
            transfer(&other, &other_there, &bytes(1 << 20)).await;
        };
        future::join(send, read).await;
    });
}

#[test]
fn polling_after_the_end_goes_on_saying_so() {
    let world = Scene::new();
    world.run(async {
        let (here, mut there) = world.channel().await;
        here.close();
        assert_eq!(there.next().await, None);
        assert_eq!(there.next().await, None);
        let flag = Arc::default();
        assert_eq!(poll_once(pin!(there.recv()), &flag), Poll::Ready(None));
    });
}
