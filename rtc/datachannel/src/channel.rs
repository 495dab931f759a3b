use bytes::{Bytes, BytesMut};

use crate::dcep::{self, DcepMessage, Open};
use crate::message::Parts;
use crate::{Error, Message, Parameters, PayloadProtocolId};

/// One data channel: the life of one stream.
///
/// A channel begins in one of three ways: [`open`](Self::open) announces it to the peer with an OPEN;
/// [`accept`](Self::accept) or [`announced`](Self::announced) makes the other end of one that the peer
/// announced; [`negotiated`](Self::negotiated) is known to both ends without words.
///
/// * Tell it what happens: [`set_stream_id`](Self::set_stream_id),
///   [`handle_connected`](Self::handle_connected), [`handle_message`](Self::handle_message),
///   [`handle_outgoing_reset`](Self::handle_outgoing_reset),
///   [`handle_incoming_reset`](Self::handle_incoming_reset),
///   [`handle_disconnected`](Self::handle_disconnected).
/// * Ask it what to do after each of them: send what [`poll_dcep`](Self::poll_dcep) gives; reset the
///   stream when [`poll_reset`](Self::poll_reset) says so and nothing is queued to be sent.
/// * Send messages of the application with [`Message::to_payload`] while it is open, ordered as
///   [`sends_ordered`](Self::sends_ordered) says.
///
/// # Closing
///
/// [`close`](Self::close) begins it, or the peer does by resetting its direction of the stream
/// (RFC 8831 section 6.7). The channel is closing until both directions are reset, and then closed;
/// only then the stream may be used again. With a peer that cannot reset streams, the owner calls
/// [`handle_disconnected`](Self::handle_disconnected) once its data is sent, and keeps the
/// identifier.
#[derive(Debug)]
pub struct Channel {
    parameters: Parameters,
    stream_id: Option<u16>,
    state: ReadyState,
    handshake: Handshake,
    negotiated: bool,
    /// Whether it was ever open.
    opened: bool,
    reset: Reset,
    max_message_size: usize,
    parts: Parts,
    discarded: Discarded,
}

/// The W3C's `RTCDataChannelState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReadyState {
    /// The association is not up yet.
    Connecting,
    /// Messages can be sent and received.
    Open,
    /// One side has begun to close it.
    Closing,
    /// Nothing more happens.
    Closed,
}

/// What a payload meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message for the application.
    Message(Message),
    /// The peer has confirmed our OPEN.
    Ack,
    /// The peer broke the protocol; the channel is closing and what its owner has queued to send
    /// should be dropped.
    Violation(Error),
}

/// How many payloads were dropped without harm to the channel, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discarded {
    /// Of an unknown payload protocol.
    pub unknown_payload_protocol: u64,
    /// An ACK that nothing asked for, or a DCEP message on a negotiated channel.
    pub unexpected_dcep: u64,
    /// Messages that came while the channel was closing or closed.
    pub not_open: u64,
}

/// What is left to do of RFC 8832 section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handshake {
    OpenToSend,
    OpenSent,
    AckToSend,
    Done,
}

#[derive(Debug, Clone, Copy, Default)]
struct Reset {
    /// The owner was told to reset our direction.
    requested: bool,
    outgoing_done: bool,
    incoming_done: bool,
}

/// What this side receives unless told otherwise, in bytes.
const DEFAULT_MAX_MESSAGE_SIZE: usize = 262_144;

impl Channel {
    /// A channel that we announce. It is connecting until it has a stream and the association is up.
    ///
    /// # Errors
    /// The label or the protocol is too long for an OPEN.
    pub fn open(parameters: Parameters) -> Result<Self, Error> {
        parameters.check()?;
        Ok(Self::new(
            parameters,
            None,
            ReadyState::Connecting,
            Handshake::OpenToSend,
        ))
    }

    /// The channel that the peer's OPEN announces. It is open, and an ACK is to be sent.
    pub fn announced(stream_id: u16, open: Open) -> Self {
        Self::new(
            open.into(),
            Some(stream_id),
            ReadyState::Open,
            Handshake::AckToSend,
        )
    }

    /// The same from the first DCEP payload of a stream that has no channel.
    ///
    /// That the identifier is one the peer may choose is for
    /// [`StreamIds::accept`](crate::StreamIds::accept) to say.
    ///
    /// # Errors
    /// The payload is not an OPEN. The stream is to be reset, unless it is an ACK
    /// ([`Error::NotAnOpen`]), which may be late for a channel that is gone.
    pub fn accept(stream_id: u16, payload: &[u8]) -> Result<Self, Error> {
        match DcepMessage::parse(payload)? {
            DcepMessage::Open(open) => Ok(Self::announced(stream_id, open)),
            DcepMessage::Ack => Err(Error::NotAnOpen),
        }
    }

    /// A channel that both sides make with the same identifier (the W3C's `negotiated`). It is
    /// connecting until the association is up.
    pub fn negotiated(stream_id: u16, parameters: Parameters) -> Self {
        let mut channel = Self::new(
            parameters,
            Some(stream_id),
            ReadyState::Connecting,
            Handshake::Done,
        );
        channel.negotiated = true;
        channel
    }

    fn new(
        parameters: Parameters,
        stream_id: Option<u16>,
        state: ReadyState,
        handshake: Handshake,
    ) -> Self {
        Self {
            parameters,
            stream_id,
            state,
            handshake,
            negotiated: false,
            opened: state == ReadyState::Open,
            reset: Reset::default(),
            max_message_size: DEFAULT_MAX_MESSAGE_SIZE,
            parts: Parts::default(),
            discarded: Discarded::default(),
        }
    }

    /// Sets the longest message that is received, in bytes; 262144 if never called.
    pub fn set_max_message_size(&mut self, bytes: usize) {
        self.max_message_size = bytes;
    }

    /// What the channel is.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Its stream, once it has one.
    pub fn stream_id(&self) -> Option<u16> {
        self.stream_id
    }

    /// Where in its life it is.
    pub fn state(&self) -> ReadyState {
        self.state
    }

    /// Whether it was made by [`negotiated`](Self::negotiated).
    pub fn is_negotiated(&self) -> bool {
        self.negotiated
    }

    /// What was dropped.
    pub fn discarded(&self) -> Discarded {
        self.discarded
    }

    /// Whether messages of the application are to be sent ordered now: as agreed, and in any case as
    /// long as the peer might not have got our OPEN (RFC 8832 section 6).
    pub fn sends_ordered(&self) -> bool {
        self.parameters.ordered
            || matches!(self.handshake, Handshake::OpenToSend | Handshake::OpenSent)
    }

    /// Whether the stream may get a new channel: this one has closed, and either nothing was ever
    /// sent on the stream or both directions are reset.
    pub fn frees_stream(&self) -> bool {
        let unused = self.handshake == Handshake::OpenToSend || !self.opened;
        self.state == ReadyState::Closed
            && (unused || (self.reset.outgoing_done && self.reset.incoming_done))
    }

    /// Gives the channel its stream, once the DTLS role is known. A stream it has stays.
    pub fn set_stream_id(&mut self, stream_id: u16) {
        self.stream_id.get_or_insert(stream_id);
    }

    /// Takes back the stream of a channel that we announce and that is still connecting: the DTLS role
    /// was negotiated anew, and with it which identifiers are ours. It is to be freed with
    /// [`StreamIds::free`](crate::StreamIds::free).
    pub fn take_stream_id(&mut self) -> Option<u16> {
        let untold = self.handshake == Handshake::OpenToSend;
        if untold && self.state == ReadyState::Connecting {
            self.stream_id.take()
        } else {
            None
        }
    }

    /// The association is up: a channel that is connecting and has a stream is open now.
    ///
    /// The ACK need not be waited for (RFC 8832 section 6).
    pub fn handle_connected(&mut self) {
        if self.state == ReadyState::Connecting && self.stream_id.is_some() {
            self.state = ReadyState::Open;
            self.opened = true;
        }
    }

    /// The DCEP message to be sent, if there is one: on the channel's stream, with
    /// [`PayloadProtocolId::DCEP`], ordered and reliably whatever the channel is.
    ///
    /// It has to be sent before messages of the application.
    pub fn poll_dcep(&mut self) -> Option<Bytes> {
        match (self.handshake, self.state) {
            (Handshake::OpenToSend, ReadyState::Open) => {
                self.handshake = Handshake::OpenSent;
                // No error: `open` has checked the lengths.
                DcepMessage::Open(self.parameters.to_open()).to_bytes().ok()
            }
            (Handshake::AckToSend, _) if !self.reset.requested => {
                self.handshake = Handshake::Done;
                Some(Bytes::from_static(dcep::ACK))
            }
            _ => None,
        }
    }

    /// A whole payload has come on the channel's stream. `None` if there is nothing to do about it.
    ///
    /// That it came proves that the association is up: a channel that is connecting opens, and the
    /// owner tells so before it hands the message on.
    pub fn handle_message(
        &mut self,
        ppid: PayloadProtocolId,
        payload: BytesMut,
    ) -> Option<Incoming> {
        self.handle_connected();
        // Any message proves that the OPEN has arrived.
        let acknowledges = self.handshake == Handshake::OpenSent;
        if acknowledges {
            self.handshake = Handshake::Done;
        }
        if ppid == PayloadProtocolId::DCEP {
            return self.handle_dcep(&payload, acknowledges);
        }
        if self.state != ReadyState::Open {
            self.discarded.not_open += 1;
            return None;
        }
        let limit = self.max_message_size;
        let message = match ppid {
            PayloadProtocolId::STRING => self.parts.finish(true, payload, limit),
            PayloadProtocolId::BINARY => self.parts.finish(false, payload, limit),
            // The content of an empty message has no meaning, however long it is.
            PayloadProtocolId::STRING_EMPTY => self.parts.finish(true, BytesMut::new(), limit),
            PayloadProtocolId::BINARY_EMPTY => self.parts.finish(false, BytesMut::new(), limit),
            PayloadProtocolId::STRING_PARTIAL => match self.parts.push(true, payload, limit) {
                Ok(()) => return None,
                Err(error) => Err(error),
            },
            PayloadProtocolId::BINARY_PARTIAL => match self.parts.push(false, payload, limit) {
                Ok(()) => return None,
                Err(error) => Err(error),
            },
            _ => {
                self.discarded.unknown_payload_protocol += 1;
                return None;
            }
        };
        Some(match message {
            Ok(message) => Incoming::Message(message),
            Err(error) => self.violation(error),
        })
    }

    fn handle_dcep(&mut self, payload: &[u8], acknowledges: bool) -> Option<Incoming> {
        if self.negotiated || self.state != ReadyState::Open {
            self.discarded.unexpected_dcep += 1;
            return None;
        }
        match DcepMessage::parse(payload) {
            Ok(DcepMessage::Ack) if acknowledges => Some(Incoming::Ack),
            Ok(DcepMessage::Ack) => {
                self.discarded.unexpected_dcep += 1;
                None
            }
            Ok(DcepMessage::Open(_)) => Some(self.violation(Error::OpenedTwice)),
            Err(error) => Some(self.violation(error)),
        }
    }

    fn violation(&mut self, error: Error) -> Incoming {
        self.state = ReadyState::Closing;
        self.parts = Parts::default();
        Incoming::Violation(error)
    }

    /// Begins to close the channel. Whoever has queued messages sends them first.
    ///
    /// A channel that the peer cannot know of is closed at once.
    pub fn close(&mut self) {
        match self.state {
            ReadyState::Connecting => self.finish(),
            ReadyState::Open if self.handshake == Handshake::OpenToSend => self.finish(),
            ReadyState::Open => self.state = ReadyState::Closing,
            ReadyState::Closing | ReadyState::Closed => {}
        }
    }

    /// Whether all that is missing for the end is that the peer confirms the reset of our direction.
    ///
    /// When it opens another channel on the stream by then, it has: the confirmation was lost or is
    /// late.
    pub fn awaits_confirmation(&self) -> bool {
        self.state == ReadyState::Closing && self.reset.requested && self.reset.incoming_done
    }

    /// Whether the outgoing direction of the stream is to be reset; true once.
    ///
    /// The owner asks when nothing is queued to be sent on the stream (or drops it, if the peer
    /// closed the channel), resets, and calls
    /// [`handle_outgoing_reset`](Self::handle_outgoing_reset) when the peer has confirmed.
    pub fn poll_reset(&mut self) -> bool {
        let wanted = self.state == ReadyState::Closing && !self.reset.requested;
        self.reset.requested |= wanted;
        wanted
    }

    /// The peer has confirmed the reset of our direction.
    pub fn handle_outgoing_reset(&mut self) {
        self.reset.requested = true;
        self.reset.outgoing_done = true;
        self.continue_closing();
    }

    /// The peer has reset its direction: it closes the channel, and so do we, or it has answered
    /// ours.
    ///
    /// Who began can be told by [`state`](Self::state) before the call: a channel that was open is
    /// closed by the peer.
    pub fn handle_incoming_reset(&mut self) {
        self.reset.incoming_done = true;
        self.parts = Parts::default();
        self.continue_closing();
    }

    /// The association is gone, or the peer cannot reset streams: the channel is closed as it is.
    pub fn handle_disconnected(&mut self) {
        self.finish();
    }

    fn continue_closing(&mut self) {
        if self.reset.outgoing_done && self.reset.incoming_done {
            self.finish();
        } else if self.state != ReadyState::Closed {
            self.state = ReadyState::Closing;
        }
    }

    fn finish(&mut self) {
        self.state = ReadyState::Closed;
        self.parts = Parts::default();
    }
}

#[cfg(test)]
mod tests;
