use std::io;
use std::task::{Context, Waker};
use std::time::Instant;

use mio::event::{Event, Source};
use mio::{Interest, Registry, Token};
use rtc_driver::{Bound, Core, InterfaceWatch, Progress, Pump};
use tracing::debug;

use crate::MioSocket;

/// A core with its sockets on a reactor: what connections have in common with whatever else shares
/// sockets.
#[derive(Debug)]
pub(crate) struct Carrier<C> {
    pub(crate) core: C,
    pub(crate) pump: Pump<MioSocket>,
    watch: Option<InterfaceWatch<MioSocket>>,
    /// For the sockets of interfaces that appear later, and where the tokens begin.
    registry: Option<(Registry, Token)>,
    /// The pump stopped at one of its bounds, or the core was given something since.
    more: bool,
}

impl<C: Core> Carrier<C> {
    pub(crate) fn new(bound: Bound<C, MioSocket>) -> Self {
        Self {
            core: bound.core,
            pump: bound.pump,
            watch: bound.watch,
            registry: None,
            more: true,
        }
    }

    /// `false`: the event is not of these sockets.
    pub(crate) fn process(&mut self, event: &Event, now: Instant) -> bool {
        let mut ours = false;
        for socket in self.pump.sockets_mut() {
            ours |= socket.process(event);
        }
        // Systems tell of room after every datagram that has left.
        let matters = event.is_readable() || event.is_error() || self.pump.is_blocked();
        if ours && matters {
            self.drive(now);
        }
        ours
    }

    pub(crate) fn drive(&mut self, now: Instant) {
        // Readiness comes by events, so that there is nobody to wake.
        let mut cx = Context::from_waker(Waker::noop());
        if let Some(watch) = &mut self.watch {
            watch.follow(&mut cx, &mut self.pump, &mut self.core);
            self.register_new();
        }
        self.more = self.pump.drive(&mut cx, now, &mut self.core) == Progress::MoreWork;
    }

    fn register_new(&mut self) {
        let Some((registry, first)) = &self.registry else {
            return;
        };
        let taken: Vec<_> = self.pump.sockets_mut().map(|it| it.token()).collect();
        let mut free = tokens(*first)
            .take(TOKENS)
            .filter(|token| !taken.contains(&Some(*token)));
        for socket in self.pump.sockets_mut().filter(|it| it.token().is_none()) {
            // When every token is taken, any will do.
            let token = free.next().unwrap_or(*first);
            if let Err(error) = socket.register(registry, token, Interest::READABLE) {
                debug!(%error, "the socket of a new interface is not registered");
            }
        }
    }

    pub(crate) fn drive_again(&mut self) {
        self.more = true;
    }

    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if self.more {
            return Some(now);
        }
        self.core.poll_timeout()
    }
}

/// Socket `i` is registered as `Token(first + i)`, and so on from `first` again after [`TOKENS`]
/// sockets.
impl<C: Core> Source for Carrier<C> {
    fn register(&mut self, registry: &Registry, first: Token, how: Interest) -> io::Result<()> {
        for (token, socket) in tokens(first).zip(self.pump.sockets_mut()) {
            socket.register(registry, token, how)?;
        }
        if self.watch.is_some() {
            self.registry = Some((registry.try_clone()?, first));
        }
        self.more = true;
        Ok(())
    }

    fn reregister(&mut self, registry: &Registry, first: Token, how: Interest) -> io::Result<()> {
        for (token, socket) in tokens(first).zip(self.pump.sockets_mut()) {
            socket.reregister(registry, token, how)?;
        }
        if let Some((_, from)) = &mut self.registry {
            *from = first;
        }
        self.more = true;
        Ok(())
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.registry = None;
        for socket in self.pump.sockets_mut() {
            socket.deregister(registry)?;
        }
        Ok(())
    }
}

fn tokens(Token(first): Token) -> impl Iterator<Item = Token> {
    (0..TOKENS)
        .cycle()
        .map(move |step| Token(first.wrapping_add(step)))
}

/// Few machines have more addresses than that, and sockets that share a token only make for a needless
/// look at each other.
pub(crate) const TOKENS: usize = 16;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};
    use std::sync::{Arc, Mutex};

    use mio::{Events, Poll};
    use rtc_driver::rtc::peer_connection::RTCEvent;
    use rtc_driver::rtc::shared::{TaggedBytesMut, Transmit, TransportContext};
    use rtc_driver::udp::UdpState;
    use rtc_driver::{Builder, Interface, InterfaceChanges, Network, RecvMeta, SocketOptions};

    use super::*;

    /// Has datagrams to send and takes what comes.
    #[derive(Default)]
    struct Datagrams {
        path: TransportContext,
        left: usize,
    }

    impl Core for Datagrams {
        fn handle_read_batch(&mut self, batch: &mut Vec<TaggedBytesMut>) {
            batch.clear();
        }

        fn poll_transmit(&mut self, _: Instant, _: usize, buf: &mut Vec<u8>) -> Option<Transmit> {
            self.left = self.left.checked_sub(1)?;
            buf.extend_from_slice(b"datagram");
            Some(Transmit {
                transport: self.path,
                size: 8,
                segment_size: None,
            })
        }

        fn handle_event(&mut self, _: RTCEvent) {}

        fn poll_timeout(&mut self) -> Option<Instant> {
            None
        }

        fn handle_timeout(&mut self, _: Instant) {}
    }

    #[test]
    fn a_full_socket_waits_for_its_event_and_then_sends_what_was_kept() {
        let open = || {
            SocketOptions::default()
                .open("127.0.0.1:0".parse().unwrap())
                .unwrap()
        };
        let (here, there) = (open(), open());
        let core = Datagrams {
            path: TransportContext {
                local_addr: here.local_addr().unwrap(),
                peer_addr: there.local_addr().unwrap(),
                ..TransportContext::default()
            },
            left: 3,
        };
        let mut poll = Poll::new().unwrap();
        let pump = Pump::new([MioSocket::new(here).unwrap()]).unwrap();
        let mut carrier = Carrier {
            core,
            pump,
            watch: None,
            registry: None,
            more: true,
        };
        poll.registry()
            .register(&mut carrier, Token(7), Interest::READABLE)
            .unwrap();
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, None).unwrap();

        // Loopback never fills a socket up, so this one is only told that it is full.
        let socket = carrier.pump.sockets_mut().next().unwrap();
        socket.fill_up();
        let now = Instant::now();
        carrier.drive(now);
        assert!(carrier.pump.is_blocked());
        assert_eq!(carrier.pump.counters().datagrams_sent, 0);
        assert_eq!(carrier.deadline(now), None, "nothing but the event helps");
        carrier.drive(now);
        assert_eq!(carrier.pump.counters().datagrams_sent, 0);

        let socket = carrier.pump.sockets_mut().next().unwrap();
        socket.have_the_system_tell_again(poll.registry());
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            assert!(event.is_writable() && !event.is_readable());
            assert!(carrier.process(event, now));
        }
        assert!(!carrier.pump.is_blocked());
        assert_eq!(carrier.pump.counters().datagrams_sent, 3);
        let state = UdpState::new(&there).unwrap();
        let (mut memory, mut received) = ([0; 100], 0);
        while received < 3 * 8 {
            let mut meta = [RecvMeta::default()];
            let mut bufs = [io::IoSliceMut::new(&mut memory)];
            state.recv(&there, &mut bufs, &mut meta).unwrap();
            received += meta[0].len;
        }
        assert_eq!(received, 3 * 8);
    }

    /// Interfaces with these addresses, and whether that is news.
    #[derive(Clone, Default)]
    struct Addresses(Arc<Mutex<(Vec<IpAddr>, bool)>>);

    impl Addresses {
        fn are_now(&self, addrs: &[&str]) {
            let addrs = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
            *self.0.lock().unwrap() = (addrs, true);
        }
    }

    impl Network for Addresses {
        type Socket = MioSocket;

        fn bind_socket(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<MioSocket> {
            MioSocket::new(options.open(addr)?)
        }

        fn list_interfaces(&self) -> io::Result<Vec<Interface>> {
            let addrs = &self.0.lock().unwrap().0;
            Ok(addrs
                .iter()
                .map(|addr| Interface::new("test", *addr))
                .collect())
        }

        fn watch_interfaces(&self) -> InterfaceChanges {
            let addresses = self.clone();
            InterfaceChanges::new(move |_| {
                match std::mem::take(&mut addresses.0.lock().unwrap().1) {
                    true => std::task::Poll::Ready(()),
                    false => std::task::Poll::Pending,
                }
            })
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn sockets_of_new_interfaces_are_registered() {
        let addresses = Addresses::default();
        addresses.are_now(&["127.0.0.1"]);
        let builder = Builder::new(addresses.clone()).with_loopback(true);
        let mut carrier = Carrier::new(builder.bind_all(Instant::now()).unwrap());
        let mut poll = Poll::new().unwrap();
        poll.registry()
            .register(&mut carrier, Token(32), Interest::READABLE)
            .unwrap();
        carrier.drive(Instant::now());

        addresses.are_now(&["127.0.0.1", "127.0.0.2"]);
        carrier.drive(Instant::now());
        let addrs: Vec<_> = carrier.pump.local_addrs().map(|(addr, _)| addr).collect();
        assert_eq!(addrs[1].ip().to_string(), "127.0.0.2");
        let tokens: Vec<_> = carrier.pump.sockets_mut().map(|it| it.token()).collect();
        assert_eq!(tokens, [Some(Token(32)), Some(Token(33))]);
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"?", addrs[1]).unwrap();
        let mut events = Events::with_capacity(4);
        while carrier.pump.counters().datagrams_received == 0 {
            poll.poll(&mut events, None).unwrap();
            for event in &events {
                assert!(carrier.process(event, Instant::now()));
            }
        }

        addresses.are_now(&["127.0.0.2", "127.0.0.3"]);
        carrier.drive(Instant::now());
        let tokens: Vec<_> = carrier.pump.sockets_mut().map(|it| it.token()).collect();
        assert_eq!(tokens, [Some(Token(33)), Some(Token(32))]);
    }

    #[test]
    fn sockets_beyond_the_last_token_share_with_the_first() {
        let tokens: Vec<_> = tokens(Token(32)).take(TOKENS + 1).collect();
        assert_eq!(tokens[0], Token(32));
        assert_eq!(tokens[TOKENS - 1], Token(32 + TOKENS - 1));
        assert_eq!(tokens[TOKENS], Token(32));
    }
}
