use rtc_shared::{Reader, Writer};

use super::chunk::finish;
use super::{ParseError, kind, padded};

const HEARTBEAT_INFO: u16 = 1;
const STATE_COOKIE: u16 = 7;
const UNRECOGNIZED: u16 = 8;
const HOST_NAME: u16 = 11;
const ZERO_CHECKSUM: u16 = 0x8001;
const SUPPORTED_EXTENSIONS: u16 = 0x8008;
const FORWARD_TSN_SUPPORTED: u16 = 0xc000;
/// Error detection method: the lower layer is DTLS (RFC 9653 §4).
const EDMID_DTLS: u32 = 1;

/// Error cause codes (RFC 9260 §3.3.10).
pub mod cause {
    /// Invalid Stream Identifier.
    pub const INVALID_STREAM: u16 = 1;
    /// Missing Mandatory Parameter.
    pub const MISSING_PARAMETER: u16 = 2;
    /// Stale Cookie.
    pub const STALE_COOKIE: u16 = 3;
    /// Unresolvable Address.
    pub const UNRESOLVABLE_ADDRESS: u16 = 5;
    /// Unrecognized Chunk Type.
    pub const UNRECOGNIZED_CHUNK: u16 = 6;
    /// Invalid Mandatory Parameter.
    pub const INVALID_PARAMETER: u16 = 7;
    /// Unrecognized Parameters.
    pub const UNRECOGNIZED_PARAMETERS: u16 = 8;
    /// No User Data.
    pub const NO_USER_DATA: u16 = 9;
    /// Cookie Received While Shutting Down.
    pub const COOKIE_WHILE_SHUTTING_DOWN: u16 = 10;
    /// User-Initiated Abort.
    pub const USER_ABORT: u16 = 12;
    /// Protocol Violation.
    pub const PROTOCOL_VIOLATION: u16 = 13;
}

/// Results of a Re-configuration Response (RFC 6525 §4.4).
pub mod reset_result {
    /// Success, nothing to do.
    pub const NOTHING_TO_DO: u32 = 0;
    /// Success, performed.
    pub const PERFORMED: u32 = 1;
    /// Denied.
    pub const DENIED: u32 = 2;
    /// Error, wrong SSN.
    pub const WRONG_SSN: u32 = 3;
    /// Error, request already in progress.
    pub const ALREADY_IN_PROGRESS: u32 = 4;
    /// Error, bad sequence number.
    pub const BAD_SEQUENCE_NUMBER: u32 = 5;
    /// In progress: not final, the requester asks again.
    pub const IN_PROGRESS: u32 = 6;
}

/// One parameter of INIT, INIT ACK or a HEARTBEAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parameter<'a> {
    /// Heartbeat Info.
    HeartbeatInfo(&'a [u8]),
    /// State Cookie.
    StateCookie(&'a [u8]),
    /// Unrecognized Parameter: one of ours, sent back.
    Unrecognized(&'a [u8]),
    /// Host Name Address, which RFC 9260 forbids.
    HostName,
    /// Supported Extensions: chunk types (RFC 5061 §4.2.7).
    SupportedExtensions(&'a [u8]),
    /// FORWARD TSN is understood (RFC 3758 §3.1).
    ForwardTsnSupported,
    /// Packets without checksum are accepted under this condition, 1 being DTLS (RFC 9653).
    ZeroChecksum(u32),
    /// Any other; addresses are among them, since there are none over DTLS (RFC 8261 §6.1).
    Other {
        /// Parameter type.
        kind: u16,
        /// What follows the 4-byte header.
        value: &'a [u8],
    },
}

impl<'a> Parameter<'a> {
    /// Appends the parameter; `pad` fills it up to 4 bytes, which the last one of a chunk leaves
    /// to the chunk.
    pub fn write(&self, out: &mut Vec<u8>, pad: bool) {
        match *self {
            Self::HeartbeatInfo(value) => put_parameter(out, HEARTBEAT_INFO, value, pad),
            Self::StateCookie(value) => put_parameter(out, STATE_COOKIE, value, pad),
            Self::Unrecognized(value) => put_parameter(out, UNRECOGNIZED, value, pad),
            Self::HostName => put_parameter(out, HOST_NAME, &[], pad),
            Self::SupportedExtensions(value) => {
                put_parameter(out, SUPPORTED_EXTENSIONS, value, pad);
            }
            Self::ForwardTsnSupported => put_parameter(out, FORWARD_TSN_SUPPORTED, &[], pad),
            Self::ZeroChecksum(method) => {
                put_parameter(out, ZERO_CHECKSUM, &method.to_be_bytes(), pad);
            }
            Self::Other { kind, value } => put_parameter(out, kind, value, pad),
        }
    }

    fn parse(kind: u16, value: &'a [u8]) -> Self {
        match kind {
            HEARTBEAT_INFO => Self::HeartbeatInfo(value),
            STATE_COOKIE => Self::StateCookie(value),
            UNRECOGNIZED => Self::Unrecognized(value),
            HOST_NAME => Self::HostName,
            SUPPORTED_EXTENSIONS => Self::SupportedExtensions(value),
            FORWARD_TSN_SUPPORTED => Self::ForwardTsnSupported,
            ZERO_CHECKSUM if value.len() == 4 => {
                Self::ZeroChecksum(Reader::new(value).u32().unwrap_or_default())
            }
            _ => Self::Other { kind, value },
        }
    }
}

/// Appends a parameter of any type, with or without padding.
pub fn put_parameter(out: &mut Vec<u8>, kind: u16, value: &[u8], pad: bool) {
    let length = value.len() + 4;
    debug_assert!(length <= usize::from(u16::MAX));
    out.put_u16(kind);
    out.put_u16(length as u16);
    out.put(value);
    if pad {
        out.put_zeros(padded(length) - length);
    }
}

/// The parameters of a chunk in order; ends after the first malformed one.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// Walks over a parameter list.
    #[must_use]
    pub fn new(list: &'a [u8]) -> Self {
        Self { rest: list }
    }

    fn split(list: &'a [u8]) -> Result<(u16, &'a [u8], &'a [u8]), ParseError> {
        let mut reader = Reader::new(list);
        let kind = reader.u16()?;
        let length = usize::from(reader.u16()?);
        let value = list.get(4..length).ok_or(ParseError::Length)?;
        Ok((kind, value, list.get(padded(length)..).unwrap_or_default()))
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = Self::split(self.rest);
        self.rest = item.map_or(&[], |(_, _, rest)| rest);
        Some(item.map(|(kind, value, _)| Parameter::parse(kind, value)))
    }
}

/// What a peer's INIT or INIT ACK says beyond its fixed part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities<'a> {
    /// FORWARD TSN is understood (RFC 3758).
    pub forward_tsn: bool,
    /// RE-CONFIG is understood (RFC 6525).
    pub reconfig: bool,
    /// I-DATA is understood (RFC 8260).
    pub interleaving: bool,
    /// Packets without checksum are accepted, DTLS being below (RFC 9653).
    pub zero_checksum: bool,
    /// The state cookie of an INIT ACK.
    pub cookie: Option<&'a [u8]>,
    /// A host name was given, which must end the set-up (RFC 9260 §3.3.2).
    pub host_name: bool,
    /// Unknown parameters that are to be reported, as they came.
    pub unrecognized: Vec<&'a [u8]>,
}

impl<'a> Capabilities<'a> {
    /// Walks over the parameters by the rules of RFC 9260 §3.2.1: the high bits of an unknown type
    /// say whether to go on and whether to report it.
    ///
    /// # Errors
    /// [`ParseError::Length`] when a parameter goes beyond the list or has a length below 4.
    pub fn parse(mut list: &'a [u8]) -> Result<Self, ParseError> {
        const MAX_REPORTED: usize = 8;
        let mut found = Self::default();
        while !list.is_empty() {
            let (kind, value, rest) = Parameters::split(list)?;
            match Parameter::parse(kind, value) {
                Parameter::StateCookie(cookie) => found.cookie = Some(cookie),
                Parameter::HostName => found.host_name = true,
                Parameter::ForwardTsnSupported => found.forward_tsn = true,
                Parameter::ZeroChecksum(method) => found.zero_checksum = method == EDMID_DTLS,
                Parameter::SupportedExtensions(kinds) => {
                    found.forward_tsn |= kinds.contains(&kind::FORWARD_TSN);
                    found.reconfig |= kinds.contains(&kind::RE_CONFIG);
                    found.interleaving |= kinds.contains(&kind::I_DATA);
                }
                // IPv4, IPv6, cookie preservative, supported address types, ECN: known, not used.
                Parameter::Other {
                    kind: 5 | 6 | 9 | 12 | 0x8000,
                    ..
                }
                | Parameter::HeartbeatInfo(_)
                | Parameter::Unrecognized(_) => {}
                Parameter::Other { .. } => {
                    if kind & 0x4000 != 0 && found.unrecognized.len() < MAX_REPORTED {
                        found.unrecognized.extend(list.get(..value.len() + 4));
                    }
                    if kind & 0x8000 == 0 {
                        break;
                    }
                }
            }
            list = rest;
        }
        Ok(found)
    }
}

/// Appends an error cause with its padding.
pub fn put_cause(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    put_parameter(out, code, value, true);
}

/// The causes of ERROR or ABORT in order: code and value; ends at the first malformed one.
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a> {
    rest: &'a [u8],
}

impl<'a> Causes<'a> {
    /// Walks over a list of causes.
    #[must_use]
    pub fn new(list: &'a [u8]) -> Self {
        Self { rest: list }
    }
}

impl<'a> Iterator for Causes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (code, value, rest) = Parameters::split(self.rest).ok()?;
        self.rest = rest;
        Some((code, value))
    }
}

/// A list of stream numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamList<'a>(&'a [u8]);

impl<'a> StreamList<'a> {
    /// A list over big-endian 16-bit numbers.
    ///
    /// # Errors
    /// [`ParseError::Length`] for an odd number of bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Self, ParseError> {
        if bytes.len().is_multiple_of(2) {
            Ok(Self(bytes))
        } else {
            Err(ParseError::Length)
        }
    }

    /// The stream numbers.
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.0
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&bytes| u16::from_be_bytes(bytes))
    }

    /// True when none is listed, which means all streams.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// RE-CONFIG (RFC 6525 §3.1): one or two parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconfig<'a> {
    /// First parameter.
    pub first: ReconfigParameter<'a>,
    /// Second parameter, if any.
    pub second: Option<ReconfigParameter<'a>>,
}

impl<'a> Reconfig<'a> {
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let (kind, first, rest) = Parameters::split(value)?;
        let first = ReconfigParameter::parse(kind, first)?;
        if rest.is_empty() {
            return Ok(Self {
                first,
                second: None,
            });
        }
        let (kind, second, rest) = Parameters::split(rest)?;
        let second = Some(ReconfigParameter::parse(kind, second)?);
        if rest.is_empty() {
            Ok(Self { first, second })
        } else {
            Err(ParseError::Length)
        }
    }

    pub(super) fn write_value(&self, out: &mut Vec<u8>) {
        self.first.write(out, self.second.is_some());
        if let Some(second) = &self.second {
            second.write(out, false);
        }
    }
}

/// A parameter of RE-CONFIG (RFC 6525 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReconfigParameter<'a> {
    /// The sender resets its direction of streams.
    OutgoingReset {
        /// Re-configuration Request Sequence Number.
        request: u32,
        /// Last request of the peer that was handled, or the one that this answers.
        response: u32,
        /// Last TSN that the sender assigned before.
        last_tsn: u32,
        /// Streams; none means all.
        streams: StreamList<'a>,
    },
    /// The sender wants the receiver to reset its direction of streams.
    IncomingReset {
        /// Re-configuration Request Sequence Number.
        request: u32,
        /// Streams; none means all.
        streams: StreamList<'a>,
    },
    /// The sender wants all sequence numbers reset.
    TsnReset {
        /// Re-configuration Request Sequence Number.
        request: u32,
    },
    /// Answer to a request.
    Response {
        /// The request that is answered.
        response: u32,
        /// See [`reset_result`].
        result: u32,
        /// Next TSN of the sender and of the receiver, in answer to a TSN reset.
        next_tsns: Option<(u32, u32)>,
    },
    /// The sender wants to send on more streams.
    AddOutgoing {
        /// Re-configuration Request Sequence Number.
        request: u32,
        /// How many more.
        streams: u16,
    },
    /// The sender wants the receiver to send on more streams.
    AddIncoming {
        /// Re-configuration Request Sequence Number.
        request: u32,
        /// How many more.
        streams: u16,
    },
}

impl<'a> ReconfigParameter<'a> {
    fn parse(kind: u16, value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        let parameter = match kind {
            13 => Self::OutgoingReset {
                request: reader.u32()?,
                response: reader.u32()?,
                last_tsn: reader.u32()?,
                streams: StreamList::new(reader.take_rest())?,
            },
            14 => Self::IncomingReset {
                request: reader.u32()?,
                streams: StreamList::new(reader.take_rest())?,
            },
            15 => Self::TsnReset {
                request: reader.u32()?,
            },
            16 => Self::Response {
                response: reader.u32()?,
                result: reader.u32()?,
                next_tsns: match reader.len() {
                    0 => None,
                    _ => Some((reader.u32()?, reader.u32()?)),
                },
            },
            17 | 18 => {
                let request = reader.u32()?;
                let streams = reader.u16()?;
                reader.skip(2)?;
                match kind {
                    17 => Self::AddOutgoing { request, streams },
                    _ => Self::AddIncoming { request, streams },
                }
            }
            _ => return Err(ParseError::Value),
        };
        if reader.is_empty() {
            Ok(parameter)
        } else {
            Err(ParseError::Length)
        }
    }

    fn write(&self, out: &mut Vec<u8>, pad: bool) {
        let start = out.len();
        let kind = match self {
            Self::OutgoingReset { .. } => 13,
            Self::IncomingReset { .. } => 14,
            Self::TsnReset { .. } => 15,
            Self::Response { .. } => 16,
            Self::AddOutgoing { .. } => 17,
            Self::AddIncoming { .. } => 18,
        };
        out.put_u16(kind);
        out.put_u16(0);
        match *self {
            Self::OutgoingReset {
                request,
                response,
                last_tsn,
                streams,
            } => {
                out.put_u32(request);
                out.put_u32(response);
                out.put_u32(last_tsn);
                out.put(streams.0);
            }
            Self::IncomingReset { request, streams } => {
                out.put_u32(request);
                out.put(streams.0);
            }
            Self::TsnReset { request } => out.put_u32(request),
            Self::Response {
                response,
                result,
                next_tsns,
            } => {
                out.put_u32(response);
                out.put_u32(result);
                if let Some((sender, receiver)) = next_tsns {
                    out.put_u32(sender);
                    out.put_u32(receiver);
                }
            }
            Self::AddOutgoing { request, streams } | Self::AddIncoming { request, streams } => {
                out.put_u32(request);
                out.put_u16(streams);
                out.put_u16(0);
            }
        }
        if pad {
            finish(out, start);
        } else {
            let length = (out.len() - start) as u16;
            out.patch(start + 2, &length.to_be_bytes());
        }
    }
}
