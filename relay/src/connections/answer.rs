//! The requests under way on one connection: from the end of the head to the end of the answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

/// The requests of one connection; clones count the same.
#[derive(Debug, Clone)]
pub(crate) struct Requests(Arc<Mutex<Count>>);

#[derive(Debug)]
struct Count {
    under_way: usize,
    quiet_since: Instant,
    /// Woken when the last of them ends.
    awaits_end: Option<Waker>,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct UnderWay(Requests);

/// A body that holds something until it is sent or given up.
#[derive(Debug)]
pub(crate) struct Holding<T> {
    body: Body,
    _held: T,
}

impl Default for Requests {
    fn default() -> Self {
        let quiet_since = Instant::now();
        Self(Arc::new(Mutex::new(Count { under_way: 0, quiet_since, awaits_end: None })))
    }
}

impl Requests {
    /// Since when none has been under way; while one is, the caller is woken when the last has ended.
    pub(super) fn poll_quiet(&self, cx: &Context<'_>) -> Poll<Instant> {
        let mut count = self.lock();
        if count.under_way == 0 {
            return Poll::Ready(count.quiet_since);
        }
        count.awaits_end = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Counts one more, until what is returned is dropped.
    pub(super) fn begin(&self) -> UnderWay {
        self.lock().under_way += 1;
        UnderWay(self.clone())
    }

    fn end(&self) {
        let mut count = self.lock();
        count.under_way -= 1;
        count.quiet_since = Instant::now();
        if count.under_way == 0
            && let Some(waiting) = count.awaits_end.take()
        {
            drop(count);
            waiting.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The same answer, which holds something until it has been sent or given up.
pub(crate) fn until_sent<T>(answer: Response, held: T) -> Response<Holding<T>> {
    answer.map(|body| Holding { body, _held: held })
}

impl<T: Unpin> http_body::Body for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
