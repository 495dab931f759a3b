use std::fmt;

use rtc_shared::{Reader, Writer};
use smallvec::SmallVec;

use crate::ExtensionError;
use crate::extension::Extension;

/// How the elements of a header extension are laid out, by the 16 bits that "profile" defines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExtensionForm {
    /// Identifiers 1 to 14, values of 1 to 16 bytes (RFC 8285 section 4.2).
    #[default]
    OneByte,
    /// Identifiers 1 to 255, values of 0 to 255 bytes (RFC 8285 section 4.3).
    TwoByte {
        /// Four bits for the application.
        app_bits: u8,
    },
    /// Not RFC 8285: an opaque block.
    Other(u16),
}

impl ExtensionForm {
    pub(crate) fn from_profile(profile: u16) -> Self {
        match profile {
            ONE_BYTE_PROFILE => Self::OneByte,
            _ if profile & 0xfff0 == TWO_BYTE_PROFILE => Self::TwoByte {
                app_bits: (profile & 0x0f) as u8,
            },
            other => Self::Other(other),
        }
    }

    fn profile(self) -> u16 {
        match self {
            Self::OneByte => ONE_BYTE_PROFILE,
            Self::TwoByte { app_bits } => TWO_BYTE_PROFILE | u16::from(app_bits & 0x0f),
            Self::Other(profile) => profile,
        }
    }
}

/// The header extension of a packet: elements of an identifier and a value (RFC 8285).
///
/// It keeps the form it was received in; a new one has the one-byte form until an element needs the
/// two-byte form. Few and short elements need no allocation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    form: ExtensionForm,
    /// The elements as identifier, length, value, whatever the form is; of another profile, the
    /// whole block.
    buffer: SmallVec<[u8; INLINE_LEN]>,
}

impl Extensions {
    /// The value of the first element with this identifier.
    #[must_use]
    pub fn get(&self, id: u8) -> Option<&[u8]> {
        self.iter()
            .find(|&(found, _)| found == id)
            .map(|(_, value)| value)
    }

    /// The value of the first element with this identifier, typed; `None` when it is absent or
    /// malformed.
    #[must_use]
    pub fn value<'a, E: Extension<'a>>(&'a self, id: u8) -> Option<E> {
        E::parse(self.get(id)?)
    }

    /// Replaces the element with this identifier, or appends one. An identifier above 14 and a value
    /// that is empty or longer than 16 bytes change the form to two-byte.
    ///
    /// # Errors
    /// [`ExtensionError`]; nothing changes then.
    pub fn set(&mut self, id: u8, value: &[u8]) -> Result<(), ExtensionError> {
        if id == 0 {
            return Err(ExtensionError::ReservedId);
        }
        if matches!(self.form, ExtensionForm::Other(_)) {
            return Err(ExtensionError::OtherProfile);
        }
        let length = u8::try_from(value.len()).map_err(|_| ExtensionError::TooLong)?;
        let replaced = self.position(id);
        let rest = self.buffer.len() - replaced.map_or(0, |(_, length)| length);
        if rest + 2 + value.len() > MAX_LEN {
            return Err(ExtensionError::TooLong);
        }

        if self.form == ExtensionForm::OneByte && !fits_one_byte(id, value.len()) {
            self.form = ExtensionForm::TwoByte { app_bits: 0 };
        }
        match replaced {
            Some((start, old)) if old == 2 + value.len() => {
                let target = self.buffer.get_mut(start + 2..start + old);
                target.unwrap_or_default().copy_from_slice(value);
            }
            _ => {
                if let Some((start, old)) = replaced {
                    self.buffer.drain(start..start + old);
                }
                self.buffer.push(id);
                self.buffer.push(length);
                self.buffer.extend_from_slice(value);
            }
        }
        Ok(())
    }

    /// Replaces or appends an element with a typed value, see [`set`](Self::set).
    ///
    /// # Errors
    /// [`ExtensionError`]; nothing changes then.
    pub fn set_value<'a, E: Extension<'a>>(
        &mut self,
        id: u8,
        value: &E,
    ) -> Result<(), ExtensionError> {
        let mut scratch = Scratch(SmallVec::new());
        value.write(&mut scratch)?;
        self.set(id, &scratch.0)
    }

    /// Removes the first element with this identifier; false when there is none.
    pub fn remove(&mut self, id: u8) -> bool {
        let Some((start, length)) = self.position(id) else {
            return false;
        };
        self.buffer.drain(start..start + length);
        true
    }

    /// Removes all elements and goes back to the one-byte form.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Identifier and value of all elements, in their order.
    #[must_use]
    pub fn iter(&self) -> Elements<'_> {
        match self.form {
            ExtensionForm::Other(_) => Elements::default(),
            _ => Elements::new(ExtensionForm::TwoByte { app_bits: 0 }, &self.buffer),
        }
    }

    /// How the elements are written.
    #[must_use]
    pub fn form(&self) -> ExtensionForm {
        self.form
    }

    /// Has the elements written in the two-byte form, even when all fit the one-byte form. For a
    /// stream that needs the two-byte form now and then and whose receiver does not allow to mix
    /// them (RFC 8285 section 4.1.2).
    pub fn use_two_byte_form(&mut self) {
        if self.form == ExtensionForm::OneByte {
            self.form = ExtensionForm::TwoByte { app_bits: 0 };
        }
    }

    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Length in bytes on the wire with profile, length and padding; 0 when empty.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self.is_empty() {
            true => 0,
            false => 4 + self.content_len().next_multiple_of(4),
        }
    }

    /// Takes over the elements of a received block; what is malformed is left out.
    pub(crate) fn from_block(form: ExtensionForm, block: &[u8]) -> Self {
        let mut buffer = SmallVec::new();
        match form {
            ExtensionForm::Other(_) => buffer.extend_from_slice(block),
            _ => {
                for (id, value) in Elements::new(form, block) {
                    if buffer.len() + 2 + value.len() > MAX_LEN {
                        break;
                    }
                    buffer.push(id);
                    buffer.push(value.len() as u8);
                    buffer.extend_from_slice(value);
                }
            }
        }
        Self { form, buffer }
    }

    pub(crate) fn write(&self, out: &mut impl Writer) {
        if self.is_empty() {
            return;
        }
        let length = self.content_len();
        out.put_u16(self.form.profile());
        out.put_u16(length.div_ceil(4) as u16);
        match self.form {
            ExtensionForm::OneByte => {
                for (id, value) in self.iter() {
                    out.put_u8(id << 4 | (value.len() as u8).wrapping_sub(1) & 0x0f);
                    out.put(value);
                }
            }
            _ => out.put(&self.buffer),
        }
        out.put_zeros(length.next_multiple_of(4) - length);
    }

    /// Length of the elements in the form they are written in, without padding.
    fn content_len(&self) -> usize {
        match self.form {
            ExtensionForm::OneByte => self.buffer.len() - self.iter().count(),
            _ => self.buffer.len(),
        }
    }

    /// Start in the buffer and whole length of the first element with this identifier.
    fn position(&self, id: u8) -> Option<(usize, usize)> {
        let mut start = 0;
        for (found, value) in self.iter() {
            let length = 2 + value.len();
            if found == id {
                return Some((start, length));
            }
            start += length;
        }
        None
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.form {
            ExtensionForm::Other(profile) => write!(f, "{profile:#06x}({})", self.buffer.len()),
            _ => f.debug_map().entries(self.iter()).finish(),
        }
    }
}

impl<'a> IntoIterator for &'a Extensions {
    type Item = (u8, &'a [u8]);
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

/// Iterates over identifier and value of the elements of a header extension.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    form: ExtensionForm,
    reader: Reader<'a>,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(form: ExtensionForm, block: &'a [u8]) -> Self {
        Self {
            form,
            reader: Reader::new(block),
        }
    }

    fn read(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            let first = self.reader.u8().ok()?;
            let (id, length) = match self.form {
                // A byte of padding, whatever its length bits say.
                ExtensionForm::OneByte if first >> 4 == 0 => continue,
                // Reserved: the rest must not be read (RFC 8285 section 4.2).
                ExtensionForm::OneByte if first >> 4 == 15 => return None,
                ExtensionForm::OneByte => (first >> 4, usize::from(first & 0x0f) + 1),
                ExtensionForm::TwoByte { .. } if first == 0 => continue,
                ExtensionForm::TwoByte { .. } => (first, usize::from(self.reader.u8().ok()?)),
                ExtensionForm::Other(_) => return None,
            };
            return Some((id, self.reader.take(length).ok()?));
        }
    }
}

impl Default for Elements<'_> {
    fn default() -> Self {
        Self::new(ExtensionForm::OneByte, &[])
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let element = self.read();
        if element.is_none() {
            self.reader.take_rest();
        }
        element
    }
}

/// Holds a value on its way into the elements.
struct Scratch(SmallVec<[u8; INLINE_LEN]>);

impl Writer for Scratch {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn position(&self) -> usize {
        self.0.len()
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(target) = self.0.get_mut(at..at + bytes.len()) {
            target.copy_from_slice(bytes);
        }
    }
}

fn fits_one_byte(id: u8, length: usize) -> bool {
    (1..=14).contains(&id) && (1..=16).contains(&length)
}

/// Transport sequence number, mid, absolute send time, audio level and a short dependency descriptor
/// fit.
const INLINE_LEN: usize = 32;
/// Bound of the elements in bytes, so that their length fits its field in any form.
const MAX_LEN: usize = 0xffff;
const ONE_BYTE_PROFILE: u16 = 0xbede;
const TWO_BYTE_PROFILE: u16 = 0x1000;
