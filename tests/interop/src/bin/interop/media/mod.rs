//! Audio and video: streams from disk go out, what comes in is counted and put together.

mod arrivals;
mod clip;
mod source;

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::thread;
use std::time::{Duration, Instant};

use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::RTCRtpSenderEvent;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::rtp_transceiver::{RTCRtpReceiverId, RTCRtpSenderId};
use rtc_driver::PeerConnection;
use tokio::sync::{mpsc, watch};

pub(crate) use self::arrivals::Arrivals;
use self::source::Source;
use crate::failure::Failure;

/// How often it is looked whether something is to be sent or has come.
const TICK: Duration = Duration::from_millis(5);

/// The audio and video of a connection.
#[derive(Debug, Default)]
pub(crate) struct Media {
    sources: RefCell<Vec<Source>>,
    arrivals: RefCell<BTreeMap<RTCRtpReceiverId, Arrivals>>,
    ticks: watch::Sender<u64>,
}

impl Media {
    /// Feeds a sender from now on, whenever it may send. With names there is a stream for each
    /// simulcast layer.
    pub(crate) fn feed(&self, sender: RTCRtpSenderId, rids: &[&'static str]) {
        self.sources.borrow_mut().push(Source::new(sender, rids));
    }

    /// Sends and receives until the case is over.
    pub(crate) async fn run(&self, pc: &PeerConnection) -> Result<Infallible, Failure> {
        let mut clock = clock();
        loop {
            if clock.recv().await.is_none() {
                return Err(Failure::Failed("the clock has stopped".to_owned()));
            }
            pc.with_core(|core| self.tick(core, Instant::now()))?;
            self.ticks.send_modify(|count| *count += 1);
        }
    }

    fn tick(&self, core: &mut RTCPeerConnection, now: Instant) -> Result<(), Failure> {
        if core.connection_state() == RTCPeerConnectionState::Connected {
            for source in self.sources.borrow_mut().iter_mut() {
                source.send(core, now)?;
            }
        }
        let receivers: Vec<_> = core.get_receivers().collect();
        let mut arrivals = self.arrivals.borrow_mut();
        for id in receivers {
            arrivals.entry(id).or_default().take(core, id, now)?;
        }
        Ok(())
    }

    /// Does what the peer wants of a sender.
    pub(crate) fn heed(&self, event: &RTCRtpSenderEvent) {
        if let RTCRtpSenderEvent::OnKeyFrameRequest { sender_id, rid, .. } = event {
            let mut sources = self.sources.borrow_mut();
            for source in sources.iter_mut().filter(|it| it.sender == *sender_id) {
                source.restart(rid.as_deref());
            }
        }
    }

    /// What has come at a receiver.
    pub(crate) fn arrivals(&self, id: RTCRtpReceiverId) -> RefMut<'_, Arrivals> {
        RefMut::map(self.arrivals.borrow_mut(), |all| all.entry(id).or_default())
    }

    /// How many key frames the peer has asked for.
    pub(crate) fn key_frames_wanted(&self) -> usize {
        self.sources.borrow().iter().map(|it| it.restarts).sum()
    }

    /// Waits until something may have been sent or have come.
    pub(crate) async fn next_tick(&self) {
        let mut ticks = self.ticks.subscribe();
        let _ = ticks.changed().await;
    }
}

/// Tells every [`TICK`], on whatever runtime.
fn clock() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        loop {
            thread::sleep(TICK);
            match sender.try_send(()) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(())) => {}
                Err(mpsc::error::TrySendError::Closed(())) => return,
            }
        }
    });
    receiver
}
