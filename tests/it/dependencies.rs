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
            "rtc-rtcp",
            "rtc-srtp",
            "rtc-interceptor",
            "rtc-mdns",
            "rtc-turn",
            "rtc-media",
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
    "smol",
    "async-std",
    "async-io",
    "mio",
    "quinn-udp",
    "socket2",
    "rustix",
    "futures-core",
    "futures-io",
    "futures-util",
    "if-addrs",
];

/// What the driver may.
const DRIVER_IO: &[&str] = &[
    "quinn-udp",
    "socket2",
    "rustix",
    "futures-core",
    "futures-io",
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
    for (name, _) in ALLOWED {
        // Each adapter knows its own runtime, and the driver what sockets are made of.
        let known: &[&str] = match *name {
            "rtc-driver" => DRIVER_IO,
            "rtc-tokio" => &["tokio", "futures-io"],
            "rtc-smol" => &["smol", "async-io"],
            "rtc-async-std" => &["async-std"],
            "rtc-mio" => &["mio"],
            _ => &[],
        };
        for io in IO {
            assert!(
                known.contains(io) || !dependencies[*name].contains(*io),
                "{name} depends on {io}"
            );
        }
    }
}
