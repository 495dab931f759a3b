use rtc_shared::{Reader, Writer};

use super::{Signed, expect_end};
use crate::error::{Error, InMessage};

/// ServerKeyExchange with an ephemeral elliptic curve key (RFC 8422 section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerKeyExchange<'a> {
    pub(crate) group: u16,
    pub(crate) public_key: &'a [u8],
    /// Group and key as they are signed.
    pub(crate) params: &'a [u8],
    pub(crate) signed: Signed<'a>,
}

impl<'a> ServerKeyExchange<'a> {
    const NAME: &'static str = "ServerKeyExchange";

    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        if reader.u8().in_message(Self::NAME)? != NAMED_CURVE {
            return Err(Error::IllegalParameter("curve type"));
        }
        let group = reader.u16().in_message(Self::NAME)?;
        let public_key = reader.vec8().in_message(Self::NAME)?;
        let params = body.get(..reader.position()).unwrap_or_default();
        let signed = Signed::parse(reader.take_rest(), Self::NAME)?;
        Ok(Self {
            group,
            public_key,
            params,
            signed,
        })
    }

    /// Writes the part that is signed.
    pub(crate) fn write_params(out: &mut Vec<u8>, group: u16, public_key: &[u8]) {
        out.put_u8(NAMED_CURVE);
        out.put_u16(group);
        out.put_vec8(|out| out.put(public_key));
    }

    pub(crate) fn write(out: &mut Vec<u8>, params: &[u8], signed: Signed<'_>) {
        out.put(params);
        signed.write(out);
    }
}

/// ClientKeyExchange: the client's ephemeral public key (RFC 8422 section 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientKeyExchange<'a> {
    pub(crate) public_key: &'a [u8],
}

impl<'a> ClientKeyExchange<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        const NAME: &str = "ClientKeyExchange";
        let mut reader = Reader::new(body);
        let public_key = reader.vec8().in_message(NAME)?;
        expect_end(&reader, NAME)?;
        Ok(Self { public_key })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.put_vec8(|out| out.put(self.public_key));
    }
}

/// The body of Finished in version 1.2 (RFC 5246 section 7.4.9).
pub(crate) fn verify_data(body: &[u8]) -> Result<&[u8; VERIFY_DATA_LEN], Error> {
    body.try_into().map_err(|_| Error::Decode("Finished"))
}

pub(crate) const VERIFY_DATA_LEN: usize = 12;
const NAMED_CURVE: u8 = 3;
