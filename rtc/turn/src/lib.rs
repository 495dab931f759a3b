//! TURN (RFC 8656) as state machines: the client of an allocation, the client of a Binding request
//! (RFC 8489), and with the feature `server` a whole server. Nothing here knows a socket, a clock or a
//! runtime.
//!
//! * [`Client`] gets and keeps an allocation, its permissions and channels, over UDP or a stream.
//! * [`BindingClient`] finds the server-reflexive address.
//! * [`Encapsulation`] wraps data in the caller's buffer; [`Received::Data`] and
//!   [`channel_data`] say where in a datagram data lies. Payloads are neither copied nor allocated for.
//! * [`StreamSplitter`] cuts what comes over TCP or TLS into messages.
//!
//! # What the owner of a client does
//!
//! | when | call |
//! | --- | --- |
//! | a server is configured | [`Client::new`] per address and transport to try, once the socket is bound or the stream is open (TLS: verified for the host name of the URL) |
//! | a datagram comes from the address of the server, or a message of its stream | [`Client::handle_datagram`]; on [`Received::Data`] the range is a datagram that came from `peer` to `relayed`; on [`Received::NotMine`] it is for somebody else on the socket |
//! | after any call with a `now`, and after a command | [`Client::poll_transmit`] and [`Client::poll_event`] until `None`, then [`Client::poll_timeout`] |
//! | the deadline comes | [`Client::handle_timeout`] |
//! | [`Event::Allocated`] | a relayed candidate, and over UDP a server-reflexive one of `mapped` |
//! | a remote candidate is known | [`Client::create_permission`] with its address, [`Client::remove_permission`] when it is dropped |
//! | data is to be sent from the relayed address | [`Client::encapsulate`], after what `poll_transmit` gives: prefix, payload, padding, to the peer of [`Client::path`]; `None` means drop |
//! | a pair with the relayed candidate is nominated | [`Client::bind_channel`], and [`Client::release_channel`] when another is |
//! | [`Event::Redirected`] (streams only) | open the stream, then [`Client::handle_reconnected`] |
//! | the stream is closed, or has a [`FramingError`] | [`Client::handle_disconnected`] |
//! | [`Event::Failed`] | the candidate is gone; [`Error::remedy`] says what helps. A restart with another user name needs a new client on a new port |
//! | no longer needed | [`Client::close`]; the socket stays until [`Event::Closed`], or for one last `poll_transmit` |
//!
//! # Example
//!
//! A client and a server, with the wire between them drawn as function calls:
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::{Duration, Instant};
//! use rtc_crypto::ring::PROVIDER;
//! use rtc_shared::{FiveTuple, Rng, TransportProtocol};
//! use rtc_turn::server::{Server, ServerConfig, ServerEvent, ServerReceived, StaticUsers};
//! use rtc_turn::{Client, ClientConfig, Credentials, Event, Received};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let now = Instant::now();
//! let mut users = StaticUsers::new(&PROVIDER, "example.org");
//! users.insert("alice", "secret")?;
//! let mut server = Server::new(
//!     ServerConfig::new("example.org"),
//!     Box::new(users),
//!     &PROVIDER,
//!     Rng::from_seed([1; 32]),
//!     now,
//!     Duration::from_secs(1_800_000_000),
//! )?;
//!
//! let us: SocketAddr = "198.51.100.1:5000".parse()?;
//! let them: SocketAddr = "85.10.0.1:3478".parse()?;
//! let path = |local_addr, peer_addr| FiveTuple {
//!     local_addr,
//!     peer_addr,
//!     transport_protocol: TransportProtocol::UDP,
//! };
//! let config = ClientConfig::with_credentials(Credentials::new("alice", "secret"));
//! let rng = Rng::from_seed([2; 32]);
//! let mut client = Client::new(config, &PROVIDER, rng, path(us, them), now);
//!
//! // In place of a network: what one sends, the other gets. The owner of the server binds sockets.
//! let mut relays = Vec::new();
//! let mut exchange = |client: &mut Client, server: &mut Server| {
//!     while let Some(request) = client.poll_transmit() {
//!         let _ = server.handle_datagram(now, path(them, us), &request.message);
//!         while let Some(event) = server.poll_event() {
//!             if let ServerEvent::BindRelay { relay, .. } = event {
//!                 server.relay_bound(now, relay, "85.10.0.1:50000".parse().unwrap());
//!                 relays.push(relay);
//!             }
//!         }
//!         while let Some(response) = server.poll_transmit() {
//!             let _ = client.handle_datagram(now, them, &response.message);
//!         }
//!     }
//! };
//! exchange(&mut client, &mut server);
//! assert!(matches!(client.poll_event(), Some(Event::Allocated { relayed, mapped, .. })
//!     if relayed == "85.10.0.1:50000".parse()? && mapped == us));
//!
//! // Data to a peer, by a channel.
//! let peer: SocketAddr = "93.184.216.34:7000".parse()?;
//! client.bind_channel(now, peer)?;
//! exchange(&mut client, &mut server);
//! let form = client.encapsulate(peer).ok_or("no permission")?;
//! let mut slot = vec![0; form.wire_len(5)];
//! assert!(form.write_prefix(5, &mut slot));
//! slot[form.prefix_len()..][..5].copy_from_slice(b"hello");
//! assert_eq!(slot, b"\x40\x00\x00\x05hello");
//! let received = server.handle_datagram(now, path(them, us), &slot);
//! let expected = ServerReceived::ToPeer { relay: relays[0], peer, payload: 4..9 };
//! assert_eq!(received, expected);
//!
//! // And back.
//! let out = server.handle_peer_datagram(now, relays[0], peer, 3).ok_or("no permission")?;
//! let mut slot = vec![0; out.encapsulation.prefix_len()];
//! assert!(out.encapsulation.write_prefix(3, &mut slot));
//! slot.extend(b"hi!");
//! let received = client.handle_datagram(now, them, &slot);
//! assert!(matches!(received, Received::Data { payload, .. } if &slot[payload.clone()] == b"hi!"));
//! # Ok(())
//! # }
//! ```

mod binding;
mod client;
mod error;
#[cfg(feature = "server")]
pub mod server;
mod stream;
mod wire;

pub use binding::{BindingClient, BindingConfig, BindingEvent};
pub use client::{
    Client, ClientConfig, ClientState, ClientStats, Credentials, Event, Received, RelayedFamilies,
};
pub use error::{Error, Remedy};
pub use stream::{FramingError, StreamSplitter, frame_len};
pub use wire::{CHANNEL_NUMBERS, Encapsulation, channel_data};
