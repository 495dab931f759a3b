use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtc_stun::{
    AddressFamily, Class, ErrorCode, IntegrityError, LongTermCredentials, Message, MessageBuilder,
    Method, TransactionId,
};
use tracing::{debug, trace};

use super::request::{Ended, Handled, Outcome, Purpose, request};
use super::{
    Allocation, Client, ClientState, Event, MAX_LIFETIME, MIN_KEEPALIVE, Received, RelayedFamilies,
};
use crate::Error;
use crate::wire::is_data;

/// Requests and their answers.
impl Client {
    /// Asks the server of the path for an allocation.
    pub(super) fn begin(&mut self) {
        self.state = ClientState::Allocating;
        self.reconnect_by = None;
        self.visited.push(self.path.peer_addr);
        let fresh = self.fresh_credentials();
        self.requests.reset(fresh).for_each(drop);
        self.send(Purpose::Allocate);
    }

    pub(super) fn fresh_credentials(&self) -> Option<LongTermCredentials> {
        let credentials = self.config.credentials.as_ref()?;
        let (username, password) = (credentials.username(), credentials.password());
        Some(LongTermCredentials::new(self.provider, username, password))
    }

    pub(super) fn send(&mut self, purpose: Purpose) {
        let request = request(&purpose, TransactionId::random(&mut self.rng));
        let request = self.complete(&purpose, request);
        trace!(?purpose, "request");
        self.requests.send(self.now, purpose, request);
    }

    /// Writes what a request has to say.
    fn complete(&self, purpose: &Purpose, request: MessageBuilder) -> MessageBuilder {
        let request = match &self.config.software {
            Some(software) => request.software(software),
            None => request,
        };
        match purpose {
            Purpose::Allocate => {
                let request = with_lifetime(request.requested_transport(UDP), self.config.lifetime);
                match self.config.families {
                    // What goes without saying is not said: old servers do not know the attribute.
                    RelayedFamilies::Ipv4 => request,
                    RelayedFamilies::Ipv6 => request.requested_address_family(AddressFamily::Ipv6),
                    RelayedFamilies::Both => request.additional_address_family(AddressFamily::Ipv6),
                }
            }
            Purpose::Refresh => with_lifetime(request, self.config.lifetime),
            Purpose::Delete => request.lifetime(Duration::ZERO),
            Purpose::Permissions(peers) => peers.iter().fold(request, |request, &peer| {
                request.xor_peer_address(SocketAddr::new(peer, 0))
            }),
            Purpose::Channel { number, peer } => {
                request.channel_number(*number).xor_peer_address(*peer)
            }
        }
    }

    /// Sends the requests for permissions and channels that are due, as far as there is room.
    pub(super) fn send_due(&mut self) {
        while self.state == ClientState::Allocated && self.requests.has_room() {
            let peers = self.permissions.take_due(self.now);
            if !peers.is_empty() {
                self.send(Purpose::Permissions(peers));
            } else if let Some((number, peer)) = self.channels.take_due(self.now) {
                self.send(Purpose::Channel { number, peer });
            } else {
                return;
            }
        }
    }

    pub(super) fn handle_message(&mut self, message: &Message<'_>, datagram: &[u8]) -> Received {
        match (message.class(), message.method()) {
            (_, Method::BINDING) | (Class::Request, _) => return Received::NotMine,
            _ => {}
        }
        if message
            .verify_fingerprint()
            .is_err_and(|error| error != IntegrityError::Missing)
        {
            self.stats.bad_fingerprint += 1;
            return Received::Consumed;
        }
        match message.class() {
            Class::Indication if is_data(message.method()) => {
                return self.handle_data_indication(message, datagram);
            }
            Class::Success | Class::Error => {
                match self.requests.handle_response(self.now, message) {
                    Handled::Unmatched => self.stats.unmatched_response += 1,
                    Handled::Ignored => self.stats.ignored_response += 1,
                    Handled::Ended(ended) => self.handle_ended(ended, Some(message)),
                }
            }
            _ => self.stats.malformed += 1,
        }
        Received::Consumed
    }

    /// A request is over, by a response or without.
    pub(super) fn handle_ended(&mut self, ended: Ended, response: Option<&Message<'_>>) {
        let Ended {
            purpose,
            since,
            outcome,
        } = ended;
        trace!(?purpose, ?outcome, "request ended");
        if matches!(self.state, ClientState::Closed | ClientState::Failed) {
            return;
        }
        if self.state == ClientState::Closing {
            return match (purpose, outcome) {
                (Purpose::Allocate, Outcome::Success) => self.delete(),
                (Purpose::Delete, Outcome::Again) => self.send(Purpose::Delete),
                (Purpose::Allocate | Purpose::Delete, _) => self.finish(None),
                _ => {}
            };
        }
        if outcome == Outcome::Again {
            return self.send(purpose);
        }
        // The server does not know the allocation, or knows it as another's.
        if let Outcome::Failure(Error::Refused { code, .. }) = &outcome
            && matches!(
                *code,
                ErrorCode::ALLOCATION_MISMATCH | ErrorCode::WRONG_CREDENTIALS
            )
        {
            return self.finish(outcome.error());
        }
        match purpose {
            Purpose::Allocate => self.handle_allocate(since, outcome, response),
            Purpose::Refresh => self.handle_refresh(since, outcome, response),
            Purpose::Delete => {}
            Purpose::Permissions(peers) => self.handle_permissions(since, &peers, outcome),
            Purpose::Channel { number, peer } => self.handle_channel(since, number, peer, outcome),
        }
    }

    fn handle_allocate(
        &mut self,
        since: Instant,
        outcome: Outcome,
        response: Option<&Message<'_>>,
    ) {
        match outcome {
            Outcome::Redirect { server, domain } => return self.redirect(server, domain),
            Outcome::Success => {}
            _ => return self.finish(outcome.error()),
        }
        let Some((allocation, lifetime)) =
            response.and_then(|response| self.granted(since, response))
        else {
            return self.finish(Some(Error::InvalidResponse));
        };
        debug!(?lifetime, relayed = ?allocation.ipv4.or(allocation.ipv6), "allocated");
        self.state = ClientState::Allocated;
        let relayed = [allocation.ipv4, allocation.ipv6];
        let mut relayed = relayed.into_iter().flatten();
        if let Some(first) = relayed.next() {
            self.event(Event::Allocated {
                relayed: first,
                additional: relayed.next(),
                mapped: allocation.mapped,
            });
        }
        if self.config.families == RelayedFamilies::Both {
            let refused = response
                .into_iter()
                .flat_map(Message::address_error_codes)
                .flatten();
            for refused in refused.take(2) {
                self.event(Event::FamilyRefused {
                    family: refused.family,
                    error: Error::Refused {
                        code: refused.error.code(),
                        reason: refused.error.reason().into_owned(),
                    },
                });
            }
        }
        self.allocation = Some(allocation);
        if !self.is_stream()
            && let Some(keepalive) = self.config.keepalive
        {
            self.keepalive_at = Some(self.now + keepalive.clamp(MIN_KEEPALIVE, MAX_LIFETIME));
        }
    }

    /// Reads what an Allocate response grants.
    fn granted(&self, since: Instant, response: &Message<'_>) -> Option<(Allocation, Duration)> {
        let relayed = |family| {
            let of_family = |address: &SocketAddr| AddressFamily::of(address.ip()) == family;
            let mut all = response.xor_relayed_addresses().flatten();
            all.find(of_family)
                .filter(|_| self.config.families.includes(family))
        };
        let lifetime = response.lifetime()?;
        let allocation = Allocation {
            ipv4: relayed(AddressFamily::Ipv4),
            ipv6: relayed(AddressFamily::Ipv6),
            mapped: response.xor_mapped_address()?,
            expires: self.expiry(since, lifetime),
            refresh_at: Some(self.refresh_time(since, lifetime)),
        };
        (allocation.ipv4.is_some() || allocation.ipv6.is_some()).then_some((allocation, lifetime))
    }

    fn handle_refresh(&mut self, since: Instant, outcome: Outcome, response: Option<&Message<'_>>) {
        let now = self.now;
        let granted = match &outcome {
            Outcome::Success => response.and_then(Message::lifetime),
            _ => None,
        };
        let times = granted.map(|lifetime| {
            (
                self.expiry(since, lifetime),
                self.refresh_time(since, lifetime),
            )
        });
        if let Outcome::Failure(Error::Credentials(_)) = outcome {
            return self.finish(outcome.error());
        }
        if let Some(allocation) = &mut self.allocation {
            match times {
                Some((expires, refresh_at)) => {
                    allocation.expires = expires;
                    allocation.refresh_at = Some(refresh_at);
                }
                // Until the allocation runs out there is hope.
                None => allocation.refresh_at = Some(now + RETRY),
            }
        }
    }

    fn handle_permissions(&mut self, since: Instant, peers: &[IpAddr], outcome: Outcome) {
        let Some(error) = outcome.error() else {
            for &peer in peers {
                if self.permissions.granted(peer, since) {
                    self.event(Event::PermissionGranted(peer));
                }
            }
            return;
        };
        if matches!(error, Error::Refused { .. }) && peers.len() > 1 {
            // One of them may be the reason; the server grants all or none (RFC 8656 section 10.2).
            self.permissions.again(self.now, peers, true);
            return;
        }
        for &peer in peers {
            if error == Error::Timeout && self.permissions.is_granted(peer) {
                // It has a minute left, and the allocation tells whether the server is gone.
                self.permissions.again(self.now, &[peer], false);
            } else if self.permissions.contains(peer) {
                self.permissions.remove(peer);
                self.event(Event::PermissionRefused {
                    peer,
                    error: error.clone(),
                });
            }
        }
    }

    fn handle_channel(&mut self, since: Instant, number: u16, peer: SocketAddr, outcome: Outcome) {
        match outcome.error() {
            None => {
                if self.channels.bound_at(number, since) {
                    self.event(Event::ChannelBound { peer, number });
                }
            }
            Some(Error::Timeout) if self.channels.unanswered(self.now, number) => {}
            Some(error) => {
                self.channels.refused(number);
                self.event(Event::ChannelRefused { peer, error });
            }
        }
    }

    /// Goes to another server, if that can be done and leads somewhere (RFC 8489 section 10).
    fn redirect(&mut self, server: SocketAddr, domain: Option<String>) {
        let is_circle = self.visited.contains(&server) || self.visited.len() > MAX_REDIRECTIONS;
        let other_family = server.is_ipv4() != self.path.peer_addr.is_ipv4();
        if is_circle || (other_family && !self.is_stream()) {
            return self.finish(Some(Error::Redirection));
        }
        debug!(%server, "redirected");
        if self.is_stream() {
            self.state = ClientState::Redirected;
            let wait = self.config.transaction.reliable_timeout;
            self.reconnect_by = Some(self.now + wait.clamp(RETRY, MAX_LIFETIME));
            self.event(Event::Redirected { server, domain });
        } else {
            self.path.peer_addr = server;
            self.begin();
        }
    }

    pub(super) fn delete(&mut self) {
        self.requests.abandon();
        self.indications.clear();
        self.send(Purpose::Delete);
    }

    /// The end, with an error or as it was wanted.
    pub(super) fn finish(&mut self, error: Option<Error>) {
        if matches!(self.state, ClientState::Closed | ClientState::Failed) {
            return;
        }
        self.requests.abandon();
        self.indications = VecDeque::new();
        self.permissions.clear();
        self.channels.clear();
        self.allocation = None;
        self.reconnect_by = None;
        self.keepalive_at = None;
        match error {
            Some(error) => {
                debug!(%error, "failed");
                self.state = ClientState::Failed;
                self.events.push_back(Event::Failed(error));
            }
            None => {
                self.state = ClientState::Closed;
                self.events.push_back(Event::Closed);
            }
        }
    }
}

impl Outcome {
    /// The error that it stands for, `None` for a success.
    fn error(self) -> Option<Error> {
        match self {
            Self::Success => None,
            Self::Failure(error) => Some(error),
            // Only an Allocate request is sent elsewhere, and a repetition is no end.
            Self::Redirect { .. } | Self::Again => Some(Error::Redirection),
        }
    }
}

fn with_lifetime(request: MessageBuilder, lifetime: Option<Duration>) -> MessageBuilder {
    match lifetime {
        Some(lifetime) => request.lifetime(lifetime.max(Duration::from_secs(1))),
        None => request,
    }
}

/// The protocol number of UDP.
const UDP: u8 = 17;
/// Wait before an allocation is asked to be prolonged again.
const RETRY: Duration = Duration::from_secs(2);
/// Servers that are tried after the first.
const MAX_REDIRECTIONS: usize = 4;
