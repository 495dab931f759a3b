use std::collections::VecDeque;
use std::io::{Read, Write};

use bytes::Bytes;
use rtc_shared::Reader;

use super::ogg::Page;
use crate::{FileError, OpusInfo};

/// The identification header of Opus in Ogg (RFC 7845 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpusHead {
    /// Channels of the output, at least 1.
    pub channels: u8,
    /// Samples at 48 kHz to leave out at the begin of the output.
    pub pre_skip: u16,
    /// Sample rate of what was encoded, for information; 0 when not known.
    pub input_sample_rate: u32,
    /// Gain for the output, in 1/256 dB.
    pub output_gain: i16,
    /// How channels are mapped; 0 for mono and stereo.
    pub mapping_family: u8,
    /// Counts of streams and the map of channels; empty for family 0.
    pub mapping_table: Vec<u8>,
}

impl OpusHead {
    /// For mono or stereo, with the pre-skip of 80 ms that RFC 7845 section 4.2 recommends to files
    /// whose begin was not encoded for them.
    #[must_use]
    pub fn new(channels: u8) -> Self {
        Self {
            channels,
            pre_skip: 3840,
            input_sample_rate: 48_000,
            output_gain: 0,
            mapping_family: 0,
            mapping_table: Vec::new(),
        }
    }

    fn parse(packet: &[u8]) -> Result<Self, FileError> {
        let body = packet.strip_prefix(HEAD_MAGIC).ok_or(FileError::Format)?;
        let (
            &[
                version,
                channels,
                p0,
                p1,
                r0,
                r1,
                r2,
                r3,
                g0,
                g1,
                mapping_family,
            ],
            table,
        ) = body.split_first_chunk().ok_or(FileError::Truncated)?;
        // The upper half of the version tells what a reader must understand.
        if version >> 4 != 0 || channels == 0 {
            return Err(FileError::Malformed("header of Opus"));
        }
        Ok(Self {
            channels,
            pre_skip: u16::from_le_bytes([p0, p1]),
            input_sample_rate: u32::from_le_bytes([r0, r1, r2, r3]),
            output_gain: i16::from_le_bytes([g0, g1]),
            mapping_family,
            mapping_table: match mapping_family {
                0 => Vec::new(),
                _ => {
                    let table = table.get(..2 + usize::from(channels));
                    table.ok_or(FileError::Truncated)?.to_vec()
                }
            },
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = HEAD_MAGIC.to_vec();
        out.extend([1, self.channels]);
        out.extend(self.pre_skip.to_le_bytes());
        out.extend(self.input_sample_rate.to_le_bytes());
        out.extend(self.output_gain.to_le_bytes());
        out.push(self.mapping_family);
        out.extend(&self.mapping_table);
        out
    }
}

/// The comment header of Opus in Ogg (RFC 7845 section 5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpusTags {
    /// Who encoded.
    pub vendor: String,
    /// Comments such as `TITLE=Morning`. At most 1024 are read.
    pub comments: Vec<String>,
}

impl OpusTags {
    fn parse(packet: &[u8]) -> Result<Self, FileError> {
        let body = packet.strip_prefix(TAGS_MAGIC).ok_or(FileError::Format)?;
        let mut reader = Reader::new(body);
        let length = |reader: &mut Reader<'_>| reader.array().map(u32::from_le_bytes);
        let text = |reader: &mut Reader<'_>| {
            let bytes = length(reader).and_then(|length| reader.take(length as usize));
            let bytes = bytes.map_err(|_| FileError::Truncated)?;
            Ok::<_, FileError>(String::from_utf8_lossy(bytes).into_owned())
        };
        let vendor = text(&mut reader)?;
        let count = length(&mut reader).map_err(|_| FileError::Truncated)?;
        let comments = (0..count.min(MAX_COMMENTS)).map(|_| text(&mut reader));
        Ok(Self {
            vendor,
            comments: comments.collect::<Result<_, _>>()?,
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = TAGS_MAGIC.to_vec();
        let text = |out: &mut Vec<u8>, text: &str| {
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(text.as_bytes());
        };
        text(&mut out, &self.vendor);
        out.extend((self.comments.len() as u32).to_le_bytes());
        for comment in &self.comments {
            text(&mut out, comment);
        }
        out
    }
}

/// A packet of an Ogg Opus file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OggOpusPacket {
    /// The packet, which is also the payload of RTP.
    pub data: Bytes,
    /// Samples at 48 kHz up to the end of the packet, the pre-skip included, where the file tells:
    /// with the last packet that ends on a page.
    pub granule_position: Option<u64>,
}

/// Reads the first Opus stream of an Ogg file (RFC 7845). Other streams in the file are left out.
#[derive(Debug)]
pub struct OggOpusReader<R> {
    input: R,
    serial: u32,
    head: OpusHead,
    tags: OpusTags,
    max_packet: usize,
    packets: VecDeque<OggOpusPacket>,
    /// A packet that goes on on the next page.
    partial: Vec<u8>,
    /// A packet goes on, and its begin is known.
    within_packet: bool,
    ended: bool,
}

impl<R: Read> OggOpusReader<R> {
    /// Reads the headers. Packets, also that of the comments, have at most `max_packet` bytes.
    ///
    /// # Errors
    /// [`FileError`]; [`FileError::Format`] when no stream of the file is Opus.
    pub fn new(mut input: R, max_packet: usize) -> Result<Self, FileError> {
        let (serial, head) = loop {
            let page = Page::read(&mut input)?.ok_or(FileError::Format)?;
            // All streams begin before one goes on.
            if !page.begin {
                return Err(FileError::Format);
            }
            let first = page.parts().next();
            match first.map_or(Err(FileError::Format), |(packet, _)| {
                OpusHead::parse(packet)
            }) {
                Ok(head) => break (page.serial, head),
                Err(FileError::Format) => {}
                Err(error) => return Err(error),
            }
        };
        let mut reader = Self {
            input,
            serial,
            head,
            tags: OpusTags::default(),
            max_packet,
            packets: VecDeque::new(),
            partial: Vec::new(),
            within_packet: false,
            ended: false,
        };
        let tags = reader.next_packet()?.ok_or(FileError::Truncated)?;
        reader.tags = OpusTags::parse(&tags.data)?;
        Ok(reader)
    }

    /// The identification header.
    #[must_use]
    pub fn head(&self) -> &OpusHead {
        &self.head
    }

    /// The comment header.
    #[must_use]
    pub fn tags(&self) -> &OpusTags {
        &self.tags
    }

    /// Reads the next packet; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn next_packet(&mut self) -> Result<Option<OggOpusPacket>, FileError> {
        loop {
            if let Some(packet) = self.packets.pop_front() {
                return Ok(Some(packet));
            }
            if self.ended {
                return Ok(None);
            }
            match Page::read(&mut self.input)? {
                Some(page) if page.serial == self.serial => self.take_page(&page)?,
                Some(_) => {}
                None => self.ended = true,
            }
        }
    }

    fn take_page(&mut self, page: &Page) -> Result<(), FileError> {
        self.ended = page.end;
        if !page.continued {
            self.partial.clear();
            self.within_packet = false;
        }
        // What goes on from a page that is not there is left out.
        let mut usable = self.within_packet || !page.continued;
        for (part, ends) in page.parts() {
            if self.partial.len() + part.len() > self.max_packet {
                return Err(FileError::TooLarge);
            }
            self.partial.extend_from_slice(part);
            self.within_packet = !ends && usable;
            if !ends {
                break;
            }
            let data = std::mem::take(&mut self.partial);
            if usable {
                self.packets.push_back(OggOpusPacket {
                    data: data.into(),
                    granule_position: None,
                });
            }
            usable = true;
        }
        if let Some(last) = self.packets.back_mut() {
            last.granule_position = u64::try_from(page.granule_position).ok();
        }
        Ok(())
    }
}

/// Writes Ogg Opus files (RFC 7845), pages of a second each.
#[derive(Debug)]
pub struct OggOpusWriter<W> {
    output: W,
    page: Page,
    /// Samples up to the end of the last packet.
    samples: u64,
    page_samples: u32,
    /// First byte of the last packet.
    toc: u8,
}

impl<W: Write> OggOpusWriter<W> {
    /// Writes the headers. The serial number tells streams of a file apart, any will do.
    ///
    /// # Errors
    /// [`FileError::Io`], [`FileError::TooLarge`] for comments beyond 65 025 bytes.
    pub fn new(
        output: W,
        serial: u32,
        head: &OpusHead,
        tags: &OpusTags,
    ) -> Result<Self, FileError> {
        let mut writer = Self {
            output,
            page: Page {
                serial,
                begin: true,
                ..Page::default()
            },
            samples: 0,
            page_samples: 0,
            toc: if head.channels == 1 {
                SILENCE
            } else {
                SILENCE | STEREO
            },
        };
        for header in [head.to_bytes(), tags.to_bytes()] {
            if !writer.page.push(&header) {
                return Err(FileError::TooLarge);
            }
            writer.write_page()?;
        }
        Ok(writer)
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// [`FileError::Malformed`] when it is no Opus packet; [`FileError::Io`].
    pub fn write_packet(&mut self, packet: &[u8]) -> Result<(), FileError> {
        let info = OpusInfo::parse(packet).map_err(|_| FileError::Malformed("Opus packet"))?;
        if self.page_samples >= PAGE_SAMPLES {
            self.write_page()?;
        }
        if !self.page.push(packet) {
            self.write_page()?;
            if !self.page.push(packet) {
                return Err(FileError::TooLarge);
            }
        }
        self.toc = packet.first().copied().unwrap_or(self.toc);
        self.page_samples += info.samples();
        self.samples += u64::from(info.samples());
        Ok(())
    }

    /// Fills a gap of so many samples at 48 kHz, of lost packets or of a silence that was not sent, in
    /// steps of 20 ms and at most an hour. A decoder conceals it (RFC 7845 section 4.1).
    ///
    /// # Errors
    /// [`FileError::Io`]
    pub fn write_gap(&mut self, samples: u64) -> Result<(), FileError> {
        let packet = [SILENCE | self.toc & STEREO];
        for _ in 0..(samples / 960).min(MAX_GAP) {
            self.write_packet(&packet)?;
        }
        Ok(())
    }

    /// Ends the stream and gives what it writes to back.
    ///
    /// # Errors
    /// [`FileError::Io`]
    pub fn finish(mut self) -> Result<W, FileError> {
        self.page.end = true;
        self.write_page()?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn write_page(&mut self) -> Result<(), FileError> {
        self.page.granule_position = i64::try_from(self.samples).unwrap_or(i64::MAX);
        self.page.write(&mut self.output)?;
        self.page_samples = 0;
        self.page.begin = false;
        self.page.sequence = self.page.sequence.wrapping_add(1);
        self.page.lacing.clear();
        self.page.body.clear();
        Ok(())
    }
}

const HEAD_MAGIC: &[u8] = b"OpusHead";
const TAGS_MAGIC: &[u8] = b"OpusTags";
const MAX_COMMENTS: u32 = 1024;
/// Pages of a second, as RFC 7845 section 3 advises.
const PAGE_SAMPLES: u32 = 48_000;
/// First byte of a packet of 20 ms whose only frame is empty: nothing was sent.
const SILENCE: u8 = 31 << 3;
const STEREO: u8 = 0b100;
/// An hour.
const MAX_GAP: u64 = 180_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn tags() -> OpusTags {
        OpusTags {
            vendor: "rtc".into(),
            comments: vec!["TITLE=ä".into(), "ARTIST=b".into()],
        }
    }

    fn write(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = OggOpusWriter::new(Vec::new(), 7, &OpusHead::new(2), &tags()).unwrap();
        for packet in packets {
            writer.write_packet(packet).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read_all(file: &[u8]) -> Result<Vec<OggOpusPacket>, FileError> {
        let mut reader = OggOpusReader::new(file, 70_000)?;
        let mut packets = Vec::new();
        while let Some(packet) = reader.next_packet()? {
            packets.push(packet);
        }
        Ok(packets)
    }

    proptest! {
        #[test]
        fn packets_are_read_as_they_were_written(bodies in vec(vec(any::<u8>(), 0..1275), 0..120)) {
            let packets: Vec<_> = bodies.into_iter().map(|body| [vec![0xfc], body].concat()).collect();
            let read = read_all(&write(&packets)).unwrap();
            let data: Vec<_> = read.iter().map(|packet| packet.data.to_vec()).collect();
            prop_assert_eq!(data, &packets[..]);
            for (at, packet) in read.iter().enumerate() {
                let samples = 960 * (at as u64 + 1);
                prop_assert!(packet.granule_position.is_none_or(|position| position == samples));
            }
            if let Some(last) = read.last() {
                prop_assert!(last.granule_position.is_some());
            }
        }

        #[test]
        fn broken_files_are_read_or_refused(at: prop::sample::Index, change: u8, cut: prop::sample::Index) {
            let mut file = write(&vec![vec![0xfc, 1, 2, 3]; 60]);
            let at = at.index(file.len());
            file[at] = change;
            file.truncate(cut.index(file.len()) + 1);
            let _ = read_all(&file);
        }
    }

    #[test]
    fn headers_are_read_as_they_were_written() {
        let file = write(&[]);
        let reader = OggOpusReader::new(&file[..], 1000).unwrap();
        assert_eq!((reader.head(), reader.tags()), (&OpusHead::new(2), &tags()));
        let surround = OpusHead {
            channels: 6,
            mapping_family: 1,
            mapping_table: vec![4, 2, 0, 4, 1, 2, 3, 5],
            ..OpusHead::new(6)
        };
        assert_eq!(OpusHead::parse(&surround.to_bytes()), Ok(surround));
        assert!(OggOpusReader::new(&file[..], 10).is_err());
        assert!(OpusHead::parse(b"OpusHead\x10\x02").is_err());
    }

    #[test]
    fn packets_go_on_from_page_to_page() {
        let mut file = write(&[]);
        let end = file.len() - 27;
        file.truncate(end);
        let large: Vec<u8> = std::iter::once(0xff)
            .chain((0..=255).cycle().take(66_000))
            .collect();
        let mut page = Page {
            serial: 7,
            granule_position: -1,
            ..Page::default()
        };
        page.lacing = vec![255; 255];
        page.body = large[..255 * 255].to_vec();
        page.write(&mut file).unwrap();
        // A stream between that is not ours.
        Page {
            serial: 8,
            ..Page::default()
        }
        .write(&mut file)
        .unwrap();
        let mut page = Page {
            serial: 7,
            continued: true,
            granule_position: 960,
            ..Page::default()
        };
        assert!(page.push(&large[255 * 255..]));
        page.write(&mut file).unwrap();
        let packets = read_all(&file).unwrap();
        assert_eq!(packets.len(), 1);
        assert_eq!(
            (&packets[0].data[..], packets[0].granule_position),
            (&large[..], Some(960))
        );

        // Without its begin the packet is left out.
        file.drain(end..end + 27 + 255 + 255 * 255);
        assert_eq!(read_all(&file), Ok(vec![]));
    }

    #[test]
    fn gaps_are_filled_with_packets_to_conceal() {
        let mut writer = OggOpusWriter::new(Vec::new(), 1, &OpusHead::new(1), &tags()).unwrap();
        writer.write_packet(&[0x08, 1]).unwrap();
        writer.write_gap(2000).unwrap();
        assert!(matches!(
            writer.write_packet(&[]),
            Err(FileError::Malformed(_))
        ));
        let packets = read_all(&writer.finish().unwrap()).unwrap();
        assert_eq!(packets.len(), 3);
        assert_eq!(packets[2].data, [0xf8][..]);
        assert_eq!(packets[2].granule_position, Some(3 * 960));
    }
}
