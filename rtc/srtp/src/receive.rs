use std::fmt;

use rtc_crypto::CryptoProvider;
use rtc_rtp::HeaderView;
use rtc_shared::ReplayWindow;

use crate::cipher::{Cipher, PacketId, RTCP_HEADER_LEN};
use crate::index::{self, ROLLOVER};
use crate::keys::Subprotocol;
use crate::sources::Sources;
use crate::{Error, MasterKey, Profile};

/// Unprotects the packets of one direction, of any number of sources.
///
/// Every error is of one packet, which is to be counted and dropped; the context goes on. Only an
/// authenticated packet changes anything, so nobody but the peer can use memory here.
pub struct ReceiveContext {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_sources: Sources<Source<RTP_WORDS>>,
    rtcp_sources: Sources<Source<RTCP_WORDS>>,
    /// Counts authenticated packets, to tell which source was silent the longest.
    clock: u64,
    /// The first packet of a source, to try it twice.
    first: Vec<u8>,
}

impl ReceiveContext {
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
            rtp_sources: Sources::default(),
            rtcp_sources: Sources::default(),
            clock: 0,
            first: Vec::new(),
        }
    }

    /// The profile in use.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Verifies and decrypts an RTP packet where it lies, and returns the length of the plain packet
    /// at the front of `packet`.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Replayed`], [`Error::Authentication`]. The content of `packet`
    /// is undefined then.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Error> {
        let header = HeaderView::parse(packet).map_err(|_| Error::Malformed)?;
        let (ssrc, header_len) = (header.ssrc(), header.header_len());
        let sequence_number = header.sequence_number();
        if packet.len() < header_len + self.profile.rtp_overhead() {
            return Err(Error::Malformed);
        }
        let Some(source) = self.rtp_sources.get_mut(ssrc) else {
            return self.unprotect_first_rtp(ssrc, sequence_number, packet, header_len);
        };
        let highest = source.window.highest().unwrap_or_default();
        let index = index::guess(highest, sequence_number).ok_or(Error::Replayed)?;
        if !source.window.is_fresh(index) {
            return Err(Error::Replayed);
        }
        let id = PacketId { ssrc, index };
        let len = self.rtp.open_rtp(id, packet, header_len)?;
        self.clock += 1;
        source.accept(index, self.clock);
        Ok(len)
    }

    /// The rollover counter begins at 0 (RFC 3711 section 3.3.1). Some senders begin just below the
    /// wrap, and if those packets are lost or overtaken the first to arrive is already of counter 1.
    fn unprotect_first_rtp(
        &mut self,
        ssrc: u32,
        sequence_number: u16,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<usize, Error> {
        let mut index = u64::from(sequence_number);
        let after_wrap = sequence_number < 1 << 15;
        if after_wrap {
            self.first.clear();
            self.first.extend_from_slice(packet);
        }
        let id = PacketId { ssrc, index };
        let mut opened = self.rtp.open_rtp(id, packet, header_len);
        if opened == Err(Error::Authentication) && after_wrap {
            packet.copy_from_slice(&self.first);
            index += ROLLOVER;
            let id = PacketId { ssrc, index };
            opened = self.rtp.open_rtp(id, packet, header_len);
        }
        let len = opened?;
        self.clock += 1;
        add(&mut self.rtp_sources, ssrc, index, self.clock);
        Ok(len)
    }

    /// Verifies and decrypts a compound RTCP packet where it lies, and returns the length of the
    /// plain packet at the front of `packet`.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Unencrypted`], [`Error::Replayed`], [`Error::Authentication`].
    /// The content of `packet` is undefined then.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Error> {
        if packet.len() < RTCP_HEADER_LEN + self.profile.rtcp_overhead() || !is_rtcp(packet) {
            return Err(Error::Malformed);
        }
        let ssrc = rtcp_ssrc(packet)?;
        let (encrypted, index) = self.rtcp.rtcp_index(packet)?;
        if !encrypted {
            return Err(Error::Unencrypted);
        }
        let source = self.rtcp_sources.get_mut(ssrc);
        if source
            .as_ref()
            .is_some_and(|source| !source.window.is_fresh(index))
        {
            return Err(Error::Replayed);
        }
        let len = self.rtcp.open_rtcp(PacketId { ssrc, index }, packet)?;
        self.clock += 1;
        match source {
            Some(source) => source.accept(index, self.clock),
            None => add(&mut self.rtcp_sources, ssrc, index, self.clock),
        }
        Ok(len)
    }

    /// Frees what is kept for a source that ended.
    ///
    /// Should it return, it begins anew with rollover counter 0, and packets of its past would be
    /// taken once more: forget only what nobody listens to.
    pub fn forget(&mut self, ssrc: u32) {
        self.rtp_sources.remove(ssrc);
        self.rtcp_sources.remove(ssrc);
    }
}

impl fmt::Debug for ReceiveContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveContext")
            .field("profile", &self.profile)
            .field("sources", &self.rtp_sources.len())
            .finish_non_exhaustive()
    }
}

/// Which packets of a source were received.
#[derive(Debug, Default)]
struct Source<const WORDS: usize> {
    window: ReplayWindow<WORDS>,
    last_heard: u64,
}

impl<const WORDS: usize> Source<WORDS> {
    fn accept(&mut self, index: u64, clock: u64) {
        self.window.accept(index);
        self.last_heard = clock;
    }
}

/// Adds a source with its first packet, in place of the one that was silent the longest when there
/// are too many.
///
/// Refusing would end a long session with a peer that forwards ever new sources. The one that is
/// dropped can be replayed, by somebody who kept its packets while the peer itself introduced a
/// thousand others; its rollover counter is lost, unless it never wrapped.
fn add<const WORDS: usize>(
    sources: &mut Sources<Source<WORDS>>,
    ssrc: u32,
    index: u64,
    clock: u64,
) {
    if sources.len() >= MAX_SOURCES {
        sources.evict_by_key(|source| source.last_heard);
    }
    sources.get_or_insert_default(ssrc).accept(index, clock);
}

/// True for version 2, which RTCP shares with RTP; to tell those apart is for the demultiplexer.
pub(crate) fn is_rtcp(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 6 == 2)
}

/// The sender of the first packet of a compound.
pub(crate) fn rtcp_ssrc(packet: &[u8]) -> Result<u32, Error> {
    match packet {
        [_, _, _, _, a, b, c, d, ..] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Err(Error::Malformed),
    }
}

/// Packets that a late one may be behind: 1024 for RTP, as long as a retransmission of fast video
/// takes on a slow path, and 128 for RTCP.
const RTP_WORDS: usize = 16;
const RTCP_WORDS: usize = 2;
/// 200 KiB at most.
const MAX_SOURCES: usize = 1024;
