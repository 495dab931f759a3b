mod context;
mod protocol;
mod restart;
mod routes;
mod state;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc_crypto::{CryptoProvider, HmacAlgorithm};
use rtc_shared::{FiveTuple, Rng, TransportContext};
use rtc_stun::{Class, Message, Method};
use tracing::{debug, trace};

pub(crate) use context::Context;
pub use routes::AcceptedPath;

use crate::credentials::Keyed;
use crate::generation::Generation;
use crate::{AgentConfig, Candidate, CandidateType, Credentials, Error, PairStats, Stats};

/// Who decides which pair is used (RFC 8445 section 6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Nominates; the side that made the first offer.
    Controlling,
    /// Follows.
    Controlled,
}

impl Role {
    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Controlling => Self::Controlled,
            Self::Controlled => Self::Controlling,
        }
    }
}

/// State of the connection, the W3C `RTCIceTransportState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for credentials or candidates of the peer.
    New,
    /// Looks for a first path.
    Checking,
    /// Has a path, and may still find a better one.
    Connected,
    /// Has its final path: both sides have no more candidates and no pair is left to check.
    Completed,
    /// The path does not answer; may recover by itself.
    Disconnected,
    /// There is no path; only a restart helps.
    Failed,
    /// Closed.
    Closed,
}

impl State {
    /// The W3C name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Checking => "checking",
            Self::Connected => "connected",
            Self::Completed => "completed",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }
}

/// What an agent tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The connection has another state.
    StateChanged(State),
    /// Data goes by this path from now on. Its local address is the base of a local candidate.
    SelectedPathChanged(FiveTuple),
    /// A role conflict was resolved to this role (RFC 8445 section 7.3.1.1).
    RoleChanged(Role),
}

/// An ICE agent for one component.
///
/// Getters say how things stand: [`state`](Self::state), [`selected_path`](Self::selected_path),
/// [`accepts`](Self::accepts), [`pairs`](Self::pairs). Commands bring what signalling and gathering
/// find: role, credentials, candidates, restart. They have no time and take none: the work they start
/// is due at once, so [`poll_timeout`](rtc_shared::Protocol::poll_timeout) then lies in the past.
/// Before the agent has seen its first instant there is none to return: call
/// [`handle_timeout`](rtc_shared::Protocol::handle_timeout) once when its life begins.
///
/// Datagrams go in by [`handle_read`](rtc_shared::Protocol::handle_read), or parsed by
/// [`handle_message`](Self::handle_message), and come out of
/// [`poll_write`](rtc_shared::Protocol::poll_write). Nothing that is not authentic changes any state.
///
/// # Paths
///
/// The local address of a path is always the base of a local candidate. That of a relayed candidate
/// is the relayed address; that of an active TCP candidate is its address with port 9, for which the
/// owner opens a connection per peer address when something is first written.
pub struct Agent {
    context: Context,
    current: Generation,
    /// The generation before a restart, until the new one has a pair and some time more.
    previous: Option<Box<Generation>>,
    previous_until: Option<Instant>,
    state: State,
    path: Option<FiveTuple>,
    /// Last answer on the path that carried data, for the time when there is none.
    answered_at: Option<Instant>,
    now: Option<Instant>,
    deadline: Option<Instant>,
    /// Something was changed without a time.
    dirty: bool,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("role", &self.context.role)
            .field("state", &self.state)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// An agent that is controlled until [`set_role`](Self::set_role), with its local credentials
    /// ready. Checks are answered from now on.
    ///
    /// # Errors
    /// [`Error::UnsupportedCrypto`] when the provider has no HMAC-SHA1, and
    /// [`Error::InvalidCredentials`] when those of the configuration are invalid.
    pub fn new(
        config: AgentConfig,
        provider: &'static CryptoProvider,
        mut rng: Rng,
    ) -> Result<Self, Error> {
        let mut config = config.sanitized();
        let hmac = provider
            .hmac(HmacAlgorithm::Sha1)
            .ok_or(Error::UnsupportedCrypto)?;
        let credentials = match config.credentials.take() {
            Some(credentials) => credentials,
            None => Credentials::random(&mut rng, config.ufrag_length, config.pwd_length),
        };
        credentials.validate()?;
        Ok(Self {
            current: Generation::new(0, Keyed::new(credentials, hmac)),
            context: Context::new(config, hmac, rng),
            previous: None,
            previous_until: None,
            state: State::New,
            path: None,
            answered_at: None,
            now: None,
            deadline: None,
            dirty: true,
        })
    }

    /// Sets the role that signalling gives: controlling for the side of the first offer. A lite agent
    /// stays controlled and a full one facing a lite one controlling (RFC 8445 section 6.1.1). To
    /// repeat what was said before does not undo how a conflict was resolved.
    pub fn set_role(&mut self, role: Role) {
        if self.context.signalled_role != Some(role) {
            self.context.signalled_role = Some(role);
            self.apply_role();
        }
    }

    /// The role as it is, after conflicts.
    #[must_use]
    pub fn role(&self) -> Role {
        self.context.role
    }

    /// Says whether the peer is an ICE-lite agent (`a=ice-lite`).
    pub fn set_remote_lite(&mut self, lite: bool) {
        if self.context.remote_lite != lite {
            self.context.remote_lite = lite;
            self.apply_role();
            // Only between two lite agents does a lite one form pairs itself.
            self.current.pair_all(&mut self.context);
        }
    }

    fn apply_role(&mut self) {
        let role = match (self.context.config.lite, self.context.remote_lite) {
            (true, false) => Role::Controlled,
            (false, true) => Role::Controlling,
            _ => self.context.signalled_role.unwrap_or(self.context.role),
        };
        if role != self.context.role {
            self.context.role = role;
            self.role_changed();
        }
        self.wake();
    }

    /// Ranks all pairs anew after the role changed.
    pub(crate) fn role_changed(&mut self) {
        self.current.rank_pairs(&self.context);
        if let Some(previous) = &mut self.previous {
            previous.rank_pairs(&self.context);
        }
    }

    /// Credentials for the next description; a restart changes them.
    #[must_use]
    pub fn local_credentials(&self) -> &Credentials {
        &self.current.local.credentials
    }

    /// Credentials of the peer for the current generation, once known.
    #[must_use]
    pub fn remote_credentials(&self) -> Option<&Credentials> {
        self.current
            .remote
            .as_ref()
            .map(|remote| &remote.credentials)
    }

    /// Adds a candidate of a local socket or server and returns it as it is to be signalled, with
    /// foundation, priority, user name fragment and generation filled in.
    ///
    /// `None` when it is redundant (RFC 8445 section 5.1.3), not allowed by
    /// [`relay_only`](AgentConfig::relay_only), has no address, or the agent has too many.
    pub fn add_local_candidate(&mut self, mut candidate: Candidate) -> Option<&Candidate> {
        let usable = candidate.component == COMPONENT
            && candidate
                .socket_addr()
                .is_some_and(|address| !address.ip().is_unspecified())
            && candidate.base().is_some();
        let forbidden = self.context.config.relay_only && candidate.typ != CandidateType::Relayed
            || self.context.config.lite && candidate.typ != CandidateType::Host;
        if !usable || forbidden || self.state == State::Closed {
            return None;
        }
        candidate.ufrag = Some(self.current.local.ufrag().to_owned());
        candidate.generation = Some(self.current.number);
        let new_id = self.context.new_id();
        let id = self.context.locals.add(candidate, new_id)?.id;
        self.current.pair_local(&mut self.context, id);
        if let (Some(previous), None) = (&mut self.previous, &self.current.remote) {
            previous.pair_local(&mut self.context, id);
        }
        self.wake();
        self.context.locals.get(id)
    }

    /// The candidates to be signalled.
    #[must_use]
    pub fn local_candidates(&self) -> &[Candidate] {
        self.context.locals.gathered()
    }

    /// Forgets every candidate of a base, because its socket or interface is gone, with their pairs.
    pub fn remove_local_base(&mut self, base: SocketAddr) {
        self.context.locals.remove_base(base);
        self.current.remove_base(base);
        if let Some(previous) = &mut self.previous {
            previous.remove_base(base);
        }
        self.wake();
    }

    /// Forgets a server-reflexive candidate, because the server sees another address now. Its pairs are
    /// those of its base and stay.
    pub fn remove_server_reflexive(&mut self, address: SocketAddr, base: SocketAddr) {
        if self.context.locals.remove_reflexive(address, base) {
            self.current.repair_locals(&self.context);
            if let Some(previous) = &mut self.previous {
                previous.repair_locals(&self.context);
            }
        }
    }

    /// Takes the candidates of a base out of the generation that a [`restart`](Self::restart) has
    /// begun. The one before, as long as it is there, goes on with them; then they are forgotten as by
    /// [`remove_local_base`](Self::remove_local_base).
    pub fn retire_local_base(&mut self, base: SocketAddr) {
        self.retire(|candidate| candidate.base() == Some(base));
    }

    /// Changes [`relay_only`](AgentConfig::relay_only). Candidates that are forbidden now are taken out
    /// of the generation that a [`restart`](Self::restart) has begun.
    pub fn set_relay_only(&mut self, relay_only: bool) {
        self.context.config.relay_only = relay_only;
        if relay_only {
            self.retire(|candidate| candidate.typ != CandidateType::Relayed);
        }
    }

    fn retire(&mut self, doomed: impl Fn(&Candidate) -> bool) {
        self.context.locals.retire(doomed);
        for base in self.context.locals.retired_bases() {
            self.current.remove_base(base);
            if self.previous.is_none() {
                self.context.locals.remove_base(base);
            }
        }
        if self.previous.is_none() {
            self.context.locals.forget_retired();
        }
        self.wake();
    }

    /// True while a candidate of this base may be used, be it by the generation before a restart.
    #[must_use]
    pub fn has_local_base(&self, base: SocketAddr) -> bool {
        use rtc_shared::TransportProtocol::{TCP, UDP};
        [UDP, TCP].into_iter().any(|protocol| {
            let locals = &self.context.locals;
            locals.for_base(base, protocol).is_some()
        })
    }

    /// Says that no more local candidates come for this generation.
    pub fn end_of_local_candidates(&mut self) {
        self.current.local_ended = true;
        self.wake();
    }

    /// The candidates of the peer, signalled and learned from its checks.
    pub fn remote_candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.current.remotes.iter().map(|remote| &remote.candidate)
    }

    /// Where the peer may be: the addresses of its candidates, those of the generation before a restart
    /// too. Some may come twice.
    pub fn peer_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.generations()
            .flat_map(|generation| &generation.remotes)
            .filter_map(|remote| remote.candidate.socket_addr())
    }

    /// Takes a candidate of the peer. Duplicates are ignored; one that is known from a check gets the
    /// type, priority and foundation that are signalled.
    ///
    /// With a `ufrag` it belongs to that generation, without to the last one for which remote
    /// credentials are known. Candidates that come before the first credentials wait for them.
    ///
    /// # Errors
    /// [`Error::UnresolvedName`] for an mDNS name; resolve it and add
    /// [`Candidate::resolved`]. [`Error::UnknownUfrag`], [`Error::UnusableCandidate`] and
    /// [`Error::TooManyCandidates`] as they say; nothing is changed then.
    pub fn add_remote_candidate(&mut self, candidate: Candidate) -> Result<(), Error> {
        if self.state == State::Closed {
            return Err(Error::Closed);
        }
        if candidate.component != COMPONENT {
            return Err(Error::UnusableCandidate);
        }
        let address = candidate.socket_addr().ok_or(Error::UnresolvedName)?;
        if address.ip().is_unspecified() || address.ip().is_multicast() || is_broadcast(address) {
            return Err(Error::UnusableCandidate);
        }
        let generation = match (&mut self.previous, &self.current.remote) {
            // The answer to our restart is not here yet: what comes is of the old description, if it
            // does not say otherwise.
            (Some(previous), None) if previous.may_own(candidate.ufrag.as_deref()) => previous,
            (Some(previous), Some(_))
                if candidate.ufrag.is_some()
                    && !self.current.may_own(candidate.ufrag.as_deref())
                    && previous.may_own(candidate.ufrag.as_deref()) =>
            {
                previous
            }
            _ => &mut self.current,
        };
        generation.add_remote(&mut self.context, candidate)?;
        self.wake();
        Ok(())
    }

    /// Says that no more candidates of the peer come for this generation (`a=end-of-candidates`).
    pub fn end_of_remote_candidates(&mut self) {
        match &mut self.previous {
            Some(previous) if self.current.remote.is_none() => previous.remote_ended = true,
            _ => self.current.remote_ended = true,
        }
        self.wake();
    }

    /// How the connection stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Where data goes now: the nominated pair, before that and when that does not answer the best
    /// valid one. `None` while there is no pair with consent, and then nothing may be sent.
    #[must_use]
    pub fn selected_path(&self) -> Option<FiveTuple> {
        self.path
    }

    /// Last round trip time measured on the selected path.
    #[must_use]
    pub fn round_trip_time(&self) -> Option<Duration> {
        self.active()?.data_pair()?.counters.round_trip_time
    }

    /// The pairs of the current generation and of the one that it replaces.
    pub fn pairs(&self) -> impl Iterator<Item = PairStats<'_>> {
        let active = self.active().map(|generation| generation.number);
        self.generations().flat_map(move |generation| {
            let carries_data = active == Some(generation.number);
            generation.pair_stats(&self.context.locals, carries_data)
        })
    }

    /// What was dropped and why.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.context.stats
    }

    /// Takes a parsed STUN message. `path` says at which local and from which peer address it came.
    pub fn handle_message(&mut self, now: Instant, path: TransportContext, message: &Message<'_>) {
        if self.state == State::Closed {
            return;
        }
        let now = self.advance(now);
        let path = path.five_tuple();
        match (message.method(), message.class()) {
            (Method::BINDING, Class::Request) => self.handle_request(now, path, message),
            (Method::BINDING, Class::Success | Class::Error) => {
                self.handle_response(now, path, message);
            }
            (Method::BINDING, Class::Indication) => self.context.stats.indications += 1,
            _ => {
                trace!(?message, "unexpected method");
                self.context.stats.unexpected_method += 1;
            }
        }
        self.settle(now);
    }

    fn handle_response(&mut self, now: Instant, path: FiveTuple, message: &Message<'_>) {
        let id = message.transaction_id();
        let previous = self.previous.as_deref_mut();
        let generation = [Some(&mut self.current), previous]
            .into_iter()
            .flatten()
            .find(|generation| generation.transaction(id).is_some());
        let Some(generation) = generation else {
            self.context.stats.unmatched_response += 1;
            return;
        };
        let role = self.context.role;
        generation.handle_response(&mut self.context, now, path, message);
        if self.context.role != role {
            self.role_changed();
        }
    }

    /// A TCP connection could not be opened or broke: the pair fails until it is checked anew. For
    /// UDP this is a hint that is not followed, as anyone can forge it (RFC 8445 section 7.2.5.2.2).
    pub fn fail_path(&mut self, path: &FiveTuple) {
        if path.transport_protocol == rtc_shared::TransportProtocol::TCP {
            debug!(?path, "path failed");
            self.current.fail_path(path);
            if let Some(previous) = &mut self.previous {
                previous.fail_path(path);
            }
            self.wake();
        }
    }

    pub(crate) fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    fn generations(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.current).chain(self.previous.as_deref())
    }

    /// The generation that carries data.
    fn active(&self) -> Option<&Generation> {
        self.generations()
            .find(|generation| generation.data.is_some())
    }

    /// The generation to which a check belongs by its USERNAME: the one that knows both parts, else
    /// one that knows ours (RFC 8445 section 9).
    pub(crate) fn generation_for(
        &mut self,
        local: &str,
        remote: &str,
    ) -> Option<(&mut Generation, &mut Context)> {
        let owns = |generation: &Generation| generation.local.ufrag() == local;
        let knows = |generation: &Generation| {
            owns(generation)
                && generation
                    .remote
                    .as_ref()
                    .is_some_and(|r| r.ufrag() == remote)
        };
        let previous = self.previous.as_deref_mut();
        let generation = match previous {
            Some(previous) if knows(previous) && !knows(&self.current) => previous,
            _ if owns(&self.current) => &mut self.current,
            Some(previous) if owns(previous) => previous,
            _ => return None,
        };
        Some((generation, &mut self.context))
    }
}

fn is_broadcast(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V4(address) if address.ip().is_broadcast())
}

/// The only component: media, feedback and data share one path.
const COMPONENT: u16 = 1;
