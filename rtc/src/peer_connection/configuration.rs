//! How a peer connection is to be made (webrtc-pc section 4.2).

pub mod media_engine;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_crypto::{Certificate, CryptoProvider};
use rtc_dtls::SrtpProfile;
use rtc_interceptor::Registry;
use rtc_stun::TransactionConfig;

use self::media_engine::MediaEngine;
use crate::media_path::InterceptorFactory;

/// A STUN or TURN server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RTCIceServer {
    /// Its `stun:`, `stuns:`, `turn:` or `turns:` URLs (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// User name, for TURN.
    pub username: String,
    /// Password, for TURN.
    pub credential: String,
}

/// Which candidates may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RTCIceTransportPolicy {
    /// All.
    #[default]
    All,
    /// Only relayed ones, to hide our addresses.
    Relay,
}

/// How m-sections share transports (RFC 9429 section 4.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RTCBundlePolicy {
    /// One transport per kind, for a peer that cannot bundle.
    #[default]
    Balanced,
    /// One transport per m-section, for a peer that cannot bundle.
    MaxCompat,
    /// One transport.
    MaxBundle,
}

/// Whether RTP and RTCP share a port (RFC 5761); they must.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RTCRtcpMuxPolicy {
    /// Required.
    #[default]
    Require,
}

/// Options of `create_offer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RTCOfferOptions {
    /// Restart ICE: new credentials, new candidates, the same DTLS association.
    pub ice_restart: bool,
}

/// Options of `create_answer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RTCAnswerOptions {
    /// Kept for the established API; voice activity detection is the encoder's matter.
    pub voice_activity_detection: bool,
}

/// The configuration of a peer connection; made by [`RTCConfigurationBuilder`].
#[derive(Clone, Debug)]
pub struct RTCConfiguration {
    pub(crate) ice_servers: Vec<RTCIceServer>,
    pub(crate) ice_transport_policy: RTCIceTransportPolicy,
    pub(crate) bundle_policy: RTCBundlePolicy,
    pub(crate) rtcp_mux_policy: RTCRtcpMuxPolicy,
    pub(crate) ice_candidate_pool_size: u8,
    pub(crate) certificates: Vec<Certificate>,
    /// Shared by the connections that are made of it.
    pub(crate) media_engine: Arc<MediaEngine>,
    pub(crate) setting: SettingEngine,
    pub(crate) interceptors: InterceptorFactory,
    pub(crate) seed: Option<[u8; 32]>,
    pub(crate) unix_time: Option<Duration>,
    pub(crate) now: Option<Instant>,
}

impl RTCConfiguration {
    /// STUN and TURN servers.
    #[must_use]
    pub fn ice_servers(&self) -> &[RTCIceServer] {
        &self.ice_servers
    }

    /// Which candidates may be used.
    #[must_use]
    pub fn ice_transport_policy(&self) -> RTCIceTransportPolicy {
        self.ice_transport_policy
    }

    /// How m-sections share transports.
    #[must_use]
    pub fn bundle_policy(&self) -> RTCBundlePolicy {
        self.bundle_policy
    }

    /// Whether RTP and RTCP share a port.
    #[must_use]
    pub fn rtcp_mux_policy(&self) -> RTCRtcpMuxPolicy {
        self.rtcp_mux_policy
    }

    /// The certificates given; the first is used, one is made when there is none.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// How many candidates are gathered ahead of need.
    #[must_use]
    pub fn ice_candidate_pool_size(&self) -> u8 {
        self.ice_candidate_pool_size
    }

    /// Codecs and header extensions that are offered and accepted.
    #[must_use]
    pub fn media_engine(&self) -> &MediaEngine {
        &self.media_engine
    }

    /// What W3C's dictionary has no word for.
    #[must_use]
    pub fn setting_engine(&self) -> &SettingEngine {
        &self.setting
    }

    /// The same, to be changed.
    pub fn setting_engine_mut(&mut self) -> &mut SettingEngine {
        &mut self.setting
    }

    /// The same configuration with the clock of a driver: time starts at `now`.
    #[must_use]
    pub fn with_now(mut self, now: Instant) -> Self {
        self.now = Some(now);
        self
    }
}

impl Default for RTCConfiguration {
    fn default() -> Self {
        RTCConfigurationBuilder::new().build()
    }
}

/// Makes an [`RTCConfiguration`].
///
/// ```
/// use rtc::peer_connection::configuration::{RTCBundlePolicy, RTCConfigurationBuilder};
///
/// let configuration =
///     RTCConfigurationBuilder::new().with_bundle_policy(RTCBundlePolicy::MaxBundle).build();
/// assert_eq!(configuration.bundle_policy(), RTCBundlePolicy::MaxBundle);
/// ```
#[derive(Clone, Debug)]
pub struct RTCConfigurationBuilder {
    configuration: RTCConfiguration,
}

impl Default for RTCConfigurationBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl RTCConfigurationBuilder {
    /// The defaults of W3C.
    #[must_use]
    pub fn new() -> Self {
        Self {
            configuration: RTCConfiguration {
                ice_servers: Vec::new(),
                ice_transport_policy: RTCIceTransportPolicy::All,
                bundle_policy: RTCBundlePolicy::Balanced,
                rtcp_mux_policy: RTCRtcpMuxPolicy::Require,
                ice_candidate_pool_size: 0,
                certificates: Vec::new(),
                media_engine: MediaEngine::shared_defaults(),
                setting: SettingEngine::default(),
                interceptors: InterceptorFactory::default(),
                seed: None,
                unix_time: None,
                now: None,
            },
        }
    }

    /// STUN and TURN servers.
    #[must_use]
    pub fn with_ice_servers(mut self, servers: Vec<RTCIceServer>) -> Self {
        self.configuration.ice_servers = servers;
        self
    }

    /// Which candidates may be used.
    #[must_use]
    pub fn with_ice_transport_policy(mut self, policy: RTCIceTransportPolicy) -> Self {
        self.configuration.ice_transport_policy = policy;
        self
    }

    /// How m-sections share transports.
    #[must_use]
    pub fn with_bundle_policy(mut self, policy: RTCBundlePolicy) -> Self {
        self.configuration.bundle_policy = policy;
        self
    }

    /// Whether RTP and RTCP share a port.
    #[must_use]
    pub fn with_rtcp_mux_policy(mut self, policy: RTCRtcpMuxPolicy) -> Self {
        self.configuration.rtcp_mux_policy = policy;
        self
    }

    /// The identity of the connection; without one a fresh ECDSA P-256 certificate is made.
    #[must_use]
    pub fn with_certificates(mut self, certificates: Vec<Certificate>) -> Self {
        self.configuration.certificates = certificates;
        self
    }

    /// How many candidates are gathered ahead of need.
    #[must_use]
    pub fn with_ice_candidate_pool_size(mut self, size: u8) -> Self {
        self.configuration.ice_candidate_pool_size = size;
        self
    }

    /// Codecs and header extensions to offer and accept, in order of preference. Without it there are
    /// those of [`MediaEngine::with_defaults`].
    #[must_use]
    pub fn with_media_engine(mut self, media_engine: MediaEngine) -> Self {
        self.configuration.media_engine = Arc::new(media_engine);
        self
    }

    /// What W3C's dictionary has no word for.
    #[must_use]
    pub fn with_setting_engine(mut self, setting: SettingEngine) -> Self {
        self.configuration.setting = setting;
        self
    }

    /// The stages that RTP and RTCP pass, made anew for each connection. Without it there are those of
    /// [`Registry::with_defaults`].
    ///
    /// ```
    /// use rtc::interceptor::{Registry, Slot};
    /// use rtc::peer_connection::configuration::RTCConfigurationBuilder;
    ///
    /// let without_feedback = || Registry::with_defaults().without(Slot::TwccReceiver);
    /// let configuration =
    ///     RTCConfigurationBuilder::new().with_interceptor_registry(without_feedback).build();
    /// ```
    #[must_use]
    pub fn with_interceptor_registry(
        mut self,
        make: impl Fn() -> Registry + Send + Sync + 'static,
    ) -> Self {
        self.configuration.interceptors = InterceptorFactory::new(make);
        self
    }

    /// The seed of every random choice of the connection. Without one it comes from the system. Key
    /// material comes from the cryptographic provider all the same where its library insists.
    #[must_use]
    pub fn with_seed(mut self, seed: [u8; 32]) -> Self {
        self.configuration.seed = Some(seed);
        self
    }

    /// Wall-clock time since the Unix epoch at the start. Without it the system is asked.
    #[must_use]
    pub fn with_unix_time(mut self, unix_time: Duration) -> Self {
        self.configuration.unix_time = Some(unix_time);
        self
    }

    /// The instant at which time starts. Without it the system is asked.
    #[must_use]
    pub fn with_now(mut self, now: Instant) -> Self {
        self.configuration.now = Some(now);
        self
    }

    /// The configuration.
    #[must_use]
    pub fn build(self) -> RTCConfiguration {
        self.configuration
    }
}

/// Settings beyond W3C's dictionary. Every field has a sensible default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SettingEngine {
    /// The cryptographic library; `None` takes the default of the enabled features.
    pub crypto_provider: Option<&'static CryptoProvider>,
    /// Run as an ICE-lite agent (RFC 8445 section 2.5), for servers with a public address.
    pub ice_lite: bool,
    /// Addresses under which local ones are known outside, for hosts behind a static one-to-one NAT
    /// as clouds have it. The first rule that fits an address counts.
    pub address_rewrite: Vec<AddressRewrite>,
    /// Timing of ICE.
    pub ice: rtc_ice::AgentConfig,
    /// How requests to STUN and TURN servers are repeated, and how long an answer may take.
    pub server_transaction: TransactionConfig,
    /// Silence towards a STUN or TURN server over UDP after which something is sent, so that NATs keep
    /// the way open; `None` never. For STUN servers it ends when ICE has completed. 15 s.
    pub server_keepalive: Option<Duration>,
    /// Make TCP candidates of our own: active ones, which open connections, for every address that has
    /// a UDP socket (RFC 6544), and with `SimultaneousOpen` also one beside the passive candidate of each
    /// TCP interface. Streams are opened by request
    /// ([`RTCRequest::OpenStream`](super::request::RTCRequest::OpenStream)). Passive candidates come from
    /// interfaces of TCP whatever this says. Off.
    pub ice_tcp: IceTcp,
    /// What becomes of names under `.local` in candidates.
    pub multicast_dns: MulticastDns,
    /// Largest datagram that is sent, in bytes of UDP payload.
    pub mtu: usize,
    /// Our DTLS role when the peer leaves us the choice in an answer.
    pub answering_dtls_role: DtlsRole,
    /// Ask DTLS clients for a cookie although ICE has proven the path.
    pub dtls_cookie_exchange: bool,
    /// Accept peers without the extended master secret (RFC 7627).
    pub allow_missing_extended_master_secret: bool,
    /// Offer and accept AES-CBC-SHA suites, for old peers.
    pub dtls_legacy_cbc: bool,
    /// SRTP protection profiles in order of preference.
    pub srtp_profiles: Vec<SrtpProfile>,
    /// Give the application the peer's RTCP packets as messages too.
    pub deliver_rtcp: bool,
    /// Largest message that is received on a data channel, in bytes; told to the peer.
    pub max_message_size: NonZeroUsize,
    /// Bytes that may wait unread over all data channels; the window told to the peer.
    pub sctp_receive_window: usize,
    /// Bytes that may wait to be sent over all data channels.
    pub sctp_send_buffer: usize,
    /// Leave out the checksum of SCTP packets when the peer agrees (RFC 9653): DTLS protects them.
    pub sctp_zero_checksum: bool,
    /// Initial congestion window of SCTP in packets, 10 by default.
    pub sctp_initial_window: Option<u16>,
}

/// Which TCP candidates are made beside passive ones (RFC 6544 section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IceTcp {
    /// None.
    #[default]
    Off,
    /// Active ones.
    Active,
    /// Active ones, and such as open connections from both sides at once.
    SimultaneousOpen,
}

/// What is done with names of multicast DNS (draft-ietf-mmusic-mdns-ice-candidates).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MulticastDns {
    /// Candidates of the peer that have one are ignored.
    Off,
    /// Those of the peer are looked up, by request: see
    /// [`RTCRequest::ResolveMulticast`](super::request::RTCRequest::ResolveMulticast).
    #[default]
    Resolve,
    /// And our host candidates are shown with names of their own in the place of addresses, which are
    /// random and announced by request:
    /// [`RTCRequest::AnnounceMulticast`](super::request::RTCRequest::AnnounceMulticast).
    Hide,
}

impl MulticastDns {
    pub(crate) fn resolves(self) -> bool {
        self != Self::Off
    }

    pub(crate) fn hides(self) -> bool {
        self == Self::Hide
    }
}

/// An address that a NAT maps to a local one, port by port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRewrite {
    /// The local address; `None` for every one of the family of `external`.
    pub local: Option<IpAddr>,
    /// What the outside knows it by.
    pub external: IpAddr,
    /// What becomes of the local address.
    pub mode: AddressRewriteMode,
}

impl AddressRewrite {
    /// Whether the rule is about `addr`.
    #[must_use]
    pub fn fits(&self, addr: SocketAddr) -> bool {
        match self.local {
            Some(local) => local == addr.ip(),
            None => self.external.is_ipv4() == addr.is_ipv4(),
        }
    }
}

/// How an external address is told to the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressRewriteMode {
    /// As the host candidate, in place of the local address, which stays private.
    #[default]
    Replace,
    /// As a server-reflexive candidate beside the host candidate.
    Add,
}

/// Who begins the DTLS handshake (RFC 8842).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// We do: `a=setup:active`. Saves half a round trip.
    #[default]
    Client,
    /// The peer does: `a=setup:passive`.
    Server,
}

/// Requests at 0, 0.5, 1.5, 3.5 and 7.5 s, and four seconds more: gathering does not take the 40 s of
/// RFC 8489 when a server is silent.
fn server_transaction() -> TransactionConfig {
    let mut config = TransactionConfig::default();
    config.max_transmissions = 5;
    config.last_wait = 8;
    config.reliable_timeout = Duration::from_secs(12);
    config
}

impl Default for SettingEngine {
    fn default() -> Self {
        Self {
            crypto_provider: None,
            ice_lite: false,
            address_rewrite: Vec::new(),
            ice: rtc_ice::AgentConfig::default(),
            server_transaction: server_transaction(),
            server_keepalive: Some(Duration::from_secs(15)),
            ice_tcp: IceTcp::default(),
            multicast_dns: MulticastDns::default(),
            mtu: 1200,
            answering_dtls_role: DtlsRole::Client,
            dtls_cookie_exchange: false,
            allow_missing_extended_master_secret: false,
            dtls_legacy_cbc: false,
            srtp_profiles: vec![
                SrtpProfile::AeadAes128Gcm,
                SrtpProfile::AeadAes256Gcm,
                SrtpProfile::Aes128CmHmacSha1_80,
            ],
            deliver_rtcp: true,
            max_message_size: NonZeroUsize::MIN.saturating_add(256 * 1024 - 1),
            sctp_receive_window: 2 * 1024 * 1024,
            sctp_send_buffer: 16 * 1024 * 1024,
            sctp_zero_checksum: true,
            sctp_initial_window: None,
        }
    }
}
