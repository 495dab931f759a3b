//! The state cookie (RFC 9260 §5.1.3): all that is needed to make the association, under a MAC, so
//! that answering an INIT keeps no state.

use rtc_shared::{Reader, Writer};

/// What the cookie remembers between INIT ACK and COOKIE ECHO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    /// Milliseconds since the association object was made.
    pub(crate) created_ms: u64,
    pub(crate) local_tag: u32,
    pub(crate) local_tsn: u32,
    /// Tags of the association that existed when the cookie was made, or 0.
    pub(crate) tie_local: u32,
    pub(crate) tie_peer: u32,
    pub(crate) peer: PeerInit,
}

/// What matters of a peer's INIT or INIT ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerInit {
    pub(crate) tag: u32,
    pub(crate) tsn: u32,
    pub(crate) a_rwnd: u32,
    pub(crate) outbound_streams: u16,
    pub(crate) inbound_streams: u16,
    pub(crate) forward_tsn: bool,
    pub(crate) reconfig: bool,
    pub(crate) zero_checksum: bool,
}

impl Cookie {
    pub(crate) fn seal(&self, key: Key) -> Vec<u8> {
        let mut out = Vec::with_capacity(LEN);
        out.put_u64(self.created_ms);
        for value in [
            self.local_tag,
            self.local_tsn,
            self.tie_local,
            self.tie_peer,
        ] {
            out.put_u32(value);
        }
        let peer = &self.peer;
        out.put_u32(peer.tag);
        out.put_u32(peer.tsn);
        out.put_u32(peer.a_rwnd);
        out.put_u16(peer.outbound_streams);
        out.put_u16(peer.inbound_streams);
        out.put_u32(
            u32::from(peer.forward_tsn)
                | u32::from(peer.reconfig) << 1
                | u32::from(peer.zero_checksum) << 2,
        );
        let mac = key.mac(&out);
        out.put_u64(mac);
        out
    }

    /// The cookie, if it is one of ours.
    pub(crate) fn open(key: Key, wire: &[u8]) -> Option<Self> {
        let (content, mac) = wire.split_at_checked(LEN - 8)?;
        let mac = u64::from_be_bytes(mac.try_into().ok()?);
        if mac != key.mac(content) {
            return None;
        }
        let mut reader = Reader::new(content);
        Some(Self {
            created_ms: reader.u64().ok()?,
            local_tag: reader.u32().ok()?,
            local_tsn: reader.u32().ok()?,
            tie_local: reader.u32().ok()?,
            tie_peer: reader.u32().ok()?,
            peer: PeerInit {
                tag: reader.u32().ok()?,
                tsn: reader.u32().ok()?,
                a_rwnd: reader.u32().ok()?,
                outbound_streams: reader.u16().ok()?,
                inbound_streams: reader.u16().ok()?,
                ..PeerInit::with_flags(reader.u32().ok()?)
            },
        })
    }
}

impl PeerInit {
    fn with_flags(flags: u32) -> Self {
        Self {
            tag: 0,
            tsn: 0,
            a_rwnd: 0,
            outbound_streams: 0,
            inbound_streams: 0,
            forward_tsn: flags & 1 != 0,
            reconfig: flags & 2 != 0,
            zero_checksum: flags & 4 != 0,
        }
    }
}

/// A secret for [SipHash-2-4](https://www.aumasson.jp/siphash/siphash.pdf), which is both the
/// MAC of cookies and the source of the few random numbers that an association needs after its
/// start (a whole generator per idle association would be a waste of memory).
#[derive(Clone, Copy)]
pub(crate) struct Key(u64, u64);

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key(..)")
    }
}

impl Key {
    pub(crate) fn new(bytes: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self(both as u64, (both >> 64) as u64)
    }

    pub(crate) fn mac(self, message: &[u8]) -> u64 {
        let mut v = [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        let (words, rest) = message.as_chunks::<8>();
        for &word in words {
            absorb(&mut v, u64::from_le_bytes(word));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        absorb(
            &mut v,
            u64::from_le_bytes(last) | (message.len() as u64) << 56,
        );
        let [_, _, third, _] = &mut v;
        *third ^= 0xff;
        for _ in 0..4 {
            round(&mut v);
        }
        v.iter().fold(0, |all, word| all ^ word)
    }
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    round(v);
    v[0] ^= word;
}

fn round(v: &mut [u64; 4]) {
    let [mut a, mut b, mut c, mut d] = *v;
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    *v = [a, b, c, d];
}

const LEN: usize = 8 + 4 * 4 + 3 * 4 + 2 * 2 + 4 + 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siphash_matches_its_paper() {
        let key = Key::new(std::array::from_fn(|i| i as u8));
        let message: [u8; 15] = std::array::from_fn(|i| i as u8);
        assert_eq!(key.mac(&message), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn cookies_open_only_unchanged_and_with_the_same_key() {
        let key = Key::new([7; 16]);
        let cookie = Cookie {
            created_ms: 1,
            local_tag: 2,
            local_tsn: 3,
            tie_local: 4,
            tie_peer: 5,
            peer: PeerInit {
                tag: 6,
                tsn: 7,
                a_rwnd: 8,
                outbound_streams: 9,
                inbound_streams: 10,
                forward_tsn: true,
                reconfig: false,
                zero_checksum: true,
            },
        };
        let wire = cookie.seal(key);
        assert_eq!(wire.len(), LEN);
        assert_eq!(Cookie::open(key, &wire), Some(cookie));
        assert_eq!(Cookie::open(Key::new([8; 16]), &wire), None);
        for at in 0..wire.len() {
            let mut forged = wire.clone();
            forged[at] ^= 1;
            assert_eq!(Cookie::open(key, &forged), None);
            assert_eq!(Cookie::open(key, &wire[..at]), None);
        }
    }
}
