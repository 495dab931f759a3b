use std::net::{SocketAddr, UdpSocket};

use super::*;

fn socket() -> (UdpSocket, UdpState, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let state = UdpState::new(&socket).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, state, addr)
}

fn receive(socket: &UdpSocket, state: &UdpState) -> Vec<(Vec<u8>, RecvMeta)> {
    let mut memory = vec![0; 4 * 65_536];
    let mut bufs: Vec<_> = memory.chunks_mut(65_536).map(IoSliceMut::new).collect();
    let mut meta = [RecvMeta::default(); 4];
    let received = state.recv(socket, &mut bufs, &mut meta).unwrap();
    bufs.iter()
        .zip(meta)
        .take(received.count)
        .map(|(b, m)| (b[..m.len].to_vec(), m))
        .collect()
}

fn batch(peer: SocketAddr, segment_size: Option<usize>, contents: &[u8]) -> SendBatch<'_> {
    SendBatch {
        peer,
        local_ip: None,
        ecn: None,
        segment_size,
        contents,
    }
}

#[test]
fn a_segmented_batch_arrives_as_its_datagrams() {
    let (sender, mut sending, from) = socket();
    let (receiver, receiving, to) = socket();
    if sending.max_send_segments() < 3 {
        return; // no offloading here; the pump splits
    }
    let contents: Vec<u8> = (0..250u8).collect();
    sending
        .send(&sender, &batch(to, Some(100), &contents))
        .unwrap();
    let mut datagrams = Vec::new();
    while datagrams.len() < 3 {
        for (bytes, meta) in receive(&receiver, &receiving) {
            assert_eq!(meta.peer, from);
            datagrams.extend(bytes.chunks(meta.stride).map(<[u8]>::to_vec));
        }
    }
    assert_eq!(
        datagrams.iter().map(Vec::len).collect::<Vec<_>>(),
        [100, 100, 50]
    );
    assert_eq!(datagrams.concat(), contents);
}

#[test]
fn ecn_marks_arrive() {
    let (sender, mut sending, _) = socket();
    let (receiver, receiving, to) = socket();
    for ecn in [
        None,
        Some(EcnCodepoint::Ect0),
        Some(EcnCodepoint::Ect1),
        Some(EcnCodepoint::Ce),
    ] {
        sending
            .send(
                &sender,
                &SendBatch {
                    ecn,
                    ..batch(to, None, b"marked")
                },
            )
            .unwrap();
        assert_eq!(receive(&receiver, &receiving)[0].1.ecn, ecn);
    }
}

#[test]
fn an_empty_socket_would_block() {
    let (receiver, receiving, _) = socket();
    let mut memory = [0; 1500];
    let error = receiving
        .recv(
            &receiver,
            &mut [IoSliceMut::new(&mut memory)],
            &mut [RecvMeta::default()],
        )
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_bad_destination_does_not_end_offloading() {
    let (sender, mut sending, _) = socket();
    let (receiver, receiving, to) = socket();
    let before = sending.max_send_segments();
    sending
        .send(
            &sender,
            &batch("127.0.0.1:0".parse().unwrap(), None, b"nobody"),
        )
        .unwrap_err();
    assert_eq!(sending.max_send_segments(), before);
    sending
        .send(&sender, &batch(to, None, b"somebody"))
        .unwrap();
    assert_eq!(receive(&receiver, &receiving)[0].0, b"somebody");
}

#[test]
fn an_edge_socket_asks_the_system_only_while_it_does_not_know() {
    let (sender, mut sending, _) = socket();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = receiver.local_addr().unwrap();
    let mut receiver = EdgeSocket::new(receiver).unwrap();
    let mut memory = vec![0; 65_536];
    let mut receive = |receiver: &mut EdgeSocket<UdpSocket>| {
        let mut meta = [RecvMeta::default()];
        receiver
            .poll_recv(&mut [IoSliceMut::new(&mut memory)], &mut meta)
            .map(|result| result.map(|_| meta[0].len).unwrap())
    };
    assert_eq!(receive(&mut receiver), Poll::Pending);
    sending.send(&sender, &batch(to, None, b"one")).unwrap();
    assert_eq!(receive(&mut receiver), Poll::Pending);
    receiver.set_readable(true);
    assert_eq!(receive(&mut receiver), Poll::Ready(3));
    // The one buffer was filled, so there may be more.
    sending.send(&sender, &batch(to, None, b"three")).unwrap();
    assert_eq!(receive(&mut receiver), Poll::Ready(5));
    assert_eq!(receive(&mut receiver), Poll::Pending);
}
