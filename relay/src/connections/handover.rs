//! Answers without end, taken over once hyper has sent their heads: hyper keeps buffers of 16 KiB for
//! what may still be asked on a connection, and after such an answer nothing is.

use std::future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::answer::{Holding, UnderWay};

/// How much is gathered for one write.
const GATHERED: usize = 16 * 1024;

/// The end of a body in chunks.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// An answer's body, as hyper is given it.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// For hyper to send.
    Whole(Holding<UnderWay>),
    /// Of which hyper sends the head only.
    Endless(Handover),
}

/// One connection's body without end, on its way from hyper to [`send_on`].
#[derive(Debug, Clone, Default)]
pub(super) struct Handover(Arc<Mutex<Option<Offer>>>);

#[derive(Debug)]
struct Offer {
    body: Holding<UnderWay>,
    head: Head,
}

#[derive(Debug, PartialEq, Eq)]
enum Head {
    Unwritten,
    Written,
    Sent,
}

impl Handover {
    /// Puts a body aside; what is returned stands for it.
    pub(super) fn offer(self, body: Holding<UnderWay>) -> Outgoing {
        *self.lock() = Some(Offer { body, head: Head::Unwritten });
        Outgoing::Endless(self)
    }

    /// The body, once its head has been sent.
    pub(super) fn take(&self) -> Option<Holding<UnderWay>> {
        let taken = self.lock().take_if(|offer| offer.head == Head::Sent);
        taken.map(|offer| offer.body)
    }

    /// hyper asks for a body, again and again, once it has written the head.
    fn head_is_written(&self) {
        self.go_on(Head::Unwritten, Head::Written);
    }

    /// hyper flushes a connection when all that it has written is out of its buffers.
    fn all_is_sent(&self) {
        self.go_on(Head::Written, Head::Sent);
    }

    fn go_on(&self, from: Head, to: Head) {
        if let Some(offer) = self.lock().as_mut().filter(|offer| offer.head == from) {
            offer.head = to;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Offer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Endless(handover) => {
                handover.head_is_written();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Endless(_) => SizeHint::default(),
        }
    }
}

/// A connection that tells a handover when all that was written is sent.
#[derive(Debug)]
pub(super) struct Telling<T> {
    stream: T,
    handover: Handover,
}

impl<T> Telling<T> {
    pub(super) fn new(stream: T, handover: Handover) -> Self {
        Self { stream, handover }
    }

    pub(super) fn into_inner(self) -> T {
        self.stream
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Telling<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Telling<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.handover.all_is_sent();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Sends a body in chunks (RFC 9112 §7.1) until it ends or nobody listens any more.
pub(super) async fn send_on<T>(stream: &mut T, body: Holding<UnderWay>) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut sending = Sending { stream, body: Some(body), unsent: Vec::new(), sent: 0 };
    future::poll_fn(|cx| sending.poll(cx)).await?;
    stream.shutdown().await
}

/// A body on its way. What it does next is waited for while the client is slow, too: it may be on its
/// turn for something that others wait for.
struct Sending<'a, T> {
    stream: &'a mut T,
    /// `None` once it has ended.
    body: Option<Holding<UnderWay>>,
    /// Chunks, of which so many bytes are sent.
    unsent: Vec<u8>,
    sent: usize,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Sending<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_leaving(cx)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            self.gather(cx)?;
            if self.unsent.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                return if self.body.is_none() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            self.sent +=
                ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent[self.sent..]))?;
            if self.sent == self.unsent.len() {
                // Nothing is kept for a stream on which nothing is said.
                (self.unsent, self.sent) = (Vec::new(), 0);
            }
        }
    }

    /// Ready once the client has gone, or says more: it was told that this is the connection's last
    /// answer, and whoever goes on is not read for ever.
    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut byte = [0];
        Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut byte))
    }

    /// Takes what is there of the body, as far as there is room.
    fn gather(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Some(body) = &mut self.body
            && self.unsent.len() < GATHERED
            && let Poll::Ready(next) = Pin::new(body).poll_frame(cx)
        {
            match next.transpose().map_err(io::Error::other)?.map(Frame::into_data) {
                Some(Ok(data)) => add_chunk(&mut self.unsent, &data),
                Some(Err(_)) => {}
                None => {
                    self.unsent.extend_from_slice(LAST_CHUNK);
                    self.body = None;
                }
            }
        }
        Ok(())
    }
}

fn add_chunk(chunks: &mut Vec<u8>, data: &[u8]) {
    // An empty one would be the last.
    if !data.is_empty() {
        chunks.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        chunks.extend_from_slice(data);
        chunks.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_says_its_length_and_an_empty_one_is_not_sent() {
        let mut chunks = Vec::new();
        for data in [b"sixteen letters!".as_slice(), b"", b"and"] {
            add_chunk(&mut chunks, data);
        }
        assert_eq!(chunks, b"10\r\nsixteen letters!\r\n3\r\nand\r\n");
    }
}
