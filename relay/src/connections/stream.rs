//! A connection's bytes, and the clock that ends it when nothing is asked on it.

use std::future;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{self, Instant, Sleep};

use super::answer::Requests;
use super::gate::Entered;

/// A connection that fails once no request has been under way on it for too long, be it that none
/// comes or that its head does not come to an end.
#[derive(Debug)]
pub(crate) struct WatchedStream {
    stream: TcpStream,
    _entered: Entered,
    requests: Requests,
    idle_deadline: Duration,
    /// Rings at the deadline, or earlier to see where it has moved.
    alarm: Pin<Box<Sleep>>,
    /// Whether the client has yet to take what was written: the system ends that when it takes too
    /// long (`TCP_USER_TIMEOUT`).
    is_writing: bool,
}

impl WatchedStream {
    pub(super) fn new(
        stream: TcpStream,
        entered: Entered,
        requests: Requests,
        idle_deadline: Duration,
    ) -> Self {
        let alarm = Box::pin(time::sleep(idle_deadline));
        Self { stream, _entered: entered, requests, idle_deadline, alarm, is_writing: false }
    }

    /// What the client says first, without taking it; zeros in place of what it has not said yet.
    pub(super) async fn beginning<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        let mut peek =
            |cx: &mut Context<'_>| match self.stream.poll_peek(cx, &mut ReadBuf::new(&mut bytes)) {
                Poll::Pending => self.poll_idle(cx).map(Err),
                peeked => peeked,
            };
        future::poll_fn(|cx| peek(cx)).await?;
        Ok(bytes)
    }

    /// An error once the connection has been idle for too long. While an answer is under way no alarm rings:
    /// thousands of event streams are for hours.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            if self.is_writing {
                return Poll::Pending;
            }
            let deadline = ready!(self.requests.poll_quiet(cx)) + self.idle_deadline;
            if deadline <= Instant::now() {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.alarm.as_mut().reset(deadline);
        }
    }

    fn wrote(
        &mut self,
        cx: &Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let was_writing = mem::replace(&mut self.is_writing, result.is_pending());
        if was_writing && !self.is_writing {
            // The clock goes on.
            cx.waker().wake_by_ref();
        }
        result
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending => self.poll_idle(cx).map(Err),
            read => read,
        }
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
