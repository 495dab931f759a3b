//! The cases about data channels alone: modes, bulk, closing.

use std::rc::Rc;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use rtc::data_channel::RTCDataChannelInit;
use rtc_interop::args::Role;
use sha2::{Digest as _, Sha256};

use crate::agent::Agent;
use crate::channel::{Channel, describe};
use crate::failure::{Failure, check};

const MODE_MESSAGES: usize = 20;

const BULK_BYTES: usize = 32 << 20;
const BULK_MESSAGE: usize = 16 << 10;
const BULK_BUFFER: usize = 1 << 20;

/// A reliable ordered channel.
pub(crate) fn reliable() -> RTCDataChannelInit {
    RTCDataChannelInit::default()
}

/// The eight channels of `data-modes`.
fn modes_table() -> [(&'static str, RTCDataChannelInit); 8] {
    let mode = |ordered, max_retransmits, max_packet_life_time, negotiated| RTCDataChannelInit {
        ordered,
        max_retransmits,
        max_packet_life_time,
        negotiated,
        ..reliable()
    };
    [
        ("m0", mode(true, None, None, None)),
        ("m1", mode(false, None, None, None)),
        ("m2", mode(true, Some(0), None, None)),
        ("m3", mode(false, Some(3), None, None)),
        ("m4", mode(true, None, Some(500), None)),
        ("m5", mode(false, None, Some(100), None)),
        ("m6", mode(true, None, None, Some(100))),
        ("m7", mode(false, None, None, Some(101))),
    ]
}

/// Both roles of `data-modes`.
pub(crate) async fn modes(agent: &Agent) -> Result<(), Failure> {
    match agent.role() {
        Role::Offer => modes_offer(agent).await?,
        Role::Answer => modes_answer(agent).await?,
    }
    agent.detail("messages", modes_table().len() * MODE_MESSAGES);
    Ok(())
}

async fn modes_offer(agent: &Agent) -> Result<(), Failure> {
    let mut channels = Vec::new();
    for (label, init) in modes_table() {
        channels.push(agent.channel(label, init)?);
    }
    agent.offer(None).await?;
    for channel in &channels {
        channel.opened().await?;
    }
    // Those that give a message up after a while get the network for themselves.
    let (hasty, patient): (Vec<_>, Vec<_>) = channels
        .iter()
        .partition(|channel| channel.parameters().max_packet_life_time.is_some());
    echo_modes(agent, &patient).await?;
    for channel in hasty {
        echo_modes(agent, &[channel]).await?;
    }
    Ok(())
}

async fn echo_modes(agent: &Agent, channels: &[&Channel<'_>]) -> Result<(), Failure> {
    for channel in channels {
        for at in 0..MODE_MESSAGES {
            channel.send(format!("{} {at}", channel.label())).await?;
        }
    }
    for channel in channels {
        let label = channel.label();
        let mut want: Vec<String> = (0..MODE_MESSAGES)
            .map(|at| format!("{label} {at}"))
            .collect();
        let mut got = Vec::new();
        while got.len() < MODE_MESSAGES {
            agent.step(format!("waiting for echo {} on {label}", got.len()));
            let message = channel.next().await?;
            let text = message.as_str().unwrap_or("something that is no text");
            got.push(text.to_owned());
        }
        if !channel.parameters().ordered {
            got.sort();
            want.sort();
        }
        check!(got == want, "{label}: the echoes were {got:?}");
    }
    Ok(())
}

async fn modes_answer(agent: &Agent) -> Result<(), Failure> {
    let (agreed, announced): (Vec<_>, Vec<_>) = modes_table()
        .into_iter()
        .partition(|(_, init)| init.negotiated.is_some());
    let mut channels = Vec::new();
    for (label, init) in agreed {
        channels.push(agent.channel(label, init)?);
    }
    while channels.len() < modes_table().len() {
        let channel = agent.incoming().await?;
        let got = channel.parameters();
        let label = &got.label;
        let Some((_, want)) = announced.iter().find(|(name, _)| name == label) else {
            return Err(Failure::Failed(format!("a channel {label} was announced")));
        };
        check!(
            got.ordered == want.ordered,
            "{label}: ordered is {}",
            got.ordered
        );
        check!(
            got.max_retransmits == want.max_retransmits,
            "{label}: maxRetransmits is {:?}",
            got.max_retransmits
        );
        check!(
            got.max_packet_life_time == want.max_packet_life_time,
            "{label}: maxPacketLifeTime is {:?}",
            got.max_packet_life_time
        );
        channels.push(channel);
    }
    let echoes = try_join_all(channels.iter().map(|channel| channel.echo()));
    tokio::select! {
        ended = echoes => {
            ended?;
            agent.wait_peer_done().await;
        }
        () = agent.wait_peer_done() => {}
    }
    for channel in &channels {
        let (label, received) = (channel.label(), channel.received());
        check!(
            received == MODE_MESSAGES,
            "{label}: {received} messages came"
        );
    }
    Ok(())
}

/// Both roles of `data-bulk`.
pub(crate) async fn bulk(agent: &Agent) -> Result<(), Failure> {
    match agent.role() {
        Role::Offer => bulk_offer(agent).await,
        Role::Answer => bulk_answer(agent).await,
    }
}

async fn bulk_offer(agent: &Agent) -> Result<(), Failure> {
    let channel = agent.channel("bulk", reliable())?;
    channel
        .inner
        .set_buffered_amount_low_threshold(BULK_BUFFER / 2);
    let data = noise(BULK_BYTES);
    let digest = hex::encode(Sha256::digest(&data));
    agent.offer(None).await?;
    channel.opened().await?;
    let start = Instant::now();
    for (at, message) in data.chunks(BULK_MESSAGE).enumerate() {
        if channel.inner.buffered_amount() + BULK_MESSAGE > BULK_BUFFER {
            agent.step(format!("waiting for room after {at} messages"));
            channel.inner.buffered_amount_low().await?;
        }
        channel.send(message).await?;
    }
    channel.send(format!("sha256:{digest}")).await?;
    agent.detail("mbytes_per_s", rate(BULK_BYTES, start));
    Ok(())
}

async fn bulk_answer(agent: &Agent) -> Result<(), Failure> {
    let channel = agent.incoming().await?;
    check!(
        channel.label() == "bulk",
        "the channel's label is {}",
        channel.label()
    );
    let mut digest = Sha256::new();
    let mut length = 0;
    let mut start = None;
    let end = loop {
        agent.step(format!("waiting for data after {length} bytes"));
        let message = channel.next().await?;
        start.get_or_insert_with(Instant::now);
        if let Some(text) = message.as_str() {
            break text.to_owned();
        }
        check!(
            message.data.len() == BULK_MESSAGE,
            "{} came",
            describe(&message)
        );
        length += message.data.len();
        digest.update(&message.data);
    };
    agent.detail(
        "mbytes_per_s",
        rate(length, start.unwrap_or_else(Instant::now)),
    );
    check!(length == BULK_BYTES, "{length} bytes came");
    let digest = hex::encode(digest.finalize());
    check!(end == format!("sha256:{digest}"), "the digest differs");
    Ok(())
}

/// Millions of bytes per second, with one decimal.
fn rate(bytes: usize, start: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let megabytes = bytes as f64 / 1e6;
    (megabytes / start.elapsed().as_secs_f64() * 10.0).round() / 10.0
}

/// Both roles of `data-close`.
pub(crate) async fn close(agent: &Agent) -> Result<(), Failure> {
    match agent.role() {
        Role::Offer => close_offer(agent).await,
        Role::Answer => close_answer(agent).await,
    }
}

async fn close_offer(agent: &Agent) -> Result<(), Failure> {
    let a = agent.channel("a", reliable())?;
    let b = agent.channel("b", reliable())?;
    agent.offer(None).await?;
    a.opened().await?;
    b.opened().await?;
    a.exchange("first on a".into()).await?;
    a.inner.close();
    agent.step("waiting for a to close");
    a.closed().await;
    b.exchange("first on b".into()).await?;
    agent.step("waiting for the peer to close b");
    b.closed().await;
    let c = agent.channel("c", reliable())?;
    c.opened().await?;
    c.exchange("first on c".into()).await
}

async fn close_answer(agent: &Agent) -> Result<(), Failure> {
    let mut channels: Vec<Rc<Channel<'_>>> = Vec::new();
    let mut playing = FuturesUnordered::new();
    let (mut closed, mut done) = (0, false);
    while closed < 2 || !done {
        tokio::select! {
            channel = agent.incoming(), if channels.len() < 3 => {
                let channel = Rc::new(channel?);
                channels.push(Rc::clone(&channel));
                playing.push(close_one(channel));
                agent.step("waiting for a and b to close");
            }
            Some(ended) = playing.next() => {
                ended?;
                closed += 1;
            }
            () = agent.peer_done(), if !done => done = true,
        }
    }
    let mut labels: Vec<&str> = channels.iter().map(|channel| channel.label()).collect();
    labels.sort();
    check!(labels == ["a", "b", "c"], "channels {labels:?} came");
    for channel in &channels {
        let (label, received) = (channel.label(), channel.received());
        check!(received == 1, "{label}: {received} messages came");
    }
    Ok(())
}

/// Plays one channel of the answerer until it is closed.
async fn close_one(channel: Rc<Channel<'_>>) -> Result<(), Failure> {
    if channel.label() != "b" {
        return channel.echo().await;
    }
    let message = channel.next().await?;
    channel.send(message).await?;
    channel.inner.close();
    channel.closed().await;
    Ok(())
}

/// Bytes that do not repeat soon and do not compress.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend(words.next().unwrap_or_default());
    }
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_size_asked_for() {
        for size in [0, 1, 8, 1201] {
            assert_eq!(noise(size).len(), size);
        }
    }
}
