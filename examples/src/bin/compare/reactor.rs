//! The work on mio: loops of our own, no tasks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rtc_examples::usage;
use rtc_mio::rtc::data_channel::RTCDataChannelId;
use rtc_mio::rtc::endpoint::RTCPeerId;
use rtc_mio::rtc::peer_connection::RTCPeerConnection;
use rtc_mio::rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc_mio::rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc_mio::rtc::peer_connection::message::RTCMessage;
use rtc_mio::rtc::sansio::Protocol as _;
use rtc_mio::{Endpoint, PeerConnection, SocketOptions};

use crate::clients::Clients;
use crate::jobs::{self, Error};
use crate::{Figure, Job, median};

type Result<T> = std::result::Result<T, Error>;

/// Does a job once.
pub(crate) fn run(job: Job) -> Result<Vec<Figure>> {
    match job {
        Job::Connect => connect(),
        Job::Bulk => {
            let (cpu, wall) = transfer(jobs::BULK_MESSAGE, jobs::BULK_COUNT)?;
            Ok(jobs::bulk_figures(cpu, wall))
        }
        Job::Small => {
            let (_, wall) = transfer(jobs::SMALL_MESSAGE, jobs::SMALL_COUNT)?;
            Ok(vec![jobs::small_figure(wall)])
        }
        Job::Idle => idle(),
        Job::Endpoint => endpoint(),
        Job::IdleEndpoint => idle_endpoint(),
    }
}

/// Connections of one thread, and the loop that drives them.
struct Reactor {
    poll: Poll,
    peers: Vec<Peer>,
    /// When each wants to be driven; entries that are out of date are found out when their time has
    /// come.
    deadlines: BinaryHeap<Reverse<(Instant, usize)>>,
    events: Events,
}

struct Peer {
    connection: PeerConnection,
    channel: Option<RTCDataChannelId>,
    deadline: Option<Instant>,
}

impl Reactor {
    fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            peers: Vec::new(),
            deadlines: BinaryHeap::new(),
            events: Events::with_capacity(256),
        })
    }

    /// Adds a connection and gives its index.
    fn add(&mut self, connection: PeerConnection) -> Result<usize> {
        let index = self.peers.len();
        self.peers.push(Peer {
            connection,
            channel: None,
            deadline: None,
        });
        let peer = self.peers.last_mut().ok_or("it was just added")?;
        let token = Token(index * PeerConnection::TOKENS);
        self.poll
            .registry()
            .register(&mut peer.connection, token, Interest::READABLE)?;
        self.drive(index);
        Ok(index)
    }

    fn peer(&mut self, index: usize) -> Result<&mut Peer> {
        self.peers
            .get_mut(index)
            .ok_or_else(|| "no such peer".into())
    }

    /// Drives a connection and notes when it wants to be driven again.
    fn drive(&mut self, index: usize) {
        let now = Instant::now();
        if let Some(peer) = self.peers.get_mut(index) {
            peer.connection.drive(now);
            peer.schedule(index, now, &mut self.deadlines);
        }
    }

    /// Waits for something to happen, at the longest for `limit`, and calls `work` for each
    /// connection that it happened to.
    fn turn(
        &mut self,
        limit: Duration,
        mut work: impl FnMut(usize, &mut Peer, Instant) -> Result<()>,
    ) -> Result<()> {
        let next = self
            .deadlines
            .peek()
            .map(|Reverse((deadline, _))| *deadline);
        let wait = next.map_or(limit, |next| {
            next.saturating_duration_since(Instant::now()).min(limit)
        });
        self.poll.poll(&mut self.events, Some(wait))?;
        let now = Instant::now();
        for event in &self.events {
            let index = event.token().0 / PeerConnection::TOKENS;
            if let Some(peer) = self.peers.get_mut(index) {
                peer.connection.process(event, now);
                peer.note_events();
                work(index, peer, now)?;
                peer.schedule(index, now, &mut self.deadlines);
            }
        }
        while let Some(&Reverse((deadline, index))) = self.deadlines.peek()
            && deadline <= now
        {
            self.deadlines.pop();
            let Some(peer) = self.peers.get_mut(index) else {
                continue;
            };
            if peer.deadline != Some(deadline) {
                continue;
            }
            peer.deadline = None;
            peer.connection.drive(now);
            peer.note_events();
            work(index, peer, now)?;
            peer.schedule(index, now, &mut self.deadlines);
            if peer.deadline.is_some_and(|deadline| deadline <= now) {
                // More to do, after the others.
                break;
            }
        }
        Ok(())
    }
}

impl Peer {
    fn schedule(
        &mut self,
        index: usize,
        now: Instant,
        deadlines: &mut BinaryHeap<Reverse<(Instant, usize)>>,
    ) {
        let deadline = self.connection.deadline(now);
        if deadline != self.deadline {
            self.deadline = deadline;
            deadlines.extend(deadline.map(|deadline| Reverse((deadline, index))));
        }
    }

    fn note_events(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            if let RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) = event {
                self.channel = Some(id);
            }
        }
    }
}

fn connect() -> Result<Vec<Figure>> {
    let mut samples = Vec::new();
    for _ in 0..jobs::CONNECTS {
        let mut reactor = Reactor::new()?;
        let [alice, bob] = [reactor.add(peer()?)?, reactor.add(peer()?)?];
        let start = Instant::now();
        signal(&mut reactor, alice, bob)?;
        while !reactor.peers.iter().all(|peer| peer.channel.is_some()) {
            reactor.turn(LONG, |_, _, _| Ok(()))?;
        }
        samples.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(vec![Figure::new("connect", "ms", median(&samples))])
}

/// A thread for each side. Gives CPU time and wall-clock time.
fn transfer(size: usize, count: usize) -> Result<(Duration, Duration)> {
    let [mut alice, mut bob] = [peer()?, peer()?];
    alice.core().create_data_channel("compare", None)?;
    negotiate(alice.core(), bob.core())?;
    let (ready, is_ready) = mpsc::channel();
    let (done, is_done) = mpsc::channel::<()>();
    let receiving = thread::spawn(move || {
        let mut reactor = Reactor::new()?;
        reactor.add(bob)?;
        let mut received = 0;
        let mut told = false;
        while received < count {
            reactor.turn(LONG, |_, peer, _| {
                if !told && peer.channel.is_some() {
                    told = true;
                    ready.send(())?;
                }
                while let Some(message) = peer.connection.poll_read() {
                    received += usize::from(matches!(message, RTCMessage::DataChannelMessage(..)));
                }
                Ok(())
            })?;
        }
        drop(done);
        Ok::<_, Error>(usage::cpu())
    });
    let mut reactor = Reactor::new()?;
    let index = reactor.add(alice)?;
    while reactor.peer(index)?.channel.is_none() || is_ready.try_recv().is_err() {
        reactor.turn(SHORT, |_, _, _| Ok(()))?;
    }
    let (cpu, wall) = (usage::cpu(), Instant::now());
    let message = vec![0xa5; size];
    let mut sent = 0;
    let mut fill = |peer: &mut Peer, now: Instant| {
        let Some(id) = peer.channel else {
            return Ok(());
        };
        let mut room = false;
        if let Some(mut channel) = peer.connection.core().data_channel(id) {
            while sent < count && channel.buffered_amount() < SEND_LIMIT {
                channel
                    .send_message(message.as_slice().into())
                    .map_err(|refused| refused.error)?;
                sent += 1;
                room = true;
            }
        }
        if room {
            peer.connection.drive(now);
        }
        Ok(())
    };
    fill(reactor.peer(index)?, Instant::now())?;
    reactor.drive(index);
    while is_done.try_recv() == Err(mpsc::TryRecvError::Empty) {
        reactor.turn(SHORT, |_, peer, now| fill(peer, now))?;
    }
    let end = receiving.join().map_err(|_| "the receiver panicked")??;
    Ok((end - cpu, wall.elapsed()))
}

fn idle() -> Result<Vec<Figure>> {
    let before = usage::memory();
    let mut reactor = Reactor::new()?;
    for _ in 0..jobs::IDLE_PEERS / 2 {
        let [alice, bob] = [reactor.add(peer()?)?, reactor.add(peer()?)?];
        signal(&mut reactor, alice, bob)?;
        while reactor.peer(alice)?.channel.is_none() || reactor.peer(bob)?.channel.is_none() {
            reactor.turn(LONG, |_, _, _| Ok(()))?;
        }
    }
    let mut wait = |duration: Duration| {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            reactor.turn(end.saturating_duration_since(Instant::now()), |_, _, _| {
                Ok(())
            })?;
        }
        Ok::<_, Error>(())
    };
    wait(jobs::SETTLE)?;
    let cpu = usage::cpu();
    wait(jobs::IDLE_TIME)?;
    let used = usage::cpu() - cpu;
    Ok(jobs::idle_figures(
        "idle peer",
        jobs::IDLE_PEERS,
        before,
        used,
    ))
}

/// The clients have a reactor on another thread.
fn endpoint() -> Result<Vec<Figure>> {
    let mut server = Server::new()?;
    let mut clients = Reactor::new()?;
    for _ in 0..jobs::ENDPOINT_PEERS {
        let mut client = peer()?;
        client.core().create_data_channel("compare", None)?;
        server.accept(client.core())?;
        clients.add(client)?;
    }
    let (done, is_done) = mpsc::channel::<()>();
    let serving = thread::spawn(move || {
        while is_done.try_recv() == Err(mpsc::TryRecvError::Empty) {
            server.turn(SHORT, |core, message| {
                if let RTCMessage::DataChannelMessage(id, message) = message
                    && let Some(mut channel) = core.data_channel(id)
                {
                    channel
                        .send_message(message)
                        .map_err(|refused| refused.error)?;
                }
                Ok(())
            })?;
        }
        Ok::<_, Error>(())
    });
    while !clients.peers.iter().all(|peer| peer.channel.is_some()) {
        clients.turn(LONG, |_, _, _| Ok(()))?;
    }
    let message = vec![0x5a; jobs::ECHO_MESSAGE];
    let send = |peer: &mut Peer| {
        let id = peer.channel.ok_or("the channel is open")?;
        let mut channel = peer
            .connection
            .core()
            .data_channel(id)
            .ok_or("no channel")?;
        let sent = channel.send_message(message.as_slice().into());
        sent.map_err(|refused| refused.error)?;
        Ok::<_, Error>(())
    };
    let start = Instant::now();
    for index in 0..jobs::ENDPOINT_PEERS {
        send(clients.peer(index)?)?;
        clients.drive(index);
    }
    let mut left = jobs::ENDPOINT_PEERS * jobs::ECHOES;
    let mut echoes = vec![0; jobs::ENDPOINT_PEERS];
    while left > 0 {
        clients.turn(LONG, |index, peer, now| {
            while let Some(message) = peer.connection.poll_read() {
                if !matches!(message, RTCMessage::DataChannelMessage(..)) {
                    continue;
                }
                left -= 1;
                let Some(count) = echoes.get_mut(index) else {
                    continue;
                };
                *count += 1;
                if *count < jobs::ECHOES {
                    send(peer)?;
                    peer.connection.drive(now);
                }
            }
            Ok(())
        })?;
    }
    let wall = start.elapsed();
    drop(done);
    serving.join().map_err(|_| "the server panicked")??;
    Ok(vec![jobs::endpoint_figure(wall)])
}

fn idle_endpoint() -> Result<Vec<Figure>> {
    let mut server = Server::new()?;
    let mut clients = Clients::start()?;
    let before = usage::memory();
    for count in 1..=jobs::MANY {
        let id = server.insert()?;
        let core = server.endpoint.core().get_mut(id).ok_or("no peer")?;
        core.create_data_channel("compare", None)?;
        core.set_local_description_implicit()?;
        let offer = core.local_description().ok_or("no offer")?;
        core.set_remote_description(clients.answer(&offer)?)?;
        server.endpoint.drive(Instant::now());
        while server.open < count {
            server.turn(LONG, |_, _| Ok(()))?;
        }
    }
    let mut wait = |duration: Duration| {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            server.turn(end.saturating_duration_since(Instant::now()), |_, _| Ok(()))?;
        }
        Ok::<_, Error>(())
    };
    wait(jobs::SETTLE)?;
    let cpu = usage::cpu();
    wait(jobs::IDLE_TIME)?;
    let used = usage::cpu() - cpu;
    Ok(jobs::idle_figures(
        jobs::MANY_WHAT,
        jobs::MANY,
        before,
        used,
    ))
}

/// An endpoint and the loop that drives it.
struct Server {
    poll: Poll,
    endpoint: Endpoint,
    events: Events,
    /// Channels that have opened.
    open: usize,
}

impl Server {
    fn new() -> Result<Self> {
        let poll = Poll::new()?;
        let mut endpoint =
            Endpoint::with_sockets([SocketOptions::default().open(jobs::LOOPBACK)?])?;
        poll.registry()
            .register(&mut endpoint, Token(0), Interest::READABLE)?;
        Ok(Self {
            poll,
            endpoint,
            events: Events::with_capacity(64),
            open: 0,
        })
    }

    fn insert(&mut self) -> Result<RTCPeerId> {
        let core = RTCPeerConnection::new(RTCConfigurationBuilder::new().build())?;
        Ok(self.endpoint.core().insert(core))
    }

    /// Answers the offer of a client.
    fn accept(&mut self, client: &mut RTCPeerConnection) -> Result<()> {
        let id = self.insert()?;
        let core = self.endpoint.core().get_mut(id).ok_or("no peer")?;
        negotiate(client, core)
    }

    fn turn(
        &mut self,
        limit: Duration,
        mut work: impl FnMut(&mut RTCPeerConnection, RTCMessage) -> Result<()>,
    ) -> Result<()> {
        let now = Instant::now();
        let wait = self.endpoint.deadline(now).map_or(limit, |deadline| {
            deadline.saturating_duration_since(now).min(limit)
        });
        self.poll.poll(&mut self.events, Some(wait))?;
        let now = Instant::now();
        for event in &self.events {
            self.endpoint.process(event, now);
        }
        let core = self.endpoint.core();
        let mut any = false;
        while let Some(id) = core.poll_ready_peer() {
            let Some(peer) = core.get_mut(id) else {
                continue;
            };
            while let Some(event) = peer.poll_event() {
                let opens = RTCDataChannelEvent::OnOpen;
                if let RTCPeerConnectionEvent::OnDataChannel(event) = event
                    && event == opens(event.channel_id())
                {
                    self.open += 1;
                }
            }
            while let Some(message) = peer.poll_read() {
                any = true;
                work(peer, message)?;
            }
        }
        if any || self.endpoint.deadline(now).is_some_and(|at| at <= now) {
            self.endpoint.drive(now);
        }
        Ok(())
    }
}

fn peer() -> Result<PeerConnection> {
    let socket = SocketOptions::default().open(jobs::LOOPBACK)?;
    let core = RTCPeerConnection::new(RTCConfigurationBuilder::new().build())?;
    Ok(PeerConnection::with_sockets(core, [socket])?)
}

/// Connects two peers of one reactor, with a channel of the first.
fn signal(reactor: &mut Reactor, alice: usize, bob: usize) -> Result<()> {
    let [first, second] = reactor
        .peers
        .get_disjoint_mut([alice, bob])?
        .map(|peer| &mut peer.connection);
    first.core().create_data_channel("compare", None)?;
    negotiate(first.core(), second.core())?;
    reactor.drive(alice);
    reactor.drive(bob);
    Ok(())
}

fn negotiate(alice: &mut RTCPeerConnection, bob: &mut RTCPeerConnection) -> Result<()> {
    alice.set_local_description_implicit()?;
    bob.set_remote_description(alice.local_description().ok_or("no offer")?)?;
    bob.set_local_description_implicit()?;
    alice.set_remote_description(bob.local_description().ok_or("no answer")?)?;
    Ok(())
}

/// Nothing is waited for that does not wake the loop.
const LONG: Duration = Duration::from_secs(1);

/// Something of another thread is waited for.
const SHORT: Duration = Duration::from_millis(1);

/// Bytes that wait in a channel at most; as on the other runtimes.
const SEND_LIMIT: usize = 256 * 1024;
