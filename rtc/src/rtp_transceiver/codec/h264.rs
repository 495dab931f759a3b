//! `profile-level-id` of H.264 (RFC 6184 section 8.1): which profiles are the same, and the level that
//! an answer has.

use rtc_sdp::Fmtp;

/// The profiles that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    Extended,
    ConstrainedHigh,
    High,
    High444,
    /// One without a name here: its two bytes.
    Other(u8, u8),
}

/// The levels in their order; level 1b lies between 1 and 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Level {
    idc: u8,
    is_1b: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProfileLevelId {
    profile_idc: u8,
    /// `profile-iop`: the constraint flags.
    constraints: u8,
    level_idc: u8,
}

/// Whether both parameters name the same profile; the levels may differ.
pub(crate) fn same_profile(ours: &Fmtp, theirs: &Fmtp) -> bool {
    match (ProfileLevelId::of(ours), ProfileLevelId::of(theirs)) {
        (Some(ours), Some(theirs)) => ours.profile() == theirs.profile(),
        _ => false,
    }
}

/// Makes the `profile-level-id` of `ours` the one of an answer to `theirs` (RFC 6184 section 8.2.2):
/// their profile with our level, or with the lower of both levels where one side cannot do with
/// levels that differ by direction.
pub(crate) fn answer(ours: &mut Fmtp, theirs: &Fmtp) {
    let (Some(own), Some(offered)) = (ProfileLevelId::of(ours), ProfileLevelId::of(theirs)) else {
        return;
    };
    let may_differ = |fmtp: &Fmtp| fmtp.get(ASYMMETRY) == Some("1");
    let level = if may_differ(ours) && may_differ(theirs) {
        own.level()
    } else {
        own.level().min(offered.level())
    };
    let answer = offered.with_level(level);
    if ours.get(PROFILE_LEVEL_ID).is_none() && theirs.get(PROFILE_LEVEL_ID).is_none() {
        return;
    }
    ours.set(PROFILE_LEVEL_ID, answer.text());
    if !may_differ(theirs) && may_differ(ours) {
        ours.parameters
            .retain(|(key, _)| !key.eq_ignore_ascii_case(ASYMMETRY));
    }
}

impl ProfileLevelId {
    /// Baseline, level 1: what holds where nothing is said (RFC 6184 section 8.1).
    const DEFAULT: Self = Self {
        profile_idc: 0x42,
        constraints: 0,
        level_idc: 10,
    };

    fn of(fmtp: &Fmtp) -> Option<Self> {
        let Some(text) = fmtp.get(PROFILE_LEVEL_ID) else {
            return Some(Self::DEFAULT);
        };
        if text.len() != 6 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let [_, profile_idc, constraints, level_idc] =
            u32::from_str_radix(text, 16).ok()?.to_be_bytes();
        Some(Self {
            profile_idc,
            constraints,
            level_idc,
        })
    }

    fn text(self) -> String {
        format!(
            "{:02x}{:02x}{:02x}",
            self.profile_idc, self.constraints, self.level_idc
        )
    }

    /// RFC 6184 table 5. The flags count from the highest bit: `constraint_set0_flag` first.
    fn profile(self) -> Profile {
        let flags = self.constraints;
        let rest_is_clear = flags & 0b0000_1111 == 0;
        let set = |flag: u8| flags & (0b1000_0000 >> flag) != 0;
        match self.profile_idc {
            0x42 if rest_is_clear && set(1) => Profile::ConstrainedBaseline,
            0x42 if rest_is_clear => Profile::Baseline,
            0x4D if rest_is_clear && set(0) => Profile::ConstrainedBaseline,
            0x4D if rest_is_clear && !set(2) => Profile::Main,
            0x58 if rest_is_clear && set(0) && set(1) => Profile::ConstrainedBaseline,
            0x58 if rest_is_clear && set(0) => Profile::Baseline,
            0x58 if rest_is_clear => Profile::Extended,
            0x64 if flags == 0 => Profile::High,
            0x64 if flags == 0b0000_1100 => Profile::ConstrainedHigh,
            0xF4 if flags == 0 => Profile::High444,
            other => Profile::Other(other, flags),
        }
    }

    /// Whether level 1b is written as level 11 with `constraint_set3_flag`, as in the profiles that
    /// were there first.
    fn marks_1b(self) -> bool {
        matches!(self.profile_idc, 0x42 | 0x4D | 0x58)
    }

    fn level(self) -> Level {
        let is_1b = self.level_idc == 9
            || (self.marks_1b() && self.level_idc == 11 && self.constraints & SET3 != 0);
        Level {
            // In order, 1b comes right behind level 1.
            idc: if is_1b { 10 } else { self.level_idc },
            is_1b,
        }
    }

    fn with_level(self, level: Level) -> Self {
        let (level_idc, constraints) = match (level.is_1b, self.marks_1b()) {
            (true, true) => (11, self.constraints | SET3),
            (true, false) => (9, self.constraints),
            (false, true) => (level.idc, self.constraints & !SET3),
            (false, false) => (level.idc, self.constraints),
        };
        Self {
            constraints,
            level_idc,
            ..self
        }
    }
}

const PROFILE_LEVEL_ID: &str = "profile-level-id";
const ASYMMETRY: &str = "level-asymmetry-allowed";
/// `constraint_set3_flag`.
const SET3: u8 = 0b0001_0000;

#[cfg(test)]
mod tests {
    use super::*;

    fn fmtp(id: &str, asymmetry: bool) -> Fmtp {
        let mut fmtp = Fmtp::new(0);
        if asymmetry {
            fmtp = fmtp.with(ASYMMETRY, 1);
        }
        if id.is_empty() {
            fmtp
        } else {
            fmtp.with(PROFILE_LEVEL_ID, id)
        }
    }

    #[test]
    fn profiles_are_read_through_their_flags() {
        for (one, other, same) in [
            ("42e01f", "42c00d", true),
            ("42e01f", "4d8028", true),
            ("42e01f", "58c01e", true),
            ("42e01f", "42001f", false),
            ("42001f", "42801f", true),
            ("42001f", "58801f", true),
            ("4d001f", "4d4028", true),
            ("4d001f", "42001f", false),
            ("64001f", "640c1f", false),
            ("640c1f", "640C34", true),
            ("64001f", "640032", true),
            ("f4001f", "64001f", false),
            ("", "42000a", true),
            ("", "42e01f", false),
            ("6e001f", "6e0020", true),
            ("42e01", "42e01", false),
            ("42e01g", "42e01g", false),
            ("+2e01f", "+2e01f", false),
        ] {
            let (one, other) = (fmtp(one, false), fmtp(other, false));
            assert_eq!(same_profile(&one, &other), same, "{one} {other}");
            assert_eq!(same_profile(&other, &one), same, "{other} {one}");
        }
    }

    #[test]
    fn the_answer_has_their_profile_and_a_level_that_both_can_do() {
        for (ours, theirs, asymmetry, expected) in [
            ("42e01f", "42e034", (true, true), "42e01f"),
            ("42e01f", "42e00d", (true, true), "42e01f"),
            ("42e01f", "42e00d", (true, false), "42e00d"),
            ("42e01f", "42e034", (false, true), "42e01f"),
            ("42e01f", "42c015", (true, true), "42c01f"),
            // 1b is more than 1 and less than 1.1.
            ("42e01f", "42f00b", (false, false), "42f00b"),
            ("42e00b", "42f00b", (false, false), "42f00b"),
            ("42e00a", "42f00b", (false, false), "42e00a"),
            ("640015", "640009", (false, false), "640009"),
            ("42001f", "", (false, false), "42000a"),
        ] {
            let mut answered = fmtp(ours, asymmetry.0);
            answer(&mut answered, &fmtp(theirs, asymmetry.1));
            assert_eq!(
                answered.get(PROFILE_LEVEL_ID),
                Some(expected),
                "{ours} {theirs}"
            );
            let both = asymmetry == (true, true);
            assert_eq!(answered.get(ASYMMETRY).is_some(), both);
        }
        let mut silent = fmtp("", false);
        answer(&mut silent, &fmtp("", false));
        assert_eq!(silent.get(PROFILE_LEVEL_ID), None);
    }
}
