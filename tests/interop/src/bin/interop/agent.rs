//! One peer connection, its signalling over the runner's lines, and the end of the case.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future;
use std::thread;
use std::time::Duration;

use rtc::data_channel::RTCDataChannelInit;
use rtc::peer_connection::configuration::{
    RTCBundlePolicy, RTCConfiguration, RTCConfigurationBuilder, RTCIceServer,
    RTCIceTransportPolicy, RTCOfferOptions, SettingEngine,
};
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::{
    RTCIceGatheringState, RTCPeerConnectionState, RTCSignalingState,
};
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::statistics::{RTCIceCandidateStats, RTCStats, RTCStatsReport};
use rtc_driver::{Builder, DataChannels, PeerConnection, Runtime};
use rtc_interop::args::{Args, Case, Policy, Role};
use rtc_interop::lines::{self, Candidate, Description, DescriptionKind, Line, Verdict};
use serde_json::{Map, Value};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::cases;
use crate::channel::Channel;
use crate::failure::{Failure, check};
use crate::lossy::Lossy;
use crate::media::Media;

/// What closing may take.
const CLOSING: Duration = Duration::from_secs(5);

/// Plays the case, prints the result, and tells whether the case holds.
pub(crate) async fn run<R: Runtime>(runtime: R, args: Args) -> bool {
    let lines = lines::read_stdin();
    let case = args.case;
    let has_media = Case::OF_MEDIA.contains(&case);
    let mut details = Map::new();
    let made = match cases::drop_share(&args) {
        Ok(0.0) => Agent::new(runtime, args),
        Ok(share) => Agent::new(Lossy::new(runtime, share), args),
        Err(failure) => Err(failure),
    };
    let ended = match made {
        Ok(agent) => {
            let ended = tokio::select! {
                ended = agent.play() => ended,
                broken = agent.signal(lines) => broken.map(|never| match never {}),
                broken = agent.watch() => broken.map(|never| match never {}),
                broken = agent.media.run(&agent.pc), if has_media => {
                    broken.map(|never| match never {})
                }
                () = after(agent.args.timeout()) => Err(agent.timed_out()),
            };
            details = agent.details.take();
            agent.close().await;
            ended
        }
        Err(failure) => Err(failure),
    };
    let ok = ended.is_ok();
    if let Err(failure) = ended {
        failure.note(&mut details);
    }
    lines::write(&Line::Result(Verdict {
        ok,
        case: case.to_string(),
        details,
    }));
    ok
}

/// What one side of a case works with. Everything runs in one task, so that cells do.
pub(crate) struct Agent {
    pub(crate) args: Args,
    pub(crate) pc: PeerConnection,
    /// Makes connections on the same runtime and addresses.
    connect: Box<dyn Fn(RTCConfiguration) -> Result<PeerConnection, rtc_driver::Error>>,
    pub(crate) media: Media,
    /// The channels that the peer opens. The stream lives as long as the agent: without one, they
    /// would be among the events.
    incoming: Mutex<DataChannels>,
    /// Figures for the result.
    details: RefCell<Map<String, Value>>,
    /// What the case is doing, for when it times out.
    step: RefCell<String>,
    /// The SDP of all offers of the peer.
    pub(crate) remote_offers: RefCell<Vec<String>>,
    /// Every state that the connection went through.
    pub(crate) states: RefCell<Vec<RTCPeerConnectionState>>,
    /// How many offers of the peer met one of our own and were ignored.
    pub(crate) ignored_offers: Cell<u32>,
    /// Whether the peer's lines are read.
    reads: watch::Sender<bool>,
    /// How many answers of the peer were applied.
    answers: watch::Sender<u32>,
    state: watch::Sender<RTCPeerConnectionState>,
    gathered: watch::Sender<bool>,
    peer_done: watch::Sender<bool>,
    pub(crate) trickled_in: Cell<u32>,
    closed: Cell<bool>,
    /// The case expects that the connection fails.
    pub(crate) tolerates_failure: Cell<bool>,
    /// The agent does not wait for the peer's `done`.
    pub(crate) leaves_first: Cell<bool>,
    /// The descriptions that go out carry wrong fingerprints.
    pub(crate) spoils_fingerprints: Cell<bool>,
}

impl Agent {
    fn new<R: Runtime>(runtime: R, args: Args) -> Result<Self, Failure> {
        let mut setting = SettingEngine::default();
        cases::configure(&args, &mut setting)?;
        let servers = args.ice_servers.iter().map(|server| RTCIceServer {
            urls: server.urls.clone(),
            username: server.username.clone().unwrap_or_default(),
            credential: server.credential.clone().unwrap_or_default(),
        });
        let configuration = RTCConfigurationBuilder::new()
            .with_ice_servers(servers.collect())
            .with_ice_transport_policy(match args.policy {
                Policy::All => RTCIceTransportPolicy::All,
                Policy::Relay => RTCIceTransportPolicy::Relay,
            })
            .with_bundle_policy(RTCBundlePolicy::MaxBundle)
            .with_setting_engine(setting)
            .build();
        let bind = args.bind.clone();
        let connect = move |configuration| {
            let builder = Builder::new(runtime.clone()).with_configuration(configuration);
            bind.iter()
                .fold(builder, |builder, addr| builder.bind(*addr))
                .build()
        };
        let pc = connect(configuration)?;
        Ok(Self {
            incoming: Mutex::new(pc.data_channels()),
            state: watch::Sender::new(pc.connection_state()),
            media: Media::new(&pc),
            pc,
            connect: Box::new(connect),
            details: RefCell::default(),
            step: RefCell::new("starting".to_owned()),
            remote_offers: RefCell::default(),
            states: RefCell::default(),
            ignored_offers: Cell::new(0),
            // Both offers are to go out before one comes in.
            reads: watch::Sender::new(args.case != Case::Perfect),
            answers: watch::Sender::new(0),
            gathered: watch::Sender::new(false),
            peer_done: watch::Sender::new(false),
            trickled_in: Cell::new(0),
            closed: Cell::new(false),
            tolerates_failure: Cell::new(false),
            leaves_first: Cell::new(false),
            spoils_fingerprints: Cell::new(false),
            args,
        })
    }

    /// Makes one more connection.
    pub(crate) fn another_connection(
        &self,
        configuration: RTCConfiguration,
    ) -> Result<PeerConnection, Failure> {
        Ok((self.connect)(configuration)?)
    }

    /// Notes a figure for the result.
    pub(crate) fn detail(&self, name: &str, value: impl Into<Value>) {
        self.details
            .borrow_mut()
            .insert(name.to_owned(), value.into());
    }

    /// A figure that was noted, if it is a text.
    pub(crate) fn text(&self, name: &str) -> String {
        let details = self.details.borrow();
        let text = details.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }

    /// Notes what the case is doing.
    pub(crate) fn step(&self, step: impl Into<String>) {
        *self.step.borrow_mut() = step.into();
    }

    fn timed_out(&self) -> Failure {
        let step = self.step.borrow();
        let counters = self.pc.with_core(|core| core.counters());
        tracing::error!("{counters:?}");
        let state = self.pc.connection_state();
        Failure::Failed(format!("timed out while {step} ({state})"))
    }

    /// The case, then the exchange of `done`.
    async fn play(&self) -> Result<(), Failure> {
        cases::play(self).await?;
        self.note_transport();
        lines::write(&Line::Done);
        if !self.leaves_first.get() {
            self.wait_peer_done().await;
        }
        Ok(())
    }

    /// Works off the peer's lines, in order.
    async fn signal(
        &self,
        mut lines: mpsc::UnboundedReceiver<Line>,
    ) -> Result<Infallible, Failure> {
        let _ = self.reads.subscribe().wait_for(|reads| *reads).await;
        while let Some(line) = lines.recv().await {
            match line {
                Line::Done => {
                    self.peer_done.send_replace(true);
                }
                Line::Candidate { candidate } => self.remote_candidate(candidate)?,
                Line::Description { description } if !self.closed.get() => {
                    self.remote_description(description).await?;
                }
                Line::Description { .. } | Line::Log { .. } | Line::Result(_) => {}
            }
        }
        // The runner may close its end early.
        future::pending().await
    }

    async fn remote_description(&self, description: Description) -> Result<(), Failure> {
        let sdp_type = match description.kind {
            DescriptionKind::Offer => RTCSdpType::Offer,
            DescriptionKind::Answer => RTCSdpType::Answer,
            DescriptionKind::Pranswer => RTCSdpType::Pranswer,
            DescriptionKind::Rollback => RTCSdpType::Rollback,
        };
        let sdp = description.sdp;
        let is_impolite = self.role() == Role::Offer;
        if sdp_type == RTCSdpType::Offer
            && is_impolite
            && self.pc.signaling_state() != RTCSignalingState::Stable
        {
            self.ignored_offers.set(self.ignored_offers.get() + 1);
            return Ok(());
        }
        self.pc.set_remote_description(RTCSessionDescription {
            sdp_type,
            sdp: sdp.clone(),
        })?;
        match sdp_type {
            RTCSdpType::Offer => {
                self.remote_offers.borrow_mut().push(sdp);
                cases::prepare_answer(self)?;
                self.pc.set_local_description(None)?;
                self.send_description().await
            }
            RTCSdpType::Answer => {
                self.answers.send_modify(|count| *count += 1);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn remote_candidate(&self, candidate: Option<Candidate>) -> Result<(), Failure> {
        let init = candidate.map(|candidate| RTCIceCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_mline_index: candidate.sdp_m_line_index,
            username_fragment: candidate.username_fragment,
            url: None,
        });
        if init.as_ref().is_some_and(|init| !init.candidate.is_empty()) {
            self.trickled_in.set(self.trickled_in.get() + 1);
            check!(
                self.trickles(),
                "the peer trickled a candidate although it must not"
            );
        }
        if !self.closed.get()
            && let Err(error) = self.pc.add_ice_candidate(init)
        {
            // Late, of a replaced generation or of an ignored offer: such candidates are dropped.
            tracing::info!(%error, "candidate dropped");
        }
        Ok(())
    }

    /// Follows the events of the connection.
    async fn watch(&self) -> Result<Infallible, Failure> {
        let mut events = self.pc.events();
        while let Some(event) = events.next().await {
            match event {
                RTCPeerConnectionEvent::OnIceCandidateEvent(event) if self.trickles() => {
                    let init = event.candidate.to_init();
                    let candidate = Candidate {
                        candidate: init.candidate,
                        sdp_mid: init.sdp_mid,
                        sdp_m_line_index: init.sdp_mline_index,
                        username_fragment: init.username_fragment,
                    };
                    lines::write(&Line::Candidate {
                        candidate: Some(candidate),
                    });
                }
                RTCPeerConnectionEvent::OnIceGatheringStateChangeEvent(state) => {
                    let complete = state == RTCIceGatheringState::Complete;
                    self.gathered.send_replace(complete);
                    if complete && self.trickles() {
                        lines::write(&Line::Candidate { candidate: None });
                    }
                }
                RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => {
                    self.states.borrow_mut().push(state);
                    self.state.send_replace(state);
                    if state == RTCPeerConnectionState::Connected {
                        self.note_transport();
                    }
                    check!(
                        state != RTCPeerConnectionState::Failed || self.tolerates_failure.get(),
                        "the connection failed"
                    );
                }
                _ => {}
            }
        }
        // The connection is closed; the case says what comes next.
        future::pending().await
    }

    fn trickles(&self) -> bool {
        self.args.case != Case::NoTrickle
    }

    /// Sends the local description, once gathered if candidates are not trickled.
    async fn send_description(&self) -> Result<(), Failure> {
        let description = match self.trickles() {
            true => self.pc.local_description(),
            false => {
                self.step("waiting for the own candidates");
                let mut gathered = self.gathered.subscribe();
                let _ = gathered.wait_for(|gathered| *gathered).await;
                self.pc.local_description()
            }
        };
        let Some(RTCSessionDescription { sdp_type, mut sdp }) = description else {
            return Err(Failure::Failed("there is no local description".to_owned()));
        };
        if self.spoils_fingerprints.get() {
            sdp = cases::connection::spoil_fingerprints(&sdp);
        }
        let kind = match sdp_type {
            RTCSdpType::Offer => DescriptionKind::Offer,
            RTCSdpType::Pranswer => DescriptionKind::Pranswer,
            RTCSdpType::Rollback => DescriptionKind::Rollback,
            _ => DescriptionKind::Answer,
        };
        lines::write(&Line::Description {
            description: Description { kind, sdp },
        });
        Ok(())
    }

    /// Makes an offer and waits until its answer is applied.
    pub(crate) async fn offer(&self, options: Option<RTCOfferOptions>) -> Result<(), Failure> {
        let mut answers = self.answers.subscribe();
        let before = *answers.borrow_and_update();
        self.send_offer(options).await?;
        self.step("waiting for the answer");
        let _ = answers.wait_for(|&count| count > before).await;
        Ok(())
    }

    /// Makes an offer and sends it.
    pub(crate) async fn send_offer(&self, options: Option<RTCOfferOptions>) -> Result<(), Failure> {
        let offer = self.pc.create_offer(options)?;
        self.pc.set_local_description(Some(offer))?;
        self.send_description().await
    }

    /// From now on the peer's lines are read.
    pub(crate) fn read_lines(&self) {
        self.reads.send_replace(true);
    }

    /// Opens a data channel.
    pub(crate) fn channel(
        &self,
        label: &str,
        init: RTCDataChannelInit,
    ) -> Result<Channel<'_>, Failure> {
        Ok(Channel::new(
            self,
            self.pc.create_data_channel(label, init)?,
        ))
    }

    /// The next channel that the peer opens.
    pub(crate) async fn incoming(&self) -> Result<Channel<'_>, Failure> {
        self.step("waiting for the peer's channel");
        let channel = self.incoming.lock().await.next().await;
        match channel {
            Some(channel) => Ok(Channel::new(self, channel)),
            None => Err(Failure::Failed("the connection closed".to_owned())),
        }
    }

    pub(crate) async fn wait_peer_done(&self) {
        self.step("waiting for the peer's done");
        self.peer_done().await;
    }

    pub(crate) async fn peer_done(&self) {
        let _ = self.peer_done.subscribe().wait_for(|done| *done).await;
    }

    /// Waits until the connection is in one of these states, and says in which.
    pub(crate) async fn wait_state(
        &self,
        states: &[RTCPeerConnectionState],
    ) -> RTCPeerConnectionState {
        let mut state = self.state.subscribe();
        match state.wait_for(|state| states.contains(state)).await {
            Ok(state) => *state,
            Err(_) => self.pc.connection_state(),
        }
    }

    /// Keeps what is known of the transport, which is gone once the connection is closed.
    pub(crate) fn note_transport(&self) {
        let report = self.pc.stats();
        let Some(transport) = report.transport() else {
            return;
        };
        if let Some(version) = transport.tls_version {
            self.detail(
                "dtls",
                match version {
                    "FEFD" => "1.2",
                    "FEFC" => "1.3",
                    other => other,
                },
            );
        }
        if let Some(cipher) = transport.dtls_cipher {
            self.detail("dtls_cipher", cipher);
        }
        if let Some(profile) = transport.srtp_cipher {
            self.detail("srtp", profile.strip_prefix("SRTP_").unwrap_or(profile));
        }
        if let Some((local, remote)) = selected_pair(&report) {
            self.detail("pair", format!("{} {}", end(&local), end(&remote)));
        }
    }

    /// The user name fragment of the own candidate in use.
    pub(crate) fn selected_ufrag(&self) -> Option<String> {
        selected_pair(&self.pc.stats()).and_then(|(local, _)| local.username_fragment)
    }

    pub(crate) fn local_sdp(&self) -> String {
        self.pc
            .local_description()
            .map(|description| description.sdp)
            .unwrap_or_default()
    }

    pub(crate) fn remote_sdp(&self) -> String {
        self.pc
            .remote_description()
            .map(|description| description.sdp)
            .unwrap_or_default()
    }

    pub(crate) fn role(&self) -> Role {
        self.args.role
    }

    /// Closes the connection and waits until the peer has been told.
    pub(crate) async fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        tokio::select! {
            closed = self.pc.close() => if let Err(error) = closed {
                tracing::warn!(%error, "closing");
            },
            () = after(CLOSING) => tracing::warn!("closing takes too long"),
        }
    }
}

/// Our candidate and the peer's that are in use.
fn selected_pair(report: &RTCStatsReport) -> Option<(RTCIceCandidateStats, RTCIceCandidateStats)> {
    let selected = report.transport()?.selected_candidate_pair_id.as_ref()?;
    let RTCStats::CandidatePair(pair) = report.get(selected)? else {
        return None;
    };
    let candidate = |id: &str| match report.get(id)? {
        RTCStats::LocalCandidate(stats) | RTCStats::RemoteCandidate(stats) => Some(stats.clone()),
        _ => None,
    };
    Some((
        candidate(&pair.local_candidate_id)?,
        candidate(&pair.remote_candidate_id)?,
    ))
}

fn end(candidate: &RTCIceCandidateStats) -> String {
    let address = candidate.address.as_deref().unwrap_or("?");
    let RTCIceCandidateStats {
        candidate_type,
        protocol,
        port,
        ..
    } = candidate;
    format!("{candidate_type}/{protocol}/{address}:{port}")
}

/// Resolves after a while, on whatever runtime.
pub(crate) async fn after(duration: Duration) {
    let (sender, over) = oneshot::channel();
    thread::spawn(move || {
        thread::sleep(duration);
        let _ = sender.send(());
    });
    let _ = over.await;
}
