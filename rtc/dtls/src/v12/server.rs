use rtc_crypto::{HmacAlgorithm, KeyExchange, PeerCertificate};
use rtc_shared::Writer;
use subtle::ConstantTimeEq;

use super::client::{of_peer_share, signed_content};
use super::{Context, Progress, Session, Transcript, body, verify_signature};
use crate::extension::{Extensions, UNCOMPRESSED, UseSrtp};
use crate::message::{
    self, CertificateChain, CertificateRequest, ClientHello, ClientKeyExchange, Codes,
    HelloVerifyRequest, ServerHello, ServerKeyExchange, Signed, code_bytes,
};
use crate::record::v12::Epoch;
use crate::record::{VERSION_1_0, VERSION_1_2};
use crate::{CipherSuite, Error, Role, SrtpProfile};

/// The server's side of a handshake.
pub(crate) struct Server {
    state: State,
    transcript: Transcript,
    session: Box<Session>,
    cookie_secret: [u8; 32],
    hello_verify_requests: u32,
    exchange: Option<Box<dyn KeyExchange>>,
    client_key: Option<PeerCertificate>,
}

/// What is due from the client, in protocol order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ClientHello,
    Certificate,
    ClientKeyExchange,
    CertificateVerify,
    Finished,
}

impl Server {
    pub(crate) fn new(cx: &mut Context<'_>) -> Self {
        Self {
            state: State::ClientHello,
            transcript: Transcript::default(),
            session: Box::new(Session::new()),
            cookie_secret: cx.rng.array(),
            hello_verify_requests: 0,
            exchange: None,
            client_key: None,
        }
    }

    pub(crate) fn awaits_client_hello(&self) -> bool {
        self.state == State::ClientHello
    }

    pub(crate) fn handle(
        &mut self,
        kind: u8,
        raw: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Progress, Error> {
        match (self.state, kind) {
            (State::ClientHello, message::CLIENT_HELLO) => self.on_client_hello(raw, cx)?,
            (State::Certificate, message::CERTIFICATE) => self.on_certificate(raw, cx)?,
            (State::ClientKeyExchange, message::CLIENT_KEY_EXCHANGE) => {
                self.on_client_key_exchange(raw, cx)?;
            }
            (State::CertificateVerify, message::CERTIFICATE_VERIFY) => {
                self.on_certificate_verify(raw, cx)?;
            }
            (State::Finished, message::FINISHED) => return self.on_finished(raw, cx),
            _ => return Err(Error::UnexpectedMessage(self.state.name())),
        }
        Ok(Progress::Continue)
    }

    fn on_client_hello(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<(), Error> {
        let hello = ClientHello::parse(body(raw))?;
        check_version(&hello)?;
        if cx.config.cookie_exchange {
            let cookie = self.cookie(&hello, cx)?;
            if !bool::from(cookie.as_ref().ct_eq(hello.cookie)) {
                return self.send_hello_verify_request(cookie.as_ref(), cx);
            }
        }
        if !hello.compression_methods.contains(&0) {
            return Err(Error::IllegalParameter("compression methods"));
        }
        self.negotiate(&hello, cx)?;
        self.transcript.clear();
        self.transcript.add(raw);
        self.send_hello(&hello, cx)
    }

    /// A value that follows from the hello and from a secret of ours, so that nothing needs to be kept
    /// until it comes back.
    fn cookie(
        &self,
        hello: &ClientHello<'_>,
        cx: &Context<'_>,
    ) -> Result<rtc_crypto::Digest, Error> {
        let hmac = cx
            .config
            .provider
            .hmac(HmacAlgorithm::Sha256)
            .ok_or(Error::Internal)?;
        Ok(hmac.key(&self.cookie_secret).sign(&[
            &hello.version.to_be_bytes(),
            &hello.random,
            &[hello.session_id.len() as u8],
            hello.session_id,
            hello.cipher_suites.as_bytes(),
            &[0xff],
            hello.compression_methods,
            hello.extension_block,
        ]))
    }

    fn send_hello_verify_request(
        &mut self,
        cookie: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Error> {
        self.hello_verify_requests += 1;
        if self.hello_verify_requests > MAX_HELLO_VERIFY_REQUESTS {
            return Err(Error::IllegalParameter("cookie"));
        }
        // The version is to be that of DTLS 1.0, whatever is negotiated later (RFC 6347 section 4.2.1).
        let request = HelloVerifyRequest {
            version: VERSION_1_0,
            cookie,
        };
        cx.flight.begin(cx.now, cx.next_receive_seq, false);
        cx.flight
            .push(Epoch::Plain, message::HELLO_VERIFY_REQUEST, |out| {
                request.write(out)
            });
        Ok(())
    }

    /// Chooses, by our order, among what the client offers.
    fn negotiate(&mut self, hello: &ClientHello<'_>, cx: &mut Context<'_>) -> Result<(), Error> {
        let config = cx.config;
        let extensions = &hello.extensions;
        let session = &mut self.session;
        let key = config.certificate.algorithm();
        session.suite = config
            .suites()
            .filter(|suite| suite.serves(key))
            .find(|suite| hello.cipher_suites.contains(suite.code()))
            .ok_or(Error::NoCommonCipherSuite)?;
        // A client that does not say takes any group (RFC 8422 section 4).
        let group = config
            .groups()
            .find(|group| {
                extensions
                    .groups
                    .is_none_or(|it| it.contains(group.group().code()))
            })
            .ok_or(Error::NoCommonGroup)?;
        session.group = Some(group.group());
        if extensions
            .point_formats
            .is_some_and(|formats| !formats.contains(&UNCOMPRESSED))
        {
            return Err(Error::IllegalParameter("point formats"));
        }
        if extensions
            .renegotiation_info
            .is_some_and(|info| !info.is_empty())
        {
            return Err(Error::Renegotiation);
        }
        if !extensions.extended_master_secret && config.require_extended_master_secret {
            return Err(Error::MissingExtendedMasterSecret);
        }
        session.extended_master_secret = extensions.extended_master_secret;
        session.srtp_profile = extensions.use_srtp.and_then(|offer| {
            let mut ours = config.srtp_profiles.iter().copied();
            ours.find(|profile| offer.profiles.contains(profile.code()))
        });
        session.client_random = hello.random;
        session.server_random = config.server_random(cx.rng);
        self.exchange = Some(group.start(cx.rng)?);
        Ok(())
    }

    /// Answers with ServerHello, Certificate, ServerKeyExchange, CertificateRequest and ServerHelloDone.
    fn send_hello(&mut self, hello: &ClientHello<'_>, cx: &mut Context<'_>) -> Result<(), Error> {
        let config = cx.config;
        let session = &self.session;
        let exchange = self.exchange.as_ref().ok_or(Error::Internal)?;
        let group = session.group.ok_or(Error::Internal)?;
        let scheme = config.choose_scheme(|code| {
            hello
                .extensions
                .signature_schemes
                .is_some_and(|offered| offered.contains(code))
        })?;
        let mut params = Vec::with_capacity(128);
        ServerKeyExchange::write_params(&mut params, group.code(), exchange.public_key());
        let content = signed_content(session, &params);
        let signature = config.certificate.signing_key().sign(scheme, &content)?;

        let profile = session.srtp_profile.map(SrtpProfile::code);
        let profile = code_bytes(profile);
        let secure_renegotiation = hello.extensions.renegotiation_info.is_some()
            || hello.cipher_suites.contains(EMPTY_RENEGOTIATION_INFO_SCSV);
        let server_hello = ServerHello {
            version: VERSION_1_2,
            random: session.server_random,
            session_id: &[],
            cipher_suite: CipherSuite::code(session.suite),
            compression_method: 0,
            extensions: Extensions {
                point_formats: hello.extensions.point_formats.map(|_| &[UNCOMPRESSED][..]),
                use_srtp: Codes::new(&profile, "")
                    .ok()
                    .map(|profiles| UseSrtp { profiles, mki: &[] }),
                extended_master_secret: session.extended_master_secret,
                renegotiation_info: secure_renegotiation.then_some(&[]),
                ..Extensions::default()
            },
        };
        let chain = CertificateChain {
            leaf: Some(config.certificate.der()),
        };
        let schemes = code_bytes(config.peer_schemes().map(|scheme| scheme.code()));
        let request = CertificateRequest {
            certificate_types: &CertificateRequest::TYPES,
            signature_schemes: Codes::new(&schemes, "").unwrap_or_default(),
        };
        let signed = Signed {
            scheme: scheme.code(),
            signature: &signature,
        };

        let transcript = &mut self.transcript;
        let flight = &mut *cx.flight;
        flight.begin(cx.now, cx.next_receive_seq, true);
        transcript.add(flight.push(Epoch::Plain, message::SERVER_HELLO, |out| {
            server_hello.write(out);
        }));
        transcript.add(flight.push(Epoch::Plain, message::CERTIFICATE, |out| chain.write(out)));
        transcript.add(
            flight.push(Epoch::Plain, message::SERVER_KEY_EXCHANGE, |out| {
                ServerKeyExchange::write(out, &params, signed);
            }),
        );
        transcript.add(
            flight.push(Epoch::Plain, message::CERTIFICATE_REQUEST, |out| {
                request.write(out);
            }),
        );
        transcript.add(flight.push(Epoch::Plain, message::SERVER_HELLO_DONE, |_| ()));
        self.state = State::Certificate;
        Ok(())
    }

    fn on_certificate(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<(), Error> {
        let chain = CertificateChain::parse(body(raw))?;
        self.client_key = Some(cx.peer.accept(cx.config, chain.leaf)?);
        self.advance(State::ClientKeyExchange, raw);
        Ok(())
    }

    fn on_client_key_exchange(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<(), Error> {
        let share = ClientKeyExchange::parse(body(raw))?;
        let exchange = self.exchange.take().ok_or(Error::Internal)?;
        let premaster_secret = exchange.complete(share.public_key).map_err(of_peer_share)?;
        self.advance(State::CertificateVerify, raw);
        let config = cx.config;
        let session = &mut self.session;
        let hash = config
            .provider
            .hash(session.suite.hash())
            .ok_or(Error::Internal)?;
        let session_hash = self.transcript.hash(hash);
        session.derive_master_secret(config, premaster_secret.as_ref(), &session_hash)?;
        let (write, read) = session.derive_ciphers(config, Role::Server, cx.rng)?;
        cx.writer.install(write);
        cx.reader.install(read);
        Ok(())
    }

    fn on_certificate_verify(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<(), Error> {
        let signed = Signed::parse(body(raw), "CertificateVerify")?;
        let key = self.client_key.as_ref().ok_or(Error::Internal)?;
        verify_signature(cx.config, key, signed, &self.transcript.raw)?;
        self.advance(State::Finished, raw);
        Ok(())
    }

    /// Answers with ChangeCipherSpec and Finished.
    fn on_finished(&mut self, raw: &[u8], cx: &mut Context<'_>) -> Result<Progress, Error> {
        let received = message::verify_data(body(raw))?;
        let provider = cx.config.provider;
        let hash = provider
            .hash(self.session.suite.hash())
            .ok_or(Error::Internal)?;
        let before = self.transcript.hash(hash);
        let expected = self.session.verify_data(provider, Role::Client, &before)?;
        if !bool::from(expected.ct_eq(received)) {
            return Err(Error::BadFinished);
        }
        self.transcript.add(raw);
        let after = self.transcript.hash(hash);
        let verify_data = self.session.verify_data(provider, Role::Server, &after)?;
        cx.flight.begin(cx.now, cx.next_receive_seq, false);
        cx.flight.push_change_cipher_spec();
        cx.flight.push(Epoch::Sealed, message::FINISHED, |out| {
            out.put(&verify_data)
        });
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
            Self::ClientHello => "ClientHello",
            Self::Certificate => "Certificate",
            Self::ClientKeyExchange => "ClientKeyExchange",
            Self::CertificateVerify => "CertificateVerify",
            Self::Finished => "Finished",
        }
    }
}

/// A client of version 1.3 says so in supported_versions and names 1.2 in the old field (RFC 9147 section
/// 5.3). Versions count downwards from 0xfeff.
fn check_version(hello: &ClientHello<'_>) -> Result<(), Error> {
    let offered = match hello.extensions.offered_versions()? {
        Some(versions) => versions.contains(VERSION_1_2),
        None => (0xfe00..=VERSION_1_2).contains(&hello.version),
    };
    if offered {
        Ok(())
    } else {
        Err(Error::NoCommonVersion)
    }
}

/// Stands for an empty renegotiation_info among the suites (RFC 5746 section 3.3).
const EMPTY_RENEGOTIATION_INFO_SCSV: u16 = 0x00ff;

/// Beyond this a client does not repeat our cookies but makes up its own.
const MAX_HELLO_VERIFY_REQUESTS: u32 = 8;
