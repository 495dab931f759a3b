//! What bare cores ask for: streams, for ICE over TCP and TURN over TCP and TLS, and names of multicast
//! DNS; each of them drawn as function calls.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::ice::CandidateType;
use rtc::peer_connection::configuration::{
    IceTcp, MulticastDns, RTCConfigurationBuilder, RTCIceServer, RTCIceTransportPolicy,
    SettingEngine,
};
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::request::{RTCAnswer, RTCRequest, RTCRequestId, RTCStreamKind};
use rtc::peer_connection::state::{RTCIceConnectionState, RTCPeerConnectionState};
use rtc::peer_connection::{RTCEvent, RTCPeerConnection};
use rtc::sansio::Protocol;
use rtc::shared::{FiveTuple, Rng, TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_driver::rtc;
use rtc_turn::server::{
    PeerFilter, RelayId, Server, ServerConfig, ServerEvent, ServerReceived, StaticUsers,
};

const LATENCY: Duration = Duration::from_millis(10);

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// One side with the network that it sees.
struct Side {
    core: RTCPeerConnection,
    requests: Vec<RTCRequest>,
    events: Vec<RTCPeerConnectionEvent>,
}

impl Side {
    fn new(seed: u8, now: Instant, change: impl FnOnce(&mut SettingEngine)) -> Self {
        Self::with(seed, now, change, Vec::new(), RTCIceTransportPolicy::All)
    }

    fn with(
        seed: u8,
        now: Instant,
        change: impl FnOnce(&mut SettingEngine),
        servers: Vec<RTCIceServer>,
        policy: RTCIceTransportPolicy,
    ) -> Self {
        let mut setting = SettingEngine::default();
        change(&mut setting);
        let configuration = RTCConfigurationBuilder::new()
            .with_setting_engine(setting)
            .with_ice_servers(servers)
            .with_ice_transport_policy(policy)
            .with_seed([seed; 32])
            .with_now(now)
            .build();
        Self {
            core: RTCPeerConnection::new(configuration).unwrap(),
            requests: Vec::new(),
            events: Vec::new(),
        }
    }
}

/// Carries messages by path, both transports; nothing is lost but what goes to nobody.
struct Net {
    now: Instant,
    sides: [Side; 2],
    flights: VecDeque<(Instant, usize, TransportContext, Vec<u8>)>,
    /// Paths of open streams, as each end sees them.
    streams: Vec<(usize, RTCRequestId, FiveTuple)>,
    ever_open: Vec<(usize, FiveTuple)>,
    next_port: u16,
    /// Streams are refused.
    refuses: bool,
    udp: bool,
    /// Those that are answered for by multicast DNS.
    names: BTreeMap<String, Vec<IpAddr>>,
    server: Option<TurnServer>,
}

struct TurnServer {
    addr: SocketAddr,
    core: Server,
    relays: Vec<(RelayId, SocketAddr)>,
    messages: u64,
    events: Vec<ServerEvent>,
}

impl Net {
    fn new(now: Instant, sides: [Side; 2]) -> Self {
        Self {
            now,
            sides,
            flights: VecDeque::new(),
            streams: Vec::new(),
            ever_open: Vec::new(),
            next_port: 50_000,
            refuses: false,
            udp: false,
            names: BTreeMap::new(),
            server: None,
        }
    }

    fn owner(&self, addr: SocketAddr) -> Option<usize> {
        let ips = ["192.0.2.1", "192.0.2.2"];
        ips.iter()
            .position(|ip| addr.ip() == self::addr(&format!("{ip}:0")).ip())
    }

    fn run(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.drain(0);
            self.drain(1);
            self.drain_server();
            if done(self) {
                return true;
            }
            let timeouts = self
                .sides
                .iter_mut()
                .filter_map(|it| it.core.poll_timeout());
            let arrival = self.flights.front().map(|flight| flight.0);
            let server = self.server.as_ref().and_then(|it| it.core.poll_timeout());
            let next = timeouts.chain(arrival).chain(server).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            let now = self.now;
            while self.flights.front().is_some_and(|flight| flight.0 <= now) {
                let (_, to, transport, contents) = self.flights.pop_front().unwrap();
                if to == SERVER {
                    self.at_server(transport, &contents);
                    continue;
                }
                let _ = self.sides[to].core.handle_read(TaggedBytesMut {
                    now,
                    transport,
                    message: BytesMut::from(&contents[..]),
                });
            }
            for side in &mut self.sides {
                if side.core.poll_timeout().is_some_and(|at| at <= now) {
                    side.core.handle_timeout(now).unwrap();
                    let next = side.core.poll_timeout();
                    assert!(next.is_none_or(|at| at > now), "time goes on");
                }
            }
            if let Some(server) = &mut self.server
                && server.core.poll_timeout().is_some_and(|at| at <= now)
            {
                server.core.handle_timeout(now);
            }
        }
    }

    fn drain(&mut self, index: usize) {
        let now = self.now;
        let mut buffer = Vec::new();
        loop {
            while let Some(request) = self.sides[index].core.poll_request() {
                self.sides[index].requests.push(request.clone());
                self.serve(index, request);
            }
            buffer.clear();
            let side = &mut self.sides[index];
            let Some(transmit) = side.core.poll_transmit(now, 8, &mut buffer) else {
                break;
            };
            let path = transmit.transport;
            for contents in buffer.chunks(transmit.segment_size.unwrap_or(transmit.size).max(1)) {
                self.send(index, path, contents.to_vec());
            }
        }
        while let Some(event) = self.sides[index].core.poll_event() {
            self.sides[index].events.push(event);
        }
    }

    fn send(&mut self, from: usize, path: TransportContext, contents: Vec<u8>) {
        if path.transport_protocol == TransportProtocol::UDP && !self.udp && from != SERVER {
            return;
        }
        if path.transport_protocol == TransportProtocol::TCP {
            let is_open = self
                .streams
                .iter()
                .any(|(end, _, it)| *end == from && *it == path.five_tuple());
            if !is_open {
                let was_open = self.ever_open.contains(&(from, path.five_tuple()));
                assert!(was_open, "there never was a stream {path:?}");
                let event = RTCEvent::SendFailed { transport: path };
                return self.sides[from].core.handle_event(event).unwrap();
            }
        }
        let to = match &self.server {
            Some(server) if server.addr.ip() == path.peer_addr.ip() => Some(SERVER),
            _ => self.owner(path.peer_addr),
        };
        let Some(to) = to else { return };
        let mirrored = TransportContext {
            local_addr: path.peer_addr,
            peer_addr: path.local_addr,
            ..path
        };
        self.flights
            .push_back((self.now + LATENCY, to, mirrored, contents));
    }

    fn serve(&mut self, from: usize, request: RTCRequest) {
        let now = self.now;
        match request {
            RTCRequest::OpenStream {
                id,
                mut local_addr,
                peer_addr,
                ..
            } => {
                let core = &mut self.sides[from].core;
                if self.refuses {
                    return core.handle_answer(now, id, RTCAnswer::Failed("refused".to_owned()));
                }
                if local_addr.port() == 0 {
                    self.next_port += 1;
                    local_addr.set_port(self.next_port);
                }
                let path = FiveTuple {
                    local_addr,
                    peer_addr,
                    transport_protocol: TransportProtocol::TCP,
                };
                let mirrored = FiveTuple {
                    local_addr: peer_addr,
                    peer_addr: local_addr,
                    ..path
                };
                let to = self.owner(peer_addr).unwrap_or(SERVER);
                if !self
                    .streams
                    .iter()
                    .any(|(end, _, it)| *end == from && *it == path)
                {
                    self.streams.push((from, id, path));
                    self.streams.push((to, id, mirrored));
                    self.ever_open.extend([(from, path), (to, mirrored)]);
                }
                let core = &mut self.sides[from].core;
                core.handle_answer(
                    now,
                    id,
                    RTCAnswer::Opened {
                        local_addr,
                        peer_addr,
                    },
                );
            }
            RTCRequest::CloseStream { id } => self.streams.retain(|it| it.1 != id),
            RTCRequest::ResolveHost { id, .. } => {
                let ips = vec![addr("85.10.0.1:0").ip()];
                let core = &mut self.sides[from].core;
                core.handle_answer(now, id, RTCAnswer::Addresses(ips));
            }
            RTCRequest::AnnounceMulticast { host, ip } => {
                self.names.insert(host, vec![ip]);
            }
            RTCRequest::WithdrawMulticast { host } => drop(self.names.remove(&host)),
            RTCRequest::ResolveMulticast { id, host } => {
                let answer = match self.names.get(&host) {
                    Some(ips) => RTCAnswer::Addresses(ips.clone()),
                    None => RTCAnswer::Failed("nobody answers".to_owned()),
                };
                let core = &mut self.sides[from].core;
                core.handle_answer(now, id, answer);
            }
            _ => {}
        }
    }

    /// Breaks every stream.
    fn break_streams(&mut self) {
        for (end, id, path) in std::mem::take(&mut self.streams) {
            if end == SERVER {
                let server = self.server.as_mut().unwrap();
                server.core.handle_disconnected(self.now, path);
                continue;
            }
            let core = &mut self.sides[end].core;
            let transport = path.context(None);
            core.handle_event(RTCEvent::SendFailed { transport })
                .unwrap();
            core.handle_answer(self.now, id, RTCAnswer::Failed("broken".to_owned()));
        }
    }

    fn at_server(&mut self, transport: TransportContext, contents: &[u8]) {
        let now = self.now;
        let server = self.server.as_mut().unwrap();
        server.messages += 1;
        let relay = server
            .relays
            .iter()
            .find(|(_, addr)| *addr == transport.local_addr)
            .map(|(relay, _)| *relay);
        if let Some(relay) = relay {
            let peer = transport.peer_addr;
            let out = server
                .core
                .handle_peer_datagram(now, relay, peer, contents.len());
            if let Some(out) = out {
                let form = out.encapsulation;
                let mut message = vec![0; form.prefix_len()];
                assert!(form.write_prefix(contents.len(), &mut message));
                message.extend(contents);
                message.resize(form.wire_len(contents.len()), 0);
                self.send(SERVER, out.client.context(None), message);
            }
            return;
        }
        let received = server
            .core
            .handle_datagram(now, transport.five_tuple(), contents);
        if let ServerReceived::ToPeer {
            relay,
            peer,
            payload,
        } = received
        {
            let mut relays = server.relays.iter();
            let local_addr = relays.find(|(known, _)| *known == relay).unwrap().1;
            let path = TransportContext {
                local_addr,
                peer_addr: peer,
                ..TransportContext::default()
            };
            self.send(SERVER, path, contents[payload].to_vec());
        }
    }

    fn drain_server(&mut self) {
        let now = self.now;
        let Some(server) = &mut self.server else {
            return;
        };
        while let Some(event) = server.core.poll_event() {
            match &event {
                ServerEvent::BindRelay { relay, .. } => {
                    if relay.family() == rtc::stun::AddressFamily::Ipv6 {
                        server.core.relay_failed(now, *relay);
                        continue;
                    }
                    let port = 60_000 + server.relays.len() as u16;
                    let addr = SocketAddr::new(server.addr.ip(), port);
                    server.relays.push((*relay, addr));
                    server.core.relay_bound(now, *relay, addr);
                }
                ServerEvent::CloseRelay(relay) => server.relays.retain(|it| it.0 != *relay),
                _ => {}
            }
            server.events.push(event);
        }
        let mut out = Vec::new();
        while let Some(message) = server.core.poll_transmit() {
            out.push(message);
        }
        for message in out {
            self.send(SERVER, message.transport, message.message.to_vec());
        }
    }

    fn negotiate(&mut self) {
        let [a, b] = &mut self.sides;
        let description = |core: &mut RTCPeerConnection| {
            core.set_local_description_implicit().unwrap();
            core.local_description().unwrap()
        };
        let offer = description(&mut a.core);
        b.core.set_remote_description(offer).unwrap();
        let answer = description(&mut b.core);
        a.core.set_remote_description(answer).unwrap();
    }

    /// Candidates that were found since.
    fn trickle(&mut self) {
        for index in [0, 1] {
            let events = std::mem::take(&mut self.sides[index].events);
            for event in &events {
                if let RTCPeerConnectionEvent::OnIceCandidateEvent(event) = event {
                    let init = event.candidate.to_init();
                    self.sides[1 - index]
                        .core
                        .add_remote_candidate(init)
                        .unwrap();
                }
            }
        }
    }

    fn is_connected(&self) -> bool {
        let state = |side: &Side| side.core.connection_state();
        self.sides
            .iter()
            .all(|it| state(it) == RTCPeerConnectionState::Connected)
    }

    fn path(&self, index: usize) -> FiveTuple {
        self.sides[index].core.selected_path().unwrap()
    }
}

const SERVER: usize = 2;

const TCP: TransportProtocol = TransportProtocol::TCP;
const UDP: TransportProtocol = TransportProtocol::UDP;

fn pair(left: IceTcp, right: IceTcp) -> Net {
    let now = Instant::now();
    let mut a = Side::new(1, now, |setting| setting.ice_tcp = left);
    let mut b = Side::new(2, now, |setting| setting.ice_tcp = right);
    a.core
        .add_local_interface(addr("192.0.2.1:1000"), UDP)
        .unwrap();
    b.core
        .add_local_interface(addr("192.0.2.2:2000"), UDP)
        .unwrap();
    a.core.create_data_channel("x", None).unwrap();
    Net::new(now, [a, b])
}

#[test]
fn an_active_side_opens_a_stream_to_a_passive_one() {
    let mut net = pair(IceTcp::Active, IceTcp::Off);
    net.sides[1]
        .core
        .add_local_interface(addr("192.0.2.2:443"), TCP)
        .unwrap();
    net.negotiate();
    let offer = net.sides[0].core.local_description().unwrap().sdp;
    assert!(offer.contains(" tcp ") && offer.contains("192.0.2.1 9 typ host tcptype active"));
    let answer = net.sides[1].core.local_description().unwrap().sdp;
    assert!(answer.contains("192.0.2.2 443 typ host tcptype passive"));
    assert!(net.run(Duration::from_secs(5), Net::is_connected));
    assert_eq!(net.path(0).transport_protocol, TCP);
    assert_eq!(net.path(0).peer_addr, addr("192.0.2.2:443"));
    assert_eq!(net.path(1).peer_addr, addr("192.0.2.1:50001"));
    assert!(net.sides[1].core.accepts_stream(&net.path(1)));
    let [
        RTCRequest::OpenStream {
            local_addr, kind, ..
        },
    ] = &net.sides[0].requests[..]
    else {
        panic!("{:?}", net.sides[0].requests)
    };
    assert_eq!(
        (*local_addr, kind),
        (addr("192.0.2.1:0"), &RTCStreamKind::Framed)
    );

    // A minute of consent, then the end.
    assert!(!net.run(Duration::from_secs(60), |net| !net.is_connected()));
    net.sides[0].core.close().unwrap();
    net.run(Duration::from_secs(1), |_| false);
    assert!(
        net.streams.is_empty(),
        "streams are closed with the connection"
    );
    assert_eq!(
        net.sides[1].core.connection_state(),
        RTCPeerConnectionState::Closed
    );
}

#[test]
fn a_stream_that_breaks_is_opened_again() {
    let mut net = pair(IceTcp::Active, IceTcp::Off);
    net.sides[1]
        .core
        .add_local_interface(addr("192.0.2.2:443"), TCP)
        .unwrap();
    net.negotiate();
    assert!(net.run(Duration::from_secs(5), Net::is_connected));
    net.break_streams();
    net.run(Duration::from_millis(1), |_| false);
    assert_eq!(
        net.sides[0].core.ice_connection_state(),
        RTCIceConnectionState::Disconnected
    );
    assert!(net.run(Duration::from_secs(10), Net::is_connected));
    assert_eq!(net.path(1).peer_addr, addr("192.0.2.1:50002"));
}

#[test]
fn a_stream_that_is_refused_fails_its_pair_alone() {
    let mut net = pair(IceTcp::Active, IceTcp::Off);
    net.sides[1]
        .core
        .add_local_interface(addr("192.0.2.2:443"), TCP)
        .unwrap();
    net.refuses = true;
    net.udp = true;
    net.negotiate();
    assert!(net.run(Duration::from_secs(5), Net::is_connected));
    assert_eq!(net.path(0).transport_protocol, UDP);
}

#[test]
fn both_sides_open_at_once() {
    let both = IceTcp::SimultaneousOpen;
    let mut net = pair(both, both);
    net.sides[0]
        .core
        .add_local_interface(addr("192.0.2.1:1443"), TCP)
        .unwrap();
    net.sides[1]
        .core
        .add_local_interface(addr("192.0.2.2:2443"), TCP)
        .unwrap();
    net.negotiate();
    let offer = net.sides[0].core.local_description().unwrap().sdp;
    assert_eq!(offer.matches("tcptype").count(), 3, "{offer}");
    assert!(net.run(Duration::from_secs(5), Net::is_connected));
    net.run(Duration::from_secs(5), |_| false);
    assert_eq!(net.path(0).transport_protocol, TCP);
}

fn relayed(url: &str) -> Net {
    let now = Instant::now();
    let server = RTCIceServer {
        urls: vec![url.to_owned()],
        username: "user".to_owned(),
        credential: "pass".to_owned(),
    };
    let policy = RTCIceTransportPolicy::Relay;
    let mut a = Side::with(1, now, |_| (), vec![server], policy);
    let mut b = Side::new(2, now, |_| ());
    a.core
        .add_local_interface(addr("192.0.2.1:1000"), UDP)
        .unwrap();
    b.core
        .add_local_interface(addr("192.0.2.2:2000"), UDP)
        .unwrap();
    a.core.create_data_channel("x", None).unwrap();
    let provider = rtc::crypto::default_provider();
    let mut users = StaticUsers::new(provider, "example.org");
    users.insert("user", "pass").unwrap();
    let mut config = ServerConfig::new("example.org");
    config.peers = PeerFilter::allow_all();
    let core = Server::new(
        config,
        Box::new(users),
        provider,
        Rng::from_seed([3; 32]),
        now,
        Duration::from_secs(1_700_000_000),
    )
    .unwrap();
    let mut net = Net::new(now, [a, b]);
    net.udp = true;
    net.server = Some(TurnServer {
        addr: addr("85.10.0.1:3478"),
        core,
        relays: Vec::new(),
        messages: 0,
        events: Vec::new(),
    });
    net
}

#[test]
fn relays_are_reached_by_tcp_and_tls() {
    for (url, peer_addr, tls, protocol) in [
        (
            "turn:turn.example.org?transport=tcp",
            "85.10.0.1:3478",
            None,
            "tcp",
        ),
        (
            "turns:turn.example.org",
            "85.10.0.1:5349",
            Some("turn.example.org".to_owned()),
            "tls",
        ),
    ] {
        let mut net = relayed(url);
        net.server.as_mut().unwrap().addr = addr(peer_addr);
        net.negotiate();
        net.run(Duration::from_secs(1), |_| false);
        let opened = RTCRequest::OpenStream {
            id: match net.sides[0].requests[1] {
                RTCRequest::OpenStream { id, .. } => id,
                ref other => panic!("{other:?}"),
            },
            local_addr: addr("192.0.2.1:0"),
            peer_addr: addr(peer_addr),
            kind: RTCStreamKind::Turn { tls },
        };
        assert_eq!(net.sides[0].requests[1], opened);
        let candidates: Vec<_> = net.sides[0]
            .events
            .iter()
            .filter_map(|event| match event {
                RTCPeerConnectionEvent::OnIceCandidateEvent(event) => Some(&event.candidate),
                _ => None,
            })
            .collect();
        let [candidate] = candidates.as_slice() else {
            panic!("{candidates:?}")
        };
        assert_eq!(candidate.typ, CandidateType::Relayed);
        assert_eq!(
            candidate.relay_protocol.map(|it| it.as_str()),
            Some(protocol)
        );
        net.trickle();
        assert!(net.run(Duration::from_secs(5), Net::is_connected), "{url}");
        assert!(!net.run(Duration::from_secs(900), |net| !net.is_connected()));
        net.sides[0].core.close().unwrap();
        net.run(Duration::from_secs(2), |_| false);
        assert_eq!(net.server.as_ref().unwrap().core.allocations(), 0);
        assert!(net.streams.is_empty());
        assert!(net.sides[0].core.is_drained());
    }
}

#[test]
fn an_allocation_is_made_anew_when_its_stream_breaks() {
    let mut net = relayed("turn:turn.example.org?transport=tcp");
    net.negotiate();
    net.run(Duration::from_secs(1), |_| false);
    net.trickle();
    assert!(net.run(Duration::from_secs(5), Net::is_connected));
    net.break_streams();
    net.run(Duration::from_secs(5), |_| false);
    assert_eq!(net.server.as_ref().unwrap().core.allocations(), 1);
    let told = net.sides[0].events.iter().any(|event| {
        matches!(event, RTCPeerConnectionEvent::OnIceCandidateErrorEvent(error)
            if error.error_code == 701 && error.url.contains("transport=tcp"))
    });
    assert!(told);
    // The new relay is a new candidate, with which the connection goes on.
    net.trickle();
    assert!(net.run(Duration::from_secs(20), Net::is_connected));
}

#[test]
fn a_relay_that_refuses_streams_is_told() {
    let mut net = relayed("turn:turn.example.org?transport=tcp");
    net.refuses = true;
    net.negotiate();
    net.run(Duration::from_secs(1), |_| false);
    let told = net.sides[0].events.iter().any(|event| {
        matches!(event, RTCPeerConnectionEvent::OnIceCandidateErrorEvent(error)
            if error.error_code == 701 && error.error_text == "refused")
    });
    assert!(told);
}

fn hidden(theirs: MulticastDns) -> Net {
    let now = Instant::now();
    let mut a = Side::new(1, now, |setting| setting.multicast_dns = MulticastDns::Hide);
    let mut b = Side::new(2, now, |setting| setting.multicast_dns = theirs);
    a.core
        .add_local_interface(addr("192.0.2.1:1000"), UDP)
        .unwrap();
    b.core
        .add_local_interface(addr("192.0.2.2:2000"), UDP)
        .unwrap();
    a.core.create_data_channel("x", None).unwrap();
    let mut net = Net::new(now, [a, b]);
    net.udp = true;
    net
}

#[test]
fn names_stand_for_addresses_and_are_looked_up() {
    let mut net = hidden(MulticastDns::Hide);
    net.negotiate();
    for (side, ip) in net.sides.iter_mut().zip(["192.0.2.1", "192.0.2.2"]) {
        let sdp = side.core.local_description().unwrap().sdp;
        assert!(sdp.contains(".local ") && !sdp.contains(ip), "{sdp}");
    }
    assert!(net.run(Duration::from_secs(5), Net::is_connected));
    for side in &net.sides {
        let candidates: Vec<_> = side
            .events
            .iter()
            .filter_map(|event| match event {
                RTCPeerConnectionEvent::OnIceCandidateEvent(event) => Some(&event.candidate),
                _ => None,
            })
            .collect();
        let [candidate] = candidates.as_slice() else {
            panic!("{candidates:?}")
        };
        assert!(net.names.contains_key(&candidate.address));
        assert!(candidate.to_init().candidate.contains(&candidate.address));
    }
    let asked = |side: &Side| {
        let resolves = |it: &&RTCRequest| matches!(it, RTCRequest::ResolveMulticast { .. });
        side.requests.iter().filter(resolves).count()
    };
    assert_eq!((asked(&net.sides[0]), asked(&net.sides[1])), (1, 1));
    // The address behind the peer's name is not shown.
    let report = net.sides[0]
        .core
        .get_stats(rtc::statistics::StatsSelector::None);
    for (_, stats) in report.iter() {
        if let rtc::statistics::RTCStats::RemoteCandidate(stats) = stats {
            assert_eq!(stats.address, None);
        }
    }
    for index in [0, 1] {
        net.sides[index].core.close().unwrap();
        net.drain(index);
    }
    assert!(net.names.is_empty(), "names end with their connection");
}

#[test]
fn names_that_mean_nothing_or_too_much_are_ignored() {
    for ips in [vec![], vec!["192.0.2.1", "192.0.2.2"]] {
        let mut net = hidden(MulticastDns::Resolve);
        // The way to the other side is open from there alone.
        net.negotiate();
        net.drain(0);
        for known in net.names.values_mut() {
            *known = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        }
        // Its candidates are known to nobody, yet checks of its own are heard.
        assert!(net.run(Duration::from_secs(5), Net::is_connected));
    }
    let mut net = hidden(MulticastDns::Off);
    net.negotiate();
    assert!(net.run(Duration::from_secs(5), Net::is_connected));
    assert!(net.sides[1].requests.is_empty());
}

#[test]
fn a_flood_of_names_costs_a_bounded_number_of_lookups() {
    let mut net = hidden(MulticastDns::Resolve);
    net.negotiate();
    let ufrag = net.sides[0].core.local_description().unwrap().sdp;
    let ufrag = ufrag.split("a=ice-ufrag:").nth(1).unwrap();
    let ufrag = ufrag.lines().next().unwrap().to_owned();
    for number in 0..1000 {
        let init = rtc::peer_connection::transport::RTCIceCandidateInit {
            candidate: format!("candidate:1 1 udp 1 n{number}.local 5000 typ host ufrag {ufrag}"),
            sdp_mid: Some("0".to_owned()),
            ..Default::default()
        };
        net.sides[1].core.add_remote_candidate(init).unwrap();
    }
    let mut requests = 0;
    while net.sides[1].core.poll_request().is_some() {
        requests += 1;
    }
    assert!((1..=32).contains(&requests), "{requests}");
}
