use thiserror::Error;

/// Why a stream cannot be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The session has as many streams as it can hold.
    #[error("too many streams")]
    TooManyStreams,
    /// The SSRC, or that of the retransmissions, belongs to another stream of the session.
    #[error("SSRC {ssrc:#010x} belongs to another stream")]
    SsrcInUse {
        /// The SSRC.
        ssrc: u32,
    },
}
