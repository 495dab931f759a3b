use std::fmt;
use std::future::Future;
use std::sync::Arc;

use rtc::media::Sample;
use rtc::media_stream::{MediaStreamId, MediaStreamTrack, MediaStreamTrackId};
use rtc::rtcp;
use rtc::rtp::Packet;
use rtc::rtp::extension::ExtensionMap;
use rtc::rtp_transceiver::{
    RTCRtpCodecParameters, RTCRtpSendParameters, RTCRtpSender, RTCRtpSenderId, RTCRtpTransceiverId,
    RtpCodecKind,
};

use super::sending::Way;
use super::transceiver::GONE;
use crate::waiters::{Place, Step, Wait};
use crate::{Error, Feedback, Overflow, RtpTransceiver, SendError};

/// A track that is sent: a sender of the connection.
///
/// A handle: clones are of the same sender. It is also a handle of its connection, which stays open as
/// long as there is one. Dropping it changes nothing else: what ends the track is
/// [`remove_track`](crate::PeerConnection::remove_track).
///
/// Packets or samples are written, not both for one encoding: each kind counts its numbers by itself.
///
/// A file, over a simulated network:
///
/// ```
/// use std::time::Duration;
///
/// use rtc_driver::Overflow;
/// use rtc_driver::rtc::media::{DEFAULT_MAX_FRAME, IvfReader, Sample};
/// use rtc_driver::rtc::media_stream::MediaStreamTrack;
/// use rtc_driver::rtc::rtp_transceiver::RtpCodecKind;
/// use rtc_driver::test::World;
///
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/media/vp8.ivf");
/// let world = World::new(7);
/// let (here, there) = (world.host(["192.0.2.1"]), world.host(["192.0.2.2"]));
/// world.run(async {
///     let (alice, bob) = (here.builder().build()?, there.builder().build()?);
///     let film = MediaStreamTrack::new("film", "pictures", "", RtpCodecKind::Video, vec![]);
///     let track = alice.add_track(film)?;
///     track.set_overflow(Overflow::Wait);
///     alice.set_local_description(None)?;
///     bob.set_remote_description(alice.gathering_complete().await?)?;
///     bob.set_local_description(None)?;
///     alice.set_remote_description(bob.gathering_complete().await?)?;
///     let mut seen = bob.tracks().next().await.ok_or("no track")?.samples();
///
///     let file = std::fs::read(path)?;
///     let mut reader = IvfReader::new(&file[..], DEFAULT_MAX_FRAME)?;
///     while let Some(frame) = reader.next_frame()? {
///         let sample = Sample {
///             data: frame.data,
///             duration: Duration::from_millis(33),
///             ..Sample::default()
///         };
///         track.write_sample(&sample).await?;
///         here.runtime().sleep(sample.duration).await;
///         assert_eq!(seen.next().await.ok_or("ended")?.data, sample.data);
///     }
///     alice.close().await?;
///     assert!(seen.next().await.is_none());
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LocalTrack {
    transceiver: RtpTransceiver,
}

impl LocalTrack {
    pub(super) fn new(transceiver: RtpTransceiver) -> Self {
        transceiver
            .handle
            .with(|state| state.local_handle_made(transceiver.id));
        Self { transceiver }
    }

    /// Sends a packet.
    ///
    /// SSRC, payload type and the header extensions that are the connection's own are written; sequence
    /// number and timestamp stay as they are. For more see
    /// [`RTCRtpSender::write_rtp`]. What happens when it cannot be sent now says
    /// [`set_overflow`](Self::set_overflow); dropped before it is ready, the packet is not sent.
    ///
    /// # Errors
    /// [`SendError::Closed`] also when the transceiver is stopped, [`SendError::TooLarge`] beyond 1,400
    /// bytes, [`SendError::Refused`] when it is not said which encoding the packet is of or the peer has
    /// no SRTP, [`SendError::DriverLost`].
    pub fn write_rtp(
        &self,
        packet: Packet,
    ) -> impl Future<Output = Result<(), SendError>> + Send + '_ {
        self.write(Way::Plain, packet)
    }

    /// Sends a packet of the simulcast layer of this name.
    ///
    /// # Errors
    /// As [`write_rtp`](Self::write_rtp).
    pub fn write_rtp_layer<'a>(
        &'a self,
        rid: &'a str,
        packet: Packet,
    ) -> impl Future<Output = Result<(), SendError>> + Send + 'a {
        self.write(Way::Layer(rid), packet)
    }

    /// Sends a packet that another connection has received, whose header extensions have the numbers of
    /// `received` ([`RemoteTrack::extension_map`](crate::RemoteTrack::extension_map)): those that are
    /// about the media get the numbers of this connection, the others go.
    ///
    /// # Errors
    /// As [`write_rtp`](Self::write_rtp).
    pub fn forward_rtp<'a>(
        &'a self,
        packet: Packet,
        received: &'a ExtensionMap,
    ) -> impl Future<Output = Result<(), SendError>> + Send + 'a {
        self.write(Way::Forward(received), packet)
    }

    /// Sends a packet without waiting.
    ///
    /// # Errors
    /// As [`write_rtp`](Self::write_rtp), and [`SendError::Full`] where that would wait.
    pub fn try_write_rtp(&self, packet: Packet) -> Result<(), SendError> {
        self.try_write(Way::Plain, packet)
    }

    /// As [`forward_rtp`](Self::forward_rtp), without waiting: for one task that sends to many.
    ///
    /// # Errors
    /// As [`try_write_rtp`](Self::try_write_rtp).
    pub fn try_forward_rtp(
        &self,
        packet: Packet,
        received: &ExtensionMap,
    ) -> Result<(), SendError> {
        self.try_write(Way::Forward(received), packet)
    }

    /// Sends a sample: a frame of the negotiated codec, see [`Sample`] and
    /// [`media`](rtc::media). It is divided into packets whose timestamps follow from the durations of
    /// the samples; when the codec changes, numbers go on.
    ///
    /// # Errors
    /// As [`write_rtp`](Self::write_rtp); [`SendError::Packetize`] when it is no frame of that codec,
    /// [`SendError::UnsupportedCodec`] when [`media`](rtc::media) does not know the codec.
    pub fn write_sample<'a>(
        &'a self,
        sample: &'a Sample,
    ) -> impl Future<Output = Result<(), SendError>> + Send + 'a {
        self.write_sample_of(None, sample)
    }

    /// Sends a sample of the simulcast layer of this name. Each layer counts its numbers by itself.
    ///
    /// # Errors
    /// As [`write_sample`](Self::write_sample).
    pub fn write_sample_layer<'a>(
        &'a self,
        rid: &'a str,
        sample: &'a Sample,
    ) -> impl Future<Output = Result<(), SendError>> + Send + 'a {
        self.write_sample_of(Some(rid), sample)
    }

    /// Sends RTCP packets about what is sent. Reports are sent without it.
    ///
    /// # Errors
    /// [`Error::Core`] before the connection is up, [`Error::Closed`], [`Error::DriverLost`].
    pub fn write_rtcp(&self, packets: Vec<rtcp::Packet>) -> Result<(), Error> {
        self.change(|sender| sender.write_rtcp(packets))
    }

    /// Says what happens when media cannot be sent now; [`Overflow::DropOldest`] unless it is changed.
    pub fn set_overflow(&self, overflow: Overflow) {
        let id = self.transceiver.id;
        self.transceiver.handle.with(|state| {
            state.media.senders.entry(id).or_default().overflow = overflow;
        });
    }

    /// How many packets and samples were dropped before they came to wait, see
    /// [`set_overflow`](Self::set_overflow).
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let id = self.transceiver.id;
        let handle = &self.transceiver.handle;
        handle.with(|state| state.media.senders.get(&id).map_or(0, |it| it.dropped))
    }

    /// What the peer wants of the encoder. Each wish goes to one reader, and a newer one replaces one of
    /// its kind that nobody has read. While there is such a stream, what it gives is not among the
    /// [`events`](crate::PeerConnection::events).
    pub fn feedback(&self) -> Feedback {
        let shared = Arc::clone(self.transceiver.handle.shared());
        Feedback::new(shared, self.transceiver.id)
    }

    /// What events call the transceiver that it is part of.
    #[must_use]
    pub fn id(&self) -> RTCRtpTransceiverId {
        self.transceiver.id
    }

    /// What events call it.
    #[must_use]
    pub fn sender_id(&self) -> RTCRtpSenderId {
        self.transceiver.id.sender_id()
    }

    /// The transceiver that it is part of.
    #[must_use]
    pub fn transceiver(&self) -> RtpTransceiver {
        self.transceiver.clone()
    }

    /// Audio or video.
    #[must_use]
    pub fn kind(&self) -> RtpCodecKind {
        self.transceiver.kind
    }

    /// The identifier of the track that is sent, if there is one.
    #[must_use]
    pub fn track_id(&self) -> Option<MediaStreamTrackId> {
        self.view(|sender| sender.track().map(|track| track.track_id().clone()))
            .flatten()
    }

    /// Puts another track, or none, in the place of its own. The peer sees the same stream go on; no
    /// negotiation is needed.
    ///
    /// # Errors
    /// [`Error::Core`] when it is of the other kind, insists on a codec that was not negotiated, or the
    /// transceiver is stopped; [`Error::Closed`], [`Error::DriverLost`].
    pub fn replace_track(&self, track: impl Into<Option<MediaStreamTrack>>) -> Result<(), Error> {
        let track = track.into();
        self.change(|sender| sender.replace_track(track))
    }

    /// Says which streams the track belongs to. The peer learns it with the next exchange.
    ///
    /// # Errors
    /// [`Error::Core`] for an identifier that SDP cannot have or when the transceiver is stopped;
    /// [`Error::Closed`], [`Error::DriverLost`].
    pub fn set_streams(&self, streams: Vec<MediaStreamId>) -> Result<(), Error> {
        self.change(|sender| sender.set_streams(streams))
    }

    /// How it sends. [`set_parameters`](Self::set_parameters) takes the result back with changes.
    #[must_use]
    pub fn get_parameters(&self) -> RTCRtpSendParameters {
        self.view(|sender| sender.get_parameters())
            .unwrap_or_default()
    }

    /// Changes how it sends: which encodings are active, how much each may take, its codec. No
    /// negotiation is needed.
    ///
    /// # Errors
    /// [`Error::Core`] when these are not the parameters that were given last, or something was changed
    /// that cannot be, see [`RTCRtpSender::set_parameters`]; [`Error::Closed`], [`Error::DriverLost`].
    pub fn set_parameters(&self, parameters: RTCRtpSendParameters) -> Result<(), Error> {
        self.change(|sender| sender.set_parameters(parameters, None))
    }

    /// The codec in which it is sent, of the first encoding if there are several; `None` while sending is
    /// not negotiated.
    #[must_use]
    pub fn codec(&self) -> Option<RTCRtpCodecParameters> {
        self.view(|sender| sender.codec(None).cloned()).flatten()
    }

    /// The codec of a simulcast layer.
    #[must_use]
    pub fn codec_of_layer(&self, rid: &str) -> Option<RTCRtpCodecParameters> {
        self.view(|sender| sender.codec(Some(rid)).cloned())
            .flatten()
    }

    fn write<'a>(
        &'a self,
        way: Way<'a>,
        packet: Packet,
    ) -> impl Future<Output = Result<(), SendError>> + Send + 'a {
        let (id, mut packet) = (self.transceiver.id, Some(packet));
        Wait::new(&self.transceiver.handle, Place::Rtp, move |state| {
            state.write_rtp(id, way, &mut packet)
        })
    }

    fn try_write(&self, way: Way<'_>, packet: Packet) -> Result<(), SendError> {
        let (id, mut packet) = (self.transceiver.id, Some(packet));
        let handle = &self.transceiver.handle;
        match handle.with(|state| state.write_rtp(id, way, &mut packet)) {
            Step::Done(result) => result,
            Step::Wait(_) => Err(SendError::Full),
        }
    }

    fn write_sample_of<'a>(
        &'a self,
        rid: Option<&'a str>,
        sample: &'a Sample,
    ) -> impl Future<Output = Result<(), SendError>> + Send + 'a {
        let id = self.transceiver.id;
        Wait::new(&self.transceiver.handle, Place::Rtp, move |state| {
            state.write_sample(id, rid, sample)
        })
    }

    fn view<R>(&self, f: impl FnOnce(&mut RTCRtpSender<'_>) -> R) -> Option<R> {
        let id = self.sender_id();
        let handle = &self.transceiver.handle;
        handle.with(|state| Some(f(&mut state.core.rtp_sender(id)?)))
    }

    fn change(
        &self,
        f: impl FnOnce(&mut RTCRtpSender<'_>) -> Result<(), rtc::Error>,
    ) -> Result<(), Error> {
        let id = self.sender_id();
        self.transceiver
            .change_core(|core| match core.rtp_sender(id) {
                Some(mut sender) => f(&mut sender),
                None => Err(GONE),
            })
    }
}

impl Clone for LocalTrack {
    fn clone(&self) -> Self {
        Self::new(self.transceiver.clone())
    }
}

impl Drop for LocalTrack {
    fn drop(&mut self) {
        let id = self.transceiver.id;
        let handle = &self.transceiver.handle;
        handle.with(|state| state.local_handle_dropped(id));
    }
}

impl fmt::Debug for LocalTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTrack")
            .field("sender_id", &self.sender_id())
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}
