//! The core without a driver: one UDP socket, one `select!` loop, written by hand.
//!
//! Two such loops talk to each other in this program, over loopback: one offers and opens a data
//! channel, the other answers and echoes. Every part of the loop stands in [`run`].
//!
//! ```sh
//! cargo run -p rtc-examples --bin sans_io
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::data_channel::RTCDataChannelMessage;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent, RTCTrackEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Who begins.
enum Role {
    Offerer {
        offer: oneshot::Sender<RTCSessionDescription>,
        answer: oneshot::Receiver<RTCSessionDescription>,
    },
    Answerer {
        offer: oneshot::Receiver<RTCSessionDescription>,
        answer: oneshot::Sender<RTCSessionDescription>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (offer_tx, offer_rx) = oneshot::channel();
    let (answer_tx, answer_rx) = oneshot::channel();
    let offerer = run(
        "offerer",
        Role::Offerer {
            offer: offer_tx,
            answer: answer_rx,
        },
    );
    let answerer = run(
        "answerer",
        Role::Answerer {
            offer: offer_rx,
            answer: answer_tx,
        },
    );
    tokio::try_join!(offerer, answerer)?;
    Ok(())
}

async fn run(name: &str, role: Role) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let local_addr = socket.local_addr()?;
    let config = RTCConfigurationBuilder::new().build();
    let mut pc = RTCPeerConnection::new(config)?;
    pc.add_local_interface(local_addr, TransportProtocol::UDP)?;

    // Signalling: here two channels, in your program whatever you have.
    let mut answer_from_peer = None;
    match role {
        Role::Offerer { offer, answer } => {
            pc.create_data_channel("hello", None)?;
            let description = pc.create_offer(None)?;
            pc.set_local_description(description)?;
            let _ = offer.send(local_description(&pc)?);
            answer_from_peer = Some(answer);
        }
        Role::Answerer { offer, answer } => {
            pc.set_remote_description(offer.await?)?;
            let description = pc.create_answer(None)?;
            pc.set_local_description(description)?;
            let _ = answer.send(local_description(&pc)?);
        }
    }

    let mut buf = vec![0; 2000];
    loop {
        // Datagrams for the network.
        while let Some(msg) = pc.poll_write() {
            socket
                .send_to(&msg.message, msg.transport.peer_addr)
                .await?;
        }
        // What happened.
        while let Some(event) = pc.poll_event() {
            match event {
                RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => {
                    tell(name, &format!("connection is {state}"));
                    if matches!(
                        state,
                        RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed
                    ) {
                        pc.close()?;
                    }
                }
                RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) => {
                    let mine = pc
                        .data_channel(id)
                        .is_some_and(|channel| !channel.is_incoming());
                    if mine {
                        let message = RTCDataChannelMessage::from("hello, peer");
                        pc.handle_write(RTCMessage::DataChannelMessage(id, message))?;
                    }
                }
                RTCPeerConnectionEvent::OnTrack(RTCTrackEvent::OnOpen(init)) => {
                    tell(name, &format!("track {} opened", init.track_id));
                }
                _ => {}
            }
        }
        // Messages for the application.
        while let Some(message) = pc.poll_read() {
            match message {
                RTCMessage::RtpPacket(track_id, packet) => {
                    tell(
                        name,
                        &format!("{} bytes of media on {track_id}", packet.payload.len()),
                    );
                }
                RTCMessage::DataChannelMessage(channel_id, msg) => {
                    tell(
                        name,
                        &format!("received {:?}", msg.as_str().unwrap_or_default()),
                    );
                    let incoming = pc
                        .data_channel(channel_id)
                        .is_some_and(|channel| channel.is_incoming());
                    if incoming {
                        pc.handle_write(RTCMessage::DataChannelMessage(channel_id, msg))?;
                    } else {
                        pc.close()?;
                    }
                }
                _ => {}
            }
        }
        // What the handlers above had to send.
        while let Some(msg) = pc.poll_write() {
            socket
                .send_to(&msg.message, msg.transport.peer_addr)
                .await?;
        }
        if pc.is_drained() {
            return Ok(());
        }

        let deadline = pc
            .poll_timeout()
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
        tokio::select! {
            () = tokio::time::sleep_until(deadline.into()) => {
                pc.handle_timeout(Instant::now())?;
            }
            received = socket.recv_from(&mut buf) => {
                let (size, peer_addr) = received?;
                pc.handle_read(TaggedBytesMut {
                    now: Instant::now(),
                    transport: TransportContext {
                        local_addr,
                        peer_addr,
                        ecn: None,
                        transport_protocol: TransportProtocol::UDP,
                    },
                    message: BytesMut::from(buf.get(..size).unwrap_or_default()),
                })?;
            }
            answer = wait(&mut answer_from_peer) => {
                answer_from_peer = None;
                pc.set_remote_description(answer?)?;
            }
        }
    }
}

/// The peer's answer, once; for ever pending when none is awaited.
async fn wait(
    answer: &mut Option<oneshot::Receiver<RTCSessionDescription>>,
) -> std::result::Result<RTCSessionDescription, oneshot::error::RecvError> {
    match answer {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

fn local_description(pc: &RTCPeerConnection) -> Result<RTCSessionDescription> {
    pc.local_description()
        .ok_or_else(|| "no local description".into())
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn tell(name: &str, what: &str) {
    println!("{name}: {what}");
}
