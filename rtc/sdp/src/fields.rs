//! Reading the fields of one line.

use std::str::FromStr;

use crate::ErrorKind;

/// The fields of a value, divided by one or more spaces.
///
/// The grammar has exactly one space everywhere, yet doubled and trailing spaces are found in the
/// field and no browser minds them.
pub(crate) struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self(text.trim_matches(' '))
    }

    pub(crate) fn next(&mut self) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        let (field, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest.trim_start_matches(' ');
        Some(field)
    }

    pub(crate) fn required(&mut self, what: &'static str) -> Result<&'a str, ErrorKind> {
        self.next().ok_or(ErrorKind::Missing(what))
    }

    /// All that was not read yet, without spaces at its ends.
    pub(crate) fn rest(self) -> &'a str {
        self.0
    }

    pub(crate) fn end(self) -> Result<(), ErrorKind> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ErrorKind::TrailingText)
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        Fields::next(self)
    }
}

/// A decimal number: digits alone, no sign.
pub(crate) fn number<T: FromStr>(text: &str, what: &'static str) -> Result<T, ErrorKind> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ErrorKind::Malformed(what));
    }
    text.parse().map_err(|_| ErrorKind::OutOfRange(what))
}

/// An RTP payload type, 0 to 127 (RFC 3550 section 5.1).
pub(crate) fn payload_type(text: &str) -> Result<u8, ErrorKind> {
    match number(text, "payload type")? {
        value @ 0..=127 => Ok(value),
        _ => Err(ErrorKind::OutOfRange("payload type")),
    }
}

/// Whether a text is a `token` of RFC 8866 section 9, as names and tags have to be.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_char)
}

/// A `token` of RFC 8866 section 9.
pub(crate) fn token<'a>(text: &'a str, what: &'static str) -> Result<&'a str, ErrorKind> {
    if text.is_empty() {
        return Err(ErrorKind::Missing(what));
    }
    if text.bytes().all(is_token_char) {
        Ok(text)
    } else {
        Err(ErrorKind::Malformed(what))
    }
}

fn is_token_char(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x27 | 0x2a..=0x2b | 0x2d..=0x2e | 0x30..=0x39 | 0x41..=0x5a | 0x5e..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_divided_by_any_number_of_spaces() {
        let mut fields = Fields::new(" a  b c ");
        assert_eq!(fields.required("x"), Ok("a"));
        assert_eq!(fields.required("x"), Ok("b"));
        assert_eq!(fields.rest(), "c");
        assert_eq!(Fields::new(" ").required("x"), Err(ErrorKind::Missing("x")));
        assert_eq!(Fields::new("a").end(), Err(ErrorKind::TrailingText));
    }

    #[test]
    fn numbers_have_no_sign_and_fit_their_type() {
        assert_eq!(number::<u16>("65535", "port"), Ok(65535));
        assert_eq!(
            number::<u16>("65536", "port"),
            Err(ErrorKind::OutOfRange("port"))
        );
        for text in ["", "+1", "-1", "1 ", "0x1", "٣"] {
            assert_eq!(
                number::<u16>(text, "port"),
                Err(ErrorKind::Malformed("port"))
            );
        }
        assert_eq!(payload_type("127"), Ok(127));
        assert!(payload_type("128").is_err());
        assert!(payload_type("256").is_err());
    }

    #[test]
    fn a_token_excludes_separators() {
        assert_eq!(token("{a-b.c}~", "mid"), Ok("{a-b.c}~"));
        for text in ["a b", "a:b", "a/b", "a,b", "é", "a\u{7f}"] {
            assert_eq!(token(text, "mid"), Err(ErrorKind::Malformed("mid")));
        }
    }
}
