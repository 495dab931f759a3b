use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use super::network::{Datagram, HostId, Network};
use super::world::{Shared, State};
use crate::{DatagramSocket, RecvMeta, SendBatch, SocketOptions};

/// What the sockets of a host can do, and how they misbehave; set by
/// [`Host::set_sockets`](super::Host::set_sockets).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketModel {
    /// Datagrams that one send call takes, as systems with segmentation offload do; counts for sockets
    /// that are bound from now on. Default 64.
    pub send_segments: usize,
    /// The first call with more than one datagram fails, and the socket takes one at a time from then
    /// on: what a network card without segmentation offload does.
    pub refuses_segments: bool,
    /// Datagrams that are joined in one receive buffer. Default 64.
    pub recv_segments: usize,
    /// Every so many send calls find no room for a millisecond.
    pub blocks_every: Option<u64>,
    /// No send call finds room, until this is set back.
    pub is_blocked: bool,
    /// Every send call gives this error.
    pub send_error: Option<io::ErrorKind>,
}

impl Default for SocketModel {
    fn default() -> Self {
        Self {
            send_segments: 64,
            refuses_segments: false,
            recv_segments: 64,
            blocks_every: None,
            is_blocked: false,
            send_error: None,
        }
    }
}

/// Calls that were made of the sockets of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketCalls {
    /// Send calls that were taken.
    pub sends: u64,
    /// Datagrams of the largest of them.
    pub largest_batch: usize,
    /// Send calls that found no room.
    pub blocked: u64,
    /// Send and receive calls that gave an error.
    pub errors: u64,
    /// Receive calls that brought something.
    pub receives: u64,
    /// Datagrams that came to a port that nobody has bound.
    pub no_socket: u64,
    /// Datagrams lost because a socket's receive buffer was full.
    pub overflows: u64,
}

/// The sockets of a world.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    inboxes: BTreeMap<u64, Inbox>,
    /// More than one only where all of them allow it.
    bound: BTreeMap<(HostId, SocketAddr), Vec<u64>>,
    next: u64,
}

#[derive(Debug)]
struct Inbox {
    host: HostId,
    addr: SocketAddr,
    reuse_port: bool,
    datagrams: VecDeque<Datagram>,
    bytes: usize,
    capacity: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    errors: VecDeque<io::ErrorKind>,
    /// Comes again and again.
    broken: Option<io::ErrorKind>,
    sends: u64,
}

impl Sockets {
    fn bind(
        &mut self,
        host: HostId,
        addr: SocketAddr,
        options: &SocketOptions,
        next_port: &mut u16,
    ) -> io::Result<(u64, SocketAddr)> {
        let addr = if addr.port() == 0 {
            self.free_addr(host, addr.ip(), next_port)?
        } else {
            addr
        };
        let shares = |key: &u64| self.inboxes.get(key).is_some_and(|it| it.reuse_port);
        let others = self.bound.get(&(host, addr));
        if others.is_some_and(|keys| !(options.reuse_port && keys.iter().all(shares))) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let key = self.next;
        self.next += 1;
        self.bound.entry((host, addr)).or_default().push(key);
        let inbox = Inbox {
            host,
            addr,
            reuse_port: options.reuse_port,
            datagrams: VecDeque::new(),
            bytes: 0,
            capacity: options.receive_buffer.unwrap_or(RECEIVE_BUFFER),
            reader: None,
            writer: None,
            errors: VecDeque::new(),
            broken: None,
            sends: 0,
        };
        self.inboxes.insert(key, inbox);
        Ok((key, addr))
    }

    fn free_addr(&self, host: HostId, ip: IpAddr, next_port: &mut u16) -> io::Result<SocketAddr> {
        for _ in FIRST_PORT..=u16::MAX {
            let addr = SocketAddr::new(ip, (*next_port).max(FIRST_PORT));
            *next_port = addr.port().checked_add(1).unwrap_or(FIRST_PORT);
            if !self.bound.contains_key(&(host, addr)) {
                return Ok(addr);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn close(&mut self, key: u64, network: &mut Network) {
        let Some(inbox) = self.inboxes.remove(&key) else {
            return;
        };
        inbox
            .datagrams
            .into_iter()
            .for_each(|it| network.recycle(it));
        let place = (inbox.host, inbox.addr);
        if let Some(keys) = self.bound.get_mut(&place) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.bound.remove(&place);
            }
        }
    }

    /// Gives a datagram to the socket it is for.
    pub(super) fn deliver(
        &mut self,
        host: HostId,
        datagram: Datagram,
        network: &mut Network,
        calls: &mut SocketCalls,
        wakes: &mut Vec<Waker>,
    ) {
        let to = datagram.destination;
        let any = SocketAddr::new(unspecified(to.ip()), to.port());
        let bound = &self.bound;
        let keys = bound.get(&(host, to)).or_else(|| bound.get(&(host, any)));
        let key = keys.and_then(|keys| match keys.as_slice() {
            [key] => Some(*key),
            keys => {
                let mut hasher = DefaultHasher::new();
                datagram.source.hash(&mut hasher);
                keys.get(hasher.finish() as usize % keys.len().max(1))
                    .copied()
            }
        });
        let Some(inbox) = key.and_then(|key| self.inboxes.get_mut(&key)) else {
            calls.no_socket += 1;
            return network.recycle(datagram);
        };
        if inbox.bytes + datagram.contents.len() > inbox.capacity {
            calls.overflows += 1;
            return network.recycle(datagram);
        }
        inbox.bytes += datagram.contents.len();
        inbox.datagrams.push_back(datagram);
        wakes.extend(inbox.reader.take());
    }

    /// The addresses that are bound on a host.
    pub(super) fn addrs(&self, host: HostId) -> impl Iterator<Item = SocketAddr> {
        self.inboxes
            .values()
            .filter(move |inbox| inbox.host == host)
            .map(|inbox| inbox.addr)
    }

    fn at(&mut self, host: HostId, addr: SocketAddr) -> Option<&mut Inbox> {
        self.inboxes
            .values_mut()
            .find(|inbox| inbox.host == host && inbox.addr == addr)
    }

    /// Has the next receive calls of a socket give errors. `false`: there is no such socket.
    pub(super) fn inject(
        &mut self,
        host: HostId,
        addr: SocketAddr,
        errors: impl IntoIterator<Item = io::ErrorKind>,
        wakes: &mut Vec<Waker>,
    ) -> bool {
        self.at(host, addr)
            .map(|inbox| {
                inbox.errors.extend(errors);
                wakes.extend(inbox.reader.take());
            })
            .is_some()
    }

    /// Has every call of a socket give an error from now on. `false`: there is no such socket.
    pub(super) fn break_socket(
        &mut self,
        host: HostId,
        addr: SocketAddr,
        error: io::ErrorKind,
        wakes: &mut Vec<Waker>,
    ) -> bool {
        self.at(host, addr)
            .map(|inbox| {
                inbox.broken = Some(error);
                wakes.extend(inbox.reader.take());
                wakes.extend(inbox.writer.take());
            })
            .is_some()
    }

    /// Has those that wait for room on a host try again.
    pub(super) fn unblock(&mut self, host: HostId, wakes: &mut Vec<Waker>) {
        for inbox in self.inboxes.values_mut().filter(|it| it.host == host) {
            wakes.extend(inbox.writer.take());
        }
    }
}

/// A UDP socket on a host of a [`World`](super::World).
pub struct TestSocket {
    shared: Arc<Shared>,
    host: HostId,
    key: u64,
    addr: SocketAddr,
    segments: usize,
}

impl TestSocket {
    pub(super) fn bind(
        shared: &Arc<Shared>,
        host: HostId,
        addr: SocketAddr,
        options: &SocketOptions,
    ) -> io::Result<Self> {
        let mut state = shared.lock();
        let State { sockets, hosts, .. } = &mut *state;
        let host_state = hosts.get_mut(&host).ok_or(io::ErrorKind::NotFound)?;
        let ip = addr.ip();
        if !ip.is_unspecified() && !ip.is_loopback() && !host_state.has(ip) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let (key, addr) = sockets.bind(host, addr, options, &mut host_state.next_port)?;
        Ok(Self {
            shared: Arc::clone(shared),
            host,
            key,
            addr,
            segments: host_state.model.send_segments.max(1),
        })
    }

    /// Receives one datagram, with its sender; for servers that a test has on a host.
    ///
    /// # Errors
    /// Those that were injected.
    pub async fn recv_from(&mut self) -> io::Result<(Vec<u8>, SocketAddr)> {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let meta = poll_fn(|cx| {
            let mut meta = [RecvMeta::default()];
            let mut bufs = [IoSliceMut::new(&mut buffer)];
            ready!(self.poll_receive(cx, &mut bufs, &mut meta, 1))?;
            let [meta] = meta;
            Poll::Ready(Ok::<_, io::Error>(meta))
        })
        .await?;
        buffer.truncate(meta.len);
        Ok((buffer, meta.peer))
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// When there is no way, and what the host's [`SocketModel`] says.
    pub async fn send_to(&mut self, contents: &[u8], peer: SocketAddr) -> io::Result<()> {
        poll_fn(|cx| {
            self.poll_send(
                cx,
                &SendBatch {
                    peer,
                    local_ip: None,
                    ecn: None,
                    segment_size: None,
                    contents,
                },
            )
        })
        .await
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
        joined: usize,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        let State {
            sockets,
            hosts,
            network,
            ..
        } = &mut *state;
        let (Some(inbox), Some(host)) = (
            sockets.inboxes.get_mut(&self.key),
            hosts.get_mut(&self.host),
        ) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if let Some(error) = inbox.broken.or_else(|| inbox.errors.pop_front()) {
            host.calls.errors += 1;
            return Poll::Ready(Err(error.into()));
        }
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            *meta = RecvMeta::default();
            let mut segments = 0;
            while let Some(next) = inbox.datagrams.front()
                && (segments == 0 || segments < joined && joins(meta, next, buf.len()))
                && let Some(datagram) = inbox.datagrams.pop_front()
            {
                inbox.bytes -= datagram.contents.len();
                if segments == 0 {
                    *meta = RecvMeta {
                        peer: datagram.source,
                        len: 0,
                        stride: datagram.contents.len(),
                        ecn: datagram.ecn,
                        local_ip: Some(datagram.destination.ip()),
                    };
                }
                // What does not fit in the buffer is cut off, as systems do.
                let len = datagram.contents.len().min(buf.len() - meta.len);
                let to = buf.get_mut(meta.len..meta.len + len);
                if let (Some(to), Some(from)) = (to, datagram.contents.get(..len)) {
                    to.copy_from_slice(from);
                    meta.len += len;
                }
                segments += 1;
                network.recycle(datagram);
            }
            if segments == 0 {
                break;
            }
            count += 1;
        }
        if count == 0 {
            inbox.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        host.calls.receives += 1;
        Poll::Ready(Ok(count))
    }
}

/// Whether `next` can be put behind what `meta` describes.
fn joins(meta: &RecvMeta, next: &Datagram, room: usize) -> bool {
    let len = next.contents.len();
    meta.stride > 0
        && meta.len.is_multiple_of(meta.stride)
        && (1..=meta.stride).contains(&len)
        && meta.len + len <= room
        && meta.peer == next.source
        && meta.ecn == next.ecn
        && meta.local_ip == Some(next.destination.ip())
}

impl DatagramSocket for TestSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let joined = self.max_recv_segments();
        self.poll_receive(cx, bufs, meta, joined)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        let now = state.now;
        let State {
            sockets,
            hosts,
            network,
            timers,
            ..
        } = &mut *state;
        let (Some(inbox), Some(host)) = (
            sockets.inboxes.get_mut(&self.key),
            hosts.get_mut(&self.host),
        ) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        inbox.sends += 1;
        let blocks = |every: u64| inbox.sends.is_multiple_of(every.max(1));
        if host.model.is_blocked {
            inbox.writer = Some(cx.waker().clone());
            host.calls.blocked += 1;
            return Poll::Pending;
        }
        if host.model.blocks_every.is_some_and(blocks) {
            timers.set_once(now + BLOCKED, cx.waker().clone());
            host.calls.blocked += 1;
            return Poll::Pending;
        }
        let size = batch.segment_size.unwrap_or(batch.contents.len()).max(1);
        let segments = batch.contents.len().div_ceil(size).max(1);
        let source = match self.addr.ip() {
            ip if ip.is_unspecified() => {
                batch.local_ip.or_else(|| host.source_for(batch.peer.ip()))
            }
            ip => Some(ip),
        };
        // Nothing leaves a machine from a loopback address.
        let to = batch.peer.ip();
        let reaches =
            |ip: &IpAddr| ip.is_ipv4() == to.is_ipv4() && (!ip.is_loopback() || host.has(to));
        let source = source.filter(|ip| host.has(*ip)).filter(reaches);
        let error = if let Some(error) = inbox.broken.or(host.model.send_error) {
            Some(error)
        } else if segments > 1 && host.model.refuses_segments {
            self.segments = 1;
            Some(io::ErrorKind::Other)
        } else if segments > self.segments || batch.contents.len() > MAX_DATAGRAM {
            Some(io::ErrorKind::InvalidInput)
        } else {
            None
        };
        let source = match (error, source) {
            (None, Some(source)) => source,
            (error, _) => {
                host.calls.errors += 1;
                let error = error.unwrap_or(io::ErrorKind::NetworkUnreachable);
                return Poll::Ready(Err(error.into()));
            }
        };
        host.calls.sends += 1;
        host.calls.largest_batch = host.calls.largest_batch.max(segments);
        let source = SocketAddr::new(source, self.addr.port());
        for index in 0..segments {
            let rest = batch.contents.get(index * size..).unwrap_or_default();
            let contents = network.buffer(rest.get(..size).unwrap_or(rest));
            let mut datagram = Datagram::new(source, batch.peer, contents);
            datagram.ecn = batch.ecn;
            network.send(now, self.host, datagram);
        }
        Poll::Ready(Ok(()))
    }

    fn max_send_segments(&self) -> usize {
        self.segments
    }

    fn max_recv_segments(&self) -> usize {
        let hosts = &self.shared.lock().hosts;
        hosts
            .get(&self.host)
            .map_or(1, |host| host.model.recv_segments.max(1))
    }
}

impl Drop for TestSocket {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let State {
            sockets, network, ..
        } = &mut *state;
        sockets.close(self.key, network);
    }
}

impl fmt::Debug for TestSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestSocket")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

/// The first port that is given to sockets that ask for any.
const FIRST_PORT: u16 = 49_152;
/// What Linux gives by default, bytes.
const RECEIVE_BUFFER: usize = 212_992;
/// How long a socket without room stays so.
const BLOCKED: Duration = Duration::from_millis(1);
/// The longest UDP payload, and the longest batch, bytes.
const MAX_DATAGRAM: usize = 65_507;
