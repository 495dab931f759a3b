//! The cases about the connection itself: its identity, its end, its statistics.

use std::future;
use std::time::{Duration, Instant};

use rtc::data_channel::RTCDataChannelState;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc_interop::args::Role;

use crate::agent::Agent;
use crate::cases::data::reliable;
use crate::cases::echo;
use crate::channel::Channel;
use crate::failure::{Failure, check};

/// What the answerer of `close` may take to notice.
const NOTICE: Duration = Duration::from_secs(5);

const ENDED: [RTCPeerConnectionState; 3] = [
    RTCPeerConnectionState::Closed,
    RTCPeerConnectionState::Failed,
    RTCPeerConnectionState::Disconnected,
];

/// Both roles of `bad-fingerprint`.
pub(crate) async fn bad_fingerprint(agent: &Agent) -> Result<(), Failure> {
    agent.tolerates_failure.set(true);
    match agent.role() {
        Role::Offer => {
            agent.spoils_fingerprints.set(true);
            let channel = agent.channel("echo", reliable())?;
            agent.offer(None).await?;
            agent.step("waiting for the failure");
            tokio::select! {
                _ = agent.wait_state(&ENDED) => {}
                () = agent.peer_done() => {}
                delivered = lure(&channel) => return delivered,
            }
            check!(channel.received() == 0, "a message came back");
            agent.leaves_first.set(true);
        }
        Role::Answer => {
            tokio::select! {
                biased;
                channel = agent.incoming() => {
                    check!(channel.is_err(), "a channel was opened");
                }
                _ = agent.wait_state(&[RTCPeerConnectionState::Failed]) => {}
            }
            let state = agent.pc.connection_state();
            check!(
                state == RTCPeerConnectionState::Failed,
                "the connection is {state}"
            );
        }
    }
    agent.detail("state", agent.pc.connection_state().to_string());
    Ok(())
}

/// Ends only when a message comes back, which none must.
async fn lure(channel: &Channel<'_>) -> Result<(), Failure> {
    if channel.opened().await.is_ok()
        && channel.send("must not arrive").await.is_ok()
        && channel.next().await.is_ok()
    {
        return Err(Failure::Failed("a message came back".to_owned()));
    }
    future::pending().await
}

/// The same SDP with every fingerprint's first byte changed.
pub(crate) fn spoil_fingerprints(sdp: &str) -> String {
    sdp.lines()
        .flat_map(|line| {
            [
                spoil(line).unwrap_or_else(|| line.to_owned()),
                "\r\n".into(),
            ]
        })
        .collect()
}

fn spoil(line: &str) -> Option<String> {
    let (algorithm, digits) = line.strip_prefix("a=fingerprint:")?.split_once(' ')?;
    let (first, rest) = digits.split_at_checked(2)?;
    let wrong = u8::from_str_radix(first, 16).ok()? ^ 0xFF;
    Some(format!("a=fingerprint:{algorithm} {wrong:02X}{rest}"))
}

/// Both roles of `close`.
pub(crate) async fn close(agent: &Agent) -> Result<(), Failure> {
    if agent.role() == Role::Offer {
        let channel = echo::open(agent).await?;
        channel.exchange("".into()).await?;
        agent.note_transport();
        agent.close().await;
        return Ok(());
    }
    agent.tolerates_failure.set(true);
    let channel = agent.incoming().await?;
    check!(
        channel.label() == "echo",
        "the channel's label is {}",
        channel.label()
    );
    let message = channel.next().await?;
    check!(
        message.as_str() == Some(""),
        "the first message is not the empty text"
    );
    let start = Instant::now();
    channel.send(message).await?;
    agent.step("waiting for the channel to close");
    channel.closed().await;
    let state = channel.inner.ready_state();
    check!(
        state == RTCDataChannelState::Closed,
        "the channel is {state}"
    );
    agent.step("waiting for the connection to end");
    let state = agent.wait_state(&ENDED).await;
    let elapsed = start.elapsed();
    check!(elapsed <= NOTICE, "it took {:.1} s", elapsed.as_secs_f64());
    agent.detail("seconds", (elapsed.as_secs_f64() * 1000.0).round() / 1000.0);
    agent.detail("state", state.to_string());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spoilt_fingerprints_differ_in_one_byte() {
        let sdp = "v=0\r\na=fingerprint:sha-256 0F:AB\r\na=mid:0\r\n";
        let spoilt = "v=0\r\na=fingerprint:sha-256 F0:AB\r\na=mid:0\r\n";
        assert_eq!(spoil_fingerprints(sdp), spoilt);
    }
}
