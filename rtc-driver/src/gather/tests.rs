use super::*;

fn plan(bind: &[&str]) -> Plan {
    Plan {
        bind: bind.iter().map(|addr| addr.parse().unwrap()).collect(),
        ..Plan::default()
    }
}

fn interface(name: &str, ip: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        ip: ip.parse().unwrap(),
        is_point_to_point: false,
    }
}

fn usable(plan: &Plan, interfaces: &[Interface]) -> Vec<String> {
    plan.usable(interfaces)
        .map(|interface| interface.ip.to_string())
        .collect()
}

#[test]
fn loopback_is_used_only_when_asked_for() {
    let interfaces = [interface("lo", "127.0.0.1"), interface("lo", "::1")];
    let mut plan = Plan::default();
    assert!(usable(&plan, &interfaces).is_empty());
    let mut sockets = Vec::new();
    let result = plan.bind_interfaces(&interfaces, |_| true, 0, &mut sockets);
    assert_eq!(result, Err(Error::NoInterfaces));
    plan.loopback = true;
    assert_eq!(usable(&plan, &interfaces), ["127.0.0.1", "::1"]);
}

#[test]
fn addresses_that_are_no_candidates_are_left_out() {
    let interfaces = [
        interface("eth0", "192.0.2.1"),
        interface("eth0", "2001:db8::1"),
        interface("eth0", "fe80::1"),
        interface("eth0", "fec0::1"),
        interface("eth0", "::ffff:192.0.2.1"),
        interface("eth0:1", "192.0.2.1"),
    ];
    assert_eq!(
        usable(&Plan::default(), &interfaces),
        ["192.0.2.1", "2001:db8::1"]
    );
}

#[test]
fn the_filter_chooses() {
    let interfaces = [
        interface("eth0", "192.0.2.1"),
        interface("docker0", "192.0.2.2"),
    ];
    let filter: Filter = Box::new(|interface| !interface.name.starts_with("docker"));
    let plan = Plan {
        filter: Some(filter),
        ..Plan::default()
    };
    assert_eq!(usable(&plan, &interfaces), ["192.0.2.1"]);
}

#[test]
fn an_address_in_use_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    assert_eq!(
        plan(&[&addr.to_string()]).bind().unwrap_err(),
        Error::AddressInUse(addr)
    );
}

#[test]
fn an_address_of_another_machine_is_named() {
    let error = plan(&["198.51.100.7:0"]).bind().unwrap_err();
    let addr = "198.51.100.7:0".parse().unwrap();
    assert_eq!(
        error,
        Error::Socket {
            addr,
            kind: io::ErrorKind::AddrNotAvailable
        }
    );
}

#[test]
fn ports_come_from_the_range_until_it_is_used_up() {
    // Two neighbouring free ports, found by asking for one and trying the next.
    let (first, second) = loop {
        let first = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        if first < u16::MAX && UdpSocket::bind(("127.0.0.1", first + 1)).is_ok() {
            break (first, first + 1);
        }
    };
    let plan = Plan {
        ports: Some(first..=second),
        ..plan(&["127.0.0.1:0"])
    };
    let sockets = [plan.bind().unwrap(), plan.bind().unwrap()];
    let mut ports: Vec<_> = sockets
        .iter()
        .flatten()
        .map(|socket| socket.local_addr().unwrap().port())
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [first, second]);
    let error = plan.bind().unwrap_err();
    assert_eq!(
        error,
        Error::NoFreePort {
            addr: "127.0.0.1".parse().unwrap(),
            range: first..=second
        }
    );
}

#[test]
fn an_explicit_loopback_address_needs_no_permission() {
    let sockets = plan(&["127.0.0.1:0"]).bind().unwrap();
    assert!(sockets[0].local_addr().unwrap().ip().is_loopback());
}

#[test]
fn a_wildcard_stands_for_the_interfaces_of_its_family() {
    let plan = Plan {
        loopback: true,
        ..plan(&["0.0.0.0:0"])
    };
    let sockets = plan.bind().unwrap();
    assert!(!sockets.is_empty());
    for socket in sockets {
        let addr = socket.local_addr().unwrap();
        assert!(addr.is_ipv4() && !addr.ip().is_unspecified());
    }
}
