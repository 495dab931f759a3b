//! Data channels over streams: the Data Channel Establishment Protocol (RFC 8832), the payload
//! protocol identifiers of RFC 8831, and the life of a channel.
//!
//! Nothing here knows SCTP. A message comes in as (stream, [`PayloadProtocolId`], bytes) and goes out
//! as such; that a stream was reset, or that the association is up, is told by the owner.
//!
//! * [`Channel`] is the state of one channel, from its OPEN to the reset of its stream.
//! * [`StreamIds`] hands out stream identifiers by DTLS role.
//! * [`PendingMessages`] holds what arrives on a stream before its OPEN does.
//! * [`Message`] maps text and binary messages, empty ones too, to payloads and back.
//! * [`dcep`] is the wire format.
//!
//! Two peers, with the wire between them drawn as function calls:
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use rtc_datachannel::{
//!     Channel, Incoming, Message, Parameters, PayloadProtocolId, ReadyState, Role, StreamIds,
//! };
//!
//! // The client of the DTLS handshake opens a channel.
//! let mut ids = StreamIds::new();
//! ids.set_role(Role::Client);
//! let mut ours = Channel::open(Parameters { label: "chat".into(), ..Parameters::default() })?;
//! ours.set_stream_id(ids.allocate()?);
//! ours.handle_connected();
//! assert_eq!(ours.state(), ReadyState::Open);
//!
//! // Its first message is the OPEN.
//! let open = ours.poll_dcep().expect("to be sent ordered and reliably");
//! let stream = ours.stream_id().expect("was set");
//!
//! // The server learns of the channel and answers.
//! let mut theirs = Channel::accept(stream, &open)?;
//! assert_eq!(theirs.parameters().label, "chat");
//! let ack = theirs.poll_dcep().expect("an ACK");
//! let incoming = ours.handle_message(PayloadProtocolId::DCEP, BytesMut::from(&*ack));
//! assert_eq!(incoming, Some(Incoming::Ack));
//!
//! // Messages of the application.
//! let (ppid, payload) = Message::to_payload(true, Bytes::from_static(b"hello"));
//! let incoming = theirs.handle_message(ppid, BytesMut::from(&*payload));
//! let Some(Incoming::Message(message)) = incoming else { unreachable!() };
//! assert_eq!((message.is_string, message.text()), (true, "hello".into()));
//! # Ok::<(), rtc_datachannel::Error>(())
//! ```

mod channel;
pub mod dcep;
mod error;
mod message;
mod parameters;
mod pending;
#[cfg(test)]
mod simulation;
mod streams;

pub use channel::{Channel, Discarded, Incoming, ReadyState};
pub use error::Error;
pub use message::{Message, PayloadProtocolId};
pub use parameters::{Parameters, Reliability, priority};
pub use pending::PendingMessages;
pub use streams::{Role, StreamIds};
