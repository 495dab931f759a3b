use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use rtc::media_stream::{MediaStreamId, MediaStreamTrackId, RtpStreamId};
use rtc::rtcp;
use rtc::rtp::Packet;
use rtc::rtp::extension::ExtensionMap;
use rtc::rtp_transceiver::{
    PayloadType, RTCRtpCodecParameters, RTCRtpReceiver, RTCRtpReceiverId, RTCRtpTransceiverId,
    RtpCodecKind, SSRC,
};

use super::samples::Samples;
use super::transceiver::GONE;
use crate::waiters::{Key, LayerId, Place, Wait, forget, poll_step};
use crate::{Error, RemoteLayer, RtpTransceiver};

/// A track that the peer sends: a receiver of the connection.
///
/// As a [`Stream`] it gives packets, in the order in which they came; lost ones have been asked for
/// again where that was negotiated, and come late. It ends when the track has ended for good or the
/// connection has. It does not end when the peer stops sending for a while.
///
/// A handle: clones are of the same track, and share its packets. It is also a handle of its
/// connection, which stays open as long as there is one.
///
/// # When nobody reads
///
/// Up to 1,024 packets and 2 MiB wait, then the oldest make room ([`dropped`](Self::dropped)). Once the
/// last handle is dropped, packets are thrown away until there is another, which
/// [`RtpTransceiver::receiver`] gives.
pub struct RemoteTrack {
    transceiver: RtpTransceiver,
    key: Key,
}

impl RemoteTrack {
    pub(super) fn new(transceiver: RtpTransceiver) -> Self {
        transceiver.handle.with(|state| {
            state.remote_handle_made(transceiver.id, &transceiver.remote_track_id);
        });
        Self {
            transceiver,
            key: Key::default(),
        }
    }

    /// The next packet; `None` when the track has ended, or the connection.
    ///
    /// Dropped before it is ready, no packet is lost.
    pub fn read_rtp(&self) -> impl Future<Output = Option<Packet>> + Send + '_ {
        let id = self.transceiver.id;
        Wait::new(&self.transceiver.handle, Place::Track(id), move |state| {
            state.read_rtp(id, None)
        })
    }

    /// Frames instead of packets, see [`Samples`].
    pub fn samples(&self) -> Samples {
        Samples::new(self.clone(), None)
    }

    /// The packets of one simulcast layer alone. From then on, and as long as there is such a handle,
    /// its packets are not among those of the track. Up to 1,024 packets wait, then the oldest make room.
    ///
    /// The layer may be one that no packet has come of.
    #[must_use]
    pub fn layer(&self, rid: &str) -> RemoteLayer {
        RemoteLayer::new(self.clone(), rid)
    }

    /// Asks the peer for a key frame of each source, by PLI or FIR as negotiated. No more is sent than
    /// one each 200 ms, so that it can be called whenever a key frame would help. False when nothing has
    /// come yet, or neither was negotiated.
    pub fn request_key_frame(&self) -> bool {
        self.ask(|receiver| receiver.request_key_frame())
    }

    /// The same for one simulcast layer.
    pub fn request_key_frame_of(&self, rid: &str) -> bool {
        self.ask(|receiver| {
            let mut sources = receiver.ssrcs();
            let source = sources.find(|(_, name)| *name == Some(rid));
            let source = source.map(|(ssrc, _)| ssrc);
            drop(sources);
            source.is_some_and(|ssrc| receiver.request_key_frame_of(ssrc))
        })
    }

    /// Sends RTCP packets about what is received. Reports and feedback are sent without it.
    ///
    /// # Errors
    /// [`Error::Core`] before the connection is up, [`Error::Closed`], [`Error::DriverLost`].
    pub fn write_rtcp(&self, packets: Vec<rtcp::Packet>) -> Result<(), Error> {
        let id = self.receiver_id();
        self.transceiver
            .change_core(|core| match core.rtp_receiver(id) {
                Some(mut receiver) => receiver.write_rtcp(packets),
                None => Err(GONE),
            })
    }

    /// What events call the transceiver that it is part of.
    #[must_use]
    pub fn id(&self) -> RTCRtpTransceiverId {
        self.transceiver.id
    }

    /// What events call its receiver.
    #[must_use]
    pub fn receiver_id(&self) -> RTCRtpReceiverId {
        self.transceiver.id.receiver_id()
    }

    /// The transceiver that it is part of.
    #[must_use]
    pub fn transceiver(&self) -> RtpTransceiver {
        self.transceiver.clone()
    }

    /// Its identifier: the one that the peer has given it, unless the transceiver was there before.
    #[must_use]
    pub fn track_id(&self) -> &MediaStreamTrackId {
        &self.transceiver.remote_track_id
    }

    /// Audio or video.
    #[must_use]
    pub fn kind(&self) -> RtpCodecKind {
        self.transceiver.kind
    }

    /// The streams that the peer says it belongs to.
    #[must_use]
    pub fn stream_ids(&self) -> Vec<MediaStreamId> {
        self.view(|receiver| receiver.streams().to_vec())
            .unwrap_or_default()
    }

    /// The identification tag of its m-section.
    #[must_use]
    pub fn mid(&self) -> Option<String> {
        self.transceiver.mid()
    }

    /// The codec of the packet that was read last; before the first one, the codec that the peer is
    /// expected to use. `None` while receiving is not negotiated.
    #[must_use]
    pub fn codec(&self) -> Option<RTCRtpCodecParameters> {
        self.codec_read(None)
    }

    /// The codec of packets of this payload type.
    #[must_use]
    pub fn codec_of(&self, payload_type: PayloadType) -> Option<RTCRtpCodecParameters> {
        self.view(|receiver| receiver.codec(payload_type).cloned())
            .flatten()
    }

    /// The simulcast layers: those that the peer has announced, and those of which packets have come.
    #[must_use]
    pub fn rids(&self) -> Vec<RtpStreamId> {
        let rids = self.view(|receiver| {
            let announced = receiver.track().into_iter().flat_map(|it| it.codings());
            let mut rids: Vec<RtpStreamId> = Vec::new();
            let heard = receiver.ssrcs().filter_map(|(_, rid)| rid);
            for rid in announced.map(|it| it.rid()).chain(heard) {
                if !rid.is_empty() && !rids.iter().any(|it| it == rid) {
                    rids.push(rid.to_owned());
                }
            }
            rids
        });
        rids.unwrap_or_default()
    }

    /// The simulcast layer of a source, for [`Header::ssrc`](rtc::rtp::Header::ssrc) of packets.
    #[must_use]
    pub fn rid_of(&self, ssrc: SSRC) -> Option<RtpStreamId> {
        self.view(|receiver| receiver.rid(ssrc).map(str::to_owned))
            .flatten()
    }

    /// The numbers of the header extensions in its packets, also for
    /// [`LocalTrack::forward_rtp`](crate::LocalTrack::forward_rtp).
    #[must_use]
    pub fn extension_map(&self) -> ExtensionMap {
        self.view(|receiver| receiver.extension_map())
            .unwrap_or_default()
    }

    /// How many packets were dropped because nobody read them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let id = self.transceiver.id;
        let handle = &self.transceiver.handle;
        handle.with(|state| state.dropped_unread(id))
    }

    pub(super) fn place(&self, layer: Option<LayerId>) -> Place {
        let id = self.transceiver.id;
        layer.map_or(Place::Track(id), |layer| Place::Layer(id, layer))
    }

    /// See [`codec`](Self::codec).
    pub(super) fn codec_read(&self, layer: Option<LayerId>) -> Option<RTCRtpCodecParameters> {
        let id = self.transceiver.id;
        self.transceiver.handle.with(|state| {
            let read = state.payload_type_read(id, layer);
            let receiver = state.core.rtp_receiver(id.receiver_id())?;
            match read.and_then(|payload_type| receiver.codec(payload_type)) {
                Some(codec) => Some(codec.clone()),
                None => {
                    let parameters = receiver.get_parameters().rtp_parameters;
                    parameters.codecs.into_iter().next()
                }
            }
        })
    }

    pub(super) fn view<R>(&self, f: impl FnOnce(&RTCRtpReceiver<'_>) -> R) -> Option<R> {
        let id = self.receiver_id();
        let handle = &self.transceiver.handle;
        handle.with(|state| Some(f(&state.core.rtp_receiver(id)?)))
    }

    pub(super) fn ask(&self, f: impl FnOnce(&mut RTCRtpReceiver<'_>) -> bool) -> bool {
        let id = self.receiver_id();
        self.transceiver.handle.with(|state| {
            state.nudge = true;
            state
                .core
                .rtp_receiver(id)
                .is_some_and(|mut receiver| f(&mut receiver))
        })
    }

    pub(super) fn handle(&self) -> &crate::shared::Handle {
        &self.transceiver.handle
    }
}

impl Stream for RemoteTrack {
    type Item = Packet;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { transceiver, key } = self.get_mut();
        let id = transceiver.id;
        poll_step(&transceiver.handle, Place::Track(id), key, cx, |state| {
            state.read_rtp(id, None)
        })
    }
}

impl Clone for RemoteTrack {
    fn clone(&self) -> Self {
        Self::new(self.transceiver.clone())
    }
}

impl Drop for RemoteTrack {
    fn drop(&mut self) {
        let id = self.transceiver.id;
        let key = &mut self.key;
        self.transceiver.handle.with(|state| {
            forget(state, Place::Track(id), key);
            state.remote_handle_dropped(id);
        });
    }
}

impl fmt::Debug for RemoteTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTrack")
            .field("track_id", self.track_id())
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}
