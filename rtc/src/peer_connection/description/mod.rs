//! Reads what session descriptions say.

mod media;
mod transport;

use rtc_sdp::{MediaDescription, Mid, SessionDescription, name};

pub(crate) use self::media::MediaSection;
pub(crate) use self::transport::TransportSection;
use crate::Error;
use crate::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use crate::rtp_transceiver::RtpCodecKind;

/// What the connection keeps of an applied session description: its text, and what was read from it.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) sdp_type: RTCSdpType,
    pub(crate) text: String,
    /// One for each m-section, in order.
    pub(crate) sections: Vec<Section>,
    /// Those of the m-sections in use: one for each BUNDLE group and for each m-section in none.
    pub(crate) transports: Vec<TransportSection>,
    /// Whether the peer said that it takes candidates later (RFC 8838 section 4).
    pub(crate) trickle: bool,
    /// ICE user name fragments of all m-sections; candidates name the one they belong to.
    pub(crate) ufrags: Vec<String>,
    /// Header extensions of both forms may occur together (RFC 8285 section 6), said for all.
    pub(crate) allow_mixed_headers: bool,
}

/// An m-section.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) mid: String,
    /// Whether the description names it, or the mid was made up here.
    has_mid: bool,
    pub(crate) media: String,
    pub(crate) protocol: String,
    pub(crate) formats: Vec<String>,
    /// Port 0 and not `a=bundle-only`: the m-section is not in use (RFC 9429 section 5.2.2).
    pub(crate) rejected: bool,
    /// In use only within its BUNDLE group (RFC 9143 section 6).
    pub(crate) bundle_only: bool,
    /// Its place in [`Description::transports`]; `None` when it is not in use or not understood.
    pub(crate) transport: Option<usize>,
    pub(crate) content: Content,
}

/// What an m-section carries.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Nothing, or nothing that is known here.
    None,
    Data(DataSection),
    Media(Box<MediaSection>),
}

/// What the m-section of the data channels says of SCTP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataSection {
    pub(crate) sctp_port: u16,
    /// In bytes; `usize::MAX` for no limit (RFC 8841 section 6.1).
    pub(crate) max_message_size: usize,
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

    /// Audio or video, also of a rejected m-section.
    pub(crate) fn kind(&self) -> Option<RtpCodecKind> {
        RtpCodecKind::from_media(&self.media)
    }

    pub(crate) fn as_media(&self) -> Option<&MediaSection> {
        match &self.content {
            Content::Media(media) => Some(media),
            _ => None,
        }
    }

    pub(crate) fn as_data(&self) -> Option<&DataSection> {
        match &self.content {
            Content::Data(data) => Some(data),
            _ => None,
        }
    }
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
        let mut description = Self {
            sdp_type,
            text,
            sections: sdp
                .media
                .iter()
                .enumerate()
                .map(section)
                .collect::<Result<_, _>>()?,
            transports: Vec::new(),
            trickle: false,
            ufrags: Vec::new(),
            allow_mixed_headers: sdp.has(name::EXTMAP_ALLOW_MIXED),
        };
        check_mids(&description.sections)?;
        for (section, media) in description.sections.iter_mut().zip(&sdp.media) {
            section.content = content(section, media, sdp)?;
        }
        let is_answer = sdp_type != RTCSdpType::Offer;
        description.transports = transport::read_all(&mut description.sections, sdp, is_answer)?;
        media::check_bundles(&description.sections)?;

        let levels = |name: &'static str| {
            let of_media = sdp.media.iter().map(move |media| media.attribute(name));
            of_media.chain([sdp.attribute(name)]).flatten()
        };
        description.trickle = levels("ice-options")
            .any(|options| options.split(' ').any(|option| option == "trickle"));
        for ufrag in levels("ice-ufrag") {
            if !description.ufrags.iter().any(|known| known == ufrag) {
                description.ufrags.push(ufrag.to_owned());
            }
        }
        Ok(description)
    }

    pub(crate) fn to_session_description(&self) -> RTCSessionDescription {
        RTCSessionDescription {
            sdp_type: self.sdp_type,
            sdp: self.text.clone(),
        }
    }

    /// Gives the m-sections of an answer the tags of its offer where it left them out.
    ///
    /// # Errors
    /// [`Error::InvalidAccess`] when a tag is another one.
    pub(crate) fn adopt_mids(&mut self, offer: &Self) -> Result<(), Error> {
        for (answered, offered) in self.sections.iter_mut().zip(&offer.sections) {
            if answered.has_mid && answered.mid != offered.mid {
                return Err(Error::InvalidAccess(format!(
                    "the m-section that was offered as {:?} is answered as {:?}",
                    offered.mid, answered.mid
                )));
            }
            answered.mid.clone_from(&offered.mid);
        }
        Ok(())
    }

    /// The m-section that carries the data channels, if there is one in use.
    pub(crate) fn data(&self) -> Option<&DataSection> {
        self.sections.iter().find_map(Section::as_data)
    }

    /// The transport of the first m-section in use. In a description of ours and in an answer it is
    /// the transport of the session: what an answer has beyond it cannot be used.
    pub(crate) fn transport(&self) -> Option<&TransportSection> {
        let index = self.sections.iter().find_map(|section| section.transport)?;
        self.transports.get(index)
    }

    /// The transport that an answer to this offer has accepted.
    pub(crate) fn transport_accepted_by(&self, answer: &Self) -> Option<&TransportSection> {
        let index = self
            .sections
            .iter()
            .zip(&answer.sections)
            .find_map(|(offered, answered)| offered.transport.filter(|_| !answered.rejected))?;
        self.transports.get(index)
    }
}

fn section((index, media): (usize, &MediaDescription)) -> Result<Section, Error> {
    let mid = media.get::<Mid>()?.map(|Mid(mid)| mid);
    Ok(Section {
        has_mid: mid.is_some(),
        mid: mid.unwrap_or_else(|| format!("m{index}")),
        media: media.media.clone(),
        protocol: media.proto.clone(),
        formats: media.formats.clone(),
        rejected: media.is_rejected(),
        bundle_only: media.port == 0 && media.has(name::BUNDLE_ONLY),
        transport: None,
        content: Content::None,
    })
}

fn check_mids(sections: &[Section]) -> Result<(), Error> {
    let mut mids: Vec<&str> = sections
        .iter()
        .map(|section| section.mid.as_str())
        .collect();
    mids.sort_unstable();
    match mids.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => Err(Error::InvalidAccess(format!(
            "mid {:?} is used twice",
            pair.first().copied().unwrap_or_default()
        ))),
        None => Ok(()),
    }
}

fn content(
    section: &Section,
    media: &MediaDescription,
    session: &SessionDescription,
) -> Result<Content, Error> {
    if section.rejected {
        return Ok(Content::None);
    }
    if section.is_data() {
        return DataSection::read(section, media).map(Content::Data);
    }
    match section.kind().filter(|_| media.is_rtp()) {
        Some(kind) => {
            let media = MediaSection::read(kind, media, session)?;
            Ok(Content::Media(Box::new(media)))
        }
        None => Ok(Content::None),
    }
}

impl DataSection {
    fn read(section: &Section, media: &MediaDescription) -> Result<Self, Error> {
        let mid = &section.mid;
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
        Ok(Self {
            sctp_port,
            max_message_size,
        })
    }
}

/// RFC 8841 section 5.2 has no default, browsers leave the line out in old forms only.
const DEFAULT_SCTP_PORT: u16 = 5000;

/// When the peer does not say, in bytes (RFC 8841 section 6.1).
const DEFAULT_MAX_MESSAGE_SIZE: usize = 65536;
