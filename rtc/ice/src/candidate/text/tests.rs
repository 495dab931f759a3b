use std::fs;

use proptest::prelude::*;

use super::*;
use crate::RelayProtocol;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/");

fn parse(line: &str) -> Result<Candidate, CandidateError> {
    line.parse()
}

#[test]
fn malformed_corpus_is_refused_or_ignored_as_it_says() {
    let text = fs::read_to_string(format!("{VECTORS}malformed/ice_candidate_lines.json")).unwrap();
    let entries: serde_json::Value = serde_json::from_str(&text).unwrap();
    let entries = entries.as_array().unwrap();
    assert!(entries.len() >= 14);
    for entry in entries {
        let name = entry["name"].as_str().unwrap();
        let line = String::from_utf8(hex::decode(entry["hex"].as_str().unwrap()).unwrap()).unwrap();
        let result = parse(&line);
        let ignorable = result.as_ref().is_err_and(|error| error.is_ignorable());
        let broken = result.as_ref().is_err_and(|error| !error.is_ignorable());
        let fits = match entry["expect"].as_str().unwrap() {
            "ignore candidate" | "ignore" | "ignore (no DNS for non .local)" => ignorable,
            "ignore dangling name" | "valid: transport is case-insensitive" => result.is_ok(),
            _ => broken,
        };
        assert!(fits, "{name}: {line} gave {result:?}");
    }
}

#[test]
fn every_line_of_the_sdp_corpus_parses_and_is_written_back() {
    let mut lines = 0;
    for entry in fs::read_dir(format!("{VECTORS}sdp")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sdp") {
            continue;
        }
        for line in fs::read_to_string(path).unwrap().lines() {
            if !line.starts_with("a=candidate:") {
                continue;
            }
            let candidate = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let written = format!("a={candidate}");
            assert_eq!(written.to_lowercase(), line.trim_end().to_lowercase());
            assert_eq!(parse(&written).unwrap(), candidate);
            lines += 1;
        }
    }
    assert!(lines > 50, "only {lines} lines");
}

#[test]
fn browser_line_keeps_all_its_parts() {
    let line = "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 0.0.0.0 \
                rport 0 generation 0 ufrag EEtu network-id 3 network-cost 10";
    let candidate = parse(line).unwrap();
    assert_eq!(candidate.typ, CandidateType::ServerReflexive);
    assert_eq!(candidate.related, Some("0.0.0.0:0".parse().unwrap()));
    assert_eq!(candidate.generation, Some(0));
    assert_eq!(candidate.extensions.len(), 2);
    assert_eq!(candidate.to_string(), line);
}

#[test]
fn mdns_name_waits_for_its_address() {
    let line =
        "candidate:1 1 udp 2113937151 1F4712DB-ea17-4bcf-a596-105139dfd8bf.local 54596 typ host";
    let candidate = parse(line).unwrap();
    assert_eq!(candidate.socket_addr(), None);
    assert_eq!(
        candidate.hostname(),
        Some("1f4712db-ea17-4bcf-a596-105139dfd8bf.local")
    );
    let resolved = candidate.clone().resolved("192.0.2.9".parse().unwrap());
    assert_eq!(
        resolved.socket_addr(),
        Some("192.0.2.9:54596".parse().unwrap())
    );
    assert_eq!(resolved.hostname(), candidate.hostname());
    assert_eq!(
        resolved.obfuscated("abc.local").address.to_string(),
        "abc.local 54596"
    );
    assert_eq!(
        parse(".local").unwrap_err(),
        CandidateError::Syntax("prefix")
    );
}

#[test]
fn broken_parts_are_named() {
    for (line, part) in [
        ("candidate:", "foundation"),
        ("candidate:é 1 udp 1 1.2.3.4 1 typ host", "foundation"),
        ("candidate:1 +1 udp 1 1.2.3.4 1 typ host", "component"),
        (
            "candidate:1 1 udp 2147483648 1.2.3.4 1 typ host",
            "priority",
        ),
        (
            "candidate:1 1 udp 0 1.2.3.4 1 typ host",
            "component or priority",
        ),
        ("candidate:1 1 udp 1 1.2.3.400 1 typ host", "address"),
        ("candidate:1 1 udp 1 [::1] 1 typ host", "address"),
        ("candidate:1 1 udp 1 1.2.3.4 1 type host", "typ"),
        ("candidate:1 1 udp 1 1.2.3.4 1 typ", "type"),
        (
            "candidate:1 1 udp 1 1.2.3.4 1 typ srflx raddr 1.2.3.4 rport x",
            "port",
        ),
        ("candidate:1 1 udp 1 1.2.3.4 1 typ host ufrag a!bc", "ufrag"),
        // An unknown type does not excuse a broken address.
        ("candidate:1 1 udp 1 fe80::1%eth0 1 typ foo", "address"),
    ] {
        assert_eq!(parse(line), Err(CandidateError::Syntax(part)), "{line}");
    }
}

#[test]
fn text_without_bounds_is_refused() {
    let long = format!(
        "candidate:1 1 udp 1 1.2.3.4 1 typ host x {}",
        "y".repeat(5000)
    );
    assert_eq!(parse(&long), Err(CandidateError::Syntax("length")));
    let many = format!(
        "candidate:1 1 udp 1 1.2.3.4 1 typ host{}",
        " a b".repeat(40)
    );
    assert_eq!(
        parse(&many),
        Err(CandidateError::Syntax("number of extensions"))
    );
}

#[test]
fn hidden_related_address_is_written_as_unspecified() {
    let address = "[2001:db8::1]:7".parse().unwrap();
    let mut candidate = Candidate::server_reflexive(address, "[fd00::1]:8".parse().unwrap());
    candidate.foundation = "1".into();
    candidate.priority = 1;
    candidate.related = None;
    assert!(
        candidate
            .to_string()
            .ends_with("typ srflx raddr :: rport 0")
    );
}

#[test]
fn relays_rank_by_how_they_are_reached() {
    let relay = Candidate::relayed(
        "192.0.2.1:1".parse().unwrap(),
        "192.0.2.2:2".parse().unwrap(),
    );
    let tls = relay.clone().with_relay_protocol(RelayProtocol::Tls);
    assert!(relay.priority_for(65535) > tls.priority_for(65535));
    assert_eq!(relay.base(), relay.socket_addr());
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let address = any::<(IpAddr, u16)>()
        .prop_map(|(ip, port)| CandidateAddress::Ip(SocketAddr::new(ip, port)));
    let name = ("[a-z0-9-]{1,40}", any::<u16>()).prop_map(|(label, port)| CandidateAddress::Mdns {
        name: format!("{label}x.local"),
        port,
    });
    let extension = ("network-(id|cost)|x[a-z]{1,5}", "[!-~]{1,12}");
    (
        (
            "[A-Za-z0-9+/]{1,32}",
            1u16..=256,
            1u32..(1 << 31),
            prop_oneof![address, name],
        ),
        (
            0usize..4,
            0usize..4,
            any::<Option<(IpAddr, u16)>>(),
            any::<Option<u32>>(),
        ),
        (
            prop::option::of("[A-Za-z0-9+/]{4,256}"),
            prop::collection::vec(extension, 0..5),
        ),
    )
        .prop_map(
            |(
                (foundation, component, priority, address),
                (typ, tcp, related, generation),
                (ufrag, extensions),
            )| {
                let unspecified = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
                let typ = [
                    CandidateType::Host,
                    CandidateType::ServerReflexive,
                    CandidateType::PeerReflexive,
                    CandidateType::Relayed,
                ][typ];
                let mut candidate = Candidate::new(typ, unspecified, TransportProtocol::UDP);
                candidate.tcp_type = [
                    None,
                    Some(TcpType::Active),
                    Some(TcpType::Passive),
                    Some(TcpType::SimultaneousOpen),
                ][tcp];
                if candidate.tcp_type.is_some() {
                    candidate.transport = TransportProtocol::TCP;
                }
                candidate.foundation = foundation;
                candidate.component = component;
                candidate.priority = priority;
                candidate.address = address;
                candidate.related = related.map(|(ip, port)| SocketAddr::new(ip, port));
                candidate.related = candidate.related_text();
                candidate.generation = generation;
                candidate.ufrag = ufrag;
                candidate.extensions = extensions;
                candidate
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_parses_to_the_same(candidate in any_candidate()) {
        prop_assert_eq!(parse(&candidate.to_string()), Ok(candidate));
    }

    #[test]
    fn arbitrary_text_never_panics(text in "(a=)?(candidate:)?.{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn mutated_lines_never_panic(candidate in any_candidate(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let mut characters: Vec<char> = candidate.to_string().chars().collect();
        let at = at.index(characters.len());
        characters[at] = with;
        let _ = parse(&characters.into_iter().collect::<String>());
    }
}
