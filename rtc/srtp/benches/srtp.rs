//! Packets of 1200 bytes through each profile, and the primitives below them.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking"
)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rtc_crypto::{BlockCipherAlgorithm, HmacAlgorithm, default_provider};
use rtc_srtp::{MasterKey, Profile, ReceiveContext, SendContext};

const LENGTH: usize = 1200;

fn packets(c: &mut Criterion) {
    let provider = default_provider();
    for profile in Profile::ALL {
        let mut group = c.benchmark_group(profile.name());
        group.throughput(Throughput::Elements(1));
        let key = vec![7; profile.key_len()];
        let salt = vec![9; profile.salt_len()];
        let key = MasterKey::new(profile, &key, &salt).unwrap();

        let mut sender = SendContext::new(&key, provider).unwrap();
        let mut buffer = packet();
        let mut sequence_number = 0_u16;
        group.bench_function("protect_rtp", |b| {
            b.iter(|| {
                buffer[2..4].copy_from_slice(&sequence_number.to_be_bytes());
                sequence_number = sequence_number.wrapping_add(1);
                sender.protect_rtp(&mut buffer, LENGTH).unwrap()
            });
        });

        let mut sender = SendContext::new(&key, provider).unwrap();
        let mut receiver = ReceiveContext::new(&key, provider).unwrap();
        let mut sequence_number = 0_u16;
        group.bench_function("unprotect_rtp", |b| {
            b.iter_batched_ref(
                || {
                    let mut packet = packet();
                    packet[2..4].copy_from_slice(&sequence_number.to_be_bytes());
                    sequence_number = sequence_number.wrapping_add(1);
                    let length = sender.protect_rtp(&mut packet, LENGTH).unwrap();
                    packet.truncate(length);
                    packet
                },
                |packet| receiver.unprotect_rtp(packet).unwrap(),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

fn primitives(c: &mut Criterion) {
    let provider = default_provider();
    let mut group = c.benchmark_group("primitives");
    group.throughput(Throughput::Bytes(LENGTH as u64));
    let mut data = packet();
    let aes = provider.block_cipher(BlockCipherAlgorithm::Aes128).unwrap();
    let aes = aes.key(&[7; 16]).unwrap();
    group.bench_function("AES-128-CTR", |b| {
        b.iter(|| aes.ctr_apply(&[9; 16], &mut data[..LENGTH]));
    });
    let hmac = provider.hmac(HmacAlgorithm::Sha1).unwrap().key(&[7; 20]);
    group.bench_function("HMAC-SHA1", |b| {
        b.iter(|| hmac.sign(&[&data[..LENGTH], &[0; 4]]));
    });
    group.finish();
}

/// A packet of one source, and room for a tag behind it.
fn packet() -> Vec<u8> {
    let mut packet = vec![0x55; LENGTH + 16];
    packet[..12].copy_from_slice(&[0x80, 111, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    packet
}

criterion_group!(benches, packets, primitives);
criterion_main!(benches);
