//! Hello extensions, all in one place (RFC 5246 section 7.4.1.4).
//!
//! One struct stands for the extensions that are understood; everything else, GREASE (RFC 8701)
//! included, is read over.

use rtc_shared::{Reader, Writer};
use smallvec::SmallVec;

use crate::error::{Error, InMessage};
use crate::message::{Codes, expect_end};

/// The extensions of a ClientHello or ServerHello that are understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions<'a> {
    /// supported_groups (RFC 8422 section 5.1.1).
    pub(crate) groups: Option<Codes<'a>>,
    /// ec_point_formats (RFC 8422 section 5.1.2).
    pub(crate) point_formats: Option<&'a [u8]>,
    /// signature_algorithms (RFC 5246 section 7.4.1.4.1).
    pub(crate) signature_schemes: Option<Codes<'a>>,
    /// use_srtp (RFC 5764 section 4.1.1).
    pub(crate) use_srtp: Option<UseSrtp<'a>>,
    /// extended_master_secret (RFC 7627 section 5.1).
    pub(crate) extended_master_secret: bool,
    /// supported_versions in its raw form (RFC 8446 section 4.2.1), which differs between hellos.
    pub(crate) supported_versions: Option<&'a [u8]>,
    /// renegotiation_info (RFC 5746 section 3.2).
    pub(crate) renegotiation_info: Option<&'a [u8]>,
    /// The first extension that is none of these; not written.
    pub(crate) unknown: Option<u16>,
}

/// The offer or answer of SRTP protection profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UseSrtp<'a> {
    pub(crate) profiles: Codes<'a>,
    /// Master key identifier: not used in WebRTC, ignored when a peer has one.
    pub(crate) mki: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Reads the content of an extension block; `message` names the hello in errors.
    pub(crate) fn parse(block: &'a [u8], message: &'static str) -> Result<Self, Error> {
        let mut extensions = Self::default();
        let mut seen = SmallVec::<[u16; 32]>::new();
        let mut reader = Reader::new(block);
        while !reader.is_empty() {
            let kind = reader.u16().in_message(message)?;
            let data = reader.vec16().in_message(message)?;
            if seen.contains(&kind) {
                return Err(Error::IllegalParameter("extension, twice"));
            }
            if seen.len() == MAX_EXTENSIONS {
                return Err(Error::Decode(message));
            }
            seen.push(kind);
            extensions.parse_one(kind, data, message)?;
        }
        Ok(extensions)
    }

    fn parse_one(&mut self, kind: u16, data: &'a [u8], message: &'static str) -> Result<(), Error> {
        let mut reader = Reader::new(data);
        match kind {
            SUPPORTED_GROUPS => {
                self.groups = Some(Codes::new(reader.vec16().in_message(message)?, message)?);
            }
            EC_POINT_FORMATS => self.point_formats = Some(reader.vec8().in_message(message)?),
            SIGNATURE_ALGORITHMS => {
                let list = reader.vec16().in_message(message)?;
                self.signature_schemes = Some(Codes::new(list, message)?);
            }
            USE_SRTP => {
                let profiles = Codes::new(reader.vec16().in_message(message)?, message)?;
                let mki = reader.vec8().in_message(message)?;
                self.use_srtp = Some(UseSrtp { profiles, mki });
            }
            EXTENDED_MASTER_SECRET => self.extended_master_secret = true,
            SUPPORTED_VERSIONS => self.supported_versions = Some(reader.take_rest()),
            RENEGOTIATION_INFO => {
                self.renegotiation_info = Some(reader.vec8().in_message(message)?);
            }
            other => {
                self.unknown.get_or_insert(other);
                return Ok(());
            }
        }
        expect_end(&reader, message)
    }

    /// Writes the block with its length; nothing at all when there is no extension.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_vec16(|out| self.write_each(out));
        if out.len() == start + 2 {
            out.truncate(start);
        }
    }

    fn write_each(&self, out: &mut Vec<u8>) {
        if let Some(groups) = self.groups {
            put(out, SUPPORTED_GROUPS, |out| {
                out.put_vec16(|out| out.put(groups.as_bytes()))
            });
        }
        if let Some(formats) = self.point_formats {
            put(out, EC_POINT_FORMATS, |out| {
                out.put_vec8(|out| out.put(formats))
            });
        }
        if let Some(schemes) = self.signature_schemes {
            put(out, SIGNATURE_ALGORITHMS, |out| {
                out.put_vec16(|out| out.put(schemes.as_bytes()))
            });
        }
        if let Some(UseSrtp { profiles, mki }) = self.use_srtp {
            put(out, USE_SRTP, |out| {
                out.put_vec16(|out| out.put(profiles.as_bytes()));
                out.put_vec8(|out| out.put(mki));
            });
        }
        if self.extended_master_secret {
            put(out, EXTENDED_MASTER_SECRET, |_| ());
        }
        if let Some(versions) = self.supported_versions {
            put(out, SUPPORTED_VERSIONS, |out| out.put(versions));
        }
        if let Some(info) = self.renegotiation_info {
            put(out, RENEGOTIATION_INFO, |out| {
                out.put_vec8(|out| out.put(info))
            });
        }
    }

    /// The versions a ClientHello offers by extension; `None` when it has none.
    pub(crate) fn offered_versions(&self) -> Result<Option<Codes<'a>>, Error> {
        const NAME: &str = "supported_versions";
        let Some(data) = self.supported_versions else {
            return Ok(None);
        };
        let mut reader = Reader::new(data);
        let versions = Codes::new(reader.vec8().in_message(NAME)?, NAME)?;
        expect_end(&reader, NAME)?;
        Ok(Some(versions))
    }
}

fn put(out: &mut Vec<u8>, kind: u16, data: impl FnOnce(&mut Vec<u8>)) {
    out.put_u16(kind);
    out.put_vec16(data);
}

pub(crate) const SUPPORTED_GROUPS: u16 = 10;
pub(crate) const EC_POINT_FORMATS: u16 = 11;
pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
pub(crate) const USE_SRTP: u16 = 14;
pub(crate) const EXTENDED_MASTER_SECRET: u16 = 23;
pub(crate) const SUPPORTED_VERSIONS: u16 = 43;
pub(crate) const RENEGOTIATION_INFO: u16 = 0xff01;

/// The one point format that is left (RFC 8422 section 5.1.2).
pub(crate) const UNCOMPRESSED: u8 = 0;

/// Browsers send about twenty; the cap bounds the search for doubles.
const MAX_EXTENSIONS: usize = 128;
