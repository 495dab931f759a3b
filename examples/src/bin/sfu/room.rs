//! What is published, and who is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_OPUS, MIME_TYPE_VP8, MediaEngine,
};
use rtc::peer_connection::configuration::{RTCConfiguration, RTCConfigurationBuilder};
use rtc::rtp::extension::ExtensionKind;
use rtc::rtp_transceiver::RtpCodecKind::{Audio, Video};
use rtc::rtp_transceiver::{RTCRtpHeaderExtensionCapability, RTCRtpTransceiverDirection};
use rtc_tokio::{Endpoint, Error, PeerConnection, RemoteTrack};
use tokio::sync::watch;

use crate::forward::Published;

/// Names somebody in the room.
pub(crate) type ParticipantId = u32;

/// The one room of the program.
pub(crate) struct Room {
    endpoint: Endpoint,
    configuration: RTCConfiguration,
    /// Everything that can be watched; participants wait for it to change.
    published: watch::Sender<Vec<Arc<Published>>>,
    connections: Mutex<BTreeMap<ParticipantId, PeerConnection>>,
    next_id: AtomicU32,
}

impl Room {
    pub(crate) fn new(endpoint: Endpoint) -> Result<Arc<Self>, rtc::Error> {
        // One certificate for all connections would do as well; each making its own costs little.
        let configuration = RTCConfigurationBuilder::new()
            .with_media_engine(media_engine()?)
            .build();
        Ok(Arc::new(Self {
            endpoint,
            configuration,
            published: watch::Sender::default(),
            connections: Mutex::default(),
            next_id: AtomicU32::new(1),
        }))
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A connection for somebody who joins.
    pub(crate) fn enter(&self) -> Result<(ParticipantId, PeerConnection), Error> {
        let connection = self.endpoint.peer_connection(self.configuration.clone())?;
        let id = self.next_id();
        self.connections().insert(id, connection.clone());
        Ok((id, connection))
    }

    pub(crate) fn leave(&self, id: ParticipantId) {
        self.connections().remove(&id);
    }

    /// Somebody has begun to send a track.
    pub(crate) fn publish(self: &Arc<Self>, owner: ParticipantId, name: &str, track: RemoteTrack) {
        let published = Arc::new(Published::new(self.next_id(), owner, name, track));
        self.published
            .send_modify(|all| all.push(Arc::clone(&published)));
        let room = Arc::clone(self);
        tokio::spawn(async move {
            published.forward().await;
            room.published
                .send_modify(|all| all.retain(|it| it.id() != published.id()));
        });
    }

    /// What can be watched, now and from now on.
    pub(crate) fn published(&self) -> watch::Receiver<Vec<Arc<Published>>> {
        self.published.subscribe()
    }

    /// The connections of those who are there.
    pub(crate) fn connections(&self) -> MutexGuard<'_, BTreeMap<ParticipantId, PeerConnection>> {
        // Nothing that could panic happens under the lock.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn next_id(&self) -> u32 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// Opus, and VP8 with retransmission, which every browser sends in layers. With one codec for each kind,
/// packets of everybody can be sent to everybody.
fn media_engine() -> Result<MediaEngine, rtc::Error> {
    let browsers = MediaEngine::with_defaults();
    let mut engine = MediaEngine::default();
    for (kind, mime_type) in [(Audio, MIME_TYPE_OPUS), (Video, MIME_TYPE_VP8)] {
        let codecs = browsers.codecs(kind);
        let Some(codec) = codecs.iter().find(|it| it.rtp_codec.mime_type == mime_type) else {
            continue;
        };
        let apt = format!("apt={}", codec.payload_type);
        let rtx = codecs.iter().find(|it| it.rtp_codec.sdp_fmtp_line == apt);
        for codec in [Some(codec), rtx].into_iter().flatten() {
            engine.register_codec(codec.clone(), kind)?;
        }
    }
    engine.register_default_header_extensions();
    // Numbers of frames that would not go on from one layer to another.
    engine.unregister_header_extension(ExtensionKind::DependencyDescriptor.uri(), Video);
    // Browsers tell what reaches them (REMB) when packets are not numbered for the transport.
    for kind in [Audio, Video] {
        let uri = ExtensionKind::TransportSequenceNumber.uri().to_owned();
        let extension = RTCRtpHeaderExtensionCapability { uri };
        let direction = RTCRtpTransceiverDirection::Recvonly;
        engine.register_header_extension(extension, kind, Some(direction))?;
    }
    Ok(engine)
}
