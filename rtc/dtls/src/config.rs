use std::time::Duration;

use rtc_crypto::{
    Certificate, CryptoProvider, Fingerprint, KeyExchangeGroup, NamedGroup, SignatureScheme,
};
use rtc_shared::Rng;

use crate::{CipherSuite, Error, SrtpProfile};

/// What a [`Connection`](crate::Connection) is made with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where the cryptography comes from. What it lacks is not offered.
    pub provider: &'static CryptoProvider,
    /// Our identity. As server, only suites that this certificate can serve are chosen.
    pub certificate: Certificate,
    /// The fingerprints that signalling told of the peer's certificate: one of those with the
    /// strongest hash must match (RFC 8122 section 5). While empty, the handshake runs but the
    /// connection stays [`Connecting`](crate::State::Connecting) until
    /// [`set_peer_fingerprints`](crate::Connection::set_peer_fingerprints) is called.
    pub peer_fingerprints: Vec<Fingerprint>,
    /// SRTP protection profiles in our order; empty for a connection that carries data only.
    pub srtp_profiles: Vec<SrtpProfile>,
    /// As server, have the client repeat a cookie before anything is computed for it (RFC 6347 section
    /// 4.2.1). Off by default: ICE has already proven that the client receives at its address.
    pub cookie_exchange: bool,
    /// Refuse peers without the extended master secret (RFC 7627). On by default.
    pub require_extended_master_secret: bool,
    /// Also offer and take AES-CBC with HMAC-SHA1, after all other suites. Off by default.
    pub legacy_cbc: bool,
    /// The suites to offer and take, in our order; `None` for all that the provider has.
    pub cipher_suites: Option<Vec<CipherSuite>>,
    /// The key agreement groups to offer and take, in our order.
    pub groups: Vec<NamedGroup>,
    /// Largest datagram of a handshake flight in bytes, 1200 by default. A flight that is lost twice is
    /// sent in datagrams of at most 548 bytes.
    pub mtu: usize,
    /// Round-trip time of the path as ICE measured it. A flight is first repeated after twice this
    /// time, but not before 50 ms; after one second when it is not known.
    pub initial_rtt: Option<Duration>,
    /// How long a handshake may take from its first message on; `None`, the default, leaves it to ICE to
    /// find that the peer is gone.
    pub handshake_timeout: Option<Duration>,
    /// Lowest version to speak.
    pub min_version: Version,
    /// Highest version to speak.
    pub max_version: Version,
}

/// Versions of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// DTLS 1.2 (RFC 6347).
    Dtls12,
    /// DTLS 1.3 (RFC 9147), for which this crate holds no state machine yet.
    Dtls13,
}

/// Who begins the handshake; in SDP the side with `a=setup:active` is the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends the first ClientHello.
    Client,
    /// Waits for it.
    Server,
}

impl Config {
    /// The defaults of WebRTC, without fingerprints of the peer.
    #[must_use]
    pub fn new(provider: &'static CryptoProvider, certificate: Certificate) -> Self {
        Self {
            provider,
            certificate,
            peer_fingerprints: Vec::new(),
            srtp_profiles: vec![
                SrtpProfile::AeadAes128Gcm,
                SrtpProfile::AeadAes256Gcm,
                SrtpProfile::Aes128CmHmacSha1_80,
            ],
            cookie_exchange: false,
            require_extended_master_secret: true,
            legacy_cbc: false,
            cipher_suites: None,
            // P-256 costs a quarter less than X25519 with `ring`, and every peer has both.
            groups: vec![
                NamedGroup::Secp256r1,
                NamedGroup::X25519,
                NamedGroup::Secp384r1,
            ],
            mtu: 1200,
            initial_rtt: None,
            handshake_timeout: None,
            min_version: Version::Dtls12,
            max_version: Version::Dtls12,
        }
    }

    /// Checks what would make every handshake fail.
    pub(crate) fn check(&self, role: Role) -> Result<(), Error> {
        if self.min_version != Version::Dtls12 || self.max_version != Version::Dtls12 {
            return Err(Error::VersionRange);
        }
        if self.mtu < MIN_MTU {
            return Err(Error::MtuTooSmall);
        }
        let key = self.certificate.algorithm();
        if !self
            .suites()
            .any(|suite| role == Role::Client || suite.serves(key))
        {
            return Err(Error::NoCipherSuite);
        }
        if self.groups().next().is_none() {
            return Err(Error::NoGroup);
        }
        Ok(())
    }

    /// The suites to offer and take, in our order.
    pub(crate) fn suites(&self) -> impl Iterator<Item = CipherSuite> + '_ {
        let chosen = self.cipher_suites.as_deref();
        CipherSuite::AEAD
            .iter()
            .filter(move |_| chosen.is_none())
            .chain(chosen.unwrap_or_default())
            .filter(|suite| !CipherSuite::CBC.contains(suite))
            .chain(CipherSuite::CBC.iter().filter(move |suite| {
                self.legacy_cbc && chosen.is_none_or(|chosen| chosen.contains(suite))
            }))
            .copied()
            .filter(|suite| suite.is_provided(self.provider))
    }

    /// The groups to offer and take, in our order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &'static dyn KeyExchangeGroup> + '_ {
        self.groups
            .iter()
            .filter_map(|group| self.provider.group(*group))
    }

    /// The schemes by which a peer may sign, in our order.
    pub(crate) fn peer_schemes(&self) -> impl Iterator<Item = SignatureScheme> + '_ {
        let provided = self.provider.verifier.schemes();
        SignatureScheme::ALL
            .into_iter()
            .filter(|scheme| provided.contains(scheme))
    }

    /// The scheme by which our key signs for a peer that takes `offered`.
    pub(crate) fn choose_scheme(
        &self,
        offered: impl Fn(u16) -> bool,
    ) -> Result<SignatureScheme, Error> {
        let ours = self.certificate.signing_key().schemes();
        let chosen = ours.iter().copied().find(|scheme| offered(scheme.code()));
        chosen.ok_or(Error::NoCommonSignatureScheme)
    }

    /// The random value of a ServerHello of version 1.2. A server that could also speak 1.3 marks it,
    /// so that a client that can do so too sees when an attacker forced it here (RFC 8446 section 4.1.3).
    pub(crate) fn server_random(&self, rng: &mut Rng) -> [u8; 32] {
        let mut random: [u8; 32] = rng.array();
        if self.max_version >= Version::Dtls13 {
            let (_, tail) = random.split_at_mut(32 - DOWNGRADE.len());
            tail.copy_from_slice(&DOWNGRADE);
        }
        random
    }

    /// Refuses a ServerHello of version 1.2 from a server that could speak 1.3 as we do.
    pub(crate) fn check_downgrade(&self, server_random: &[u8; 32]) -> Result<(), Error> {
        if self.max_version >= Version::Dtls13 && server_random.ends_with(&DOWNGRADE) {
            return Err(Error::Downgrade);
        }
        Ok(())
    }
}

const DOWNGRADE: [u8; 8] = *b"DOWNGRD\x01";

/// Room for the headers of one fragment in a protected record and a few bytes of it.
const MIN_MTU: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn only_a_range_with_the_next_version_marks_the_server_random() {
        let mut config = Config::new(testing::PROVIDER, testing::certificate());
        let mut rng = Rng::from_seed([3; 32]);
        let random = config.server_random(&mut rng);
        assert!(!random.ends_with(b"DOWNGRD\x01"));
        config.max_version = Version::Dtls13;
        let marked = config.server_random(&mut rng);
        assert!(marked.ends_with(b"DOWNGRD\x01"));
        assert_eq!(config.check_downgrade(&marked), Err(Error::Downgrade));
        assert_eq!(config.check_downgrade(&random), Ok(()));
        config.max_version = Version::Dtls12;
        assert_eq!(config.check_downgrade(&marked), Ok(()));
    }

    #[test]
    fn suites_follow_the_configuration_with_cbc_last() {
        let mut config = Config::new(testing::PROVIDER, testing::certificate());
        assert_eq!(config.suites().collect::<Vec<_>>(), CipherSuite::AEAD);
        config.legacy_cbc = true;
        assert!(
            config
                .suites()
                .eq(CipherSuite::AEAD.into_iter().chain(CipherSuite::CBC))
        );
        let chosen = [
            CipherSuite::EcdheRsaAes128CbcSha,
            CipherSuite::EcdheRsaAes128GcmSha256,
        ];
        config.cipher_suites = Some(chosen.to_vec());
        assert_eq!(config.suites().collect::<Vec<_>>(), [chosen[1], chosen[0]]);
        config.legacy_cbc = false;
        assert_eq!(config.suites().collect::<Vec<_>>(), [chosen[1]]);
        assert_eq!(config.check(Role::Client), Ok(()));
        assert_eq!(config.check(Role::Server), Err(Error::NoCipherSuite));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let good = Config::new(testing::PROVIDER, testing::certificate());
        let mut config = good.clone();
        config.mtu = 60;
        assert_eq!(config.check(Role::Client), Err(Error::MtuTooSmall));
        let mut config = good.clone();
        config.groups.clear();
        assert_eq!(config.check(Role::Client), Err(Error::NoGroup));
        let mut config = good;
        config.max_version = Version::Dtls13;
        assert_eq!(config.check(Role::Client), Err(Error::VersionRange));
    }
}
