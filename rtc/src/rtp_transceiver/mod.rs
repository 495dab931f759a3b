//! Transceivers, their senders and receivers (webrtc-pc section 5).
//!
//! Each stands for an m-section of the descriptions: a way out and a way in for media of one kind.
//! They are owned by their connection and named by identifiers that can be copied; the views
//! [`RTCRtpTransceiver`], [`RTCRtpSender`] and [`RTCRtpReceiver`] are borrowed for a call or two.
//!
//! ```
//! use rtc::media_stream::MediaStreamTrack;
//! use rtc::peer_connection::RTCPeerConnection;
//! use rtc::peer_connection::configuration::RTCConfigurationBuilder;
//! use rtc::rtp_transceiver::{
//!     RTCRtpEncodingParameters, RTCRtpTransceiverDirection, RTCRtpTransceiverInit, RtpCodecKind,
//! };
//!
//! let mut connection = RTCPeerConnection::new(RTCConfigurationBuilder::new().build())?;
//!
//! // A track both ways, as most applications want it.
//! let voice = MediaStreamTrack::new("desk", "voice", "the microphone", RtpCodecKind::Audio, vec![]);
//! connection.add_track(voice)?;
//!
//! // A camera in two layers, one way.
//! let camera = MediaStreamTrack::new("desk", "camera", "the camera", RtpCodecKind::Video, vec![]);
//! let init = RTCRtpTransceiverInit {
//!     direction: RTCRtpTransceiverDirection::Sendonly,
//!     streams: vec!["desk".to_owned()],
//!     send_encodings: ["half", "full"].map(RTCRtpEncodingParameters::with_rid).to_vec(),
//! };
//! let id = connection.add_transceiver_from_track(camera, Some(init))?;
//!
//! let offer = connection.create_offer(None)?;
//! assert!(offer.sdp.contains("a=simulcast:send half;full\r\n"));
//! connection.set_local_description(offer)?;
//! let transceiver = connection.rtp_transceiver(id).expect("it has not stopped");
//! assert_eq!(transceiver.mid(), Some("1"));
//! # Ok::<(), rtc::Error>(())
//! ```

mod agreement;
pub(crate) mod apply;
pub(crate) mod codec;
pub(crate) mod encodings;
mod negotiated;
mod parameters;
pub mod rtp_receiver;
pub mod rtp_sender;
pub(crate) mod transceivers;

use std::fmt;

use rtc_sdp::Direction;

use self::codec::Purpose;
pub use self::negotiated::{
    NegotiatedCodec, NegotiatedEncoding, NegotiatedLayer, NegotiatedMedia, NegotiatedReceive,
    NegotiatedSend, RemoteSource,
};
pub use self::parameters::{
    PayloadType, RTCPFeedback, RTCRtcpParameters, RTCRtpCapabilities, RTCRtpCodec,
    RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpFecParameters,
    RTCRtpHeaderExtensionCapability, RTCRtpHeaderExtensionParameters, RTCRtpParameters,
    RTCRtpReceiveParameters, RTCRtpRtxParameters, RTCRtpSendParameters, RTCRtpTransceiverInit,
    RTCSetParameterOptions, RtpCodecKind, SSRC,
};
pub use self::rtp_receiver::RTCRtpReceiver;
pub use self::rtp_sender::RTCRtpSender;
use self::transceivers::Transceiver;
use crate::Error;
use crate::peer_connection::RTCPeerConnection;

macro_rules! ids {
    ($($(#[$doc:meta])+ $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(crate) u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0)
            }
        }
    )+};
}

ids! {
    /// Handle of a transceiver; never given twice within a connection.
    RTCRtpTransceiverId = "transceiver";
    /// Handle of a sender; never given twice within a connection.
    RTCRtpSenderId = "sender";
    /// Handle of a receiver; never given twice within a connection.
    RTCRtpReceiverId = "receiver";
}

macro_rules! parts {
    ($($name:ident)+) => {$(
        impl $name {
            /// The transceiver that it is part of.
            #[must_use]
            pub fn transceiver_id(self) -> RTCRtpTransceiverId {
                RTCRtpTransceiverId(self.0)
            }
        }
    )+};
}

parts! { RTCRtpSenderId RTCRtpReceiverId }

impl RTCRtpTransceiverId {
    /// Its sender.
    #[must_use]
    pub fn sender_id(self) -> RTCRtpSenderId {
        RTCRtpSenderId(self.0)
    }

    /// Its receiver.
    #[must_use]
    pub fn receiver_id(self) -> RTCRtpReceiverId {
        RTCRtpReceiverId(self.0)
    }
}

/// Which way media flows, seen from here (webrtc-pc section 5.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RTCRtpTransceiverDirection {
    /// Both ways.
    #[default]
    Sendrecv,
    /// Out alone.
    Sendonly,
    /// In alone.
    Recvonly,
    /// Neither way, for now.
    Inactive,
    /// Neither way, for good.
    Stopped,
}

impl RTCRtpTransceiverDirection {
    /// The W3C name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self.to_sdp() {
            Some(direction) => direction.as_str(),
            None => "stopped",
        }
    }

    pub(crate) fn to_sdp(self) -> Option<Direction> {
        match self {
            Self::Sendrecv => Some(Direction::SendRecv),
            Self::Sendonly => Some(Direction::SendOnly),
            Self::Recvonly => Some(Direction::RecvOnly),
            Self::Inactive => Some(Direction::Inactive),
            Self::Stopped => None,
        }
    }
}

impl From<Direction> for RTCRtpTransceiverDirection {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::SendRecv => Self::Sendrecv,
            Direction::SendOnly => Self::Sendonly,
            Direction::RecvOnly => Self::Recvonly,
            Direction::Inactive => Self::Inactive,
        }
    }
}

impl fmt::Display for RTCRtpTransceiverDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A view of a transceiver, borrowed from its connection.
///
/// A transceiver that has stopped is forgotten once both sides have agreed on it; its view gives
/// `stopped` and nothing else from then on.
#[derive(Debug)]
pub struct RTCRtpTransceiver<'a> {
    pub(crate) connection: &'a mut RTCPeerConnection,
    pub(crate) id: RTCRtpTransceiverId,
}

impl RTCRtpTransceiver<'_> {
    fn get(&self) -> Option<&Transceiver> {
        self.connection.media.get(self.id)
    }

    /// Its handle.
    #[must_use]
    pub fn id(&self) -> RTCRtpTransceiverId {
        self.id
    }

    /// Audio or video; `None` once it is forgotten.
    #[must_use]
    pub fn kind(&self) -> Option<RtpCodecKind> {
        self.get().map(|it| it.kind)
    }

    /// The identification tag of its m-section, once it has one.
    #[must_use]
    pub fn mid(&self) -> Option<&str> {
        self.get()?.mid.as_deref()
    }

    /// Its sender.
    #[must_use]
    pub fn sender(&self) -> RTCRtpSenderId {
        self.id.sender_id()
    }

    /// Its receiver.
    #[must_use]
    pub fn receiver(&self) -> RTCRtpReceiverId {
        self.id.receiver_id()
    }

    /// What it is wanted to do with the next offer or answer.
    #[must_use]
    pub fn direction(&self) -> RTCRtpTransceiverDirection {
        match self.get() {
            Some(it) if !it.stopping => it.direction.into(),
            _ => RTCRtpTransceiverDirection::Stopped,
        }
    }

    /// What was negotiated last; `None` before and after a life in use.
    #[must_use]
    pub fn current_direction(&self) -> Option<RTCRtpTransceiverDirection> {
        self.get()?.current_direction.map(Into::into)
    }

    /// Whether it has stopped: `stop` was called and both sides have agreed on it, or the peer has
    /// rejected its m-section.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.get().is_none_or(|it| it.stopped)
    }

    /// What packets need to know of its m-section; `None` before it has one.
    #[must_use]
    pub fn negotiated(&self) -> Option<NegotiatedMedia> {
        self.get()?.negotiated()
    }

    /// Changes what it is wanted to do. It takes effect with the next exchange.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when it is stopped or the connection closed, [`Error::Type`] for
    /// `Stopped`: that is what [`stop`](Self::stop) is for.
    pub fn set_direction(&mut self, direction: RTCRtpTransceiverDirection) -> Result<(), Error> {
        self.connection.check_open()?;
        let Some(direction) = direction.to_sdp() else {
            return Err(Error::Type(
                "a direction cannot be set to stopped".to_owned(),
            ));
        };
        let transceiver = self.connection.media.live(self.id)?;
        transceiver.direction = direction;
        self.connection.update_negotiation_needed();
        Ok(())
    }

    /// Chooses and orders the codecs that offers and answers have for it; with none, all that are
    /// registered. Retransmission is used when `rtx` is among them.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when it is stopped or the connection closed,
    /// [`Error::InvalidModification`] when a codec is not registered, or none of them carries media.
    pub fn set_codec_preferences(
        &mut self,
        codecs: Vec<RTCRtpCodecParameters>,
    ) -> Result<(), Error> {
        self.connection.check_open()?;
        let kind = self.connection.media.live(self.id)?.kind;
        let mut preferences: Vec<RTCRtpCodec> = Vec::new();
        let registered = self
            .connection
            .get_configuration()
            .media_engine()
            .codecs(kind);
        for RTCRtpCodecParameters { rtp_codec, .. } in codecs {
            if !registered.iter().any(|it| it.rtp_codec.matches(&rtp_codec)) {
                return Err(Error::InvalidModification("a codec is not supported"));
            }
            if !preferences.contains(&rtp_codec) {
                preferences.push(rtp_codec);
            }
        }
        let carries = |codec: &RTCRtpCodec| codec.purpose() == Purpose::Media;
        if !preferences.is_empty() && !preferences.iter().any(carries) {
            return Err(Error::InvalidModification("no codec carries media"));
        }
        self.connection.media.live(self.id)?.preferences = preferences;
        Ok(())
    }

    /// Stops it for good: nothing is sent or received any more, and the next offer tells the peer.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the connection is closed.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.connection.check_open()?;
        self.connection.stop_transceiver(self.id);
        Ok(())
    }
}
