//! A handmade peer that says exactly what a test wants it to say.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;
use rtc_crypto::{HmacAlgorithm, HmacKey};
use rtc_ice::{Agent, AgentConfig, Credentials, Role};
use rtc_shared::{Protocol, Rng, TaggedBytesMut, TransportContext};
use rtc_stun::{Class, Message, MessageBuilder, Method, TransactionId};

use crate::sim::{addr, agent, any_instant, udp};

pub(crate) const LOCAL: &str = "192.0.2.1:1000";
pub(crate) const PEER: &str = "192.0.2.2:2000";

pub(crate) struct Raw {
    pub(crate) agent: Agent,
    pub(crate) credentials: Credentials,
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    pub(crate) tiebreaker: u64,
}

impl Raw {
    /// An agent with one address, knowing the peer's credentials and no candidates.
    pub(crate) fn new(config: AgentConfig, role: Role) -> Self {
        let mut agent = agent(config, 7);
        let now = any_instant();
        agent.set_role(role);
        agent.add_local_candidate(udp(LOCAL)).unwrap();
        let credentials = Credentials::new("peer", "p".repeat(22)).unwrap();
        agent.set_remote_credentials(credentials.clone()).unwrap();
        agent.handle_timeout(now).unwrap();
        Self {
            agent,
            credentials,
            now,
            rng: Rng::from_seed([9; 32]),
            tiebreaker: 1,
        }
    }

    pub(crate) fn key(password: &str) -> Box<dyn HmacKey> {
        let hmac = rtc_crypto::ring::PROVIDER
            .hmac(HmacAlgorithm::Sha1)
            .unwrap();
        hmac.key(password.as_bytes())
    }

    /// A check without role and integrity.
    pub(crate) fn bare(&mut self) -> MessageBuilder {
        let username = format!(
            "{}:{}",
            self.agent.local_credentials().ufrag,
            self.credentials.ufrag
        );
        MessageBuilder::new(
            Class::Request,
            Method::BINDING,
            TransactionId::random(&mut self.rng),
        )
        .username(&username)
        .priority(1_862_270_975)
    }

    /// The check of an honest peer of a role, finished by `seal`.
    pub(crate) fn check(&mut self, role: Role) -> MessageBuilder {
        let tiebreaker = self.tiebreaker;
        match role {
            Role::Controlling => self.bare().ice_controlling(tiebreaker),
            Role::Controlled => self.bare().ice_controlled(tiebreaker),
        }
    }

    pub(crate) fn seal(&self, builder: MessageBuilder) -> BytesMut {
        let key = Self::key(&self.agent.local_credentials().pwd);
        builder.message_integrity(&*key).fingerprint().finish()
    }

    pub(crate) fn read_at(&mut self, local: SocketAddr, peer: SocketAddr, message: &[u8]) {
        let transport = TransportContext {
            local_addr: local,
            peer_addr: peer,
            ..TransportContext::default()
        };
        let message = BytesMut::from(message);
        let datagram = TaggedBytesMut {
            now: self.now,
            transport,
            message,
        };
        self.agent.handle_read(datagram).unwrap();
    }

    pub(crate) fn read(&mut self, message: &[u8]) {
        self.read_at(addr(LOCAL), addr(PEER), message);
    }

    /// Lets time pass up to an instant, calling the agent at its deadlines.
    pub(crate) fn wait(&mut self, time: std::time::Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.agent.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(deadline);
            self.agent.handle_timeout(self.now).unwrap();
            assert!(self.agent.poll_timeout().is_none_or(|at| at > self.now));
        }
        self.now = end;
    }

    pub(crate) fn written(&mut self) -> Vec<TaggedBytesMut> {
        std::iter::from_fn(|| self.agent.poll_write()).collect()
    }

    /// What was written, requests and responses apart.
    pub(crate) fn exchange(&mut self) -> (Vec<TaggedBytesMut>, Vec<TaggedBytesMut>) {
        self.written().into_iter().partition(|datagram| {
            Message::parse(&datagram.message).unwrap().class() == Class::Request
        })
    }

    /// The success response of the honest peer to a request.
    pub(crate) fn success(&self, request: &TaggedBytesMut) -> BytesMut {
        let message = Message::parse(&request.message).unwrap();
        let key = Self::key(&self.credentials.pwd);
        message.verify_integrity(&*key).unwrap();
        message.verify_fingerprint().unwrap();
        MessageBuilder::response(Class::Success, &message)
            .xor_mapped_address(request.transport.local_addr)
            .message_integrity(&*key)
            .fingerprint()
            .finish()
    }

    pub(crate) fn error(&self, request: &TaggedBytesMut, code: u16) -> BytesMut {
        let message = Message::parse(&request.message).unwrap();
        MessageBuilder::response(Class::Error, &message)
            .error_code(code, "no")
            .message_integrity(&*Self::key(&self.credentials.pwd))
            .fingerprint()
            .finish()
    }

    /// Answers all requests that wait, as an honest peer; gives them.
    pub(crate) fn answer_all(&mut self) -> Vec<TaggedBytesMut> {
        let (requests, _) = self.exchange();
        for request in &requests {
            let response = self.success(request);
            self.read_at(
                request.transport.local_addr,
                request.transport.peer_addr,
                &response,
            );
        }
        requests
    }

    /// Everything that a stranger must not be able to change.
    pub(crate) fn snapshot(&self) -> String {
        let pairs: Vec<_> = self
            .agent
            .pairs()
            .map(|pair| (pair.path, pair.state, pair.nominated))
            .collect();
        format!(
            "{:?} {:?} {:?} {pairs:?} {}",
            self.agent.state(),
            self.agent.role(),
            self.agent.selected_path(),
            self.agent.remote_candidates().count()
        )
    }
}
