//! A runtime whose network loses datagrams.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use rtc::shared::{Rng, TransportProtocol};
use rtc_driver::{DatagramSocket, RecvMeta, Runtime, SendBatch, SocketOptions};
use sha2::{Digest as _, Sha256};

/// A runtime whose sockets drop a share of the datagrams, of those that come and of those that leave.
#[derive(Debug, Clone)]
pub(crate) struct Lossy<R> {
    inner: R,
    share: f64,
}

impl<R> Lossy<R> {
    /// Drops this share of the datagrams, from 0 to 1.
    pub(crate) fn new(inner: R, share: f64) -> Self {
        Self { inner, share }
    }
}

impl<R: Runtime> Runtime for Lossy<R> {
    type Socket = LossySocket<R::Socket>;
    type Timer = R::Timer;

    fn wrap(&self, socket: UdpSocket) -> io::Result<Self::Socket> {
        self.inner
            .wrap(socket)
            .map(|it| LossySocket::new(it, self.share))
    }

    fn bind(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<Self::Socket> {
        let socket = self.inner.bind(addr, options)?;
        Ok(LossySocket::new(socket, self.share))
    }

    fn timer(&self) -> Self::Timer {
        self.inner.timer()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.inner.spawn(future);
    }

    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        self.inner.resolve(host, port)
    }
}

/// A socket that drops datagrams.
#[derive(Debug)]
pub(crate) struct LossySocket<S> {
    inner: S,
    share: f64,
    rng: Rng,
}

impl<S> LossySocket<S> {
    fn new(inner: S, share: f64) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = time.unwrap_or_default().as_nanos();
        Self {
            inner,
            share,
            rng: Rng::from_seed(Sha256::digest(nanos.to_le_bytes()).into()),
        }
    }

    fn drops(&mut self) -> bool {
        self.share > 0.0 && self.rng.unit() < self.share
    }

    /// Takes dropped datagrams out of a filled buffer.
    fn thin(&mut self, buffer: &mut [u8], meta: &mut RecvMeta) {
        let stride = if meta.stride == 0 {
            meta.len
        } else {
            meta.stride
        };
        let (mut from, mut kept) = (0, 0);
        while from < meta.len {
            let to = (from + stride).min(meta.len);
            if !self.drops() {
                buffer.copy_within(from..to, kept);
                kept += to - from;
            }
            from = to;
        }
        meta.len = kept;
        meta.stride = stride;
    }
}

impl<S: DatagramSocket> DatagramSocket for LossySocket<S> {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let polled = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = polled {
            for (buffer, meta) in bufs.iter_mut().zip(meta).take(count) {
                self.thin(buffer, meta);
            }
        }
        polled
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        if self.drops() {
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_send(cx, batch)
    }

    fn protocol(&self) -> TransportProtocol {
        self.inner.protocol()
    }

    /// Datagrams leave one by one, so that each has its own fate.
    fn max_send_segments(&self) -> usize {
        1
    }

    fn max_recv_segments(&self) -> usize {
        self.inner.max_recv_segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_that_are_kept_stay_whole() {
        let mut lost = 0;
        for _ in 0..100 {
            let mut socket = LossySocket::new((), 0.5);
            let mut buffer = *b"aaabbbcccd";
            let mut meta = RecvMeta {
                len: 10,
                stride: 3,
                ..RecvMeta::default()
            };
            socket.thin(&mut buffer, &mut meta);
            let kept = &buffer[..meta.len];
            for datagram in kept.chunks(meta.stride) {
                assert!([&b"aaa"[..], b"bbb", b"ccc", b"d"].contains(&datagram));
            }
            lost += 10 - kept.len();
        }
        assert!((300..700).contains(&lost), "{lost}");
    }
}
