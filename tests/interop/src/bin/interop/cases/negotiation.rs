//! The cases that negotiate more than once, or both ways at once.

use rtc::peer_connection::state::RTCSignalingState;
use rtc::rtp_transceiver::RTCRtpTransceiverDirection::Sendrecv;
use rtc::rtp_transceiver::RtpCodecKind::{self, Audio, Video};
use rtc_driver::RtpTransceiver;
use rtc_interop::args::Role;

use crate::agent::Agent;
use crate::cases::data::reliable;
use crate::cases::media;
use crate::channel::Channel;
use crate::failure::{Failure, check};

/// Packets that are media flowing, for the offerer and for the answerer.
const OFFERER_FLOW: usize = 50;
const ANSWERER_FLOW: usize = 20;

/// Both roles of `data-late`.
pub(crate) async fn data_late(agent: &Agent) -> Result<(), Failure> {
    match agent.role() {
        Role::Offer => {
            let audio = media::add(agent, Audio, Sendrecv)?;
            agent.offer(None).await?;
            media::more(agent, &audio, ANSWERER_FLOW, 0).await;
            let channel = agent.channel("late", reliable())?;
            agent.offer(None).await?;
            channel.opened().await?;
            channel.exchange("late".into()).await
        }
        Role::Answer => {
            let channel = agent.incoming().await?;
            let label = channel.label();
            check!(label == "late", "the channel's label is {label}");
            let offers = agent.remote_offers.borrow().len();
            check!(offers == 2, "{offers} offers came");
            let message = channel.next().await?;
            channel.send(message).await?;
            agent.wait_peer_done().await;
            let received = channel.received();
            check!(received == 1, "{received} messages came");
            Ok(())
        }
    }
}

/// Both roles of `renegotiate`.
pub(crate) async fn renegotiate(agent: &Agent) -> Result<(), Failure> {
    let steps = match agent.role() {
        Role::Offer => renegotiate_offer(agent).await?,
        Role::Answer => renegotiate_answer(agent).await?,
    };
    agent.detail("steps", steps - 1);
    Ok(())
}

async fn renegotiate_offer(agent: &Agent) -> Result<u32, Failure> {
    let channel = agent.channel("data", reliable())?;
    let mut steps = 0;
    offer_step(agent, &channel, &mut steps, &[]).await?;
    let audio = media::add(agent, Audio, Sendrecv)?;
    offer_step(agent, &channel, &mut steps, &[Audio]).await?;
    media::add(agent, Video, Sendrecv)?;
    offer_step(agent, &channel, &mut steps, &[Audio, Video]).await?;
    audio.stop()?;
    offer_step(agent, &channel, &mut steps, &[Video]).await?;
    let sections = sections(&agent.remote_sdp());
    let rejected = sections
        .get(1)
        .is_some_and(|it| it.starts_with("m=audio 0 "));
    check!(rejected, "the audio is not rejected: {sections:?}");
    media::add(agent, Audio, Sendrecv)?;
    offer_step(agent, &channel, &mut steps, &[Audio, Video]).await?;
    let sections = self::sections(&agent.local_sdp());
    check!(sections.len() == 3, "the m-lines are {sections:?}");
    Ok(steps)
}

/// Offers, and waits for media of these kinds and for the peer to have as much.
async fn offer_step(
    agent: &Agent,
    channel: &Channel<'_>,
    steps: &mut u32,
    kinds: &[RtpCodecKind],
) -> Result<(), Failure> {
    agent.offer(None).await?;
    if *steps == 0 {
        channel.opened().await?;
    }
    let receiving = media::receiving(agent);
    let mut got: Vec<_> = receiving.iter().map(RtpTransceiver::kind).collect();
    got.sort_unstable();
    check!(got == kinds, "step {steps}: {got:?} is to arrive");
    for it in receiving {
        media::more(agent, &it, OFFERER_FLOW, 0).await;
    }
    channel.exchange(format!("step {steps}").into()).await?;
    *steps += 1;
    Ok(())
}

async fn renegotiate_answer(agent: &Agent) -> Result<u32, Failure> {
    let channel = agent.incoming().await?;
    let mut steps = 0;
    loop {
        agent.step(format!("waiting for step {steps}"));
        let message = tokio::select! {
            message = channel.next() => message?,
            () = agent.peer_done() => break,
        };
        let text = message.as_str().unwrap_or_default();
        check!(
            text == format!("step {steps}"),
            "{text} came as step {steps}"
        );
        for it in media::receiving(agent) {
            media::more(agent, &it, ANSWERER_FLOW, 0).await;
        }
        channel.send(message).await?;
        steps += 1;
    }
    check!(steps == 5, "{steps} steps came");
    Ok(steps)
}

/// Both roles of `perfect`: both offer at once, the answerer gives way.
pub(crate) async fn perfect(agent: &Agent) -> Result<(), Failure> {
    let track = agent.pc.add_track(media::track(Audio))?;
    agent.media.feed(track, &[]);
    agent.send_offer(None).await?;
    agent.read_lines();
    agent.step("waiting for stable");
    while agent.pc.signaling_state() != RTCSignalingState::Stable
        || agent.pc.current_remote_description().is_none()
    {
        agent.media.tick().await;
    }
    media::flows(agent, &[Audio]).await?;
    let state = agent.pc.signaling_state();
    check!(state == RTCSignalingState::Stable, "the state is {state}");
    let ignored = agent.ignored_offers.get();
    let wanted = u32::from(agent.role() == Role::Offer);
    check!(ignored == wanted, "{ignored} offers were ignored");
    let sections = sections(&agent.local_sdp());
    check!(sections.len() == 1, "the m-lines are {sections:?}");
    Ok(())
}

fn sections(sdp: &str) -> Vec<String> {
    let lines = sdp.lines().filter(|line| line.starts_with("m="));
    lines.map(str::to_owned).collect()
}
