use rtc_shared::{Reader, Writer};
use smallvec::SmallVec;

use super::{Extension, ExtensionKind};
use crate::ExtensionError;

/// Which layers of the simulcast streams of a video are sent, and at which rates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VideoLayersAllocation {
    /// Index of the stream that carries this value, 0 to 3; 0 when no layer is active.
    pub stream_index: u8,
    /// How many streams there are, 1 to 4; the layers of a stream can all be inactive. 0 when no
    /// layer is active.
    pub stream_count: u8,
    /// The active layers, ordered by stream and then by spatial layer.
    pub layers: Vec<SpatialLayer>,
}

/// An active spatial layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpatialLayer {
    /// Index of its stream.
    pub stream_index: u8,
    /// Its number within the stream, 0 to 3.
    pub spatial_id: u8,
    /// Target bitrate in kbit/s of each temporal layer, 1 to 4, each with those below it.
    pub target_bitrates: SmallVec<[u32; 4]>,
    /// Size and frame rate; written only when all layers have them.
    pub resolution: Option<LayerResolution>,
}

/// Size and frame rate of a spatial layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerResolution {
    /// Width in pixels, 1 to 65 536.
    pub width: u32,
    /// Height in pixels, 1 to 65 536.
    pub height: u32,
    /// Frames per second at most.
    pub max_frame_rate: u8,
}

impl Extension<'_> for VideoLayersAllocation {
    const KIND: ExtensionKind = ExtensionKind::VideoLayersAllocation;

    fn parse(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let first = reader.u8().ok()?;
        if first == 0 && reader.is_empty() {
            return Some(Self::default());
        }
        let stream_index = first >> 6;
        let stream_count = (first >> 4 & 0b11) + 1;
        let bitmaps = read_bitmaps(&mut reader, first & 0x0f, stream_count)?;

        let mut layers = Vec::new();
        for (stream, bitmap) in (0..stream_count).zip(bitmaps) {
            for spatial_id in (0..4).filter(|spatial_id| bitmap >> spatial_id & 1 != 0) {
                layers.push(SpatialLayer {
                    stream_index: stream,
                    spatial_id,
                    target_bitrates: SmallVec::new(),
                    resolution: None,
                });
            }
        }
        if layers.is_empty() {
            return reader.is_empty().then(Self::default);
        }
        if stream_index >= stream_count {
            return None;
        }

        let mut counts = SmallVec::<[u8; MAX_LAYERS]>::new();
        for _ in 0..layers.len().div_ceil(4) {
            let byte = reader.u8().ok()?;
            counts.extend([6, 4, 2, 0].map(|shift| (byte >> shift & 0b11) + 1));
        }
        for (layer, count) in layers.iter_mut().zip(counts) {
            for _ in 0..count {
                layer.target_bitrates.push(read_leb128(&mut reader)?);
            }
        }
        if !reader.is_empty() {
            for layer in &mut layers {
                layer.resolution = Some(LayerResolution {
                    width: u32::from(reader.u16().ok()?) + 1,
                    height: u32::from(reader.u16().ok()?) + 1,
                    max_frame_rate: reader.u8().ok()?,
                });
            }
        }
        reader.is_empty().then_some(Self {
            stream_index,
            stream_count,
            layers,
        })
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        if self.layers.is_empty() {
            out.put_u8(0);
            return Ok(());
        }
        let bitmaps = self.bitmaps()?;
        let streams = bitmaps.get(..self.stream_count.into()).unwrap_or_default();
        let (&shared, others) = streams.split_first().ok_or(ExtensionError::Unencodable)?;
        let same = shared != 0 && others.iter().all(|&bitmap| bitmap == shared);
        out.put_u8(
            self.stream_index << 6 | (self.stream_count - 1) << 4 | if same { shared } else { 0 },
        );
        if !same {
            for pair in streams.chunks(2) {
                let byte = pair
                    .iter()
                    .zip([4, 0])
                    .fold(0, |byte, (map, shift)| byte | map << shift);
                out.put_u8(byte);
            }
        }

        for group in self.layers.chunks(4) {
            let counts = group
                .iter()
                .map(|layer| layer.target_bitrates.len() as u8 - 1);
            out.put_u8(
                counts
                    .zip([6, 4, 2, 0])
                    .fold(0, |byte, (each, shift)| byte | each << shift),
            );
        }
        for &bitrate in self.layers.iter().flat_map(|layer| &layer.target_bitrates) {
            write_leb128(bitrate, out);
        }
        if self.layers.iter().all(|layer| layer.resolution.is_some()) {
            for resolution in self.layers.iter().filter_map(|layer| layer.resolution) {
                for size in [resolution.width, resolution.height] {
                    let less_one = size
                        .checked_sub(1)
                        .and_then(|size| u16::try_from(size).ok());
                    out.put_u16(less_one.ok_or(ExtensionError::Unencodable)?);
                }
                out.put_u8(resolution.max_frame_rate);
            }
        }
        Ok(())
    }
}

impl VideoLayersAllocation {
    /// The active spatial layers of each stream as bits; checks order and bounds of all on the way.
    fn bitmaps(&self) -> Result<[u8; 4], ExtensionError> {
        let mut bitmaps = [0; 4];
        let position = |layer: &SpatialLayer| (layer.stream_index, layer.spatial_id);
        let ordered = self.layers.is_sorted_by(|a, b| position(a) < position(b));
        if !ordered
            || !(1..=4).contains(&self.stream_count)
            || self.stream_index >= self.stream_count
        {
            return Err(ExtensionError::Unencodable);
        }
        for layer in &self.layers {
            let bitmap = bitmaps.get_mut(usize::from(layer.stream_index));
            let bitmap = bitmap.filter(|_| layer.stream_index < self.stream_count);
            match bitmap {
                Some(bitmap)
                    if layer.spatial_id < 4 && (1..=4).contains(&layer.target_bitrates.len()) =>
                {
                    *bitmap |= 1 << layer.spatial_id;
                }
                _ => return Err(ExtensionError::Unencodable),
            }
        }
        Ok(bitmaps)
    }
}

/// One bitmap for all streams, or when that is 0, half a byte for each.
fn read_bitmaps(reader: &mut Reader<'_>, shared: u8, stream_count: u8) -> Option<[u8; 4]> {
    if shared != 0 {
        return Some([shared; 4]);
    }
    let first = reader.u8().ok()?;
    let second = if stream_count > 2 {
        reader.u8().ok()?
    } else {
        0
    };
    Some([first >> 4, first & 0x0f, second >> 4, second & 0x0f])
}

/// Reads a number of at most 32 bits, in five bytes at most.
fn read_leb128(reader: &mut Reader<'_>) -> Option<u32> {
    let mut value = 0u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = reader.u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok();
        }
    }
    None
}

fn write_leb128(mut value: u32, out: &mut impl Writer) {
    while value > 0x7f {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

const MAX_LAYERS: usize = 16;
