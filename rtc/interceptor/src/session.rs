use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc_rtcp::NtpTime;
use rtc_rtp::Packet;
use rtc_shared::Rng;
use smallvec::SmallVec;

use crate::rtx::RtxSender;
use crate::stream::{Route, Table};
use crate::twcc::SentPackets;
use crate::{Error, Event, LocalStats, RemoteStats, StreamId, StreamInfo};

/// What the stages of a chain share: the streams with their statistics, the round trip time, clock and
/// randomness.
#[derive(Debug)]
pub struct Session {
    pub(crate) local: Table<LocalStream>,
    pub(crate) remote: Table<RemoteStream>,
    pub(crate) events: VecDeque<Event>,
    /// Streams that a key frame was asked of since the stage for it last looked.
    pub(crate) key_frames_wanted: SmallVec<[StreamId; 4]>,
    sent_packets: SentPackets,
    round_trip_time: Option<Duration>,
    own_ssrc: u32,
    /// An instant and the time since the begin of 1970 that it is.
    clock: (Instant, Duration),
    rng: Rng,
}

/// A stream that is sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalStream {
    /// What was negotiated.
    pub info: StreamInfo,
    /// What was counted.
    pub stats: LocalStats,
    rtx: Option<RtxSender>,
}

impl LocalStream {
    /// The retransmission of a packet, over the SSRC for them (RFC 4588); `None` when there is none for
    /// its payload type.
    pub fn wrap_retransmission(&mut self, original: &Packet) -> Option<Packet> {
        self.rtx.as_mut()?.wrap(&self.info, original)
    }

    /// A packet of `length` bytes of padding over the SSRC of the retransmissions, to probe the
    /// bandwidth with; `None` when there is no such SSRC or the length is 0.
    pub fn padding(&mut self, timestamp: u32, length: u8) -> Option<Packet> {
        let payload_type = self.info.rtx?.payload_type;
        let rtx = self.rtx.as_mut().filter(|_| length > 0)?;
        Some(rtx.padding(payload_type, timestamp, length))
    }

    fn update(&mut self, info: &StreamInfo, rng: &mut Rng) {
        self.info.clone_from(info);
        // The sequence numbers of retransmissions go on unless their source is another.
        let ssrc = info.rtx.map(|rtx| rtx.ssrc);
        if self.rtx.as_ref().map(RtxSender::ssrc) != ssrc {
            self.rtx = ssrc.map(|ssrc| RtxSender::new(ssrc, rng));
        }
    }
}

/// A stream that is received.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RemoteStream {
    /// What was negotiated.
    pub info: StreamInfo,
    /// What was counted.
    pub stats: RemoteStats,
}

impl Session {
    pub(crate) fn new(now: Instant, unix_time: Duration, own_ssrc: u32, rng: Rng) -> Self {
        Self {
            local: Table::default(),
            remote: Table::default(),
            events: VecDeque::new(),
            key_frames_wanted: SmallVec::new(),
            sent_packets: SentPackets::default(),
            round_trip_time: None,
            own_ssrc,
            clock: (now, unix_time),
            rng,
        }
    }

    /// A stream that is sent.
    #[must_use]
    pub fn local(&self, id: StreamId) -> Option<&LocalStream> {
        self.local.get(id)
    }

    /// A stream that is sent.
    pub fn local_mut(&mut self, id: StreamId) -> Option<&mut LocalStream> {
        self.local.get_mut(id)
    }

    /// The stream that sends its media with this SSRC.
    #[must_use]
    pub fn local_by_ssrc(&self, ssrc: u32) -> Option<StreamId> {
        media(self.local.route(ssrc))
    }

    /// All streams that are sent.
    pub fn local_streams(&self) -> impl Iterator<Item = (StreamId, &LocalStream)> {
        self.local.iter()
    }

    /// A stream that is received.
    #[must_use]
    pub fn remote(&self, id: StreamId) -> Option<&RemoteStream> {
        self.remote.get(id)
    }

    /// A stream that is received.
    pub fn remote_mut(&mut self, id: StreamId) -> Option<&mut RemoteStream> {
        self.remote.get_mut(id)
    }

    /// The stream that brings its media with this SSRC.
    #[must_use]
    pub fn remote_by_ssrc(&self, ssrc: u32) -> Option<StreamId> {
        media(self.remote.route(ssrc))
    }

    /// All streams that are received.
    pub fn remote_streams(&self) -> impl Iterator<Item = (StreamId, &RemoteStream)> {
        self.remote.iter()
    }

    /// The SSRC that reports and feedback are sent with: that of the first stream that is sent, else
    /// one of the session's own.
    #[must_use]
    pub fn reporter_ssrc(&self) -> u32 {
        let first = self.local.iter().next();
        first.map_or(self.own_ssrc, |(_, stream)| stream.info.ssrc)
    }

    /// True when the SSRC is one that this side sends reports or media with.
    #[must_use]
    pub fn is_own_ssrc(&self, ssrc: u32) -> bool {
        ssrc == self.own_ssrc || self.local_by_ssrc(ssrc).is_some()
    }

    /// The round trip time to the peer, smoothed; `None` before the first measurement.
    #[must_use]
    pub fn round_trip_time(&self) -> Option<Duration> {
        self.round_trip_time
    }

    /// Takes a measurement of the round trip time in.
    pub fn add_round_trip_time(&mut self, time: Duration) {
        self.round_trip_time = Some(match self.round_trip_time {
            Some(smoothed) => (smoothed * 7 + time.min(MAX_ROUND_TRIP)) / 8,
            None => time.min(MAX_ROUND_TRIP),
        });
    }

    /// The wall clock at an instant.
    #[must_use]
    pub fn ntp_time(&self, at: Instant) -> NtpTime {
        let (instant, unix) = self.clock;
        NtpTime::from_unix(match at.checked_duration_since(instant) {
            Some(after) => unix.saturating_add(after),
            None => unix.saturating_sub(instant.saturating_duration_since(at)),
        })
    }

    /// The session's randomness.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// A duration from half to one and a half of `mean`, so that sessions do not beat in time.
    pub fn spread(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(0.5 + self.rng.unit())
    }

    /// The packets that were sent with a transport-wide sequence number.
    #[must_use]
    pub fn sent_packets(&self) -> &SentPackets {
        &self.sent_packets
    }

    pub(crate) fn sent_packets_mut(&mut self) -> &mut SentPackets {
        &mut self.sent_packets
    }

    /// Asks the sender of a stream for a key frame; the stage for it sends the request when its limits
    /// allow.
    pub fn request_key_frame(&mut self, id: StreamId) {
        if !self.key_frames_wanted.contains(&id) {
            self.key_frames_wanted.push(id);
        }
    }

    /// Tells the owner of the chain. What the owner does not take is bounded: the oldest is given up.
    pub fn emit(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(crate) fn bind_local(&mut self, info: &StreamInfo) -> Result<StreamId, Error> {
        let id = self.local.bind(info, || LocalStream {
            info: info.clone(),
            stats: LocalStats::default(),
            rtx: None,
        })?;
        if let Some(stream) = self.local.get_mut(id) {
            stream.update(info, &mut self.rng);
        }
        Ok(id)
    }

    pub(crate) fn bind_remote(&mut self, info: &StreamInfo) -> Result<StreamId, Error> {
        let id = self.remote.bind(info, || RemoteStream {
            info: info.clone(),
            stats: RemoteStats::default(),
        })?;
        if let Some(stream) = self.remote.get_mut(id) {
            stream.info.clone_from(info);
        }
        Ok(id)
    }

    pub(crate) fn unbind_remote(&mut self, id: StreamId) -> Option<RemoteStream> {
        self.key_frames_wanted.retain(|wanted| *wanted != id);
        self.remote.unbind(id)
    }
}

fn media(route: Option<Route>) -> Option<StreamId> {
    route.filter(|route| !route.rtx).map(|route| route.id)
}

/// More events than streams that could ask for a key frame at once.
const MAX_EVENTS: usize = 1024;
/// A report that tells more than this is mistaken or malicious.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(10);
