use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use rtc_crypto::{CryptoError, CryptoProvider, HmacAlgorithm, HmacKey};
use rtc_shared::{FiveTuple, Rng, TransportProtocol};
use rtc_stun::{
    AttributeType, ErrorCode, Message, MessageBuilder, PasswordAlgorithm, SecurityFeatures,
};

use super::users::{Authenticator, Login, Lookup};

/// The server's side of the long-term credential mechanism (RFC 8489 section 9.2.4).
pub(super) struct Guard {
    provider: &'static CryptoProvider,
    realm: String,
    authenticator: Box<dyn Authenticator>,
    nonces: Nonces,
    /// Offers PASSWORD-ALGORITHMS.
    algorithms: bool,
}

/// An authentic request.
pub(super) struct Authentic {
    pub(super) username: String,
    pub(super) signer: Signer,
}

/// Signs the response in the way of the request.
pub(super) struct Signer {
    key: Box<dyn HmacKey>,
    hmac: HmacAlgorithm,
}

impl Signer {
    pub(super) fn sign(&self, response: MessageBuilder) -> MessageBuilder {
        match self.hmac {
            HmacAlgorithm::Sha256 => response.message_integrity_sha256(&*self.key),
            _ => response.message_integrity(&*self.key),
        }
    }
}

impl Guard {
    pub(super) fn new(
        provider: &'static CryptoProvider,
        realm: &str,
        authenticator: Box<dyn Authenticator>,
        algorithms: bool,
        nonce_lifetime: Duration,
        now: Instant,
        rng: &mut Rng,
    ) -> Result<Self, CryptoError> {
        let hmac = provider
            .hmac(HmacAlgorithm::Sha256)
            .ok_or(CryptoError::Unsupported)?;
        Ok(Self {
            provider,
            realm: realm.to_owned(),
            nonces: Nonces {
                key: hmac.key(&rng.array::<32>()),
                prefix: nonce_cookie(algorithms, &*authenticator),
                lifetime: nonce_lifetime,
                origin: now,
            },
            authenticator,
            algorithms,
        })
    }

    pub(super) fn set_authenticator(&mut self, authenticator: Box<dyn Authenticator>) {
        self.nonces.prefix = nonce_cookie(self.algorithms, &*authenticator);
        self.authenticator = authenticator;
    }

    /// Checks who sent a request. `Err` is the code to refuse it with.
    ///
    /// The nonce is looked at first, before anything is computed with the user's key: who sends from a
    /// forged address never saw one.
    pub(super) fn authenticate(
        &self,
        message: &Message<'_>,
        client: &FiveTuple,
        now: Instant,
        unix_time: Duration,
        has_allocation: bool,
    ) -> Result<Authentic, u16> {
        if !message.has_integrity() {
            return Err(ErrorCode::UNAUTHENTICATED);
        }
        let login = match (message.username(), message.userhash()) {
            (Some(name), _) => Login::Name(name),
            (None, Some(hash)) => Login::Hash(hash),
            (None, None) => return Err(ErrorCode::BAD_REQUEST),
        };
        let (Some(realm), Some(nonce)) = (message.realm(), message.nonce()) else {
            return Err(ErrorCode::BAD_REQUEST);
        };
        let algorithm = self.algorithm(message)?;
        if !self.nonces.is_valid(nonce, client, now) {
            return Err(ErrorCode::STALE_NONCE);
        }
        if realm != self.realm {
            return Err(ErrorCode::UNAUTHENTICATED);
        }
        let hmac = match message.has(AttributeType::MESSAGE_INTEGRITY_SHA256) {
            true => HmacAlgorithm::Sha256,
            false => HmacAlgorithm::Sha1,
        };
        let lookup = Lookup {
            login,
            realm: &self.realm,
            unix_time,
            has_allocation,
        };
        for user in self.authenticator.find(&lookup).into_iter().take(MAX_TRIED) {
            let Some(key) = user.key(self.provider, hmac, algorithm, &self.realm) else {
                continue;
            };
            let verified = match hmac {
                HmacAlgorithm::Sha256 => message.verify_integrity_sha256(&*key),
                _ => message.verify_integrity(&*key),
            };
            if verified.is_ok() {
                return Ok(Authentic {
                    username: user.into_name(),
                    signer: Signer { key, hmac },
                });
            }
        }
        Err(ErrorCode::UNAUTHENTICATED)
    }

    /// The algorithm that made the key. A client that names one has to repeat the list that it was
    /// offered, so that nobody can have shortened it on the way.
    fn algorithm(&self, message: &Message<'_>) -> Result<PasswordAlgorithm, u16> {
        let list = message.attribute(AttributeType::PASSWORD_ALGORITHMS);
        let has_choice = message.has(AttributeType::PASSWORD_ALGORITHM);
        if !self.algorithms || (list.is_none() && !has_choice) {
            return Ok(PasswordAlgorithm::Md5);
        }
        match (list, message.password_algorithm()) {
            (Some(list), Some(choice)) if list == OFFERED_BYTES && OFFERED.contains(&choice) => {
                Ok(choice)
            }
            _ => Err(ErrorCode::BAD_REQUEST),
        }
    }

    /// Appends what a client needs for its next try.
    pub(super) fn challenge(
        &self,
        response: MessageBuilder,
        client: &FiveTuple,
        now: Instant,
    ) -> MessageBuilder {
        let nonce = self.nonces.make(client, now);
        let response = response.realm(&self.realm).nonce(nonce.as_bytes());
        match self.algorithms {
            true => response.password_algorithms(&OFFERED),
            false => response,
        }
    }
}

/// The start of every nonce, which says what the server takes.
fn nonce_cookie(algorithms: bool, authenticator: &dyn Authenticator) -> String {
    let mut features = SecurityFeatures::default();
    features.password_algorithms = algorithms;
    features.username_anonymity = authenticator.knows_user_hashes();
    features.nonce_cookie()
}

/// Nonces that say themselves when and for whom they were made, so that nothing has to be remembered
/// for clients that have not shown who they are.
struct Nonces {
    key: Box<dyn HmacKey>,
    prefix: String,
    lifetime: Duration,
    origin: Instant,
}

impl Nonces {
    /// Nonce cookie, seconds since the start of the server, tag over these and the path; in hex.
    fn make(&self, client: &FiveTuple, now: Instant) -> String {
        let age = self.age(now).to_be_bytes();
        let tag = self.key.sign(&[&age, &path_bytes(client)]);
        let tag = tag.as_ref().iter().take(TAG_LEN);
        let mut nonce = self.prefix.clone();
        for byte in age.iter().chain(tag) {
            for nibble in [byte >> 4, byte & 15] {
                nonce.extend(char::from_digit(u32::from(nibble), 16));
            }
        }
        nonce
    }

    fn is_valid(&self, nonce: &[u8], client: &FiveTuple, now: Instant) -> bool {
        let Some(bytes) = nonce.strip_prefix(self.prefix.as_bytes()).and_then(unhex) else {
            return false;
        };
        let Some((made, tag)) = bytes.split_first_chunk::<4>() else {
            return false;
        };
        let age = self.age(now).checked_sub(u32::from_be_bytes(*made));
        age.is_some_and(|age| u64::from(age) <= self.lifetime.as_secs())
            && self.key.verify(&[made, &path_bytes(client)], tag).is_ok()
    }

    fn age(&self, now: Instant) -> u32 {
        let age = now.saturating_duration_since(self.origin).as_secs();
        u32::try_from(age).unwrap_or(u32::MAX)
    }
}

fn unhex(text: &[u8]) -> Option<[u8; 4 + TAG_LEN]> {
    let mut bytes = [0; 4 + TAG_LEN];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        for &character in pair {
            *byte = *byte << 4 | char::from(character).to_digit(16)? as u8;
        }
    }
    Some(bytes)
}

/// The client's address and transport. Its own address for the server does not matter.
fn path_bytes(client: &FiveTuple) -> [u8; 19] {
    let ip = match client.peer_addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 19];
    let transport = match client.transport_protocol {
        TransportProtocol::UDP => 17,
        TransportProtocol::TCP => 6,
    };
    let parts = ip.octets().into_iter();
    let parts = parts
        .chain(client.peer_addr.port().to_be_bytes())
        .chain([transport]);
    bytes
        .iter_mut()
        .zip(parts)
        .for_each(|(to, from)| *to = from);
    bytes
}

/// Counts responses to addresses that have not shown who they are, in a table of fixed size that is
/// emptied every second.
pub(super) struct Throttle {
    counts: Vec<u32>,
    limit: u32,
    since: Instant,
    key: u64,
}

impl Throttle {
    pub(super) fn new(limit: NonZeroU32, now: Instant, rng: &mut Rng) -> Self {
        Self {
            counts: vec![0; BUCKETS],
            limit: limit.get(),
            since: now,
            key: rng.u64() | 1,
        }
    }

    /// True when one more response may go to this address.
    pub(super) fn admits(&mut self, now: Instant, address: IpAddr) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.counts.fill(0);
        }
        let source = match address {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            // Who has an IPv6 address has 2^64 of them.
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        };
        let mixed = (source ^ self.key).wrapping_mul(self.key);
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let Some(count) = self.counts.get_mut((mixed >> 32) as usize % BUCKETS) else {
            return false;
        };
        let admits = *count < self.limit;
        *count += u32::from(admits);
        admits
    }
}

/// Offered to clients, most wanted first.
const OFFERED: [PasswordAlgorithm; 2] = [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];
/// The value of PASSWORD-ALGORITHMS that offers them.
const OFFERED_BYTES: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];
const TAG_LEN: usize = 16;
/// Users that are tried for one request.
const MAX_TRIED: usize = 4;
const BUCKETS: usize = 1024;
