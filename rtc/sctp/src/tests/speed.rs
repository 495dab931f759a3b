//! A measurement, not a test: `cargo test --release -p rtc-sctp -- --ignored --nocapture speed`.

use super::*;

/// Moves messages from one association to another, in batches of packets as a socket gives them,
/// and prints what that takes.
fn measure(length: usize, total: usize, zero_checksum: bool) {
    let mut config = Config::default();
    config.zero_checksum = zero_checksum;
    let mut sim = Sim::connected([config.clone(), config]);
    let now = sim.now;
    let [a, b] = &mut sim.ends;
    let count = total / length;
    let payload = Bytes::from(vec![7; length]);
    let (mut sent, mut received, mut packets) = (0, 0, 0);
    let mut buffer = Vec::with_capacity(64 * 1200);
    let mut back = Vec::new();
    let start = some_instant();
    while received < count {
        while sent < count && a.total_buffered() < 256 * 1024 {
            let payload = match length {
                0..=1024 => Bytes::copy_from_slice(&payload),
                _ => payload.clone(),
            };
            a.send(0, 53, payload, SendOptions::default()).unwrap();
            sent += 1;
        }
        // One arena per batch, as a receive loop would have.
        buffer.clear();
        let mut lengths = [0; 50];
        let mut batch = 0;
        while let Some(slot) = lengths.get_mut(batch)
            && let Some(length) = a.poll_transmit(now, &mut buffer, 1200)
        {
            *slot = length;
            batch += 1;
        }
        let mut arena = BytesMut::from(&buffer[..]);
        for &length in &lengths[..batch] {
            b.handle_packet(now, arena.split_to(length));
        }
        packets += batch;
        while let Some(message) = b.read() {
            assert_eq!(message.payload.len(), length);
            received += 1;
        }
        back.clear();
        while let Some(length) = b.poll_transmit(now, &mut back, 1200) {
            a.handle_packet(now, BytesMut::from(&back[back.len() - length..]));
        }
        while a.poll_event().is_some() {}
    }
    let seconds = (some_instant() - start).as_secs_f64();
    println!(
        "{length:>6} bytes{}: {:.0} MB/s, {:.2} M messages/s, {packets} packets",
        if zero_checksum { "" } else { ", CRC" },
        (count * length) as f64 / seconds / 1e6,
        count as f64 / seconds / 1e6,
    );
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    for _ in 0..3 {
        measure(16 * 1024, 2_000_000_000, true);
        measure(16 * 1024, 1_000_000_000, false);
        measure(1000, 1_000_000_000, true);
        measure(64, 200_000_000, true);
    }
}
