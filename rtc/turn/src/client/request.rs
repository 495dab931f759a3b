use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_shared::TransportProtocol;
use rtc_stun::{
    AttributeType, Class, ClientTransaction, ErrorCode, IntegrityError, LongTermCredentials,
    Message, MessageBuilder, Method, TransactionConfig, TransactionId, TransactionState,
};
use smallvec::SmallVec;

use crate::Error;

/// What a request is for, and enough to make it anew after a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Allocate,
    Refresh,
    Delete,
    Permissions(SmallVec<[IpAddr; 4]>),
    Channel { number: u16, peer: SocketAddr },
}

impl Purpose {
    pub(super) fn method(&self) -> Method {
        match self {
            Self::Allocate => Method::ALLOCATE,
            Self::Refresh | Self::Delete => Method::REFRESH,
            Self::Permissions(_) => Method::CREATE_PERMISSION,
            Self::Channel { .. } => Method::CHANNEL_BIND,
        }
    }
}

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The response is authentic, where it can be, and says yes.
    Success,
    /// It is to be sent again, because the server gave a realm or a nonce to use.
    Again,
    /// Another server is to be asked.
    Redirect {
        server: SocketAddr,
        domain: Option<String>,
    },
    Failure(Error),
}

/// What became of a response.
pub(super) enum Handled {
    /// It answers none of the requests.
    Unmatched,
    /// It answers one but does not count.
    Ignored,
    Ended(Ended),
}

/// A request that is over.
pub(super) struct Ended {
    pub(super) purpose: Purpose,
    /// When it was first sent: what the server granted runs from then at the earliest.
    pub(super) since: Instant,
    pub(super) outcome: Outcome,
}

/// The requests under way and the credentials that they carry.
pub(super) struct Requests {
    credentials: Option<LongTermCredentials>,
    protocol: TransportProtocol,
    config: TransactionConfig,
    pending: Vec<Pending>,
}

struct Pending {
    purpose: Purpose,
    transaction: ClientTransaction,
    since: Instant,
    generation: u32,
    /// An error without integrity came. RFC 8489 section 9.2.5 discards it; but there are servers that
    /// send no other, so that it counts when nothing authentic follows within a moment.
    refusal: Option<(Error, Instant)>,
}

impl Requests {
    pub(super) fn new(
        credentials: Option<LongTermCredentials>,
        protocol: TransportProtocol,
        config: TransactionConfig,
    ) -> Self {
        Self {
            credentials,
            protocol,
            config,
            pending: Vec::new(),
        }
    }

    /// Begins anew with other credentials or another server; gives what was under way.
    pub(super) fn reset(
        &mut self,
        credentials: Option<LongTermCredentials>,
    ) -> impl Iterator<Item = Purpose> + use<> {
        self.credentials = credentials;
        std::mem::take(&mut self.pending)
            .into_iter()
            .map(|pending| pending.purpose)
    }

    /// Sends a request that is complete but for credentials and fingerprint.
    pub(super) fn send(&mut self, now: Instant, purpose: Purpose, request: MessageBuilder) {
        let request = match &self.credentials {
            Some(credentials) => credentials.authenticate(request),
            None => request,
        };
        let mut config = self.config;
        if purpose == Purpose::Delete {
            // Nobody waits long for a farewell.
            config.max_transmissions = config.max_transmissions.min(3);
            config.last_wait = config.last_wait.min(2);
            config.reliable_timeout = config.reliable_timeout.min(FAREWELL);
        }
        self.pending.push(Pending {
            purpose,
            transaction: ClientTransaction::new(request.fingerprint(), self.protocol, &config, now),
            since: now,
            generation: self.generation(),
            refusal: None,
        });
    }

    /// True when another request may begin; bounds what is under way.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < MAX_PENDING
    }

    /// True when the server has asked for credentials and got them.
    pub(super) fn is_authenticated(&self) -> bool {
        self.generation() > 0
    }

    pub(super) fn abandon(&mut self) {
        self.pending = Vec::new();
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Bytes> {
        self.pending
            .iter_mut()
            .find_map(|pending| pending.transaction.poll_transmit())
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.pending.iter().filter_map(Pending::deadline).min()
    }

    /// Lets time pass, and gives one request that has ended by it. To be called until `None`.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Ended> {
        for pending in &mut self.pending {
            pending.transaction.handle_timeout(now);
        }
        let index = self
            .pending
            .iter()
            .position(|pending| pending.is_over(now))?;
        let pending = self.pending.swap_remove(index);
        let error = match (pending.refusal, pending.transaction.state()) {
            (Some((error, _)), _) => error,
            (None, TransactionState::IntegrityViolated) => Error::IntegrityViolated,
            (None, _) => Error::Timeout,
        };
        Some(Ended {
            purpose: pending.purpose,
            since: pending.since,
            outcome: Outcome::Failure(error),
        })
    }

    /// Takes a response.
    pub(super) fn handle_response(&mut self, now: Instant, message: &Message<'_>) -> Handled {
        let matches = |pending: &Pending| pending.transaction.matches(message);
        let Some(index) = self.pending.iter().position(matches) else {
            return Handled::Unmatched;
        };
        let Some(outcome) = self.judge(now, index, message) else {
            return Handled::Ignored;
        };
        let pending = self.pending.swap_remove(index);
        Handled::Ended(Ended {
            purpose: pending.purpose,
            since: pending.since,
            outcome,
        })
    }

    /// What a response means for the request at `index`; `None` when it does not count.
    fn judge(&mut self, now: Instant, index: usize, message: &Message<'_>) -> Option<Outcome> {
        let pending = self.pending.get_mut(index)?;
        let authenticated = pending.generation > 0;
        let code = match message.class() {
            Class::Error => match message.error_code() {
                Some(error) => Some(error.code()),
                // Without a readable code it says nothing.
                None => return None,
            },
            _ => None,
        };

        if let Some(credentials) = &mut self.credentials {
            if let Some(ErrorCode::UNAUTHENTICATED | ErrorCode::STALE_NONCE) = code {
                let challenge = credentials.handle_challenge(message, pending.generation);
                return Some(match challenge {
                    Ok(()) => Outcome::Again,
                    Err(error) => Outcome::Failure(error.into()),
                });
            }
            if authenticated && let Err(error) = credentials.verify(message) {
                let is_refusal = error == IntegrityError::Missing
                    && code.is_some_and(|code| code != ErrorCode::TRY_ALTERNATE);
                let refusal = is_refusal.then(|| Error::of(message));
                if self.protocol == TransportProtocol::TCP {
                    // Nobody but the server can have sent it, and it will send nothing else.
                    return Some(Outcome::Failure(
                        refusal.unwrap_or(Error::IntegrityViolated),
                    ));
                }
                pending.transaction.ignore_response();
                if pending.refusal.is_none() {
                    pending.refusal = refusal.map(|error| (error, now + PATIENCE));
                }
                return None;
            }
        }

        if !message.unknown_required(&KNOWN).is_empty() {
            return Some(Outcome::Failure(Error::InvalidResponse));
        }
        Some(match code {
            None => Outcome::Success,
            Some(ErrorCode::TRY_ALTERNATE) => match message.alternate_server() {
                // Only a response with integrity may send us elsewhere (RFC 8489 section 14.8).
                Some(server) if authenticated => Outcome::Redirect {
                    server,
                    domain: message.alternate_domain().map(str::to_owned),
                },
                _ => Outcome::Failure(Error::Redirection),
            },
            Some(_) => Outcome::Failure(Error::of(message)),
        })
    }

    fn generation(&self) -> u32 {
        self.credentials
            .as_ref()
            .map_or(0, LongTermCredentials::generation)
    }
}

impl Pending {
    fn deadline(&self) -> Option<Instant> {
        let refused = self.refusal.as_ref().map(|&(_, until)| until);
        self.transaction
            .poll_timeout()
            .into_iter()
            .chain(refused)
            .min()
    }

    fn is_over(&self, now: Instant) -> bool {
        self.transaction.state() != TransactionState::Waiting
            || self
                .refusal
                .as_ref()
                .is_some_and(|&(_, until)| until <= now)
    }
}

/// Begins a request.
pub(super) fn request(purpose: &Purpose, id: TransactionId) -> MessageBuilder {
    MessageBuilder::new(Class::Request, purpose.method(), id)
}

/// Most requests under way at a time.
const MAX_PENDING: usize = 16;
/// How long an authentic response may come after one without integrity.
const PATIENCE: Duration = Duration::from_secs(1);
const FAREWELL: Duration = Duration::from_secs(2);
/// The comprehension-required attributes that responses of a TURN server may have.
const KNOWN: [AttributeType; 17] = [
    AttributeType::MAPPED_ADDRESS,
    AttributeType::USERNAME,
    AttributeType::ERROR_CODE,
    AttributeType::UNKNOWN_ATTRIBUTES,
    AttributeType::CHANNEL_NUMBER,
    AttributeType::LIFETIME,
    AttributeType::XOR_PEER_ADDRESS,
    AttributeType::REALM,
    AttributeType::NONCE,
    AttributeType::XOR_RELAYED_ADDRESS,
    AttributeType::REQUESTED_ADDRESS_FAMILY,
    AttributeType::EVEN_PORT,
    AttributeType::REQUESTED_TRANSPORT,
    AttributeType::DONT_FRAGMENT,
    AttributeType::PASSWORD_ALGORITHM,
    AttributeType::XOR_MAPPED_ADDRESS,
    AttributeType::RESERVATION_TOKEN,
];
