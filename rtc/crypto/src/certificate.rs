use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{PublicKeyData, date_time_ymd};
use rtc_shared::Rng;
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::{
    CryptoError, CryptoProvider, Fingerprint, HashAlgorithm, SharedSecret, SignatureScheme,
    SigningKey, pem,
};

/// Key types of a self-signed certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// ECDSA on P-256, what every peer takes.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA; certificates of this type are accepted from peers and loaded from PEM, not generated.
    Rsa,
}

/// What a self-signed certificate is made of.
///
/// ```
/// use std::time::Duration;
/// use rtc_crypto::{CertificateParams, KeyAlgorithm};
///
/// let mut params = CertificateParams::new(Duration::from_secs(1_767_225_600));
/// params.key = KeyAlgorithm::Ed25519;
/// assert_eq!(params.validity, Duration::from_secs(30 * 24 * 60 * 60));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateParams {
    /// Key type, ECDSA on P-256 by default.
    pub key: KeyAlgorithm,
    /// Common name of subject and issuer, `WebRTC` by default.
    pub common_name: String,
    /// Wall-clock time since the Unix epoch at which it is made; validity starts a day earlier, for
    /// peers whose clock is behind.
    pub unix_time: Duration,
    /// How long it is valid from `unix_time` on, 30 days by default.
    pub validity: Duration,
}

impl CertificateParams {
    /// The defaults, for a certificate made at `unix_time` since the Unix epoch.
    #[must_use]
    pub fn new(unix_time: Duration) -> Self {
        Self {
            key: KeyAlgorithm::default(),
            common_name: "WebRTC".to_owned(),
            unix_time,
            validity: 30 * DAY,
        }
    }
}

/// Why a certificate could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The PEM text lacks a `CERTIFICATE` or `PRIVATE KEY` block, or one is not valid base64.
    #[error("PEM: {0}")]
    Pem(&'static str),
    /// The certificate is not valid X.509 DER.
    #[error("certificate is not valid X.509")]
    Der,
    /// The key type is not supported.
    #[error("key type is not supported")]
    UnsupportedKey,
    /// The private key does not belong to the certificate.
    #[error("private key does not belong to the certificate")]
    KeyMismatch,
    /// The library could not make the certificate.
    #[error("certificate could not be generated")]
    Generation,
}

/// A certificate with its private key: the identity of a connection. Cheap to clone.
///
/// Two are equal when their DER forms are.
#[derive(Clone)]
pub struct Certificate {
    inner: Arc<Inner>,
}

struct Inner {
    der: Vec<u8>,
    pkcs8: SharedSecret,
    algorithm: KeyAlgorithm,
    not_after: Duration,
    key: Box<dyn SigningKey>,
}

impl Certificate {
    /// Makes a key pair and signs a certificate for it with itself. The serial number comes from
    /// `rng`, the key from the random source of the provider's library.
    ///
    /// # Errors
    /// [`CertificateError::UnsupportedKey`] for RSA or a key type that the provider lacks,
    /// [`CertificateError::Generation`] when the library fails.
    pub fn generate(
        provider: &CryptoProvider,
        params: &CertificateParams,
        rng: &mut Rng,
    ) -> Result<Self, CertificateError> {
        let pkcs8 = (provider.generate_key)(params.key).map_err(|error| match error {
            CryptoError::Unsupported => CertificateError::UnsupportedKey,
            _ => CertificateError::Generation,
        })?;
        let key = (provider.load_key)(pkcs8.as_ref()).map_err(|_| CertificateError::Generation)?;
        let der = self_sign(params, key.as_ref(), rng)?;
        Self::new(der, pkcs8, key)
    }

    /// Reads a `CERTIFICATE` and a `PRIVATE KEY` (PKCS#8) block, in any order. Of several
    /// certificates the first is taken.
    ///
    /// # Errors
    /// [`CertificateError::Pem`] for malformed text, and the errors of [`from_der`](Self::from_der).
    pub fn from_pem(provider: &CryptoProvider, pem: &str) -> Result<Self, CertificateError> {
        let blocks = pem::read(pem)?;
        let find = |label| blocks.iter().find(|it| it.label == label).map(|it| &it.der);
        let certificate =
            find(PEM_CERTIFICATE).ok_or(CertificateError::Pem("no CERTIFICATE block"))?;
        let other_form = blocks.iter().any(|it| it.label.ends_with(PEM_PRIVATE_KEY));
        let key = find(PEM_PRIVATE_KEY).ok_or(CertificateError::Pem(if other_form {
            "the private key is not in unencrypted PKCS#8 form"
        } else {
            "no PRIVATE KEY block"
        }))?;
        Self::from_der(provider, certificate, key)
    }

    /// Takes a certificate and its private key (PKCS#8) in DER.
    ///
    /// # Errors
    /// [`CertificateError::Der`] when the certificate does not parse,
    /// [`CertificateError::UnsupportedKey`] when the provider does not take the key, and
    /// [`CertificateError::KeyMismatch`] when the two do not belong together.
    pub fn from_der(
        provider: &CryptoProvider,
        certificate: &[u8],
        pkcs8: &[u8],
    ) -> Result<Self, CertificateError> {
        let key = (provider.load_key)(pkcs8).map_err(|_| CertificateError::UnsupportedKey)?;
        Self::new(certificate.to_vec(), SharedSecret::new(pkcs8.to_vec()), key)
    }

    fn new(
        der: Vec<u8>,
        pkcs8: SharedSecret,
        key: Box<dyn SigningKey>,
    ) -> Result<Self, CertificateError> {
        let certificate = parse(&der)?;
        let public_key = PeerCertificate::from_info(certificate.public_key())?;
        if public_key.subject_public_key != key.public_key() {
            return Err(CertificateError::KeyMismatch);
        }
        let not_after = certificate.validity().not_after.timestamp();
        let not_after = Duration::from_secs(u64::try_from(not_after).unwrap_or(0));
        let algorithm = public_key.algorithm;
        Ok(Self {
            inner: Arc::new(Inner {
                der,
                pkcs8,
                algorithm,
                not_after,
                key,
            }),
        })
    }

    /// The private key and the certificate as PEM text, for [`from_pem`](Self::from_pem). The text
    /// is as secret as the key.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let mut text = String::with_capacity((self.inner.der.len() + 300) * 2);
        pem::write(&mut text, PEM_PRIVATE_KEY, self.inner.pkcs8.as_ref());
        pem::write(&mut text, PEM_CERTIFICATE, &self.inner.der);
        text
    }

    /// The certificate as it goes to the peer.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.inner.der
    }

    /// The type of its key.
    #[must_use]
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.inner.algorithm
    }

    /// The private key.
    #[must_use]
    pub fn signing_key(&self) -> &dyn SigningKey {
        self.inner.key.as_ref()
    }

    /// Until when it is valid, in whole seconds since the Unix epoch.
    #[must_use]
    pub fn expires(&self) -> Duration {
        self.inner.not_after
    }

    /// True when it is no longer valid at `unix_time` since the Unix epoch.
    #[must_use]
    pub fn is_expired(&self, unix_time: Duration) -> bool {
        unix_time > self.inner.not_after
    }

    /// Its hash as SDP carries it; `None` when the provider lacks the hash function.
    #[must_use]
    pub fn fingerprint(
        &self,
        algorithm: HashAlgorithm,
        provider: &CryptoProvider,
    ) -> Option<Fingerprint> {
        Fingerprint::of(&self.inner.der, algorithm, provider)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("algorithm", &self.inner.algorithm)
            .field("expires", &self.inner.not_after)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.inner.der == other.inner.der
    }
}

impl Eq for Certificate {}

/// The public key of a peer's certificate.
///
/// Nothing else of the certificate counts in WebRTC: it is self-signed, and its fingerprint in the
/// signalling vouches for it (RFC 8827 section 5.1). Neither its own signature nor its dates are
/// checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Key type.
    pub algorithm: KeyAlgorithm,
    /// Content of `subjectPublicKey`.
    pub subject_public_key: Vec<u8>,
}

impl PeerCertificate {
    /// Reads a certificate from the network.
    ///
    /// # Errors
    /// [`CertificateError::Der`] when it does not parse, is followed by other bytes or longer than
    /// 64 KiB, [`CertificateError::UnsupportedKey`] when the key is of none of the known types.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        Self::from_info(parse(der)?.public_key())
    }

    fn from_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, CertificateError> {
        let curve = || {
            info.algorithm
                .parameters
                .as_ref()
                .and_then(|it| it.as_oid().ok())
        };
        let oid = &info.algorithm.algorithm;
        let key = &info.subject_public_key;
        let algorithm = if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
            match curve() {
                Some(curve) if curve == OID_EC_P256 => KeyAlgorithm::EcdsaP256,
                Some(curve) if curve == OID_NIST_EC_P384 => KeyAlgorithm::EcdsaP384,
                _ => return Err(CertificateError::UnsupportedKey),
            }
        } else if *oid == OID_SIG_ED25519 {
            KeyAlgorithm::Ed25519
        } else if *oid == OID_PKCS1_RSAENCRYPTION {
            KeyAlgorithm::Rsa
        } else {
            return Err(CertificateError::UnsupportedKey);
        };
        if key.unused_bits != 0 {
            return Err(CertificateError::Der);
        }
        let key = key.data.as_ref();
        // TLS knows uncompressed points alone (RFC 8422 section 5.1.2).
        let fits = match algorithm {
            KeyAlgorithm::EcdsaP256 => key.len() == 65 && key.first() == Some(&4),
            KeyAlgorithm::EcdsaP384 => key.len() == 97 && key.first() == Some(&4),
            KeyAlgorithm::Ed25519 => key.len() == 32,
            KeyAlgorithm::Rsa => !key.is_empty(),
        };
        if !fits {
            return Err(CertificateError::UnsupportedKey);
        }
        Ok(Self {
            algorithm,
            subject_public_key: key.to_vec(),
        })
    }

    /// True when a signature by this key may be of `scheme` in TLS 1.3, where each scheme of ECDSA
    /// names its curve (RFC 8446 section 4.2.3).
    #[must_use]
    pub fn accepts(&self, scheme: SignatureScheme) -> bool {
        match scheme {
            SignatureScheme::EcdsaSecp256r1Sha256 => self.algorithm == KeyAlgorithm::EcdsaP256,
            SignatureScheme::EcdsaSecp384r1Sha384 => self.algorithm == KeyAlgorithm::EcdsaP384,
            SignatureScheme::Ed25519 => self.algorithm == KeyAlgorithm::Ed25519,
            SignatureScheme::RsaPkcs1Sha256
            | SignatureScheme::RsaPkcs1Sha384
            | SignatureScheme::RsaPkcs1Sha512
            | SignatureScheme::RsaPssRsaeSha256
            | SignatureScheme::RsaPssRsaeSha384
            | SignatureScheme::RsaPssRsaeSha512 => self.algorithm == KeyAlgorithm::Rsa,
        }
    }

    /// True when a signature by this key may be of `scheme` in TLS 1.2, where the schemes of ECDSA
    /// name the hash alone: a P-384 key may sign with SHA-256 (RFC 5246 section 7.4.1.4.1).
    #[must_use]
    pub fn accepts_tls12(&self, scheme: SignatureScheme) -> bool {
        match scheme {
            SignatureScheme::EcdsaSecp256r1Sha256 | SignatureScheme::EcdsaSecp384r1Sha384 => {
                matches!(
                    self.algorithm,
                    KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384
                )
            }
            _ => self.accepts(scheme),
        }
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    if der.len() > MAX_DER_LEN {
        return Err(CertificateError::Der);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::Der),
    }
}

fn self_sign(
    params: &CertificateParams,
    key: &dyn SigningKey,
    rng: &mut Rng,
) -> Result<Vec<u8>, CertificateError> {
    let (scheme, algorithm) = match params.key {
        KeyAlgorithm::EcdsaP256 => (
            SignatureScheme::EcdsaSecp256r1Sha256,
            &rcgen::PKCS_ECDSA_P256_SHA256,
        ),
        KeyAlgorithm::EcdsaP384 => (
            SignatureScheme::EcdsaSecp384r1Sha384,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        ),
        KeyAlgorithm::Ed25519 => (SignatureScheme::Ed25519, &rcgen::PKCS_ED25519),
        KeyAlgorithm::Rsa => return Err(CertificateError::UnsupportedKey),
    };
    let not_before = params.unix_time.saturating_sub(DAY).min(LAST_SECOND);
    let not_after = params
        .unix_time
        .saturating_add(params.validity)
        .min(LAST_SECOND);
    let epoch = date_time_ymd(1970, 1, 1);
    // Positive, not zero and of one length: the top bits are 01 (RFC 5280 section 4.1.2.2).
    let mut serial: [u8; 16] = rng.array();
    let [first, ..] = &mut serial;
    *first = *first & 0x3f | 0x40;

    let mut request = rcgen::CertificateParams::default();
    request.not_before = epoch + not_before;
    request.not_after = epoch + not_after;
    request.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
    request.distinguished_name = rcgen::DistinguishedName::new();
    request
        .distinguished_name
        .push(rcgen::DnType::CommonName, params.common_name.as_str());
    let certificate = request
        .self_signed(&Signer {
            key,
            scheme,
            algorithm,
        })
        .map_err(|_| CertificateError::Generation)?;
    Ok(certificate.der().to_vec())
}

/// A key of the provider as the certificate generator wants it.
struct Signer<'a> {
    key: &'a dyn SigningKey,
    scheme: SignatureScheme,
    algorithm: &'static rcgen::SignatureAlgorithm,
}

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.public_key()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm
    }
}

impl rcgen::SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key
            .sign(self.scheme, message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 9999-12-31 23:59:59, the last time X.509 can say.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// Far above any certificate in use (an RSA-8192 one takes 2.5 kB).
const MAX_DER_LEN: usize = 64 * 1024;

const PEM_CERTIFICATE: &str = "CERTIFICATE";
const PEM_PRIVATE_KEY: &str = "PRIVATE KEY";

#[cfg(test)]
mod tests;
