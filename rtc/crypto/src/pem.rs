//! Textual encoding of certificates and keys (RFC 7468).

use zeroize::{Zeroize, Zeroizing};

use crate::CertificateError;

/// One block that was read.
pub(crate) struct Block<'a> {
    /// What stands after `BEGIN`.
    pub(crate) label: &'a str,
    /// The content, wiped when dropped: it may be a private key.
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// Appends one block.
pub(crate) fn write(text: &mut String, label: &str, der: &[u8]) {
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for line in der.chunks(BYTES_PER_LINE) {
        for group in line.chunks(3) {
            write_group(text, group);
        }
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
}

/// Reads every block with its label; text between blocks is skipped.
pub(crate) fn read(text: &str) -> Result<Vec<Block<'_>>, CertificateError> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = boundary(line, "-----BEGIN ") else {
            continue;
        };
        let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
        loop {
            let line = lines
                .next()
                .ok_or(CertificateError::Pem("a block has no end"))?;
            match boundary(line, "-----END ") {
                Some(end) if end == label => break,
                Some(_) => return Err(CertificateError::Pem("a block ends with another label")),
                None => base64.push_str(line),
            }
        }
        let der = decode(&base64).ok_or(CertificateError::Pem("a block is not valid base64"))?;
        blocks.push(Block { label, der });
    }
    Ok(blocks)
}

fn boundary<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.strip_prefix(begin)?.strip_suffix("-----")
}

fn write_group(text: &mut String, group: &[u8]) {
    let mut bytes = group.iter().copied();
    let mut next = || u32::from(bytes.next().unwrap_or(0));
    let bits = next() << 16 | next() << 8 | next();
    for position in 0..4 {
        let value = (bits >> (18 - 6 * position)) as u8 & 0x3f;
        text.push(if position > group.len() {
            '='
        } else {
            character(value)
        });
    }
}

/// Decodes base64 without white space; the padding has to be whole.
fn decode(base64: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (groups, rest) = base64.as_bytes().as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(groups.len() * 3));
    for (index, group) in groups.iter().enumerate() {
        let padding = match group {
            [_, _, b'=', b'='] => 2,
            [_, _, _, b'='] => 1,
            _ => 0,
        };
        if padding > 0 && index + 1 < groups.len() {
            return None;
        }
        let mut bits = 0;
        for &character in group.iter().take(4 - padding) {
            bits = bits << 6 | u32::from(value(character)?);
        }
        bits <<= 6 * padding;
        let mut bytes = bits.to_be_bytes();
        out.extend(bytes.iter().skip(1).take(3 - padding));
        bytes.zeroize();
    }
    Some(out)
}

fn character(value: u8) -> char {
    char::from(match value {
        0..=25 => b'A' + value,
        26..=51 => b'a' + (value - 26),
        52..=61 => b'0' + (value - 52),
        62 => b'+',
        _ => b'/',
    })
}

fn value(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// 64 characters a line (RFC 7468 section 2).
const BYTES_PER_LINE: usize = 48;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(base64: &str) -> String {
        format!("-----BEGIN X-----\n{base64}\n-----END X-----\n")
    }

    #[test]
    fn base64_agrees_with_rfc_4648() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, base64) in cases {
            let mut text = String::new();
            write(&mut text, "X", plain.as_bytes());
            let without_breaks = |text: &str| text.replace('\n', "");
            assert_eq!(without_breaks(&text), without_breaks(&block(base64)));
            let text = block(base64);
            let blocks = read(&text).unwrap();
            assert_eq!(blocks.len(), 1);
            assert_eq!(blocks[0].der.as_slice(), plain.as_bytes());
        }
    }

    #[test]
    fn malformed_blocks_are_refused() {
        for base64 in [
            "Zg=", "Zg", "=Zg=", "Zg==Zg==", "Z-==", "Zm9v====", "Zg=A", "é",
        ] {
            assert!(read(&block(base64)).is_err(), "{base64}");
        }
        assert!(read("-----BEGIN X-----\nZg==\n").is_err());
        assert!(read("-----BEGIN X-----\nZg==\n-----END Y-----\n").is_err());
        assert_eq!(read("no block").unwrap().len(), 0);
    }

    #[test]
    fn text_around_blocks_and_carriage_returns_are_skipped() {
        let text = format!(
            "comment\r\n{}\r\nmore",
            block("Zm9v\r\nYmFy").replace('\n', "\r\n")
        );
        let blocks = read(&text).unwrap();
        assert_eq!(blocks[0].label, "X");
        assert_eq!(blocks[0].der.as_slice(), b"foobar");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(a: Vec<u8>, b: Vec<u8>) {
            let mut text = String::new();
            write(&mut text, "PRIVATE KEY", &a);
            write(&mut text, "CERTIFICATE", &b);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            let blocks = read(&text).unwrap();
            prop_assert_eq!(blocks.len(), 2);
            prop_assert_eq!(blocks[0].label, "PRIVATE KEY");
            prop_assert_eq!(&*blocks[0].der, &a);
            prop_assert_eq!(&*blocks[1].der, &b);
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = read(&text);
            let _ = read(&block(&text));
        }
    }
}
