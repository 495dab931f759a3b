mod inbound;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_crypto::{Fingerprint, NamedGroup};
use rtc_shared::{Rng, Writer};

use crate::alert::Alert;
use crate::flight::Flight;
use crate::reassembly::Reassembly;
use crate::record::v12::{Epoch, RecordReader, RecordWriter};
use crate::record::{ALERT, APPLICATION_DATA};
use crate::v12::{Context, Machine, PeerIdentity, Session};
use crate::{CipherSuite, Config, Error, Role, SrtpProfile, Version};

/// One DTLS connection, client or server, without a socket or a clock.
///
/// * Getters tell about it: [`state`](Self::state), [`srtp_profile`](Self::srtp_profile),
///   [`export_keying_material`](Self::export_keying_material), [`stats`](Self::stats) and others.
/// * [`handle_datagram`](Self::handle_datagram) takes what arrives,
///   [`handle_timeout`](Self::handle_timeout) the passing of time.
/// * [`poll_event`](Self::poll_event) and [`poll_transmit`](Self::poll_transmit) give, after each of
///   these and after [`new`](Self::new), what is to be known and to be sent, until they return `None`;
///   then [`poll_timeout`](Self::poll_timeout) says when to call `handle_timeout`.
/// * [`begin_record`](Self::begin_record) and [`finish_record`](Self::finish_record) write application
///   data where it is to be sent from; [`close`](Self::close) ends the connection.
///
/// Time never goes backwards: an earlier `now` counts as the latest one.
pub struct Connection {
    config: Arc<Config>,
    role: Role,
    state: State,
    now: Instant,
    reader: RecordReader,
    writer: RecordWriter,
    /// Gone when the handshake is over, one way or the other.
    handshake: Option<Box<Handshake>>,
    /// The last flight; that of a server outlives the handshake until it is known to have arrived.
    flight: Option<Box<Flight>>,
    /// Protected records that came too early.
    held: Vec<BytesMut>,
    peer: PeerIdentity,
    session: Option<Box<Session>>,
    alert: Option<PendingAlert>,
    /// The alert that ended the connection, for a peer that did not get it.
    farewell: Option<Farewell>,
    connected: bool,
    end: Option<Event>,
    stats: Stats,
}

/// Where a connection is in its life, as `RTCDtlsTransport` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// A server that has not heard of its client.
    New,
    /// In the handshake, or waiting to be told the peer's fingerprints.
    Connecting,
    /// The handshake is done and the peer is the one expected.
    Connected,
    /// Closed by either side.
    Closed,
    /// Given up; [`Event::Failed`] says why.
    Failed,
}

/// What [`Connection::poll_event`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is done and the peer verified: keys can be exported, data flows.
    Connected,
    /// The peer closed the connection.
    Closed,
    /// The connection failed and will not recover.
    Failed(Error),
}

/// Where a record begins that is being written; see [`Connection::begin_record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a record that is begun has to be finished"]
pub struct RecordStart(usize);

/// Counters of a connection. What was received and dropped is counted by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Records received and accepted.
    pub records_received: u64,
    /// Records of application data sent.
    pub records_sent: u64,
    /// Datagrams of handshake and alerts sent, repetitions included.
    pub handshake_datagrams_sent: u64,
    /// Flights sent again because no answer came in time.
    pub timeouts: u64,
    /// Flights sent again because the peer repeated its own.
    pub flights_repeated: u64,
    /// Records with a malformed header or content.
    pub malformed_records: u64,
    /// Records of an unknown type or version.
    pub unknown_records: u64,
    /// Records that do not belong to the state of the connection: unauthenticated ones after the
    /// handshake, application data in epoch 0, unknown epochs.
    pub unexpected_records: u64,
    /// Records that did not authenticate.
    pub unauthentic_records: u64,
    /// Records that were received before, or are too old to tell.
    pub replayed_records: u64,
    /// Records that came before they could be handled and found no room to wait.
    pub early_records_dropped: u64,
    /// Handshake messages and fragments that could not be read.
    pub malformed_messages: u64,
    /// Handshake messages and fragments that had been handled before.
    pub repeated_messages: u64,
    /// Handshake fragments that contradict others or go beyond what is kept.
    pub refused_fragments: u64,
    /// Alerts that were not authenticated.
    pub plain_alerts: u64,
    /// Requests of the peer for a new handshake.
    pub renegotiations_refused: u64,
}

/// What only exists during the handshake.
struct Handshake {
    machine: Machine,
    inbound: Reassembly,
    rng: Rng,
    /// Something unauthenticated that would end the handshake: it does when nothing better comes until
    /// then.
    suspicion: Option<(Error, Instant)>,
    deadline: Option<Instant>,
    /// Both Finished messages are through; only the fingerprints are missing.
    done: bool,
}

#[derive(Clone, Copy)]
struct PendingAlert {
    alert: Alert,
    epoch: Epoch,
}

struct Farewell {
    pending: PendingAlert,
    repeats: u8,
    not_before: Instant,
}

impl Connection {
    /// Makes a connection. The first flight of a client is ready to be polled at once.
    ///
    /// `rng` must be seeded from a source that nobody can foresee.
    ///
    /// # Errors
    /// When no handshake could succeed by this configuration: [`Error::NoCipherSuite`],
    /// [`Error::NoGroup`], [`Error::VersionRange`], [`Error::MtuTooSmall`].
    pub fn new(
        config: impl Into<Arc<Config>>,
        role: Role,
        now: Instant,
        mut rng: Rng,
    ) -> Result<Self, Error> {
        let config = config.into();
        config.check(role)?;
        let mut flight = Box::new(Flight::new(config.initial_rtt));
        let mut reader = RecordReader::default();
        let mut writer = RecordWriter::default();
        let mut peer = PeerIdentity::default();
        let machine = Machine::start(
            role,
            &mut Context {
                config: &config,
                now,
                rng: &mut rng,
                flight: &mut flight,
                writer: &mut writer,
                reader: &mut reader,
                peer: &mut peer,
                next_receive_seq: 0,
            },
        );
        let deadline = match role {
            Role::Client => config.handshake_timeout.map(|timeout| now + timeout),
            Role::Server => None,
        };
        let handshake = Handshake {
            machine,
            inbound: Reassembly::default(),
            rng,
            suspicion: None,
            deadline,
            done: false,
        };
        Ok(Self {
            config,
            role,
            state: match role {
                Role::Client => State::Connecting,
                Role::Server => State::New,
            },
            now,
            reader,
            writer,
            handshake: Some(Box::new(handshake)),
            flight: Some(flight),
            held: Vec::new(),
            peer,
            session: None,
            alert: None,
            farewell: None,
            connected: false,
            end: None,
            stats: Stats::default(),
        })
    }

    /// Where the connection is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Which side this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The negotiated version; `None` before the handshake is done.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.session.as_ref().map(|_| Version::Dtls12)
    }

    /// The negotiated cipher suite; `None` before the handshake is done.
    #[must_use]
    pub fn cipher_suite(&self) -> Option<CipherSuite> {
        self.session.as_ref().map(|session| session.suite)
    }

    /// The group of the key agreement; `None` before the handshake is done.
    #[must_use]
    pub fn group(&self) -> Option<NamedGroup> {
        self.session.as_ref().and_then(|session| session.group)
    }

    /// The negotiated SRTP protection profile; `None` before the handshake is done and for a connection
    /// that carries data only.
    #[must_use]
    pub fn srtp_profile(&self) -> Option<SrtpProfile> {
        self.session
            .as_ref()
            .and_then(|session| session.srtp_profile)
    }

    /// The peer's certificate in DER, from the time it came on. It is only proven to be the peer's once
    /// the connection is [`Connected`](State::Connected).
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        Some(&self.peer.certificate[..]).filter(|certificate| !certificate.is_empty())
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Fills `out` with keying material (RFC 5705); for SRTP under the label
    /// [`SRTP_EXPORTER_LABEL`](crate::SRTP_EXPORTER_LABEL), without context.
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::ReservedLabel`] or [`Error::ContextTooLong`].
    pub fn export_keying_material(
        &self,
        label: &[u8],
        context: Option<&[u8]>,
        out: &mut [u8],
    ) -> Result<(), Error> {
        match &self.session {
            Some(session) if self.state == State::Connected => {
                session.export(self.config.provider, label, context, out)
            }
            _ => Err(Error::NotConnected),
        }
    }

    /// The line by which a packet analyser decrypts the connection, in the `SSLKEYLOGFILE` format without
    /// a line end; `None` before the handshake is done. Whoever has it can read everything.
    #[must_use]
    pub fn key_log_line(&self) -> Option<String> {
        let session = self.session.as_ref()?;
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let random = hex(&session.client_random);
        Some(format!(
            "CLIENT_RANDOM {random} {}",
            hex(session.master_secret.as_bytes())
        ))
    }

    /// Takes one datagram. The plaintext of each record of application data is handed to `sink` as a
    /// part of the same buffer.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: BytesMut,
        sink: &mut impl FnMut(BytesMut),
    ) {
        self.advance_to(now);
        self.handle_records(datagram, sink);
        self.release_held(sink);
    }

    /// Says which certificates the peer may have, when this was not known at the start. A handshake
    /// that waits only for this is completed; data of the peer that waited is handed to `sink`.
    ///
    /// Fingerprints that were given before, here or in the configuration, are replaced until the peer's
    /// certificate has been verified by them.
    pub fn set_peer_fingerprints(
        &mut self,
        now: Instant,
        fingerprints: Vec<Fingerprint>,
        sink: &mut impl FnMut(BytesMut),
    ) {
        self.advance_to(now);
        if self.peer.verified || self.handshake.is_none() {
            return;
        }
        self.peer.late_fingerprints = fingerprints;
        match self.peer.verify(&self.config) {
            Err(error) => self.fail(error),
            Ok(()) => {
                if self
                    .handshake
                    .as_ref()
                    .is_some_and(|handshake| handshake.done)
                {
                    self.connect_if_verified();
                }
            }
        }
        self.release_held(sink);
    }

    /// Tells the round-trip time of the path when it becomes known after the start, as
    /// [`Config::initial_rtt`] does before. Without effect once connected.
    pub fn set_rtt(&mut self, rtt: Duration) {
        if let (Some(flight), Some(_)) = (&mut self.flight, &self.handshake) {
            flight.seed(rtt);
        }
    }

    /// Appends at most one datagram of at most `max_len` bytes to `buf`: a part of a handshake flight
    /// or an alert. Returns its length.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut Vec<u8>,
        max_len: usize,
    ) -> Option<usize> {
        self.advance_to(now);
        let max_len = max_len.min(self.config.mtu);
        let start = buf.len();
        let written = match &mut self.flight {
            Some(flight) if flight.is_pending() => {
                flight.write_datagram(self.now, &mut self.writer, buf, max_len)
            }
            _ => self.write_alert(buf, max_len),
        };
        match written {
            Ok(0) => None,
            Ok(length) => {
                self.stats.handshake_datagrams_sent += 1;
                Some(length)
            }
            Err(error) => {
                buf.truncate(start);
                self.fail(error);
                None
            }
        }
    }

    /// True when [`poll_transmit`](Self::poll_transmit) has something to give, if there is room for it.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        self.alert.is_some()
            || self
                .flight
                .as_ref()
                .is_some_and(|flight| flight.is_pending())
    }

    /// Begins a record of application data at the end of `buf`: append the plaintext, of at most 2^14
    /// bytes, and call [`finish_record`](Self::finish_record).
    ///
    /// # Errors
    /// [`Error::NotConnected`]
    pub fn begin_record(&self, buf: &mut Vec<u8>) -> Result<RecordStart, Error> {
        if self.state != State::Connected {
            return Err(Error::NotConnected);
        }
        Ok(RecordStart(self.writer.begin(Epoch::Sealed, buf)))
    }

    /// Encrypts the record that was begun at `start` where it lies.
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::RecordTooLong`], [`Error::SequenceExhausted`],
    /// [`Error::RecordNotBegun`] for a buffer that is not the one of
    /// [`begin_record`](Self::begin_record). The content of `buf` from `start` on is to be thrown away
    /// then.
    pub fn finish_record(&mut self, buf: &mut Vec<u8>, start: RecordStart) -> Result<(), Error> {
        if self.state != State::Connected {
            return Err(Error::NotConnected);
        }
        self.writer
            .finish(Epoch::Sealed, APPLICATION_DATA, buf, start.0)?;
        self.stats.records_sent += 1;
        Ok(())
    }

    /// The most bytes that a record of application data takes beside its plaintext.
    #[must_use]
    pub fn record_overhead(&self) -> usize {
        self.writer.overhead(Epoch::Sealed)
    }

    /// Gives the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.connected) {
            return Some(Event::Connected);
        }
        self.end.take()
    }

    /// Tells that time has come to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance_to(now);
        let now = self.now;
        if let Some(handshake) = &mut self.handshake {
            if let Some((error, _)) = handshake.suspicion.take_if(|(_, at)| *at <= now) {
                return self.fail(error);
            }
            if handshake.deadline.is_some_and(|at| at <= now) {
                return self.fail(Error::HandshakeTimeout);
            }
        }
        if let Some(flight) = &mut self.flight
            && flight.on_timeout(now)
        {
            tracing::trace!(next = ?flight.timeout(), "no answer, flight is repeated");
            self.stats.timeouts += 1;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let handshake = self.handshake.as_ref();
        let suspicion = handshake
            .and_then(|it| it.suspicion.as_ref())
            .map(|(_, at)| *at);
        let deadline = handshake.and_then(|it| it.deadline);
        let flight = self.flight.as_ref().and_then(|flight| flight.deadline());
        [suspicion, deadline, flight].into_iter().flatten().min()
    }

    /// Closes the connection: the peer is told by what [`poll_transmit`](Self::poll_transmit) gives
    /// next. Closing twice does nothing.
    pub fn close(&mut self, now: Instant) {
        self.advance_to(now);
        match self.state {
            State::New => self.end(State::Closed, None),
            State::Connecting | State::Connected => {
                // A client whose server closes at once must still see the end of the handshake.
                let last_flight = match self.state {
                    State::Connected => self.flight.take().filter(|flight| flight.is_pending()),
                    _ => None,
                };
                self.end(State::Closed, Some(Alert::CLOSE_NOTIFY));
                self.flight = last_flight;
            }
            State::Closed | State::Failed => {}
        }
    }

    fn advance_to(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Notes an error that anyone on the path could have caused. A handshake that goes on clears it.
    fn suspect(&self, handshake: &mut Handshake, error: Error) {
        let timeout = self
            .flight
            .as_ref()
            .map_or(Duration::ZERO, |flight| flight.timeout());
        let until = self.now + (2 * timeout).max(MIN_SUSPICION);
        handshake.suspicion.get_or_insert((error, until));
    }

    fn fail(&mut self, error: Error) {
        tracing::debug!(%error, role = ?self.role, "failed");
        let alert = error.alert().map(Alert::fatal);
        self.end(State::Failed, alert);
        self.end = Some(Event::Failed(error));
    }

    /// Ends the connection, with a last word to the peer.
    fn end(&mut self, state: State, alert: Option<Alert>) {
        self.alert = alert.map(|alert| PendingAlert {
            alert,
            epoch: self.epoch(),
        });
        let not_before = self.now + FAREWELL_INTERVAL;
        self.farewell = self.alert.map(|pending| Farewell {
            pending,
            repeats: MAX_FAREWELLS,
            not_before,
        });
        self.state = state;
        self.handshake = None;
        self.flight = None;
        self.held = Vec::new();
    }

    /// True when nothing more is to be read from the peer.
    fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::Failed)
    }

    /// The epoch that alerts are sent in.
    fn epoch(&self) -> Epoch {
        let sealed = self.session.is_some()
            || self
                .flight
                .as_ref()
                .is_some_and(|flight| flight.is_sealed());
        if sealed { Epoch::Sealed } else { Epoch::Plain }
    }

    fn pending_alert(&self, error: &Error) -> Option<PendingAlert> {
        let alert = Alert::fatal(error.alert()?);
        Some(PendingAlert {
            alert,
            epoch: self.epoch(),
        })
    }

    /// Tells a peer again that goes on as if nothing had ended.
    fn repeat_farewell(&mut self) {
        if let Some(farewell) = &mut self.farewell
            && farewell.repeats > 0
            && farewell.not_before <= self.now
        {
            farewell.repeats -= 1;
            farewell.not_before = self.now + FAREWELL_INTERVAL;
            self.alert = Some(farewell.pending);
        }
    }

    fn write_alert(&mut self, buf: &mut Vec<u8>, max_len: usize) -> Result<usize, Error> {
        let Some(PendingAlert { alert, epoch }) = self.alert else {
            return Ok(0);
        };
        let start = buf.len();
        if self.writer.overhead(epoch) + 2 > max_len {
            return Ok(0);
        }
        self.alert = None;
        let at = self.writer.begin(epoch, buf);
        buf.put(&alert.to_bytes());
        self.writer.finish(epoch, ALERT, buf, at)?;
        Ok(buf.len() - start)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("state", &self.state)
            .field("suite", &self.cipher_suite())
            .field("srtp_profile", &self.srtp_profile())
            .finish_non_exhaustive()
    }
}

/// How long something unauthenticated stands before it is believed, at least.
const MIN_SUSPICION: Duration = Duration::from_millis(500);

/// How often, and how far apart, the last alert is repeated for a peer that goes on.
const MAX_FAREWELLS: u8 = 3;
const FAREWELL_INTERVAL: Duration = Duration::from_millis(200);
