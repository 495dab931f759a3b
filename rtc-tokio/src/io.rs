use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead as _, AsyncWrite as _};
use rtc_driver::{DataChannel, DataChannelIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gives [`DataChannel`] tokio's I/O traits.
pub trait DataChannelExt {
    /// The channel as a stream of bytes with tokio's traits, for `tokio::io::copy` and the like.
    fn into_tokio_io(self) -> TokioIo;
}

impl DataChannelExt for DataChannel {
    fn into_tokio_io(self) -> TokioIo {
        TokioIo(self.into_io())
    }
}

/// [`DataChannelIo`] with tokio's traits.
#[derive(Debug)]
pub struct TokioIo(DataChannelIo);

impl AsyncRead for TokioIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let io = Pin::new(&mut self.get_mut().0);
        let read = ready!(io.poll_read(cx, buf.initialize_unfilled()))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TokioIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_close(cx)
    }
}
