use std::fmt;

use rtc_crypto::CryptoProvider;
use rtc_rtp::HeaderView;
use rtc_shared::ReplayWindow;

use crate::cipher::{Cipher, PacketId, RTCP_HEADER_LEN};
use crate::index;
use crate::keys::Subprotocol;
use crate::receive::{is_rtcp, rtcp_ssrc};
use crate::sources::Sources;
use crate::{Error, MasterKey, Profile};

/// Protects the packets of one direction, of any number of sources.
///
/// An index must never protect two different packets: it would give away the exclusive or of both,
/// and with GCM the key of the authentication. So a sequence number that was used is refused, and
/// of a source that was [forgotten](Self::forget) the highest index is still known. The context
/// cannot be cloned.
pub struct SendContext {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    sources: Sources<Source>,
    /// How many RTP packets the key may still protect.
    pub(crate) rtp_left: u64,
    /// One for all sources: each sees it grow, and no source can be forgotten into a reused index.
    pub(crate) next_rtcp_index: u64,
}

impl SendContext {
    /// Derives and schedules the keys of this direction.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the provider lacks an algorithm of the profile.
    pub fn new(key: &MasterKey, provider: &CryptoProvider) -> Result<Self, Error> {
        let cipher = |protocol| {
            let keys = key.derive(protocol, provider)?;
            Cipher::new(key.profile(), protocol, &keys, provider)
        };
        Ok(Self::from_ciphers(
            key.profile(),
            cipher(Subprotocol::Rtp)?,
            cipher(Subprotocol::Rtcp)?,
        ))
    }

    pub(crate) fn from_ciphers(profile: Profile, rtp: Cipher, rtcp: Cipher) -> Self {
        Self {
            profile,
            rtp,
            rtcp,
            sources: Sources::default(),
            rtp_left: index::END,
            next_rtcp_index: 0,
        }
    }

    /// The profile in use.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Bytes that [`protect_rtp`](Self::protect_rtp) needs behind a packet.
    #[must_use]
    pub fn rtp_overhead(&self) -> usize {
        self.profile.rtp_overhead()
    }

    /// Bytes that [`protect_rtcp`](Self::protect_rtcp) needs behind a packet.
    #[must_use]
    pub fn rtcp_overhead(&self) -> usize {
        self.profile.rtcp_overhead()
    }

    /// Protects the RTP packet in the first `len` bytes of `buffer` where it lies, and returns the
    /// length of the protected packet, which is longer by [`rtp_overhead`](Self::rtp_overhead).
    ///
    /// Packets of a source may come out of order within the last 1024 sequence numbers. The first
    /// sequence number of a source should be below 2^15
    /// ([`initial_sequence_number`](rtc_rtp::sequence::initial_sequence_number)).
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::BufferTooSmall`], [`Error::IndexReused`],
    /// [`Error::KeyExhausted`], [`Error::TooManySources`]. Nothing of the buffer may be sent then; its
    /// payload is either as it was or wiped.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Error> {
        let (packet, room) = split_packet(buffer, len, self.rtp_overhead())?;
        let header = HeaderView::parse(packet).map_err(|_| Error::Malformed)?;
        let (ssrc, header_len) = (header.ssrc(), header.header_len());
        let sequence_number = header.sequence_number();
        if self.rtp_left == 0 {
            return Err(Error::KeyExhausted);
        }
        let source = source(&mut self.sources, ssrc)?;
        let (index, usage) = source.place(sequence_number)?;
        let id = PacketId { ssrc, index };
        let tag = self.rtp.seal_rtp(id, packet, header_len, room)?;
        match usage {
            Usage::First => source.record(index, tag),
            Usage::Again { tag: first } if first == tag => {}
            Usage::Again { .. } => {
                if let Some(payload) = packet.get_mut(header_len..) {
                    payload.fill(0);
                }
                room.fill(0);
                return Err(Error::IndexReused);
            }
        }
        self.rtp_left -= 1;
        Ok(len + self.rtp_overhead())
    }

    /// Protects the compound RTCP packet in the first `len` bytes of `buffer` where it lies, and
    /// returns the length of the protected packet, which is longer by
    /// [`rtcp_overhead`](Self::rtcp_overhead).
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::BufferTooSmall`], [`Error::KeyExhausted`].
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Error> {
        let (packet, room) = split_packet(buffer, len, self.rtcp_overhead())?;
        if packet.len() < RTCP_HEADER_LEN || !is_rtcp(packet) {
            return Err(Error::Malformed);
        }
        if self.next_rtcp_index >= RTCP_END {
            return Err(Error::KeyExhausted);
        }
        let id = PacketId {
            ssrc: rtcp_ssrc(packet)?,
            index: self.next_rtcp_index,
        };
        self.rtcp.seal_rtcp(id, packet, room)?;
        self.next_rtcp_index += 1;
        Ok(len + self.rtcp_overhead())
    }

    /// Lets the packets of a source be sent again, as retransmission without RTX (RFC 4585) does.
    ///
    /// To protect the same packet with the same index gives the same bytes, which tells an
    /// eavesdropper nothing; so exactly that is allowed, for the last 1024 packets. A packet that
    /// differs in one bit, be it in a header extension, is refused with [`Error::IndexReused`]: with
    /// GCM even a changed header gives the authentication away. What is the same is told by the tag,
    /// of which 8 bytes are kept for each packet, 8 KiB for a source.
    ///
    /// It holds for packets that are first sent after this call.
    ///
    /// # Errors
    /// [`Error::TooManySources`]
    pub fn allow_retransmission(&mut self, ssrc: u32) -> Result<(), Error> {
        let source = source(&mut self.sources, ssrc)?;
        if source.tags.is_empty() {
            source.tags = vec![0; WINDOW];
        }
        Ok(())
    }

    /// Frees what is kept for a source that ended, but for its highest index: should the source
    /// return, it goes on above it.
    pub fn forget(&mut self, ssrc: u32) {
        if let Some(source) = self.sources.get_mut(ssrc) {
            source.retire();
        }
    }
}

impl fmt::Debug for SendContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendContext")
            .field("profile", &self.profile)
            .field("sources", &self.sources.len())
            .finish_non_exhaustive()
    }
}

/// What is known of the indices that a source used.
#[derive(Debug, Default)]
struct Source {
    highest: Option<u64>,
    /// None below may be used: a source that returns must not go back behind where it was.
    floor: u64,
    /// Which of the last were used, from the floor on.
    used: Option<Box<ReplayWindow<{ WINDOW / 64 }>>>,
    /// Begin of the tag of each packet, by its index modulo the window; empty unless packets may be
    /// sent again. 0 for a packet whose tag is not known.
    tags: Vec<u64>,
}

/// Whether an index is used for the first time.
enum Usage {
    First,
    /// It was used for the packet with this tag.
    Again {
        tag: u64,
    },
}

impl Source {
    /// The index of a packet that is to be sent.
    fn place(&self, sequence_number: u16) -> Result<(u64, Usage), Error> {
        let Some(highest) = self.highest else {
            return Ok((sequence_number.into(), Usage::First));
        };
        let index = index::guess(highest, sequence_number).ok_or(Error::KeyExhausted)?;
        let unused = self.used.as_ref().is_none_or(|used| used.is_fresh(index));
        if unused && index >= self.floor {
            return Ok((index, Usage::First));
        }
        let remembered = highest.saturating_sub(index) < WINDOW as u64;
        match self.tags.get(slot(index)) {
            Some(&tag) if remembered && tag != 0 => Ok((index, Usage::Again { tag })),
            _ => Err(Error::IndexReused),
        }
    }

    fn record(&mut self, index: u64, tag: u64) {
        self.used.get_or_insert_default().accept(index);
        self.highest = self.highest.max(Some(index));
        if let Some(slot) = self.tags.get_mut(slot(index)) {
            *slot = tag;
        }
    }

    fn retire(&mut self) {
        self.floor = self.highest.map_or(0, |highest| highest + 1);
        self.used = None;
        self.tags = Vec::new();
    }
}

/// The source, made if it is new.
fn source(sources: &mut Sources<Source>, ssrc: u32) -> Result<&mut Source, Error> {
    if sources.len() < MAX_SOURCES {
        return Ok(sources.get_or_insert_default(ssrc));
    }
    sources.get_mut(ssrc).ok_or(Error::TooManySources)
}

fn slot(index: u64) -> usize {
    (index % WINDOW as u64) as usize
}

/// Splits the packet in the first `len` bytes from the room behind it.
fn split_packet(
    buffer: &mut [u8],
    len: usize,
    overhead: usize,
) -> Result<(&mut [u8], &mut [u8]), Error> {
    if len > MAX_DATAGRAM - overhead {
        return Err(Error::Malformed);
    }
    let (packet, room) = buffer
        .split_at_mut_checked(len)
        .ok_or(Error::BufferTooSmall)?;
    let room = room.get_mut(..overhead).ok_or(Error::BufferTooSmall)?;
    Ok((packet, room))
}

/// How far behind the highest sequence number a packet may be, for its first or another sending: a
/// second of fast video.
const WINDOW: usize = 1024;
/// Sources that one key serves, those that ended included. They are the application's own, so this
/// bounds a mistake and no attack.
const MAX_SOURCES: usize = 1 << 16;
/// SRTCP packets that one key may protect.
const RTCP_END: u64 = 1 << 31;
/// Longer than any datagram, and far below what counter mode can encrypt under one index.
const MAX_DATAGRAM: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_ends_with_its_last_index() {
        let mut source = Source::default();
        source.record(index::END - 2, 1);
        assert!(matches!(source.place(0xffff), Ok((last, Usage::First)) if last == index::END - 1));
        source.record(index::END - 1, 1);
        assert_eq!(source.place(0).err(), Some(Error::KeyExhausted));
        source.retire();
        assert_eq!(source.place(0xffff).err(), Some(Error::IndexReused));
    }

    #[test]
    fn sources_are_bounded() {
        let mut sources = Sources::default();
        for ssrc in 0..MAX_SOURCES as u32 {
            source(&mut sources, ssrc).unwrap();
        }
        assert!(source(&mut sources, 7).is_ok());
        let refused = source(&mut sources, u32::MAX);
        assert_eq!(refused.err(), Some(Error::TooManySources));
    }
}
