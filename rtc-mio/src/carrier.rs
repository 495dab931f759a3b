use std::io;
use std::task::{Context, Waker};
use std::time::Instant;

use mio::event::{Event, Source};
use mio::{Interest, Registry, Token};
use rtc_driver::{Core, Progress, Pump};

use crate::MioSocket;

/// A core with its sockets on a reactor: what connections have in common with whatever else shares
/// sockets.
#[derive(Debug)]
pub(crate) struct Carrier<C> {
    pub(crate) core: C,
    pub(crate) pump: Pump<MioSocket>,
    /// The pump stopped at one of its bounds, or the core was given something since.
    more: bool,
}

impl<C: Core> Carrier<C> {
    pub(crate) fn new(core: C, pump: Pump<MioSocket>) -> Self {
        Self {
            core,
            pump,
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
        self.more = self.pump.drive(&mut cx, now, &mut self.core) == Progress::MoreWork;
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
        self.more = true;
        Ok(())
    }

    fn reregister(&mut self, registry: &Registry, first: Token, how: Interest) -> io::Result<()> {
        for (token, socket) in tokens(first).zip(self.pump.sockets_mut()) {
            socket.reregister(registry, token, how)?;
        }
        self.more = true;
        Ok(())
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
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
    use mio::{Events, Poll};
    use rtc_driver::rtc::peer_connection::RTCEvent;
    use rtc_driver::rtc::shared::{TaggedBytesMut, Transmit, TransportContext};
    use rtc_driver::udp::UdpState;
    use rtc_driver::{RecvMeta, SocketOptions};

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
        let mut carrier = Carrier::new(core, pump);
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

    #[test]
    fn sockets_beyond_the_last_token_share_with_the_first() {
        let tokens: Vec<_> = tokens(Token(32)).take(TOKENS + 1).collect();
        assert_eq!(tokens[0], Token(32));
        assert_eq!(tokens[TOKENS - 1], Token(32 + TOKENS - 1));
        assert_eq!(tokens[TOKENS], Token(32));
    }
}
