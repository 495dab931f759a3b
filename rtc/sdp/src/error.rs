/// What was wrong in a text, and on which line of it.
///
/// Matches the W3C `sdp-syntax-error`, whose `sdpLineNumber` is [`line`](Self::line).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct ParseError {
    /// The line, counted from 1. It is 0 when the attribute at fault was built in this program and
    /// stands on no line.
    pub line: usize,
    /// What was wrong there.
    pub kind: ErrorKind,
}

/// What can be wrong with a session description or with the value of an attribute.
///
/// The `&'static str` in some variants is the name of the field at fault, as the RFCs call it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is longer than [`MAX_LENGTH`](crate::MAX_LENGTH).
    #[error("the description is too long")]
    TooLong,
    /// The line is longer than [`MAX_LINE_LENGTH`](crate::MAX_LINE_LENGTH).
    #[error("the line is too long")]
    LineTooLong,
    /// There are more than [`MAX_MEDIA`](crate::MAX_MEDIA) media sections.
    #[error("too many media sections")]
    TooManyMedia,
    /// The line contains a NUL or a carriage return (RFC 8866 section 9, `byte-string`).
    #[error("the line contains a control character that is not allowed")]
    ForbiddenCharacter,
    /// The line does not begin with one letter and `=`.
    #[error("not a line of the form <type>=<value>")]
    NotALine,
    /// There is no such line type (RFC 8866 section 5 has the description rejected).
    #[error("unknown line type {0:?}")]
    UnknownLine(char),
    /// A line of this type may not stand, or not stand again, at this place.
    #[error("a line of type {0:?} may not stand here")]
    OutOfOrder(char),
    /// A line of this type had to come here.
    #[error("a line of type {0:?} is missing")]
    MissingLine(char),
    /// The field is missing.
    #[error("the {0} is missing")]
    Missing(&'static str),
    /// Something follows the last field.
    #[error("unexpected text after the last field")]
    TrailingText,
    /// The field is not made of the characters it may have.
    #[error("the {0} is malformed")]
    Malformed(&'static str),
    /// The number or the length of the field is outside its range.
    #[error("the {0} is out of range")]
    OutOfRange(&'static str),
    /// The field has none of the values that are defined for it.
    #[error("the {0} is unknown")]
    Unknown(&'static str),
}

impl ErrorKind {
    pub(crate) fn at(self, line: usize) -> ParseError {
        ParseError { line, kind: self }
    }
}
