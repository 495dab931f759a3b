use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rtc_crypto::Fingerprint;
use rtc_ice::{Candidate, Credentials};
use rtc_sdp::{MediaDescription, SessionDescription, Setup, name};

use super::{Content, Section};
use crate::Error;

/// What a description says of the transport below one m-section or a BUNDLE group of them.
#[derive(Clone, Debug)]
pub(crate) struct TransportSection {
    pub(crate) credentials: Credentials,
    pub(crate) lite: bool,
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) setup: Setup,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) end_of_candidates: bool,
    /// Whether it belongs to a BUNDLE group.
    pub(crate) is_bundled: bool,
}

/// Reads the transports of all m-sections in use and tells each section its own.
pub(super) fn read_all(
    sections: &mut [Section],
    session: &SessionDescription,
    is_answer: bool,
) -> Result<Vec<TransportSection>, Error> {
    let in_use: BTreeMap<String, usize> = sections
        .iter()
        .enumerate()
        .filter(|(_, section)| !matches!(section.content, Content::None))
        .map(|(index, section)| (section.mid.clone(), index))
        .collect();
    let groups = Groups::of(session, &in_use);
    let mut of_group: BTreeMap<usize, usize> = BTreeMap::new();
    let mut transports = Vec::new();
    for (index, section) in sections.iter_mut().enumerate() {
        if !in_use.contains_key(&section.mid) {
            continue;
        }
        let group = groups.by_section.get(&index).copied();
        if let Some(known) = group.and_then(|group| of_group.get(&group)) {
            section.transport = Some(*known);
            continue;
        }
        let alone = [index];
        let members = match group.and_then(|group| groups.members.get(group)) {
            Some(members) => members,
            None => &alone[..],
        };
        let members: Vec<&MediaDescription> = members
            .iter()
            .filter_map(|index| session.media.get(*index))
            .collect();
        let transport = TransportSection::read(&members, session, group.is_some(), is_answer)?;
        section.transport = Some(transports.len());
        of_group.extend(group.map(|group| (group, transports.len())));
        transports.push(transport);
    }
    Ok(transports)
}

/// The BUNDLE groups of a description (RFC 9143).
struct Groups {
    /// The m-sections in use of each, the one first that describes the transport.
    members: Vec<Vec<usize>>,
    /// The group of an m-section; the first counts of those that name it.
    by_section: BTreeMap<usize, usize>,
}

impl Groups {
    fn of(session: &SessionDescription, in_use: &BTreeMap<String, usize>) -> Self {
        let mut groups = Self {
            members: Vec::new(),
            by_section: BTreeMap::new(),
        };
        for group in session.attributes_named("group") {
            let mut words = group.split_ascii_whitespace();
            if words.next() != Some("BUNDLE") {
                continue;
            }
            let mut members = Vec::new();
            for index in words.filter_map(|mid| in_use.get(mid)) {
                if let Entry::Vacant(slot) = groups.by_section.entry(*index) {
                    slot.insert(groups.members.len());
                    members.push(*index);
                }
            }
            groups.members.push(members);
        }
        groups
    }
}

impl TransportSection {
    /// Reads the transport of some m-sections, the one that describes it first. What it leaves out may
    /// be said for the session or, by peers that are less strict, in the other sections.
    fn read(
        members: &[&MediaDescription],
        session: &SessionDescription,
        is_bundled: bool,
        is_answer: bool,
    ) -> Result<Self, Error> {
        let tagged = members
            .first()
            .copied()
            .ok_or_else(|| Error::InvalidAccess("a BUNDLE group is empty".to_owned()))?;
        let mid = tagged.mid().unwrap_or_default();
        let missing = |what: &str| Error::InvalidAccess(format!("m-section {mid:?} has no {what}"));
        let value = |name: &str| {
            tagged
                .attribute(name)
                .or_else(|| session.attribute(name))
                .or_else(|| members.iter().find_map(|member| member.attribute(name)))
        };
        let ufrag = value("ice-ufrag").ok_or_else(|| missing("a=ice-ufrag"))?;
        let pwd = value("ice-pwd").ok_or_else(|| missing("a=ice-pwd"))?;
        let credentials = Credentials::new(ufrag, pwd)
            .map_err(|error| Error::InvalidAccess(format!("m-section {mid:?}: {error}")))?;

        let session_level: Vec<&str> = session.attributes_named("fingerprint").collect();
        let fingerprints = [
            tagged.attributes_named("fingerprint").collect(),
            session_level,
        ]
        .into_iter()
        .chain(
            members
                .iter()
                .map(|member| member.attributes_named("fingerprint").collect()),
        )
        .find(|values: &Vec<&str>| !values.is_empty())
        .ok_or_else(|| missing("a=fingerprint"))?;
        // Lines with unknown or weak hash functions may stand beside good ones.
        let fingerprints: Vec<Fingerprint> = fingerprints
            .into_iter()
            .filter_map(|value| value.parse().ok())
            .collect();
        if fingerprints.is_empty() {
            return Err(Error::InvalidAccess(format!(
                "m-section {mid:?} has no fingerprint with a supported hash function"
            )));
        }

        let setup = match value("setup").map(|setup| setup.trim().parse::<Setup>()) {
            None if is_answer => Setup::Active, // RFC 4145 section 4: the default
            None => Setup::Actpass,
            Some(Ok(Setup::Actpass)) if is_answer => {
                return Err(Error::InvalidAccess(format!(
                    "m-section {mid:?}: an answer has to choose active or passive"
                )));
            }
            Some(Ok(setup)) if setup != Setup::Holdconn => setup,
            Some(_) => {
                return Err(Error::InvalidAccess(format!(
                    "m-section {mid:?}: its a=setup is not supported"
                )));
            }
        };

        // Candidates of other m-sections with the same credentials serve this transport too.
        let candidates = members
            .iter()
            .filter(|member| {
                member
                    .attribute("ice-ufrag")
                    .is_none_or(|member| member == ufrag)
            })
            .flat_map(|member| member.candidates())
            // A candidate that is not understood is ignored (RFC 8839 section 5.1).
            .filter_map(|line| format!("candidate:{line}").parse().ok())
            .collect();
        let ends = |member: &&MediaDescription| member.has(name::END_OF_CANDIDATES);
        Ok(Self {
            credentials,
            lite: session.has(name::ICE_LITE),
            fingerprints,
            setup,
            candidates,
            end_of_candidates: session.has(name::END_OF_CANDIDATES) || members.iter().any(ends),
            is_bundled,
        })
    }
}
