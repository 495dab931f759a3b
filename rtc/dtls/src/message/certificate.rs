use rtc_shared::{Reader, Writer};

use super::{Codes, expect_end};
use crate::error::{Error, InMessage};

/// Certificate of version 1.2 (RFC 5246 section 7.4.2): WebRTC only looks at the first of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CertificateChain<'a> {
    /// DER of the sender's own certificate; `None` when it sent none.
    pub(crate) leaf: Option<&'a [u8]>,
}

impl<'a> CertificateChain<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        const NAME: &str = "Certificate";
        let mut reader = Reader::new(body);
        let mut chain = Reader::new(reader.vec24().in_message(NAME)?);
        expect_end(&reader, NAME)?;
        let mut leaf = None;
        while !chain.is_empty() {
            let certificate = chain.vec24().in_message(NAME)?;
            if certificate.is_empty() {
                return Err(Error::Decode(NAME));
            }
            leaf.get_or_insert(certificate);
        }
        Ok(Self { leaf })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.put_vec24(|out| {
            if let Some(leaf) = self.leaf {
                out.put_vec24(|out| out.put(leaf));
            }
        });
    }
}

/// CertificateRequest of version 1.2 (RFC 5246 section 7.4.4). The names of authorities mean nothing
/// for self-signed certificates: they are skipped and never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CertificateRequest<'a> {
    pub(crate) certificate_types: &'a [u8],
    pub(crate) signature_schemes: Codes<'a>,
}

impl<'a> CertificateRequest<'a> {
    /// `ecdsa_sign`, which stands for Ed25519 too (RFC 8422 section 5.5), and `rsa_sign`.
    pub(crate) const TYPES: [u8; 2] = [64, 1];

    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        const NAME: &str = "CertificateRequest";
        let mut reader = Reader::new(body);
        let certificate_types = reader.vec8().in_message(NAME)?;
        let signature_schemes = Codes::new(reader.vec16().in_message(NAME)?, NAME)?;
        reader.vec16().in_message(NAME)?;
        expect_end(&reader, NAME)?;
        Ok(Self {
            certificate_types,
            signature_schemes,
        })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.put_vec8(|out| out.put(self.certificate_types));
        out.put_vec16(|out| out.put(self.signature_schemes.as_bytes()));
        out.put_u16(0);
    }
}

/// A signature with its scheme: the body of CertificateVerify and the end of ServerKeyExchange
/// (RFC 5246 section 4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signed<'a> {
    pub(crate) scheme: u16,
    pub(crate) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn parse(body: &'a [u8], name: &'static str) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let scheme = reader.u16().in_message(name)?;
        let signature = reader.vec16().in_message(name)?;
        expect_end(&reader, name)?;
        Ok(Self { scheme, signature })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.put_u16(self.scheme);
        out.put_vec16(|out| out.put(self.signature));
    }
}
