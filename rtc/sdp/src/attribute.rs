use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::{Direction, ErrorKind, ParseError};

/// One `a=` line: a name, and a value where there is a colon (RFC 8866 section 5.13).
///
/// Both are kept as they were written, known or not, so that what was parsed can be written back
/// byte for byte. The typed views (all that implement [`AttributeValue`]) are made from it on
/// demand with [`parse`](Self::parse) and converted to it with `From`.
#[derive(Debug, Clone, Eq)]
pub struct Attribute {
    /// What stands before the colon.
    pub name: String,
    /// What stands behind the colon; `None` for a property attribute such as `a=rtcp-mux`.
    pub value: Option<String>,
    /// The line it was parsed from, 0 if from none. No part of what the attribute is.
    line: u32,
}

/// A typed view of the value of one attribute.
pub trait AttributeValue: FromStr<Err = ErrorKind> + fmt::Display {
    /// The attribute's name.
    const NAME: &'static str;
}

impl Attribute {
    /// `a=<name>:<value>`.
    ///
    /// Characters that would end the line are left out when it is written.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: Some(value.into()),
            line: 0,
        }
    }

    /// `a=<name>`, a property attribute.
    pub fn flag(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: None,
            line: 0,
        }
    }

    /// Whether this is the attribute of that name. Names are case-sensitive; spaces that stand
    /// behind one are not part of it.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.name.trim_ascii_end() == name
    }

    /// The value, empty where there is none.
    pub fn value(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    /// The line it was parsed from, counted from 1; `None` if it was built in this program.
    pub fn line(&self) -> Option<usize> {
        usize::try_from(self.line).ok().filter(|&line| line > 0)
    }

    /// Reads the value as `T`, whatever the attribute's name.
    ///
    /// # Errors
    /// The value is not one of `T`; the error has the attribute's line.
    pub fn parse<T: AttributeValue>(&self) -> Result<T, ParseError> {
        self.value()
            .parse()
            .map_err(|kind: ErrorKind| kind.at(self.line().unwrap_or_default()))
    }

    /// Reads what stands behind `a=`.
    pub(crate) fn from_line(text: &str, line: usize) -> Result<Self, ErrorKind> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.trim_ascii().is_empty() {
            return Err(ErrorKind::Missing("attribute name"));
        }
        Ok(Self {
            name: name.to_owned(),
            value,
            line: u32::try_from(line).unwrap_or_default(),
        })
    }
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value
    }
}

impl Hash for Attribute {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.value.hash(state);
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.value {
            Some(value) => write!(f, ":{value}"),
            None => Ok(()),
        }
    }
}

impl<T: AttributeValue> From<T> for Attribute {
    fn from(value: T) -> Self {
        Self::new(T::NAME, value.to_string())
    }
}

impl From<Direction> for Attribute {
    fn from(direction: Direction) -> Self {
        Self::flag(direction.as_str())
    }
}

/// The value of the first attribute of that name.
pub(crate) fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.is(name))
}

/// The last direction attribute: RFC 8866 section 6.7 allows one, and the last one wins in browsers.
pub(crate) fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes
        .iter()
        .rev()
        .find_map(|attribute| attribute.name.trim_ascii_end().parse().ok())
}

/// Gives a type with `attributes: Vec<Attribute>` the methods that read and build them.
macro_rules! attribute_accessors {
    ($type:ty) => {
        impl $type {
            /// The value of the first attribute of that name, as written; `""` for a property
            /// attribute.
            pub fn attribute(&self, name: &str) -> Option<&str> {
                crate::attribute::find(&self.attributes, name).map(crate::Attribute::value)
            }

            /// Whether there is an attribute of that name.
            pub fn has(&self, name: &str) -> bool {
                crate::attribute::find(&self.attributes, name).is_some()
            }

            /// The values of all attributes of that name, in their order.
            pub fn attributes_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
                self.attributes
                    .iter()
                    .filter(move |attribute| attribute.is(name))
                    .map(crate::Attribute::value)
            }

            /// The typed view of the first attribute of `T`'s name.
            ///
            /// # Errors
            /// There is one, and its value is malformed.
            pub fn get<T: crate::AttributeValue>(&self) -> Result<Option<T>, crate::ParseError> {
                crate::attribute::find(&self.attributes, T::NAME)
                    .map(crate::Attribute::parse)
                    .transpose()
            }

            /// The typed views of all attributes of `T`'s name, in their order; an error for each
            /// that is malformed.
            pub fn all<T: crate::AttributeValue>(
                &self,
            ) -> impl Iterator<Item = Result<T, crate::ParseError>> {
                self.attributes
                    .iter()
                    .filter(|attribute| attribute.is(T::NAME))
                    .map(crate::Attribute::parse)
            }

            /// The direction attribute at this level, `None` if there is none.
            pub fn direction(&self) -> Option<crate::Direction> {
                crate::attribute::direction(&self.attributes)
            }

            /// Appends an attribute, or a typed view as one.
            pub fn push(&mut self, attribute: impl Into<crate::Attribute>) {
                self.attributes.push(attribute.into());
            }

            /// Appends an attribute, or a typed view as one, and gives the whole back.
            #[must_use]
            pub fn with(mut self, attribute: impl Into<crate::Attribute>) -> Self {
                self.push(attribute);
                self
            }

            /// Puts an attribute in the place of the first of its name and drops the others of that
            /// name; appends it if there was none.
            pub fn set(&mut self, attribute: impl Into<crate::Attribute>) {
                let attribute = attribute.into();
                let place = self
                    .attributes
                    .iter()
                    .position(|old| old.is(&attribute.name));
                self.remove(&attribute.name);
                let place = place.unwrap_or(self.attributes.len());
                self.attributes.insert(place, attribute);
            }

            /// Drops all attributes of that name.
            pub fn remove(&mut self, name: &str) {
                self.attributes.retain(|attribute| !attribute.is(name));
            }
        }
    };
}
pub(crate) use attribute_accessors;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MediaDescription, Mid, SctpPort};

    #[test]
    fn name_and_value_are_kept_as_written() {
        for text in [
            "rtcp-mux",
            "x:",
            "x: a:b ",
            "msid-semantic: WMS",
            "rtcp-mux ",
        ] {
            let attribute = Attribute::from_line(text, 7).unwrap();
            assert_eq!(attribute.to_string(), text);
            assert_eq!(attribute.line(), Some(7));
        }
        assert!(Attribute::from_line("rtcp-mux ", 1).unwrap().is("rtcp-mux"));
        assert!(
            !Attribute::from_line("rtcp-mux-only", 1)
                .unwrap()
                .is("rtcp-mux")
        );
        for text in ["", ":", ":x", " :x"] {
            assert_eq!(
                Attribute::from_line(text, 1),
                Err(ErrorKind::Missing("attribute name"))
            );
        }
    }

    #[test]
    fn the_line_is_no_part_of_the_identity() {
        let parsed = Attribute::from_line("mid:0", 9).unwrap();
        assert_eq!(parsed, Attribute::from(Mid("0".into())));
        assert_eq!(parsed, Attribute::new("mid", "0"));
        assert_ne!(parsed, Attribute::flag("mid"));
    }

    #[test]
    fn a_malformed_value_is_reported_with_its_line() {
        let attribute = Attribute::from_line("sctp-port:65536", 12).unwrap();
        let error = attribute.parse::<SctpPort>().unwrap_err();
        assert_eq!(error, ErrorKind::OutOfRange("port").at(12));
        assert_eq!(error.to_string(), "line 12: the port is out of range");
        assert_eq!(
            Attribute::new("sctp-port", "x")
                .parse::<SctpPort>()
                .unwrap_err()
                .line,
            0
        );
    }

    #[test]
    fn attributes_are_set_in_place_and_removed() {
        let mut media = MediaDescription::new("audio", 9, "UDP/TLS/RTP/SAVPF", ["0"])
            .with(Mid("0".into()))
            .with(Attribute::flag("rtcp-mux"))
            .with(Mid("1".into()));
        media.set(Mid("2".into()));
        assert_eq!(
            media.attributes,
            [Attribute::new("mid", "2"), Attribute::flag("rtcp-mux")]
        );
        media.set(Direction::Inactive);
        assert_eq!(media.direction(), Some(Direction::Inactive));
        media.remove("mid");
        assert_eq!(media.mid(), None);
        assert!(media.has("rtcp-mux") && !media.has("mid"));
    }
}
