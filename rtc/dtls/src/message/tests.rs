use proptest::prelude::*;

use super::*;
use crate::extension::{Extensions, UseSrtp};

fn bytes(range: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), range)
}

/// The content of a list of code points.
fn codes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u16>(), 1..20).prop_map(code_bytes)
}

/// The content of the extensions, to borrow from.
#[derive(Clone, Debug)]
struct Owned {
    groups: Option<Vec<u8>>,
    point_formats: Option<Vec<u8>>,
    schemes: Option<Vec<u8>>,
    use_srtp: Option<(Vec<u8>, Vec<u8>)>,
    extended_master_secret: bool,
    versions: Option<Vec<u8>>,
    renegotiation_info: Option<Vec<u8>>,
}

impl Owned {
    fn borrow(&self) -> Extensions<'_> {
        Extensions {
            groups: self.groups.as_deref().map(Codes),
            point_formats: self.point_formats.as_deref(),
            signature_schemes: self.schemes.as_deref().map(Codes),
            use_srtp: self.use_srtp.as_ref().map(|(profiles, mki)| UseSrtp {
                profiles: Codes(profiles),
                mki,
            }),
            extended_master_secret: self.extended_master_secret,
            supported_versions: self.versions.as_deref(),
            renegotiation_info: self.renegotiation_info.as_deref(),
            unknown: None,
        }
    }
}

fn extensions() -> impl Strategy<Value = Owned> {
    (
        prop::option::of(codes()),
        prop::option::of(bytes(0..5)),
        prop::option::of(codes()),
        prop::option::of((codes(), bytes(0..8))),
        any::<bool>(),
        prop::option::of(bytes(0..9)),
        prop::option::of(bytes(0..30)),
    )
        .prop_map(
            |(
                groups,
                point_formats,
                schemes,
                use_srtp,
                extended_master_secret,
                versions,
                renegotiation_info,
            )| Owned {
                groups,
                point_formats,
                schemes,
                use_srtp,
                extended_master_secret,
                versions,
                renegotiation_info,
            },
        )
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

proptest! {
    #[test]
    fn client_hello_reads_as_written(
        version: u16,
        random: [u8; 32],
        session_id in bytes(0..33),
        cookie in bytes(0..256),
        suites in codes(),
        compression in bytes(1..4),
        extensions in extensions(),
    ) {
        let hello = ClientHello {
            version,
            random,
            session_id: &session_id,
            cookie: &cookie,
            cipher_suites: Codes(&suites),
            compression_methods: &compression,
            extensions: extensions.borrow(),
            extension_block: &[],
        };
        let wire = written(|out| hello.write(out));
        let parsed = ClientHello::parse(&wire).unwrap();
        prop_assert!(wire.ends_with(parsed.extension_block));
        prop_assert_eq!(ClientHello { extension_block: &[], ..parsed }, hello);
    }

    #[test]
    fn server_hello_reads_as_written(
        version: u16,
        random: [u8; 32],
        session_id in bytes(0..33),
        cipher_suite: u16,
        compression_method: u8,
        extensions in extensions(),
    ) {
        let hello = ServerHello {
            version,
            random,
            session_id: &session_id,
            cipher_suite,
            compression_method,
            extensions: extensions.borrow(),
        };
        let wire = written(|out| hello.write(out));
        prop_assert_eq!(ServerHello::parse(&wire), Ok(hello));
    }

    #[test]
    fn the_other_messages_read_as_written(
        version: u16,
        group: u16,
        scheme: u16,
        short in bytes(0..256),
        long in bytes(1..1500),
        list in codes(),
    ) {
        let request = HelloVerifyRequest { version, cookie: &short };
        let wire = written(|out| request.write(out));
        prop_assert_eq!(HelloVerifyRequest::parse(&wire), Ok(request));

        for chain in [CertificateChain { leaf: Some(&long) }, CertificateChain { leaf: None }] {
            let wire = written(|out| chain.write(out));
            prop_assert_eq!(CertificateChain::parse(&wire), Ok(chain));
        }

        let request =
            CertificateRequest { certificate_types: &short, signature_schemes: Codes(&list) };
        let wire = written(|out| request.write(out));
        prop_assert_eq!(CertificateRequest::parse(&wire), Ok(request));

        let signed = Signed { scheme, signature: &long };
        let wire = written(|out| signed.write(out));
        prop_assert_eq!(Signed::parse(&wire, "CertificateVerify"), Ok(signed));

        let params = written(|out| ServerKeyExchange::write_params(out, group, &short));
        let wire = written(|out| ServerKeyExchange::write(out, &params, signed));
        let exchange = ServerKeyExchange { group, public_key: &short, params: &params, signed };
        prop_assert_eq!(ServerKeyExchange::parse(&wire), Ok(exchange));

        let share = ClientKeyExchange { public_key: &short };
        let wire = written(|out| share.write(out));
        prop_assert_eq!(ClientKeyExchange::parse(&wire), Ok(share));
    }

    #[test]
    fn fragments_read_as_written(
        kind: u8, message_seq: u16, data in bytes(1..300), before in 0u32..1000, after in 0u32..1000,
    ) {
        let length = before + data.len() as u32 + after;
        let fragment =
            Fragment { kind, length, message_seq, offset: before, data: &data, raw: &[] };
        let mut wire = written(|out| fragment.write(out));
        let raw = wire.clone();
        wire.extend_from_slice(b"next");
        let mut reader = Reader::new(&wire);
        prop_assert_eq!(Fragment::parse(&mut reader), Ok(Fragment { raw: &raw, ..fragment }));
        prop_assert_eq!(reader.rest(), b"next");
        let whole = written(|out| write_message(out, kind, message_seq, |out| out.put(&data)));
        prop_assert!(Fragment::parse(&mut Reader::new(&whole)).unwrap().is_whole());
    }

    #[test]
    fn no_parser_panics(mut input in bytes(0..400), plausible: bool) {
        if plausible && input.len() > 40 {
            // Small lengths reach deeper.
            input.iter_mut().skip(34).for_each(|byte| *byte &= 0x0f);
        }
        let _ = ClientHello::parse(&input);
        let _ = ServerHello::parse(&input);
        let _ = HelloVerifyRequest::parse(&input);
        let _ = CertificateChain::parse(&input);
        let _ = CertificateRequest::parse(&input);
        let _ = Signed::parse(&input, "CertificateVerify");
        let _ = ServerKeyExchange::parse(&input);
        let _ = ClientKeyExchange::parse(&input);
        let _ = verify_data(&input);
        let _ = Extensions::parse(&input, "ClientHello");
        let mut reader = Reader::new(&input);
        while Fragment::parse(&mut reader).is_ok() {}
    }
}

#[test]
fn extensions_that_are_not_known_are_read_over() {
    // GREASE with and without content, key_share, then one that is known.
    let block = hex::decode("1a1a00002a2a00010000330003aabbcc00170000").unwrap();
    let extensions = Extensions::parse(&block, "ClientHello").unwrap();
    assert!(extensions.extended_master_secret);
    assert_eq!(extensions.unknown, Some(0x1a1a));
}

#[test]
fn an_extension_must_not_come_twice() {
    let block = hex::decode("0017000000170000").unwrap();
    let refused = Extensions::parse(&block, "ClientHello");
    assert!(matches!(refused, Err(Error::IllegalParameter(_))));
    let many: Vec<u8> = (0x1000..0x1100u16)
        .flat_map(|kind| [(kind >> 8) as u8, kind as u8, 0, 0])
        .collect();
    assert_eq!(
        Extensions::parse(&many, "ClientHello"),
        Err(Error::Decode("ClientHello"))
    );
}

#[test]
fn known_extensions_are_to_be_well_formed() {
    for malformed in [
        "000e00050003000100", // use_srtp with half a profile
        "000e000400020001",   // use_srtp without MKI
        "000a00020000",       // no group at all
        "000d00030002ff",     // list beyond the extension
        "00170001ff",         // content where there is none
        "ff010002ff00",       // renegotiation_info beyond the extension
        "000b00020200",       // point formats beyond the extension
    ] {
        let block = hex::decode(malformed).unwrap();
        let refused = Extensions::parse(&block, "ClientHello");
        assert_eq!(refused, Err(Error::Decode("ClientHello")), "{malformed}");
    }
}
