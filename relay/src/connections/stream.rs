//! A connection's bytes, and the clock that ends it when nothing is asked on it.

use std::future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{self, Instant, Sleep};

use super::answer::Requests;
use super::gate::Entered;

/// How soon it is looked again whether an answer under way has come to its end, should nobody ask before.
/// Thousands of event streams are under way for hours.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

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
    /// Whether it rings to see whether the answer under way has come to its end.
    looks_again: bool,
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
        let (looks_again, is_writing) = (false, false);
        Self { stream, _entered: entered, requests, idle_deadline, alarm, looks_again, is_writing }
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

    /// An error once the connection has been idle for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            if self.looks_again
                && let Some(deadline) = self.deadline()
            {
                self.ring(deadline, false);
            }
            ready!(self.alarm.as_mut().poll(cx));
            let now = Instant::now();
            match self.deadline() {
                Some(deadline) if deadline <= now => {
                    return Poll::Ready(io::ErrorKind::TimedOut.into());
                }
                Some(deadline) => self.ring(deadline, false),
                None => self.ring(now + self.idle_deadline.max(LOOK_AGAIN), true),
            }
        }
    }

    /// `None` while an answer is under way.
    fn deadline(&self) -> Option<Instant> {
        let idle_since = self.requests.quiet_since().filter(|_| !self.is_writing);
        idle_since.map(|since| since + self.idle_deadline)
    }

    fn ring(&mut self, at: Instant, looks_again: bool) {
        self.alarm.as_mut().reset(at);
        self.looks_again = looks_again;
    }

    fn wrote(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.is_writing = result.is_pending();
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
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(result)
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
