//! The states of a peer connection, as W3C names them.

macro_rules! states {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// The W3C name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use states;

states! {
    /// State of the whole connection: ICE and DTLS taken together (webrtc-pc section 4.3.3).
    RTCPeerConnectionState {
        /// Nothing has begun.
        #[default]
        New = "new",
        /// Connectivity checks or the DTLS handshake are under way.
        Connecting = "connecting",
        /// Both are done: data and media flow.
        Connected = "connected",
        /// No answer from the peer for a while; may come back by itself.
        Disconnected = "disconnected",
        /// Connectivity is lost or DTLS failed; an ICE restart may help in the first case.
        Failed = "failed",
        /// The connection was closed.
        Closed = "closed",
    }
}

states! {
    /// State of ICE (webrtc-pc section 4.3.4).
    RTCIceConnectionState {
        /// Nothing has begun.
        #[default]
        New = "new",
        /// Checks are under way, no working pair yet.
        Checking = "checking",
        /// A working pair was found, better ones are still looked for.
        Connected = "connected",
        /// Checks are over, a working pair is in use.
        Completed = "completed",
        /// No answer from the peer for a while.
        Disconnected = "disconnected",
        /// No pair works.
        Failed = "failed",
        /// The connection was closed.
        Closed = "closed",
    }
}

states! {
    /// State of candidate gathering (webrtc-pc section 4.3.2).
    RTCIceGatheringState {
        /// Nothing has begun.
        #[default]
        New = "new",
        /// Candidates are being gathered.
        Gathering = "gathering",
        /// Every candidate of this generation is known.
        Complete = "complete",
    }
}

states! {
    /// State of the offer/answer exchange (webrtc-pc section 4.3.1).
    RTCSignalingState {
        /// No exchange is under way.
        #[default]
        Stable = "stable",
        /// A local offer waits for its answer.
        HaveLocalOffer = "have-local-offer",
        /// A remote offer waits for its answer.
        HaveRemoteOffer = "have-remote-offer",
        /// A remote offer was answered provisionally.
        HaveLocalPranswer = "have-local-pranswer",
        /// A local offer was answered provisionally.
        HaveRemotePranswer = "have-remote-pranswer",
        /// The connection was closed.
        Closed = "closed",
    }
}

states! {
    /// State of the DTLS transport (webrtc-pc section 5.5).
    RTCDtlsTransportState {
        /// The handshake has not begun.
        #[default]
        New = "new",
        /// The handshake is under way.
        Connecting = "connecting",
        /// The peer is authenticated.
        Connected = "connected",
        /// Closed by either side.
        Closed = "closed",
        /// The handshake failed, or the peer's certificate was not the promised one.
        Failed = "failed",
    }
}
