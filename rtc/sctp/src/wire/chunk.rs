use rtc_shared::{Reader, Writer};

use super::{CHUNK_HEADER_LEN, DATA_HEADER_LEN, ParseError, RawChunk, Reconfig};

/// Chunk types.
pub mod kind {
    /// DATA.
    pub const DATA: u8 = 0;
    /// INIT.
    pub const INIT: u8 = 1;
    /// INIT ACK.
    pub const INIT_ACK: u8 = 2;
    /// SACK.
    pub const SACK: u8 = 3;
    /// HEARTBEAT.
    pub const HEARTBEAT: u8 = 4;
    /// HEARTBEAT ACK.
    pub const HEARTBEAT_ACK: u8 = 5;
    /// ABORT.
    pub const ABORT: u8 = 6;
    /// SHUTDOWN.
    pub const SHUTDOWN: u8 = 7;
    /// SHUTDOWN ACK.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// ERROR.
    pub const ERROR: u8 = 9;
    /// COOKIE ECHO.
    pub const COOKIE_ECHO: u8 = 10;
    /// COOKIE ACK.
    pub const COOKIE_ACK: u8 = 11;
    /// ECNE, reserved.
    pub const ECNE: u8 = 12;
    /// CWR, reserved.
    pub const CWR: u8 = 13;
    /// SHUTDOWN COMPLETE.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
    /// I-DATA (RFC 8260).
    pub const I_DATA: u8 = 64;
    /// RE-CONFIG (RFC 6525).
    pub const RE_CONFIG: u8 = 130;
    /// PAD (RFC 4820).
    pub const PAD: u8 = 132;
    /// FORWARD TSN (RFC 3758).
    pub const FORWARD_TSN: u8 = 192;
    /// I-FORWARD-TSN (RFC 8260).
    pub const I_FORWARD_TSN: u8 = 194;
}

/// One chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunk<'a> {
    /// User data.
    Data(Data<'a>),
    /// User data that may be interleaved (RFC 8260).
    IData(IData<'a>),
    /// Start of an association.
    Init(Init<'a>),
    /// Answer to INIT; one parameter is the cookie.
    InitAck(Init<'a>),
    /// Selective acknowledgement.
    Sack(Sack<'a>),
    /// Liveness probe; the value (one Heartbeat Info parameter) is echoed as it is.
    Heartbeat(&'a [u8]),
    /// Answer to HEARTBEAT.
    HeartbeatAck(&'a [u8]),
    /// End by error.
    Abort {
        /// T bit: the tag is the sender's own, reflected.
        reflected: bool,
        /// Error causes, see [`Causes`](super::Causes).
        causes: &'a [u8],
    },
    /// Orderly end.
    Shutdown {
        /// All up to this TSN has been received.
        cumulative_tsn: u32,
    },
    /// Answer to SHUTDOWN.
    ShutdownAck,
    /// Something was wrong.
    Error {
        /// Error causes, see [`Causes`](super::Causes).
        causes: &'a [u8],
    },
    /// The cookie of INIT ACK, sent back.
    CookieEcho(&'a [u8]),
    /// Answer to COOKIE ECHO.
    CookieAck,
    /// Answer to SHUTDOWN ACK.
    ShutdownComplete {
        /// T bit: the tag is the sender's own, reflected.
        reflected: bool,
    },
    /// Stream reconfiguration (RFC 6525).
    Reconfig(Reconfig<'a>),
    /// Skip of abandoned TSNs (RFC 3758).
    ForwardTsn(ForwardTsn<'a>),
    /// Skip of abandoned TSNs with interleaving (RFC 8260).
    IForwardTsn(IForwardTsn<'a>),
    /// Any other type.
    Unknown(RawChunk<'a>),
}

impl<'a> Chunk<'a> {
    /// Looks into a chunk.
    ///
    /// # Errors
    /// [`ParseError`] when the value does not have the form that the type prescribes.
    pub fn parse(raw: RawChunk<'a>) -> Result<Self, ParseError> {
        let value = raw.value;
        Ok(match raw.kind {
            kind::DATA => Self::Data(Data::parse(raw)?),
            kind::I_DATA => Self::IData(IData::parse(raw)?),
            kind::INIT => Self::Init(Init::parse(value)?),
            kind::INIT_ACK => Self::InitAck(Init::parse(value)?),
            kind::SACK => Self::Sack(Sack::parse(value)?),
            kind::HEARTBEAT => Self::Heartbeat(value),
            kind::HEARTBEAT_ACK => Self::HeartbeatAck(value),
            kind::ABORT => Self::Abort {
                reflected: raw.flags & 1 != 0,
                causes: value,
            },
            kind::SHUTDOWN => {
                let mut reader = Reader::new(value);
                let cumulative_tsn = reader.u32()?;
                ended(&reader)?;
                Self::Shutdown { cumulative_tsn }
            }
            kind::SHUTDOWN_ACK => Self::ShutdownAck,
            kind::ERROR => Self::Error { causes: value },
            kind::COOKIE_ECHO if value.is_empty() => return Err(ParseError::Length),
            kind::COOKIE_ECHO => Self::CookieEcho(value),
            kind::COOKIE_ACK => Self::CookieAck,
            kind::SHUTDOWN_COMPLETE => Self::ShutdownComplete {
                reflected: raw.flags & 1 != 0,
            },
            kind::RE_CONFIG => Self::Reconfig(Reconfig::parse(value)?),
            kind::FORWARD_TSN => Self::ForwardTsn(ForwardTsn::parse(value)?),
            kind::I_FORWARD_TSN => Self::IForwardTsn(IForwardTsn::parse(value)?),
            _ => Self::Unknown(raw),
        })
    }

    /// Appends the chunk and its padding.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let reflect = |reflected: bool| u8::from(reflected);
        let (kind, flags) = match self {
            Self::Data(data) => (kind::DATA, data.flags()),
            Self::IData(data) => (kind::I_DATA, data.flags()),
            Self::Init(_) => (kind::INIT, 0),
            Self::InitAck(_) => (kind::INIT_ACK, 0),
            Self::Sack(_) => (kind::SACK, 0),
            Self::Heartbeat(_) => (kind::HEARTBEAT, 0),
            Self::HeartbeatAck(_) => (kind::HEARTBEAT_ACK, 0),
            Self::Abort { reflected, .. } => (kind::ABORT, reflect(*reflected)),
            Self::Shutdown { .. } => (kind::SHUTDOWN, 0),
            Self::ShutdownAck => (kind::SHUTDOWN_ACK, 0),
            Self::Error { .. } => (kind::ERROR, 0),
            Self::CookieEcho(_) => (kind::COOKIE_ECHO, 0),
            Self::CookieAck => (kind::COOKIE_ACK, 0),
            Self::ShutdownComplete { reflected } => (kind::SHUTDOWN_COMPLETE, reflect(*reflected)),
            Self::Reconfig(_) => (kind::RE_CONFIG, 0),
            Self::ForwardTsn(_) => (kind::FORWARD_TSN, 0),
            Self::IForwardTsn(_) => (kind::I_FORWARD_TSN, 0),
            Self::Unknown(raw) => (raw.kind, raw.flags),
        };
        out.put(&[kind, flags, 0, 0]);
        match self {
            Self::Data(data) => data.write_value(out),
            Self::IData(data) => data.write_value(out),
            Self::Init(init) | Self::InitAck(init) => init.write_value(out),
            Self::Sack(sack) => sack.write_value(out),
            Self::Heartbeat(value) | Self::HeartbeatAck(value) | Self::CookieEcho(value) => {
                out.put(value);
            }
            Self::Abort { causes, .. } | Self::Error { causes } => out.put(causes),
            Self::Shutdown { cumulative_tsn } => out.put_u32(*cumulative_tsn),
            Self::ShutdownAck | Self::CookieAck | Self::ShutdownComplete { .. } => {}
            Self::Reconfig(reconfig) => reconfig.write_value(out),
            Self::ForwardTsn(forward) => {
                out.put_u32(forward.new_cumulative_tsn);
                out.put(forward.entries);
            }
            Self::IForwardTsn(forward) => {
                out.put_u32(forward.new_cumulative_tsn);
                out.put(forward.entries);
            }
            Self::Unknown(raw) => out.put(raw.value),
        }
        finish(out, start);
    }
}

/// Length with the padding to a multiple of 4.
#[must_use]
pub fn padded(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// Patches the length of the chunk or parameter that starts at `start` and pads it.
pub(super) fn finish(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    debug_assert!(length <= usize::from(u16::MAX));
    out.patch(start + 2, &(length as u16).to_be_bytes());
    out.put_zeros(padded(length) - length);
}

fn ended(reader: &Reader<'_>) -> Result<(), ParseError> {
    if reader.is_empty() {
        Ok(())
    } else {
        Err(ParseError::Length)
    }
}

/// DATA (RFC 9260 §3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// I bit: the sender wants a SACK at once.
    pub immediate: bool,
    /// U bit.
    pub unordered: bool,
    /// B bit: first fragment of a message.
    pub begin: bool,
    /// E bit: last fragment of a message.
    pub end: bool,
    /// Transmission sequence number.
    pub tsn: u32,
    /// Stream number.
    pub stream: u16,
    /// Stream sequence number of an ordered message.
    pub ssn: u16,
    /// Payload protocol identifier.
    pub ppid: u32,
    /// User data. Empty is an error of the peer that is answered by ABORT, not a parse error.
    pub payload: &'a [u8],
}

impl<'a> Data<'a> {
    /// Looks into a DATA chunk.
    ///
    /// # Errors
    /// [`ParseError::Length`] when it is shorter than its header.
    #[inline]
    pub fn parse(raw: RawChunk<'a>) -> Result<Self, ParseError> {
        let Some((&[t0, t1, t2, t3, i0, i1, s0, s1, p0, p1, p2, p3], payload)) = raw
            .value
            .split_first_chunk::<{ DATA_HEADER_LEN - CHUNK_HEADER_LEN }>()
        else {
            return Err(ParseError::Length);
        };
        Ok(Self {
            immediate: raw.flags & 8 != 0,
            unordered: raw.flags & 4 != 0,
            begin: raw.flags & 2 != 0,
            end: raw.flags & 1 != 0,
            tsn: u32::from_be_bytes([t0, t1, t2, t3]),
            stream: u16::from_be_bytes([i0, i1]),
            ssn: u16::from_be_bytes([s0, s1]),
            ppid: u32::from_be_bytes([p0, p1, p2, p3]),
            payload,
        })
    }

    /// Appends the chunk and its padding; the same as [`Chunk::write`], made for speed.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        const PADDING: [&[u8]; 4] = [&[], &[0], &[0, 0], &[0, 0, 0]];
        let length = DATA_HEADER_LEN + self.payload.len();
        debug_assert!(length <= usize::from(u16::MAX));
        let [l0, l1] = (length as u16).to_be_bytes();
        let [t0, t1, t2, t3] = self.tsn.to_be_bytes();
        let [i0, i1] = self.stream.to_be_bytes();
        let [s0, s1] = self.ssn.to_be_bytes();
        let [p0, p1, p2, p3] = self.ppid.to_be_bytes();
        out.reserve(length + 3);
        out.extend_from_slice(&[
            kind::DATA,
            self.flags(),
            l0,
            l1,
            t0,
            t1,
            t2,
            t3,
            i0,
            i1,
            s0,
            s1,
            p0,
            p1,
            p2,
            p3,
        ]);
        out.extend_from_slice(self.payload);
        out.extend_from_slice(
            PADDING
                .get(length.wrapping_neg() & 3)
                .unwrap_or(&PADDING[0]),
        );
    }

    fn flags(&self) -> u8 {
        u8::from(self.immediate) << 3
            | u8::from(self.unordered) << 2
            | u8::from(self.begin) << 1
            | u8::from(self.end)
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        out.put_u32(self.tsn);
        out.put_u16(self.stream);
        out.put_u16(self.ssn);
        out.put_u32(self.ppid);
        out.put(self.payload);
    }
}

/// I-DATA (RFC 8260 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IData<'a> {
    /// I bit: the sender wants a SACK at once.
    pub immediate: bool,
    /// U bit.
    pub unordered: bool,
    /// B bit: first fragment of a message.
    pub begin: bool,
    /// E bit: last fragment of a message.
    pub end: bool,
    /// Transmission sequence number.
    pub tsn: u32,
    /// Stream number.
    pub stream: u16,
    /// Message identifier, counted apart for ordered and unordered messages.
    pub mid: u32,
    /// Payload protocol identifier in the first fragment, fragment sequence number in the others.
    pub ppid_or_fsn: u32,
    /// User data, not empty.
    pub payload: &'a [u8],
}

impl<'a> IData<'a> {
    fn parse(raw: RawChunk<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.value);
        let tsn = reader.u32()?;
        let stream = reader.u16()?;
        reader.skip(2)?;
        let mid = reader.u32()?;
        let ppid_or_fsn = reader.u32()?;
        let payload = reader.take_rest();
        if payload.is_empty() {
            return Err(ParseError::Length);
        }
        Ok(Self {
            immediate: raw.flags & 8 != 0,
            unordered: raw.flags & 4 != 0,
            begin: raw.flags & 2 != 0,
            end: raw.flags & 1 != 0,
            tsn,
            stream,
            mid,
            ppid_or_fsn,
            payload,
        })
    }

    fn flags(&self) -> u8 {
        u8::from(self.immediate) << 3
            | u8::from(self.unordered) << 2
            | u8::from(self.begin) << 1
            | u8::from(self.end)
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        out.put_u32(self.tsn);
        out.put_u16(self.stream);
        out.put_u16(0);
        out.put_u32(self.mid);
        out.put_u32(self.ppid_or_fsn);
        out.put(self.payload);
    }
}

/// INIT and INIT ACK (RFC 9260 §3.3.2, §3.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init<'a> {
    /// The tag that its sender wants to see in packets to it.
    pub initiate_tag: u32,
    /// Advertised receiver window, bytes.
    pub a_rwnd: u32,
    /// Streams that its sender wants to send on.
    pub outbound_streams: u16,
    /// Streams that its sender takes at most.
    pub inbound_streams: u16,
    /// First TSN that its sender will use.
    pub initial_tsn: u32,
    /// Parameters, see [`Parameters`](super::Parameters).
    pub parameters: &'a [u8],
}

impl<'a> Init<'a> {
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        Ok(Self {
            initiate_tag: reader.u32()?,
            a_rwnd: reader.u32()?,
            outbound_streams: reader.u16()?,
            inbound_streams: reader.u16()?,
            initial_tsn: reader.u32()?,
            parameters: reader.take_rest(),
        })
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        out.put_u32(self.initiate_tag);
        out.put_u32(self.a_rwnd);
        out.put_u16(self.outbound_streams);
        out.put_u16(self.inbound_streams);
        out.put_u32(self.initial_tsn);
        out.put(self.parameters);
    }
}

/// SACK (RFC 9260 §3.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sack<'a> {
    /// All up to this TSN has been received.
    pub cumulative_tsn: u32,
    /// Advertised receiver window, bytes.
    pub a_rwnd: u32,
    gaps: &'a [u8],
    duplicates: &'a [u8],
}

impl<'a> Sack<'a> {
    /// A SACK over raw lists: gap blocks of 4 bytes (start, end) and TSNs of 4 bytes, each big
    /// endian.
    ///
    /// # Errors
    /// [`ParseError::Length`] when a list is ragged or has more than 65535 entries.
    pub fn new(
        cumulative_tsn: u32,
        a_rwnd: u32,
        gaps: &'a [u8],
        duplicates: &'a [u8],
    ) -> Result<Self, ParseError> {
        let fits =
            |list: &[u8]| list.len().is_multiple_of(4) && list.len() / 4 <= usize::from(u16::MAX);
        if fits(gaps) && fits(duplicates) {
            Ok(Self {
                cumulative_tsn,
                a_rwnd,
                gaps,
                duplicates,
            })
        } else {
            Err(ParseError::Length)
        }
    }

    pub(super) fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        let cumulative_tsn = reader.u32()?;
        let a_rwnd = reader.u32()?;
        let gaps = usize::from(reader.u16()?) * 4;
        let duplicates = usize::from(reader.u16()?) * 4;
        let gaps = reader.take(gaps)?;
        let duplicates = reader.take(duplicates)?;
        ended(&reader)?;
        Ok(Self {
            cumulative_tsn,
            a_rwnd,
            gaps,
            duplicates,
        })
    }

    /// Gap blocks as offsets from `cumulative_tsn`, both ends included, as the peer wrote them:
    /// unsorted, overlapping or upside down ones are possible.
    pub fn gaps(&self) -> impl Iterator<Item = (u16, u16)> + use<'a> {
        self.gaps
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&[a, b, c, d]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// True when there is at least one gap block.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// TSNs that were received more than once.
    pub fn duplicates(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.duplicates
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&bytes| u32::from_be_bytes(bytes))
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        out.put_u32(self.cumulative_tsn);
        out.put_u32(self.a_rwnd);
        out.put_u16((self.gaps.len() / 4) as u16);
        out.put_u16((self.duplicates.len() / 4) as u16);
        out.put(self.gaps);
        out.put(self.duplicates);
    }
}

/// FORWARD TSN (RFC 3758 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardTsn<'a> {
    /// The receiver shall count everything up to this TSN as received.
    pub new_cumulative_tsn: u32,
    entries: &'a [u8],
}

impl<'a> ForwardTsn<'a> {
    /// A chunk over a raw list of (stream, SSN) of 4 bytes each.
    ///
    /// # Errors
    /// [`ParseError::Length`] when the list is ragged.
    pub fn new(new_cumulative_tsn: u32, entries: &'a [u8]) -> Result<Self, ParseError> {
        if !entries.len().is_multiple_of(4) {
            return Err(ParseError::Length);
        }
        Ok(Self {
            new_cumulative_tsn,
            entries,
        })
    }

    fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        Self::new(reader.u32()?, reader.take_rest())
    }

    /// Streams whose ordered messages are skipped, with the highest SSN skipped.
    pub fn entries(&self) -> impl Iterator<Item = (u16, u16)> + use<'a> {
        self.entries
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&[a, b, c, d]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }
}

/// I-FORWARD-TSN (RFC 8260 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IForwardTsn<'a> {
    /// The receiver shall count everything up to this TSN as received.
    pub new_cumulative_tsn: u32,
    entries: &'a [u8],
}

/// One entry of I-FORWARD-TSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IForwardTsnEntry {
    /// Stream number.
    pub stream: u16,
    /// U bit: the entry is about unordered messages.
    pub unordered: bool,
    /// Highest message identifier skipped.
    pub mid: u32,
}

impl<'a> IForwardTsn<'a> {
    /// A chunk over a raw list of entries of 8 bytes each.
    ///
    /// # Errors
    /// [`ParseError::Length`] when the list is ragged.
    pub fn new(new_cumulative_tsn: u32, entries: &'a [u8]) -> Result<Self, ParseError> {
        if !entries.len().is_multiple_of(8) {
            return Err(ParseError::Length);
        }
        Ok(Self {
            new_cumulative_tsn,
            entries,
        })
    }

    fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        Self::new(reader.u32()?, reader.take_rest())
    }

    /// What is skipped.
    pub fn entries(&self) -> impl Iterator<Item = IForwardTsnEntry> + use<'a> {
        self.entries
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&[a, b, _, f, m0, m1, m2, m3]| IForwardTsnEntry {
                stream: u16::from_be_bytes([a, b]),
                unordered: f & 1 != 0,
                mid: u32::from_be_bytes([m0, m1, m2, m3]),
            })
    }
}
