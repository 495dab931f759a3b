//! The sending side: messages that wait, and chunks that are out.

mod outstanding;
mod queue;

pub(crate) use outstanding::Outstanding;
pub(crate) use queue::{Lifetime, PeerWindow, Phase, Queued, SendQueue};

#[cfg(test)]
mod tests;
