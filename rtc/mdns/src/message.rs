//! The part of DNS messages (RFC 1035 section 4, RFC 6762 section 18) that names of hosts need.
//!
//! ```
//! use rtc_mdns::message::{Kind, Message, Question};
//!
//! let mut query = Message::default();
//! query.questions.push(Question {
//!     name: "a.local".parse()?,
//!     kind: Kind::A,
//!     unicast: true,
//! });
//! let mut datagram = Vec::new();
//! query.write(&mut datagram);
//! assert_eq!(Message::parse(&datagram)?, query);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtc_shared::{Reader, Truncated, Writer};
use thiserror::Error;

use crate::Name;

/// A query or a response.
///
/// Questions and records of other types, classes and names than those of hosts are checked when
/// parsed, and left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Ties a unicast response to its query; 0 in multicast.
    pub id: u16,
    /// Whether it is a response.
    pub response: bool,
    /// What is asked.
    pub questions: Vec<Question>,
    /// The answers; in a query those that the asker knows already.
    pub answers: Vec<Record>,
    /// What the receiver will want to know next.
    pub additional: Vec<Record>,
}

/// What is asked about one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name.
    pub name: Name,
    /// The type of the records.
    pub kind: Kind,
    /// The QU bit: an answer by unicast is welcome (RFC 6762 section 5.4).
    pub unicast: bool,
}

/// The types of records that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// All records.
    Any,
}

/// What is known of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name.
    pub name: Name,
    /// What is known.
    pub data: Data,
    /// For how many seconds; 0 takes it back.
    pub ttl: u32,
    /// Replaces all other records of this name and type (RFC 6762 section 10.2).
    pub cache_flush: bool,
}

/// The content of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// NSEC: which address records the name has (RFC 6762 section 6.1).
    Exists {
        /// It has an A record.
        a: bool,
        /// It has an AAAA record.
        aaaa: bool,
    },
}

/// Why a datagram is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It ends before its records do, or is longer than RFC 6762 section 17 lets it be.
    #[error("message has a wrong length")]
    Length,
    /// A name has a reserved label type, a pointer that does not point back, or is too long.
    #[error("message has a malformed name")]
    Name,
    /// An address has the wrong length.
    #[error("message has a malformed record")]
    Record,
    /// An operation other than a query, or a response that reports an error.
    #[error("message is of another operation")]
    Operation,
}

impl From<Truncated> for ParseError {
    fn from(_: Truncated) -> Self {
        Self::Length
    }
}

impl Message {
    /// Reads a message. What follows its last record is ignored.
    ///
    /// # Errors
    /// [`ParseError`]
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        if datagram.len() > MAX_MESSAGE {
            return Err(ParseError::Length);
        }
        let mut parser = Parser {
            whole: datagram,
            reader: Reader::new(datagram),
        };
        let id = parser.reader.u16()?;
        let flags = parser.reader.u16()?;
        let mut counts = [0; 4];
        for count in &mut counts {
            *count = parser.reader.u16()?;
        }
        if flags & (OPCODE | RCODE) != 0 {
            return Err(ParseError::Operation);
        }
        let [questions, answers, authority, additional] = counts;
        let message = Self {
            id,
            response: flags & RESPONSE != 0,
            questions: parser.section(questions, Parser::question)?,
            answers: parser.section(answers, Parser::record)?,
            additional: {
                parser.section(authority, Parser::record)?;
                parser.section(additional, Parser::record)?
            },
        };
        Ok(message)
    }

    /// Appends the message to `out`, each name written once.
    pub fn write(&self, out: &mut impl Writer) {
        let mut names = Names {
            start: out.position(),
            known: Vec::new(),
            local: None,
        };
        out.put_u16(self.id);
        out.put_u16(match self.response {
            true => RESPONSE | AUTHORITATIVE,
            false => 0,
        });
        out.put_u16(self.questions.len() as u16);
        out.put_u16(self.answers.len() as u16);
        out.put_u16(0);
        out.put_u16(self.additional.len() as u16);
        for question in &self.questions {
            names.write(&question.name, out);
            out.put_u16(match question.kind {
                Kind::A => TYPE_A,
                Kind::Aaaa => TYPE_AAAA,
                Kind::Any => TYPE_ANY,
            });
            out.put_u16(CLASS_IN | if question.unicast { TOP_BIT } else { 0 });
        }
        for record in self.answers.iter().chain(&self.additional) {
            record.write(&mut names, out);
        }
    }
}

impl Record {
    fn write<W: Writer>(&self, names: &mut Names, out: &mut W) {
        names.write(&self.name, out);
        out.put_u16(match self.data {
            Data::Address(IpAddr::V4(_)) => TYPE_A,
            Data::Address(IpAddr::V6(_)) => TYPE_AAAA,
            Data::Exists { .. } => TYPE_NSEC,
        });
        out.put_u16(CLASS_IN | if self.cache_flush { TOP_BIT } else { 0 });
        out.put_u32(self.ttl);
        out.put_vec16(|out| match self.data {
            Data::Address(IpAddr::V4(addr)) => out.put(&addr.octets()),
            Data::Address(IpAddr::V6(addr)) => out.put(&addr.octets()),
            Data::Exists { a, aaaa } => {
                names.write(&self.name, out);
                // Window 0 of the bit map, as long as its highest bit needs (RFC 4034 section 4.1.2).
                let bits = [if a { A_BIT } else { 0 }, 0, 0, AAAA_BIT];
                let length = if aaaa { 4 } else { 1 };
                out.put_u8(0);
                out.put_vec8(|out| out.put(bits.get(..length).unwrap_or_default()));
            }
        });
    }
}

struct Parser<'a> {
    whole: &'a [u8],
    reader: Reader<'a>,
}

impl Parser<'_> {
    /// Reads `count` items; each takes bytes, so the input bounds them, not the count.
    fn section<T>(
        &mut self,
        count: u16,
        item: impl Fn(&mut Self) -> Result<Option<T>, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut items = Vec::new();
        for _ in 0..count {
            items.extend(item(self)?);
        }
        Ok(items)
    }

    fn question(&mut self) -> Result<Option<Question>, ParseError> {
        let name = self.name()?;
        let kind = match self.reader.u16()? {
            TYPE_A => Some(Kind::A),
            TYPE_AAAA => Some(Kind::Aaaa),
            TYPE_ANY => Some(Kind::Any),
            _ => None,
        };
        let class = self.reader.u16()?;
        let (Some(name), Some(kind), CLASS_IN | CLASS_ANY) = (name, kind, class & !TOP_BIT) else {
            return Ok(None);
        };
        Ok(Some(Question {
            name,
            kind,
            unicast: class & TOP_BIT != 0,
        }))
    }

    fn record(&mut self) -> Result<Option<Record>, ParseError> {
        let name = self.name()?;
        let kind = self.reader.u16()?;
        let class = self.reader.u16()?;
        let ttl = self.reader.u32()?;
        let mut content = Parser {
            whole: self.whole,
            reader: self.reader,
        };
        let length = self.reader.u16()?;
        let end = self.reader.position() + usize::from(length);
        let bytes = self.reader.take(length.into())?;
        if class & !TOP_BIT != CLASS_IN {
            return Ok(None);
        }
        let data = match kind {
            TYPE_A => {
                let octets: [u8; 4] = bytes.try_into().map_err(|_| ParseError::Record)?;
                Data::Address(Ipv4Addr::from(octets).into())
            }
            TYPE_AAAA => {
                let octets: [u8; 16] = bytes.try_into().map_err(|_| ParseError::Record)?;
                Data::Address(Ipv6Addr::from(octets).into())
            }
            TYPE_NSEC => {
                content.reader.skip(2)?;
                match content.existing(end)? {
                    Some(data) => data,
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        Ok(name.map(|name| Record {
            name,
            data,
            ttl,
            cache_flush: class & TOP_BIT != 0,
        }))
    }

    /// The content of an NSEC record that ends at `end`. `None` unless its bit map is of the form to
    /// which RFC 6762 section 6.1 restricts it: window 0 and no other.
    fn existing(&mut self, end: usize) -> Result<Option<Data>, ParseError> {
        self.name()?;
        let length = end
            .checked_sub(self.reader.position())
            .ok_or(ParseError::Record)?;
        Ok(match self.reader.take(length)? {
            [0, length, bits @ ..] if usize::from(*length) == bits.len() => Some(Data::Exists {
                a: bits.first().is_some_and(|bits| bits & A_BIT != 0),
                aaaa: bits.get(3).is_some_and(|bits| bits & AAAA_BIT != 0),
            }),
            _ => None,
        })
    }

    /// Reads a name, `None` when it is none of a host. Each pointer has to point before where the
    /// labels that led to it began, so there is no loop.
    fn name(&mut self) -> Result<Option<Name>, ParseError> {
        let mut begin = self.reader.position();
        let mut inner = self.reader;
        let mut outside = true;
        let mut first = None;
        let mut labels = 0;
        let mut local = false;
        let mut length = 1;
        loop {
            let byte = inner.u8()?;
            match byte >> 6 {
                0 if byte == 0 => break,
                0 => {
                    let label = inner.take(byte.into())?;
                    length += 1 + label.len();
                    if length > MAX_NAME {
                        return Err(ParseError::Name);
                    }
                    match labels {
                        0 => first = Some(label),
                        1 => local = label.eq_ignore_ascii_case(b"local"),
                        _ => local = false,
                    }
                    labels += 1;
                }
                3 => {
                    let target = usize::from(byte & 0x3f) << 8 | usize::from(inner.u8()?);
                    if !(HEADER_LEN..begin).contains(&target) {
                        return Err(ParseError::Name);
                    }
                    if outside {
                        self.reader = inner;
                        outside = false;
                    }
                    begin = target;
                    inner = Reader::new(self.whole);
                    inner.skip(target)?;
                }
                _ => return Err(ParseError::Name),
            }
        }
        if outside {
            self.reader = inner;
        }
        Ok(first.filter(|_| local).and_then(Name::from_label))
    }
}

/// Where names were written, to point to them.
struct Names {
    start: usize,
    known: Vec<(Name, u16)>,
    /// Where `local` was written.
    local: Option<u16>,
}

impl Names {
    fn write(&mut self, name: &Name, out: &mut impl Writer) {
        if let Some((_, at)) = self.known.iter().find(|(known, _)| known == name) {
            out.put_u16(POINTER | at);
            return;
        }
        if let Some(at) = self.offset(out) {
            self.known.push((*name, at));
        }
        out.put_vec8(|out| out.put(name.label()));
        match self.local {
            Some(at) => out.put_u16(POINTER | at),
            None => {
                self.local = self.offset(out);
                out.put_vec8(|out| out.put(b"local"));
                out.put_u8(0);
            }
        }
    }

    /// The next place, if a pointer can reach it.
    fn offset(&self, out: &impl Writer) -> Option<u16> {
        let offset = u16::try_from(out.position() - self.start).ok()?;
        (offset & POINTER == 0).then_some(offset)
    }
}

/// Longest message (RFC 6762 section 17).
const MAX_MESSAGE: usize = 9000;
/// Longest name, its lengths included (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;
const HEADER_LEN: usize = 12;

const RESPONSE: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;
const OPCODE: u16 = 0x7800;
const RCODE: u16 = 0x000f;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_NSEC: u16 = 47;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;
/// QU in a question, cache flush in a record.
const TOP_BIT: u16 = 0x8000;
/// Marks a pointer in place of a label.
const POINTER: u16 = 0xc000;

/// The bit of type A in the first byte of a bit map, and that of AAAA in the fourth.
const A_BIT: u8 = 0x80 >> TYPE_A;
const AAAA_BIT: u8 = 0x80 >> (TYPE_AAAA % 8);
