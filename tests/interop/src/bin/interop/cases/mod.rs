//! The cases, by what they are about.

pub(crate) mod connection;
mod data;
mod echo;

use rtc::peer_connection::configuration::SettingEngine;
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
        Case::Dtls13 => Err(Failure::Unsupported("DTLS 1.3 is not there yet")),
        _ => Ok(()),
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
        Case::Stats => connection::stats(agent).await,
        Case::DataLate
        | Case::Audio
        | Case::VideoVp8
        | Case::VideoVp9
        | Case::VideoH264
        | Case::VideoAv1
        | Case::AvBundle
        | Case::Direction
        | Case::Simulcast
        | Case::Renegotiate
        | Case::Perfect
        | Case::SrtpGcm
        | Case::SrtpCm
        | Case::Loss => Err(Failure::Unsupported("media is not there yet")),
        Case::IceTcp => Err(Failure::Unsupported("ICE over TCP is not there yet")),
        Case::Mdns => Err(Failure::Unsupported("multicast DNS is not there yet")),
    }
}
