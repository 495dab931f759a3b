use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_shared::{FiveTuple, Rng, TransportMessage};
use rtc_stun::{
    AttributeType, Class, ClientTransaction, IntegrityError, Message, MessageBuilder, Method,
    TransactionConfig, TransactionId, TransactionState,
};
use tracing::trace;

use crate::Error;

/// Asks a STUN server for our address as it sees it (RFC 8489), for a server-reflexive candidate; and
/// goes on asking, when wanted, to keep the way through NATs open and to learn of changes.
///
/// After any call with a `now` poll [`poll_transmit`](Self::poll_transmit) and
/// [`poll_event`](Self::poll_event) until `None`, then ask [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct BindingClient {
    path: FiveTuple,
    config: BindingConfig,
    rng: Rng,
    transaction: Option<ClientTransaction>,
    mapped: Option<SocketAddr>,
    round_trip_time: Option<Duration>,
    next_at: Option<Instant>,
    event: Option<BindingEvent>,
    now: Instant,
}

/// Configuration of a [`BindingClient`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct BindingConfig {
    /// How the request is repeated over UDP, and how long an answer may take.
    pub transaction: TransactionConfig,
    /// Wait between an answer and the next request, at least a second; `None` asks once. Browsers
    /// take 10 s.
    pub keepalive: Option<Duration>,
    /// The first 32 bits of every transaction id, so that among several clients behind one socket the
    /// answers can be told apart without a table of requests. 64 random bits follow.
    pub transaction_tag: Option<u32>,
}

/// What a [`BindingClient`] tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindingEvent {
    /// The server sees us at this address. Told again only when it changes.
    Mapped(SocketAddr),
    /// There is no answer, or it is a refusal. With a keepalive the next request follows all the same.
    Failed(Error),
}

impl BindingClient {
    /// Asks the server that the path leads to.
    #[must_use]
    pub fn new(config: BindingConfig, rng: Rng, path: FiveTuple, now: Instant) -> Self {
        let mut client = Self {
            path,
            config,
            rng,
            transaction: None,
            mapped: None,
            round_trip_time: None,
            next_at: None,
            event: None,
            now,
        };
        client.ask();
        client
    }

    /// The path to the server.
    #[must_use]
    pub fn path(&self) -> FiveTuple {
        self.path
    }

    /// The last address that the server saw.
    #[must_use]
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        self.mapped
    }

    /// The last measured round trip time.
    #[must_use]
    pub fn round_trip_time(&self) -> Option<Duration> {
        self.round_trip_time
    }

    /// Takes a datagram that arrived on the local address of the path; true when it was the answer.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> bool {
        self.now = self.now.max(now);
        if from != self.path.peer_addr || !rtc_stun::is_stun(datagram) {
            return false;
        }
        let (Some(transaction), Ok(message)) = (&self.transaction, Message::parse(datagram)) else {
            return false;
        };
        if !transaction.matches(&message) {
            return false;
        }
        if message
            .verify_fingerprint()
            .is_err_and(|error| error != IntegrityError::Missing)
        {
            return true;
        }
        if let Some(measured) = transaction.round_trip_time(self.now) {
            self.round_trip_time = Some(measured);
        }
        let is_understood = message.unknown_required(&KNOWN).is_empty();
        let result = match (message.class(), message.xor_mapped_address()) {
            (Class::Error, _) => Err(Error::of(&message)),
            (_, Some(address)) if is_understood => Ok(address),
            _ => Err(Error::InvalidResponse),
        };
        self.answered(result);
        true
    }

    /// A message to send on the path.
    pub fn poll_transmit(&mut self) -> Option<TransportMessage<Bytes>> {
        let message = self.transaction.as_mut()?.poll_transmit()?;
        Some(TransportMessage {
            now: self.now,
            transport: self.path.context(None),
            message,
        })
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<BindingEvent> {
        self.event.take()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` when all is done.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let transaction = self.transaction.as_ref();
        let deadline = transaction.and_then(ClientTransaction::poll_timeout);
        deadline.or(self.next_at)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if let Some(transaction) = &mut self.transaction {
            transaction.handle_timeout(self.now);
            if transaction.state() != TransactionState::Waiting {
                self.answered(Err(Error::Timeout));
            }
        }
        if self.next_at.is_some_and(|at| at <= self.now) {
            self.ask();
        }
    }

    /// Sets [`BindingConfig::transaction_tag`] for the requests to come.
    pub fn set_transaction_tag(&mut self, tag: u32) {
        self.config.transaction_tag = Some(tag);
    }

    /// Asks at once, without waiting for the next keepalive. The answer is told although it may be the
    /// same as before.
    pub fn ask_again(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.mapped = None;
        self.ask();
    }

    /// Asks no more.
    pub fn close(&mut self) {
        self.transaction = None;
        self.next_at = None;
    }

    fn ask(&mut self) {
        let mut id = TransactionId::random(&mut self.rng);
        if let Some(tag) = self.config.transaction_tag {
            for (to, from) in id.0.iter_mut().zip(tag.to_be_bytes()) {
                *to = from;
            }
        }
        let request = MessageBuilder::new(Class::Request, Method::BINDING, id).fingerprint();
        let protocol = self.path.transport_protocol;
        let config = &self.config.transaction;
        self.next_at = None;
        self.transaction = Some(ClientTransaction::new(request, protocol, config, self.now));
    }

    fn answered(&mut self, result: Result<SocketAddr, Error>) {
        trace!(?result, "binding");
        self.transaction = None;
        self.next_at = self
            .config
            .keepalive
            .map(|keepalive| self.now + keepalive.clamp(MIN_KEEPALIVE, MAX_KEEPALIVE));
        match result {
            Ok(address) if self.mapped.replace(address) != Some(address) => {
                self.event = Some(BindingEvent::Mapped(address));
            }
            Ok(_) => {}
            Err(error) => self.event = Some(BindingEvent::Failed(error)),
        }
    }
}

const MIN_KEEPALIVE: Duration = Duration::from_secs(1);
const MAX_KEEPALIVE: Duration = Duration::from_secs(86_400);
const KNOWN: [AttributeType; 4] = [
    AttributeType::MAPPED_ADDRESS,
    AttributeType::XOR_MAPPED_ADDRESS,
    AttributeType::ERROR_CODE,
    AttributeType::UNKNOWN_ATTRIBUTES,
];
