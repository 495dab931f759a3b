//! The command line of an agent.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::lines;

/// What every agent takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Which side of the offer/answer exchange this agent plays.
    #[arg(long, value_enum)]
    pub role: Role,
    /// What is to be shown.
    #[arg(long, value_enum)]
    pub case: Case,
    /// An address to gather host candidates on; may be given several times.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub bind: Vec<SocketAddr>,
    /// STUN and TURN servers, as a W3C array of RTCIceServer.
    #[arg(long, value_name = "JSON", value_parser = parse_ice_servers, default_value = "[]")]
    pub ice_servers: IceServers,
    /// Which candidates may be used.
    #[arg(long, value_enum, default_value_t)]
    pub policy: Policy,
    /// Seconds until the case counts as failed.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// A setting of one stack or one case.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub set: Vec<(String, String)>,
}

impl Args {
    /// The time that the case may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The settings by name; of a name given twice, the last holds.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<&str, &str> {
        self.set
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    }
}

/// Which side of the offer/answer exchange an agent plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Makes the first offer.
    Offer,
    /// Answers the first offer.
    Answer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
        })
    }
}

/// What two agents can show one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are those of the cases")]
pub enum Case {
    DataEcho,
    DataModes,
    DataBulk,
    DataClose,
    DataLate,
    Audio,
    VideoVp8,
    VideoVp9,
    VideoH264,
    VideoAv1,
    AvBundle,
    Direction,
    Simulcast,
    Forward,
    Renegotiate,
    Perfect,
    IceRestart,
    NoTrickle,
    IceLite,
    IceTcp,
    Turn,
    TurnBoth,
    Mdns,
    Dtls12,
    Dtls13,
    SrtpGcm,
    SrtpCm,
    Loss,
    Stats,
    BadFingerprint,
    Close,
}

impl Case {
    /// The cases that need nothing but data channels, in the order of the table.
    pub const OF_DATA: [Self; 11] = [
        Self::DataEcho,
        Self::DataModes,
        Self::DataBulk,
        Self::DataClose,
        Self::IceRestart,
        Self::NoTrickle,
        Self::IceLite,
        Self::Dtls12,
        Self::Dtls13,
        Self::BadFingerprint,
        Self::Close,
    ];

    /// The cases that carry audio or video, in the order of the table.
    pub const OF_MEDIA: [Self; 16] = [
        Self::DataLate,
        Self::Audio,
        Self::VideoVp8,
        Self::VideoVp9,
        Self::VideoH264,
        Self::VideoAv1,
        Self::AvBundle,
        Self::Direction,
        Self::Simulcast,
        Self::Forward,
        Self::Renegotiate,
        Self::Perfect,
        Self::SrtpGcm,
        Self::SrtpCm,
        Self::Loss,
        Self::Stats,
    ];

    /// Every case, in the order of the table.
    #[must_use]
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The candidate policy that the case asks of a role, if it does.
    #[must_use]
    pub fn policy(self, role: Role) -> Option<Policy> {
        match (self, role) {
            (Self::Turn, Role::Offer) | (Self::TurnBoth, _) => Some(Policy::Relay),
            _ => None,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.pad(value.get_name()),
            None => Ok(()),
        }
    }
}

/// Which candidates may be used (W3C `RTCIceTransportPolicy`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Every candidate.
    #[default]
    All,
    /// Candidates of a TURN server alone.
    Relay,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Relay => "relay",
        })
    }
}

/// The servers of one `--ice-servers`.
pub type IceServers = Vec<IceServer>;

/// A STUN or TURN server (W3C `RTCIceServer`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// Its URLs (RFC 7064, RFC 7065).
    #[serde(deserialize_with = "one_or_more")]
    pub urls: Vec<String>,
    /// The user name of TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password of TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Reads the command line. What is wrong with it goes to standard error in one sentence, and the
/// process ends with status 2.
pub fn parse<T: Parser>() -> T {
    T::try_parse().unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        lines::exit_bad_input(first.strip_prefix("error: ").unwrap_or(first))
    })
}

/// Ends the process with `status` after writing out what is buffered.
pub fn exit(status: i32) -> ! {
    let _ = std::io::stdout().flush();
    process::exit(status)
}

fn parse_ice_servers(text: &str) -> Result<IceServers, String> {
    serde_json::from_str(text).map_err(|error| format!("not an array of RTCIceServer: {error}"))
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not of the form KEY=VALUE".to_owned()),
    }
}

fn one_or_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Urls {
        One(String),
        More(Vec<String>),
    }
    Ok(match Urls::deserialize(from)? {
        Urls::One(url) => vec![url],
        Urls::More(urls) => urls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Result<Args, clap::Error> {
        let line = ["agent"].iter().chain(words);
        Only::try_parse_from(line).map(|only| only.args)
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let args = args(&["--role", "offer", "--case", "data-echo"]).unwrap();
        assert_eq!(args.bind, ["127.0.0.1:0".parse().unwrap()]);
        assert_eq!(args.timeout, 30);
        assert_eq!(args.policy, Policy::All);
        assert!(args.ice_servers.is_empty());
    }

    #[test]
    fn ice_servers_take_one_url_or_several() {
        let json =
            r#"[{"urls":"stun:a"},{"urls":["turn:b","turn:c"],"username":"u","credential":"p"}]"#;
        let args = args(&["--role", "answer", "--case", "turn", "--ice-servers", json]).unwrap();
        assert_eq!(args.ice_servers[0].urls, ["stun:a"]);
        assert_eq!(args.ice_servers[1].urls, ["turn:b", "turn:c"]);
        assert_eq!(args.ice_servers[1].credential.as_deref(), Some("p"));
    }

    #[test]
    fn settings_are_split_at_the_first_equals_sign() {
        let line = [
            "--role",
            "offer",
            "--case",
            "loss",
            "--set",
            "drop=0.05",
            "--set",
            "a=b=c",
        ];
        let args = args(&line).unwrap();
        assert_eq!(args.settings()["drop"], "0.05");
        assert_eq!(args.settings()["a"], "b=c");
    }

    #[test]
    fn unknown_cases_and_odd_settings_are_refused() {
        assert!(args(&["--role", "offer", "--case", "tea"]).is_err());
        assert!(args(&["--role", "offer", "--case", "close", "--set", "drop"]).is_err());
        assert!(args(&["--role", "offer", "--case", "close", "--ice-servers", "{"]).is_err());
    }

    #[test]
    fn every_case_has_its_name_from_the_table() {
        let names: Vec<String> = Case::all().iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), 31);
        for name in [
            "data-echo",
            "video-vp8",
            "video-h264",
            "dtls12",
            "srtp-gcm",
            "turn-both",
        ] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }
}
