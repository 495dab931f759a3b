//! `data-echo` and the cases that are `data-echo` under another condition.

use std::time::Duration;

use rtc::data_channel::RTCDataChannelMessage;
use rtc::peer_connection::configuration::RTCOfferOptions;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc_interop::args::Role;

use crate::agent::{Agent, after as pause};
use crate::cases::data::{noise, reliable};
use crate::channel::Channel;
use crate::failure::{Failure, check};

const SIZES: [usize; 9] = [0, 1, 1000, 1200, 1201, 16384, 65535, 65536, 262_144];

/// Both roles of `data-echo`.
pub(crate) async fn play(agent: &Agent) -> Result<(), Failure> {
    match agent.role() {
        Role::Offer => {
            let channel = open(agent).await?;
            exchange_all(agent, &channel, messages(agent)).await
        }
        Role::Answer => {
            let channel = accept(agent).await?;
            echo_until_done(agent, &channel).await
        }
    }
}

/// Both roles of `no-trickle`.
pub(crate) async fn no_trickle(agent: &Agent) -> Result<(), Failure> {
    play(agent).await?;
    let candidates = attributes(&agent.remote_sdp(), "candidate").count();
    check!(candidates > 0, "the peer's description has no candidate");
    check!(agent.trickled_in.get() == 0, "the peer trickled");
    Ok(())
}

/// Both roles of `ice-lite`; the answerer is the lite one by its configuration.
pub(crate) async fn ice_lite(agent: &Agent) -> Result<(), Failure> {
    play(agent).await?;
    let sdp = match agent.role() {
        Role::Offer => agent.remote_sdp(),
        Role::Answer => agent.local_sdp(),
    };
    let mut session = sdp.lines().take_while(|line| !line.starts_with("m="));
    check!(
        session.any(|line| line == "a=ice-lite"),
        "the answerer is not lite"
    );
    Ok(())
}

/// Both roles of `ice-restart`.
pub(crate) async fn ice_restart(agent: &Agent) -> Result<(), Failure> {
    match agent.role() {
        Role::Offer => {
            let channel = open(agent).await?;
            let mut first = messages(agent);
            let rest = first.split_off(3);
            exchange_all(agent, &channel, first).await?;
            let before = [ufrag(&agent.local_sdp()), ufrag(&agent.remote_sdp())];
            agent
                .offer(Some(RTCOfferOptions { ice_restart: true }))
                .await?;
            let after = [ufrag(&agent.local_sdp()), ufrag(&agent.remote_sdp())];
            check!(before[0] != after[0], "the own ufrag stayed");
            check!(before[1] != after[1], "the peer's ufrag stayed");
            exchange_all(agent, &channel, rest).await?;
            agent.step("waiting for a pair of the new generation");
            while agent.selected_ufrag().as_ref() != Some(&after[0]) {
                pause(Duration::from_millis(20)).await;
            }
            channel.exchange("after the restart".into()).await?;
        }
        Role::Answer => {
            let channel = accept(agent).await?;
            echo_until_done(agent, &channel).await?;
            let offers = agent.remote_offers.borrow();
            let [first, second] = offers.as_slice() else {
                return Err(Failure::Failed(format!("{} offers came", offers.len())));
            };
            check!(ufrag(first) != ufrag(second), "the offerer's ufrag stayed");
            check!(channel.received() > 3, "no message came after the restart");
            let (used, own) = (agent.selected_ufrag(), ufrag(&agent.local_sdp()));
            check!(
                used.as_ref() == Some(&own),
                "the pair in use is of the generation {used:?}"
            );
        }
    }
    let states = agent.states.borrow();
    let connected = states
        .iter()
        .filter(|&&state| state == RTCPeerConnectionState::Connected);
    check!(
        connected.count() == 1,
        "the connection went through {states:?}"
    );
    Ok(())
}

/// Opens the channel `echo` and connects.
pub(crate) async fn open(agent: &Agent) -> Result<Channel<'_>, Failure> {
    let mut init = reliable();
    "p1".clone_into(&mut init.protocol);
    let channel = agent.channel("echo", init)?;
    agent.offer(None).await?;
    channel.opened().await?;
    Ok(channel)
}

/// Takes the channel `echo` and checks its parameters.
async fn accept(agent: &Agent) -> Result<Channel<'_>, Failure> {
    let channel = agent.incoming().await?;
    let parameters = channel.parameters();
    check!(
        parameters.label == "echo",
        "the channel's label is {}",
        parameters.label
    );
    check!(
        parameters.protocol == "p1",
        "the channel's protocol is {}",
        parameters.protocol
    );
    check!(parameters.ordered, "the channel is not ordered");
    check!(
        parameters.max_retransmits.is_none() && parameters.max_packet_life_time.is_none(),
        "the channel is not reliable"
    );
    Ok(channel)
}

async fn exchange_all(
    agent: &Agent,
    channel: &Channel<'_>,
    messages: Vec<RTCDataChannelMessage>,
) -> Result<(), Failure> {
    for message in messages {
        channel.exchange(message).await?;
    }
    agent.detail("messages", channel.received());
    Ok(())
}

async fn echo_until_done(agent: &Agent, channel: &Channel<'_>) -> Result<(), Failure> {
    tokio::select! {
        ended = channel.echo() => {
            ended?;
            agent.wait_peer_done().await;
        }
        () = agent.wait_peer_done() => {}
    }
    check!(channel.received() > 0, "no message came");
    agent.detail("messages", channel.received());
    Ok(())
}

/// The messages of `data-echo`, as far as both sides take them.
fn messages(agent: &Agent) -> Vec<RTCDataChannelMessage> {
    let (local, remote) = (agent.local_sdp(), agent.remote_sdp());
    let limit = max_message_size(&local).min(max_message_size(&remote));
    agent.detail("max_message_size", limit);
    let sizes = SIZES.into_iter().filter(|&size| size <= limit);
    sizes
        .flat_map(|size| [text(size).into(), noise(size).into()])
        .collect()
}

/// A text of `size` bytes, of characters of one to four bytes.
fn text(size: usize) -> String {
    "aé€😀".repeat(size / 10) + &"x".repeat(size % 10)
}

/// The values of all `a=name:` lines.
pub(crate) fn attributes<'a>(sdp: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    sdp.lines()
        .filter_map(|line| line.strip_prefix("a="))
        .filter_map(move |line| line.strip_prefix(name))
        .filter_map(|rest| rest.strip_prefix(':'))
}

fn ufrag(sdp: &str) -> String {
    attributes(sdp, "ice-ufrag")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The biggest message the author of this SDP takes (RFC 8841 section 6.1: absent is 64 KiB, 0 is
/// no limit).
fn max_message_size(sdp: &str) -> usize {
    match attributes(sdp, "max-message-size").next().map(str::parse) {
        Some(Ok(0)) => usize::MAX,
        Some(Ok(size)) => size,
        Some(Err(_)) | None => 65536,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_size_asked_for() {
        for size in SIZES {
            assert_eq!(text(size).len(), size);
        }
    }

    #[test]
    fn message_size_limits_are_read_as_rfc_8841_says() {
        assert_eq!(max_message_size("a=mid:0\r\n"), 65536);
        assert_eq!(max_message_size("a=max-message-size:0\r\n"), usize::MAX);
        assert_eq!(max_message_size("a=max-message-size:1234\r\n"), 1234);
    }
}
