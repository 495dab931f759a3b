use std::fmt;
use std::time::{Duration, Instant};

use rtc_shared::Rng;

use crate::key_frame::{KeyFrameConfig, KeyFrames};
use crate::nack::{NackGenerator, NackGeneratorConfig, NackResponder, NackResponderConfig};
use crate::report::{ReceiverReports, ReportConfig, SenderReports};
use crate::rtx::RtxReceiver;
use crate::twcc::{TwccReceiver, TwccReceiverConfig, TwccSender};
use crate::{Chain, Interceptor};

/// Where a stage stands in the chain. What has a lower number is nearer to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Slot {
    /// Estimates the bandwidth: 1 000.
    CongestionControl,
    /// Numbers what is sent for the whole transport: 2 000.
    TwccSender,
    /// Spreads what is sent in time: 3 000.
    Pacer,
    /// Keeps what was sent, and repeats it: 4 000.
    NackResponder,
    /// Makes packets of forward error correction: 5 000.
    FecEncoder,
    /// Unwraps retransmissions: 5 500.
    RtxReceiver,
    /// Recovers packets by forward error correction: 6 000.
    FecDecoder,
    /// Asks for what is missing: 7 000.
    NackGenerator,
    /// Tells when packets arrived, by their transport-wide numbers: 8 000.
    TwccReceiver,
    /// Tells when packets arrived, by their own numbers: 9 000.
    Rfc8888,
    /// Receiver reports: 10 000.
    ReceiverReport,
    /// Sender reports: 11 000.
    SenderReport,
    /// Requests of key frames: 12 000.
    IntervalPli,
    /// Holds packets until they are in order: 13 000.
    JitterBuffer,
    /// Any other place. Of stages with one number, the one that was added first is nearer to the
    /// network.
    Custom(usize),
}

impl Slot {
    /// The number by which stages are ordered.
    #[must_use]
    pub fn order(self) -> usize {
        match self {
            Self::CongestionControl => 1_000,
            Self::TwccSender => 2_000,
            Self::Pacer => 3_000,
            Self::NackResponder => 4_000,
            Self::FecEncoder => 5_000,
            Self::RtxReceiver => 5_500,
            Self::FecDecoder => 6_000,
            Self::NackGenerator => 7_000,
            Self::TwccReceiver => 8_000,
            Self::Rfc8888 => 9_000,
            Self::ReceiverReport => 10_000,
            Self::SenderReport => 11_000,
            Self::IntervalPli => 12_000,
            Self::JitterBuffer => 13_000,
            Self::Custom(order) => order,
        }
    }
}

/// The stages of a chain to be.
#[derive(Default)]
pub struct Registry {
    stages: Vec<(Slot, Box<dyn Interceptor>)>,
}

impl Registry {
    /// One without stages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The stages that every connection wants, with their usual parameters: reports, NACK and RTX both
    /// ways, transport-wide feedback both ways, key frame requests. A stage does nothing for a stream
    /// that did not negotiate it.
    #[must_use]
    pub fn with_defaults() -> Self {
        let reports = ReportConfig::default();
        Self::new()
            .with(Slot::TwccSender, TwccSender::new())
            .with(
                Slot::NackResponder,
                NackResponder::new(NackResponderConfig::default()),
            )
            .with(Slot::RtxReceiver, RtxReceiver::new())
            .with(
                Slot::NackGenerator,
                NackGenerator::new(NackGeneratorConfig::default()),
            )
            .with(
                Slot::TwccReceiver,
                TwccReceiver::new(TwccReceiverConfig::default()),
            )
            .with(Slot::ReceiverReport, ReceiverReports::new(reports))
            .with(Slot::SenderReport, SenderReports::new(reports))
            .with(Slot::IntervalPli, KeyFrames::new(KeyFrameConfig::default()))
    }

    /// Adds a stage.
    #[must_use]
    pub fn with(mut self, slot: Slot, stage: impl Interceptor + 'static) -> Self {
        let order = slot.order();
        let place = self
            .stages
            .partition_point(|(other, _)| other.order() <= order);
        self.stages.insert(place, (slot, Box::new(stage)));
        self
    }

    /// Takes away the stages of a slot, for instance to put another in their place.
    #[must_use]
    pub fn without(mut self, slot: Slot) -> Self {
        self.stages.retain(|(other, _)| *other != slot);
        self
    }

    /// The slots in their order, that next to the network first.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = Slot> + '_ {
        self.stages.iter().map(|(slot, _)| *slot)
    }

    /// Makes the chain of one connection.
    #[must_use]
    pub fn build(self, config: ChainConfig) -> Chain {
        let stages = self.stages.into_iter().map(|(_, stage)| stage);
        Chain::new(stages.collect(), config)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.slots()).finish()
    }
}

/// What a chain has to know from the begin.
#[derive(Debug)]
#[non_exhaustive]
pub struct ChainConfig {
    /// The time.
    pub now: Instant,
    /// The same time by the wall clock, since the begin of 1970.
    pub unix_time: Duration,
    /// Randomness of its own.
    pub rng: Rng,
    /// The canonical name that joins the streams of this side (RFC 7022).
    pub cname: String,
    /// Feedback may be sent without a report before it (RFC 5506).
    pub reduced_size: bool,
}

impl ChainConfig {
    /// A configuration without reduced size.
    #[must_use]
    pub fn new(now: Instant, unix_time: Duration, rng: Rng, cname: &str) -> Self {
        Self {
            now,
            unix_time,
            rng,
            cname: cname.to_owned(),
            reduced_size: false,
        }
    }
}
