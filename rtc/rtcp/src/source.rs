use bytes::Bytes;
use rtc_shared::{Reader, Writer};
use smallvec::SmallVec;

use crate::error::Malformed;
use crate::packet::{Content, HEADER_LEN, MAX_CONTENT_LEN, MAX_COUNT, cut};

/// A text of a packet, UTF-8 by rule; a usual CNAME needs no allocation.
pub type Text = SmallVec<[u8; 24]>;

/// Names and notes of sources (RFC 3550 section 6.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceDescription {
    /// One chunk for each source; at most 31.
    pub chunks: SmallVec<[SdesChunk; 1]>,
}

/// What is said of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SdesChunk {
    /// The source.
    pub ssrc: u32,
    /// The items.
    pub items: SmallVec<[SdesItem; 1]>,
}

/// One item of a description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SdesItem {
    /// The type, 1 to 255; an item of type 0 is not written.
    pub item_type: u8,
    /// The value, at most 255 bytes.
    pub value: Text,
}

impl SdesItem {
    /// The type of the canonical name that joins the sources of one participant.
    pub const CNAME: u8 = 1;

    fn len(&self) -> usize {
        match self.item_type {
            0 => 0,
            _ => 2 + cut(&self.value, MAX_TEXT_LEN).len(),
        }
    }
}

impl SdesChunk {
    /// Length with the zero bytes, at least one, that end the chunk.
    fn len(&self) -> usize {
        let items: usize = self.items.iter().map(SdesItem::len).sum();
        (4 + items + 1).next_multiple_of(4)
    }
}

impl SourceDescription {
    pub(crate) const TYPE: u8 = 202;

    /// The description that has to be in every compound: the canonical name of a source.
    #[must_use]
    pub fn with_cname(ssrc: u32, cname: &str) -> Self {
        let item = SdesItem {
            item_type: SdesItem::CNAME,
            value: Text::from_slice(cname.as_bytes()),
        };
        let chunk = SdesChunk {
            ssrc,
            items: SmallVec::from_iter([item]),
        };
        Self {
            chunks: SmallVec::from_iter([chunk]),
        }
    }

    /// The canonical name of a source.
    #[must_use]
    pub fn cname(&self, ssrc: u32) -> Option<&[u8]> {
        self.chunks
            .iter()
            .filter(|chunk| chunk.ssrc == ssrc)
            .flat_map(|chunk| &chunk.items)
            .find(|item| item.item_type == SdesItem::CNAME)
            .map(|item| &item.value[..])
    }

    /// Length in bytes of a packet with nothing but this name.
    pub(crate) fn cname_len(cname: &str) -> usize {
        HEADER_LEN + (4 + 2 + cname.len().min(MAX_TEXT_LEN) + 1).next_multiple_of(4)
    }

    pub(crate) fn parse(count: u8, mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let chunks = (0..count).map(|_| parse_chunk(&mut reader));
        Ok(Self {
            chunks: chunks.collect::<Result<_, _>>()?,
        })
    }
}

impl Content for SourceDescription {
    fn kind(&self) -> (u8, u8) {
        (Self::TYPE, cut(&self.chunks, MAX_COUNT).len() as u8)
    }

    fn content_len(&self) -> usize {
        let chunks = cut(&self.chunks, MAX_COUNT).iter();
        chunks.map(SdesChunk::len).sum()
    }

    fn write_content(&self, out: &mut impl Writer) {
        for chunk in cut(&self.chunks, MAX_COUNT) {
            let end = out.position() + chunk.len();
            out.put_u32(chunk.ssrc);
            for item in chunk.items.iter().filter(|item| item.item_type != 0) {
                out.put_u8(item.item_type);
                put_text(&item.value, out);
            }
            out.put_zeros(end - out.position());
        }
    }
}

/// Reads up to the zero byte that ends the chunk and the padding behind it. A chunk that ends with the
/// packet may lack them.
fn parse_chunk(reader: &mut Reader<'_>) -> Result<SdesChunk, Malformed> {
    let mut chunk = SdesChunk {
        ssrc: reader.u32()?,
        items: SmallVec::new(),
    };
    while !reader.is_empty() {
        let item_type = reader.u8()?;
        if item_type == 0 {
            let position = reader.position();
            let padding = position.next_multiple_of(4) - position;
            reader.skip(padding.min(reader.len()))?;
            break;
        }
        chunk.items.push(SdesItem {
            item_type,
            value: Text::from_slice(reader.vec8()?),
        });
    }
    Ok(chunk)
}

/// Sources leave (RFC 3550 section 6.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bye {
    /// The sources; at most 31.
    pub ssrcs: SmallVec<[u32; 4]>,
    /// Why, at most 255 bytes.
    pub reason: Option<Text>,
}

impl Bye {
    pub(crate) const TYPE: u8 = 203;

    pub(crate) fn parse(count: u8, mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let ssrcs = (0..count).map(|_| reader.u32());
        Ok(Self {
            ssrcs: ssrcs.collect::<Result<_, _>>()?,
            reason: match reader.is_empty() {
                true => None,
                false => Some(Text::from_slice(reader.vec8()?)),
            },
        })
    }
}

impl Content for Bye {
    fn kind(&self) -> (u8, u8) {
        (Self::TYPE, cut(&self.ssrcs, MAX_COUNT).len() as u8)
    }

    fn content_len(&self) -> usize {
        let reason = self.reason.as_ref().map_or(0, |reason| {
            (1 + cut(reason, MAX_TEXT_LEN).len()).next_multiple_of(4)
        });
        4 * cut(&self.ssrcs, MAX_COUNT).len() + reason
    }

    fn write_content(&self, out: &mut impl Writer) {
        let end = out.position() + self.content_len();
        let ssrcs = cut(&self.ssrcs, MAX_COUNT).iter();
        ssrcs.for_each(|&ssrc| out.put_u32(ssrc));
        if let Some(reason) = &self.reason {
            put_text(reason, out);
        }
        out.put_zeros(end - out.position());
    }
}

/// A packet that an application defines (RFC 3550 section 6.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct App {
    /// Five bits for the application.
    pub subtype: u8,
    /// The source that sends.
    pub ssrc: u32,
    /// Four ASCII characters that name the application.
    pub name: [u8; 4],
    /// What it says.
    pub data: Bytes,
}

impl App {
    pub(crate) const TYPE: u8 = 204;

    pub(crate) fn parse(count: u8, mut reader: Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            subtype: count,
            ssrc: reader.u32()?,
            name: reader.array()?,
            data: Bytes::copy_from_slice(reader.rest()),
        })
    }
}

impl Content for App {
    fn kind(&self) -> (u8, u8) {
        (Self::TYPE, self.subtype)
    }

    fn content_len(&self) -> usize {
        8 + cut(&self.data, MAX_CONTENT_LEN - 8).len()
    }

    fn write_content(&self, out: &mut impl Writer) {
        out.put_u32(self.ssrc);
        out.put(&self.name);
        out.put(cut(&self.data, MAX_CONTENT_LEN - 8));
    }
}

fn put_text(text: &[u8], out: &mut impl Writer) {
    let text = cut(text, MAX_TEXT_LEN);
    out.put_u8(text.len() as u8);
    out.put(text);
}

const MAX_TEXT_LEN: usize = 255;
