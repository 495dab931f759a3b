//! Many connections behind the same sockets.

mod builder;
mod driver;
mod group;
mod shared;

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_core::Stream;
use rtc::endpoint::{RTCEndpointCounters, RTCUnknownPeer};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::RTCConfiguration;

pub use self::builder::{EndpointBuilder, EndpointDriverOn};
pub use self::driver::EndpointDriver;
pub use self::group::EndpointGroup;

use self::shared::{EndpointShared, EndpointState, Incoming};
use crate::shared::{Handle, Phase, Shared};
use crate::waiters::{Key, Step, Wait, Watched, When, forget, poll_step};
use crate::{Error, PeerConnection, PumpCounters, Runtime};

/// Sockets that many peer connections share, for servers: one port, one task.
///
/// A handle: clones are of the same endpoint. Connections made by
/// [`peer_connection`](Self::peer_connection) are like any others; closing one, or dropping its last
/// handle, frees its place.
///
/// The endpoint lives until its last handle is dropped and its connections are gone, or until
/// [`close`](Self::close).
///
/// ```
/// # use rtc_driver::{Endpoint, Error, Runtime};
/// # use rtc_driver::rtc::peer_connection::configuration::RTCConfiguration;
/// # use rtc_driver::rtc::peer_connection::sdp::RTCSessionDescription;
/// /// Answers the offers of `signalling`, all on one port, and echoes what is sent.
/// async fn serve<R: Runtime>(
///     runtime: R,
///     mut signalling: impl Iterator<Item = (RTCSessionDescription, fn(RTCSessionDescription))>,
/// ) -> Result<(), Error> {
///     let endpoint = Endpoint::builder(runtime.clone()).bind(([0, 0, 0, 0], 3478).into()).build()?;
///     // A certificate of the server's own saves making one for each connection.
///     let configuration = RTCConfiguration::default();
///     while let Some((offer, respond)) = signalling.next() {
///         let connection = endpoint.peer_connection(configuration.clone())?;
///         connection.set_remote_description(offer)?;
///         connection.set_local_description(None)?;
///         respond(connection.gathering_complete().await?);
///         runtime.spawn(async move {
///             let Some(channel) = connection.data_channels().next().await else { return };
///             while let Some(Ok(message)) = channel.recv().await {
///                 if channel.send(message).await.is_err() {
///                     break;
///                 }
///             }
///         });
///     }
///     endpoint.close().await
/// }
/// ```
pub struct Endpoint {
    shared: Arc<EndpointShared>,
}

/// What an endpoint has received, sent and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointCounters {
    /// What was received, for whom, and what was dropped.
    pub datagrams: RTCEndpointCounters,
    /// What the sockets carried.
    pub sockets: PumpCounters,
    /// Datagrams that belonged to another member of the [group](EndpointGroup) and went there.
    pub handed_over: u64,
    /// Datagrams of other members of the group that found no room here.
    pub inbox_full: u64,
}

impl Endpoint {
    /// Begins an endpoint on a runtime; adapters give one that knows theirs.
    pub fn builder<R: Runtime>(runtime: R) -> EndpointBuilder<R> {
        EndpointBuilder::new(runtime)
    }

    pub(crate) fn new(shared: Arc<EndpointShared>) -> Self {
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Self { shared }
    }

    /// Makes a connection behind the sockets of the endpoint.
    ///
    /// Its ICE user name fragments have eight characters at least, unless the configuration gives
    /// credentials: by the fragment a peer is known at its first check.
    ///
    /// # Errors
    /// [`Error::Core`] when the configuration is refused, [`Error::Closed`], [`Error::DriverLost`].
    pub fn peer_connection(
        &self,
        configuration: RTCConfiguration,
    ) -> Result<PeerConnection, Error> {
        self.make(configuration, None)
    }

    /// Makes a connection for a peer that announced itself by its first check.
    ///
    /// The configuration has to have the credentials that the peer was given
    /// ([`AgentConfig::credentials`](rtc::ice::AgentConfig::credentials)), the peer's description has
    /// to come from elsewhere.
    ///
    /// # Errors
    /// As [`peer_connection`](Self::peer_connection); [`Error::Core`] also when the user name fragment
    /// is another one than the peer asked for.
    pub fn accept(
        &self,
        peer: RTCUnknownPeer,
        configuration: RTCConfiguration,
    ) -> Result<PeerConnection, Error> {
        let credentials = &configuration.setting_engine().ice.credentials;
        if credentials.as_ref().map(|it| &it.ufrag) != Some(&peer.local_ufrag) {
            return Err(Error::Core(rtc::Error::InvalidAccess(format!(
                "the peer asks for the user name fragment {:?}",
                peer.local_ufrag
            ))));
        }
        self.make(configuration, Some(peer))
    }

    fn make(
        &self,
        mut configuration: RTCConfiguration,
        peer: Option<RTCUnknownPeer>,
    ) -> Result<PeerConnection, Error> {
        let (interfaces, send_limit) = self.shared.with(|state| {
            state.check()?;
            Ok::<_, Error>((Arc::clone(&state.interfaces), state.send_limit))
        })?;
        let ice = &mut configuration.setting_engine_mut().ice;
        ice.ufrag_length = ice.ufrag_length.max(UFRAG_LENGTH);
        let configuration = configuration.with_now(self.shared.now());
        let mut core = RTCPeerConnection::new(configuration)?;
        for &(addr, protocol) in interfaces.iter() {
            core.add_local_interface(addr, protocol)?;
        }
        let shared = Shared::new(core);
        let connection = PeerConnection::new(Handle::new(&shared));
        if let Some(bytes) = send_limit {
            connection.set_channel_send_limit(bytes);
        }
        self.shared.with(|state| {
            state.check()?;
            state.nudge = true;
            state.peers += 1;
            state.incoming.push(Incoming {
                shared,
                interfaces,
                datagram: peer.map(|peer| peer.datagram),
            });
            Ok::<_, Error>(())
        })?;
        Ok(connection)
    }

    /// Those who check for a connection that is not there, from the first one on that nobody has
    /// taken yet; each goes to one reader. Beyond 128 the oldest is forgotten.
    ///
    /// What they say is not authenticated. A server that makes its credentials in a way that it can
    /// tell its own can [`accept`](Self::accept) them.
    pub fn unknown_peers(&self) -> UnknownPeers {
        UnknownPeers {
            shared: Arc::clone(&self.shared),
            key: Key::default(),
        }
    }

    /// The addresses at which peers can reach the endpoint.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let addrs = |state: &mut EndpointState| state.interfaces.iter().map(|it| it.0).collect();
        self.shared.with(addrs)
    }

    /// Number of connections that are not over.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.shared.with(|state| state.peers)
    }

    /// What was received, sent and dropped, as of the last turn of the driver.
    #[must_use]
    pub fn counters(&self) -> EndpointCounters {
        self.shared.with(|state| state.counters)
    }

    /// Closes every connection, as [`PeerConnection::close`] does, then the sockets, and waits until
    /// that is done. No more connections can be made from the call on.
    ///
    /// The endpoint is closed even if the future is dropped.
    ///
    /// # Errors
    /// [`Error::DriverLost`]: the peers were not told.
    pub async fn close(&self) -> Result<(), Error> {
        self.begin_close();
        Wait::new(&self.shared, (), |state: &mut EndpointState| {
            match &state.phase {
                Phase::Ended(result) => Step::Done(result.clone()),
                _ => Step::Wait(When::Any),
            }
        })
        .await
    }
}

impl Endpoint {
    fn begin_close(&self) {
        self.shared.with(EndpointState::begin_close);
    }
}

impl Clone for Endpoint {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            // It may be that nothing is left to wait for.
            self.shared.with(|state| state.nudge = true);
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("peers", &self.peers())
            .finish_non_exhaustive()
    }
}

/// Gives [`Endpoint::unknown_peers`]. It does not keep the endpoint alive.
#[must_use = "streams do nothing unless polled"]
pub struct UnknownPeers {
    shared: Arc<EndpointShared>,
    key: Key,
}

impl UnknownPeers {
    /// The next one; `None` when the endpoint is closed. Dropped before it is ready, none is lost.
    pub async fn next(&mut self) -> Option<RTCUnknownPeer> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for UnknownPeers {
    type Item = RTCUnknownPeer;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { shared, key } = self.get_mut();
        poll_step(shared, (), key, cx, |state| {
            match state.unknown.pop_front() {
                Some(peer) => Step::Done(Some(peer)),
                None if state.has_ended() => Step::Done(None),
                None => Step::Wait(When::Any),
            }
        })
    }
}

impl Drop for UnknownPeers {
    fn drop(&mut self) {
        self.shared.with(|state| forget(state, (), &mut self.key));
    }
}

impl fmt::Debug for UnknownPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnknownPeers").finish_non_exhaustive()
    }
}

/// 48 bits: among a million connections no two are likely to have the same.
const UFRAG_LENGTH: usize = 8;
