use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_shared::{FiveTuple, TransportProtocol};
use rtc_stun::{Class, ErrorCode, IntegrityError, Message, MessageBuilder, Method, TransactionId};
use tracing::trace;

use crate::PairState;
use crate::agent::{Context, Role};
use crate::generation::Generation;

/// A request that may still be answered.
pub(crate) struct Transaction {
    pub(crate) id: TransactionId,
    pub(crate) pair: u32,
    pub(crate) purpose: Purpose,
    /// Our role when it was sent, to tell who has to give way in a conflict.
    role: Role,
    /// What PRIORITY said.
    priority: u32,
    /// The bytes, as long as they may be sent again.
    request: BytesMut,
    sent_at: Instant,
    transmissions: u8,
    interval: Duration,
    /// When it is sent again or ends.
    deadline: Instant,
}

/// Why a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To see whether the pair works.
    Check,
    /// To nominate it.
    Nomination,
    /// To keep consent; never sent again (RFC 7675 section 5.1).
    Consent,
}

impl Generation {
    pub(crate) fn transaction(&self, id: TransactionId) -> Option<&Transaction> {
        self.transactions
            .iter()
            .find(|transaction| transaction.id == id)
    }

    /// Sends a Binding request on a pair (RFC 8445 section 7.2.4); false when that cannot be.
    pub(crate) fn send_request(
        &mut self,
        context: &mut Context,
        now: Instant,
        pair: u32,
        purpose: Purpose,
    ) -> bool {
        let busy = self
            .pairs
            .iter()
            .filter(|pair| matches!(pair.state, PairState::Waiting | PairState::InProgress));
        let busy = busy.count() as u32;
        let Some(remote) = &self.remote else {
            return false;
        };
        let Some(pair) = self.pairs.iter_mut().find(|known| known.id == pair) else {
            return false;
        };
        let Some(local) = context.locals.get(pair.local) else {
            return false;
        };

        let priority = local.peer_reflexive_priority();
        let id = context.transaction_id();
        let builder = MessageBuilder::new(Class::Request, Method::BINDING, id)
            .username(&self.username)
            .priority(priority);
        let builder = match context.role {
            Role::Controlling => builder.ice_controlling(context.tiebreaker),
            Role::Controlled => builder.ice_controlled(context.tiebreaker),
        };
        let builder = match purpose {
            Purpose::Nomination => builder.use_candidate(),
            Purpose::Check | Purpose::Consent => builder,
        };
        let request = builder
            .message_integrity(&*remote.key)
            .fingerprint()
            .finish();

        let config = &context.config;
        let path = pair.path;
        let rto = config
            .rto_min
            .max(config.ta.saturating_mul(busy))
            .min(config.rto_max);
        let repeats = purpose != Purpose::Consent
            && path.transport_protocol == TransportProtocol::UDP
            && config.max_transmissions > 1;
        let first_wait = match (purpose, path.transport_protocol) {
            (Purpose::Consent, _) => CONSENT_LIFE,
            (_, TransportProtocol::TCP) => RELIABLE_TIMEOUT,
            (_, TransportProtocol::UDP) if repeats => rto,
            (_, TransportProtocol::UDP) => config.rto_min * LAST_WAIT,
        };
        match purpose {
            Purpose::Consent => pair.counters.consent_requests_sent += 1,
            Purpose::Check | Purpose::Nomination => pair.counters.requests_sent += 1,
        }
        if purpose == Purpose::Check {
            pair.state = PairState::InProgress;
        }
        trace!(?path, ?purpose, "request");
        self.transactions.push(Transaction {
            id,
            pair: pair.id,
            purpose,
            role: context.role,
            priority,
            request: if repeats {
                request.clone()
            } else {
                BytesMut::new()
            },
            sent_at: now,
            transmissions: 1,
            interval: rto,
            deadline: now + first_wait,
        });
        context.send(now, path, request);
        true
    }

    /// Sends again what is due and ends what has waited long enough.
    pub(crate) fn poll_transactions(&mut self, context: &mut Context, now: Instant) {
        let mut ended = Vec::new();
        for transaction in &mut self.transactions {
            if transaction.deadline > now {
                continue;
            }
            let pair = self
                .pairs
                .iter_mut()
                .find(|pair| pair.id == transaction.pair);
            let Some(pair) = pair.filter(|_| !transaction.request.is_empty()) else {
                ended.push(transaction.id);
                continue;
            };
            let config = &context.config;
            transaction.transmissions += 1;
            transaction.interval = (transaction.interval * 2).min(config.rto_max);
            let is_last = transaction.transmissions >= config.max_transmissions;
            let wait = if is_last {
                config.rto_min * LAST_WAIT
            } else {
                transaction.interval
            };
            transaction.deadline = now + wait;
            pair.counters.requests_sent += 1;
            let request = match is_last {
                true => std::mem::take(&mut transaction.request),
                false => transaction.request.clone(),
            };
            context.send(now, pair.path, request);
        }
        for id in ended {
            self.time_out(id);
        }
    }

    /// A transaction ends without an answer: its pair fails unless another check of it is under way
    /// or to come.
    fn time_out(&mut self, id: TransactionId) {
        let Some(index) = self.transactions.iter().position(|known| known.id == id) else {
            return;
        };
        let ended = self.transactions.swap_remove(index);
        let retried = self.triggered.contains(&ended.pair)
            || self
                .transactions
                .iter()
                .any(|other| other.pair == ended.pair && other.purpose != Purpose::Consent);
        match ended.purpose {
            Purpose::Consent => {}
            Purpose::Check | Purpose::Nomination if retried => {}
            Purpose::Check | Purpose::Nomination => self.fail_pair(ended.pair),
        }
    }

    /// Lets a check that is under way rest: its answer counts, but it is not sent again (RFC 8445
    /// section 7.3.1.4).
    pub(crate) fn stop_repeating(&mut self, context: &Context, now: Instant, pair: u32) {
        let repeating = self
            .transactions
            .iter_mut()
            .filter(|known| known.pair == pair && !known.request.is_empty());
        for transaction in repeating {
            transaction.request = BytesMut::new();
            transaction.deadline = now + context.config.rto_min * LAST_WAIT;
        }
    }

    /// When the next transaction wants attention.
    pub(crate) fn transaction_deadline(&self) -> Option<Instant> {
        self.transactions
            .iter()
            .map(|transaction| transaction.deadline)
            .min()
    }

    /// Takes a response (RFC 8445 section 7.2.5). One that is not authentic or came by another path
    /// than the request went is dropped: the request goes on and fails by itself if that was all.
    pub(crate) fn handle_response(
        &mut self,
        context: &mut Context,
        now: Instant,
        path: FiveTuple,
        message: &Message<'_>,
    ) {
        let id = message.transaction_id();
        let (Some(index), Some(remote)) = (
            self.transactions.iter().position(|known| known.id == id),
            &self.remote,
        ) else {
            context.stats.unmatched_response += 1;
            return;
        };
        if !matches!(
            message.verify_fingerprint(),
            Ok(()) | Err(IntegrityError::Missing)
        ) {
            context.stats.bad_fingerprint += 1;
            return;
        }
        if message.verify_integrity(&*remote.key).is_err() {
            context.stats.bad_integrity += 1;
            return;
        }
        let pair = self
            .transactions
            .get(index)
            .map(|transaction| transaction.pair);
        let Some(pair) = pair
            .and_then(|id| self.pair_mut(id))
            .filter(|pair| pair.path == path)
        else {
            context.stats.wrong_path_response += 1;
            return;
        };
        let outcome = match (
            message.class(),
            message.xor_mapped_address(),
            message.error_code(),
        ) {
            (Class::Success, Some(mapped), _)
                if message
                    .unknown_required(&[
                        rtc_stun::AttributeType::XOR_MAPPED_ADDRESS,
                        rtc_stun::AttributeType::MAPPED_ADDRESS,
                        rtc_stun::AttributeType::USERNAME,
                    ])
                    .is_empty() =>
            {
                Ok(mapped)
            }
            (Class::Error, _, Some(error)) => Err(error.code()),
            _ => {
                context.stats.bad_response += 1;
                return;
            }
        };
        pair.counters.responses_received += 1;
        pair.heard_at = Some(now);
        let transaction = self.transactions.swap_remove(index);
        match outcome {
            Ok(mapped) => self.succeeded(context, now, &transaction, mapped),
            Err(code) => self.refused(context, &transaction, code),
        }
    }

    /// The pair works (RFC 8445 section 7.2.5.3).
    fn succeeded(
        &mut self,
        context: &mut Context,
        now: Instant,
        transaction: &Transaction,
        mapped: SocketAddr,
    ) {
        let new_id = context.new_id();
        let Some(pair) = self
            .pairs
            .iter_mut()
            .find(|pair| pair.id == transaction.pair)
        else {
            return;
        };
        let remote = self
            .remotes
            .iter()
            .find(|known| known.candidate.id == pair.remote);
        let base = pair.path.local_addr;
        // The peer may see another address than ours: then the pair is that of the address it sees.
        // A TCP connection shows its own port, which says nothing.
        if pair.path.transport_protocol == TransportProtocol::UDP
            && mapped.is_ipv4() == base.is_ipv4()
            && let Some(remote) = remote
        {
            let local = context
                .locals
                .mapped(mapped, base, transaction.priority, new_id);
            if let Some(local) = local.filter(|local| local.id != pair.local) {
                pair.rank(local, &remote.candidate, context.role);
            }
        }
        let first = !pair.valid;
        pair.state = PairState::Succeeded;
        pair.valid = true;
        pair.answered_at = Some(now);
        pair.unanswered_since = None;
        // Of a request that was sent again nobody knows which one was answered (RFC 6298 section 3).
        if transaction.transmissions == 1 {
            let round_trip_time = now.saturating_duration_since(transaction.sent_at);
            pair.counters.round_trip_time = Some(round_trip_time);
            pair.counters.total_round_trip_time += round_trip_time;
        }
        if first {
            trace!(path = ?pair.path, "pair is valid");
        }
        let (id, foundation) = (pair.id, pair.foundation);
        self.first_valid_at.get_or_insert(now);
        self.triggered.retain(|queued| *queued != id);
        self.transactions
            .retain(|other| other.pair != id || other.purpose == Purpose::Nomination);
        self.unfreeze(foundation);
        self.consent.answered(id);
        self.nomination_answered(context, now, transaction.purpose, transaction.role, id);
    }

    /// The peer answers with an error (RFC 8445 section 7.2.5.2).
    fn refused(&mut self, context: &mut Context, transaction: &Transaction, code: u16) {
        trace!(code, "request refused");
        let id = transaction.pair;
        match (code, transaction.purpose) {
            (ErrorCode::ROLE_CONFLICT, purpose) => {
                context.stats.role_conflicts += 1;
                if transaction.role == context.role && !context.config.lite {
                    context.switch_role();
                    context.tiebreaker = context.rng.u64();
                }
                self.nominating = None;
                if purpose != Purpose::Consent {
                    if let Some(pair) = self.pair_mut(id) {
                        pair.state = PairState::Waiting;
                    }
                    self.trigger(id);
                }
            }
            // Consent is revoked: nothing more is sent (RFC 7675 section 5.2).
            (ErrorCode::FORBIDDEN, _) => self.fail_pair(id),
            (_, Purpose::Consent) => {}
            (_, Purpose::Check | Purpose::Nomination) => self.fail_pair(id),
        }
    }
}

/// How long a consent request may still be answered; longer than any usable path takes.
const CONSENT_LIFE: Duration = Duration::from_secs(10);
/// Wait after the last transmission in multiples of the first: Rm (RFC 8489 section 6.2.1).
const LAST_WAIT: u32 = 16;
/// Ti, the wait over TCP (RFC 8489 section 6.2.2).
const RELIABLE_TIMEOUT: Duration = Duration::from_millis(39_500);
