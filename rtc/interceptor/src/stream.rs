use std::collections::HashMap;

use rtc_rtp::extension::ExtensionMap;
use smallvec::SmallVec;

use crate::Error;

/// What was negotiated for one stream: one SSRC that carries media, and the one that repairs it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// The source.
    pub ssrc: u32,
    /// The payload type it uses first.
    pub payload_type: u8,
    /// Units of the timestamp in a second.
    pub clock_rate: u32,
    /// The format, such as `video/VP8`.
    pub mime_type: String,
    /// Which feedback the receiver may send.
    pub rtcp_feedback: RtcpFeedback,
    /// The identifiers of the header extensions.
    pub extensions: ExtensionMap,
    /// Where retransmissions go; `None` repeats packets as they were.
    pub rtx: Option<RtxInfo>,
    /// Further payload types that the stream may change to.
    pub alternatives: SmallVec<[PayloadInfo; 2]>,
}

impl StreamInfo {
    /// A stream without feedback, extensions and retransmission.
    #[must_use]
    pub fn new(ssrc: u32, payload_type: u8, clock_rate: u32, mime_type: &str) -> Self {
        Self {
            ssrc,
            payload_type,
            clock_rate,
            mime_type: mime_type.to_owned(),
            rtcp_feedback: RtcpFeedback::default(),
            extensions: ExtensionMap::default(),
            rtx: None,
            alternatives: SmallVec::new(),
        }
    }

    /// True for video.
    #[must_use]
    pub fn is_video(&self) -> bool {
        self.mime_type
            .get(..6)
            .is_some_and(|kind| kind.eq_ignore_ascii_case("video/"))
    }

    /// The clock rate of a payload type; that of the first for one that is unknown.
    #[must_use]
    pub fn clock_rate_of(&self, payload_type: u8) -> u32 {
        self.alternatives
            .iter()
            .find(|payload| payload.payload_type == payload_type)
            .filter(|_| payload_type != self.payload_type)
            .map_or(self.clock_rate, |payload| payload.clock_rate)
    }

    /// The payload type that carries retransmissions of a payload type.
    #[must_use]
    pub fn rtx_payload_type(&self, payload_type: u8) -> Option<u8> {
        self.rtx_pairs()
            .find(|&(original, _)| original == payload_type)
            .map(|(_, rtx)| rtx)
    }

    /// The payload type whose retransmissions a payload type carries.
    #[must_use]
    pub fn original_payload_type(&self, rtx_payload_type: u8) -> Option<u8> {
        self.rtx_pairs()
            .find(|&(_, rtx)| rtx == rtx_payload_type)
            .map(|(original, _)| original)
    }

    fn rtx_pairs(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        let first = self.rtx.map(|rtx| (self.payload_type, rtx.payload_type));
        let others = self.alternatives.iter();
        first
            .into_iter()
            .chain(others.filter_map(|each| Some((each.payload_type, each.rtx_payload_type?))))
    }
}

/// Where the retransmissions of a stream go (RFC 4588).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtxInfo {
    /// The source of the retransmissions.
    pub ssrc: u32,
    /// The payload type of the retransmissions of [`StreamInfo::payload_type`].
    pub payload_type: u8,
}

/// A payload type that a stream may change to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadInfo {
    /// The payload type.
    pub payload_type: u8,
    /// Units of the timestamp in a second.
    pub clock_rate: u32,
    /// The payload type of its retransmissions.
    pub rtx_payload_type: Option<u8>,
}

/// The feedback that `a=rtcp-fb` lines negotiated (RFC 4585 section 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RtcpFeedback {
    /// `nack`: missing packets.
    pub nack: bool,
    /// `nack pli`: lost pictures.
    pub nack_pli: bool,
    /// `ccm fir`: requests of key frames.
    pub ccm_fir: bool,
    /// `transport-cc`: arrival times by transport-wide sequence numbers.
    pub transport_cc: bool,
    /// `ack ccfb`: arrival times and ECN marks (RFC 8888).
    pub ccfb: bool,
    /// `goog-remb`: estimates of the receiver.
    pub goog_remb: bool,
}

impl RtcpFeedback {
    /// Adds the feedback that an `a=rtcp-fb` line names behind its payload type; false when the name is
    /// unknown here.
    pub fn insert(&mut self, name: &str) -> bool {
        let flag = match name.trim() {
            "nack" => &mut self.nack,
            "nack pli" => &mut self.nack_pli,
            "ccm fir" => &mut self.ccm_fir,
            "transport-cc" => &mut self.transport_cc,
            "ack ccfb" => &mut self.ccfb,
            "goog-remb" => &mut self.goog_remb,
            _ => return false,
        };
        *flag = true;
        true
    }
}

/// Names a bound stream of one direction; small, so that it can index a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u16);

impl StreamId {
    /// The index: that of a stream that was unbound is given to the next.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// What a stage knows of each stream of one direction, found by index.
#[derive(Clone, Debug)]
pub struct StreamMap<T> {
    slots: Vec<Option<T>>,
}

impl<T> Default for StreamMap<T> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<T> StreamMap<T> {
    /// The entry of a stream.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<&T> {
        self.slots.get(id.index())?.as_ref()
    }

    /// The entry of a stream.
    #[must_use]
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut T> {
        self.slots.get_mut(id.index())?.as_mut()
    }

    /// The entry of a stream, made if there is none.
    pub fn get_or_insert_with(&mut self, id: StreamId, make: impl FnOnce() -> T) -> &mut T {
        if self.slots.len() <= id.index() {
            self.slots.resize_with(id.index() + 1, || None);
        }
        #[expect(
            clippy::indexing_slicing,
            reason = "the list was made long enough above"
        )]
        self.slots[id.index()].get_or_insert_with(make)
    }

    /// Removes the entry of a stream.
    pub fn remove(&mut self, id: StreamId) -> Option<T> {
        self.slots.get_mut(id.index())?.take()
    }

    /// All entries in the order of their streams.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, &T)> {
        let numbered = self.slots.iter().enumerate();
        numbered.filter_map(|(index, slot)| Some((StreamId(index as u16), slot.as_ref()?)))
    }

    /// All entries in the order of their streams.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (StreamId, &mut T)> {
        let numbered = self.slots.iter_mut().enumerate();
        numbered.filter_map(|(index, slot)| Some((StreamId(index as u16), slot.as_mut()?)))
    }
}

/// The streams of one direction: found by index, and by either SSRC through one look-up.
#[derive(Debug)]
pub(crate) struct Table<T> {
    streams: StreamMap<T>,
    routes: HashMap<u32, Route>,
}

/// Where packets of an SSRC belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) id: StreamId,
    /// They are retransmissions.
    pub(crate) rtx: bool,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            streams: StreamMap::default(),
            routes: HashMap::new(),
        }
    }
}

impl<T> Table<T> {
    pub(crate) fn route(&self, ssrc: u32) -> Option<Route> {
        self.routes.get(&ssrc).copied()
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&T> {
        self.streams.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut T> {
        self.streams.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (StreamId, &T)> {
        self.streams.iter()
    }

    /// Adds a stream, or finds the one that has this SSRC, and routes both SSRCs to it.
    pub(crate) fn bind(
        &mut self,
        info: &StreamInfo,
        make: impl FnOnce() -> T,
    ) -> Result<StreamId, Error> {
        let id = match self.route(info.ssrc) {
            Some(Route { id, rtx: false }) => id,
            Some(Route { rtx: true, .. }) => return Err(Error::SsrcInUse { ssrc: info.ssrc }),
            None => self.vacant()?,
        };
        if let Some(rtx) = info.rtx {
            let other = self.route(rtx.ssrc);
            let free = other.is_none_or(|route| route == Route { id, rtx: true });
            if !free || rtx.ssrc == info.ssrc {
                return Err(Error::SsrcInUse { ssrc: rtx.ssrc });
            }
        }
        self.routes.retain(|_, route| route.id != id);
        self.routes.insert(info.ssrc, Route { id, rtx: false });
        if let Some(rtx) = info.rtx {
            self.routes.insert(rtx.ssrc, Route { id, rtx: true });
        }
        self.streams.get_or_insert_with(id, make);
        Ok(id)
    }

    pub(crate) fn unbind(&mut self, id: StreamId) -> Option<T> {
        self.routes.retain(|_, route| route.id != id);
        self.streams.remove(id)
    }

    fn vacant(&self) -> Result<StreamId, Error> {
        let slots = &self.streams.slots;
        let index = slots.iter().position(Option::is_none);
        let index = index.unwrap_or(slots.len());
        if index >= MAX_STREAMS {
            return Err(Error::TooManyStreams);
        }
        Ok(StreamId(index as u16))
    }
}

/// More streams in one direction than the largest conferences send over one connection.
const MAX_STREAMS: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn info(ssrc: u32, rtx: Option<u32>) -> StreamInfo {
        let mut info = StreamInfo::new(ssrc, 96, 90_000, "video/VP8");
        info.rtx = rtx.map(|ssrc| RtxInfo {
            ssrc,
            payload_type: 97,
        });
        info
    }

    #[test]
    fn both_sources_of_a_stream_are_found_and_no_other_may_have_them() {
        let mut table = Table::default();
        let id = table.bind(&info(1, Some(2)), || 'a').unwrap();
        assert_eq!(table.route(1), Some(Route { id, rtx: false }));
        assert_eq!(table.route(2), Some(Route { id, rtx: true }));
        let in_use = |ssrc| Err(Error::SsrcInUse { ssrc });
        assert_eq!(table.bind(&info(2, None), || 'b'), in_use(2));
        assert_eq!(table.bind(&info(3, Some(2)), || 'b'), in_use(2));
        assert_eq!(table.bind(&info(3, Some(1)), || 'b'), in_use(1));
        assert_eq!(table.bind(&info(3, Some(3)), || 'b'), in_use(3));

        // Bound again, a stream keeps its index and what is known of it.
        assert_eq!(table.bind(&info(1, Some(4)), || 'c'), Ok(id));
        assert_eq!((table.get(id), table.route(2)), (Some(&'a'), None));
        let other = table.bind(&info(2, None), || 'd').unwrap();
        assert_ne!(other, id);
        assert_eq!(table.unbind(id), Some('a'));
        assert_eq!((table.route(1), table.route(4)), (None, None));
        assert_eq!(table.bind(&info(9, None), || 'e'), Ok(id));
    }

    #[test]
    fn streams_have_a_limit() {
        let mut table = Table::default();
        for ssrc in 0..MAX_STREAMS as u32 {
            table.bind(&info(ssrc, None), || ()).unwrap();
        }
        let refused = table.bind(&info(u32::MAX, None), || ());
        assert_eq!(refused, Err(Error::TooManyStreams));
        assert!(table.bind(&info(0, None), || ()).is_ok());
    }

    #[test]
    fn payload_types_find_their_partners() {
        let mut info = info(1, Some(2));
        info.alternatives.push(PayloadInfo {
            payload_type: 100,
            clock_rate: 8_000,
            rtx_payload_type: Some(101),
        });
        info.alternatives.push(PayloadInfo {
            payload_type: 102,
            clock_rate: 48_000,
            rtx_payload_type: None,
        });
        assert_eq!(info.rtx_payload_type(96), Some(97));
        assert_eq!(info.rtx_payload_type(100), Some(101));
        assert_eq!(info.rtx_payload_type(102), None);
        assert_eq!(info.original_payload_type(101), Some(100));
        assert_eq!(info.original_payload_type(96), None);
        assert_eq!(info.clock_rate_of(102), 48_000);
        assert_eq!(info.clock_rate_of(1), 90_000);
        assert!(info.is_video() && !StreamInfo::new(1, 0, 8000, "audio/PCMU").is_video());
    }

    #[test]
    fn feedback_is_read_from_its_names() {
        let mut feedback = RtcpFeedback::default();
        let names = [
            "nack",
            "nack pli",
            "ccm fir",
            "transport-cc",
            "ack ccfb",
            "goog-remb",
        ];
        assert!(names.iter().all(|name| feedback.insert(name)));
        assert!(!feedback.insert("ccm tmmbr"));
        assert!(feedback.nack && feedback.nack_pli && feedback.ccm_fir && feedback.transport_cc);
    }
}
