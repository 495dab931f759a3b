use rtc_shared::Writer;
use smallvec::SmallVec;

use super::{Extension, ExtensionKind};
use crate::ExtensionError;

/// What a frame is made of and depends on (AV1 RTP specification 1.0 appendix A).
///
/// Frames refer to templates in a [`DependencyStructure`] that comes with key frames. Descriptors
/// with fields whose size the structure tells are read with [`parse_with`](Self::parse_with); without
/// structure [`Extension::parse`] gives only descriptors that are complete in themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DependencyDescriptor {
    /// The packet begins a frame.
    pub start_of_frame: bool,
    /// The packet ends a frame.
    pub end_of_frame: bool,
    /// The template of the frame, 0 to 63, see [`frame`](Self::frame).
    pub template_id: u8,
    /// Counts frames; wraps.
    pub frame_number: u16,
    /// The templates from this frame on.
    pub structure: Option<Box<DependencyStructure>>,
    /// One bit for each decode target that is still sent; all are while this is not said.
    pub active_decode_targets: Option<u32>,
    /// What the frame is to each decode target, if not as in its template.
    pub custom_dtis: Option<SmallVec<[DecodeTargetIndication; 8]>>,
    /// Differences to the frame numbers of the frames it refers to, 1 to 4096, if not as in its
    /// template.
    pub custom_fdiffs: Option<SmallVec<[u16; 4]>>,
    /// Difference to the frame number of the previous frame of each chain, 0 to 255, if not as in its
    /// template.
    pub custom_chain_diffs: Option<SmallVec<[u8; 4]>>,
}

/// The templates that frames refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DependencyStructure {
    /// Identifier of the first template, 0 to 63.
    pub template_id_offset: u8,
    /// How many decode targets there are, 1 to 32.
    pub decode_target_count: u8,
    /// How many chains there are, up to the number of decode targets.
    pub chain_count: u8,
    /// The chain that protects each decode target; empty without chains.
    pub protected_by: Vec<u8>,
    /// The templates, 1 to 64, ordered by spatial and then by temporal layer.
    pub templates: Vec<FrameTemplate>,
    /// Size of the video at each spatial layer; empty when it is not said.
    pub resolutions: Vec<RenderResolution>,
}

/// What frames have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameTemplate {
    /// Spatial layer, 0 to 3.
    pub spatial_id: u8,
    /// Temporal layer, 0 to 7.
    pub temporal_id: u8,
    /// What the frame is to each decode target.
    pub dtis: Vec<DecodeTargetIndication>,
    /// Differences to the frame numbers of the frames it refers to, 1 to 16.
    pub fdiffs: Vec<u16>,
    /// Difference to the frame number of the previous frame of each chain, 0 to 15.
    pub chain_diffs: Vec<u8>,
}

/// What a frame is to a decode target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DecodeTargetIndication {
    /// It is not part of the decode target.
    #[default]
    NotPresent,
    /// No other frame of the decode target needs it.
    Discardable,
    /// From it on, the decode target can be switched to.
    Switch,
    /// Others may need it.
    Required,
}

/// Size of the video at a spatial layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderResolution {
    /// Width in pixels, 1 to 65 536.
    pub width: u32,
    /// Height in pixels, 1 to 65 536.
    pub height: u32,
}

/// A frame's own values, or else those of its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameDependencies<'a> {
    /// Spatial layer.
    pub spatial_id: u8,
    /// Temporal layer.
    pub temporal_id: u8,
    /// What the frame is to each decode target.
    pub dtis: &'a [DecodeTargetIndication],
    /// Differences to the frame numbers of the frames it refers to.
    pub fdiffs: &'a [u16],
    /// Difference to the frame number of the previous frame of each chain; 0 means that the frame
    /// begins the chain anew.
    pub chain_diffs: &'a [u8],
    /// Size of the video at the spatial layer, if it is known.
    pub resolution: Option<RenderResolution>,
}

impl DependencyDescriptor {
    /// Reads a value with the structure that came last; one in the value itself goes before it.
    ///
    /// `None` when it is malformed, needs a structure that is not there, or names a template that the
    /// structure does not have.
    #[must_use]
    pub fn parse_with(value: &[u8], structure: Option<&DependencyStructure>) -> Option<Self> {
        let mut bits = BitReader {
            bytes: value,
            position: 0,
        };
        let mut descriptor = Self {
            start_of_frame: bits.flag()?,
            end_of_frame: bits.flag()?,
            template_id: bits.take(6)? as u8,
            frame_number: bits.take(16)? as u16,
            ..Self::default()
        };
        if value.len() <= MANDATORY_LEN {
            return match structure {
                Some(structure) => {
                    structure.template(descriptor.template_id)?;
                    Some(descriptor)
                }
                None => Some(descriptor),
            };
        }

        let has_structure = bits.flag()?;
        let has_active_decode_targets = bits.flag()?;
        let has_custom_dtis = bits.flag()?;
        let has_custom_fdiffs = bits.flag()?;
        let has_custom_chains = bits.flag()?;
        if has_structure {
            descriptor.structure = Some(Box::new(read_structure(&mut bits)?));
        }
        let structure = descriptor.structure.as_deref().or(structure);
        if has_active_decode_targets {
            let count = structure?.decode_target_count;
            descriptor.active_decode_targets = Some(bits.take(count.into())?);
        }
        if let Some(structure) = structure {
            structure.template(descriptor.template_id)?;
        }
        if has_custom_dtis {
            let count = structure?.decode_target_count;
            descriptor.custom_dtis = Some((0..count).map(|_| bits.dti()).collect::<Option<_>>()?);
        }
        if has_custom_fdiffs {
            let mut fdiffs = SmallVec::new();
            loop {
                let size = bits.take(2)?;
                if size == 0 {
                    break;
                }
                fdiffs.push(bits.take(4 * size)? as u16 + 1);
            }
            descriptor.custom_fdiffs = Some(fdiffs);
        }
        if has_custom_chains {
            let count = structure?.chain_count;
            let diffs = (0..count).map(|_| bits.take(8).map(|diff| diff as u8));
            descriptor.custom_chain_diffs = Some(diffs.collect::<Option<_>>()?);
        }
        Some(descriptor)
    }

    /// The values of the frame by the structure in force: the one of this descriptor if it has one,
    /// else `structure`. `None` when there is none or it lacks the template.
    #[must_use]
    pub fn frame<'a>(
        &'a self,
        structure: Option<&'a DependencyStructure>,
    ) -> Option<FrameDependencies<'a>> {
        let structure = self.structure.as_deref().or(structure)?;
        let template = structure.template(self.template_id)?;
        Some(FrameDependencies {
            spatial_id: template.spatial_id,
            temporal_id: template.temporal_id,
            dtis: self.custom_dtis.as_deref().unwrap_or(&template.dtis),
            fdiffs: self.custom_fdiffs.as_deref().unwrap_or(&template.fdiffs),
            chain_diffs: self
                .custom_chain_diffs
                .as_deref()
                .unwrap_or(&template.chain_diffs),
            resolution: structure
                .resolutions
                .get(usize::from(template.spatial_id))
                .copied(),
        })
    }

    /// Appends the value, with the structure in force if the descriptor does not bring one.
    ///
    /// # Errors
    /// [`ExtensionError::Unencodable`] when a part does not fit its field or the structure, or the
    /// structure is needed and not there.
    pub fn write_with(
        &self,
        structure: Option<&DependencyStructure>,
        out: &mut impl Writer,
    ) -> Result<(), ExtensionError> {
        let in_force = self.structure.as_deref().or(structure);
        let mut bits = BitWriter {
            out,
            byte: 0,
            used: 0,
            fits: true,
        };
        bits.flag(self.start_of_frame);
        bits.flag(self.end_of_frame);
        bits.put(self.template_id.into(), 6);
        bits.put(self.frame_number.into(), 16);
        if let Some(structure) = in_force {
            bits.fits &= structure.template(self.template_id).is_some();
        }

        let extended = self.structure.is_some()
            || self.active_decode_targets.is_some()
            || self.custom_dtis.is_some()
            || self.custom_fdiffs.is_some()
            || self.custom_chain_diffs.is_some();
        if extended {
            bits.flag(self.structure.is_some());
            bits.flag(self.active_decode_targets.is_some());
            bits.flag(self.custom_dtis.is_some());
            bits.flag(self.custom_fdiffs.is_some());
            bits.flag(self.custom_chain_diffs.is_some());
            if let Some(structure) = &self.structure {
                write_structure(&mut bits, structure);
            }
            let targets = in_force.map(|structure| structure.decode_target_count);
            let chains = in_force.map(|structure| structure.chain_count);
            if let Some(active) = self.active_decode_targets {
                bits.fits &= targets.is_some();
                bits.put(active, targets.unwrap_or(0).into());
            }
            if let Some(dtis) = &self.custom_dtis {
                bits.fits &= targets.map(usize::from) == Some(dtis.len());
                dtis.iter().for_each(|&dti| bits.dti(dti));
            }
            if let Some(fdiffs) = &self.custom_fdiffs {
                for &fdiff in fdiffs {
                    bits.fits &= fdiff > 0;
                    let less_one = u32::from(fdiff.saturating_sub(1));
                    let size = if less_one < 1 << 4 {
                        1
                    } else if less_one < 1 << 8 {
                        2
                    } else {
                        3
                    };
                    bits.put(size, 2);
                    bits.put(less_one, 4 * size);
                }
                bits.put(0, 2);
            }
            if let Some(diffs) = &self.custom_chain_diffs {
                bits.fits &= chains.map(usize::from) == Some(diffs.len());
                diffs.iter().for_each(|&diff| bits.put(diff.into(), 8));
            }
        }
        bits.finish()
    }
}

impl Extension<'_> for DependencyDescriptor {
    const KIND: ExtensionKind = ExtensionKind::DependencyDescriptor;

    fn parse(value: &[u8]) -> Option<Self> {
        Self::parse_with(value, None)
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        self.write_with(None, out)
    }
}

impl DependencyStructure {
    /// The template with an identifier.
    #[must_use]
    pub fn template(&self, template_id: u8) -> Option<&FrameTemplate> {
        let index = template_id.wrapping_sub(self.template_id_offset) % MAX_TEMPLATES as u8;
        self.templates.get(usize::from(index))
    }
}

fn read_structure(bits: &mut BitReader<'_>) -> Option<DependencyStructure> {
    let template_id_offset = bits.take(6)? as u8;
    let decode_target_count = bits.take(5)? as u8 + 1;
    let mut structure = DependencyStructure {
        template_id_offset,
        decode_target_count,
        ..Default::default()
    };

    let mut template = FrameTemplate::default();
    loop {
        structure.templates.push(template.clone());
        match bits.take(2)? {
            0 => {}
            1 => template.temporal_id += 1,
            2 => {
                template.temporal_id = 0;
                template.spatial_id += 1;
            }
            _ => break,
        }
        if structure.templates.len() == MAX_TEMPLATES
            || template.temporal_id > MAX_TEMPORAL_ID
            || template.spatial_id > MAX_SPATIAL_ID
        {
            return None;
        }
    }
    for template in &mut structure.templates {
        template.dtis = (0..decode_target_count)
            .map(|_| bits.dti())
            .collect::<Option<_>>()?;
    }
    for template in &mut structure.templates {
        while bits.flag()? {
            template.fdiffs.push(bits.take(4)? as u16 + 1);
        }
    }

    structure.chain_count = bits.non_symmetric(u32::from(decode_target_count) + 1)? as u8;
    if structure.chain_count > 0 {
        let chain_count = u32::from(structure.chain_count);
        structure.protected_by = (0..decode_target_count)
            .map(|_| bits.non_symmetric(chain_count).map(|chain| chain as u8))
            .collect::<Option<_>>()?;
        for template in &mut structure.templates {
            template.chain_diffs = (0..chain_count)
                .map(|_| bits.take(4).map(|diff| diff as u8))
                .collect::<Option<_>>()?;
        }
    }
    if bits.flag()? {
        let mut size = || bits.take(16).map(|less_one| less_one + 1);
        for _ in 0..=template.spatial_id {
            structure.resolutions.push(RenderResolution {
                width: size()?,
                height: size()?,
            });
        }
    }
    Some(structure)
}

fn write_structure(bits: &mut BitWriter<'_, impl Writer>, structure: &DependencyStructure) {
    let targets = usize::from(structure.decode_target_count);
    let chains = usize::from(structure.chain_count);
    bits.fits &= (1..=MAX_TEMPLATES).contains(&structure.templates.len());
    bits.fits &= chains <= targets;
    bits.put(structure.template_id_offset.into(), 6);
    bits.put(u32::from(structure.decode_target_count).wrapping_sub(1), 5);

    let mut spatial_id = 0;
    let mut temporal_id = 0;
    for (index, template) in structure.templates.iter().enumerate() {
        let layer = (template.spatial_id, template.temporal_id);
        bits.fits &= template.spatial_id <= MAX_SPATIAL_ID;
        bits.fits &= template.temporal_id <= MAX_TEMPORAL_ID;
        if index == 0 {
            bits.fits &= layer == (0, 0);
        } else if layer == (spatial_id, temporal_id) {
            bits.put(0, 2);
        } else if layer == (spatial_id, temporal_id + 1) {
            bits.put(1, 2);
        } else {
            bits.fits &= layer == (spatial_id + 1, 0);
            bits.put(2, 2);
        }
        // Far off the scale is not encodable anyway.
        (spatial_id, temporal_id) = (layer.0 & 0x0f, layer.1 & 0x0f);
    }
    bits.put(3, 2);
    for template in &structure.templates {
        bits.fits &= template.dtis.len() == targets;
        template.dtis.iter().for_each(|&dti| bits.dti(dti));
    }
    for template in &structure.templates {
        for &fdiff in &template.fdiffs {
            bits.flag(true);
            bits.put(u32::from(fdiff).wrapping_sub(1), 4);
        }
        bits.flag(false);
    }

    bits.non_symmetric(
        structure.chain_count.into(),
        u32::from(structure.decode_target_count) + 1,
    );
    bits.fits &= structure.protected_by.len() == if chains > 0 { targets } else { 0 };
    for &chain in &structure.protected_by {
        bits.non_symmetric(chain.into(), structure.chain_count.into());
    }
    for template in &structure.templates {
        bits.fits &= template.chain_diffs.len() == chains;
        template
            .chain_diffs
            .iter()
            .for_each(|&diff| bits.put(diff.into(), 4));
    }
    bits.flag(!structure.resolutions.is_empty());
    if !structure.resolutions.is_empty() {
        bits.fits &= structure.resolutions.len() == usize::from(spatial_id) + 1;
        for resolution in &structure.resolutions {
            bits.put(resolution.width.wrapping_sub(1), 16);
            bits.put(resolution.height.wrapping_sub(1), 16);
        }
    }
}

impl DecodeTargetIndication {
    fn from_bits(bits: u32) -> Self {
        match bits {
            0 => Self::NotPresent,
            1 => Self::Discardable,
            2 => Self::Switch,
            _ => Self::Required,
        }
    }
}

/// Reads bits, the most significant first.
struct BitReader<'a> {
    bytes: &'a [u8],
    /// In bits.
    position: usize,
}

impl BitReader<'_> {
    fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit != 0)
    }

    /// Reads a number of at most 32 bits.
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        let mut missing = count;
        while missing > 0 {
            let byte = u32::from(*self.bytes.get(self.position / 8)?);
            let left = 8 - self.position as u32 % 8;
            let taken = left.min(missing);
            let bits = byte >> (left - taken) & ((1 << taken) - 1);
            value = value << taken | bits;
            self.position += taken as usize;
            missing -= taken;
        }
        Some(value)
    }

    /// Reads a number below `bound`, in one bit less if it is small (section A.8.1 of the
    /// specification).
    fn non_symmetric(&mut self, bound: u32) -> Option<u32> {
        let width = bit_width(bound);
        let short = (1 << width) - bound;
        let value = self.take(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.take(1)?)
    }

    fn dti(&mut self) -> Option<DecodeTargetIndication> {
        self.take(2).map(DecodeTargetIndication::from_bits)
    }
}

/// Writes bits, the most significant first, and remembers whether all fitted.
struct BitWriter<'o, W> {
    out: &'o mut W,
    byte: u8,
    used: u32,
    fits: bool,
}

impl<W: Writer> BitWriter<'_, W> {
    fn flag(&mut self, value: bool) {
        self.byte |= u8::from(value) << (7 - self.used);
        self.used += 1;
        if self.used == 8 {
            self.out.put_u8(self.byte);
            self.byte = 0;
            self.used = 0;
        }
    }

    /// Writes the low bits of a value of at most 32 bits.
    fn put(&mut self, value: u32, count: u32) {
        self.fits &= u64::from(value) < 1 << count;
        for bit in (0..count).rev() {
            self.flag(value >> bit & 1 != 0);
        }
    }

    fn non_symmetric(&mut self, value: u32, bound: u32) {
        self.fits &= value < bound;
        let width = bit_width(bound);
        let short = (1 << width) - bound;
        if value < short {
            self.put(value, width - 1);
        } else {
            self.put(value.wrapping_add(short), width);
        }
    }

    fn dti(&mut self, dti: DecodeTargetIndication) {
        self.put(dti as u32, 2);
    }

    /// Fills up the last byte with zeros.
    fn finish(mut self) -> Result<(), ExtensionError> {
        while self.used != 0 {
            self.flag(false);
        }
        if self.fits {
            Ok(())
        } else {
            Err(ExtensionError::Unencodable)
        }
    }
}

/// How many bits `value` has; at least 1.
fn bit_width(value: u32) -> u32 {
    (u32::BITS - value.leading_zeros()).max(1)
}

const MANDATORY_LEN: usize = 3;
const MAX_TEMPLATES: usize = 64;
const MAX_SPATIAL_ID: u8 = 3;
const MAX_TEMPORAL_ID: u8 = 7;
