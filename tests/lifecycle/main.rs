//! Connections come and go on tokio and leave nothing behind. A program of its own, since it counts
//! what the whole process holds.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panicking and print what they count"
)]

use rtc_tokio::PeerConnection;

/// Cycles before counting begins: allocators and pools have their size then.
const WARM_UP: usize = 200;
const CYCLES: usize = 1000;

#[tokio::test]
async fn a_thousand_connections_leave_nothing_behind() {
    for _ in 0..WARM_UP {
        cycle().await;
    }
    let before = (open_files(), resident_kilobytes());
    for _ in 0..CYCLES {
        cycle().await;
    }
    let after = (open_files(), resident_kilobytes());
    println!("files and resident kB: {before:?} before, {after:?} after {CYCLES} cycles");
    assert_eq!(after.0, before.0, "sockets and other files are closed");
    // A connected peer holds more than 20 kB: ten that stay behind would show.
    assert!(
        after.1 < before.1 + 2 * CYCLES as u64,
        "memory is given back"
    );
}

/// Connects two peers, has one message echoed, closes, and waits until both drivers are gone.
async fn cycle() {
    let (alice, bob) = (peer(), peer());
    let ours = alice.create_data_channel("cycle", None).unwrap();
    alice.set_local_description(None).unwrap();
    bob.set_remote_description(alice.gathering_complete().await.unwrap())
        .unwrap();
    bob.set_local_description(None).unwrap();
    alice
        .set_remote_description(bob.gathering_complete().await.unwrap())
        .unwrap();
    ours.send("there").await.unwrap();
    let theirs = bob.data_channels().next().await.unwrap();
    let message = theirs.recv().await.unwrap().unwrap();
    theirs.send(message).await.unwrap();
    assert_eq!(ours.recv().await.unwrap().unwrap().as_str(), Some("there"));
    alice.close().await.unwrap();
    assert_eq!(theirs.recv().await, None, "the peer notices");
    drop((alice, bob, ours, theirs));
    let metrics = tokio::runtime::Handle::current().metrics();
    while metrics.num_alive_tasks() > 0 {
        tokio::task::yield_now().await;
    }
}

fn peer() -> PeerConnection {
    rtc_tokio::builder()
        .bind("127.0.0.1:0".parse().unwrap())
        .build()
        .unwrap()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}
