//! The peer connection (webrtc-pc section 4).

mod builder;
mod candidates;
pub mod configuration;
pub(crate) mod description;
pub mod event;
mod jsep;
mod media;
pub mod message;
mod names;
mod needed;
mod negotiate;
mod operations;
mod packets;
pub mod request;
pub mod sdp;
pub mod state;
pub mod transport;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_crypto::{Certificate, CertificateParams, CryptoProvider};
use rtc_interceptor::Registry;
use rtc_shared::{Protocol, Rng, TaggedBytesMut, Transmit, TransportContext, TransportProtocol};

pub use self::builder::RTCPeerConnectionBuilder;
use self::configuration::RTCConfiguration;
use self::description::Description;
use self::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use self::jsep::Jsep;
use self::message::RTCMessage;
use self::names::Names;
use self::negotiate::Numbers;
use self::operations::MadeOffer;
use self::request::{RTCAnswer, RTCRequest, RTCRequestId};
use self::state::{
    RTCDtlsTransportState, RTCIceConnectionState, RTCIceGatheringState, RTCPeerConnectionState,
    RTCSignalingState,
};
use self::transport::{RTCSctpTransport, RTCSctpTransportState};
use crate::Error;
use crate::data_channel::{DataChannels, RTCDataChannel, RTCDataChannelId, RTCDataChannelInit};
use crate::media_path::MediaPath;
use crate::rtp_transceiver::transceivers::Transceivers;
use crate::transport::{self as layers, Counters, Transport};

/// A WebRTC connection to one peer, as a state machine.
///
/// # Methods
///
/// * **W3C operations**: [`create_offer`](Self::create_offer), [`create_answer`](Self::create_answer),
///   [`set_local_description`](Self::set_local_description),
///   [`set_remote_description`](Self::set_remote_description),
///   [`add_remote_candidate`](Self::add_remote_candidate),
///   [`create_data_channel`](Self::create_data_channel), … take effect at once. One that fails
///   changes nothing.
/// * **Handlers** (`handle_*`) take what comes from outside: datagrams, messages to send, time.
/// * **Polls** (`poll_*`) give what goes outside. After every operation or handler, poll
///   [`poll_transmit`](Self::poll_transmit) (or [`poll_write`](Protocol::poll_write)),
///   [`poll_event`](Protocol::poll_event) and [`poll_read`](Protocol::poll_read) until each gives
///   `None`, then ask [`poll_timeout`](Protocol::poll_timeout).
///
/// # Time
///
/// Time moves only by the instants that come with datagrams, `poll_transmit` and `handle_timeout`, and
/// never backwards: older instants count as the latest one seen. Operations take no instant; the work
/// they start is due at once, so `poll_timeout` may give an instant that has passed, which means: call
/// `handle_timeout` now.
///
/// # Order
///
/// A message never overtakes the event that explains it: [`poll_read`](Protocol::poll_read) gives
/// nothing of a channel whose open event has not been polled yet.
pub struct RTCPeerConnection {
    configuration: RTCConfiguration,
    now: Instant,
    /// Wall-clock time since the Unix epoch at `epoch`.
    unix_epoch: (Instant, Duration),
    rng: Rng,
    jsep: Jsep,
    negotiation: Negotiation,
    pub(crate) transport: Transport,
    pub(crate) data: DataChannels,
    pub(crate) media: Transceivers,
    pub(crate) packets: MediaPath,
    /// The interceptors of this connection alone, until they are needed.
    registry: Option<Registry>,
    interfaces: Vec<(SocketAddr, TransportProtocol)>,
    names: Names,
    /// Servers were asked before there was a description.
    is_gathering_ahead: bool,
    events: VecDeque<RTCPeerConnectionEvent>,
    ice_state: RTCIceConnectionState,
    gathering_state: RTCIceGatheringState,
    connection_state: RTCPeerConnectionState,
    closed: bool,
    last_error: Option<Error>,
}

/// What offers and answers in the making have to remember.
#[derive(Debug, Default)]
struct Negotiation {
    session_id: u64,
    version: u64,
    last_offer: Option<MadeOffer>,
    last_answer: Option<Description>,
    /// ICE credentials of a description that was made but not applied yet.
    next_credentials: Option<rtc_ice::Credentials>,
    restart_requested: bool,
    needed: bool,
    /// What payload types and numbers of header extensions mean in this session.
    numbers: Numbers,
    /// Candidates that came between the peer's offer and our answer.
    held_candidates: Vec<transport::RTCIceCandidateInit>,
}

/// Events from outside that are no datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RTCEvent {
    /// A socket is gone: its interface went away or it failed.
    PathLost {
        /// The local address of the socket.
        local_addr: SocketAddr,
    },
    /// A socket was bound at an address that has come up; the same as
    /// [`add_local_interface`](RTCPeerConnection::add_local_interface).
    InterfaceFound {
        /// The local address of the socket.
        local_addr: SocketAddr,
        /// What it carries.
        protocol: TransportProtocol,
    },
    /// A datagram could not be sent. Over UDP that is a hint only: the path is judged by its checks. Over
    /// TCP the stream of the path has come to its end.
    SendFailed {
        /// Its path.
        transport: TransportContext,
    },
}

impl fmt::Debug for RTCPeerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RTCPeerConnection")
            .field("connection_state", &self.connection_state)
            .field("ice_connection_state", &self.ice_state)
            .field("signaling_state", &self.signaling_state())
            .finish_non_exhaustive()
    }
}

impl RTCPeerConnection {
    /// Makes a connection. It does nothing before it has local interfaces and descriptions.
    ///
    /// What the configuration leaves open, seed, wall-clock time and the first instant, is asked of
    /// the cryptographic provider and the system here, and nowhere else.
    ///
    /// # Errors
    /// [`Error::Syntax`] when the URL of a server is none, [`Error::InvalidAccess`] when a TURN server
    /// has no credentials or the certificate has expired, [`Error::Operation`] when there is no
    /// cryptographic provider, or it has no randomness to give.
    pub fn new(configuration: RTCConfiguration) -> Result<Self, Error> {
        crate::gather::validate(&configuration.ice_servers)?;
        let provider = crypto_provider(&configuration)?;
        let (now, unix_time) = ambient_time(&configuration);
        let seed = match configuration.seed {
            Some(seed) => seed,
            None => {
                let mut seed = [0; 32];
                provider
                    .random
                    .fill(&mut seed)
                    .map_err(|error| Error::Operation(error.to_string()))?;
                seed
            }
        };
        let mut rng = Rng::from_seed(seed);
        let certificate = match configuration.certificates.first() {
            Some(certificate) if certificate.is_expired(unix_time) => {
                return Err(Error::InvalidAccess(
                    "the certificate has expired".to_owned(),
                ));
            }
            Some(certificate) => certificate.clone(),
            None => Certificate::generate(provider, &CertificateParams::new(unix_time), &mut rng)
                .map_err(|error| Error::Operation(error.to_string()))?,
        };
        let relay_only =
            configuration.ice_transport_policy == configuration::RTCIceTransportPolicy::Relay;
        let transport = Transport::new(
            &configuration.setting,
            relay_only,
            provider,
            certificate,
            now,
            &mut rng,
        )?;
        let data = DataChannels::new(configuration.setting.max_message_size.get());
        // RFC 9429 section 5.2.1: the highest bit is zero.
        let session_id = rng.u64() >> 1;
        let media = Transceivers::new(rng.fork());
        let packets = MediaPath::new(configuration.setting.deliver_rtcp);
        Ok(Self {
            configuration,
            now,
            unix_epoch: (now, unix_time),
            rng,
            jsep: Jsep::default(),
            negotiation: Negotiation {
                session_id,
                ..Negotiation::default()
            },
            transport,
            data,
            media,
            packets,
            registry: None,
            interfaces: Vec::new(),
            names: Names::default(),
            is_gathering_ahead: false,
            events: VecDeque::new(),
            ice_state: RTCIceConnectionState::New,
            gathering_state: RTCIceGatheringState::New,
            connection_state: RTCPeerConnectionState::New,
            closed: false,
            last_error: None,
        })
    }

    /// The configuration in force.
    #[must_use]
    pub fn get_configuration(&self) -> &RTCConfiguration {
        &self.configuration
    }

    /// Changes the configuration. Servers and transport policy hold from the next gathering on, as
    /// with an ICE restart.
    ///
    /// # Errors
    /// [`Error::Syntax`] and [`Error::InvalidAccess`] as with [`new`](Self::new),
    /// [`Error::InvalidModification`] when the bundle policy, the certificates or, after the first
    /// local description, the candidate pool size would change; [`Error::InvalidState`] when the
    /// connection is closed.
    pub fn set_configuration(&mut self, configuration: RTCConfiguration) -> Result<(), Error> {
        if self.closed {
            return Err(Error::closed());
        }
        let current = &self.configuration;
        if configuration.bundle_policy != current.bundle_policy {
            return Err(Error::InvalidModification(
                "the bundle policy cannot change",
            ));
        }
        if !configuration.certificates.is_empty()
            && configuration.certificates != current.certificates
        {
            return Err(Error::InvalidModification("the certificates cannot change"));
        }
        let gathered = self.jsep.local().is_some();
        if gathered && configuration.ice_candidate_pool_size != current.ice_candidate_pool_size {
            return Err(Error::InvalidModification(
                "the candidate pool size cannot change now",
            ));
        }
        crate::gather::validate(&configuration.ice_servers)?;
        self.configuration.ice_servers = configuration.ice_servers;
        self.configuration.ice_transport_policy = configuration.ice_transport_policy;
        self.configuration.ice_candidate_pool_size = configuration.ice_candidate_pool_size;
        Ok(())
    }

    /// The transport below the data channels, once it was negotiated.
    #[must_use]
    pub fn sctp(&self) -> Option<RTCSctpTransport> {
        let negotiated = |it: &Description| it.data().is_some();
        let (local, remote) = (&self.jsep.current_local, &self.jsep.current_remote);
        if !local.as_ref().is_some_and(negotiated) || !remote.as_ref().is_some_and(negotiated) {
            return None;
        }
        let association = self.transport.sctp.as_ref();
        let connected = association.is_some_and(|it| it.state() == rtc_sctp::State::Established);
        Some(RTCSctpTransport {
            state: if self.closed || association.is_some_and(rtc_sctp::Association::is_ended) {
                RTCSctpTransportState::Closed
            } else if connected {
                RTCSctpTransportState::Connected
            } else {
                RTCSctpTransportState::Connecting
            },
            max_message_size: self.data.max_message_size(),
            max_channels: association
                .filter(|_| connected)
                .map(|it| it.max_inbound_streams().min(it.max_outbound_streams())),
        })
    }

    /// State of ICE and DTLS taken together.
    #[must_use]
    pub fn connection_state(&self) -> RTCPeerConnectionState {
        self.connection_state
    }

    /// State of ICE.
    #[must_use]
    pub fn ice_connection_state(&self) -> RTCIceConnectionState {
        self.ice_state
    }

    /// State of candidate gathering.
    #[must_use]
    pub fn ice_gathering_state(&self) -> RTCIceGatheringState {
        self.gathering_state
    }

    /// State of the offer/answer exchange.
    #[must_use]
    pub fn signaling_state(&self) -> RTCSignalingState {
        self.jsep.state()
    }

    /// State of the DTLS transport.
    #[must_use]
    pub fn dtls_state(&self) -> RTCDtlsTransportState {
        self.transport.dtls_state()
    }

    /// Wall-clock time since the Unix epoch at the latest instant seen.
    #[must_use]
    pub fn unix_time(&self) -> Duration {
        let (epoch, unix_time) = self.unix_epoch;
        unix_time + self.now.saturating_duration_since(epoch)
    }

    /// The path that data takes now.
    #[must_use]
    pub fn selected_path(&self) -> Option<rtc_shared::FiveTuple> {
        self.transport.ice.selected_path()
    }

    /// Whether a TCP stream that the peer has opened is worth keeping: somebody who knows our password
    /// has sent a check by it. Who listens closes streams of which this is not true after some seconds
    /// (RFC 6544 section 11).
    #[must_use]
    pub fn accepts_stream(&self, path: &rtc_shared::FiveTuple) -> bool {
        self.transport.accepts_stream(path)
    }

    /// Why the connection failed, once it has.
    #[must_use]
    pub fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    /// What went over the transport and what was dropped.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            media: self.packets.counters,
            ..self.transport.counters
        }
    }

    /// True after [`close`](Protocol::close) was called, or the peer closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// True when the connection is closed, everything that closing has to tell was polled, and TURN
    /// servers have confirmed that they have nothing of it any more, or did not answer.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.closed && self.transport.is_drained(&self.packets)
    }

    /// True when everything that was given to `send` has been acknowledged by the peer or given up,
    /// or cannot be any more.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.connection_state != RTCPeerConnectionState::Connected
            || self
                .transport
                .sctp
                .as_ref()
                .is_none_or(|sctp| sctp.is_flushed() || sctp.is_ended())
    }

    /// Whether events wait to be polled.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty() || self.transport.gather.has_requests()
    }

    /// Says that the sockets of the interfaces serve other connections too.
    pub(crate) fn share_sockets(&mut self) {
        self.transport.gather.share_sockets();
    }

    /// Something that only the outside can do, such as to look up the name of a server; to be polled
    /// until there is nothing.
    pub fn poll_request(&mut self) -> Option<RTCRequest> {
        self.transport.gather.poll_request()
    }

    /// Whether there is something to be polled by [`poll_request`](Self::poll_request).
    #[must_use]
    pub fn has_requests(&self) -> bool {
        self.transport.gather.has_requests()
    }

    /// Takes what came of a request. An answer that nobody waits for any more is ignored.
    pub fn handle_answer(&mut self, now: Instant, id: RTCRequestId, answer: RTCAnswer) {
        self.advance(now);
        let is_taken = !self.closed
            && (self.answer_lookup(id, &answer) || self.transport.answer_stream(id, &answer));
        if !is_taken {
            self.transport.gather.handle_answer(self.now, id, &answer);
        }
        self.settle();
    }

    /// Takes a batch of datagrams, all that one receive call brought. Acknowledgements and events
    /// settle once for all of them. The vector is left empty, its memory can be used again.
    pub fn handle_read_batch(&mut self, batch: &mut Vec<TaggedBytesMut>) {
        for message in batch.drain(..) {
            self.advance(message.now);
            if !self.is_drained() {
                let message = TaggedBytesMut {
                    now: self.now,
                    ..message
                };
                self.transport
                    .handle_read(message, &self.configuration.setting, &mut self.packets);
            }
        }
        self.settle();
    }

    /// Appends up to `max_datagrams` datagrams of one path and one size to `buf`; the last may be
    /// shorter. What is appended is to be sent, in this order.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        max_datagrams: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        self.advance(now);
        let mtu = self.configuration.setting.mtu;
        let transmit =
            self.transport
                .poll_transmit(self.now, max_datagrams, mtu, buf, &mut self.packets);
        if transmit.is_some() {
            // Sending empties buffers, which is told to the channels.
            self.settle();
        }
        transmit
    }

    /// A channel that became readable or writable or changed its state since it was last given
    /// here; each is given once. For drivers that wake whoever waits for it.
    pub fn poll_ready_data_channel(&mut self) -> Option<RTCDataChannelId> {
        self.data.poll_ready()
    }

    /// Makes a data channel.
    ///
    /// # Errors
    /// [`Error::Type`] when label or protocol are longer than 65,535 bytes, both limits are given, or
    /// the negotiated id is 65,535; [`Error::Operation`] when the negotiated id is taken;
    /// [`Error::InvalidState`] when the connection is closed.
    pub fn create_data_channel(
        &mut self,
        label: &str,
        init: Option<RTCDataChannelInit>,
    ) -> Result<RTCDataChannel<'_>, Error> {
        if self.closed {
            return Err(Error::closed());
        }
        let id = self.data.create(label, init.unwrap_or_default())?;
        self.settle();
        self.update_negotiation_needed();
        Ok(RTCDataChannel {
            connection: self,
            id,
        })
    }

    /// A view of a data channel.
    pub fn data_channel(&mut self, id: RTCDataChannelId) -> Option<RTCDataChannel<'_>> {
        self.data.get(id)?;
        Some(RTCDataChannel {
            connection: self,
            id,
        })
    }

    /// Forgets a closed channel whose messages nobody will read any more. Channels that are not
    /// closed are left alone.
    pub fn release_data_channel(&mut self, id: RTCDataChannelId) {
        self.data.release(id, &mut self.transport);
    }

    /// Moves time forward.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Carries what happened in a layer to the layers above and to the application.
    pub(crate) fn settle(&mut self) {
        while let Some(event) = self
            .transport
            .poll_event(self.now, &self.configuration.setting)
        {
            match event {
                layers::Event::Gather(event) => self.on_gather(event),
                layers::Event::Ice(event) => self.on_ice(event),
                layers::Event::DtlsState(state) => self.on_dtls_state(state),
                layers::Event::DtlsFailed(error) => self.on_dtls_failed(&error),
                layers::Event::Sctp(event) => {
                    if self.data.on_sctp(event, &mut self.transport) {
                        self.update_connection_state();
                    }
                }
            }
        }
        self.finish_gathering();
        self.settle_media();
        self.data.settle(&mut self.transport);
        while let Some(event) = self.data.poll_event() {
            self.events
                .push_back(RTCPeerConnectionEvent::OnDataChannel(event));
        }
    }

    fn on_ice(&mut self, event: rtc_ice::Event) {
        match event {
            rtc_ice::Event::StateChanged(state) => {
                let state = match state {
                    rtc_ice::State::New => RTCIceConnectionState::New,
                    rtc_ice::State::Checking => RTCIceConnectionState::Checking,
                    rtc_ice::State::Connected => RTCIceConnectionState::Connected,
                    rtc_ice::State::Completed => RTCIceConnectionState::Completed,
                    rtc_ice::State::Disconnected => RTCIceConnectionState::Disconnected,
                    rtc_ice::State::Failed => RTCIceConnectionState::Failed,
                    _ => RTCIceConnectionState::Closed,
                };
                if state == RTCIceConnectionState::Completed {
                    self.transport.gather.conclude();
                }
                if state != self.ice_state && !self.closed {
                    self.ice_state = state;
                    self.events
                        .push_back(RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(
                            state,
                        ));
                    self.update_connection_state();
                }
            }
            rtc_ice::Event::SelectedPathChanged(path) => {
                self.transport.gather.select(self.now, path);
            }
            _ => tracing::trace!(?event, "ICE"),
        }
    }

    fn on_dtls_state(&mut self, state: RTCDtlsTransportState) {
        if state == RTCDtlsTransportState::Connected
            && let Some(role) = self.transport.dtls_role()
        {
            self.data.set_dtls_role(role);
            self.start_media();
        }
        self.update_connection_state();
        if state == RTCDtlsTransportState::Closed && !self.closed {
            // The peer's close_notify: nothing can come or go any more.
            self.end();
        }
    }

    fn on_dtls_failed(&mut self, error: &rtc_dtls::Error) {
        tracing::debug!(%error, "DTLS failed");
        let detail = match error {
            rtc_dtls::Error::FingerprintMismatch => crate::RTCErrorDetailType::FingerprintFailure,
            _ => crate::RTCErrorDetailType::DtlsFailure,
        };
        self.last_error = Some(Error::Rtc {
            detail,
            message: error.to_string(),
            sdp_line: None,
        });
        self.data.close_all(true);
        self.update_connection_state();
    }

    /// webrtc-pc section 4.3.3, with one difference: a transport that the peer has closed is
    /// `closed`, where browsers stay `connected` for ever.
    fn update_connection_state(&mut self) {
        let state = match (self.ice_state, self.transport.dtls_state()) {
            _ if self.closed => RTCPeerConnectionState::Closed,
            (RTCIceConnectionState::Failed, _) | (_, RTCDtlsTransportState::Failed) => {
                RTCPeerConnectionState::Failed
            }
            (RTCIceConnectionState::Disconnected, _) => RTCPeerConnectionState::Disconnected,
            (RTCIceConnectionState::New, RTCDtlsTransportState::New) => RTCPeerConnectionState::New,
            (
                RTCIceConnectionState::Connected | RTCIceConnectionState::Completed,
                RTCDtlsTransportState::Connected,
            ) => RTCPeerConnectionState::Connected,
            _ => RTCPeerConnectionState::Connecting,
        };
        // A connection that was up and checks again after a restart stays what it was.
        if state != self.connection_state {
            self.connection_state = state;
            self.events
                .push_back(RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state));
        }
    }

    /// Ends the connection, by either side.
    fn end(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.withdraw_names();
        self.data.keep_unread(&mut self.transport);
        self.packets.close(self.now);
        self.transport.close(self.now);
        self.data.close_all(false);
        self.media.close();
        self.flush_track_events();
        while let Some(event) = self.data.poll_event() {
            self.events
                .push_back(RTCPeerConnectionEvent::OnDataChannel(event));
        }
        self.jsep.close();
        if self.ice_state != RTCIceConnectionState::Closed {
            self.ice_state = RTCIceConnectionState::Closed;
            self.events
                .push_back(RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(
                    RTCIceConnectionState::Closed,
                ));
        }
        self.update_connection_state();
    }
}

impl Protocol<TaggedBytesMut, RTCMessage, RTCEvent> for RTCPeerConnection {
    type Rout = RTCMessage;
    type Wout = TaggedBytesMut;
    type Eout = RTCPeerConnectionEvent;
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedBytesMut) -> Result<(), Error> {
        // Servers may still have to confirm the end.
        if self.closed && self.transport.gather.is_drained() {
            return Err(Error::closed());
        }
        self.advance(message.now);
        let message = TaggedBytesMut {
            now: self.now,
            ..message
        };
        self.transport
            .handle_read(message, &self.configuration.setting, &mut self.packets);
        self.settle();
        Ok(())
    }

    fn poll_read(&mut self) -> Option<RTCMessage> {
        if let Some((track, packet)) = self.packets.read_rtp() {
            return Some(RTCMessage::RtpPacket(track, packet));
        }
        if let Some((track, packets)) = self.packets.read_rtcp() {
            return Some(RTCMessage::RtcpPacket(track, packets));
        }
        let (id, message) = self.data.read(&mut self.transport)?;
        Some(RTCMessage::DataChannelMessage(id, message))
    }

    fn handle_write(&mut self, message: RTCMessage) -> Result<(), Error> {
        match message {
            RTCMessage::DataChannelMessage(id, message) => self
                .data
                .send(id, message, &mut self.transport)
                .map_err(|refused| refused.error),
            RTCMessage::RtpPacket(track, packet) => self.write_rtp(&track, packet),
            RTCMessage::RtcpPacket(track, packets) => self.write_rtcp(&track, packets),
        }
    }

    fn poll_write(&mut self) -> Option<TaggedBytesMut> {
        let mut datagram = Vec::with_capacity(self.configuration.setting.mtu);
        let transmit = self.poll_transmit(self.now, 1, &mut datagram)?;
        Some(TaggedBytesMut {
            now: self.now,
            transport: transmit.transport,
            message: BytesMut::from(bytes::Bytes::from(datagram)),
        })
    }

    fn handle_event(&mut self, event: RTCEvent) -> Result<(), Error> {
        match event {
            RTCEvent::PathLost { local_addr } => {
                self.lose_path(local_addr);
            }
            RTCEvent::InterfaceFound {
                local_addr,
                protocol,
            } => self.add_local_interface(local_addr, protocol)?,
            RTCEvent::SendFailed { transport }
                if transport.transport_protocol == TransportProtocol::TCP =>
            {
                self.transport.lose_stream(&transport.five_tuple());
                self.settle();
            }
            RTCEvent::SendFailed { transport } => {
                tracing::trace!(peer = %transport.peer_addr, "a datagram could not be sent");
            }
        }
        Ok(())
    }

    fn poll_event(&mut self) -> Option<RTCPeerConnectionEvent> {
        let Some(event) = self.events.pop_front() else {
            return self.poll_sender_event();
        };
        match &event {
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) => {
                self.data.announced(*id);
            }
            RTCPeerConnectionEvent::OnTrack(event) => self.packets.announce(event),
            _ => {}
        }
        Some(event)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.advance(now);
        self.transport.handle_timeout(self.now);
        if !self.closed {
            self.packets.handle_timeout(self.now);
        }
        self.settle();
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let transport = self.transport.poll_timeout();
        if self.closed {
            // Servers that have to be told.
            return transport;
        }
        transport
            .into_iter()
            .chain(self.packets.poll_timeout())
            .min()
    }

    /// Closes the connection: channels and association end, the peer is told. Closing twice is no
    /// error. The last datagrams are left in `poll_transmit`; see [`is_drained`](Self::is_drained).
    fn close(&mut self) -> Result<(), Error> {
        self.end();
        Ok(())
    }
}

fn crypto_provider(configuration: &RTCConfiguration) -> Result<&'static CryptoProvider, Error> {
    configuration
        .setting
        .crypto_provider
        .or_else(default_provider)
        .ok_or_else(|| Error::Operation("no cryptographic provider is built in".to_owned()))
}

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
fn default_provider() -> Option<&'static CryptoProvider> {
    Some(rtc_crypto::default_provider())
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn default_provider() -> Option<&'static CryptoProvider> {
    None
}

/// The first instant and the wall-clock time at it.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the system is asked for what the configuration leaves open"
)]
fn ambient_time(configuration: &RTCConfiguration) -> (Instant, Duration) {
    let now = configuration.now.unwrap_or_else(Instant::now);
    let unix_time = configuration.unix_time.unwrap_or_else(|| {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default()
    });
    (now, unix_time)
}
