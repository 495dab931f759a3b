use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rtc::rtp::Packet;

use crate::{Example, HEARD, browser, media, video, wait_for_video};

#[test]
fn rtp_from_a_port_is_seen_and_heard_also_when_its_source_starts_anew() {
    let Some(mut browser) = browser() else { return };
    let ports = ["--video", "127.0.0.1:0", "--audio", "127.0.0.1:0"];
    let mut example = Example::start("rtp_forwarder", &ports);
    let video_port = example.said("video/VP8 is taken at ");
    let audio_port = example.said("audio/opus is taken at ");
    let url = example.url();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| feed("vp8.rtp", 90_000, &video_port, &is_over));
        scope.spawn(|| feed("opus.rtp", 48_000, &audio_port, &is_over));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let page = browser.open(&url).unwrap();
            wait_for_video(
                &mut browser,
                &page,
                0,
                "video.frames > 20 && video.width === 320",
            );
            browser.wait_for(&page, HEARD).unwrap();
            // The stream lasts two seconds, then another one begins.
            let (frames, _) = video(&mut browser, &page);
            let more = format!("video.frames > {}", frames + 120);
            wait_for_video(&mut browser, &page, 0, &more);
        }));
        is_over.store(true, Ordering::Relaxed);
        result.unwrap();
    });
}

/// Sends a stream at its own pace, again and again, each time as a source of its own.
fn feed(name: &str, clock_rate: u32, to: &str, is_over: &AtomicBool) {
    let file = std::fs::read(media(name)).unwrap();
    let mut packets = Vec::new();
    let mut rest = &file[..];
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (packet, tail) = tail.split_at(u16::from_be_bytes(*length).into());
        packets.push(Packet::parse(packet.to_vec()).unwrap());
        rest = tail;
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let first = packets.first().unwrap().header.timestamp;
    for ssrc in 1.. {
        let start = Instant::now();
        for packet in &mut packets {
            packet.header.ssrc = ssrc;
            let ticks = packet.header.timestamp.wrapping_sub(first);
            let due = start + Duration::from_secs_f64(f64::from(ticks) / f64::from(clock_rate));
            thread::sleep(due.saturating_duration_since(Instant::now()));
            socket.send_to(&packet.to_bytes(), to).unwrap();
            if is_over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
