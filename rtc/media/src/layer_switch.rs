use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rtc_rtp::Packet;
use rtc_rtp::sequence::SequenceExtender;
use smallvec::SmallVec;

use crate::{Codec, PictureRewriter};

/// Makes one stream of the layers of a simulcast, for servers that forward one layer to each viewer.
///
/// Packets of all layers go in, each with the name of its layer: an SSRC, a `rid`, an index. What comes
/// out are the packets of one layer. Another one takes over at the first packet of a key frame, where a
/// decoder can change over; until then the old one goes on. Sequence numbers, timestamps and the
/// identifiers of pictures go on over such a switch as if it were one source:
///
/// * Packets that are left out on purpose leave no gap in the sequence numbers. What was lost on the way
///   here does, so that the viewer can tell, and a packet that comes late has its place.
/// * Timestamps go on by the time that has passed between the arrivals of both sides of the switch.
/// * What is late of a layer that has been left, or from before the key frame, is dropped.
/// * A key frame is not switched to when packets of it, or later ones, have come before its first: they
///   have been dropped already. The next one is waited for.
///
/// SSRC, payload type and header extensions stay as they are. A dependency descriptor has numbers of
/// frames that do not go on; who forwards should not negotiate it.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use rtc_media::{Codec, LayerSwitch};
/// use rtc_rtp::{Header, Packet};
///
/// # fn packet(sequence_number: u16, timestamp: u32, payload: &'static [u8]) -> Packet {
/// #     let header = Header { sequence_number, timestamp, ..Header::default() };
/// #     Packet { header, payload: payload.into() }
/// # }
/// // VP8: a key frame, and one that is none.
/// const KEY: &[u8] = &[0x10, 0x50, 0x01, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
/// const DELTA: &[u8] = &[0x10, 0x51];
/// let now = Instant::now();
/// let mut switch = LayerSwitch::new(Codec::Vp8);
/// switch.set_target("low");
/// assert_eq!(switch.wants_key_frame(), Some(&"low"));
/// let mut sent = |at: u64, layer, packet| {
///     let packet = switch.forward(now + Duration::from_millis(at), &layer, &packet)?;
///     // Somebody wants the large layer now.
///     switch.set_target("high");
///     Some((packet.header.sequence_number, packet.header.timestamp))
/// };
/// assert_eq!(sent(0, "high", packet(700, 1, KEY)), None);
/// assert_eq!(sent(0, "low", packet(20, 90_000, KEY)), Some((20, 90_000)));
/// assert_eq!(sent(40, "high", packet(701, 3601, DELTA)), None);
/// assert_eq!(sent(40, "low", packet(21, 93_600, DELTA)), Some((21, 93_600)));
/// assert_eq!(sent(80, "high", packet(702, 7201, KEY)), Some((22, 97_200)));
/// assert_eq!(sent(81, "low", packet(22, 97_200, DELTA)), None);
/// assert_eq!(switch.current(), Some(&"high"));
/// ```
#[derive(Clone, Debug)]
pub struct LayerSwitch<L> {
    codec: Codec,
    rewriter: Option<PictureRewriter>,
    target: Option<Target<L>>,
    current: Option<Current<L>>,
    /// What was sent last, of whichever layer.
    last: Option<Last>,
    switches: u64,
    /// Payloads that are changed are copied into it, many to one allocation.
    copies: BytesMut,
}

/// The layer that is to take over.
#[derive(Clone, Debug)]
struct Target<L> {
    layer: L,
    /// What has come of it and was dropped.
    seen: SequenceExtender,
}

/// The layer that is sent.
#[derive(Clone, Debug)]
struct Current<L> {
    layer: L,
    sequence: SequenceExtender,
    /// The number of the first packet, extended, and its timestamp.
    first: (i64, u32),
    /// What is added to numbers from one on; the last entry is for the newest.
    offsets: SmallVec<[(i64, i64); 4]>,
    timestamp_offset: u32,
}

/// The newest packet that was sent.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// Extended.
    sequence_number: i64,
    timestamp: u32,
    /// When the first packet of that timestamp came.
    at: Instant,
}

impl<L: Clone + PartialEq> LayerSwitch<L> {
    /// Of layers in this codec. Nothing is forwarded before a layer was chosen.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            rewriter: match codec {
                Codec::Vp8 => Some(PictureRewriter::vp8()),
                Codec::Vp9 => Some(PictureRewriter::vp9()),
                _ => None,
            },
            target: None,
            current: None,
            last: None,
            switches: 0,
            copies: BytesMut::new(),
        }
    }

    /// Chooses the layer to forward. The one that is forwarded now goes on until a key frame of the
    /// other comes.
    pub fn set_target(&mut self, layer: L) {
        if self.target() == Some(&layer) {
            return;
        }
        let is_current = self.current() == Some(&layer);
        self.target = (!is_current).then(|| Target {
            layer,
            seen: SequenceExtender::new(),
        });
    }

    /// Forwards nothing until a layer is chosen again, which then begins with a key frame.
    pub fn pause(&mut self) {
        self.target = None;
        self.current = None;
    }

    /// The layer that was chosen; `None` before that and in a pause.
    #[must_use]
    pub fn target(&self) -> Option<&L> {
        let target = self.target.as_ref().map(|it| &it.layer);
        target.or_else(|| self.current())
    }

    /// The layer that is forwarded, if one is already.
    #[must_use]
    pub fn current(&self) -> Option<&L> {
        self.current.as_ref().map(|it| &it.layer)
    }

    /// The layer whose source should be asked for a key frame, so that it can be switched to. To be
    /// looked at after [`set_target`](Self::set_target) and [`forward`](Self::forward), and from time to
    /// time until it is `None`: requests get lost.
    #[must_use]
    pub fn wants_key_frame(&self) -> Option<&L> {
        self.target.as_ref().map(|it| &it.layer)
    }

    /// How often a layer has taken over, the first one included.
    #[must_use]
    pub fn switches(&self) -> u64 {
        self.switches
    }

    /// Takes a packet of a layer that came at `now`, and gives what is to be sent of it.
    ///
    /// The payload is shared with what comes out, unless numbers in it have to change.
    pub fn forward(&mut self, now: Instant, layer: &L, packet: &Packet) -> Option<Packet> {
        if self.target.as_ref().is_some_and(|it| it.layer == *layer) {
            self.try_switch(now, packet)?;
        }
        let current = self.current.as_mut().filter(|it| it.layer == *layer)?;
        let header = &packet.header;
        let extended = current.sequence.peek(header.sequence_number);
        if extended < current.first.0 {
            // More of the frame than was thought came late, perhaps its parameter sets: without them the
            // viewer sees nothing of the layer.
            if header.timestamp == current.first.1 && self.codec.is_key_frame(&packet.payload) {
                self.target.get_or_insert_with(|| Target {
                    layer: layer.clone(),
                    seen: current.sequence,
                });
            }
            return None;
        }
        let newest = current.sequence.highest();
        current.sequence.extend(header.sequence_number);
        let Some(payload) = self.payload(&packet.payload) else {
            self.leave_out(extended, newest);
            return None;
        };
        let current = self.current.as_ref()?;
        let sequence_number = extended + current.offset(extended);
        let timestamp = header.timestamp.wrapping_add(current.timestamp_offset);
        self.note(now, sequence_number, timestamp);
        let mut header = header.clone();
        header.sequence_number = sequence_number as u16;
        header.timestamp = timestamp;
        Some(Packet { header, payload })
    }

    /// Has the target take over if it can with this packet; `None` when the packet is not to be sent.
    fn try_switch(&mut self, now: Instant, packet: &Packet) -> Option<()> {
        let target = self.target.as_mut()?;
        let header = &packet.header;
        let seen = target.seen.highest();
        let extended = target.seen.extend(header.sequence_number);
        let is_newest = seen.is_none_or(|seen| seen < extended);
        let begins = is_newest && self.codec.is_key_frame(&packet.payload);
        let mut current = self.current.iter();
        if let Some(current) = current.find(|it| it.layer == target.layer) {
            // It is sent already, but its first key frame came in pieces.
            if begins && header.timestamp != current.first.1 {
                self.target = None;
            }
            return Some(());
        }
        if !begins {
            return None;
        }
        let layer = self.target.take()?.layer;
        let mut sequence = SequenceExtender::new();
        let extended = sequence.extend(header.sequence_number);
        let (offset, timestamp) = match self.last {
            None => (0, header.timestamp),
            Some(last) => {
                let elapsed = now.saturating_duration_since(last.at).as_micros();
                let ticks = elapsed * u128::from(self.codec.clock_rate()) / 1_000_000;
                let ticks = (ticks as u32).max(1);
                let offset = last.sequence_number + 1 - extended;
                (offset, last.timestamp.wrapping_add(ticks))
            }
        };
        if self.last.is_some()
            && let Some(rewriter) = &mut self.rewriter
        {
            rewriter.switch_source();
        }
        self.switches += 1;
        self.current = Some(Current {
            layer,
            sequence,
            first: (extended, header.timestamp),
            offsets: SmallVec::from_slice(&[(extended, offset)]),
            timestamp_offset: timestamp.wrapping_sub(header.timestamp),
        });
        Some(())
    }

    /// The payload to send; `None` for one that nobody can use: padding, or one that is malformed.
    fn payload(&mut self, payload: &Bytes) -> Option<Bytes> {
        if payload.is_empty() {
            return None;
        }
        let Some(rewriter) = &mut self.rewriter else {
            return Some(payload.clone());
        };
        let patch = rewriter.patch(payload).ok()?;
        if patch.is_empty() {
            return Some(payload.clone());
        }
        if self.copies.capacity() < payload.len() {
            self.copies.reserve(COPIES.max(payload.len()));
        }
        self.copies.extend_from_slice(payload);
        let mut copy = self.copies.split();
        patch.apply(&mut copy);
        Some(copy.freeze())
    }

    /// Closes the gap that a packet leaves, unless later ones have been numbered already.
    fn leave_out(&mut self, extended: i64, newest: Option<i64>) {
        let Some(current) = &mut self.current else {
            return;
        };
        if newest.is_none_or(|newest| newest < extended) {
            let offset = current.offset(extended);
            current.offsets.push((extended + 1, offset - 1));
            if current.offsets.len() > MAX_OFFSETS {
                current.offsets.remove(0);
            }
        }
    }

    fn note(&mut self, now: Instant, sequence_number: i64, timestamp: u32) {
        let last = self.last.get_or_insert(Last {
            sequence_number,
            timestamp,
            at: now,
        });
        last.sequence_number = last.sequence_number.max(sequence_number);
        if timestamp.wrapping_sub(last.timestamp) as i32 > 0 {
            last.timestamp = timestamp;
            last.at = now;
        }
    }
}

impl<L> Current<L> {
    fn offset(&self, extended: i64) -> i64 {
        let mut from_newest = self.offsets.iter().rev();
        from_newest
            .find(|(from, _)| *from <= extended)
            .or_else(|| self.offsets.first())
            .map_or(0, |(_, offset)| *offset)
    }
}

/// Bytes of payloads that are copied into one allocation.
const COPIES: usize = 16 << 10;
/// So many packets that were left out back, late ones are still numbered as they were.
const MAX_OFFSETS: usize = 32;
