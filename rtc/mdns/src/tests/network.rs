use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtc_shared::{Protocol, Rng, TaggedBytesMut};

use crate::{Config, Event, Interface, Mdns, Name};

/// Hosts on one link that loses and delays datagrams, in virtual time.
pub(super) struct Network {
    hosts: Vec<Mdns>,
    now: Instant,
    /// Datagrams on their way: when they arrive, and at which host.
    flying: Vec<(Instant, usize, TaggedBytesMut)>,
    rng: Rng,
    /// Per cent.
    loss: u32,
    pub(super) datagrams: usize,
}

impl Network {
    pub(super) fn new(seed: u64, hosts: usize, loss: u32) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut rng = Rng::from_seed(bytes);
        let now = epoch();
        let hosts = (0..hosts)
            .map(|host| {
                let mut mdns = Mdns::new(Config::default(), rng.fork(), now);
                let interface = Interface::new(addr(host), 24);
                mdns.add_interface(interface, now).unwrap();
                mdns
            })
            .collect();
        Self {
            hosts,
            now,
            flying: Vec::new(),
            rng,
            loss,
            datagrams: 0,
        }
    }

    pub(super) fn addr(&self, host: usize) -> SocketAddr {
        addr(host)
    }

    pub(super) fn register(&mut self, host: usize) -> Name {
        let addr = addr(host).ip();
        self.hosts[host].register(addr, self.now).unwrap()
    }

    pub(super) fn resolve(&mut self, host: usize, name: Name) {
        self.hosts[host].resolve(name, self.now).unwrap();
    }

    pub(super) fn events(&mut self, host: usize) -> Vec<Event> {
        std::iter::from_fn(|| self.hosts[host].poll_event()).collect()
    }

    pub(super) fn is_idle(&mut self) -> bool {
        self.flying.is_empty() && self.hosts.iter_mut().all(|it| it.poll_timeout().is_none())
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.send();
            let timeouts = self.hosts.iter_mut().filter_map(Protocol::poll_timeout);
            let arrivals = self.flying.iter().map(|(at, ..)| *at);
            let Some(next) = timeouts.chain(arrivals).min().filter(|&at| at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            let now = self.now;
            for host in &mut self.hosts {
                if host.poll_timeout().is_some_and(|due| due <= now) {
                    host.handle_timeout(now).unwrap();
                    assert!(host.poll_timeout().is_none_or(|next| next > now));
                }
            }
            let (arrived, flying) = self.flying.drain(..).partition(|(at, ..)| *at <= now);
            self.flying = flying;
            let arrived: Vec<_> = arrived;
            for (_, host, mut datagram) in arrived {
                datagram.now = now;
                self.hosts[host].handle_read(datagram).unwrap();
            }
        }
        self.now = end;
    }

    /// A group reaches all, the sender included, each with its own luck.
    fn send(&mut self) {
        for from in 0..self.hosts.len() {
            while let Some(sent) = self.hosts[from].poll_write() {
                self.datagrams += 1;
                let to = sent.transport.peer_addr;
                for host in 0..self.hosts.len() {
                    if !to.ip().is_multicast() && to != addr(host)
                        || self.rng.below(100) < self.loss
                    {
                        continue;
                    }
                    let mut copy = sent.clone();
                    copy.transport.local_addr = to;
                    copy.transport.peer_addr = sent.transport.local_addr;
                    let delay = Duration::from_micros(self.rng.below(3000).into());
                    self.flying.push((self.now + delay, host, copy));
                }
            }
        }
    }
}

/// Some time to begin at; only what passes after it matters.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise"
)]
pub(super) fn epoch() -> Instant {
    Instant::now()
}

fn addr(host: usize) -> SocketAddr {
    ([192, 0, 2, 1 + host as u8], 5353).into()
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
