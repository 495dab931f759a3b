use bytes::Bytes;
use rtc_shared::{Reader, Writer};
use smallvec::SmallVec;

use crate::error::Malformed;
use crate::{
    App, Bye, Ccfb, Error, ExtendedReport, Fir, Nack, Pli, RawFeedback, ReceiverReport, Remb,
    SenderReport, SourceDescription, Twcc,
};

macro_rules! packet_types {
    ($($(#[$doc:meta])+ $Name:ident,)+) => {
        /// One RTCP packet.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Packet {
            $($(#[$doc])+ $Name($Name),)+
        }

        impl Packet {
            /// Type and count (or format) of the header.
            fn kind(&self) -> (u8, u8) {
                match self {
                    $(Self::$Name(packet) => packet.kind(),)+
                }
            }

            /// Length of what follows the header, without padding.
            fn content_len(&self) -> usize {
                match self {
                    $(Self::$Name(packet) => packet.content_len(),)+
                }
            }

            fn write_content(&self, out: &mut impl Writer) {
                match self {
                    $(Self::$Name(packet) => packet.write_content(out),)+
                }
            }
        }

        $(impl From<$Name> for Packet {
            fn from(packet: $Name) -> Self {
                Self::$Name(packet)
            }
        })+
    };
}

packet_types! {
    /// What a sender sent, and what it received (type 200).
    SenderReport,
    /// What a receiver received (type 201).
    ReceiverReport,
    /// Names of sources (type 202).
    SourceDescription,
    /// Sources leave (type 203).
    Bye,
    /// Of an application (type 204).
    App,
    /// Packets are missing (type 205, format 1).
    Nack,
    /// When the packets of a transport arrived (type 205, format 15).
    Twcc,
    /// When the packets of some sources arrived, with their ECN marks (type 205, format 11).
    Ccfb,
    /// A picture is lost (type 206, format 1).
    Pli,
    /// A key frame is wanted (type 206, format 4).
    Fir,
    /// The bitrate that a receiver can take (type 206, format 15).
    Remb,
    /// Feedback of another format (types 205 and 206).
    RawFeedback,
    /// Extended reports (type 207).
    ExtendedReport,
    /// Of a type that is unknown here.
    Raw,
}

/// What each type of packet has to say about its bytes.
pub(crate) trait Content {
    /// Type and count (or format) of the header.
    fn kind(&self) -> (u8, u8);

    /// Length of what follows the header. What is no multiple of 4 is padded.
    fn content_len(&self) -> usize;

    /// Appends exactly that many bytes.
    fn write_content(&self, out: &mut impl Writer);
}

impl Packet {
    /// Length in bytes on the wire.
    #[must_use]
    pub fn written_len(&self) -> usize {
        HEADER_LEN + self.content_len().next_multiple_of(4)
    }

    /// Appends the packet to `out`, a `Vec<u8>` or `BytesMut`.
    ///
    /// Lists longer than the wire can tell are cut: 31 report blocks, chunks or sources of a BYE, 255
    /// bytes of a text, 262 140 bytes of a packet.
    pub fn write(&self, out: &mut impl Writer) {
        let (packet_type, count) = self.kind();
        let length = self.content_len();
        let padding = length.next_multiple_of(4) - length;
        out.put_u8(VERSION << 6 | u8::from(padding > 0) << 5 | count & 0x1f);
        out.put_u8(packet_type);
        out.put_u16(length.div_ceil(4) as u16);
        let start = out.position();
        self.write_content(out);
        debug_assert_eq!(out.position() - start, length);
        if let Some(zeros) = padding.checked_sub(1) {
            out.put_zeros(zeros);
            out.put_u8(padding as u8);
        }
    }

    /// The source that sent the packet; `None` when it is not said.
    #[must_use]
    pub fn sender_ssrc(&self) -> Option<u32> {
        match self {
            Self::SenderReport(report) => Some(report.ssrc),
            Self::ReceiverReport(report) => Some(report.ssrc),
            Self::SourceDescription(sdes) => sdes.chunks.first().map(|chunk| chunk.ssrc),
            Self::Bye(bye) => bye.ssrcs.first().copied(),
            Self::App(app) => Some(app.ssrc),
            Self::Nack(nack) => Some(nack.sender_ssrc),
            Self::Twcc(twcc) => Some(twcc.sender_ssrc),
            Self::Ccfb(ccfb) => Some(ccfb.sender_ssrc),
            Self::Pli(pli) => Some(pli.sender_ssrc),
            Self::Fir(fir) => Some(fir.sender_ssrc),
            Self::Remb(remb) => Some(remb.sender_ssrc),
            Self::RawFeedback(feedback) => Some(feedback.sender_ssrc),
            Self::ExtendedReport(report) => Some(report.ssrc),
            Self::Raw(_) => None,
        }
    }

    /// The sources that the packet is about, so that it can be handed to those who send or receive
    /// them. A sender report is about its own source too. May name a source twice.
    #[must_use]
    pub fn media_ssrcs(&self) -> SmallVec<[u32; 4]> {
        match self {
            Self::SenderReport(report) => std::iter::once(report.ssrc)
                .chain(report.blocks.iter().map(|block| block.ssrc))
                .collect(),
            Self::ReceiverReport(report) => report.blocks.iter().map(|block| block.ssrc).collect(),
            Self::SourceDescription(sdes) => sdes.chunks.iter().map(|chunk| chunk.ssrc).collect(),
            Self::Bye(bye) => bye.ssrcs.iter().copied().collect(),
            Self::Nack(nack) => SmallVec::from_slice(&[nack.media_ssrc]),
            Self::Twcc(twcc) => SmallVec::from_slice(&[twcc.media_ssrc]),
            Self::Ccfb(ccfb) => ccfb.blocks.iter().map(|block| block.ssrc).collect(),
            Self::Pli(pli) => SmallVec::from_slice(&[pli.media_ssrc]),
            Self::Fir(fir) => fir.entries.iter().map(|entry| entry.ssrc).collect(),
            Self::Remb(remb) => remb.ssrcs.iter().copied().collect(),
            Self::RawFeedback(feedback) => SmallVec::from_slice(&[feedback.media_ssrc]),
            Self::ExtendedReport(report) => report.dlrr().map(|item| item.ssrc).collect(),
            Self::App(_) | Self::Raw(_) => SmallVec::new(),
        }
    }

    fn parse(packet_type: u8, count: u8, content: &[u8]) -> Result<Self, Malformed> {
        let reader = Reader::new(content);
        Ok(match (packet_type, count) {
            (SenderReport::TYPE, _) => SenderReport::parse(count, reader)?.into(),
            (ReceiverReport::TYPE, _) => ReceiverReport::parse(count, reader)?.into(),
            (SourceDescription::TYPE, _) => SourceDescription::parse(count, reader)?.into(),
            (Bye::TYPE, _) => Bye::parse(count, reader)?.into(),
            (App::TYPE, _) => App::parse(count, reader)?.into(),
            (TRANSPORT_FEEDBACK, Nack::FORMAT) => Nack::parse(reader)?.into(),
            (TRANSPORT_FEEDBACK, Twcc::FORMAT) => Twcc::parse(reader)?.into(),
            (TRANSPORT_FEEDBACK, Ccfb::FORMAT) => Ccfb::parse(reader)?.into(),
            (PAYLOAD_FEEDBACK, Pli::FORMAT) => Pli::parse(reader)?.into(),
            (PAYLOAD_FEEDBACK, Fir::FORMAT) => Fir::parse(reader)?.into(),
            (PAYLOAD_FEEDBACK, Remb::FORMAT) if Remb::is_one(content) => {
                Remb::parse(reader)?.into()
            }
            (TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK, format) => {
                RawFeedback::parse(packet_type, format, reader)?.into()
            }
            (ExtendedReport::TYPE, _) => ExtendedReport::parse(reader)?.into(),
            _ => Raw {
                packet_type,
                count,
                content: Bytes::copy_from_slice(content),
            }
            .into(),
        })
    }
}

/// A packet of a type that is unknown here, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw {
    /// The type.
    pub packet_type: u8,
    /// The five bits between padding bit and type.
    pub count: u8,
    /// What follows the header of four bytes, without padding.
    pub content: Bytes,
}

impl Content for Raw {
    fn kind(&self) -> (u8, u8) {
        (self.packet_type, self.count)
    }

    fn content_len(&self) -> usize {
        cut(&self.content, MAX_CONTENT_LEN).len()
    }

    fn write_content(&self, out: &mut impl Writer) {
        out.put(cut(&self.content, MAX_CONTENT_LEN));
    }
}

/// Reads the packets of a datagram one after the other, whether compound or of reduced size.
pub fn packets(datagram: &[u8]) -> Packets<'_> {
    Packets {
        reader: Reader::new(datagram),
    }
}

/// Iterates over the packets of a datagram; ends after the first error.
#[derive(Clone, Debug)]
#[must_use = "iterators do nothing unless they are polled"]
pub struct Packets<'a> {
    reader: Reader<'a>,
}

impl Packets<'_> {
    fn read(&mut self) -> Result<Packet, Error> {
        let truncated = |_| Error::Truncated;
        let first = self.reader.u8().map_err(truncated)?;
        if first >> 6 != VERSION {
            return Err(Error::Version);
        }
        let packet_type = self.reader.u8().map_err(truncated)?;
        let words = self.reader.u16().map_err(truncated)?;
        let mut content = self
            .reader
            .take(4 * usize::from(words))
            .map_err(truncated)?;
        // Only the last packet of a compound should be padded; others do no harm.
        if first & 0x20 != 0 {
            let padding = usize::from(*content.last().ok_or(Error::Padding)?);
            let length = content.len().checked_sub(padding).ok_or(Error::Padding)?;
            if padding == 0 {
                return Err(Error::Padding);
            }
            content = cut(content, length);
        }
        Packet::parse(packet_type, first & 0x1f, content)
            .map_err(|Malformed| Error::Malformed { packet_type })
    }
}

impl Iterator for Packets<'_> {
    type Item = Result<Packet, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let packet = self.read();
        if packet.is_err() {
            self.reader.take_rest();
        }
        Some(packet)
    }
}

/// Appends packets one after the other, as a compound or a datagram of reduced size.
pub fn write_packets<'a>(packets: impl IntoIterator<Item = &'a Packet>, out: &mut impl Writer) {
    packets.into_iter().for_each(|packet| packet.write(out));
}

/// Length in bytes of what [`write_packets`] appends.
#[must_use]
pub fn packets_len<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> usize {
    packets.into_iter().map(Packet::written_len).sum()
}

/// True when a datagram of the RTP range is RTCP: its second byte is 192 to 223 (RFC 5761 section 4).
#[must_use]
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram
        .get(1)
        .is_some_and(|packet_type| (192..=223).contains(packet_type))
}

/// At most the first `count` of a list.
pub(crate) fn cut<T>(list: &[T], count: usize) -> &[T] {
    list.get(..count).unwrap_or(list)
}

pub(crate) const TRANSPORT_FEEDBACK: u8 = 205;
pub(crate) const PAYLOAD_FEEDBACK: u8 = 206;
/// What the 16 bits of length can tell, as bytes after the header.
pub(crate) const MAX_CONTENT_LEN: usize = 4 * 0xffff;
/// What the five bits of the count can tell.
pub(crate) const MAX_COUNT: usize = 31;
pub(crate) const HEADER_LEN: usize = 4;
const VERSION: u8 = 2;
