//! Requests of key frames: PLI (RFC 4585 section 6.3.1) and FIR (RFC 5104 section 4.3.1).

use std::time::{Duration, Instant};

use rtc_rtcp::{Fir, FirEntry, Packet as RtcpPacket, Pli};
use smallvec::SmallVec;

use crate::{Context, Event, Flow, Interceptor, StreamId, StreamMap};

/// How often key frames are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyFrameConfig {
    /// The least time between two requests of one stream; the round trip time if that is longer
    /// (200 ms).
    pub min_interval: Duration,
    /// A request is repeated after this time until
    /// [`key_frame_received`](crate::Chain::key_frame_received) tells of success (never).
    pub repeat_after: Option<Duration>,
    /// How often a request is repeated (10).
    pub max_repeats: u8,
    /// A key frame of each stream of video is asked for as often as this, wanted or not (never).
    pub every: Option<Duration>,
    /// The least time between two requests of a receiver that are told to the application (300 ms).
    pub min_request_interval: Duration,
}

impl Default for KeyFrameConfig {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_millis(200),
            repeat_after: None,
            max_repeats: 10,
            every: None,
            min_request_interval: Duration::from_millis(300),
        }
    }
}

/// Sends requests of key frames when the application or another stage wants one, and tells the
/// application by [`Event::KeyFrameRequested`] when a receiver wants one.
#[derive(Debug)]
pub struct KeyFrames {
    config: KeyFrameConfig,
    remote: StreamMap<Requesting>,
    local: StreamMap<Requested>,
    /// When a request is due, or one to be told of.
    next: Option<Instant>,
    /// Something may be due now.
    due: bool,
}

/// A stream whose sender is asked.
#[derive(Debug, Default)]
struct Requesting {
    /// When the next request is to be sent.
    next: Option<Instant>,
    last: Option<Instant>,
    repeats_left: u8,
    /// The next request repeats the last.
    repeating: bool,
    fir_sequence_number: u8,
}

/// A stream whose receiver asks.
#[derive(Debug, Default)]
struct Requested {
    last_told: Option<Instant>,
    /// When a request that came too soon is told of.
    next: Option<Instant>,
    /// Who asked by FIR, and the number of the request.
    fir: SmallVec<[(u32, u8); 2]>,
}

impl KeyFrames {
    /// A stage with these parameters.
    #[must_use]
    pub fn new(config: KeyFrameConfig) -> Self {
        Self {
            config,
            remote: StreamMap::default(),
            local: StreamMap::default(),
            next: None,
            due: false,
        }
    }

    /// Takes in what was asked for since the last time.
    fn take_wanted(&mut self, cx: &mut Context<'_>) {
        let pause = cx.session.round_trip_time().unwrap_or_default();
        let pause = pause.max(self.config.min_interval);
        for id in std::mem::take(&mut cx.session.key_frames_wanted) {
            let state = self.remote.get_or_insert_with(id, Requesting::default);
            let earliest = state.last.map_or(cx.now, |last| (last + pause).max(cx.now));
            state.next = Some(state.next.map_or(earliest, |next| next.min(earliest)));
            state.repeats_left = match self.config.repeat_after {
                Some(_) => self.config.max_repeats,
                None => 0,
            };
            state.repeating = false;
            self.due = true;
        }
    }

    /// The request of a stream, in the form that was negotiated.
    fn request(&mut self, cx: &Context<'_>, id: StreamId) -> Option<RtcpPacket> {
        let Some(stream) = cx.session.remote(id) else {
            self.remote.remove(id);
            return None;
        };
        let info = &stream.info;
        let state = self.remote.get_mut(id)?;
        let sender_ssrc = cx.session.reporter_ssrc();
        let repeat = match (self.config.repeat_after, state.repeats_left) {
            (Some(after), 1..) => {
                state.repeats_left -= 1;
                Some(cx.now + after)
            }
            _ => None,
        };
        let every = self.config.every.filter(|_| info.is_video());
        let regular = every.map(|every| cx.now + every);
        state.last = Some(cx.now);
        state.next = [repeat, regular].into_iter().flatten().min();
        if info.rtcp_feedback.nack_pli {
            let media_ssrc = info.ssrc;
            return Some(RtcpPacket::from(Pli {
                sender_ssrc,
                media_ssrc,
            }));
        }
        if !info.rtcp_feedback.ccm_fir {
            return None;
        }
        // A repetition is of the same request, by the same number.
        if !std::mem::replace(&mut state.repeating, repeat.is_some()) {
            state.fir_sequence_number = state.fir_sequence_number.wrapping_add(1);
        }
        let entry = FirEntry {
            ssrc: info.ssrc,
            sequence_number: state.fir_sequence_number,
        };
        Some(RtcpPacket::from(Fir {
            sender_ssrc,
            entries: SmallVec::from_slice(&[entry]),
        }))
    }

    /// A receiver asks for a key frame of ours.
    fn requested(&mut self, cx: &mut Context<'_>, ssrc: u32, fir: Option<(u32, u8)>) {
        let Some(id) = cx.session.local_by_ssrc(ssrc) else {
            return;
        };
        let state = self.local.get_or_insert_with(id, Requested::default);
        if let Some((sender, number)) = fir {
            if state.fir.contains(&(sender, number)) {
                return;
            }
            state.fir.retain(|(other, _)| *other != sender);
            if state.fir.len() < MAX_FIR_SENDERS {
                state.fir.push((sender, number));
            }
        }
        let pause = self.config.min_request_interval;
        match state.last_told {
            Some(last) if cx.now < last + pause => {
                // It may be about a key frame that was lost: it is told of later, once.
                let next = *state.next.get_or_insert(last + pause);
                self.next = Some(self.next.map_or(next, |other| other.min(next)));
            }
            _ => {
                state.last_told = Some(cx.now);
                cx.session.emit(Event::KeyFrameRequested { ssrc });
            }
        }
    }

    fn find_next(&mut self) {
        let remote = self.remote.iter().filter_map(|(_, state)| state.next);
        let local = self.local.iter().filter_map(|(_, state)| state.next);
        self.next = remote.chain(local).min();
    }
}

impl Interceptor for KeyFrames {
    fn bind_remote_stream(&mut self, cx: &mut Context<'_>, stream: StreamId) {
        let Some(every) = self.config.every else {
            return;
        };
        let video = cx
            .session
            .remote(stream)
            .is_some_and(|remote| remote.info.is_video());
        if video {
            let state = self.remote.get_or_insert_with(stream, Requesting::default);
            state.next.get_or_insert(cx.now + every);
            self.find_next();
        }
    }

    fn unbind_remote_stream(&mut self, _cx: &mut Context<'_>, stream: StreamId) {
        self.remote.remove(stream);
    }

    fn unbind_local_stream(&mut self, _cx: &mut Context<'_>, stream: StreamId) {
        self.local.remove(stream);
    }

    fn incoming_rtcp(&mut self, cx: &mut Context<'_>, packet: &mut RtcpPacket) -> Flow {
        match packet {
            RtcpPacket::Pli(pli) => self.requested(cx, pli.media_ssrc, None),
            RtcpPacket::Fir(fir) => {
                for entry in &fir.entries {
                    let request = (fir.sender_ssrc, entry.sequence_number);
                    self.requested(cx, entry.ssrc, Some(request));
                }
            }
            _ => {}
        }
        Flow::Forward
    }

    fn key_frame_received(&mut self, cx: &mut Context<'_>, stream: StreamId) {
        if let Some(state) = self.remote.get_mut(stream) {
            state.repeats_left = 0;
            state.repeating = false;
            state.next = self.config.every.map(|every| cx.now + every);
        }
    }

    fn poll_outgoing_rtcp(&mut self, cx: &mut Context<'_>) -> Option<RtcpPacket> {
        if !cx.session.key_frames_wanted.is_empty() {
            self.take_wanted(cx);
        }
        while self.due {
            let due = |state: &Requesting| state.next.is_some_and(|next| next <= cx.now);
            let Some((id, _)) = self.remote.iter().find(|(_, state)| due(state)) else {
                self.due = false;
                self.find_next();
                break;
            };
            let request = self.request(cx, id);
            if request.is_some() {
                return request;
            }
        }
        None
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        for (id, state) in self.local.iter_mut() {
            if state.next.is_some_and(|next| next <= cx.now) {
                state.next = None;
                state.last_told = Some(cx.now);
                if let Some(ssrc) = cx.session.local(id).map(|stream| stream.info.ssrc) {
                    cx.session.emit(Event::KeyFrameRequested { ssrc });
                }
            }
        }
        self.due = true;
        self.find_next();
        // What is due is sent when polled.
        self.next = self.next.filter(|next| *next > cx.now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

/// Receivers whose FIR requests are told apart.
const MAX_FIR_SENDERS: usize = 16;
