//! Writes offers and answers (RFC 9429 section 5). Only what is known here is ever written: nothing
//! of the peer's description is copied but mids, media types, protocols and formats.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use rtc_crypto::Fingerprint;
use rtc_ice::{Candidate, Credentials};
use rtc_sdp::{
    Attribute, Connection, Direction, Group, IceOptions, IcePwd, IceUfrag, MaxMessageSize,
    MediaDescription, Mid, Origin, SctpMap, SctpPort, SessionDescription, Setup,
};

use crate::peer_connection::description::{DataSection, Description, Section};
use crate::transport::LOCAL_SCTP_PORT;

/// What a local description says of our transport.
#[derive(Clone, Debug)]
pub(crate) struct LocalTransport {
    pub(crate) credentials: Credentials,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) lite: bool,
    pub(crate) max_message_size: usize,
}

/// One m-section to be written.
enum Line<'a> {
    Data { section: Section, setup: Setup },
    Rejected(&'a Section),
}

/// An offer: the m-sections of `current`, and one for data channels if it is wanted and missing.
pub(crate) fn offer(
    session_id: u64,
    version: u64,
    current: Option<&Description>,
    wants_data: bool,
    transport: &LocalTransport,
) -> SessionDescription {
    let sections = current.map_or(&[][..], |current| &current.sections);
    let active = current
        .and_then(|current| current.data.as_ref())
        .map(|data| data.index);
    let fresh = Section {
        mid: unused_mid(sections),
        media: "application".to_owned(),
        protocol: "UDP/DTLS/SCTP".to_owned(),
        formats: vec!["webrtc-datachannel".to_owned()],
        rejected: false,
    };
    let needs_fresh = active.is_none() && wants_data;
    // A rejected m-section is recycled before the list grows (RFC 9429 section 5.2.2).
    let recycled = needs_fresh
        .then(|| sections.iter().position(|section| section.rejected))
        .flatten();
    let mut lines: Vec<Line<'_>> = Vec::with_capacity(sections.len() + 1);
    for (index, section) in sections.iter().enumerate() {
        lines.push(if Some(index) == active {
            Line::Data {
                section: section.clone(),
                setup: Setup::Actpass,
            }
        } else if Some(index) == recycled {
            Line::Data {
                section: fresh.clone(),
                setup: Setup::Actpass,
            }
        } else {
            Line::Rejected(section)
        });
    }
    if needs_fresh && recycled.is_none() {
        lines.push(Line::Data {
            section: fresh,
            setup: Setup::Actpass,
        });
    }
    write(session_id, version, &lines, transport)
}

/// An answer: the data channels' m-section of the offer is accepted, every other one rejected.
pub(crate) fn answer(
    session_id: u64,
    version: u64,
    offer: &Description,
    setup: Setup,
    transport: &LocalTransport,
) -> SessionDescription {
    let accepted = offer.data.as_ref().map(|data| data.index);
    let lines: Vec<Line<'_>> = offer
        .sections
        .iter()
        .enumerate()
        .map(|(index, section)| {
            if Some(index) == accepted {
                Line::Data {
                    section: section.clone(),
                    setup,
                }
            } else {
                Line::Rejected(section)
            }
        })
        .collect();
    write(session_id, version, &lines, transport)
}

/// The description with the candidates gathered so far in its data channels' m-section.
pub(crate) fn with_candidates<'a>(
    text: &str,
    data: &DataSection,
    candidates: impl Iterator<Item = &'a Candidate>,
    complete: bool,
) -> String {
    let mut lines = String::new();
    for candidate in candidates {
        let _ = write!(lines, "a={candidate}\r\n");
    }
    if complete {
        lines.push_str("a=end-of-candidates\r\n");
    }
    // The end of the m-section is the start of the next one, or of nothing.
    let end = text
        .match_indices("\r\nm=")
        .nth(data.index + 1)
        .map_or(text.len(), |(position, _)| position + 2);
    match text.split_at_checked(end) {
        Some((head, tail)) => [head, &lines, tail].concat(),
        None => text.to_owned(),
    }
}

fn write(
    session_id: u64,
    version: u64,
    lines: &[Line<'_>],
    transport: &LocalTransport,
) -> SessionDescription {
    let bundle: Vec<String> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Data { section, .. } => Some(section.mid.clone()),
            Line::Rejected(_) => None,
        })
        .collect();
    let mut sdp = SessionDescription::new(Origin::new(session_id, version));
    if !bundle.is_empty() {
        sdp.push(Group {
            semantics: "BUNDLE".to_owned(),
            mids: bundle,
        });
    }
    if transport.lite {
        sdp.push(Attribute::flag("ice-lite"));
    }
    sdp.media = lines
        .iter()
        .map(|line| match line {
            Line::Data { section, setup } => data_section(section, *setup, transport),
            Line::Rejected(section) => media_section(section, 0),
        })
        .collect();
    sdp
}

fn data_section(section: &Section, setup: Setup, transport: &LocalTransport) -> MediaDescription {
    let media = media_section(section, 9)
        .with(IceUfrag(transport.credentials.ufrag.clone()))
        .with(IcePwd(transport.credentials.pwd.clone()))
        .with(IceOptions(vec!["trickle".to_owned()]))
        .with(Attribute::new(
            "fingerprint",
            transport.fingerprint.to_string(),
        ))
        .with(setup);
    let media = if section.is_legacy_data() {
        let port = section
            .formats
            .first()
            .and_then(|port| port.parse().ok())
            .unwrap_or_default();
        let protocol = "webrtc-datachannel".to_owned();
        media.with(SctpMap {
            port,
            protocol,
            streams: Some(1024),
        })
    } else {
        media.with(SctpPort(LOCAL_SCTP_PORT))
    };
    media.with(MaxMessageSize(transport.max_message_size as u64))
}

/// The lines that every m-section has; port 0 rejects it.
fn media_section(section: &Section, port: u16) -> MediaDescription {
    let mut media =
        MediaDescription::new(&section.media, port, &section.protocol, &section.formats);
    media.connection = Some(Connection::new(Ipv4Addr::UNSPECIFIED.into()));
    media.push(Mid(section.mid.clone()));
    if !section.is_data() {
        media.push(Direction::Inactive);
    }
    media
}

/// The smallest number that no m-section has as its mid.
fn unused_mid(sections: &[Section]) -> String {
    let mut number = 0usize;
    loop {
        let mid = number.to_string();
        if sections.iter().all(|section| section.mid != mid) {
            return mid;
        }
        number += 1;
    }
}
