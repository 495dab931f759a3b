//! Media files: they bring frames to send, and keep what was received.

use std::io::Read;

use bytes::Bytes;

use crate::FileError;

pub(crate) mod annexb;
pub(crate) mod ivf;
pub(crate) mod ogg;
pub(crate) mod opus;

/// Reads a whole header; `None` at the end of the file.
pub(crate) fn read_header<const N: usize>(
    input: &mut impl Read,
) -> Result<Option<[u8; N]>, FileError> {
    let mut header = [0; N];
    let mut filled = 0;
    while let Some(rest) = header.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(FileError::Truncated),
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(header))
}

/// Reads so many bytes; memory grows with what comes, not with what is announced.
pub(crate) fn read_bytes(input: &mut impl Read, length: usize) -> Result<Bytes, FileError> {
    let mut bytes = Vec::with_capacity(length.min(FIRST_CAPACITY));
    input.take(length as u64).read_to_end(&mut bytes)?;
    match bytes.len() == length {
        true => Ok(bytes.into()),
        false => Err(FileError::Truncated),
    }
}

const FIRST_CAPACITY: usize = 64 << 10;
