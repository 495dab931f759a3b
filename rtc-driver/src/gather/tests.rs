use std::future::Future;
use std::io::IoSliceMut;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Instant;

use rtc::shared::{TaggedBytesMut, Transmit};

use super::*;
use crate::Runtime;
use crate::{Core, RecvMeta, SendBatch, Timer};

/// A runtime whose sockets carry nothing, with interfaces of its own or those of the machine.
#[derive(Clone, Default)]
struct Fake(Option<Arc<Mutex<Interfaces>>>);

#[derive(Default)]
struct Interfaces {
    list: Vec<Interface>,
    changed: bool,
}

impl Fake {
    fn with(interfaces: &[Interface]) -> Self {
        Self(Some(Arc::new(Mutex::new(Interfaces {
            list: interfaces.to_vec(),
            changed: false,
        }))))
    }

    fn change(&self, interfaces: &[Interface]) {
        let mut state = self.0.as_ref().unwrap().lock().unwrap();
        state.list = interfaces.to_vec();
        state.changed = true;
    }
}

#[derive(Debug)]
enum FakeSocket {
    Real(UdpSocket),
    Virtual(SocketAddr),
}

impl DatagramSocket for FakeSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Real(socket) => socket.local_addr(),
            Self::Virtual(addr) => Ok(*addr),
        }
    }

    fn poll_recv(
        &mut self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_send(&mut self, _: &mut Context<'_>, _: &SendBatch<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct NoTimer;

impl Timer for NoTimer {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn poll_deadline(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

impl Runtime for Fake {
    type Socket = FakeSocket;
    type Timer = NoTimer;

    fn wrap(&self, socket: UdpSocket) -> io::Result<FakeSocket> {
        Ok(FakeSocket::Real(socket))
    }

    fn bind(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<FakeSocket> {
        match &self.0 {
            None => self.wrap(options.open(addr)?),
            Some(_) => Ok(FakeSocket::Virtual(addr)),
        }
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        match &self.0 {
            None => Interface::list(),
            Some(interfaces) => Ok(interfaces.lock().unwrap().list.clone()),
        }
    }

    fn interface_changes(&self) -> InterfaceChanges {
        let interfaces = self.0.clone().unwrap();
        InterfaceChanges::new(move |_| {
            if std::mem::take(&mut interfaces.lock().unwrap().changed) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }

    fn timer(&self) -> NoTimer {
        NoTimer
    }

    fn spawn(&self, _: impl Future<Output = ()> + Send + 'static) {}

    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(Vec::new())
    }
}

fn plan(bind: &[&str]) -> Plan {
    Plan {
        bind: bind.iter().map(|addr| addr.parse().unwrap()).collect(),
        ..Plan::default()
    }
}

fn interface(name: &str, ip: &str) -> Interface {
    Interface::new(name, ip.parse().unwrap())
}

fn addrs(sockets: &[FakeSocket]) -> Vec<String> {
    sockets
        .iter()
        .map(|socket| socket.local_addr().unwrap().to_string())
        .collect()
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
    let result = plan.bind(&Fake::with(&interfaces));
    assert_eq!(result.unwrap_err(), Error::NoInterfaces);
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
    let filter: Filter = std::sync::Arc::new(|interface| !interface.name.starts_with("docker"));
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
        plan(&[&addr.to_string()])
            .bind(&Fake::default())
            .unwrap_err(),
        Error::AddressInUse(addr)
    );
}

#[test]
fn an_address_of_another_machine_is_named() {
    let error = plan(&["198.51.100.7:0"])
        .bind(&Fake::default())
        .unwrap_err();
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
    let sockets = [
        plan.bind(&Fake::default()).unwrap(),
        plan.bind(&Fake::default()).unwrap(),
    ];
    let mut ports: Vec<_> = sockets
        .iter()
        .flatten()
        .map(|socket| socket.local_addr().unwrap().port())
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [first, second]);
    let error = plan.bind(&Fake::default()).unwrap_err();
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
    let sockets = plan(&["127.0.0.1:0"]).bind(&Fake::default()).unwrap();
    assert!(sockets[0].local_addr().unwrap().ip().is_loopback());
}

#[test]
fn a_wildcard_stands_for_the_interfaces_of_its_family() {
    let plan = Plan {
        loopback: true,
        ..plan(&["0.0.0.0:0"])
    };
    let sockets = plan.bind(&Fake::default()).unwrap();
    assert!(!sockets.is_empty());
    for socket in sockets {
        let addr = socket.local_addr().unwrap();
        assert!(addr.is_ipv4() && !addr.ip().is_unspecified());
    }
}

/// Notes what it is told.
#[derive(Default)]
struct Told(Vec<RTCEvent>);

impl Core for Told {
    fn handle_read_batch(&mut self, _: &mut Vec<TaggedBytesMut>) {}

    fn poll_transmit(&mut self, _: Instant, _: usize, _: &mut Vec<u8>) -> Option<Transmit> {
        None
    }

    fn handle_event(&mut self, event: RTCEvent) {
        self.0.push(event);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant) {}
}

#[test]
fn interfaces_that_come_and_go_are_followed() {
    let [wifi, cell, loopback] = [
        interface("wlan0", "192.0.2.1"),
        interface("rmnet0", "198.51.100.1"),
        interface("lo", "127.0.0.1"),
    ];
    let runtime = Fake::with(&[wifi.clone(), loopback.clone()]);
    let plan = Plan {
        watch: true,
        ..plan(&["0.0.0.0:7", "203.0.113.9:9"])
    };
    let sockets = plan.bind(&runtime).unwrap();
    assert_eq!(addrs(&sockets), ["192.0.2.1:7", "203.0.113.9:9"]);
    let mut pump = Pump::new(sockets).unwrap();
    let mut watch = plan.watch(runtime.clone()).unwrap();
    let cx = &mut Context::from_waker(Waker::noop());
    let mut core = Told::default();
    watch.follow(cx, &mut pump, &mut core);
    assert_eq!(core.0, []);

    runtime.change(&[loopback, cell]);
    watch.follow(cx, &mut pump, &mut core);
    let (old, new) = (
        "192.0.2.1:7".parse().unwrap(),
        "198.51.100.1:7".parse().unwrap(),
    );
    assert_eq!(
        core.0,
        [
            RTCEvent::PathLost { local_addr: old },
            RTCEvent::InterfaceFound {
                local_addr: new,
                protocol: rtc::shared::TransportProtocol::UDP
            }
        ]
    );
    let bound: Vec<_> = pump.local_addrs().map(|(addr, _)| addr).collect();
    assert_eq!(bound, ["203.0.113.9:9".parse().unwrap(), new]);

    // A change that changes nothing.
    core.0.clear();
    runtime.change(&[wifi]);
    runtime.change(&[interface("rmnet0", "198.51.100.1")]);
    watch.follow(cx, &mut pump, &mut core);
    assert_eq!(core.0, []);
}

#[test]
fn addresses_bound_by_name_are_not_followed() {
    let runtime = Fake::with(&[]);
    let plan = Plan {
        watch: true,
        ..plan(&["192.0.2.1:7"])
    };
    assert!(plan.watch(runtime).is_none());
}

#[test]
fn two_sockets_share_a_port_when_both_want_to() {
    let options = SocketOptions {
        reuse_port: true,
        ..SocketOptions::default()
    };
    let first = options.open("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = first.local_addr().unwrap();
    options.open(addr).unwrap();
    assert!(SocketOptions::default().open(addr).is_err());
}
