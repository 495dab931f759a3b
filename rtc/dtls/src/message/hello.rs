use rtc_shared::{Reader, Writer};

use super::{Codes, expect_end};
use crate::error::{Error, InMessage};
use crate::extension::Extensions;

/// ClientHello (RFC 6347 section 4.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientHello<'a> {
    pub(crate) version: u16,
    pub(crate) random: [u8; 32],
    pub(crate) session_id: &'a [u8],
    pub(crate) cookie: &'a [u8],
    pub(crate) cipher_suites: Codes<'a>,
    pub(crate) compression_methods: &'a [u8],
    pub(crate) extensions: Extensions<'a>,
    /// The extensions as they came, for the cookie; not written.
    pub(crate) extension_block: &'a [u8],
}

impl<'a> ClientHello<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        const NAME: &str = "ClientHello";
        let mut reader = Reader::new(body);
        let version = reader.u16().in_message(NAME)?;
        let random = reader.array().in_message(NAME)?;
        let session_id = reader.vec8().in_message(NAME)?;
        let cookie = reader.vec8().in_message(NAME)?;
        let cipher_suites = Codes::new(reader.vec16().in_message(NAME)?, NAME)?;
        let compression_methods = reader.vec8().in_message(NAME)?;
        if session_id.len() > MAX_SESSION_ID_LEN || compression_methods.is_empty() {
            return Err(Error::Decode(NAME));
        }
        let extension_block = extension_block(&mut reader, NAME)?;
        let extensions = Extensions::parse(extension_block, NAME)?;
        Ok(Self {
            version,
            random,
            session_id,
            cookie,
            cipher_suites,
            compression_methods,
            extensions,
            extension_block,
        })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.put_u16(self.version);
        out.put(&self.random);
        out.put_vec8(|out| out.put(self.session_id));
        out.put_vec8(|out| out.put(self.cookie));
        out.put_vec16(|out| out.put(self.cipher_suites.as_bytes()));
        out.put_vec8(|out| out.put(self.compression_methods));
        self.extensions.write(out);
    }
}

/// HelloVerifyRequest (RFC 6347 section 4.2.1); its version says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HelloVerifyRequest<'a> {
    pub(crate) version: u16,
    pub(crate) cookie: &'a [u8],
}

impl<'a> HelloVerifyRequest<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        const NAME: &str = "HelloVerifyRequest";
        let mut reader = Reader::new(body);
        let version = reader.u16().in_message(NAME)?;
        let cookie = reader.vec8().in_message(NAME)?;
        expect_end(&reader, NAME)?;
        Ok(Self { version, cookie })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.put_u16(self.version);
        out.put_vec8(|out| out.put(self.cookie));
    }
}

/// ServerHello (RFC 5246 section 7.4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerHello<'a> {
    pub(crate) version: u16,
    pub(crate) random: [u8; 32],
    pub(crate) session_id: &'a [u8],
    pub(crate) cipher_suite: u16,
    pub(crate) compression_method: u8,
    pub(crate) extensions: Extensions<'a>,
}

impl<'a> ServerHello<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        const NAME: &str = "ServerHello";
        let mut reader = Reader::new(body);
        let version = reader.u16().in_message(NAME)?;
        let random = reader.array().in_message(NAME)?;
        let session_id = reader.vec8().in_message(NAME)?;
        let cipher_suite = reader.u16().in_message(NAME)?;
        let compression_method = reader.u8().in_message(NAME)?;
        if session_id.len() > MAX_SESSION_ID_LEN {
            return Err(Error::Decode(NAME));
        }
        let extensions = Extensions::parse(extension_block(&mut reader, NAME)?, NAME)?;
        Ok(Self {
            version,
            random,
            session_id,
            cipher_suite,
            compression_method,
            extensions,
        })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.put_u16(self.version);
        out.put(&self.random);
        out.put_vec8(|out| out.put(self.session_id));
        out.put_u16(self.cipher_suite);
        out.put_u8(self.compression_method);
        self.extensions.write(out);
    }
}

/// The extensions, which old peers leave out altogether.
fn extension_block<'a>(reader: &mut Reader<'a>, name: &'static str) -> Result<&'a [u8], Error> {
    if reader.is_empty() {
        return Ok(&[]);
    }
    let block = reader.vec16().in_message(name)?;
    expect_end(reader, name)?;
    Ok(block)
}

const MAX_SESSION_ID_LEN: usize = 32;
