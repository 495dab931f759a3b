//! What arrives: datagrams into records, records into handshake messages, alerts and data.

use bytes::{Buf, BytesMut};
use rtc_shared::Reader;

use super::{Connection, Event, Handshake, PendingAlert, State};
use crate::alert::{Alert, AlertDescription};
use crate::message::{CLIENT_HELLO, FINISHED, Fragment, HELLO_REQUEST, HELLO_VERIFY_REQUEST};
use crate::record::v12::{Epoch, OpenError};
use crate::record::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, HEADER_LEN, MAX_CIPHERTEXT,
    MAX_PLAINTEXT, RecordHeader, VERSION_1_0, VERSION_1_2,
};
use crate::v12::{Context, Progress};
use crate::{Error, Role};

impl Connection {
    pub(super) fn handle_records(&mut self, mut rest: BytesMut, sink: &mut impl FnMut(BytesMut)) {
        while !rest.is_empty() {
            // The unified header of version 1.3 does not tell where its record ends.
            if rest.first().is_some_and(|byte| byte & 0xe0 == 0x20) {
                self.stats.unknown_records += 1;
                return;
            }
            let header = RecordHeader::parse(&rest);
            let whole = header
                .ok()
                .map(|it| (it, HEADER_LEN + usize::from(it.length)));
            let Some((header, length)) = whole.filter(|(_, length)| *length <= rest.len()) else {
                self.stats.malformed_records += 1;
                return;
            };
            if header.epoch == 0 {
                let record = rest.get(HEADER_LEN..length).unwrap_or_default();
                self.handle_plain(header, record);
                rest.advance(length);
            } else {
                // The last record needs no part of the buffer split off.
                let record = if length == rest.len() {
                    std::mem::take(&mut rest)
                } else {
                    rest.split_to(length)
                };
                self.handle_sealed(header, record, sink);
            }
        }
    }

    /// Handles the payload of a record of epoch 0. Nothing in it can be believed: once the handshake is
    /// done none is of interest.
    fn handle_plain(&mut self, header: RecordHeader, payload: &[u8]) {
        if !matches!(header.version, VERSION_1_0 | VERSION_1_2) {
            self.stats.unknown_records += 1;
            return;
        }
        if payload.len() > MAX_PLAINTEXT {
            self.stats.malformed_records += 1;
            return;
        }
        if self
            .handshake
            .as_ref()
            .is_none_or(|handshake| handshake.done)
        {
            self.stats.unexpected_records += 1;
            if header.content_type == HANDSHAKE {
                self.repeat_farewell();
            }
            return;
        }
        match header.content_type {
            HANDSHAKE => {
                self.stats.records_received += 1;
                self.handle_handshake(payload, false);
            }
            ALERT => self.handle_plain_alert(payload),
            // Records tell their epoch themselves, so that nothing is lost with this one.
            CHANGE_CIPHER_SPEC if payload == [1] => self.stats.records_received += 1,
            CHANGE_CIPHER_SPEC => self.stats.malformed_records += 1,
            APPLICATION_DATA => self.stats.unexpected_records += 1,
            _ => self.stats.unknown_records += 1,
        }
    }

    fn handle_sealed(
        &mut self,
        header: RecordHeader,
        mut record: BytesMut,
        sink: &mut impl FnMut(BytesMut),
    ) {
        if header.version != VERSION_1_2 {
            self.stats.unknown_records += 1;
            return;
        }
        if header.epoch != 1 {
            self.stats.unexpected_records += 1;
            return;
        }
        if usize::from(header.length) > MAX_CIPHERTEXT {
            self.stats.malformed_records += 1;
            return;
        }
        match self.state {
            State::Connected => {}
            State::New | State::Connecting => {
                if header.content_type == APPLICATION_DATA || !self.reader.is_keyed() {
                    return self.hold(record);
                }
            }
            State::Closed | State::Failed => {
                self.stats.unexpected_records += 1;
                if matches!(header.content_type, HANDSHAKE | APPLICATION_DATA) {
                    self.repeat_farewell();
                }
                return;
            }
        }
        let plaintext = match self.reader.open(header, &mut record) {
            Ok(plaintext) => plaintext,
            Err(OpenError::Replayed) => {
                self.stats.replayed_records += 1;
                return;
            }
            Err(OpenError::Unauthentic | OpenError::NoKeys) => {
                self.stats.unauthentic_records += 1;
                return;
            }
        };
        self.stats.records_received += 1;
        record.truncate(plaintext.end);
        record.advance(plaintext.start);
        match header.content_type {
            APPLICATION_DATA => {
                // A client that sends data has our Finished.
                self.flight = None;
                if !record.is_empty() {
                    sink(record);
                }
            }
            HANDSHAKE
                if self
                    .handshake
                    .as_ref()
                    .is_some_and(|handshake| !handshake.done) =>
            {
                self.handle_handshake(&record, true);
            }
            HANDSHAKE => self.handle_late_handshake(&record),
            ALERT => self.handle_sealed_alert(&record),
            _ => self.stats.unexpected_records += 1,
        }
    }

    /// Keeps a record that cannot be handled yet.
    fn hold(&mut self, record: BytesMut) {
        let bytes: usize = self.held.iter().map(BytesMut::len).sum();
        if self.held.len() >= MAX_HELD_RECORDS || bytes + record.len() > MAX_HELD_BYTES {
            self.stats.early_records_dropped += 1;
            return;
        }
        self.held.push(record);
    }

    /// Handles the records that waited, when something changed that lets them through.
    pub(super) fn release_held(&mut self, sink: &mut impl FnMut(BytesMut)) {
        while !self.held.is_empty() && self.reader.is_keyed() {
            let state = self.state;
            for record in std::mem::take(&mut self.held) {
                if let Ok(header) = RecordHeader::parse(&record) {
                    self.handle_sealed(header, record, sink);
                }
            }
            if self.state == state {
                return;
            }
        }
    }

    fn handle_handshake(&mut self, payload: &[u8], protected: bool) {
        let Some(mut handshake) = self.handshake.take() else {
            return;
        };
        let mut fragments = Reader::new(payload);
        loop {
            match Fragment::parse(&mut fragments) {
                Ok(fragment) => self.handle_fragment(&mut handshake, &fragment, protected),
                Err(error) if protected => self.fail(error),
                Err(_) => {
                    self.stats.malformed_messages += 1;
                    break;
                }
            }
            if fragments.is_empty() || self.is_over() || handshake.done {
                break;
            }
        }
        while !self.is_over()
            && !handshake.done
            && let Some(message) = handshake.inbound.take()
        {
            self.handle_message(&mut handshake, &message.raw, message.protected);
        }
        if matches!(self.state, State::New | State::Connecting) {
            self.handshake = Some(handshake);
            if self
                .handshake
                .as_ref()
                .is_some_and(|handshake| handshake.done)
            {
                self.connect_if_verified();
            }
        }
    }

    fn handle_fragment(
        &mut self,
        handshake: &mut Handshake,
        fragment: &Fragment<'_>,
        protected: bool,
    ) {
        let next = handshake.inbound.next();
        if fragment.message_seq > next && handshake.machine.awaits_client_hello() {
            self.stats.refused_fragments += 1;
        } else if fragment.message_seq < next {
            self.stats.repeated_messages += 1;
            if fragment.kind == HELLO_VERIFY_REQUEST
                && fragment.is_whole()
                && handshake.machine.takes_hello_verify_request()
            {
                // What does not parse was no more than a repetition.
                let _ = self.run(handshake, fragment.raw, next);
            } else if let Some(flight) = &mut self.flight
                && flight.on_repetition(fragment.message_seq, self.now)
            {
                self.stats.flights_repeated += 1;
            }
        } else if fragment.message_seq == next
            && fragment.is_whole()
            && handshake.inbound.is_clear()
        {
            self.handle_message(handshake, fragment.raw, protected);
        } else if handshake.inbound.insert(fragment, protected).is_err() {
            self.stats.refused_fragments += 1;
        }
    }

    /// Handles the message that is next in sequence.
    fn handle_message(&mut self, handshake: &mut Handshake, raw: &[u8], protected: bool) {
        let is_finished = raw.first() == Some(&FINISHED);
        if protected != is_finished {
            if protected {
                return self.fail(Error::UnexpectedMessage("Finished"));
            }
            self.stats.malformed_messages += 1;
            return;
        }
        match self.run(handshake, raw, handshake.inbound.next().saturating_add(1)) {
            Ok(progress) => {
                handshake.inbound.advance();
                handshake.suspicion = None;
                if self.state == State::New {
                    self.state = State::Connecting;
                    let timeout = self.config.handshake_timeout;
                    handshake.deadline = timeout.map(|timeout| self.now + timeout);
                }
                if let Progress::Done(session) = progress {
                    self.session = Some(session);
                    handshake.done = true;
                    handshake.deadline = None;
                    if self.role == Role::Client {
                        self.flight = None;
                    }
                }
            }
            // Anyone could have sent it. The message is still due.
            Err(error @ (Error::Decode(_) | Error::UnexpectedMessage(_))) if !protected => {
                tracing::trace!(%error, "message dropped");
                self.stats.malformed_messages += 1;
                match (self.state, &error) {
                    // No client is known yet that could be lost, but there may be one to be told.
                    (State::New, Error::Decode(_)) => self.alert = self.pending_alert(&error),
                    (State::New, _) => {}
                    _ => self.suspect(handshake, error),
                }
            }
            Err(error) => self.fail(error),
        }
    }

    fn run(
        &mut self,
        handshake: &mut Handshake,
        raw: &[u8],
        next_receive_seq: u16,
    ) -> Result<Progress, Error> {
        let flight = self.flight.as_mut().ok_or(Error::Internal)?;
        let kind = *raw.first().ok_or(Error::Internal)?;
        let mut context = Context {
            config: &self.config,
            now: self.now,
            rng: &mut handshake.rng,
            flight,
            writer: &mut self.writer,
            reader: &mut self.reader,
            peer: &mut self.peer,
            next_receive_seq,
        };
        handshake.machine.handle(kind, raw, &mut context)
    }

    pub(super) fn connect_if_verified(&mut self) {
        if !self.peer.verified {
            return;
        }
        self.state = State::Connected;
        self.connected = true;
        self.handshake = None;
        self.peer.late_fingerprints = Vec::new();
        if let Some(flight) = &mut self.flight {
            flight.shrink();
        }
        tracing::debug!(role = ?self.role, suite = ?self.cipher_suite(), "connected");
    }

    /// Handles authenticated handshake messages after the handshake.
    fn handle_late_handshake(&mut self, payload: &[u8]) {
        let mut fragments = Reader::new(payload);
        while let Ok(fragment) = Fragment::parse(&mut fragments) {
            match (self.role, fragment.kind) {
                (Role::Server, FINISHED) => {
                    // The client did not get our last flight (RFC 6347 section 4.2.4).
                    self.stats.repeated_messages += 1;
                    if let Some(flight) = &mut self.flight
                        && flight.on_repetition(fragment.message_seq, self.now)
                    {
                        self.stats.flights_repeated += 1;
                    }
                }
                (Role::Server, CLIENT_HELLO) | (Role::Client, HELLO_REQUEST) => {
                    // Forbidden in WebRTC (RFC 8827 section 6.5).
                    self.stats.renegotiations_refused += 1;
                    if self.stats.renegotiations_refused <= MAX_REFUSALS {
                        let alert = Alert::warning(AlertDescription::NO_RENEGOTIATION);
                        self.alert = Some(PendingAlert {
                            alert,
                            epoch: Epoch::Sealed,
                        });
                    }
                }
                _ => self.stats.repeated_messages += 1,
            }
        }
    }

    fn handle_plain_alert(&mut self, payload: &[u8]) {
        let Some(alert) = Alert::parse(payload) else {
            self.stats.malformed_records += 1;
            return;
        };
        tracing::debug!(description = %alert.description, "unauthenticated alert");
        self.stats.plain_alerts += 1;
        if alert.ends()
            && self.state == State::Connecting
            && let Some(mut handshake) = self.handshake.take()
        {
            self.suspect(&mut handshake, Error::AlertReceived(alert.description));
            self.handshake = Some(handshake);
        }
    }

    fn handle_sealed_alert(&mut self, payload: &[u8]) {
        match Alert::parse(payload) {
            None => self.stats.malformed_records += 1,
            Some(alert) if alert.description == AlertDescription::CLOSE_NOTIFY => {
                self.end(State::Closed, Some(Alert::CLOSE_NOTIFY));
                self.farewell = None;
                self.end = Some(Event::Closed);
            }
            Some(alert) if alert.fatal => self.fail(Error::AlertReceived(alert.description)),
            Some(alert) => tracing::debug!(description = %alert.description, "warning"),
        }
    }
}

/// What may wait for keys or for the end of the handshake: a flight, or the first data of the peer.
const MAX_HELD_RECORDS: usize = 16;
const MAX_HELD_BYTES: usize = 16 * 1024;

/// How many requests for a new handshake are answered.
pub(super) const MAX_REFUSALS: u64 = 4;
