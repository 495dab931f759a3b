use std::time::Instant;

use bytes::BytesMut;
use rtc_crypto::HmacKey;
use rtc_shared::FiveTuple;
use rtc_stun::{AttributeType, Class, ErrorCode, Message, MessageBuilder};
use tracing::trace;

use crate::agent::{Agent, Context, Role, State};
use crate::generation::{Generation, ReceivedCheck};

impl Agent {
    /// Takes a check of the peer (RFC 8445 section 7.3). Before it is known to be authentic nothing
    /// changes but counters.
    pub(crate) fn handle_request(&mut self, now: Instant, path: FiveTuple, message: &Message<'_>) {
        let state = self.state();
        if message.verify_fingerprint().is_err() {
            self.context_mut().stats.bad_fingerprint += 1;
            return;
        }
        let username = message
            .username()
            .and_then(|username| username.split_once(':'));
        let Some((local_ufrag, remote_ufrag)) = username else {
            self.context_mut().stats.unknown_username += 1;
            return;
        };
        let Some((generation, context)) = self.generation_for(local_ufrag, remote_ufrag) else {
            trace!(local_ufrag, "unknown user name fragment");
            self.context_mut().stats.unknown_username += 1;
            return;
        };
        if context
            .locals
            .for_base(path.local_addr, path.transport_protocol)
            .is_none()
        {
            context.stats.unknown_local_address += 1;
            return;
        }
        if message.verify_integrity(&*generation.local.key).is_err() {
            context.stats.bad_integrity += 1;
            return;
        }
        // Whoever is faster with a copy than the peer itself must not have the peer's own pairs ignored.
        let repeated = !generation.remember(message, &path);
        if repeated && generation.pair_at(&path).is_none() {
            context.stats.replayed += 1;
            return;
        }
        let role = context.role;
        let answer = generation.answer(context, now, path, message, remote_ufrag, state);
        let reply = match answer {
            Answer::Success => success(message, &path, &*generation.local.key),
            Answer::Error(code, reason) => error(message, code, reason, &*generation.local.key),
            Answer::Nothing => None,
        };
        if let Some(reply) = reply {
            context.send(now, path, reply);
        }
        if context.role != role {
            self.role_changed();
        }
    }
}

/// How a check is answered.
enum Answer {
    Success,
    Error(u16, &'static str),
    /// As if it had been lost, so that the peer does not count on the pair.
    Nothing,
}

impl Generation {
    fn answer(
        &mut self,
        context: &mut Context,
        now: Instant,
        path: FiveTuple,
        message: &Message<'_>,
        remote_ufrag: &str,
        state: State,
    ) -> Answer {
        if !message.unknown_required(KNOWN).is_empty() {
            context.stats.bad_request += 1;
            return Answer::Error(ErrorCode::UNKNOWN_ATTRIBUTE, "Unknown Attribute");
        }
        let priority = message
            .priority()
            .map(|priority| priority.clamp(1, MAX_PRIORITY));
        let is_known = self.pair_at(&path).is_some();
        let Some(priority) = priority.or_else(|| is_known.then_some(1)) else {
            context.stats.bad_request += 1;
            return Answer::Error(ErrorCode::BAD_REQUEST, "Bad Request");
        };
        if context.loses_conflict(message) {
            context.stats.role_conflicts += 1;
            return Answer::Error(ErrorCode::ROLE_CONFLICT, "Role Conflict");
        }
        let check = ReceivedCheck {
            path,
            remote_ufrag: remote_ufrag.to_owned(),
            priority,
            use_candidate: message.use_candidate(),
            nomination: message.nomination(),
        };
        match &self.remote {
            // A failed agent answers but looks for nothing.
            _ if state == State::Failed => Answer::Success,
            Some(remote) if remote.ufrag() == remote_ufrag => {
                match self.check_received(context, now, &check) {
                    true => Answer::Success,
                    false => {
                        context.stats.over_limit += 1;
                        Answer::Nothing
                    }
                }
            }
            Some(_) => {
                context.stats.other_remote_ufrag += 1;
                Answer::Success
            }
            None => self.check_came_early(context, check),
        }
    }

    /// Keeps a check until the remote credentials are known. It is answered at once, so that the peer
    /// has a pair when our side of signalling is slow.
    fn check_came_early(&mut self, context: &mut Context, check: ReceivedCheck) -> Answer {
        let room = self.early.len() < MAX_EARLY;
        let known = self
            .early
            .iter_mut()
            .find(|known| known.path == check.path && known.remote_ufrag == check.remote_ufrag);
        match known {
            Some(known) => {
                known.use_candidate |= check.use_candidate;
                known.nomination = known.nomination.max(check.nomination);
            }
            None if !room => {
                context.stats.over_limit += 1;
                return Answer::Nothing;
            }
            None => self.early.push(check),
        }
        Answer::Success
    }

    /// Notes a request; false when it has come before by another path, which no peer does.
    fn remember(&mut self, message: &Message<'_>, path: &FiveTuple) -> bool {
        let id = message.transaction_id();
        let hash = path_hash(path);
        if let Some((_, known)) = self.seen.iter().find(|(known, _)| *known == id) {
            return *known == hash;
        }
        if self.seen.len() >= MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back((id, hash));
        true
    }

    /// A lite agent follows: a nominated pair is used, and checks on it are consent.
    pub(crate) fn lite_check_received(
        &mut self,
        context: &Context,
        now: Instant,
        id: u32,
        check: &ReceivedCheck,
    ) {
        let Some(pair) = self.pair_mut(id) else {
            return;
        };
        if check.use_candidate {
            pair.valid = true;
            pair.nominated = true;
        }
        if pair.valid {
            pair.state = crate::PairState::Succeeded;
            pair.answered_at = Some(now);
            self.first_valid_at.get_or_insert(now);
        } else if pair.is_pending() {
            // It sends no checks, so nothing is ever under way.
            pair.state = crate::PairState::Failed;
        }
        if check.use_candidate {
            self.supersede(context, now, id, check.nomination);
        }
    }
}

impl Context {
    /// Looks for a role conflict (RFC 8445 section 7.3.1.1). True when the peer has to give way;
    /// when we have to, the role is switched.
    fn loses_conflict(&mut self, message: &Message<'_>) -> bool {
        let (theirs, we_stay) = match self.role {
            Role::Controlling => match message.ice_controlling() {
                Some(theirs) => (theirs, self.tiebreaker >= theirs),
                None => return false,
            },
            Role::Controlled => match message.ice_controlled() {
                Some(theirs) => (theirs, self.tiebreaker < theirs),
                None => return false,
            },
        };
        trace!(theirs, ours = self.tiebreaker, "role conflict");
        // A lite agent cannot control, and one that faces a lite agent must.
        if we_stay || self.config.lite || self.remote_lite {
            return true;
        }
        self.stats.role_conflicts += 1;
        self.switch_role();
        false
    }
}

fn success(message: &Message<'_>, path: &FiveTuple, key: &dyn HmacKey) -> Option<BytesMut> {
    let reply = MessageBuilder::response(Class::Success, message)
        .xor_mapped_address(path.peer_addr)
        .message_integrity(key)
        .fingerprint();
    Some(reply.finish())
}

fn error(
    message: &Message<'_>,
    code: u16,
    reason: &'static str,
    key: &dyn HmacKey,
) -> Option<BytesMut> {
    let mut reply = MessageBuilder::response(Class::Error, message).error_code(code, reason);
    if code == ErrorCode::UNKNOWN_ATTRIBUTE {
        reply = reply.unknown_attributes(&message.unknown_required(KNOWN));
    }
    Some(reply.message_integrity(key).fingerprint().finish())
}

/// FNV-1a over both addresses.
fn path_hash(path: &FiveTuple) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for address in [path.local_addr, path.peer_addr] {
        match address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets().into_iter().for_each(&mut add),
            std::net::IpAddr::V6(ip) => ip.octets().into_iter().for_each(&mut add),
        }
        address.port().to_be_bytes().into_iter().for_each(&mut add);
    }
    hash
}

/// The comprehension-required attributes that a check may have.
const KNOWN: &[AttributeType] = &[
    AttributeType::USERNAME,
    AttributeType::PRIORITY,
    AttributeType::USE_CANDIDATE,
];
/// Largest priority of the grammar (RFC 8839 section 5.1).
const MAX_PRIORITY: u32 = (1 << 31) - 1;
/// Most paths on which checks wait for the remote credentials.
const MAX_EARLY: usize = 16;
/// Requests that are remembered: what an aggressive peer sends within about a second.
const MAX_SEEN: usize = 16;
