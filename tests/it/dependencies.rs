//! Which crate may know which: the arrows of ARCHITECTURE.md, checked against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Own crates that each crate may depend on, beside `rtc-shared`.
const ALLOWED: &[(&str, &[&str])] = &[
    ("rtc-shared", &[]),
    ("rtc-crypto", &[]),
    ("rtc-stun", &["rtc-crypto"]),
    ("rtc-ice", &["rtc-crypto", "rtc-stun"]),
    ("rtc-dtls", &["rtc-crypto"]),
    ("rtc-sctp", &[]),
    ("rtc-datachannel", &[]),
    ("rtc-sdp", &[]),
    ("rtc-rtp", &[]),
    ("rtc-rtcp", &[]),
    ("rtc-srtp", &["rtc-crypto", "rtc-rtp"]),
    ("rtc-media", &["rtc-rtp"]),
    ("rtc-interceptor", &["rtc-rtp", "rtc-rtcp"]),
    ("rtc-turn", &["rtc-crypto", "rtc-stun"]),
    ("rtc-mdns", &[]),
    (
        "rtc",
        &[
            "rtc-crypto",
            "rtc-stun",
            "rtc-ice",
            "rtc-dtls",
            "rtc-sctp",
            "rtc-datachannel",
            "rtc-sdp",
            "rtc-rtp",
        ],
    ),
    ("rtc-driver", &["rtc"]),
    ("rtc-tokio", &["rtc", "rtc-driver"]),
    ("rtc-smol", &["rtc", "rtc-driver"]),
    ("rtc-async-std", &["rtc", "rtc-driver", "rtc-smol"]),
    ("rtc-mio", &["rtc", "rtc-driver"]),
];

/// What nothing in the core may see.
const IO: &[&str] = &[
    "tokio",
    "mio",
    "async-io",
    "quinn-udp",
    "socket2",
    "futures-core",
    "futures-util",
    "if-addrs",
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let normal = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
                .collect();
            (package["name"].as_str().unwrap().to_owned(), normal)
        })
        .collect()
}

#[test]
fn crates_know_only_those_below_them() {
    let dependencies = dependencies();
    for (name, allowed) in ALLOWED {
        let own = dependencies[*name]
            .iter()
            .filter(|it| *it == "rtc" || it.starts_with("rtc-"));
        for dependency in own {
            assert!(
                dependency == "rtc-shared" || allowed.contains(&dependency.as_str()),
                "{name} depends on {dependency}"
            );
        }
    }
}

#[test]
fn the_core_knows_no_runtime_and_no_socket() {
    let dependencies = dependencies();
    for (name, _) in ALLOWED
        .iter()
        .filter(|(name, _)| !name.starts_with("rtc-tokio"))
    {
        for io in IO {
            let driver = *name == "rtc-driver" && !matches!(*io, "tokio" | "mio" | "async-io");
            assert!(
                driver || !dependencies[*name].contains(*io),
                "{name} depends on {io}"
            );
        }
    }
}
