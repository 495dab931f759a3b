use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use futures_sink::Sink;

use crate::{DataChannel, DataChannelMessage};

/// A data channel as a stream of bytes.
///
/// What is written leaves in binary messages; what arrives, text too, is read as one run of bytes.
/// Reading ends when the channel is closed. Both sides should use the channel ordered and reliable.
#[derive(Debug)]
pub struct DataChannelIo {
    channel: DataChannel,
    /// Of the message that is being read.
    rest: BytesMut,
}

impl DataChannelIo {
    pub(crate) fn new(channel: DataChannel) -> Self {
        Self {
            channel,
            rest: BytesMut::new(),
        }
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &DataChannel {
        &self.channel
    }
}

impl AsyncRead for DataChannelIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.channel).poll_next(cx)) {
                Some(message) => this.rest = message?.data,
                None => return Poll::Ready(Ok(0)),
            }
        }
        let len = this.rest.len().min(buf.len());
        let (buf, _) = buf.split_at_mut(len);
        this.rest.copy_to_slice(buf);
        if this.rest.is_empty() {
            // It may be the last piece of a large allocation.
            this.rest = BytesMut::new();
        }
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for DataChannelIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.channel).poll_ready(cx))?;
        let (chunk, _) = buf.split_at(buf.len().min(CHUNK));
        if !chunk.is_empty() {
            Pin::new(&mut this.channel).start_send(DataChannelMessage::from(chunk))?;
        }
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().channel)
            .poll_flush(cx)
            .map_err(io::Error::from)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().channel)
            .poll_close(cx)
            .map_err(io::Error::from)
    }
}

/// Size of the messages that are made, bytes: what every peer takes, and little enough that other
/// channels get their turn between two of them (RFC 8831 section 6.6).
const CHUNK: usize = 16 * 1024;
