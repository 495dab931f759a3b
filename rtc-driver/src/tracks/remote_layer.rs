use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use rtc::rtp::Packet;
use rtc::rtp_transceiver::{RTCRtpCodecParameters, SSRC};

use super::samples::Samples;
use crate::RemoteTrack;
use crate::waiters::{Key, LayerId, Wait, forget, poll_step};

/// One simulcast layer of a [`RemoteTrack`], made by [`RemoteTrack::layer`].
///
/// As a [`Stream`] it gives the packets of the layer. Clones are of the same layer, and share its
/// packets; it is also a handle of its track.
#[derive(Debug)]
pub struct RemoteLayer {
    track: RemoteTrack,
    id: LayerId,
    rid: String,
    key: Key,
}

impl RemoteLayer {
    pub(super) fn new(track: RemoteTrack, rid: &str) -> Self {
        let id = track
            .handle()
            .with(|state| state.layer_handle_made(track.id(), rid));
        Self {
            track,
            id,
            rid: rid.to_owned(),
            key: Key::default(),
        }
    }

    /// The next packet; `None` when the track has ended, or the connection.
    ///
    /// Dropped before it is ready, no packet is lost.
    pub fn read_rtp(&self) -> impl Future<Output = Option<Packet>> + Send + '_ {
        let (track, layer) = (self.track.id(), self.id);
        let place = self.track.place(Some(layer));
        Wait::new(self.track.handle(), place, move |state| {
            state.read_rtp(track, Some(layer))
        })
    }

    /// Frames instead of packets, see [`Samples`].
    pub fn samples(&self) -> Samples {
        Samples::new(self.track.clone(), Some(self.clone()))
    }

    /// Its name.
    #[must_use]
    pub fn rid(&self) -> &str {
        &self.rid
    }

    /// Its source, once a packet has come.
    #[must_use]
    pub fn ssrc(&self) -> Option<SSRC> {
        let ssrc = self.track.view(|receiver| {
            let mut sources = receiver.ssrcs();
            let source = sources.find(|(_, rid)| *rid == Some(&*self.rid));
            source.map(|(ssrc, _)| ssrc)
        });
        ssrc.flatten()
    }

    /// The track that it is a layer of.
    #[must_use]
    pub fn track(&self) -> &RemoteTrack {
        &self.track
    }

    /// The codec of the packet that was read last, see [`RemoteTrack::codec`].
    #[must_use]
    pub fn codec(&self) -> Option<RTCRtpCodecParameters> {
        self.track.codec_read(Some(self.id))
    }

    /// Asks the peer for a key frame of the layer, see [`RemoteTrack::request_key_frame`].
    pub fn request_key_frame(&self) -> bool {
        self.track.request_key_frame_of(&self.rid)
    }

    /// How many packets were dropped because nobody read them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let (track, layer) = (self.track.id(), self.id);
        self.track
            .handle()
            .with(|state| state.dropped_of_layer(track, layer))
    }

    pub(super) fn id(&self) -> LayerId {
        self.id
    }
}

impl Stream for RemoteLayer {
    type Item = Packet;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { track, id, key, .. } = self.get_mut();
        let (track_id, layer) = (track.id(), *id);
        let place = track.place(Some(layer));
        poll_step(track.handle(), place, key, cx, |state| {
            state.read_rtp(track_id, Some(layer))
        })
    }
}

impl Clone for RemoteLayer {
    fn clone(&self) -> Self {
        Self::new(self.track.clone(), &self.rid)
    }
}

impl Drop for RemoteLayer {
    fn drop(&mut self) {
        let (track, layer, key) = (self.track.id(), self.id, &mut self.key);
        let place = self.track.place(Some(layer));
        self.track.handle().with(|state| {
            forget(state, place, key);
            state.layer_handle_dropped(track, layer);
        });
    }
}
