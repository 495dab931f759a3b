use rtc_crypto::Fingerprint;
use rtc_ice::{Candidate, Credentials};
use rtc_sdp::{MediaDescription, SessionDescription, Setup};

use crate::Error;
use crate::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};

/// What the connection keeps of an applied session description: its text, and what was read from it.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) sdp_type: RTCSdpType,
    pub(crate) text: String,
    /// One for each m-section, in order.
    pub(crate) sections: Vec<Section>,
    /// Of the m-section that carries the data channels, if there is one that is not rejected.
    pub(crate) data: Option<DataSection>,
    /// Whether the peer said that it takes candidates later (RFC 8838 section 4).
    pub(crate) trickle: bool,
    /// ICE user name fragments of all m-sections; candidates name the one they belong to.
    pub(crate) ufrags: Vec<String>,
}

/// An m-section, as far as later descriptions have to repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) mid: String,
    pub(crate) media: String,
    pub(crate) protocol: String,
    pub(crate) formats: Vec<String>,
    /// Port 0 and not `a=bundle-only`: the m-section is not in use (RFC 9429 section 5.2.2).
    pub(crate) rejected: bool,
}

impl Section {
    /// True for data channels over DTLS, in the form of RFC 8841 or the one before it.
    pub(crate) fn is_data(&self) -> bool {
        self.media == "application" && self.protocol.ends_with("DTLS/SCTP")
    }

    /// True for the form of drafts before 2015: `DTLS/SCTP 5000` and `a=sctpmap`.
    pub(crate) fn is_legacy_data(&self) -> bool {
        self.protocol == "DTLS/SCTP"
    }
}

/// What the m-section of the data channels says of the transport below them.
#[derive(Clone, Debug)]
pub(crate) struct DataSection {
    pub(crate) index: usize,
    pub(crate) mid: String,
    pub(crate) credentials: Credentials,
    pub(crate) lite: bool,
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) setup: Setup,
    pub(crate) sctp_port: u16,
    /// In bytes; `usize::MAX` for no limit (RFC 8841 section 6.1).
    pub(crate) max_message_size: usize,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) end_of_candidates: bool,
}

impl Description {
    /// Reads and checks a description without changing anything.
    pub(crate) fn read(description: RTCSessionDescription) -> Result<Self, Error> {
        let sdp = description.unmarshal()?;
        Self::of(description.sdp_type, description.sdp, &sdp)
    }

    /// The same with its text already parsed.
    pub(crate) fn of(
        sdp_type: RTCSdpType,
        text: String,
        sdp: &SessionDescription,
    ) -> Result<Self, Error> {
        let is_answer = sdp_type != RTCSdpType::Offer;
        let mut sections = Vec::with_capacity(sdp.media.len());
        for (index, media) in sdp.media.iter().enumerate() {
            sections.push(Section {
                mid: media
                    .mid()
                    .map_or_else(|| format!("m{index}"), str::to_owned),
                media: media.media.clone(),
                protocol: media.proto.clone(),
                formats: media.formats.clone(),
                rejected: media.port == 0 && !media.has("bundle-only"),
            });
        }
        for (index, section) in sections.iter().enumerate() {
            if sections
                .iter()
                .take(index)
                .any(|earlier| earlier.mid == section.mid)
            {
                return Err(Error::InvalidAccess(format!(
                    "mid {:?} is used twice",
                    section.mid
                )));
            }
        }
        let data = sections
            .iter()
            .zip(&sdp.media)
            .enumerate()
            .find(|(_, (section, _))| section.is_data() && !section.rejected)
            .map(|(index, (section, media))| {
                DataSection::read(index, section, media, sdp, is_answer)
            })
            .transpose()?;
        let session_options = sdp.attribute("ice-options");
        let trickle = sdp
            .media
            .iter()
            .map(|media| media.attribute("ice-options"))
            .chain([session_options])
            .flatten()
            .any(|options| options.split(' ').any(|option| option == "trickle"));
        let mut ufrags: Vec<String> = Vec::new();
        for ufrag in sdp
            .media
            .iter()
            .map(|media| media.attribute("ice-ufrag"))
            .chain([sdp.attribute("ice-ufrag")])
            .flatten()
        {
            if !ufrags.iter().any(|known| known == ufrag) {
                ufrags.push(ufrag.to_owned());
            }
        }
        Ok(Self {
            sdp_type,
            text,
            sections,
            data,
            trickle,
            ufrags,
        })
    }

    pub(crate) fn to_session_description(&self) -> RTCSessionDescription {
        RTCSessionDescription {
            sdp_type: self.sdp_type,
            sdp: self.text.clone(),
        }
    }
}

impl DataSection {
    fn read(
        index: usize,
        section: &Section,
        media: &MediaDescription,
        session: &SessionDescription,
        is_answer: bool,
    ) -> Result<Self, Error> {
        let mid = &section.mid;
        let missing = |what: &str| Error::InvalidAccess(format!("m-section {mid:?} has no {what}"));
        // A section that joins a bundle may leave its transport to the tagged section
        // (RFC 9143 section 7.1.3).
        let tagged = tagged_section(session, mid);
        let value = |name: &str| {
            media
                .attribute(name)
                .or_else(|| tagged.and_then(|tagged| tagged.attribute(name)))
                .or_else(|| session.attribute(name))
        };
        let ufrag = value("ice-ufrag").ok_or_else(|| missing("a=ice-ufrag"))?;
        let pwd = value("ice-pwd").ok_or_else(|| missing("a=ice-pwd"))?;
        let credentials = Credentials::new(ufrag, pwd)
            .map_err(|error| Error::InvalidAccess(format!("m-section {mid:?}: {error}")))?;

        let fingerprints = [
            Some(media.attributes_named("fingerprint").collect::<Vec<_>>()),
            tagged.map(|tagged| tagged.attributes_named("fingerprint").collect()),
            Some(session.attributes_named("fingerprint").collect()),
        ]
        .into_iter()
        .flatten()
        .find(|values| !values.is_empty())
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

        let sctp_port = if section.is_legacy_data() {
            section.formats.first().map(String::as_str)
        } else {
            media.attribute("sctp-port")
        };
        let sctp_port = match sctp_port {
            None => DEFAULT_SCTP_PORT,
            Some(port) => port
                .trim()
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| {
                    Error::InvalidAccess(format!(
                        "m-section {mid:?}: SCTP port {port:?} is not valid"
                    ))
                })?,
        };
        let max_message_size = match media.attribute("max-message-size") {
            None => DEFAULT_MAX_MESSAGE_SIZE,
            Some(size) => match size.trim().parse::<u64>() {
                Ok(0) => usize::MAX,
                Ok(size) => usize::try_from(size).unwrap_or(usize::MAX),
                Err(_) => {
                    return Err(Error::InvalidAccess(format!(
                        "m-section {mid:?}: a=max-message-size:{size} is not a number"
                    )));
                }
            },
        };

        // Candidates of other m-sections of the bundle with the same credentials serve this
        // transport too: browsers list them at the tagged one.
        let candidates = session
            .media
            .iter()
            .filter(|other| {
                std::ptr::eq(*other, media)
                    || (tagged.is_some() && other.attribute("ice-ufrag") == Some(ufrag))
            })
            .flat_map(|other| other.attributes_named("candidate"))
            // A candidate that is not understood is ignored (RFC 8839 section 5.1).
            .filter_map(|line| format!("candidate:{line}").parse().ok())
            .collect();
        Ok(Self {
            index,
            mid: mid.clone(),
            credentials,
            lite: session.has("ice-lite"),
            fingerprints,
            setup,
            sctp_port,
            max_message_size,
            candidates,
            end_of_candidates: media.has("end-of-candidates") || session.has("end-of-candidates"),
        })
    }
}

/// The first m-section of the BUNDLE group that `mid` belongs to.
fn tagged_section<'a>(session: &'a SessionDescription, mid: &str) -> Option<&'a MediaDescription> {
    let group = session.attributes_named("group").find(|group| {
        let mut words = group.split_ascii_whitespace();
        words.next() == Some("BUNDLE") && words.any(|word| word == mid)
    })?;
    let tag = group.split_ascii_whitespace().nth(1)?;
    session.media_with_mid(tag)
}

/// RFC 8841 section 5.2 has no default, browsers leave the line out in old forms only.
const DEFAULT_SCTP_PORT: u16 = 5000;

/// When the peer does not say, in bytes (RFC 8841 section 6.1).
const DEFAULT_MAX_MESSAGE_SIZE: usize = 65536;
