use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use rtc_crypto::Hmac;
use rtc_shared::{FiveTuple, Rng, TaggedBytesMut};
use rtc_stun::TransactionId;
use tracing::debug;

use super::{Event, Role};
use crate::local::LocalCandidates;
use crate::{AgentConfig, Stats};

/// What the generations of an agent share.
pub(crate) struct Context {
    pub(crate) config: AgentConfig,
    pub(crate) hmac: &'static dyn Hmac,
    pub(crate) rng: Rng,
    pub(crate) role: Role,
    /// What the owner last said; a conflict may have overruled it.
    pub(crate) signalled_role: Option<Role>,
    pub(crate) tiebreaker: u64,
    pub(crate) remote_lite: bool,
    /// First bytes of every transaction id.
    pub(super) tag: [u8; 4],
    pub(crate) locals: LocalCandidates,
    pub(crate) stats: Stats,
    pub(crate) writes: VecDeque<TaggedBytesMut>,
    pub(crate) events: VecDeque<Event>,
    /// Before this no new check is begun (RFC 8445 section 14.2).
    pub(crate) next_check_at: Option<Instant>,
    last_id: u32,
    last_generation: u32,
}

impl Context {
    pub(super) fn new(config: AgentConfig, hmac: &'static dyn Hmac, mut rng: Rng) -> Self {
        Self {
            config,
            hmac,
            tiebreaker: rng.u64(),
            tag: rng.array(),
            rng,
            role: Role::Controlled,
            signalled_role: None,
            remote_lite: false,
            locals: LocalCandidates::default(),
            stats: Stats::default(),
            writes: VecDeque::new(),
            events: VecDeque::new(),
            next_check_at: None,
            last_id: 0,
            last_generation: 0,
        }
    }

    /// An identifier for a candidate or pair.
    pub(crate) fn new_id(&mut self) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    /// An identifier for a request: the tag of the agent, then 64 bits that nobody can guess.
    pub(crate) fn transaction_id(&mut self) -> TransactionId {
        let mut id = self.rng.array();
        for (to, from) in id.iter_mut().zip(self.tag) {
            *to = from;
        }
        TransactionId(id)
    }

    /// The number of the next generation.
    pub(crate) fn new_generation(&mut self) -> u32 {
        self.last_generation = self.last_generation.wrapping_add(1);
        self.last_generation
    }

    pub(crate) fn send(&mut self, now: Instant, path: FiveTuple, message: BytesMut) {
        if self.writes.len() < MAX_QUEUED {
            self.writes.push_back(TaggedBytesMut {
                now,
                transport: path.context(None),
                message,
            });
        }
    }

    /// Queues an event; the owner reads the state anyway, so only the last ones are kept.
    pub(crate) fn tell(&mut self, event: Event) {
        if self.events.len() >= MAX_QUEUED {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Resolves a role conflict by taking the other role (RFC 8445 section 7.3.1.1). The caller ranks
    /// the pairs anew.
    pub(crate) fn switch_role(&mut self) {
        self.role = self.role.opposite();
        debug!(role = ?self.role, "role conflict resolved");
        self.tell(Event::RoleChanged(self.role));
    }

    /// Both sides are lite: nobody checks, the best pair is used (RFC 8445 section 8.2).
    pub(crate) fn both_lite(&self) -> bool {
        self.config.lite && self.remote_lite
    }
}

/// An owner that polls as it should never has this many waiting.
const MAX_QUEUED: usize = 256;
