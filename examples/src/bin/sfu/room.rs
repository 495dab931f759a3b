//! What is published, and who is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtc::peer_connection::configuration::{RTCConfiguration, RTCConfigurationBuilder};
use rtc_examples::forwarding_engine;
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
            .with_media_engine(forwarding_engine()?)
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
