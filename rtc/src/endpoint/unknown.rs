use std::collections::VecDeque;

use bytes::BytesMut;
use rtc_shared::{TaggedBytesMut, TransportContext};
use rtc_stun::{Message, Method};

/// Somebody who sends ICE checks to a user name fragment that no peer has.
///
/// The check is well-formed, which anyone can make it; nothing in it is authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RTCUnknownPeer {
    /// Whom the check is for: the fragment that our side would have signalled.
    pub local_ufrag: String,
    /// Who sent it: the fragment of the peer.
    pub remote_ufrag: String,
    /// The check, to be handled again once there is a connection with these credentials.
    pub datagram: TaggedBytesMut,
}

impl RTCUnknownPeer {
    /// The path by which the check came.
    #[must_use]
    pub fn transport(&self) -> TransportContext {
        self.datagram.transport
    }

    /// Reads a check; `None` when no ICE agent would have sent it.
    pub(super) fn read(datagram: &TaggedBytesMut) -> Option<Self> {
        let message = Message::parse(&datagram.message).ok()?;
        let (local_ufrag, remote_ufrag) = ufrags_of(&message)?;
        let is_ufrag = |ufrag: &str| {
            (4..=256).contains(&ufrag.len())
                && ufrag
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
        };
        let well_formed = is_ufrag(local_ufrag)
            && is_ufrag(remote_ufrag)
            && message.has_integrity()
            && message.verify_fingerprint().is_ok();
        well_formed.then(|| Self {
            local_ufrag: local_ufrag.to_owned(),
            remote_ufrag: remote_ufrag.to_owned(),
            // In memory of its own: what was received with it shall not wait with it.
            datagram: TaggedBytesMut {
                message: BytesMut::from(&*datagram.message),
                ..*datagram
            },
        })
    }
}

/// Both parts of the USERNAME of a check, the receiver's first.
pub(super) fn ufrags_of<'a>(message: &Message<'a>) -> Option<(&'a str, &'a str)> {
    if message.method() != Method::BINDING {
        return None;
    }
    message.username()?.split_once(':')
}

/// Unknown peers that wait to be told.
#[derive(Debug, Default)]
pub(super) struct UnknownPeers {
    queue: VecDeque<RTCUnknownPeer>,
    dropped: u64,
}

impl UnknownPeers {
    /// A repeated check replaces the earlier one, and beyond the bound the oldest is forgotten.
    pub(super) fn push(&mut self, peer: RTCUnknownPeer) {
        let path = peer.transport().five_tuple();
        let known = self.queue.iter_mut().find(|known| {
            known.transport().five_tuple() == path && known.local_ufrag == peer.local_ufrag
        });
        if let Some(known) = known {
            *known = peer;
            return;
        }
        if self.queue.len() >= MAX_WAITING {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.queue.push_back(peer);
    }

    pub(super) fn pop(&mut self) -> Option<RTCUnknownPeer> {
        self.queue.pop_front()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// About as many as can come in two receive calls.
const MAX_WAITING: usize = 128;
