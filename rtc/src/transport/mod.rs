//! ICE, DTLS, SRTP and SCTP, one above the other, and the ways through them.

pub(crate) mod demux;
mod egress;
mod srtp;
pub(crate) mod streams;
mod traffic;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use rtc_crypto::{Certificate, CryptoProvider, Fingerprint};
use rtc_datachannel::PayloadProtocolId;
use rtc_dtls::Role as DtlsRole;
use rtc_ice::{Agent, Candidate, Credentials, TcpType};
use rtc_sctp::Association;
use rtc_shared::{FiveTuple, Protocol, Rng, TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_turn::Received;
use tracing::{debug, trace};

use self::demux::Class;
use self::srtp::{EarlyMedia, Srtp};
use self::streams::{ACTIVE_PORT, Streams};
use self::traffic::Paths;
pub(crate) use self::traffic::Traffic;
use crate::Error;
use crate::gather::{self, Gatherer};
use crate::media_path::{MediaCounters, MediaPath};
use crate::peer_connection::configuration::{
    AddressRewrite, AddressRewriteMode, IceTcp, RTCIceServer, SettingEngine,
};
use crate::peer_connection::description::TransportSection;
use crate::peer_connection::state::RTCDtlsTransportState;

/// The one transport of a connection.
#[derive(Debug)]
pub(crate) struct Transport {
    provider: &'static CryptoProvider,
    certificate: Certificate,
    rng: Rng,
    pub(crate) ice: Agent,
    pub(crate) gather: Gatherer,
    streams: Streams,
    pub(crate) dtls: Option<rtc_dtls::Connection>,
    pub(crate) sctp: Option<Association>,
    /// Made when the handshake is done, if a profile was negotiated.
    srtp: Option<Box<Srtp>>,
    early_media: EarlyMedia,
    dtls_state: RTCDtlsTransportState,
    /// Known from the first answer on.
    peer: Option<Peer>,
    /// DTLS datagrams with their paths that came before our side was ready, or before ICE had proven
    /// the path: the client may be faster than the answer on its way through signalling.
    early: Vec<(FiveTuple, BytesMut)>,
    /// Why DTLS could not even begin.
    failure: Option<rtc_dtls::Error>,
    /// Where the last messages of a closed connection go.
    farewell: Option<FiveTuple>,
    is_closed: bool,
    pub(crate) counters: Counters,
    pub(crate) paths: Paths,
}

/// What the answer told of the peer.
#[derive(Clone, Debug)]
struct Peer {
    role: DtlsRole,
    fingerprints: Vec<Fingerprint>,
    /// `None` while there are no data channels.
    sctp_port: Option<u16>,
}

/// What went over the transport and what was dropped, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Datagrams sent.
    pub packets_sent: u64,
    /// Bytes sent, UDP payload.
    pub bytes_sent: u64,
    /// Datagrams received, dropped ones included.
    pub packets_received: u64,
    /// Bytes received, UDP payload.
    pub bytes_received: u64,
    /// Datagrams of no known protocol.
    pub dropped_unknown: u64,
    /// DTLS, RTP or RTCP from an address that ICE has not proven.
    pub dropped_unproven_path: u64,
    /// DTLS that came too early, beyond what is kept.
    pub dropped_early: u64,
    /// RTP and RTCP after a handshake that gave no keys for it.
    pub dropped_media: u64,
    /// Audio and video.
    pub media: MediaCounters,
}

/// What the layers have to tell.
#[derive(Debug)]
pub(crate) enum Event {
    Gather(gather::Event),
    Ice(rtc_ice::Event),
    DtlsState(RTCDtlsTransportState),
    DtlsFailed(rtc_dtls::Error),
    Sctp(rtc_sctp::Event),
}

impl Transport {
    pub(crate) fn new(
        setting: &SettingEngine,
        relay_only: bool,
        provider: &'static CryptoProvider,
        certificate: Certificate,
        now: Instant,
        rng: &mut Rng,
    ) -> Result<Self, Error> {
        let mut ice_config = setting.ice.clone();
        ice_config.lite = setting.ice_lite;
        ice_config.relay_only = relay_only;
        let mut ice = Agent::new(ice_config, provider, rng.fork())
            .map_err(|error| Error::Operation(error.to_string()))?;
        // Its clock begins here.
        let _ = ice.handle_timeout(now);
        Ok(Self {
            provider,
            certificate,
            rng: rng.fork(),
            ice,
            gather: Gatherer::new(setting, provider, rng.fork(), now),
            streams: Streams::default(),
            dtls: None,
            sctp: None,
            srtp: None,
            early_media: EarlyMedia::default(),
            dtls_state: RTCDtlsTransportState::New,
            peer: None,
            early: Vec::new(),
            failure: None,
            farewell: None,
            is_closed: false,
            counters: Counters::default(),
            paths: Paths::default(),
        })
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn provider(&self) -> &'static CryptoProvider {
        self.provider
    }

    pub(crate) fn dtls_state(&self) -> RTCDtlsTransportState {
        self.dtls_state
    }

    /// Our DTLS role, once the answer has settled it.
    pub(crate) fn dtls_role(&self) -> Option<DtlsRole> {
        self.peer.as_ref().map(|peer| peer.role)
    }

    /// The peer's SCTP port, while data channels are negotiated.
    pub(crate) fn sctp_port(&self) -> Option<u16> {
        self.peer.as_ref()?.sctp_port
    }

    /// Adds the candidates of a bound socket.
    pub(crate) fn add_host(
        &mut self,
        addr: SocketAddr,
        protocol: TransportProtocol,
        rewrite: &[AddressRewrite],
        tcp: IceTcp,
    ) -> Vec<Candidate> {
        let host = Candidate::host(addr, protocol);
        let rule = rewrite.iter().find(|rule| rule.fits(addr));
        let external = rule.map(|rule| SocketAddr::new(rule.external, addr.port()));
        let candidates = match (rule.map(|rule| rule.mode), external) {
            (Some(AddressRewriteMode::Replace), Some(external)) => {
                vec![Candidate::host(external, protocol).with_base(addr)]
            }
            (Some(AddressRewriteMode::Add), Some(external))
                if protocol == TransportProtocol::UDP =>
            {
                vec![host, Candidate::server_reflexive(external, addr)]
            }
            _ => vec![host],
        };
        candidates
            .into_iter()
            .chain(tcp_candidates(addr, protocol, tcp))
            .filter_map(|candidate| self.ice.add_local_candidate(candidate).cloned())
            .collect()
    }

    /// Tells whether a description of the peer fits what is established already.
    pub(crate) fn check_peer(
        &self,
        remote: &TransportSection,
        role: DtlsRole,
    ) -> Result<(), Error> {
        if let Some(peer) = &self.peer
            && self.dtls_state == RTCDtlsTransportState::Connected
        {
            if peer.fingerprints != remote.fingerprints {
                return Err(Error::InvalidModification(
                    "the fingerprint changed within a DTLS association",
                ));
            }
            if peer.role != role {
                return Err(Error::InvalidModification(
                    "the DTLS role changed within a DTLS association",
                ));
            }
        }
        self.check_credentials(remote)
    }

    /// Tells whether the credentials of a description can follow those in use.
    pub(crate) fn check_credentials(&self, remote: &TransportSection) -> Result<(), Error> {
        self.ice
            .check_remote_credentials(&remote.credentials)
            .map_err(|error| Error::Operation(error.to_string()))
    }

    /// Takes what a description of the peer says of its side, with the SCTP port if there are to be
    /// data channels.
    pub(crate) fn set_peer(
        &mut self,
        now: Instant,
        remote: &TransportSection,
        sctp_port: Option<u16>,
        role: DtlsRole,
    ) -> Result<(), Error> {
        self.check_peer(remote, role)?;
        if self
            .peer
            .as_ref()
            .is_some_and(|peer| peer.role != role || peer.fingerprints != remote.fingerprints)
        {
            // The answer before was another one, of another peer or one that never took effect; the
            // handshake that it began cannot succeed.
            self.dtls = None;
            self.srtp = None;
            self.failure = None;
            self.dtls_state = RTCDtlsTransportState::New;
        }
        self.ice.set_remote_lite(remote.lite);
        self.ice
            .set_remote_credentials(remote.credentials.clone())
            .map_err(|error| Error::Operation(error.to_string()))?;
        self.peer = Some(Peer {
            role,
            fingerprints: remote.fingerprints.clone(),
            sctp_port,
        });
        for candidate in &remote.candidates {
            self.add_remote_candidate(now, candidate.clone());
        }
        if remote.end_of_candidates {
            self.ice.end_of_remote_candidates();
        }
        Ok(())
    }

    /// Asks the servers, with what the configuration says now.
    pub(crate) fn begin_gathering(
        &mut self,
        now: Instant,
        servers: &[RTCIceServer],
        relay_only: bool,
    ) {
        self.ice.set_relay_only(relay_only);
        // Of the peer's earlier candidates those count that a generation still has.
        let known = self.ice.peer_addresses().map(|it| it.ip()).collect();
        self.gather.retain_peers(&known);
        self.gather.begin(now, servers, relay_only, &mut self.ice);
    }

    pub(crate) fn add_remote_candidate(&mut self, now: Instant, candidate: Candidate) {
        if let Some(address) = candidate.socket_addr()
            && candidate.transport == TransportProtocol::UDP
        {
            self.gather.permit(now, address.ip());
        }
        // A candidate that cannot be used is ignored, as W3C asks.
        if let Err(error) = self.ice.add_remote_candidate(candidate) {
            debug!(%error, "remote candidate ignored");
        }
    }

    /// The round trip time that ICE has measured last.
    pub(crate) fn round_trip_time(&self) -> Option<Duration> {
        self.ice.round_trip_time()
    }

    /// Begins a new generation of ICE; the path in use goes on until it has one of its own.
    pub(crate) fn restart_ice(&mut self, credentials: Credentials) -> Result<(), Error> {
        self.ice
            .restart_with(credentials)
            .map_err(|error| Error::Operation(error.to_string()))
    }

    /// Takes one datagram. The plaintext of DTLS goes on to SCTP, that of SRTP to the media path, all in
    /// the same buffer.
    pub(crate) fn handle_read(
        &mut self,
        message: TaggedBytesMut,
        setting: &SettingEngine,
        media: &mut MediaPath,
    ) {
        let TaggedBytesMut {
            now,
            transport,
            message: datagram,
        } = message;
        self.counters.packets_received += 1;
        self.counters.bytes_received += datagram.len() as u64;
        let class = demux::classify(&datagram);
        if self.is_closed {
            let _ = self.gather.handle_read(now, &transport, &datagram);
            return;
        }
        if matches!(class, Class::Stun | Class::ChannelData) && self.gather.is_active() {
            match self.gather.handle_read(now, &transport, &datagram) {
                Received::Data {
                    peer,
                    relayed,
                    payload,
                } => {
                    let mut inner = datagram;
                    inner.truncate(payload.end);
                    inner.advance(payload.start.min(inner.len()));
                    // The mark of the outer packet is for the way from the relay alone.
                    let transport = TransportContext {
                        local_addr: relayed,
                        peer_addr: peer,
                        transport_protocol: TransportProtocol::UDP,
                        ecn: None,
                    };
                    let class = demux::classify(&inner);
                    return self.dispatch(now, transport, class, inner, setting, media);
                }
                Received::Consumed => return,
                Received::NotMine => {}
            }
        }
        let mut transport = transport;
        if transport.transport_protocol == TransportProtocol::TCP {
            let path = self.incoming_path(transport.five_tuple());
            transport = path.context(transport.ecn);
        }
        self.dispatch(now, transport, class, datagram, setting, media);
    }

    /// Takes one datagram, out of what a relay has put around it.
    fn dispatch(
        &mut self,
        now: Instant,
        transport: TransportContext,
        class: Class,
        datagram: BytesMut,
        setting: &SettingEngine,
        media: &mut MediaPath,
    ) {
        match class {
            Class::Stun => {
                let before = self.ice.round_trip_time();
                // Junk and closed agents are the agent's own matter.
                let _ = self.ice.handle_read(TaggedBytesMut {
                    now,
                    transport,
                    message: datagram,
                });
                let measured = self.ice.round_trip_time();
                if let Some(time) = measured.filter(|_| measured != before) {
                    media.add_round_trip_time(time);
                }
            }
            Class::Dtls => self.handle_dtls(now, &transport, datagram, setting),
            Class::Rtp => self.handle_srtp(now, &transport, datagram, false, media),
            Class::Rtcp => self.handle_srtp(now, &transport, datagram, true, media),
            Class::ChannelData | Class::Unknown => {
                trace!(peer = %transport.peer_addr, "datagram of no known protocol");
                self.counters.dropped_unknown += 1;
            }
        }
    }

    fn handle_dtls(
        &mut self,
        now: Instant,
        transport: &TransportContext,
        datagram: BytesMut,
        setting: &SettingEngine,
    ) {
        if self.dtls.is_none() || !self.ice.accepts(&transport.five_tuple()) {
            if self.dtls_state != RTCDtlsTransportState::New
                && self.dtls_state != RTCDtlsTransportState::Connecting
            {
                self.counters.dropped_unproven_path += 1;
            } else if self.early.len() < MAX_EARLY_DATAGRAMS && datagram.len() <= MAX_EARLY_LENGTH {
                // The peer's check may still be on its way while its handshake is here already.
                self.early.push((transport.five_tuple(), datagram));
            } else {
                self.counters.dropped_early += 1;
            }
            return;
        }
        self.received(now, transport, datagram.len());
        self.feed_dtls(now, datagram, setting);
    }

    /// Counts a datagram of a path that ICE accepts.
    fn received(&mut self, now: Instant, transport: &TransportContext, length: usize) {
        let count = |traffic: &mut Traffic| traffic.received.add(now, 1, length);
        self.paths.update(&transport.five_tuple(), count);
    }

    fn feed_dtls(&mut self, now: Instant, datagram: BytesMut, setting: &SettingEngine) {
        let Some(dtls) = &mut self.dtls else { return };
        let Self {
            sctp, peer, rng, ..
        } = self;
        dtls.handle_datagram(now, datagram, &mut |packet| {
            // The peer's first SCTP packet may come in the datagram that ends the handshake.
            if let Some(sctp) = begun(sctp, peer.as_ref(), setting, now, rng) {
                sctp.handle_packet(now, packet);
            }
        });
    }

    /// Lets each layer begin that has what it needs.
    pub(crate) fn advance(&mut self, now: Instant, setting: &SettingEngine) {
        let Some(peer) = &self.peer else { return };
        if self.dtls.is_none()
            && self.dtls_state == RTCDtlsTransportState::New
            && self.ice.selected_path().is_some()
        {
            let mut config = rtc_dtls::Config::new(self.provider, self.certificate.clone());
            config.peer_fingerprints = peer.fingerprints.clone();
            config.srtp_profiles = setting.srtp_profiles.clone();
            config.cookie_exchange = setting.dtls_cookie_exchange;
            config.require_extended_master_secret = !setting.allow_missing_extended_master_secret;
            config.legacy_cbc = setting.dtls_legacy_cbc;
            config.mtu = setting.mtu;
            config.initial_rtt = self.ice.round_trip_time();
            match rtc_dtls::Connection::new(config, peer.role, now, self.rng.fork()) {
                Ok(dtls) => self.dtls = Some(dtls),
                Err(error) => {
                    self.dtls_state = RTCDtlsTransportState::Failed;
                    self.failure = Some(error);
                    return;
                }
            }
        }
        if self.dtls_state == RTCDtlsTransportState::Connected && self.sctp.is_none() {
            // Data channels came later than the connection.
            self.connect_sctp(now, setting);
        }
        if self.dtls.is_some() && !self.early.is_empty() {
            let early = std::mem::take(&mut self.early).into_iter();
            let (proven, unproven): (Vec<_>, Vec<_>) =
                early.partition(|(path, _)| self.ice.accepts(path));
            self.early = unproven;
            for (_, datagram) in proven {
                self.feed_dtls(now, datagram, setting);
            }
        }
    }

    /// The next thing that a layer has to tell, lowest layer first.
    pub(crate) fn poll_event(&mut self, now: Instant, setting: &SettingEngine) -> Option<Event> {
        if let Some(event) = self.gather.poll_event() {
            return Some(Event::Gather(event));
        }
        if let Some(event) = self.ice.poll_event() {
            return Some(Event::Ice(event));
        }
        self.advance(now, setting);
        if let Some(error) = self.failure.take() {
            return Some(Event::DtlsFailed(error));
        }
        if let Some(dtls) = &mut self.dtls {
            if let Some(event) = dtls.poll_event() {
                return Some(match event {
                    rtc_dtls::Event::Connected => {
                        self.install_srtp();
                        self.connect_sctp(now, setting);
                        self.set_dtls_state(RTCDtlsTransportState::Connected)
                    }
                    rtc_dtls::Event::Failed(error) => {
                        self.set_dtls_state(RTCDtlsTransportState::Failed);
                        Event::DtlsFailed(error)
                    }
                    _ => self.set_dtls_state(RTCDtlsTransportState::Closed),
                });
            }
            if self.dtls_state == RTCDtlsTransportState::New {
                return Some(self.set_dtls_state(RTCDtlsTransportState::Connecting));
            }
        }
        self.sctp.as_mut()?.poll_event().map(Event::Sctp)
    }

    fn connect_sctp(&mut self, now: Instant, setting: &SettingEngine) {
        let Self {
            sctp, peer, rng, ..
        } = self;
        if let Some(sctp) = begun(sctp, peer.as_ref(), setting, now, rng) {
            sctp.connect(now);
        }
    }

    fn set_dtls_state(&mut self, state: RTCDtlsTransportState) -> Event {
        self.dtls_state = state;
        if state != RTCDtlsTransportState::Connecting {
            self.early = Vec::new();
            if self.srtp.is_none() {
                self.early_media.clear();
            }
        }
        Event::DtlsState(state)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.gather.handle_timeout(now, &self.ice);
        if self.is_closed {
            return;
        }
        let _ = self.ice.handle_timeout(now);
        if self.gather.has_retired() {
            self.gather.release(&self.ice);
        }
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_timeout(now);
        }
        if let Some(sctp) = &mut self.sctp {
            sctp.handle_timeout(now);
        }
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        if self.is_closed {
            return self.gather.poll_timeout();
        }
        let dtls = self
            .dtls
            .as_ref()
            .and_then(rtc_dtls::Connection::poll_timeout);
        let sctp = self.sctp.as_ref().and_then(Association::poll_timeout);
        let gather = self.gather.poll_timeout();
        [self.ice.poll_timeout(), gather, dtls, sctp]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends every layer; their last messages are left for `poll_transmit`.
    pub(crate) fn close(&mut self, now: Instant) {
        self.is_closed = true;
        self.farewell = self.ice.selected_path();
        if let Some(sctp) = &mut self.sctp {
            sctp.abort("the connection was closed");
        }
        if self.farewell.is_none() {
            if let Some(dtls) = &mut self.dtls {
                dtls.close(now);
            }
            self.dtls_state = RTCDtlsTransportState::Closed;
        }
        let _ = self.ice.close();
        self.early = Vec::new();
    }
}

/// The TCP candidates that an interface has beside its own.
fn tcp_candidates(addr: SocketAddr, protocol: TransportProtocol, tcp: IceTcp) -> Option<Candidate> {
    let (addr, tcp_type) = match (protocol, tcp) {
        (_, IceTcp::Off) => return None,
        (TransportProtocol::UDP, _) => (SocketAddr::new(addr.ip(), ACTIVE_PORT), TcpType::Active),
        (TransportProtocol::TCP, IceTcp::SimultaneousOpen) => (addr, TcpType::SimultaneousOpen),
        (TransportProtocol::TCP, _) => return None,
    };
    Some(Candidate::host(addr, TransportProtocol::TCP).with_tcp_type(tcp_type))
}

/// The association, made when data channels are negotiated and it is needed.
fn begun<'a>(
    sctp: &'a mut Option<Association>,
    peer: Option<&Peer>,
    setting: &SettingEngine,
    now: Instant,
    rng: &mut Rng,
) -> Option<&'a mut Association> {
    let port = peer.and_then(|peer| peer.sctp_port);
    match port {
        Some(port) => Some(sctp.get_or_insert_with(|| association(port, setting, now, rng))),
        None => sctp.as_mut(),
    }
}

fn association(
    remote_port: u16,
    setting: &SettingEngine,
    now: Instant,
    rng: &mut Rng,
) -> Association {
    let mut config = rtc_sctp::Config::default();
    config.local_port = LOCAL_SCTP_PORT;
    config.remote_port = remote_port;
    let overhead = if setting.dtls_legacy_cbc {
        DTLS_CBC_OVERHEAD
    } else {
        DTLS_OVERHEAD
    };
    config.max_packet_size = setting.mtu.saturating_sub(overhead) & !3;
    config.max_receive_message = setting.max_message_size.get();
    config.receive_window = setting.sctp_receive_window;
    config.send_buffer = setting.sctp_send_buffer;
    config.stream_send_buffer = setting.sctp_send_buffer;
    config.zero_checksum = setting.sctp_zero_checksum;
    if let Some(packets) = setting.sctp_initial_window {
        config.initial_window = rtc_sctp::InitialWindow::Packets(packets);
    }
    // The facade checks what the peer takes, which a later description may change.
    config.max_send_message = 0;
    config.control_ppid = Some(PayloadProtocolId::DCEP.0);
    // As in libwebrtc: after an outage data flows again soon.
    config.rto_max = Duration::from_secs(3);
    // ICE decides whether the peer is there.
    config.max_retransmits = None;
    config.max_init_retransmits = None;
    config.heartbeat_interval = None;
    Association::new(config, now, rng.fork())
}

/// What our descriptions say (RFC 8841 section 5).
pub(crate) const LOCAL_SCTP_PORT: u16 = 5000;

/// The most that a DTLS 1.2 record with an AEAD adds: header 13, explicit nonce 8, tag 16.
const DTLS_OVERHEAD: usize = 37;

/// The same for AES-CBC-SHA: header 13, IV 16, MAC 20, padding 16.
const DTLS_CBC_OVERHEAD: usize = 65;

/// A flight of two datagrams (a ClientHello with a post-quantum key share), sent five times.
const MAX_EARLY_DATAGRAMS: usize = 10;

/// No handshake is sent in larger datagrams, bytes.
const MAX_EARLY_LENGTH: usize = 2048;
