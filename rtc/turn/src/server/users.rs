use std::collections::HashMap;
use std::time::Duration;

use rtc_crypto::{CryptoError, CryptoProvider, HmacAlgorithm, HmacKey, SharedSecret};
use rtc_stun::{PasswordAlgorithm, long_term_key, user_hash};

use crate::Credentials;

/// Knows the users of a [`Server`](crate::server::Server) and their passwords.
///
/// It is asked once per request of a client that has shown a valid nonce, and must not block.
pub trait Authenticator: Send + Sync {
    /// The users that a request may come from: none when the user is unknown or may not, more than one
    /// while a secret is being replaced. At most four are tried.
    fn find(&self, lookup: &Lookup<'_>) -> Vec<User>;

    /// True when [`Login::Hash`] is understood; clients then do not show their names.
    fn knows_user_hashes(&self) -> bool {
        false
    }
}

/// Who is looked for, and for what.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Lookup<'a> {
    /// How the client names its user.
    pub login: Login<'a>,
    /// The realm of the server.
    pub realm: &'a str,
    /// Time since 1970.
    pub unix_time: Duration,
    /// True when the client has an allocation that it could only get as one of the users.
    pub has_allocation: bool,
}

/// How a client names its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login<'a> {
    /// By USERNAME.
    Name(&'a str),
    /// By USERHASH, see [`user_hash`].
    Hash([u8; 32]),
}

/// A user with what proves it.
#[derive(Debug)]
pub struct User {
    name: String,
    secret: Secret,
}

#[derive(Debug)]
enum Secret {
    Password(SharedSecret),
    Keys {
        md5: SharedSecret,
        sha256: SharedSecret,
    },
}

impl User {
    /// A user with a password.
    #[must_use]
    pub fn with_password(name: &str, password: &str) -> Self {
        let password = SharedSecret::new(password.as_bytes().to_vec());
        Self {
            name: name.to_owned(),
            secret: Secret::Password(password),
        }
    }

    /// A user with the hashes of user name, realm and password ([`long_term_key`]), for who does not
    /// keep passwords. One that is empty is not accepted.
    #[must_use]
    pub fn with_keys(name: &str, md5: &[u8], sha256: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            secret: Secret::Keys {
                md5: SharedSecret::new(md5.to_vec()),
                sha256: SharedSecret::new(sha256.to_vec()),
            },
        }
    }

    pub(super) fn into_name(self) -> String {
        self.name
    }

    /// The key of requests of this user.
    pub(super) fn key(
        &self,
        provider: &CryptoProvider,
        hmac: HmacAlgorithm,
        algorithm: PasswordAlgorithm,
        realm: &str,
    ) -> Option<Box<dyn HmacKey>> {
        let hmac = provider.hmac(hmac)?;
        match (&self.secret, algorithm) {
            (Secret::Password(password), _) => {
                let password = str::from_utf8(password.as_ref()).ok()?;
                let key = long_term_key(provider, algorithm, &self.name, realm, password).ok()?;
                Some(hmac.key(key.as_ref()))
            }
            (Secret::Keys { md5: key, .. }, PasswordAlgorithm::Md5)
            | (Secret::Keys { sha256: key, .. }, PasswordAlgorithm::Sha256) => {
                let key = key.as_ref();
                (!key.is_empty()).then(|| hmac.key(key))
            }
            _ => None,
        }
    }
}

/// A list of users with passwords.
#[derive(Debug)]
pub struct StaticUsers {
    provider: &'static CryptoProvider,
    realm: String,
    passwords: HashMap<String, SharedSecret>,
    names_by_hash: HashMap<[u8; 32], String>,
}

impl StaticUsers {
    /// No users yet, of a realm.
    #[must_use]
    pub fn new(provider: &'static CryptoProvider, realm: &str) -> Self {
        Self {
            provider,
            realm: realm.to_owned(),
            passwords: HashMap::new(),
            names_by_hash: HashMap::new(),
        }
    }

    /// Adds a user, or changes its password.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`] when the provider lacks SHA-256.
    pub fn insert(&mut self, name: &str, password: &str) -> Result<(), CryptoError> {
        let hash = user_hash(self.provider, name, &self.realm)?;
        self.names_by_hash.insert(hash, name.to_owned());
        let password = SharedSecret::new(password.as_bytes().to_vec());
        self.passwords.insert(name.to_owned(), password);
        Ok(())
    }

    /// Removes a user. Its allocations end with
    /// [`Server::remove_user`](crate::server::Server::remove_user), or when they are to be refreshed.
    pub fn remove(&mut self, name: &str) {
        self.passwords.remove(name);
        self.names_by_hash.retain(|_, each| each != name);
    }
}

impl Authenticator for StaticUsers {
    fn find(&self, lookup: &Lookup<'_>) -> Vec<User> {
        let name = match lookup.login {
            Login::Name(name) => Some(name),
            Login::Hash(hash) => self.names_by_hash.get(&hash).map(String::as_str),
        };
        let entry = name.and_then(|name| self.passwords.get_key_value(name));
        let user = entry.and_then(|(name, password)| {
            let password = str::from_utf8(password.as_ref()).ok()?;
            Some(User::with_password(name, password))
        });
        user.into_iter().collect()
    }

    fn knows_user_hashes(&self) -> bool {
        true
    }
}

/// Users of a secret that the server shares with whoever hands out credentials: the user name is
/// `expiry:name` with the expiry in seconds since 1970, the password the Base64 form of its HMAC-SHA1
/// under the secret (draft-uberti-behave-turn-rest).
pub struct TimeLimitedUsers {
    keys: Vec<Box<dyn HmacKey>>,
    provider: &'static CryptoProvider,
    /// True lets an allocation live on when the credentials that made it have run out.
    pub keep_allocations: bool,
}

impl std::fmt::Debug for TimeLimitedUsers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimeLimitedUsers")
            .field("keep_allocations", &self.keep_allocations)
            .finish_non_exhaustive()
    }
}

impl TimeLimitedUsers {
    /// Users of one secret. Allocations may outlive their credentials.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`] when the provider lacks HMAC-SHA1.
    pub fn new(provider: &'static CryptoProvider, secret: &[u8]) -> Result<Self, CryptoError> {
        let mut users = Self {
            keys: Vec::new(),
            provider,
            keep_allocations: true,
        };
        users.set_secret(secret)?;
        Ok(users)
    }

    /// Replaces the secret. Credentials of the one before are still taken.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`] when the provider lacks HMAC-SHA1.
    pub fn set_secret(&mut self, secret: &[u8]) -> Result<(), CryptoError> {
        let hmac = self
            .provider
            .hmac(HmacAlgorithm::Sha1)
            .ok_or(CryptoError::Unsupported)?;
        self.keys.insert(0, hmac.key(secret));
        self.keys.truncate(2);
        Ok(())
    }

    /// Credentials for a user that are taken until `expiry`, as time since 1970.
    #[must_use]
    pub fn issue(&self, name: &str, expiry: Duration) -> Credentials {
        let username = format!("{}:{name}", expiry.as_secs());
        let password = self.keys.first().map(|key| password(&**key, &username));
        Credentials::new(&username, &password.unwrap_or_default())
    }
}

impl Authenticator for TimeLimitedUsers {
    fn find(&self, lookup: &Lookup<'_>) -> Vec<User> {
        let Login::Name(username) = lookup.login else {
            return Vec::new();
        };
        let expiry = username
            .split(':')
            .next()
            .and_then(|expiry| expiry.parse().ok());
        let Some(expiry) = expiry.map(Duration::from_secs) else {
            return Vec::new();
        };
        let may_stay = lookup.has_allocation && self.keep_allocations;
        if expiry <= lookup.unix_time && !may_stay {
            return Vec::new();
        }
        let passwords = self.keys.iter().map(|key| password(&**key, username));
        passwords
            .map(|password| User::with_password(username, &password))
            .collect()
    }
}

fn password(key: &dyn HmacKey, username: &str) -> String {
    base64(key.sign(&[username.as_bytes()]).as_ref())
}

/// Base64 with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group
            .iter_mut()
            .skip(1)
            .zip(chunk)
            .for_each(|(to, from)| *to = *from);
        let bits = u32::from_be_bytes(group);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let character = BASE64
                .get((bits >> shift & 0x3f) as usize)
                .filter(|_| index <= chunk.len());
            text.push(character.map_or('=', |&character| char::from(character)));
        }
    }
    text
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use rtc_crypto::ring::PROVIDER;

    use super::*;

    fn lookup(name: &str, unix_time: u64, has_allocation: bool) -> Lookup<'_> {
        Lookup {
            login: Login::Name(name),
            realm: "realm",
            unix_time: Duration::from_secs(unix_time),
            has_allocation,
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn time_limited_passwords_are_hmac_sha1_in_base64() {
        // HMAC-SHA1 test case 2 of RFC 2202.
        let hmac = PROVIDER.hmac(HmacAlgorithm::Sha1).unwrap();
        let key = hmac.key(b"Jefe");
        let tag = hex::decode("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79").unwrap();
        assert_eq!(
            password(&*key, "what do ya want for nothing?"),
            base64(&tag)
        );
    }

    #[test]
    fn time_limited_credentials_run_out_but_allocations_may_stay() {
        let mut users = TimeLimitedUsers::new(&PROVIDER, b"secret").unwrap();
        let credentials = users.issue("alice", Duration::from_secs(1000));
        assert_eq!(credentials.username(), "1000:alice");
        let name = credentials.username();
        assert_eq!(users.find(&lookup(name, 999, false)).len(), 1);
        assert_eq!(users.find(&lookup(name, 1000, false)).len(), 0);
        assert_eq!(users.find(&lookup(name, 1000, true)).len(), 1);
        users.keep_allocations = false;
        assert_eq!(users.find(&lookup(name, 1000, true)).len(), 0);
        assert_eq!(users.find(&lookup("1000", 999, false)).len(), 1);
        for bad in [
            "",
            "alice",
            ":alice",
            "alice:1000",
            "-1:a",
            "99999999999999999999:a",
        ] {
            assert_eq!(users.find(&lookup(bad, 0, true)).len(), 0, "{bad}");
        }
    }

    #[test]
    fn a_replaced_secret_is_taken_until_it_is_replaced_again() {
        let mut users = TimeLimitedUsers::new(&PROVIDER, b"one").unwrap();
        let old = users.issue("a", Duration::from_secs(1000));
        users.set_secret(b"two").unwrap();
        let finds = |users: &TimeLimitedUsers| {
            let found = users.find(&lookup("1000:a", 0, false));
            found.iter().any(|user| match &user.secret {
                Secret::Password(password) => password.as_ref() == old.password().as_bytes(),
                Secret::Keys { .. } => false,
            })
        };
        assert!(finds(&users));
        assert_ne!(
            users.issue("a", Duration::from_secs(1000)).password(),
            old.password()
        );
        users.set_secret(b"three").unwrap();
        assert!(!finds(&users));
    }

    #[test]
    fn static_users_are_found_by_name_and_by_hash() {
        let mut users = StaticUsers::new(&PROVIDER, "realm");
        users.insert("user", "pass").unwrap();
        assert_eq!(users.find(&lookup("user", 0, false)).len(), 1);
        assert_eq!(users.find(&lookup("other", 0, false)).len(), 0);
        let mut by_hash = lookup("", 0, false);
        by_hash.login = Login::Hash(user_hash(&PROVIDER, "user", "realm").unwrap());
        assert_eq!(users.find(&by_hash)[0].name, "user");
        users.remove("user");
        assert_eq!(
            users.find(&by_hash).len() + users.find(&lookup("user", 0, false)).len(),
            0
        );
    }
}
