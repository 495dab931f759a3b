use rtc_shared::FiveTuple;
use rtc_stun::Message;

use super::{Agent, State};

/// What is for this agent among the datagrams of a socket that several agents share.
///
/// A check is for the agent that owns the user name fragment before the colon of its USERNAME, a
/// response for the one whose tag begins its transaction id, and everything else for the one that
/// accepts the path.
impl Agent {
    /// True when data may be taken from a path: its pair is valid, or the peer has sent an authentic
    /// check by it (RFC 8445 section 12.2).
    #[must_use]
    pub fn accepts(&self, path: &FiveTuple) -> bool {
        self.path.as_ref() == Some(path)
            || self
                .generations()
                .any(|generation| generation.accepts(path))
    }

    /// Every path that the agent [`accepts`](Self::accepts); one may come more than once.
    pub fn accepted_paths(&self) -> impl Iterator<Item = AcceptedPath> {
        let lite = self.context.config.lite;
        self.generations().flat_map(move |generation| {
            generation
                .accepted_paths()
                .map(move |(path, valid)| AcceptedPath {
                    path,
                    proven: valid && !lite,
                })
        })
    }

    /// True when a user name fragment is ours, so that a check with a USERNAME of `ufrag:…` is for
    /// this agent; that of the generation before a restart counts for as long as it is served.
    #[must_use]
    pub fn owns_ufrag(&self, ufrag: &str) -> bool {
        self.local_ufrags().any(|owned| owned == ufrag)
    }

    /// Our user name fragments: the current one, and that of the generation before a restart for as
    /// long as it is served. A closed agent has none.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.generations()
            .filter(|_| self.state != State::Closed)
            .map(|generation| generation.local.ufrag())
    }

    /// True when a request was made by somebody who knows our password: it names one of our
    /// fragments and its MESSAGE-INTEGRITY is right. Where two agents have the same fragment by
    /// chance, this tells them apart.
    #[must_use]
    pub fn authenticates(&self, request: &Message<'_>) -> bool {
        let username = request.username().and_then(|name| name.split_once(':'));
        username.is_some_and(|(ufrag, _)| {
            self.state != State::Closed
                && self.generations().any(|generation| {
                    generation.local.ufrag() == ufrag
                        && request.verify_integrity(&*generation.local.key).is_ok()
                })
        })
    }

    /// The first 32 bits of the transaction id of every request of this agent, so that its responses
    /// can be told from those of other agents without a table of requests. Random; the 64 bits that
    /// follow are different for each request.
    #[must_use]
    pub fn transaction_tag(&self) -> u32 {
        u32::from_be_bytes(self.context.tag)
    }

    /// Takes another tag for the requests to come, because somebody else has the same.
    pub fn renew_transaction_tag(&mut self) {
        self.context.tag = self.context.rng.array();
    }
}

/// A path by which an agent takes data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedPath {
    /// The path.
    pub path: FiveTuple,
    /// The peer has answered a request that went there. Without this all that is known is that
    /// somebody with the right password has sent a check in the name of that address, which may be
    /// another's: a lite agent never knows more.
    pub proven: bool,
}
