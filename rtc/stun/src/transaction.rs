use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_shared::TransportProtocol;

use crate::{Message, MessageBuilder, TransactionId};

/// A request of a client until it is answered (RFC 8489 section 6.2).
///
/// Send what [`poll_transmit`](Self::poll_transmit) gives, call
/// [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout) and then poll
/// again. When a message [matches](Self::matches), drop the transaction and use the message; when its
/// integrity does not verify, call [`ignore_response`](Self::ignore_response) instead. The end without
/// an answer shows in [`state`](Self::state).
#[derive(Clone, Debug)]
pub struct ClientTransaction {
    id: TransactionId,
    request: Bytes,
    protocol: TransportProtocol,
    config: TransactionConfig,
    state: TransactionState,
    transmissions: u32,
    transmit_due: bool,
    /// Wait after the transmission that is next.
    interval: Duration,
    deadline: Option<Instant>,
    started: Instant,
    now: Instant,
    response_ignored: bool,
}

/// How long and how often a request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionConfig {
    /// Wait between the first and the second transmission over UDP; doubles each time. At least a
    /// millisecond. RFC 8489: 500 ms.
    pub rto: Duration,
    /// Bound of the doubled wait. RFC 8489 has none.
    pub max_rto: Duration,
    /// Transmissions over UDP, at least one. RFC 8489: Rc = 7.
    pub max_transmissions: u32,
    /// Wait after the last transmission over UDP, in multiples of `rto`. RFC 8489: Rm = 16.
    pub last_wait: u32,
    /// Wait over TCP, where a request is sent once. RFC 8489: Ti = 39.5 s.
    pub reliable_timeout: Duration,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            rto: Duration::from_millis(500),
            max_rto: Duration::MAX,
            max_transmissions: 7,
            last_wait: 16,
            reliable_timeout: Duration::from_millis(39_500),
        }
    }
}

/// How a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactionState {
    /// A response may still come.
    Waiting,
    /// No response came.
    TimedOut,
    /// All that came were responses whose integrity did not verify.
    IntegrityViolated,
}

impl ClientTransaction {
    /// Begins with a complete request, which is to be sent at once.
    #[must_use]
    pub fn new(
        request: MessageBuilder,
        protocol: TransportProtocol,
        config: &TransactionConfig,
        now: Instant,
    ) -> Self {
        let mut config = *config;
        config.rto = config.rto.max(MIN_WAIT);
        config.max_rto = config.max_rto.max(MIN_WAIT);
        let mut transaction = Self {
            id: request.transaction_id(),
            request: request.finish().freeze(),
            protocol,
            config,
            state: TransactionState::Waiting,
            transmissions: 0,
            transmit_due: false,
            interval: config.rto,
            deadline: None,
            started: now,
            now,
            response_ignored: false,
        };
        transaction.schedule();
        transaction
    }

    /// The identifier of request and response.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// How the transaction stands.
    #[must_use]
    pub fn state(&self) -> TransactionState {
        self.state
    }

    /// How many times the request was or is to be sent, the first time included.
    #[must_use]
    pub fn transmissions(&self) -> u32 {
        self.transmissions
    }

    /// True for a response with the identifier and method of the request. The caller compares the
    /// addresses.
    #[must_use]
    pub fn matches(&self, message: &Message<'_>) -> bool {
        message.transaction_id() == self.id
            && message.class().is_response()
            && Message::parse(&self.request).is_ok_and(|own| own.method() == message.method())
    }

    /// The time a response took that came at `now`, for an estimate of the round trip; `None` when
    /// the request was repeated, because then it is not known which one was answered (RFC 6298
    /// section 3).
    #[must_use]
    pub fn round_trip_time(&self, now: Instant) -> Option<Duration> {
        (self.transmissions == 1).then(|| now.saturating_duration_since(self.started))
    }

    /// Says that a response was dropped because its integrity did not verify: over UDP the
    /// transaction goes on, over TCP it ends (RFC 8489 section 9.2.5).
    pub fn ignore_response(&mut self) {
        self.response_ignored = true;
        if self.protocol == TransportProtocol::TCP {
            self.end();
        }
    }

    /// The request, when it is to be sent; the same bytes each time.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        std::mem::take(&mut self.transmit_due).then(|| self.request.clone())
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` once the transaction is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Lets time pass: the request becomes due again, or the transaction ends.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.deadline.is_none_or(|deadline| deadline > self.now) {
            return;
        }
        let repeats = match self.protocol {
            TransportProtocol::UDP => self.transmissions < self.config.max_transmissions,
            TransportProtocol::TCP => false,
        };
        if repeats {
            self.schedule();
        } else {
            self.end();
        }
    }

    /// Counts a transmission at this time and sets the deadline that follows it.
    fn schedule(&mut self) {
        self.transmissions += 1;
        self.transmit_due = true;
        let is_last = self.transmissions >= self.config.max_transmissions;
        let wait = match self.protocol {
            TransportProtocol::TCP => self.config.reliable_timeout,
            TransportProtocol::UDP if is_last => {
                self.config.rto.saturating_mul(self.config.last_wait)
            }
            TransportProtocol::UDP => self.interval.min(self.config.max_rto),
        };
        self.interval = self.interval.saturating_mul(2);
        self.deadline = Some(add(self.now, wait.max(MIN_WAIT)));
    }

    fn end(&mut self) {
        self.deadline = None;
        self.transmit_due = false;
        self.state = match self.response_ignored {
            true => TransactionState::IntegrityViolated,
            false => TransactionState::TimedOut,
        };
    }
}

/// Far waits end after a day, so that no configuration overflows the clock.
fn add(now: Instant, wait: Duration) -> Instant {
    now + wait.min(MAX_WAIT)
}

const MIN_WAIT: Duration = Duration::from_millis(1);
const MAX_WAIT: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc_shared::Rng;

    use super::*;
    use crate::{Class, Method};

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the origin of a test"
    )]
    fn origin() -> Instant {
        Instant::now()
    }

    fn request() -> MessageBuilder {
        let id = TransactionId::random(&mut Rng::from_seed([3; 32]));
        MessageBuilder::new(Class::Request, Method::BINDING, id)
            .priority(7)
            .fingerprint()
    }

    fn response(class: Class, method: Method) -> Vec<u8> {
        MessageBuilder::new(class, method, request().transaction_id())
            .finish()
            .to_vec()
    }

    fn udp(now: Instant) -> ClientTransaction {
        let config = TransactionConfig::default();
        ClientTransaction::new(request(), TransportProtocol::UDP, &config, now)
    }

    /// Drives a transaction to its end; when it sent, and when it ended, in ms after the start.
    fn run(mut transaction: ClientTransaction, start: Instant) -> (Vec<u128>, u128) {
        let mut now = start;
        let mut sent = Vec::new();
        loop {
            while let Some(datagram) = transaction.poll_transmit() {
                assert_eq!(
                    datagram,
                    request().finish(),
                    "every transmission has the same bytes"
                );
                sent.push((now - start).as_millis());
            }
            let Some(deadline) = transaction.poll_timeout() else {
                break;
            };
            assert!(deadline > now);
            now = deadline;
            transaction.handle_timeout(now);
        }
        assert_eq!(transaction.state(), TransactionState::TimedOut);
        assert_eq!(transaction.transmissions() as usize, sent.len());
        (sent, (now - start).as_millis())
    }

    #[test]
    fn over_udp_the_request_is_repeated_as_rfc_8489_says() {
        let now = origin();
        let (sent, end) = run(udp(now), now);
        assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(end, 39_500);
    }

    #[test]
    fn over_tcp_the_request_is_sent_once() {
        let now = origin();
        let config = TransactionConfig::default();
        let transaction = ClientTransaction::new(request(), TransportProtocol::TCP, &config, now);
        assert_eq!(run(transaction, now), (vec![0], 39_500));
    }

    #[test]
    fn the_schedule_is_configurable_and_capped() {
        let now = origin();
        let config = TransactionConfig {
            rto: Duration::from_millis(250),
            max_rto: Duration::from_millis(800),
            max_transmissions: 5,
            last_wait: 4,
            ..TransactionConfig::default()
        };
        let transaction = ClientTransaction::new(request(), TransportProtocol::UDP, &config, now);
        assert_eq!(run(transaction, now), (vec![0, 250, 750, 1550, 2350], 3350));
    }

    #[test]
    fn a_late_driver_sends_once_and_early_calls_do_nothing() {
        let start = origin();
        let mut transaction = udp(start);
        assert!(transaction.poll_transmit().is_some());
        transaction.handle_timeout(start + Duration::from_millis(499));
        assert_eq!(transaction.poll_transmit(), None);
        let late = start + Duration::from_secs(20);
        transaction.handle_timeout(late);
        assert!(transaction.poll_transmit().is_some());
        assert_eq!(transaction.poll_transmit(), None);
        assert_eq!(
            transaction.poll_timeout(),
            Some(late + Duration::from_secs(1))
        );
        transaction.handle_timeout(start);
        assert_eq!(
            transaction.poll_timeout(),
            Some(late + Duration::from_secs(1))
        );
    }

    #[test]
    fn only_a_response_with_the_same_identifier_and_method_matches() {
        let transaction = udp(origin());
        let matches = |datagram: &[u8]| transaction.matches(&Message::parse(datagram).unwrap());
        assert!(matches(&response(Class::Success, Method::BINDING)));
        assert!(matches(&response(Class::Error, Method::BINDING)));
        assert!(!matches(&response(Class::Request, Method::BINDING)));
        assert!(!matches(&response(Class::Indication, Method::BINDING)));
        assert!(!matches(&response(Class::Success, Method::ALLOCATE)));
        let other = MessageBuilder::new(Class::Success, Method::BINDING, TransactionId([0; 12]));
        assert!(!matches(&other.finish()));
    }

    #[test]
    fn ignored_responses_show_in_the_end() {
        let start = origin();
        let mut transaction = udp(start);
        transaction.ignore_response();
        assert_eq!(transaction.state(), TransactionState::Waiting);
        while let Some(deadline) = transaction.poll_timeout() {
            transaction.handle_timeout(deadline);
        }
        assert_eq!(transaction.state(), TransactionState::IntegrityViolated);
        assert_eq!(transaction.poll_transmit(), None);

        let config = TransactionConfig::default();
        let mut transaction =
            ClientTransaction::new(request(), TransportProtocol::TCP, &config, start);
        transaction.ignore_response();
        assert_eq!(transaction.state(), TransactionState::IntegrityViolated);
        assert_eq!(transaction.poll_timeout(), None);
    }

    #[test]
    fn the_round_trip_is_known_only_without_repetition() {
        let start = origin();
        let mut transaction = udp(start);
        let rtt = Duration::from_millis(30);
        assert_eq!(transaction.round_trip_time(start + rtt), Some(rtt));
        transaction.handle_timeout(start + Duration::from_millis(500));
        assert_eq!(
            transaction.round_trip_time(start + Duration::from_millis(530)),
            None
        );
    }

    proptest! {
        #[test]
        fn time_always_makes_progress(
            rto in any::<u64>(),
            max_rto in any::<u64>(),
            max_transmissions in 0u32..30,
            last_wait in any::<u32>(),
            steps in proptest::collection::vec(0u64..100_000, 1..60),
        ) {
            let config = TransactionConfig {
                rto: Duration::from_nanos(rto),
                max_rto: Duration::from_micros(max_rto),
                max_transmissions,
                last_wait,
                ..TransactionConfig::default()
            };
            let mut now = origin();
            let mut transaction =
                ClientTransaction::new(request(), TransportProtocol::UDP, &config, now);
            for step in steps {
                now += Duration::from_millis(step);
                transaction.handle_timeout(now);
                prop_assert!(transaction.poll_timeout().is_none_or(|deadline| deadline > now));
                prop_assert!(transaction.transmissions() <= max_transmissions.max(1));
            }
        }
    }
}
