use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rtc_shared::FiveTuple;
use rtc_stun::{AddressFamily, AttributeType, Class, ErrorCode, Message, MessageBuilder, Method};
use smallvec::SmallVec;
use tracing::{debug, trace};

use super::allocation::{Allocation, FAMILIES, Pending, Relay, index_of};
use super::guard::{Authentic, Signer};
use super::table::{Key, RelayId};
use super::{EndReason, Server, ServerEvent};

/// The code to refuse a request with.
type Refusal = u16;

/// Requests of clients (RFC 8656 sections 7 to 12).
impl Server {
    pub(super) fn handle_request(&mut self, client: FiveTuple, message: &Message<'_>) {
        match message.method() {
            Method::BINDING => self.handle_binding(client, message),
            Method::ALLOCATE
            | Method::REFRESH
            | Method::CREATE_PERMISSION
            | Method::CHANNEL_BIND => self.handle_authenticated(client, message),
            _ => self.metrics.dropped.unexpected += 1,
        }
    }

    fn handle_binding(&mut self, client: FiveTuple, message: &Message<'_>) {
        if !self.admits_response(&client) {
            return;
        }
        let unknown = message.unknown_required(&KNOWN);
        let response = match unknown.is_empty() {
            true => {
                self.metrics.bindings += 1;
                MessageBuilder::response(Class::Success, message)
                    .xor_mapped_address(client.peer_addr)
            }
            false => {
                self.metrics.refused.bad_request += 1;
                refusal(message, ErrorCode::UNKNOWN_ATTRIBUTE).unknown_attributes(&unknown)
            }
        };
        self.respond(client, response, None);
    }

    fn handle_authenticated(&mut self, client: FiveTuple, message: &Message<'_>) {
        let key = self.table.of_client(&client);
        let unix_time = self.unix_time();
        let authentic =
            self.guard
                .authenticate(message, &client, self.now, unix_time, key.is_some());
        let Authentic { username, signer } = match authentic {
            Ok(authentic) => authentic,
            Err(code) => return self.challenge(client, message, code),
        };
        let unknown = message.unknown_required(&KNOWN);
        if !unknown.is_empty() {
            self.metrics.refused.bad_request += 1;
            let response = refusal(message, ErrorCode::UNKNOWN_ATTRIBUTE);
            return self.respond(client, response.unknown_attributes(&unknown), Some(&signer));
        }
        let result = match (message.validate(), message.method(), key) {
            (Err(_), ..) => Err(ErrorCode::BAD_REQUEST),
            (_, Method::ALLOCATE, None) => match self.allocate(client, message, username, signer) {
                Ok(()) => return,
                Err((code, signer)) => {
                    let response = refusal(message, code);
                    self.count_refusal(code);
                    return self.respond(client, response, Some(&signer));
                }
            },
            (_, Method::ALLOCATE, Some(key)) => {
                match self.repeated_allocate(message, key, &username) {
                    Ok(None) => return,
                    Ok(Some(response)) => Ok(response),
                    Err(code) => Err(code),
                }
            }
            (.., None) => Err(ErrorCode::ALLOCATION_MISMATCH),
            (_, method, Some(key)) => self.on_allocation(message, method, key, &username),
        };
        let response = match result {
            Ok(response) => response,
            Err(code) => {
                self.count_refusal(code);
                refusal(message, code)
            }
        };
        self.respond(client, response, Some(&signer));
    }

    /// Refuses a request that is not authentic.
    fn challenge(&mut self, client: FiveTuple, message: &Message<'_>, code: Refusal) {
        match code {
            ErrorCode::UNAUTHENTICATED if message.has_integrity() => {
                debug!(client = %client.peer_addr, "wrong credentials");
                self.metrics.refused.bad_credentials += 1;
            }
            ErrorCode::UNAUTHENTICATED => self.metrics.refused.challenges += 1,
            ErrorCode::STALE_NONCE => self.metrics.refused.stale_nonce += 1,
            _ => self.metrics.refused.bad_request += 1,
        }
        if !self.admits_response(&client) {
            return;
        }
        let mut response = refusal(message, code);
        if matches!(code, ErrorCode::UNAUTHENTICATED | ErrorCode::STALE_NONCE) {
            response = self.guard.challenge(response, &client, self.now);
        }
        self.respond(client, response, None);
    }

    /// The beginning of an allocation; the response follows when its relays are bound.
    fn allocate(
        &mut self,
        client: FiveTuple,
        message: &Message<'_>,
        username: String,
        signer: Signer,
    ) -> Result<(), (Refusal, Signer)> {
        let wanted = match self.wanted_relays(message) {
            Ok(wanted) => wanted,
            Err(code) => return Err((code, signer)),
        };
        let is_full = self.table.len() >= self.config.max_allocations;
        // An owner that does not take its events cannot bind more sockets either.
        if is_full || self.events.len() >= self.config.max_outgoing {
            return Err((ErrorCode::INSUFFICIENT_CAPACITY, signer));
        }
        if self.table.of_user(&username) >= self.config.max_allocations_per_user {
            return Err((ErrorCode::ALLOCATION_QUOTA_REACHED, signer));
        }
        let even_port = message.even_port().is_some();
        let pending = Pending {
            signer,
            even_port,
            until: self.now + self.config.relay_timeout,
        };
        let lifetime = self.lifetime(message);
        let username = self.table.intern(username);
        let id = message.transaction_id();
        let mut allocation = Allocation::new(client, username, id, pending, lifetime);
        allocation.relays = wanted;
        let Some(key) = self.table.insert(allocation) else {
            return Ok(());
        };
        self.learn_own_address(client.local_addr.ip());
        for family in FAMILIES {
            if wanted.get(index_of(family)) == Some(&Relay::Asked) {
                self.events.push_back(ServerEvent::BindRelay {
                    relay: RelayId::new(key, family),
                    even_port,
                    client,
                });
            }
        }
        Ok(())
    }

    /// The relays that an Allocate request wants and may have (RFC 8656 section 7.2).
    fn wanted_relays(&self, message: &Message<'_>) -> Result<[Relay; 2], Refusal> {
        match message.requested_transport() {
            None => return Err(ErrorCode::BAD_REQUEST),
            Some(UDP) => {}
            Some(_) => return Err(ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL),
        }
        let family = message.requested_address_family();
        let additional = message.additional_address_family();
        let token = message.reservation_token();
        let reserves_next = message.even_port() == Some(true);
        let contradicts = (token.is_some() && (family.is_some() || message.even_port().is_some()))
            || (additional.is_some() && (family.is_some() || token.is_some() || reserves_next))
            || additional == Some(AddressFamily::Ipv4);
        if contradicts {
            return Err(ErrorCode::BAD_REQUEST);
        }
        if token.is_some() || reserves_next {
            // No port is ever reserved for later.
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        let offers = |family| match family {
            AddressFamily::Ipv4 => self.config.ipv4,
            AddressFamily::Ipv6 => self.config.ipv6,
        };
        let relay = |family| match offers(family) {
            true => Relay::Asked,
            false => Relay::Refused(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED),
        };
        let wanted = match (additional, family) {
            (Some(_), _) => FAMILIES.map(relay),
            (None, Some(AddressFamily::Ipv6)) => [Relay::None, relay(AddressFamily::Ipv6)],
            (None, _) => [relay(AddressFamily::Ipv4), Relay::None],
        };
        match wanted.contains(&Relay::Asked) {
            true => Ok(wanted),
            false => Err(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED),
        }
    }

    /// An Allocate request of a client that has an allocation: the same once more, or one too many.
    fn repeated_allocate(
        &mut self,
        message: &Message<'_>,
        key: Key,
        username: &str,
    ) -> Result<Option<MessageBuilder>, Refusal> {
        let allocation = self.table.get(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let is_same =
            allocation.transaction == message.transaction_id() && &*allocation.username == username;
        match (is_same, &allocation.pending) {
            (true, Some(_)) => Ok(None),
            (true, None) => Ok(Some(allocated(allocation))),
            (false, _) => Err(ErrorCode::ALLOCATION_MISMATCH),
        }
    }

    /// Requests that need an allocation.
    fn on_allocation(
        &mut self,
        message: &Message<'_>,
        method: Method,
        key: Key,
        username: &str,
    ) -> Result<MessageBuilder, Refusal> {
        let allocation = self.table.get(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if &*allocation.username != username {
            return Err(ErrorCode::WRONG_CREDENTIALS);
        }
        if !allocation.is_alive(self.now) {
            return Err(ErrorCode::ALLOCATION_MISMATCH);
        }
        match method {
            Method::REFRESH => self.refresh(message, key),
            Method::CREATE_PERMISSION => self.create_permission(message, key),
            _ => self.bind_channel(message, key),
        }
    }

    fn refresh(&mut self, message: &Message<'_>, key: Key) -> Result<MessageBuilder, Refusal> {
        let now = self.now;
        let families = match message.requested_address_family() {
            Some(family) => &[family][..],
            None => &FAMILIES[..],
        };
        let lifetime = match message.lifetime() {
            Some(Duration::ZERO) => Duration::ZERO,
            _ => self.lifetime(message),
        };
        let allocation = self
            .table
            .get_mut(key)
            .ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if families
            .iter()
            .all(|&family| allocation.relayed(family, now).is_none())
        {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }
        if lifetime.is_zero() {
            self.close_relays(key, families, EndReason::Deleted);
        } else {
            for &family in families {
                if let Some(Relay::Bound { expires, .. }) = allocation.relay_mut(family)
                    && *expires > now
                {
                    *expires = now + lifetime;
                }
            }
            self.table.reschedule(key);
        }
        Ok(MessageBuilder::response(Class::Success, message).lifetime(lifetime))
    }

    fn create_permission(
        &mut self,
        message: &Message<'_>,
        key: Key,
    ) -> Result<MessageBuilder, Refusal> {
        let mut peers = SmallVec::<[IpAddr; 16]>::new();
        for peer in message.xor_peer_addresses() {
            let peer = peer.map_err(|_| ErrorCode::BAD_REQUEST)?;
            self.check_peer(key, peer, false)?;
            if peers.len() >= self.config.max_permissions {
                return Err(ErrorCode::INSUFFICIENT_CAPACITY);
            }
            peers.push(peer.ip());
        }
        if peers.is_empty() {
            return Err(ErrorCode::BAD_REQUEST);
        }
        self.permit(key, &peers)?;
        Ok(MessageBuilder::response(Class::Success, message))
    }

    fn bind_channel(&mut self, message: &Message<'_>, key: Key) -> Result<MessageBuilder, Refusal> {
        let now = self.now;
        let number = message.channel_number().ok_or(ErrorCode::BAD_REQUEST)?;
        let peer = message.xor_peer_address().ok_or(ErrorCode::BAD_REQUEST)?;
        let allocation = self.table.get(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let is_bound_otherwise = allocation
            .peer_of(number, now)
            .is_some_and(|other| other != peer)
            || allocation
                .number_of(&peer, now)
                .is_some_and(|other| other != number);
        if is_bound_otherwise {
            return Err(ErrorCode::BAD_REQUEST);
        }
        self.check_peer(key, peer, true)?;
        self.permit(key, &[peer.ip()])?;
        let max = self.config.max_channels;
        let allocation = self
            .table
            .get_mut(key)
            .ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        match allocation.bind(number, peer, max, now) {
            true => Ok(MessageBuilder::response(Class::Success, message)),
            false => Err(ErrorCode::INSUFFICIENT_CAPACITY),
        }
    }

    /// Checks that a peer may be reached: its whole address for a channel, its IP address for a
    /// permission.
    fn check_peer(&self, key: Key, peer: SocketAddr, with_port: bool) -> Result<(), Refusal> {
        let allocation = self.table.get(key).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if allocation
            .relayed(AddressFamily::of(peer.ip()), self.now)
            .is_none()
        {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }
        let may = match with_port {
            true => self.may_reach(&peer),
            false => self.may_permit(peer.ip()),
        };
        if may {
            Ok(())
        } else {
            Err(ErrorCode::FORBIDDEN)
        }
    }

    /// Installs permissions, all or none.
    fn permit(&mut self, key: Key, peers: &[IpAddr]) -> Result<(), Refusal> {
        let (now, max) = (self.now, self.config.max_permissions);
        let allocation = self
            .table
            .get_mut(key)
            .ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        match allocation.permit(peers, max, now) {
            true => Ok(()),
            false => Err(ErrorCode::INSUFFICIENT_CAPACITY),
        }
    }

    /// Answers an Allocate request, once none of its relays is being bound any longer.
    pub(super) fn complete_allocation(&mut self, key: Key) {
        let Some(allocation) = self.table.get_mut(key) else {
            return;
        };
        if allocation.relays.contains(&Relay::Asked) {
            return;
        }
        let Some(pending) = allocation.pending.take() else {
            return;
        };
        let client = allocation.client;
        if allocation.is_alive(self.now) {
            let response = allocated(allocation);
            self.metrics.allocations_created += 1;
            let username = allocation.username.to_string();
            debug!(client = %client.peer_addr, %username, "allocated");
            self.events
                .push_back(ServerEvent::Allocated { client, username });
            self.table.reschedule(key);
            self.respond(client, response, Some(&pending.signer));
        } else {
            let code = ErrorCode::INSUFFICIENT_CAPACITY;
            let id = allocation.transaction;
            let response = MessageBuilder::new(Class::Error, Method::ALLOCATE, id);
            self.table.remove(key);
            self.count_refusal(code);
            self.respond(
                client,
                response.error_code(code, reason(code)),
                Some(&pending.signer),
            );
        }
    }

    /// The lifetime that a request gets.
    fn lifetime(&self, message: &Message<'_>) -> Duration {
        let default = self.config.default_lifetime;
        let wanted = message.lifetime().unwrap_or(default);
        wanted.clamp(default, self.config.max_lifetime)
    }

    fn count_refusal(&mut self, code: Refusal) {
        trace!(code, "refused");
        let refused = &mut self.metrics.refused;
        let counter = match code {
            ErrorCode::FORBIDDEN => &mut refused.forbidden,
            ErrorCode::ALLOCATION_MISMATCH | ErrorCode::WRONG_CREDENTIALS => &mut refused.mismatch,
            ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED
            | ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL
            | ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH => &mut refused.unsupported,
            ErrorCode::ALLOCATION_QUOTA_REACHED => &mut refused.quota,
            ErrorCode::INSUFFICIENT_CAPACITY => &mut refused.capacity,
            _ => &mut refused.bad_request,
        };
        *counter += 1;
    }
}

/// What an Allocate response says; the same for every repetition of the request.
fn allocated(allocation: &Allocation) -> MessageBuilder {
    let mut response =
        MessageBuilder::new(Class::Success, Method::ALLOCATE, allocation.transaction);
    for (family, relay) in FAMILIES.into_iter().zip(allocation.relays) {
        response = match relay {
            Relay::Bound { address, .. } => response.xor_relayed_address(address),
            Relay::Refused(code) => response.address_error_code(family, code, reason(code)),
            Relay::None | Relay::Asked => response,
        };
    }
    response
        .lifetime(allocation.lifetime)
        .xor_mapped_address(allocation.client.peer_addr)
}

fn refusal(request: &Message<'_>, code: Refusal) -> MessageBuilder {
    MessageBuilder::response(Class::Error, request).error_code(code, reason(code))
}

/// The reason phrases of RFC 8489 section 14.8 and RFC 8656 section 19.
fn reason(code: Refusal) -> &'static str {
    match code {
        ErrorCode::BAD_REQUEST => "Bad Request",
        ErrorCode::UNAUTHENTICATED => "Unauthenticated",
        ErrorCode::FORBIDDEN => "Forbidden",
        ErrorCode::UNKNOWN_ATTRIBUTE => "Unknown Attribute",
        ErrorCode::ALLOCATION_MISMATCH => "Allocation Mismatch",
        ErrorCode::STALE_NONCE => "Stale Nonce",
        ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED => "Address Family not Supported",
        ErrorCode::WRONG_CREDENTIALS => "Wrong Credentials",
        ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL => "Unsupported Transport Protocol",
        ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH => "Peer Address Family Mismatch",
        ErrorCode::ALLOCATION_QUOTA_REACHED => "Allocation Quota Reached",
        ErrorCode::INSUFFICIENT_CAPACITY => "Insufficient Capacity",
        _ => "Server Error",
    }
}

/// The protocol number of UDP.
const UDP: u8 = 17;
/// The comprehension-required attributes that requests to a TURN server may have. DONT-FRAGMENT is not
/// among them: the owner's sockets need not be able to.
const KNOWN: [AttributeType; 16] = [
    AttributeType::MAPPED_ADDRESS,
    AttributeType::USERNAME,
    AttributeType::ERROR_CODE,
    AttributeType::UNKNOWN_ATTRIBUTES,
    AttributeType::CHANNEL_NUMBER,
    AttributeType::LIFETIME,
    AttributeType::XOR_PEER_ADDRESS,
    AttributeType::DATA,
    AttributeType::REALM,
    AttributeType::NONCE,
    AttributeType::REQUESTED_ADDRESS_FAMILY,
    AttributeType::EVEN_PORT,
    AttributeType::REQUESTED_TRANSPORT,
    AttributeType::PASSWORD_ALGORITHM,
    AttributeType::USERHASH,
    AttributeType::RESERVATION_TOKEN,
];
