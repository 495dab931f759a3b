use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use rtc_crypto::ring::PROVIDER;
use rtc_shared::{FiveTuple, Rng};
use rtc_stun::{Class, LongTermCredentials, Message, MessageBuilder, Method, TransactionId};
use rtc_turn::server::{RelayId, Server, ServerConfig, ServerEvent, ServerReceived};

use crate::sim::{REALM, SERVER, addr, mirrored, origin, server_with, udp};

/// A server alone, to which a test says exactly what it wants to.
pub(crate) struct Raw {
    pub(crate) server: Server,
    pub(crate) now: Instant,
    pub(crate) client: FiveTuple,
    pub(crate) credentials: LongTermCredentials,
    rng: Rng,
}

/// A response that owns its bytes.
pub(crate) struct Response(pub(crate) Bytes);

impl Response {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.0).unwrap()
    }

    /// The error code, 0 for a success.
    pub(crate) fn code(&self) -> u16 {
        self.message().error_code().map_or(0, |error| error.code())
    }
}

impl Raw {
    pub(crate) fn new() -> Self {
        Self::with(ServerConfig::new(REALM))
    }

    pub(crate) fn with(config: ServerConfig) -> Self {
        let now = origin();
        Self {
            server: server_with(config, now),
            now,
            client: mirrored(udp("198.51.100.1:5000")),
            credentials: LongTermCredentials::new(&PROVIDER, "user", "pass"),
            rng: Rng::from_seed([5; 32]),
        }
    }

    /// A server on which the client has an allocation.
    pub(crate) fn allocated() -> Self {
        let mut raw = Self::new();
        assert_eq!(raw.allocate().code(), 0);
        raw
    }

    pub(crate) fn id(&mut self) -> TransactionId {
        TransactionId::random(&mut self.rng)
    }

    pub(crate) fn request(&mut self, method: Method) -> MessageBuilder {
        let id = self.id();
        MessageBuilder::new(Class::Request, method, id)
    }

    /// Sends bytes and gives the response, if any.
    pub(crate) fn send(&mut self, datagram: &[u8]) -> Option<Response> {
        let received = self.server.handle_datagram(self.now, self.client, datagram);
        assert_eq!(received, ServerReceived::Consumed);
        self.bind_relays();
        let out = self.server.poll_transmit()?;
        assert_eq!(out.transport.five_tuple(), self.client);
        assert!(self.server.poll_transmit().is_none());
        let response = Response(out.message);
        response.message().verify_fingerprint().unwrap();
        response.message().validate().unwrap();
        Some(response)
    }

    /// Sends a request with credentials and gives the response, which has to be authentic.
    pub(crate) fn ask(&mut self, request: MessageBuilder) -> Response {
        if self.credentials.generation() == 0 {
            self.take_challenge();
        }
        let request = self.credentials.authenticate(request).finish();
        let response = self.send(&request).expect("a response");
        if !matches!(response.code(), 401 | 438) {
            self.credentials.verify(&response.message()).unwrap();
        }
        response
    }

    pub(crate) fn take_challenge(&mut self) {
        let request = self.request(Method::REFRESH).finish();
        let response = self.send(&request).expect("a challenge");
        assert_eq!(response.code(), 401);
        let generation = self.credentials.generation();
        self.credentials
            .handle_challenge(&response.message(), generation)
            .unwrap();
    }

    pub(crate) fn allocate(&mut self) -> Response {
        let request = self.request(Method::ALLOCATE).requested_transport(17);
        self.ask(request)
    }

    pub(crate) fn permit(&mut self, peers: &[SocketAddr]) -> Response {
        let request = self.request(Method::CREATE_PERMISSION);
        let request = peers
            .iter()
            .fold(request, |request, &peer| request.xor_peer_address(peer));
        self.ask(request)
    }

    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr) -> Response {
        let request = self.request(Method::CHANNEL_BIND);
        self.ask(request.channel_number(number).xor_peer_address(peer))
    }

    pub(crate) fn refresh(&mut self, seconds: u64) -> Response {
        let request = self.request(Method::REFRESH);
        self.ask(request.lifetime(std::time::Duration::from_secs(seconds)))
    }

    /// Gives relays to who asks, at ports from 60000.
    pub(crate) fn bind_relays(&mut self) -> Vec<RelayId> {
        let mut relays = Vec::new();
        while let Some(event) = self.server.poll_event() {
            if let ServerEvent::BindRelay { relay, .. } = event {
                let port = 60_000 + self.rng.below(5000) as u16;
                let address = match relay.family() {
                    rtc_stun::AddressFamily::Ipv4 => SocketAddr::new(addr(SERVER).ip(), port),
                    rtc_stun::AddressFamily::Ipv6 => {
                        SocketAddr::new("2a00::1".parse().unwrap(), port)
                    }
                };
                self.server.relay_bound(self.now, relay, address);
                relays.push(relay);
            }
        }
        relays
    }
}
