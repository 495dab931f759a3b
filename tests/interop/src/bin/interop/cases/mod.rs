//! The cases, by what they are about.

pub(crate) mod connection;
mod data;
mod echo;
mod media;
mod negotiation;
mod simulcast;

use rtc::dtls::SrtpProfile;
use rtc::peer_connection::configuration::SettingEngine;
use rtc::rtp_transceiver::RtpCodecKind::{Audio, Video};
use rtc_interop::args::{Args, Case, Role};

use crate::agent::Agent;
use crate::failure::Failure;

/// Sets what the case and `--set` ask of the stack, before the connection is made.
pub(crate) fn configure(args: &Args, setting: &mut SettingEngine) -> Result<(), Failure> {
    let settings = args.settings();
    let lite_case = args.case == Case::IceLite && args.role == Role::Answer;
    setting.ice_lite = match settings.get("lite") {
        Some(value) => *value == "true",
        None => lite_case,
    };
    match args.case {
        Case::Dtls13 => return Err(Failure::Unsupported("DTLS 1.3 is not there yet")),
        Case::SrtpGcm => setting.srtp_profiles = vec![SrtpProfile::AeadAes128Gcm],
        Case::SrtpCm => setting.srtp_profiles = vec![SrtpProfile::Aes128CmHmacSha1_80],
        _ => {}
    }
    Ok(())
}

/// The share of datagrams that are to be lost each way.
pub(crate) fn drop_share(args: &Args) -> Result<f64, Failure> {
    match (args.settings().get("drop"), args.case) {
        (Some(share), _) => match share.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
            _ => Err(Failure::Failed(format!("drop={share} is no share"))),
        },
        (None, Case::Loss) => Ok(0.05),
        (None, _) => Ok(0.0),
    }
}

/// Does what the case wants done between the peer's offer and the answer to it.
pub(crate) fn prepare_answer(agent: &Agent) -> Result<(), Failure> {
    match agent.args.case {
        Case::Simulcast | Case::Forward | Case::Perfect => Ok(()),
        _ => media::fill(agent),
    }
}

/// Plays this side's part, up to what its `done` says.
pub(crate) async fn play(agent: &Agent) -> Result<(), Failure> {
    match agent.args.case {
        Case::DataEcho | Case::Dtls12 | Case::Dtls13 | Case::Turn | Case::TurnBoth => {
            echo::play(agent).await
        }
        Case::NoTrickle => echo::no_trickle(agent).await,
        Case::IceLite => echo::ice_lite(agent).await,
        Case::IceRestart => echo::ice_restart(agent).await,
        Case::DataModes => data::modes(agent).await,
        Case::DataBulk => data::bulk(agent).await,
        Case::DataClose => data::close(agent).await,
        Case::BadFingerprint => connection::bad_fingerprint(agent).await,
        Case::Close => connection::close(agent).await,
        Case::Audio => media::one(agent, Audio).await,
        Case::VideoVp8 | Case::VideoVp9 | Case::VideoH264 | Case::VideoAv1 => {
            media::one(agent, Video).await
        }
        Case::SrtpGcm => media::srtp(agent, "AEAD_AES_128_GCM").await,
        Case::SrtpCm => media::srtp(agent, "AES128_CM_HMAC_SHA1_80").await,
        Case::AvBundle => media::bundle(agent).await,
        Case::Stats => media::stats(agent).await,
        Case::Direction => media::direction(agent).await,
        Case::DataLate => negotiation::data_late(agent).await,
        Case::Renegotiate => negotiation::renegotiate(agent).await,
        Case::Perfect => negotiation::perfect(agent).await,
        Case::Simulcast => simulcast::simulcast(agent).await,
        Case::Forward => simulcast::forward(agent).await,
        Case::Loss => media::loss(agent).await,
        Case::IceTcp => Err(Failure::Unsupported("ICE over TCP is not there yet")),
        Case::Mdns => Err(Failure::Unsupported("multicast DNS is not there yet")),
    }
}
