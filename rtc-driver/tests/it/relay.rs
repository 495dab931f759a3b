//! A STUN and TURN server on a host of a simulated network.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rtc::shared::{FiveTuple, Rng, TransportProtocol};
use rtc_driver::test::{Host, SocketModel, TestSocket, TestTimer};
use rtc_driver::{DatagramSocket, RecvMeta, Runtime, SendBatch, SocketOptions, Timer, rtc};
use rtc_turn::server::{RelayId, Server, ServerConfig, ServerEvent, ServerReceived, StaticUsers};

/// The handle of a server that runs.
#[derive(Clone)]
pub struct RelayServer {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    server: Server,
    /// What it told, in order.
    events: Vec<ServerEvent>,
    task: Option<Waker>,
    is_stopped: bool,
}

impl std::fmt::Debug for RelayServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayServer").finish_non_exhaustive()
    }
}

impl RelayServer {
    /// Begins to serve at port 3478 of the first address of a host, for the users `user` with the
    /// password `pass` and `other` with `word`.
    ///
    /// # Panics
    /// When the host has no address, or the port is taken.
    #[must_use]
    pub fn start(host: &Host) -> Self {
        Self::start_with(host, |_| ())
    }

    /// The same with a configuration of one's own.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with(host: &Host, change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::build(host, change).unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn build(
        host: &Host,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let runtime = host.runtime();
        let provider = rtc::crypto::default_provider();
        let mut users = StaticUsers::new(provider, REALM);
        users.insert("user", "pass")?;
        users.insert("other", "word")?;
        let mut config = ServerConfig::new(REALM);
        config.unauthenticated_rate = None;
        change(&mut config);
        let server = Server::new(
            config,
            Box::new(users),
            provider,
            Rng::from_seed([0x5e; 32]),
            runtime.now(),
            Duration::from_secs(1_700_000_000),
        )?;
        let ip = *host.addresses().first().ok_or("the host has no address")?;
        // A datagram per buffer.
        let mut model = SocketModel::default();
        model.recv_segments = 1;
        host.set_sockets(model);
        let main = runtime.bind(SocketAddr::new(ip, 3478), &SocketOptions::default())?;
        let shared = Arc::new(Mutex::new(Shared {
            server,
            events: Vec::new(),
            task: None,
            is_stopped: false,
        }));
        let task = Task {
            shared: Arc::clone(&shared),
            host: host.clone(),
            main,
            relays: BTreeMap::new(),
            timer: runtime.timer(),
        };
        runtime.spawn(task);
        Ok(Self { shared })
    }

    /// What it has told so far.
    #[must_use]
    pub fn events(&self) -> Vec<ServerEvent> {
        self.lock().events.clone()
    }

    /// Allocations that are there.
    #[must_use]
    pub fn allocations(&self) -> usize {
        self.lock().server.allocations()
    }

    /// Ends, with its sockets and everything it knows.
    pub fn stop(&self) {
        let mut shared = self.lock();
        shared.is_stopped = true;
        if let Some(task) = shared.task.take() {
            task.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task {
    shared: Arc<Mutex<Shared>>,
    host: Host,
    main: TestSocket,
    relays: BTreeMap<RelayId, TestSocket>,
    timer: TestTimer,
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self {
            shared,
            host,
            main,
            relays,
            timer,
        } = self.get_mut();
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.is_stopped {
            return Poll::Ready(());
        }
        shared.task = Some(cx.waker().clone());
        let Shared { server, events, .. } = &mut *shared;
        let now = timer.now();
        let here = main
            .local_addr()
            .unwrap_or_else(|_| ([0, 0, 0, 0], 0).into());
        loop {
            let mut is_idle = true;
            while let Some((datagram, peer)) = receive(main, cx) {
                is_idle = false;
                let client = FiveTuple {
                    local_addr: here,
                    peer_addr: peer,
                    transport_protocol: TransportProtocol::UDP,
                };
                if let ServerReceived::ToPeer {
                    relay,
                    peer,
                    payload,
                } = server.handle_datagram(now, client, &datagram)
                    && let Some(socket) = relays.get_mut(&relay)
                    && let Some(payload) = datagram.get(payload)
                {
                    send(socket, cx, peer, payload);
                }
            }
            for (&relay, socket) in relays.iter_mut() {
                while let Some((payload, peer)) = receive(socket, cx) {
                    is_idle = false;
                    let Some(out) = server.handle_peer_datagram(now, relay, peer, payload.len())
                    else {
                        continue;
                    };
                    let form = out.encapsulation;
                    let mut message = vec![0; form.prefix_len()];
                    if form.write_prefix(payload.len(), &mut message) {
                        message.extend(&payload);
                        message.resize(form.wire_len(payload.len()), 0);
                        send(main, cx, out.client.peer_addr, &message);
                    }
                }
            }
            if server.poll_timeout().is_some_and(|at| at <= now) {
                server.handle_timeout(now);
            }
            while let Some(event) = server.poll_event() {
                is_idle = false;
                match &event {
                    ServerEvent::BindRelay { relay, .. } => {
                        let is_ipv4 = relay.family() == rtc_turn_family(true);
                        let mut ips = host.addresses().into_iter();
                        let ip = ips.find(|ip| ip.is_ipv4() == is_ipv4);
                        let options = SocketOptions::default();
                        let socket =
                            ip.and_then(|ip| host.runtime().bind((ip, 0).into(), &options).ok());
                        match socket.and_then(|it| Some((it.local_addr().ok()?, it))) {
                            Some((addr, socket)) => {
                                relays.insert(*relay, socket);
                                server.relay_bound(now, *relay, addr);
                            }
                            None => server.relay_failed(now, *relay),
                        }
                    }
                    ServerEvent::CloseRelay(relay) => drop(relays.remove(relay)),
                    _ => {}
                }
                events.push(event);
            }
            while let Some(message) = server.poll_transmit() {
                is_idle = false;
                send(main, cx, message.transport.peer_addr, &message.message);
            }
            if is_idle {
                break;
            }
        }
        if let Some(deadline) = server.poll_timeout()
            && timer.poll_deadline(cx, deadline).is_ready()
        {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

fn rtc_turn_family(is_ipv4: bool) -> rtc::stun::AddressFamily {
    match is_ipv4 {
        true => rtc::stun::AddressFamily::Ipv4,
        false => rtc::stun::AddressFamily::Ipv6,
    }
}

fn receive(socket: &mut TestSocket, cx: &mut Context<'_>) -> Option<(Vec<u8>, SocketAddr)> {
    let mut buffer = vec![0; 2048];
    let mut meta = [RecvMeta::default()];
    let got = {
        let mut bufs = [IoSliceMut::new(&mut buffer)];
        // One datagram at a time: a buffer has no room for another full one.
        socket.poll_recv(cx, &mut bufs, &mut meta)
    };
    let [meta] = meta;
    match got {
        Poll::Ready(Ok(1..)) => {
            let stride = meta.stride.max(1);
            debug_assert!(meta.len <= stride, "datagrams were joined");
            buffer.truncate(meta.len);
            Some((buffer, meta.peer))
        }
        _ => None,
    }
}

fn send(socket: &mut TestSocket, cx: &mut Context<'_>, peer: SocketAddr, contents: &[u8]) {
    // A server drops what does not go out.
    let _ = socket.poll_send(
        cx,
        &SendBatch {
            peer,
            local_ip: None,
            ecn: None,
            segment_size: None,
            contents,
        },
    );
}

const REALM: &str = "example.org";
