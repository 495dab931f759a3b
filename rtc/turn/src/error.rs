use rtc_stun::{CredentialsError, Message};
use thiserror::Error;

/// Why an allocation, a permission or a channel could not be had, or was lost.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The server does not answer.
    #[error("server does not answer")]
    Timeout,
    /// The server refuses with the code of an ERROR-CODE attribute.
    #[error("server refuses with {code}: {reason}")]
    Refused {
        /// 300 to 699; see [`ErrorCode`](rtc_stun::ErrorCode) for those that have a name.
        code: u16,
        /// What the server says of it, for people.
        reason: String,
    },
    /// The server's challenge cannot be answered, or it refuses user name and password.
    #[error("credentials: {0}")]
    Credentials(#[from] CredentialsError),
    /// Responses came, but none was authentic.
    #[error("no response of the server is authentic")]
    IntegrityViolated,
    /// An authentic response lacks what it has to say, or says what is not understood.
    #[error("response of the server is not usable")]
    InvalidResponse,
    /// The server redirects in a circle, too often, to another address family or without proof.
    #[error("redirection of the server cannot be followed")]
    Redirection,
    /// The connection to the server is gone, and the allocation with it.
    #[error("connection to the server is lost")]
    ConnectionLost,
    /// The allocation ran out before the server prolonged it.
    #[error("allocation expired")]
    Expired,
    /// There is no relayed address of the peer's family (RFC 8656 section 10.1).
    #[error("no relayed address of the peer's address family")]
    AddressFamily,
    /// An allocation belongs to the user that made it; another user needs another client.
    #[error("allocation belongs to another user name")]
    OtherUsername,
    /// There are as many permissions or channels as the configuration allows.
    #[error("too many permissions or channels")]
    LimitReached,
    /// The client was closed or has failed.
    #[error("client is closed")]
    Closed,
}

impl Error {
    /// The number in ERROR-CODE, if the server sent one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Credentials(CredentialsError::Rejected) => Some(401),
            Self::Credentials(CredentialsError::NonceLoop) => Some(438),
            _ => None,
        }
    }

    /// What can be done about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Refused { code: 437, .. } => Remedy::OtherPort,
            Self::Refused {
                code: 401 | 441, ..
            }
            | Self::OtherUsername
            | Self::Credentials(CredentialsError::Rejected) => Remedy::OtherCredentials,
            // RFC 8656 section 7.4 asks for a minute before the same server is tried again.
            Self::Refused {
                code: 486 | 500 | 508,
                ..
            }
            | Self::Timeout
            | Self::ConnectionLost
            | Self::Expired => Remedy::Later,
            _ => Remedy::None,
        }
    }

    /// The error that a response carries; a response without ERROR-CODE is not usable.
    pub(crate) fn of(response: &Message<'_>) -> Self {
        match response.error_code() {
            Some(error) => Self::Refused {
                code: error.code(),
                reason: error.reason().into_owned(),
            },
            None => Self::InvalidResponse,
        }
    }
}

/// What helps against an [`enum@Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// A new client on a new local port; the server still knows an allocation of the old one.
    OtherPort,
    /// Other credentials.
    OtherCredentials,
    /// Another server, or the same a minute later.
    Later,
    /// Nothing that is known.
    None,
}
