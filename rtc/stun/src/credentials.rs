use std::fmt;

use rtc_crypto::{
    CryptoError, CryptoProvider, Digest, HashAlgorithm, HmacAlgorithm, HmacKey, SharedSecret,
};

use crate::{
    AttributeType, Class, CredentialsError, ErrorCode, IntegrityError, Message, MessageBuilder,
};

/// The client's side of the long-term credential mechanism (RFC 8489 section 9.2).
///
/// 1. Send the first request without credentials; a server answers 401, later perhaps 438.
/// 2. Give that response to [`handle_challenge`](Self::handle_challenge). `Ok` means: send the request
///    once more, in a new transaction, with what [`authenticate`](Self::authenticate) appends.
///    `Err` means: give up, another try would fail too or would lower the protection.
/// 3. Give every other response to [`verify`](Self::verify) before believing it.
///
/// Several requests may be under way: note [`generation`](Self::generation) with each, so that the
/// answer to an old nonce is told from the refusal of a fresh one.
pub struct LongTermCredentials {
    provider: CryptoProvider,
    username: String,
    password: SharedSecret,
    challenge: Option<Challenge>,
    generation: u32,
    challenges_in_row: u32,
}

/// What the server asked for last.
struct Challenge {
    realm: String,
    nonce: Vec<u8>,
    /// The list to echo and the choice from it; `None` for a server of RFC 5389.
    algorithms: Option<(Vec<u8>, PasswordAlgorithm)>,
    /// USERHASH to send instead of USERNAME.
    user_hash: Option<[u8; 32]>,
    key: Box<dyn HmacKey>,
}

impl LongTermCredentials {
    /// Takes user name and password. Spaces outside of ASCII become ASCII spaces (RFC 8265 section
    /// 4.2.2); any other normalisation, NFC, is the caller's.
    #[must_use]
    pub fn new(provider: &CryptoProvider, username: &str, password: &str) -> Self {
        Self {
            provider: *provider,
            username: map_spaces(username),
            password: SharedSecret::new(map_spaces(password).into_bytes()),
            challenge: None,
            generation: 0,
            challenges_in_row: 0,
        }
    }

    /// Counts the challenges taken; 0 until the first. A request remembers it for
    /// [`handle_challenge`](Self::handle_challenge).
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The realm of the server, once it is known.
    #[must_use]
    pub fn realm(&self) -> Option<&str> {
        self.challenge.as_ref().map(|challenge| &*challenge.realm)
    }

    /// Appends user name, realm, nonce and integrity to a request that is otherwise complete, but for
    /// FINGERPRINT. Appends nothing as long as there was no challenge.
    pub fn authenticate(&self, request: MessageBuilder) -> MessageBuilder {
        let Some(challenge) = &self.challenge else {
            return request;
        };
        let request = match challenge.user_hash {
            Some(hash) => request.userhash(hash),
            None => request.username(&self.username),
        };
        let request = request.realm(&challenge.realm).nonce(&challenge.nonce);
        match &challenge.algorithms {
            Some((offered, chosen)) => request
                .attribute(AttributeType::PASSWORD_ALGORITHMS, offered)
                .password_algorithm(*chosen)
                .message_integrity_sha256(&*challenge.key),
            None => request.message_integrity(&*challenge.key),
        }
    }

    /// Takes an error response 401 or 438 to a request that was sent at `generation`. After `Ok` the
    /// request is to be sent again, authenticated anew.
    ///
    /// # Errors
    /// [`CredentialsError`] when repeating the request would be wrong or useless (RFC 8489 section
    /// 9.2.5); what was agreed before stays in force.
    pub fn handle_challenge(
        &mut self,
        response: &Message<'_>,
        generation: u32,
    ) -> Result<(), CredentialsError> {
        let code = response.error_code().map(|error| error.code());
        let stale = match code {
            _ if response.class() != Class::Error => return Err(CredentialsError::NotAChallenge),
            Some(ErrorCode::UNAUTHENTICATED) => false,
            Some(ErrorCode::STALE_NONCE) => true,
            _ => return Err(CredentialsError::NotAChallenge),
        };
        if generation != self.generation {
            // The request used an older nonce than the one we have: the new one answers this.
            return Ok(());
        }

        let previous = self.challenge.as_ref();
        let nonce = response
            .nonce()
            .ok_or(CredentialsError::IncompleteChallenge)?;
        let realm = match (response.realm(), previous) {
            (Some(realm), _) => realm,
            (None, Some(previous)) if stale => &previous.realm,
            _ => return Err(CredentialsError::IncompleteChallenge),
        };
        let features = SecurityFeatures::from_nonce(nonce).unwrap_or_default();
        let algorithms = self.choose_algorithm(features, response)?;

        if let Some(previous) = previous {
            if previous.algorithms.is_some() && algorithms.is_none() {
                return Err(CredentialsError::BidDown);
            }
            if stale && previous.nonce == nonce {
                return Err(CredentialsError::NonceLoop);
            }
            if !stale && previous.realm == realm {
                return Err(CredentialsError::Rejected);
            }
        }
        if self.challenges_in_row >= MAX_CHALLENGES_IN_ROW {
            return Err(match stale {
                true => CredentialsError::NonceLoop,
                false => CredentialsError::Rejected,
            });
        }

        self.challenge = Some(Challenge {
            key: self.key(realm, algorithms.as_ref().map(|&(_, chosen)| chosen))?,
            user_hash: match features.username_anonymity {
                true => Some(user_hash(&self.provider, &self.username, realm)?),
                false => None,
            },
            realm: realm.to_owned(),
            nonce: nonce.to_vec(),
            algorithms,
        });
        self.generation = self.generation.wrapping_add(1);
        self.challenges_in_row += 1;
        Ok(())
    }

    /// Verifies the integrity of a response to an authenticated request, by the algorithm that was
    /// agreed with the server and no other.
    ///
    /// # Errors
    /// [`IntegrityError`]; over UDP such a response is to be ignored and the request goes on. Without
    /// a challenge taken before it is [`IntegrityError::Missing`].
    pub fn verify(&mut self, response: &Message<'_>) -> Result<(), IntegrityError> {
        let challenge = self.challenge.as_ref().ok_or(IntegrityError::Missing)?;
        match challenge.algorithms {
            Some(_) => response.verify_integrity_sha256(&*challenge.key)?,
            None => response.verify_integrity(&*challenge.key)?,
        }
        self.challenges_in_row = 0;
        Ok(())
    }

    /// What to echo and use of the algorithms offered. Only a list that the nonce vouches for counts,
    /// because only that one the server compares (RFC 8489 section 9.2.1).
    fn choose_algorithm(
        &self,
        features: SecurityFeatures,
        response: &Message<'_>,
    ) -> Result<Option<(Vec<u8>, PasswordAlgorithm)>, CredentialsError> {
        if !features.password_algorithms {
            return Ok(None);
        }
        let offered = response
            .attribute(AttributeType::PASSWORD_ALGORITHMS)
            .ok_or(CredentialsError::BidDown)?;
        let chosen = response
            .password_algorithms()
            .and_then(|mut list| list.find(|each| self.provider.hash(each.hash()).is_some()))
            .ok_or(CredentialsError::UnsupportedAlgorithm)?;
        Ok(Some((offered.to_vec(), chosen)))
    }

    fn key(
        &self,
        realm: &str,
        algorithm: Option<PasswordAlgorithm>,
    ) -> Result<Box<dyn HmacKey>, CryptoError> {
        let hmac = match algorithm {
            Some(_) => HmacAlgorithm::Sha256,
            None => HmacAlgorithm::Sha1,
        };
        let hmac = self.provider.hmac(hmac).ok_or(CryptoError::Unsupported)?;
        let algorithm = algorithm.unwrap_or(PasswordAlgorithm::Md5);
        let password = self.password.as_ref();
        let key = key_of(&self.provider, algorithm, &self.username, realm, password)?;
        Ok(hmac.key(key.as_ref()))
    }
}

impl fmt::Debug for LongTermCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongTermCredentials")
            .field("username", &self.username)
            .field("realm", &self.realm())
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// How a key is made from user name, realm and password (RFC 8489 section 18.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PasswordAlgorithm {
    /// MD5, for servers of RFC 5389.
    Md5,
    /// SHA-256.
    Sha256,
}

impl PasswordAlgorithm {
    /// The number in PASSWORD-ALGORITHM.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Md5 => 1,
            Self::Sha256 => 2,
        }
    }

    /// The algorithm of a number.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        match code {
            1 => Some(Self::Md5),
            2 => Some(Self::Sha256),
            _ => None,
        }
    }

    fn hash(self) -> HashAlgorithm {
        match self {
            Self::Md5 => HashAlgorithm::Md5,
            Self::Sha256 => HashAlgorithm::Sha256,
        }
    }
}

/// The key of a long-term credential (RFC 8489 section 18.5.1): the hash of user name, realm and
/// password with colons between. Both sides and either HMAC use it.
///
/// # Errors
/// [`CryptoError::Unsupported`] when the provider lacks the hash function.
pub fn long_term_key(
    provider: &CryptoProvider,
    algorithm: PasswordAlgorithm,
    username: &str,
    realm: &str,
    password: &str,
) -> Result<Digest, CryptoError> {
    key_of(provider, algorithm, username, realm, password.as_bytes())
}

/// The value of USERHASH (RFC 8489 section 14.4).
///
/// # Errors
/// [`CryptoError::Unsupported`] when the provider lacks SHA-256.
pub fn user_hash(
    provider: &CryptoProvider,
    username: &str,
    realm: &str,
) -> Result<[u8; 32], CryptoError> {
    let sha256 = provider
        .hash(HashAlgorithm::Sha256)
        .ok_or(CryptoError::Unsupported)?;
    let digest = sha256.hash(&[username.as_bytes(), b":", realm.as_bytes()]);
    digest
        .as_ref()
        .try_into()
        .map_err(|_| CryptoError::InvalidLength)
}

fn key_of(
    provider: &CryptoProvider,
    algorithm: PasswordAlgorithm,
    username: &str,
    realm: &str,
    password: &[u8],
) -> Result<Digest, CryptoError> {
    let hash = provider
        .hash(algorithm.hash())
        .ok_or(CryptoError::Unsupported)?;
    Ok(hash.hash(&[username.as_bytes(), b":", realm.as_bytes(), b":", password]))
}

/// What a server says of itself at the start of its nonce, the nonce cookie (RFC 8489 section 9.2).
///
/// The nonce is covered by integrity, so that nobody between can clear a feature unnoticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecurityFeatures {
    /// The server takes PASSWORD-ALGORITHMS.
    pub password_algorithms: bool,
    /// The server takes USERHASH.
    pub username_anonymity: bool,
}

impl SecurityFeatures {
    /// Reads the features; `None` when the nonce does not begin with a nonce cookie.
    #[must_use]
    pub fn from_nonce(nonce: &[u8]) -> Option<Self> {
        let encoded = nonce.strip_prefix(NONCE_COOKIE)?.first_chunk::<4>()?;
        let bits = encoded.iter().try_fold(0u32, |bits, &character| {
            let value = BASE64.iter().position(|&each| each == character)?;
            Some(bits << 6 | value as u32)
        })?;
        // Bit 0 is the most significant of the 24 (RFC 8489 section 18.1).
        Some(Self {
            password_algorithms: bits & PASSWORD_ALGORITHMS_BIT != 0,
            username_anonymity: bits & USERNAME_ANONYMITY_BIT != 0,
        })
    }

    /// The nonce cookie with these features, for a server to begin a nonce with.
    #[must_use]
    pub fn nonce_cookie(self) -> String {
        let mut bits = 0;
        if self.password_algorithms {
            bits |= PASSWORD_ALGORITHMS_BIT;
        }
        if self.username_anonymity {
            bits |= USERNAME_ANONYMITY_BIT;
        }
        let encoded = [18, 12, 6, 0].into_iter().filter_map(|shift| {
            BASE64
                .get((bits >> shift & 0x3f) as usize)
                .map(|&character| char::from(character))
        });
        NONCE_COOKIE
            .iter()
            .map(|&character| char::from(character))
            .chain(encoded)
            .collect()
    }
}

/// Maps every space separator of Unicode to the ASCII space (RFC 8265 section 4.2.2).
fn map_spaces(text: &str) -> String {
    let map = |character| match character {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            ' '
        }
        other => other,
    };
    text.chars().map(map).collect()
}

const NONCE_COOKIE: &[u8] = b"obMatJos2";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PASSWORD_ALGORITHMS_BIT: u32 = 1 << 23;
const USERNAME_ANONYMITY_BIT: u32 = 1 << 22;
/// Challenges without a verified response between; a server needs one for the realm, one for a nonce
/// that went stale meanwhile.
const MAX_CHALLENGES_IN_ROW: u32 = 4;

#[cfg(test)]
mod tests {
    use rtc_crypto::ring::PROVIDER;

    use super::*;
    use crate::{Method, TransactionId};

    const ID: TransactionId = TransactionId([9; 12]);
    const ALGORITHMS: [PasswordAlgorithm; 2] = [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];

    fn credentials() -> LongTermCredentials {
        LongTermCredentials::new(&PROVIDER, "user", "pass")
    }

    fn nonce(features: SecurityFeatures, unique: &str) -> Vec<u8> {
        (features.nonce_cookie() + unique).into_bytes()
    }

    fn modern() -> SecurityFeatures {
        SecurityFeatures {
            password_algorithms: true,
            username_anonymity: false,
        }
    }

    fn challenge(code: u16) -> MessageBuilder {
        MessageBuilder::new(Class::Error, Method::ALLOCATE, ID).error_code(code, "")
    }

    fn request(credentials: &LongTermCredentials) -> Vec<u8> {
        let request = MessageBuilder::new(Class::Request, Method::ALLOCATE, ID);
        credentials
            .authenticate(request.requested_transport(17))
            .finish()
            .to_vec()
    }

    fn take(
        credentials: &mut LongTermCredentials,
        response: MessageBuilder,
    ) -> Result<(), CredentialsError> {
        let generation = credentials.generation();
        take_at(credentials, response, generation)
    }

    fn take_at(
        credentials: &mut LongTermCredentials,
        response: MessageBuilder,
        generation: u32,
    ) -> Result<(), CredentialsError> {
        credentials.handle_challenge(&Message::parse(&response.finish()).unwrap(), generation)
    }

    fn key(algorithm: PasswordAlgorithm, hmac: HmacAlgorithm, realm: &str) -> Box<dyn HmacKey> {
        let key = long_term_key(&PROVIDER, algorithm, "user", realm, "pass").unwrap();
        PROVIDER.hmac(hmac).unwrap().key(key.as_ref())
    }

    #[test]
    fn the_first_request_has_no_credentials() {
        let credentials = credentials();
        let request = request(&credentials);
        let message = Message::parse(&request).unwrap();
        assert!(!message.has_integrity() && message.username().is_none());
    }

    #[test]
    fn an_old_server_gets_md5_and_sha1() {
        let mut credentials = credentials();
        take(&mut credentials, challenge(401).realm("realm").nonce(b"n1")).unwrap();
        let request = request(&credentials);
        let message = Message::parse(&request).unwrap();
        assert_eq!(message.username(), Some("user"));
        assert_eq!(message.realm(), Some("realm"));
        assert_eq!(message.nonce(), Some(&b"n1"[..]));
        assert!(message.password_algorithms().is_none());
        let key = key(PasswordAlgorithm::Md5, HmacAlgorithm::Sha1, "realm");
        assert_eq!(message.verify_integrity(&*key), Ok(()));

        let success = MessageBuilder::new(Class::Success, Method::ALLOCATE, ID);
        let signed = success.clone().message_integrity(&*key).finish();
        assert_eq!(
            credentials.verify(&Message::parse(&signed).unwrap()),
            Ok(())
        );
        let unsigned = success.finish();
        let verified = credentials.verify(&Message::parse(&unsigned).unwrap());
        assert_eq!(verified, Err(IntegrityError::Missing));
    }

    #[test]
    fn a_new_server_gets_its_list_echoed_and_sha256_only() {
        let mut credentials = credentials();
        let offer = challenge(401).realm("realm").nonce(&nonce(modern(), "x"));
        take(&mut credentials, offer.password_algorithms(&ALGORITHMS)).unwrap();
        let request = request(&credentials);
        let message = Message::parse(&request).unwrap();
        assert!(message.password_algorithms().unwrap().eq(ALGORITHMS));
        assert_eq!(
            message.password_algorithm(),
            Some(PasswordAlgorithm::Sha256)
        );
        assert_eq!(message.username(), Some("user"));
        assert!(!message.has(AttributeType::MESSAGE_INTEGRITY));
        let key256 = key(PasswordAlgorithm::Sha256, HmacAlgorithm::Sha256, "realm");
        assert_eq!(message.verify_integrity_sha256(&*key256), Ok(()));

        // A response protected by the weaker attribute alone is not believed.
        let key1 = key(PasswordAlgorithm::Sha256, HmacAlgorithm::Sha1, "realm");
        let success = MessageBuilder::new(Class::Success, Method::ALLOCATE, ID);
        let weak = success.clone().message_integrity(&*key1).finish();
        let verified = credentials.verify(&Message::parse(&weak).unwrap());
        assert_eq!(verified, Err(IntegrityError::Missing));
        let strong = success.message_integrity_sha256(&*key256).finish();
        assert_eq!(
            credentials.verify(&Message::parse(&strong).unwrap()),
            Ok(())
        );
    }

    #[test]
    fn the_first_supported_algorithm_of_the_list_is_used() {
        let mut credentials = credentials();
        // An unknown algorithm with parameters, then MD5.
        let list = [0, 9, 0, 3, 1, 2, 3, 0, 0, 1, 0, 0];
        let offer = challenge(401).realm("realm").nonce(&nonce(modern(), "x"));
        let offer = offer.attribute(AttributeType::PASSWORD_ALGORITHMS, &list);
        take(&mut credentials, offer).unwrap();
        let request = request(&credentials);
        let message = Message::parse(&request).unwrap();
        assert_eq!(
            message.attribute(AttributeType::PASSWORD_ALGORITHMS),
            Some(&list[..])
        );
        assert_eq!(message.password_algorithm(), Some(PasswordAlgorithm::Md5));
        let key = key(PasswordAlgorithm::Md5, HmacAlgorithm::Sha256, "realm");
        assert_eq!(message.verify_integrity_sha256(&*key), Ok(()));

        let mut credentials = self::credentials();
        let offer = challenge(401).realm("realm").nonce(&nonce(modern(), "x"));
        let offer = offer.attribute(AttributeType::PASSWORD_ALGORITHMS, &[0, 9, 0, 0]);
        let taken = take(&mut credentials, offer);
        assert_eq!(taken, Err(CredentialsError::UnsupportedAlgorithm));
    }

    #[test]
    fn a_server_with_anonymity_gets_the_hash_of_the_user_name() {
        let features = SecurityFeatures {
            password_algorithms: true,
            username_anonymity: true,
        };
        let mut credentials = credentials();
        let offer = challenge(401).realm("realm").nonce(&nonce(features, "x"));
        take(&mut credentials, offer.password_algorithms(&ALGORITHMS)).unwrap();
        let request = request(&credentials);
        let message = Message::parse(&request).unwrap();
        assert_eq!(message.username(), None);
        assert_eq!(
            message.userhash(),
            user_hash(&PROVIDER, "user", "realm").ok()
        );
    }

    #[test]
    fn a_promise_of_algorithms_without_a_list_is_a_bid_down() {
        let mut credentials = credentials();
        let taken = take(
            &mut credentials,
            challenge(401).realm("r").nonce(&nonce(modern(), "x")),
        );
        assert_eq!(taken, Err(CredentialsError::BidDown));
        assert_eq!(credentials.generation(), 0);
    }

    #[test]
    fn a_list_without_the_promise_does_not_count() {
        let mut credentials = credentials();
        let offer = challenge(401).realm("realm").nonce(b"plain");
        take(&mut credentials, offer.password_algorithms(&ALGORITHMS)).unwrap();
        let request = request(&credentials);
        let message = Message::parse(&request).unwrap();
        assert!(message.has(AttributeType::MESSAGE_INTEGRITY));
        assert!(!message.has(AttributeType::MESSAGE_INTEGRITY_SHA256));
    }

    #[test]
    fn protection_once_agreed_is_not_given_up() {
        let mut credentials = credentials();
        let offer = challenge(401).realm("realm").nonce(&nonce(modern(), "x"));
        take(&mut credentials, offer.password_algorithms(&ALGORITHMS)).unwrap();
        let before = request(&credentials);
        for code in [401, 438] {
            let weaker = challenge(code).realm("other").nonce(b"plain");
            assert_eq!(
                take(&mut credentials, weaker),
                Err(CredentialsError::BidDown)
            );
        }
        assert_eq!(request(&credentials), before);
    }

    #[test]
    fn a_second_401_is_the_end() {
        for second in [&b"n1"[..], b"n2"] {
            let mut credentials = credentials();
            take(&mut credentials, challenge(401).realm("realm").nonce(b"n1")).unwrap();
            let taken = take(
                &mut credentials,
                challenge(401).realm("realm").nonce(second),
            );
            assert_eq!(taken, Err(CredentialsError::Rejected));
        }
    }

    #[test]
    fn another_realm_is_another_try_but_not_for_ever() {
        let mut credentials = credentials();
        for number in 0..MAX_CHALLENGES_IN_ROW {
            let realm = format!("realm{number}");
            take(&mut credentials, challenge(401).realm(&realm).nonce(b"n")).unwrap();
            assert_eq!(credentials.realm(), Some(&*realm));
        }
        let taken = take(&mut credentials, challenge(401).realm("more").nonce(b"n"));
        assert_eq!(taken, Err(CredentialsError::Rejected));
    }

    #[test]
    fn a_stale_nonce_is_replaced_once_per_new_nonce_and_bounded() {
        let mut credentials = credentials();
        take(&mut credentials, challenge(401).realm("realm").nonce(b"n0")).unwrap();
        take(&mut credentials, challenge(438).nonce(b"n1")).unwrap();
        assert_eq!(
            Message::parse(&request(&credentials)).unwrap().nonce(),
            Some(&b"n1"[..])
        );
        let again = take(&mut credentials, challenge(438).realm("realm").nonce(b"n1"));
        assert_eq!(again, Err(CredentialsError::NonceLoop));

        let mut taken = 0;
        while take(
            &mut credentials,
            challenge(438).nonce(format!("m{taken}").as_bytes()),
        )
        .is_ok()
        {
            taken += 1;
            assert!(taken < 10, "a server can make us try for ever");
        }

        // One verified response shows that the server means it.
        let key = key(PasswordAlgorithm::Md5, HmacAlgorithm::Sha1, "realm");
        let success = MessageBuilder::new(Class::Success, Method::REFRESH, ID);
        let success = success.message_integrity(&*key).finish();
        credentials
            .verify(&Message::parse(&success).unwrap())
            .unwrap();
        take(&mut credentials, challenge(438).nonce(b"later")).unwrap();
    }

    #[test]
    fn requests_under_way_with_an_older_nonce_are_repeated_with_the_newer() {
        let mut credentials = credentials();
        take(&mut credentials, challenge(401).realm("realm").nonce(b"n0")).unwrap();
        let generation = credentials.generation();
        take_at(&mut credentials, challenge(438).nonce(b"n1"), generation).unwrap();
        // The answers to the other requests of that generation.
        take_at(&mut credentials, challenge(438).nonce(b"n1"), generation).unwrap();
        take_at(&mut credentials, challenge(438).nonce(b"n2"), generation).unwrap();
        assert_eq!(credentials.generation(), generation + 1);
    }

    #[test]
    fn other_messages_are_no_challenges() {
        let mut credentials = credentials();
        for code in [400, 437, 441, 487, 500] {
            let taken = take(&mut credentials, challenge(code).realm("r").nonce(b"n"));
            assert_eq!(taken, Err(CredentialsError::NotAChallenge));
        }
        let success = MessageBuilder::new(Class::Success, Method::ALLOCATE, ID).error_code(401, "");
        assert_eq!(
            take(&mut credentials, success.realm("r").nonce(b"n")),
            Err(CredentialsError::NotAChallenge)
        );
        for incomplete in [
            challenge(401),
            challenge(401).realm("r"),
            challenge(401).nonce(b"n"),
            challenge(438).nonce(b"n"),
        ] {
            let taken = take(&mut credentials, incomplete);
            assert_eq!(taken, Err(CredentialsError::IncompleteChallenge));
        }
    }

    #[test]
    fn the_nonce_cookie_carries_the_features() {
        for (algorithms, anonymity) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let features = SecurityFeatures {
                password_algorithms: algorithms,
                username_anonymity: anonymity,
            };
            let nonce = features.nonce_cookie() + "rest";
            assert_eq!(
                SecurityFeatures::from_nonce(nonce.as_bytes()),
                Some(features)
            );
        }
        assert_eq!(modern().nonce_cookie(), "obMatJos2gAAA");
        for other in [
            &b""[..],
            b"obMatJos2",
            b"obMatJos2gAA",
            b"obMatJos2gA!A",
            b"obMatJos1gAAA",
        ] {
            assert_eq!(SecurityFeatures::from_nonce(other), None);
        }
    }

    #[test]
    fn spaces_are_mapped_and_the_password_is_not_shown() {
        assert_eq!(map_spaces("a\u{a0}b\u{3000}c d"), "a b c d");
        let credentials = LongTermCredentials::new(&PROVIDER, "user", "secret");
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
