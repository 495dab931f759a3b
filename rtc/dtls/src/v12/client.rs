use rtc_crypto::{CryptoError, PeerCertificate, SignatureScheme};
use rtc_shared::Writer;
use subtle::ConstantTimeEq;

use super::{Context, Progress, Session, Transcript, body, verify_signature};
use crate::extension::{
    EXTENDED_MASTER_SECRET, Extensions, SUPPORTED_VERSIONS, UNCOMPRESSED, USE_SRTP, UseSrtp,
};
use crate::message::{
    self, CertificateChain, CertificateRequest, ClientHello, ClientKeyExchange, Codes,
    HelloVerifyRequest, ServerHello, ServerKeyExchange, Signed, code_bytes,
};
use crate::record::VERSION_1_2;
use crate::record::v12::Epoch;
use crate::{CipherSuite, Error, Role, SrtpProfile};

/// The client's side of a handshake.
pub(crate) struct Client {
    state: State,
    transcript: Transcript,
    session: Box<Session>,
    /// From the last HelloVerifyRequest.
    cookie: Vec<u8>,
    hello_verify_requests: u32,
    server_key: Option<PeerCertificate>,
    /// The server's ephemeral public key.
    server_share: Vec<u8>,
    /// What the server lets us sign with; `None` when it does not want our certificate.
    scheme: Option<SignatureScheme>,
}

/// What is due from the server, in protocol order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ServerHello,
    Certificate,
    ServerKeyExchange,
    CertificateRequest,
    ServerHelloDone,
    Finished,
}

impl Client {
    /// Begins with a ClientHello.
    pub(crate) fn start(cx: &mut Context<'_>) -> Self {
        let mut session = Box::new(Session::new());
        session.client_random = cx.rng.array();
        let mut client = Self {
            state: State::ServerHello,
            transcript: Transcript::default(),
            session,
            cookie: Vec::new(),
            hello_verify_requests: 0,
            server_key: None,
            server_share: Vec::new(),
            scheme: None,
        };
        client.send_hello(0, cx);
        client
    }

    pub(crate) fn awaits_server_hello(&self) -> bool {
        self.state == State::ServerHello
    }

    pub(crate) fn handle(
        &mut self,
        kind: u8,
        raw: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Progress, Error> {
        match (self.state, kind) {
            // A server may ask for a new handshake at any time; ours is under way (RFC 5246 section 7.4.1.1).
            (_, message::HELLO_REQUEST) => {}
            (State::ServerHello, message::HELLO_VERIFY_REQUEST) => {
                self.on_hello_verify_request(raw, cx)?;
            }
            (State::ServerHello, message::SERVER_HELLO) => self.on_server_hello(raw, cx)?,
            (State::Certificate, message::CERTIFICATE) => self.on_certificate(raw, cx)?,
            (State::ServerKeyExchange, message::SERVER_KEY_EXCHANGE) => {
                self.on_server_key_exchange(raw, cx)?;
            }
            (State::CertificateRequest, message::CERTIFICATE_REQUEST) => {
                self.on_certificate_request(raw, cx)?;
            }
            (State::CertificateRequest | State::ServerHelloDone, message::SERVER_HELLO_DONE) => {
                self.on_server_hello_done(raw, cx)?
            }
            (State::Finished, message::FINISHED) => return self.on_finished(raw, cx),
            _ => return Err(Error::UnexpectedMessage(self.state.name())),
        }
        Ok(Progress::Continue)
    }

    /// Builds the flight of the ClientHello, the same each time but for the cookie.
    fn send_hello(&mut self, answers: u16, cx: &mut Context<'_>) {
        let config = cx.config;
        let suites = code_bytes(config.suites().map(CipherSuite::code));
        let groups = code_bytes(config.groups().map(|group| group.group().code()));
        let schemes = code_bytes(config.peer_schemes().map(SignatureScheme::code));
        let profiles = code_bytes(config.srtp_profiles.iter().map(|profile| profile.code()));
        let hello = ClientHello {
            version: VERSION_1_2,
            random: self.session.client_random,
            session_id: &[],
            cookie: &self.cookie,
            cipher_suites: Codes::new(&suites, "").unwrap_or_default(),
            compression_methods: &[0],
            extensions: Extensions {
                groups: Codes::new(&groups, "").ok(),
                point_formats: Some(&[UNCOMPRESSED]),
                signature_schemes: Codes::new(&schemes, "").ok(),
                use_srtp: Codes::new(&profiles, "")
                    .ok()
                    .map(|profiles| UseSrtp { profiles, mki: &[] }),
                extended_master_secret: true,
                renegotiation_info: Some(&[]),
                ..Extensions::default()
            },
            extension_block: &[],
        };
        cx.flight.begin(cx.now, answers, true);
        let raw = cx
            .flight
            .push(Epoch::Plain, message::CLIENT_HELLO, |out| hello.write(out));
        // A hello that was answered by a cookie is not part of the transcript (RFC 6347 section 4.2.1).
        self.transcript.clear();
        self.transcript.add(raw);
    }

    fn on_hello_verify_request(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<(), Error> {
        let request = HelloVerifyRequest::parse(body(raw))?;
        let repeated = self.hello_verify_requests > 0 && request.cookie == self.cookie;
        if repeated || self.hello_verify_requests == MAX_HELLO_VERIFY_REQUESTS {
            return Ok(());
        }
        self.hello_verify_requests += 1;
        self.cookie = request.cookie.to_vec();
        self.send_hello(cx.next_receive_seq, cx);
        Ok(())
    }

    fn on_server_hello(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<(), Error> {
        let hello = ServerHello::parse(body(raw))?;
        if hello.version != VERSION_1_2 {
            return Err(Error::NoCommonVersion);
        }
        cx.config.check_downgrade(&hello.random)?;
        let suite = CipherSuite::from_code(hello.cipher_suite)
            .filter(|suite| cx.config.suites().any(|offered| offered == *suite))
            .ok_or(Error::IllegalParameter("cipher suite"))?;
        if hello.compression_method != 0 {
            return Err(Error::IllegalParameter("compression method"));
        }
        let srtp_profile = self.check_extensions(&hello.extensions, cx)?;
        self.session.server_random = hello.random;
        self.session.suite = suite;
        self.session.srtp_profile = srtp_profile;
        self.session.extended_master_secret = hello.extensions.extended_master_secret;
        self.advance(State::Certificate, raw);
        Ok(())
    }

    fn check_extensions(
        &self,
        extensions: &Extensions<'_>,
        cx: &Context<'_>,
    ) -> Result<Option<SrtpProfile>, Error> {
        if let Some(unknown) = extensions.unknown {
            return Err(Error::UnsupportedExtension(unknown));
        }
        if extensions.supported_versions.is_some() {
            return Err(Error::UnsupportedExtension(SUPPORTED_VERSIONS));
        }
        if extensions
            .renegotiation_info
            .is_some_and(|info| !info.is_empty())
        {
            return Err(Error::Renegotiation);
        }
        if extensions
            .point_formats
            .is_some_and(|formats| !formats.contains(&UNCOMPRESSED))
        {
            return Err(Error::IllegalParameter("point format"));
        }
        if !extensions.extended_master_secret && cx.config.require_extended_master_secret {
            tracing::debug!(extension = EXTENDED_MASTER_SECRET, "missing in ServerHello");
            return Err(Error::MissingExtendedMasterSecret);
        }
        let Some(use_srtp) = extensions.use_srtp else {
            return Ok(None);
        };
        let offered = &cx.config.srtp_profiles;
        if offered.is_empty() {
            return Err(Error::UnsupportedExtension(USE_SRTP));
        }
        let mut profiles = use_srtp.profiles.iter();
        let (Some(code), None) = (profiles.next(), profiles.next()) else {
            return Err(Error::IllegalParameter("number of SRTP profiles"));
        };
        SrtpProfile::from_code(code)
            .filter(|profile| offered.contains(profile))
            .ok_or(Error::IllegalParameter("SRTP profile"))
            .map(Some)
    }

    fn on_certificate(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<(), Error> {
        let chain = CertificateChain::parse(body(raw))?;
        let key = cx.peer.accept(cx.config, chain.leaf)?;
        if !self.session.suite.serves(key.algorithm) {
            return Err(Error::UnsupportedCertificate);
        }
        self.server_key = Some(key);
        self.advance(State::ServerKeyExchange, raw);
        Ok(())
    }

    fn on_server_key_exchange(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<(), Error> {
        let exchange = ServerKeyExchange::parse(body(raw))?;
        let mut groups = cx.config.groups().map(|group| group.group());
        let group = groups.find(|group| group.code() == exchange.group);
        let group = group.ok_or(Error::IllegalParameter("key agreement group"))?;
        let key = self.server_key.as_ref().ok_or(Error::Internal)?;
        let content = signed_content(&self.session, exchange.params);
        verify_signature(cx.config, key, exchange.signed, &content)?;
        self.session.group = Some(group);
        self.server_share = exchange.public_key.to_vec();
        self.advance(State::CertificateRequest, raw);
        Ok(())
    }

    fn on_certificate_request(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<(), Error> {
        let request = CertificateRequest::parse(body(raw))?;
        let schemes = request.signature_schemes;
        self.scheme = Some(cx.config.choose_scheme(|code| schemes.contains(code))?);
        self.advance(State::ServerHelloDone, raw);
        Ok(())
    }

    /// Answers with Certificate, ClientKeyExchange, CertificateVerify, ChangeCipherSpec and Finished.
    fn on_server_hello_done(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<(), Error> {
        if !body(raw).is_empty() {
            return Err(Error::Decode("ServerHelloDone"));
        }
        let config = cx.config;
        let session = &mut self.session;
        let group = session.group.and_then(|group| config.provider.group(group));
        let exchange = group.ok_or(Error::Internal)?.start(cx.rng)?;
        self.transcript.add(raw);
        cx.flight.begin(cx.now, cx.next_receive_seq, true);

        if self.scheme.is_some() {
            let chain = CertificateChain {
                leaf: Some(config.certificate.der()),
            };
            let raw = cx
                .flight
                .push(Epoch::Plain, message::CERTIFICATE, |out| chain.write(out));
            self.transcript.add(raw);
        }
        let share = ClientKeyExchange {
            public_key: exchange.public_key(),
        };
        let raw = cx
            .flight
            .push(Epoch::Plain, message::CLIENT_KEY_EXCHANGE, |out| {
                share.write(out)
            });
        self.transcript.add(raw);

        let premaster_secret = exchange
            .complete(&self.server_share)
            .map_err(of_peer_share)?;
        let hash = config
            .provider
            .hash(session.suite.hash())
            .ok_or(Error::Internal)?;
        let session_hash = self.transcript.hash(hash);
        session.derive_master_secret(config, premaster_secret.as_ref(), &session_hash)?;
        let (write, read) = session.derive_ciphers(config, Role::Client, cx.rng)?;

        if let Some(scheme) = self.scheme {
            let signature = config
                .certificate
                .signing_key()
                .sign(scheme, &self.transcript.raw)?;
            let signed = Signed {
                scheme: scheme.code(),
                signature: &signature,
            };
            let raw = cx
                .flight
                .push(Epoch::Plain, message::CERTIFICATE_VERIFY, |out| {
                    signed.write(out)
                });
            self.transcript.add(raw);
        }
        let hash = self.transcript.hash(hash);
        let verify_data = session.verify_data(config.provider, Role::Client, &hash)?;
        cx.flight.push_change_cipher_spec();
        let raw = cx.flight.push(Epoch::Sealed, message::FINISHED, |out| {
            out.put(&verify_data)
        });
        self.transcript.add(raw);
        cx.writer.install(write);
        cx.reader.install(read);
        self.state = State::Finished;
        Ok(())
    }

    fn on_finished(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<Progress, Error> {
        let received = message::verify_data(body(raw))?;
        let provider = cx.config.provider;
        let hash = provider
            .hash(self.session.suite.hash())
            .ok_or(Error::Internal)?;
        let hash = self.transcript.hash(hash);
        let expected = self.session.verify_data(provider, Role::Server, &hash)?;
        if !bool::from(expected.ct_eq(received)) {
            return Err(Error::BadFinished);
        }
        let session = std::mem::replace(&mut self.session, Box::new(Session::new()));
        Ok(Progress::Done(session))
    }

    fn advance(&mut self, state: State, raw: &[u8]) {
        self.transcript.add(raw);
        self.state = state;
    }
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::ServerHello => "ServerHello",
            Self::Certificate => "Certificate",
            Self::ServerKeyExchange => "ServerKeyExchange",
            Self::CertificateRequest => "CertificateRequest",
            Self::ServerHelloDone => "ServerHelloDone",
            Self::Finished => "Finished",
        }
    }
}

/// What ServerKeyExchange signs (RFC 8422 section 5.4).
pub(super) fn signed_content(session: &Session, params: &[u8]) -> Vec<u8> {
    [&session.client_random[..], &session.server_random, params].concat()
}

/// A public value that does not work is the peer's fault.
pub(super) fn of_peer_share(error: CryptoError) -> Error {
    match error {
        CryptoError::InvalidPublicValue | CryptoError::InvalidLength | CryptoError::InvalidKey => {
            Error::IllegalParameter("key share")
        }
        other => Error::Crypto(other),
    }
}

/// Servers ask once; those whose secret changed meanwhile twice.
const MAX_HELLO_VERIFY_REQUESTS: u32 = 8;
