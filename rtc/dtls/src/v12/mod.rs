//! The handshake of version 1.2 (RFC 5246 section 7.3, RFC 6347 section 4.2): one machine for each role.

mod client;
pub(crate) mod schedule;
mod server;
#[cfg(test)]
mod tests;

use std::time::Instant;

pub(crate) use client::Client;
use rtc_crypto::{
    Digest, Fingerprint, Hash, HashContext, NamedGroup, PeerCertificate, SignatureScheme,
};
use rtc_shared::Rng;
use schedule::MasterSecret;
pub(crate) use server::Server;

use crate::flight::Flight;
use crate::message::Signed;
use crate::record::v12::{RecordReader, RecordWriter};
use crate::{CipherSuite, Config, Error, Role, SrtpProfile};

/// What the machine of a role works on: parts of the connection.
pub(crate) struct Context<'a> {
    pub(crate) config: &'a Config,
    pub(crate) now: Instant,
    pub(crate) rng: &'a mut Rng,
    pub(crate) flight: &'a mut Flight,
    pub(crate) writer: &'a mut RecordWriter,
    pub(crate) reader: &'a mut RecordReader,
    pub(crate) peer: &'a mut PeerIdentity,
    /// message_seq of the peer's message that is expected after the present one.
    pub(crate) next_receive_seq: u16,
}

/// What came of a message.
pub(crate) enum Progress {
    /// The next message is due.
    Continue,
    /// The handshake is complete.
    Done(Box<Session>),
}

/// What is left of a handshake when it is done.
pub(crate) struct Session {
    pub(crate) client_random: [u8; 32],
    pub(crate) server_random: [u8; 32],
    pub(crate) suite: CipherSuite,
    pub(crate) group: Option<NamedGroup>,
    pub(crate) srtp_profile: Option<SrtpProfile>,
    pub(crate) extended_master_secret: bool,
    pub(crate) master_secret: MasterSecret,
}

impl Session {
    fn new() -> Self {
        Self {
            client_random: [0; 32],
            server_random: [0; 32],
            suite: CipherSuite::EcdheEcdsaAes128GcmSha256,
            group: None,
            srtp_profile: None,
            extended_master_secret: false,
            master_secret: MasterSecret::default(),
        }
    }
}

/// Who the peer says it is, and who it is expected to be.
#[derive(Default)]
pub(crate) struct PeerIdentity {
    /// DER; empty before it came.
    pub(crate) certificate: Box<[u8]>,
    /// Fingerprints that became known after the connection was made.
    pub(crate) late_fingerprints: Vec<Fingerprint>,
    pub(crate) verified: bool,
}

impl PeerIdentity {
    /// Takes the peer's certificate, checks it against the fingerprints that are known and reads its key.
    fn accept(&mut self, config: &Config, leaf: Option<&[u8]>) -> Result<PeerCertificate, Error> {
        let der = leaf.ok_or(Error::MissingCertificate)?;
        let key = PeerCertificate::parse(der).map_err(|error| match error {
            rtc_crypto::CertificateError::UnsupportedKey => Error::UnsupportedCertificate,
            _ => Error::BadCertificate,
        })?;
        self.certificate = der.into();
        self.verify(config)?;
        Ok(key)
    }

    /// Compares certificate and fingerprints once both are known.
    pub(crate) fn verify(&mut self, config: &Config) -> Result<(), Error> {
        let expected = match &self.late_fingerprints[..] {
            [] => &config.peer_fingerprints[..],
            late => late,
        };
        if self.verified || self.certificate.is_empty() || expected.is_empty() {
            return Ok(());
        }
        self.verified = Fingerprint::any_matches(expected, &self.certificate, config.provider);
        if self.verified {
            Ok(())
        } else {
            Err(Error::FingerprintMismatch)
        }
    }
}

/// The handshake messages so far, whole for signatures and as a running hash.
#[derive(Default)]
struct Transcript {
    raw: Vec<u8>,
    context: Option<Box<dyn HashContext>>,
    /// How much of `raw` is in `context`.
    hashed: usize,
}

impl Transcript {
    fn clear(&mut self) {
        *self = Self {
            raw: std::mem::take(&mut self.raw),
            ..Self::default()
        };
        self.raw.clear();
    }

    /// Adds a message with its header as if unfragmented.
    fn add(&mut self, raw: &[u8]) {
        if self.raw.capacity() == 0 {
            self.raw.reserve(2048);
        }
        self.raw.extend_from_slice(raw);
    }

    /// The hash of all messages up to now; the function is the same in each call.
    fn hash(&mut self, function: &dyn Hash) -> Digest {
        let context = self.context.get_or_insert_with(|| function.start());
        context.update(self.raw.get(self.hashed..).unwrap_or_default());
        self.hashed = self.raw.len();
        context.current()
    }
}

/// Checks a signature of the peer by a scheme that we offered and that fits its key.
fn verify_signature(
    config: &Config,
    key: &PeerCertificate,
    signed: Signed<'_>,
    message: &[u8],
) -> Result<(), Error> {
    let scheme = SignatureScheme::from_code(signed.scheme)
        .filter(|scheme| config.provider.verifier.schemes().contains(scheme))
        .filter(|scheme| key.accepts_tls12(*scheme))
        .ok_or(Error::IllegalParameter("signature scheme"))?;
    let public_key = &key.subject_public_key;
    let verified = config
        .provider
        .verifier
        .verify(scheme, public_key, message, signed.signature);
    verified.map_err(|_| Error::BadSignature)
}

/// The body of a handshake message.
fn body(raw: &[u8]) -> &[u8] {
    raw.get(crate::message::MESSAGE_HEADER_LEN..)
        .unwrap_or_default()
}

/// The machine of either role.
pub(crate) enum Machine {
    Client(Client),
    Server(Server),
}

impl Machine {
    /// Begins the handshake; the first flight of a client is ready then.
    pub(crate) fn start(role: Role, cx: &mut Context<'_>) -> Self {
        match role {
            Role::Client => Self::Client(Client::start(cx)),
            Role::Server => Self::Server(Server::new(cx)),
        }
    }

    /// Takes the message that is next in sequence, with its header as if unfragmented.
    pub(crate) fn handle(
        &mut self,
        kind: u8,
        raw: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Progress, Error> {
        match self {
            Self::Client(client) => client.handle(kind, raw, cx),
            Self::Server(server) => server.handle(kind, raw, cx),
        }
    }

    /// True while a server waits for a ClientHello: no client sends anything further before that is
    /// answered.
    pub(crate) fn awaits_client_hello(&self) -> bool {
        matches!(self, Self::Server(server) if server.awaits_client_hello())
    }

    /// True while a HelloVerifyRequest may come, whatever its message_seq: a server that keeps no state
    /// may number each of them 0.
    pub(crate) fn takes_hello_verify_request(&self) -> bool {
        matches!(self, Self::Client(client) if client.awaits_server_hello())
    }
}
