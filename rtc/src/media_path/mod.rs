//! The path of audio and video: between the application and SRTP, through the interceptors.
//!
//! In: SRTP → [`Router`] → interceptors → the [`Inboxes`], where the application reads. Out: the
//! [`Outboxes`], where the application writes → interceptors → SRTP.

mod inbox;
mod incoming;
mod outbox;
mod outgoing;
mod route;
mod statistics;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_interceptor::{Chain, ChainConfig, OutgoingRtp, Registry};
use rtc_rtcp as rtcp;
use rtc_shared::Rng;

use self::inbox::{Inboxes, Unexplained};
use self::outbox::Outboxes;
pub(crate) use self::outgoing::Feedback;
use self::route::Router;
pub(crate) use self::statistics::{Received, Sent};
use crate::media_stream::MediaStreamTrackId;
use crate::peer_connection::configuration::media_engine::MediaEngine;
use crate::peer_connection::event::RTCTrackEvent;
use crate::rtp_transceiver::transceivers::Transceivers;
use crate::rtp_transceiver::{NegotiatedMedia, RTCRtpTransceiverId, SSRC};

/// Makes the stages of the interceptor chain, anew for each connection; the usual ones by default.
#[derive(Clone, Default)]
pub(crate) struct InterceptorFactory(Option<Arc<dyn Fn() -> Registry + Send + Sync>>);

impl InterceptorFactory {
    pub(crate) fn new(make: impl Fn() -> Registry + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(make)))
    }

    pub(crate) fn make(&self) -> Registry {
        match &self.0 {
            Some(make) => make(),
            None => Registry::with_defaults(),
        }
    }
}

impl fmt::Debug for InterceptorFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InterceptorFactory")
    }
}

/// What became of media, and what was dropped and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MediaCounters {
    /// RTP packets that were authentic.
    pub rtp_received: u64,
    /// RTCP datagrams that were authentic.
    pub rtcp_received: u64,
    /// RTP packets sent, retransmissions among them.
    pub rtp_sent: u64,
    /// RTCP datagrams sent.
    pub rtcp_sent: u64,
    /// Packets that are no RTP or RTCP, or whose tag is wrong.
    pub dropped_unauthentic: u64,
    /// Packets that had come before, or are too old to tell.
    pub dropped_replayed: u64,
    /// Packets that came before the keys, beyond what is kept.
    pub dropped_early: u64,
    /// Packets that no description explained in time.
    pub dropped_unexplained: u64,
    /// Packets of a payload type that was not negotiated, or that repair what nobody can.
    pub dropped_payload_type: u64,
    /// Packets that the application did not read in time.
    pub dropped_unread: u64,
    /// RTCP datagrams of which a part was malformed.
    pub malformed_rtcp: u64,
    /// Packets of the application whose encoding is not active.
    pub dropped_inactive: u64,
    /// Packets of the application that could not be sent in time.
    pub dropped_unsent: u64,
    /// Packets of the application that could not be encrypted: their sequence number was used before.
    pub dropped_unencryptable: u64,
}

/// Everything between SRTP and the application.
#[derive(Debug, Default)]
pub(crate) struct MediaPath {
    /// Made with the keys: without them there is nothing to be done.
    chain: Option<Box<Chain>>,
    router: Router,
    unexplained: Unexplained,
    inboxes: Inboxes,
    outboxes: Outboxes,
    /// RTCP for the application, by track.
    reports: VecDeque<(MediaStreamTrackId, Vec<rtcp::Packet>)>,
    keep_reports: bool,
    /// A packet that has passed the interceptors and did not fit the batch before.
    pending: Option<OutgoingRtp>,
    /// Something may be in the interceptors that has to be asked for.
    stirred: bool,
    /// RTCP may be due.
    rtcp_due: bool,
    /// The interceptors may have RTP to send of their own accord.
    rtp_due: bool,
    /// The generation of what was negotiated that is in force here.
    generation: u64,
    /// Sources were learnt or have gone, which their tracks do not know yet.
    sources_changed: bool,
    /// Some sender has feedback to tell of.
    has_feedback: bool,
    closing: bool,
    pub(crate) counters: MediaCounters,
}

/// What the chain is made with.
pub(crate) struct Start<'a> {
    pub(crate) registry: Registry,
    pub(crate) now: Instant,
    pub(crate) unix_time: Duration,
    pub(crate) rng: Rng,
    pub(crate) media: &'a Transceivers,
    /// To the peer, if it was measured.
    pub(crate) round_trip_time: Option<Duration>,
}

impl MediaPath {
    pub(crate) fn new(keep_reports: bool) -> Self {
        Self {
            keep_reports,
            ..Self::default()
        }
    }

    /// There are keys: packets can come and go.
    pub(crate) fn start(&mut self, start: Start<'_>) {
        let mut config =
            ChainConfig::new(start.now, start.unix_time, start.rng, &start.media.cname);
        config.reduced_size = start.media.list.iter().all(|it| {
            it.receive.as_ref().is_none_or(|it| it.reduced_size_rtcp)
                && it.send.as_ref().is_none_or(|it| it.reduced_size_rtcp)
        });
        self.chain = Some(Box::new(start.registry.build(config)));
        if let Some(time) = start.round_trip_time {
            self.add_round_trip_time(time);
        }
        // Whatever was bound before was so in another chain.
        self.generation = 0;
        self.pending = None;
        self.router.unbind_all();
        for outbox in self.outboxes.iter_mut() {
            outbox.encodings.iter_mut().for_each(|it| it.bound = None);
        }
    }

    /// Takes in how long it takes to the peer and back. A side that only receives has no reports to
    /// measure by, and has to know how long a retransmission takes.
    pub(crate) fn add_round_trip_time(&mut self, time: Duration) {
        if let Some(chain) = &mut self.chain {
            chain.session_mut().add_round_trip_time(time);
        }
    }

    /// Takes over what was negotiated, if it has changed, and says whether.
    pub(crate) fn update(
        &mut self,
        now: Instant,
        media: &Transceivers,
        engine: &MediaEngine,
    ) -> bool {
        // Generations begin with 1, so that 0 stands for none.
        let generation = media.generation() + 1;
        if self.generation == generation || self.closing {
            return false;
        }
        self.generation = generation;
        let all: Vec<_> = media
            .list
            .iter()
            .filter_map(|it| {
                let track = it
                    .sender
                    .track
                    .as_ref()
                    .map(|track| track.track_id().clone());
                Some((
                    it.negotiated()?,
                    it.receiver.track.track_id().clone(),
                    track,
                ))
            })
            .collect();
        let before = self.router.clear();
        let mut senders = Vec::with_capacity(all.len());
        for (mut negotiated, receiver_track, sender_track) in all {
            if let Some(receive) = negotiated.receive.take() {
                let id = negotiated.transceiver_id;
                self.inboxes.open(id, &receiver_track);
                self.router.add(id, negotiated.mid.clone(), receive);
            }
            senders.push((negotiated, sender_track));
        }
        let gone = self.router.finish(&before);
        let codecs = |media: &NegotiatedMedia| engine.codecs(media.kind).to_vec();
        let ended = self.outboxes.update(senders, &codecs);
        let Some(chain) = &mut self.chain else {
            return true;
        };
        for ssrc in gone {
            chain.unbind_remote_stream(now, ssrc);
        }
        for ssrc in ended {
            chain.unbind_local_stream(now, ssrc);
        }
        self.rtcp_due = true;
        self.sources_changed = true;
        self.bind_again(now);
        self.bind_senders(now);
        for waiting in self.unexplained.take_all() {
            self.route(waiting);
        }
        true
    }

    /// Tells the interceptors what has changed of the sources that they know.
    fn bind_again(&mut self, now: Instant) {
        let Some(chain) = &mut self.chain else { return };
        let bound: Vec<SSRC> = self.router.bound().map(|(ssrc, ..)| ssrc).collect();
        for ssrc in bound {
            let session = chain.session();
            let known = session
                .remote_by_ssrc(ssrc)
                .and_then(|id| session.remote(id));
            let Some(known) = known.map(|stream| &stream.info) else {
                self.router.set_bound(ssrc, false);
                continue;
            };
            let info = self.router.stream_info(ssrc, known.payload_type);
            if let Some(info) = info.filter(|info| info != known)
                && chain.bind_remote_stream(now, &info).is_err()
            {
                chain.unbind_remote_stream(now, ssrc);
                self.router.set_bound(ssrc, false);
            }
        }
    }

    fn bind_senders(&mut self, now: Instant) {
        let Some(chain) = &mut self.chain else { return };
        for outbox in self.outboxes.iter_mut() {
            let (Some(formats), encodings) = outbox.parts() else {
                continue;
            };
            for encoding in encodings {
                let Some(info) = encoding.stream_info(formats) else {
                    continue;
                };
                if encoding.bound.as_ref() != Some(&info)
                    && chain.bind_local_stream(now, &info).is_ok()
                {
                    encoding.bound = Some(info);
                }
            }
        }
    }

    /// The sources that are repeated as they were when they are asked for again.
    pub(crate) fn repeated_verbatim(&self) -> impl Iterator<Item = SSRC> + '_ {
        let encodings = self.outboxes.iter().flat_map(|it| &it.encodings);
        encodings
            .filter_map(|it| it.bound.as_ref())
            .filter(|info| info.rtx.is_none() && info.rtcp_feedback.nack)
            .map(|info| info.ssrc)
    }

    /// Tells the tracks of receivers which sources they have.
    pub(crate) fn describe_tracks(&mut self, media: &mut Transceivers) {
        if !std::mem::take(&mut self.sources_changed) {
            return;
        }
        for it in media.list.iter_mut().filter(|it| it.receive.is_some()) {
            let receiver = &mut it.receiver;
            receiver.describe(receiver.layers.clone(), receiver.sources.clone());
            for (ssrc, source, section) in self.router.bound() {
                if section.transceiver == it.id {
                    let rid = self.router.rid_of(ssrc).map(String::as_str);
                    receiver.learn(rid.unwrap_or_default(), ssrc, source.rtx());
                }
            }
        }
    }

    /// The application is told of a track.
    pub(crate) fn announce(&mut self, event: &RTCTrackEvent) {
        match event {
            RTCTrackEvent::OnOpen(init) => {
                // It may be told of before the descriptions that it is from are in force.
                self.inboxes.open(init.transceiver_id, &init.track_id);
                self.inboxes.announce(&init.track_id, true);
            }
            RTCTrackEvent::OnClosing(track) => self.inboxes.announce(track, false),
            RTCTrackEvent::OnClose(track) => self.inboxes.close(track),
            RTCTrackEvent::OnError(_) => {}
        }
    }

    /// A receiver that became readable since it was last given here.
    pub(crate) fn poll_ready(&mut self) -> Option<RTCRtpTransceiverId> {
        self.inboxes.poll_ready()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(chain) = &mut self.chain
            && chain.poll_timeout().is_some_and(|deadline| deadline <= now)
        {
            chain.handle_timeout(now);
            self.stirred = true;
            self.rtcp_due = true;
        }
        self.counters.dropped_unexplained += self.unexplained.expire(now);
        self.collect(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let chain = self.chain.as_ref().and_then(|chain| chain.poll_timeout());
        chain
            .into_iter()
            .chain(self.unexplained.poll_timeout())
            .min()
    }

    /// Ends what is sent; the goodbyes are left to be sent.
    pub(crate) fn close(&mut self, now: Instant) {
        self.closing = true;
        self.outboxes.queue().clear();
        self.pending = None;
        let Some(chain) = &mut self.chain else { return };
        for outbox in self.outboxes.iter_mut() {
            for encoding in &mut outbox.encodings {
                if encoding.bound.take().is_some() {
                    chain.unbind_local_stream(now, encoding.ssrc);
                }
            }
        }
        self.rtcp_due = true;
    }

    /// Nothing is left to be sent of a connection that closes.
    pub(crate) fn is_drained(&self) -> bool {
        self.chain.is_none() || !self.rtcp_due
    }
}
