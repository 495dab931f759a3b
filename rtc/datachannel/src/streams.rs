use crate::{Channel, Error};

/// Which side of the DTLS handshake this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Began the handshake; chooses even identifiers.
    Client,
    /// Waited for it; chooses odd identifiers.
    Server,
}

/// The stream identifiers of one association: 0 to 65534, even ones chosen by the DTLS client, odd
/// ones by the server (RFC 8832 section 6). It depends on the DTLS role, not on who offered.
///
/// An identifier is in use from [`allocate`](Self::allocate) (channels that we announce),
/// [`accept`](Self::accept) (that the peer announces) or [`reserve`](Self::reserve) (negotiated ones)
/// until [`release`](Self::release).
#[derive(Debug, Clone)]
pub struct StreamIds {
    role: Option<Role>,
    /// How many streams the association has.
    count: u16,
    /// One bit for each identifier, as far as there are any in use.
    used: Vec<u64>,
}

impl Default for StreamIds {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamIds {
    /// None in use, the role not known, as many streams as there can be.
    pub fn new() -> Self {
        Self {
            role: None,
            count: u16::MAX,
            used: Vec::new(),
        }
    }

    /// Tells the DTLS role.
    pub fn set_role(&mut self, role: Role) {
        self.role = Some(role);
    }

    /// The DTLS role, once it is known.
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// Tells how many streams the association has in both directions. Channels with an identifier
    /// that [`is_valid`](Self::is_valid) denies are to be closed with an error then.
    pub fn set_count(&mut self, count: u16) {
        self.count = count;
    }

    /// Whether a stream can have this identifier: it is below the number of streams, and not 65535.
    pub fn is_valid(&self, id: u16) -> bool {
        id < self.count
    }

    /// Whether it is for us to announce channels with this identifier; `false` before the role is
    /// known.
    pub fn is_ours(&self, id: u16) -> bool {
        self.role.is_some_and(|role| id % 2 == parity(role))
    }

    /// Whether the identifier is in use.
    pub fn contains(&self, id: u16) -> bool {
        let (word, bit) = place(id);
        self.used.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The lowest free identifier that is ours to choose, in use from now on.
    ///
    /// # Errors
    /// The role is not known, or none is free.
    pub fn allocate(&mut self) -> Result<u16, Error> {
        let role = self.role.ok_or(Error::NoRole)?;
        let theirs = match role {
            Role::Client => 0xaaaa_aaaa_aaaa_aaaa,
            Role::Server => 0x5555_5555_5555_5555,
        };
        let free = |(index, word): (usize, &u64)| {
            let bit = (word | theirs).trailing_ones();
            (bit < u64::BITS).then(|| index * 64 + bit as usize)
        };
        let id = self.used.iter().enumerate().find_map(free);
        let id = id.unwrap_or_else(|| self.used.len() * 64 + usize::from(parity(role)));
        let id = u16::try_from(id).ok().filter(|&id| self.is_valid(id));
        let id = id.ok_or(Error::NoFreeStream)?;
        self.reserve(id)?;
        Ok(id)
    }

    /// Takes an identifier that both sides agreed on, of either parity.
    ///
    /// # Errors
    /// It is in use, or no stream can have it.
    pub fn reserve(&mut self, id: u16) -> Result<(), Error> {
        if !self.is_valid(id) {
            return Err(Error::InvalidStreamId);
        }
        let (index, bit) = place(id);
        if index >= self.used.len() {
            self.used.resize(index + 1, 0);
        }
        match self.used.get_mut(index) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                Ok(())
            }
            _ => Err(Error::StreamInUse),
        }
    }

    /// Takes an identifier that the peer's OPEN came on.
    ///
    /// # Errors
    /// It is in use, or not for the peer to choose: the stream is to be reset, unless it is in use.
    pub fn accept(&mut self, id: u16) -> Result<(), Error> {
        if self.is_ours(id) {
            return Err(Error::InvalidStreamId);
        }
        self.reserve(id)
    }

    /// Frees the identifier of a closed channel, if both directions of its stream are reset; says
    /// whether it did.
    pub fn release(&mut self, channel: &Channel) -> bool {
        let Some(id) = channel.stream_id().filter(|_| channel.frees_stream()) else {
            return false;
        };
        self.free(id);
        true
    }

    /// Frees an identifier that no channel has any more and that the peer has not heard of.
    pub fn free(&mut self, id: u16) {
        let (index, bit) = place(id);
        if let Some(word) = self.used.get_mut(index) {
            *word &= !bit;
        }
        while self.used.last() == Some(&0) {
            self.used.pop();
        }
    }
}

fn parity(role: Role) -> u16 {
    match role {
        Role::Client => 0,
        Role::Server => 1,
    }
}

fn place(id: u16) -> (usize, u64) {
    (usize::from(id / 64), 1 << (id % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parameters;

    fn ids(role: Role) -> StreamIds {
        let mut ids = StreamIds::new();
        ids.set_role(role);
        ids
    }

    /// A channel on that stream whose both directions are reset.
    fn closed(id: u16) -> Channel {
        let mut channel = Channel::negotiated(id, Parameters::default());
        channel.handle_connected();
        channel.close();
        channel.handle_outgoing_reset();
        channel.handle_incoming_reset();
        channel
    }

    #[test]
    fn the_client_takes_even_and_the_server_odd_identifiers() {
        let (mut client, mut server) = (ids(Role::Client), ids(Role::Server));
        for expected in 0..200 {
            assert_eq!(client.allocate(), Ok(2 * expected));
            assert_eq!(server.allocate(), Ok(2 * expected + 1));
        }
        assert_eq!(StreamIds::new().allocate(), Err(Error::NoRole));
    }

    #[test]
    fn reserved_identifiers_are_passed_over() {
        let mut ids = ids(Role::Client);
        for id in [0, 1, 2, 6] {
            ids.reserve(id).unwrap();
        }
        assert_eq!(ids.reserve(6), Err(Error::StreamInUse));
        assert_eq!(
            [ids.allocate(), ids.allocate(), ids.allocate()],
            [Ok(4), Ok(8), Ok(10)]
        );
        assert_eq!(ids.reserve(65535), Err(Error::InvalidStreamId));
        assert_eq!(ids.reserve(65534), Ok(()));
    }

    #[test]
    fn all_identifiers_of_a_parity_can_be_used_and_no_more() {
        for (role, last) in [(Role::Client, 65534), (Role::Server, 65533)] {
            let mut ids = ids(role);
            let all: Vec<_> = std::iter::from_fn(|| ids.allocate().ok()).collect();
            assert_eq!(all.last(), Some(&last));
            assert_eq!(all.len(), usize::from(last / 2) + 1);
            assert_eq!(ids.allocate(), Err(Error::NoFreeStream));
            assert!(ids.release(&closed(all[1000])));
            assert_eq!(ids.allocate(), Ok(all[1000]));
        }
    }

    #[test]
    fn the_number_of_streams_bounds_identifiers() {
        let mut ids = ids(Role::Server);
        ids.set_count(4);
        assert_eq!([ids.allocate(), ids.allocate()], [Ok(1), Ok(3)]);
        assert_eq!(ids.allocate(), Err(Error::NoFreeStream));
        assert_eq!(ids.reserve(4), Err(Error::InvalidStreamId));
        assert!(ids.is_valid(3) && !ids.is_valid(4));
    }

    #[test]
    fn the_peer_may_only_open_on_its_own_parity() {
        let mut ids = ids(Role::Client);
        assert_eq!(ids.accept(2), Err(Error::InvalidStreamId));
        assert_eq!(ids.accept(3), Ok(()));
        assert_eq!(ids.accept(3), Err(Error::StreamInUse));
        assert_eq!(ids.accept(65535), Err(Error::InvalidStreamId));
    }

    #[test]
    fn an_identifier_is_free_only_after_both_resets() {
        let mut ids = ids(Role::Client);
        ids.allocate().unwrap();
        let mut channel = Channel::open(Parameters::default()).unwrap();
        channel.set_stream_id(0);
        channel.handle_connected();
        channel.poll_dcep().unwrap();
        channel.close();
        assert!(!ids.release(&channel));
        channel.handle_outgoing_reset();
        assert!(!ids.release(&channel) && ids.contains(0));
        channel.handle_incoming_reset();
        assert!(ids.release(&channel) && !ids.contains(0));

        ids.allocate().unwrap();
        let mut gone = Channel::negotiated(0, Parameters::default());
        gone.handle_connected();
        gone.handle_disconnected();
        assert!(!ids.release(&gone), "no reset was seen");

        ids.reserve(7).unwrap();
        let mut early = Channel::negotiated(7, Parameters::default());
        early.close();
        assert!(ids.release(&early), "it was never open");
    }

    #[test]
    fn a_stream_is_taken_back_only_from_a_channel_that_nobody_knows_of() {
        let mut ids = ids(Role::Client);
        let mut channel = Channel::open(Parameters::default()).unwrap();
        channel.set_stream_id(ids.allocate().unwrap());
        let taken = channel.take_stream_id().unwrap();
        ids.free(taken);
        assert!(channel.stream_id().is_none() && !ids.contains(taken));
        ids.set_role(Role::Server);
        channel.set_stream_id(ids.allocate().unwrap());
        channel.handle_connected();
        assert_eq!(
            (channel.take_stream_id(), channel.stream_id()),
            (None, Some(1))
        );
        let mut agreed = Channel::negotiated(7, Parameters::default());
        assert_eq!(
            (agreed.take_stream_id(), agreed.stream_id()),
            (None, Some(7))
        );
    }

    #[test]
    fn freed_words_are_given_back() {
        let mut ids = ids(Role::Client);
        ids.reserve(65534).unwrap();
        assert!(ids.release(&closed(65534)));
        assert!(ids.used.is_empty());
        assert!(
            ids.release(&closed(7)),
            "one that was never taken does no harm"
        );
    }
}
