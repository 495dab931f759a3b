//! Key agreement.

use super::x25519::{ALICE_PRIVATE, BASE, x25519};
use super::{Checks, ConformanceError, flipped, hex, rng};
use crate::{CryptoError, CryptoProvider, KeyExchange, KeyExchangeGroup, NamedGroup};

pub(super) fn run(provider: &CryptoProvider, checks: Checks) -> Result<(), ConformanceError> {
    for group in provider.groups {
        both_sides_agree(*group, *group, checks)?;
        keys_are_ephemeral(*group, checks)?;
        base_point_gives_public_key(*group, checks)?;
        if group.group() == NamedGroup::X25519 {
            x25519_agrees_with_rfc_7748(*group, checks)?;
        }
        for (what, invalid) in invalid_values(group.group()) {
            let refused = start(*group, checks)?.complete(&invalid).err()
                == Some(CryptoError::InvalidPublicValue);
            checks.expect(group.group(), what, refused)?;
        }
    }
    Ok(())
}

pub(super) fn run_between(
    from: &CryptoProvider,
    to: &CryptoProvider,
    checks: Checks,
) -> Result<(), ConformanceError> {
    for group in from.groups {
        if let Some(other) = to.group(group.group()) {
            both_sides_agree(*group, other, checks)?;
        }
    }
    Ok(())
}

fn start(
    group: &dyn KeyExchangeGroup,
    checks: Checks,
) -> Result<Box<dyn KeyExchange>, ConformanceError> {
    checks.value(group.group(), "makes a key pair", group.start(&mut rng()))
}

fn both_sides_agree(
    a: &dyn KeyExchangeGroup,
    b: &dyn KeyExchangeGroup,
    checks: Checks,
) -> Result<(), ConformanceError> {
    let group = a.group();
    let (public_len, secret_len) = match group {
        NamedGroup::X25519 => (32, 32),
        NamedGroup::Secp256r1 => (65, 32),
        NamedGroup::Secp384r1 => (97, 48),
    };
    for _ in 0..4 {
        let (a, b) = (start(a, checks)?, start(b, checks)?);
        let (public_a, public_b) = (a.public_key().to_vec(), b.public_key().to_vec());
        let well_formed = public_a.len() == public_len
            && (group == NamedGroup::X25519 || public_a.first() == Some(&4));
        checks.expect(group, "public value has its TLS form", well_formed)?;
        let secret_a = checks.value(group, "completes", a.complete(&public_b))?;
        let secret_b = checks.value(group, "completes", b.complete(&public_a))?;
        let agree = secret_a.as_ref() == secret_b.as_ref();
        checks.expect(group, "both sides agree", agree)?;
        let whole = secret_a.as_ref().len() == secret_len;
        checks.expect(group, "secret keeps its full length", whole)?;
    }
    Ok(())
}

fn keys_are_ephemeral(
    group: &dyn KeyExchangeGroup,
    checks: Checks,
) -> Result<(), ConformanceError> {
    let (a, mut other) = (start(group, checks)?, rng());
    let _ = other.u64();
    let b = checks.value(group.group(), "makes a key pair", group.start(&mut other))?;
    checks.expect(
        group.group(),
        "two key pairs differ",
        a.public_key() != b.public_key(),
    )
}

/// A peer that sends the base point makes our own public value the secret.
fn base_point_gives_public_key(
    group: &dyn KeyExchangeGroup,
    checks: Checks,
) -> Result<(), ConformanceError> {
    let exchange = start(group, checks)?;
    let public = exchange.public_key().to_vec();
    let (base, expected) = match group.group() {
        NamedGroup::X25519 => (BASE.to_vec(), public.as_slice()),
        NamedGroup::Secp256r1 => (hex(P256_BASE), public.get(1..33).unwrap_or_default()),
        NamedGroup::Secp384r1 => (hex(P384_BASE), public.get(1..49).unwrap_or_default()),
    };
    let secret = checks.value(
        group.group(),
        "takes the base point",
        exchange.complete(&base),
    )?;
    checks.expect(
        group.group(),
        "secret is the X coordinate",
        secret.as_ref() == expected,
    )
}

/// Plays the peer with Alice's key of RFC 7748 section 6.1 and arithmetic of its own.
fn x25519_agrees_with_rfc_7748(
    group: &dyn KeyExchangeGroup,
    checks: Checks,
) -> Result<(), ConformanceError> {
    let mut public = x25519(&ALICE_PRIVATE, &BASE);
    let exchange = start(group, checks)?;
    let peer: [u8; 32] = exchange.public_key().try_into().unwrap_or_default();
    let expected = x25519(&ALICE_PRIVATE, &peer);
    // The highest bit does not count (RFC 7748 section 5).
    let [.., last] = &mut public;
    *last |= 0x80;
    let secret = checks.value(group.group(), "completes", exchange.complete(&public))?;
    checks.expect(
        group.group(),
        "secret is that of RFC 7748",
        secret.as_ref() == expected,
    )
}

fn invalid_values(group: NamedGroup) -> Vec<(&'static str, Vec<u8>)> {
    let base = match group {
        NamedGroup::X25519 => {
            let mut values: Vec<_> = X25519_LOW_ORDER
                .iter()
                .map(|text| ("refuses a point of low order", hex(text)))
                .collect();
            for length in [0, 31, 33, 65] {
                values.push(("refuses a value of wrong length", vec![9; length]));
            }
            return values;
        }
        NamedGroup::Secp256r1 => hex(P256_BASE),
        NamedGroup::Secp384r1 => hex(P384_BASE),
    };
    let field = base.len() / 2;
    let x = base.get(1..=field).unwrap_or_default();
    let y = base.get(field + 1..).unwrap_or_default();
    let zero = vec![0; field];
    let high = vec![0xff; field];
    let point = |form: u8, x: &[u8], y: &[u8]| [&[form], x, y].concat();
    vec![
        (
            "refuses a point off the curve",
            flipped(&base, base.len() - 1),
        ),
        ("refuses a point off the curve", point(4, y, x)),
        ("refuses a point off the curve", point(4, &zero, &zero)),
        ("refuses a coordinate beyond the field", point(4, &high, y)),
        ("refuses a coordinate beyond the field", point(4, x, &high)),
        ("refuses the point at infinity", vec![0]),
        ("refuses an empty value", Vec::new()),
        ("refuses a compressed point", point(3, x, &[])),
        ("refuses a compressed point", point(2, x, &[])),
        ("refuses a hybrid point", point(7, x, y)),
        ("refuses a hybrid point", point(6, x, y)),
        (
            "refuses a truncated point",
            point(4, x, y.get(1..).unwrap_or_default()),
        ),
        (
            "refuses an overlong point",
            point(4, x, &[y, &[0]].concat()),
        ),
    ]
}

/// SEC 2 section 2.4.2.
const P256_BASE: &str = "04
    6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296
    4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

/// SEC 2 section 2.5.1.
const P384_BASE: &str = "04
    aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a38
    5502f25dbf55296c3a545e3872760ab7
    3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c0
    0a60b1ce1d7e819d7a431d7c90ea0e5f";

/// Zero, one, the two of order 8, and p - 1, p and p + 1.
const X25519_LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];
