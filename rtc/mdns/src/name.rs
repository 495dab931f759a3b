use std::fmt;
use std::str::FromStr;

use rtc_shared::Rng;
use thiserror::Error;

/// A name of one label under `.local`, in lower case.
///
/// Names of more labels are of services or of other uses, and no candidate may have one.
///
/// ```
/// use rtc_mdns::Name;
///
/// let name: Name = "1F4712DB-EA17-4BCF-A596-105139DFD8BF.local".parse()?;
/// assert_eq!(name.as_str(), "1f4712db-ea17-4bcf-a596-105139dfd8bf.local");
/// assert!("host.example.local".parse::<Name>().is_err());
/// assert!("host.example".parse::<Name>().is_err());
/// # Ok::<(), rtc_mdns::InvalidName>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// ASCII, zero behind the end.
    text: [u8; MAX_LEN],
    length: usize,
}

/// Not a name of one label under `.local`, or of characters that host names do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a name of one label under .local")]
pub struct InvalidName;

impl Name {
    /// A name that nobody else has: a version 4 UUID (RFC 9562 section 5.4) under `.local`.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        let number = u128::from_be_bytes(rng.array());
        let number = number & !(0xf << 76) | 0x4 << 76;
        let number = number & !(0b11 << 62) | 0b10 << 62;
        let mut label = [b'-'; 36];
        let places = (0..36).filter(|place| !matches!(place, 8 | 13 | 18 | 23));
        for (digit, place) in places.enumerate() {
            let value = (number >> (124 - 4 * digit)) as u32 & 0xf;
            if let (Some(to), Some(digit)) = (label.get_mut(place), char::from_digit(value, 16)) {
                *to = digit as u8;
            }
        }
        Self::join(&label)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..self.length).unwrap_or_default();
        str::from_utf8(text).unwrap_or_default()
    }

    /// The name of a label as it is on the wire; `None` for characters beyond those of host names.
    pub(crate) fn from_label(label: &[u8]) -> Option<Self> {
        let valid = (1..=MAX_LABEL).contains(&label.len())
            && label
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        valid.then(|| Self::join(label))
    }

    /// The label before `.local`.
    pub(crate) fn label(&self) -> &[u8] {
        let length = self.length.saturating_sub(SUFFIX.len());
        self.text.get(..length).unwrap_or_default()
    }

    fn join(label: &[u8]) -> Self {
        let mut text = [0; MAX_LEN];
        for (to, from) in text.iter_mut().zip(label.iter().chain(SUFFIX)) {
            *to = from.to_ascii_lowercase();
        }
        Self {
            text,
            length: label.len() + SUFFIX.len(),
        }
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('.') {
            Some((label, domain)) if domain.eq_ignore_ascii_case("local") => {
                Self::from_label(label.as_bytes()).ok_or(InvalidName)
            }
            _ => Err(InvalidName),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const SUFFIX: &[u8] = b".local";
/// Longest label (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;
const MAX_LEN: usize = MAX_LABEL + SUFFIX.len();

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn random_names_are_version_4_uuids() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let name = Name::random(&mut rng);
            let uuid = name.as_str().strip_suffix(".local").unwrap();
            let parts: Vec<_> = uuid.split('-').collect();
            assert_eq!(
                parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
                [8, 4, 4, 4, 12]
            );
            let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            assert!(parts.iter().all(|part| part.chars().all(hex)));
            assert!(parts[2].starts_with('4'));
            assert!(parts[3].starts_with(['8', '9', 'a', 'b']));
            assert_eq!(name.as_str().parse(), Ok(name));
            assert!(seen.insert(name));
        }
    }

    #[test]
    fn only_one_label_under_local_is_a_name() {
        let long = format!("{}.local", "a".repeat(64));
        for wrong in [
            "",
            "local",
            ".local",
            "a.local.",
            "a.b.local",
            "a.locals",
            "a.example",
            "a b.local",
            "ä.local",
            "a",
            &long,
        ] {
            assert_eq!(wrong.parse::<Name>(), Err(InvalidName), "{wrong}");
        }
        let longest = format!("{}.local", "a".repeat(63));
        assert_eq!(longest.parse::<Name>().unwrap().to_string(), longest);
    }

    proptest! {
        #[test]
        fn text_survives(label in "[a-z0-9_-]{1,63}") {
            let text = format!("{label}.local");
            let name: Name = text.parse().unwrap();
            prop_assert_eq!(name.as_str(), &text);
            prop_assert_eq!(name.label(), label.as_bytes());
            prop_assert_eq!(text.to_ascii_uppercase().parse(), Ok(name));
        }
    }
}
