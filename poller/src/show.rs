//! Showing a reply while it is written: each piece goes to the relay as soon as it is there.

use std::future;
use std::time::Duration;

use postern_host::fault;
use postern_shared::LeaseId;
use postern_shared::poller::PostChunk;
use tokio::time::{self, Instant};

use crate::agent::{Draft, Written};
use crate::backoff::Backoff;
use crate::lease::{self, Lease};
use crate::poller::{Bridge, PollerError};
use crate::queue::JobId;
use crate::relay::RelayError;

/// The least time between two calls for one reply: text that flows faster goes in larger pieces.
const PACE: Duration = Duration::from_millis(50);

/// Shows what an agent writes, one call at a time. Returns when the relay will never take it, with
/// the reason, or when the lease is lost, with none.
pub(crate) async fn run(
    bridge: &Bridge,
    job: &JobId,
    draft: &Draft,
) -> Result<Option<RelayError>, PollerError> {
    let mut written = draft.watch();
    let mut shown = Shown::default();
    let mut backoff = Backoff::new();
    let mut lease = None;
    loop {
        let Some(piece) = shown.next_piece(&written.borrow_and_update()) else {
            // The draft holds the sender, so an error cannot come.
            let _ = written.changed().await;
            continue;
        };
        let asked = Instant::now();
        match send(bridge, job, &mut lease, &piece).await? {
            Answer::Taken { cancelled } => {
                backoff.reset();
                shown.note(piece);
                fault::point("poller: chunk taken, next not sent");
                if cancelled {
                    draft.cancel();
                    return future::pending().await;
                }
            }
            Answer::Gap { wanted } => shown.bytes = usize::try_from(wanted).unwrap_or(0),
            Answer::TryAgain(asked) => time::sleep(backoff.next(asked)).await,
            Answer::Over(reason) => return Ok(reason),
        }
        time::sleep_until(asked + PACE).await;
    }
}

/// What the relay says of a piece.
enum Answer {
    Taken {
        cancelled: bool,
    },
    Gap {
        wanted: u64,
    },
    /// It did not answer; it may ask for a wait.
    TryAgain(Option<Duration>),
    /// It takes no more of this reply; without a reason, the lease is lost.
    Over(Option<RelayError>),
}

/// Sends a piece under the lease that was good the last time, or under the one in the queue.
async fn send(
    bridge: &Bridge,
    job: &JobId,
    good_lease: &mut Option<LeaseId>,
    piece: &Piece,
) -> Result<Answer, PollerError> {
    let lease = match good_lease.take() {
        Some(lease) => lease,
        None => match bridge.queue.lease_of(job).await? {
            Some(lease) => lease,
            None => return Ok(Answer::Over(None)),
        },
    };
    let chunk = PostChunk {
        lease_id: lease.clone(),
        offset: piece.offset as u64,
        text: piece.text.clone(),
        progress: piece.progress.clone(),
    };
    let error = match bridge.relay.chunk(job.message, &chunk).await {
        Ok(taken) => {
            *good_lease = Some(lease);
            return Ok(Answer::Taken { cancelled: taken.cancelled });
        }
        Err(RelayError::Gap { wanted }) => return Ok(Answer::Gap { wanted }),
        Err(error @ RelayError::Refused { .. }) => return Ok(Answer::Over(Some(error))),
        Err(error) => error,
    };
    Ok(match lease::judge(bridge, job, lease, error).await? {
        Lease::Lost => Answer::Over(None),
        Lease::Held { .. } => Answer::TryAgain(None),
        Lease::Unknown(asked) => Answer::TryAgain(asked),
    })
}

/// What is to be sent next.
#[derive(Debug, PartialEq)]
struct Piece {
    offset: usize,
    text: String,
    progress: Option<String>,
}

/// How far the relay has come.
#[derive(Debug, Default)]
struct Shown {
    bytes: usize,
    progress: Option<String>,
}

impl Shown {
    /// What the relay does not know; all of it when the relay is at no place of this text.
    fn next_piece(&mut self, written: &Written) -> Option<Piece> {
        if !written.text.is_char_boundary(self.bytes) {
            self.bytes = 0;
        }
        let text = &written.text[self.bytes..];
        let is_news = !text.is_empty() || written.progress != self.progress;
        is_news.then(|| Piece {
            offset: self.bytes,
            text: text.to_owned(),
            progress: written.progress.clone(),
        })
    }

    fn note(&mut self, piece: Piece) {
        self.bytes = piece.offset + piece.text.len();
        self.progress = piece.progress;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, progress: Option<&str>) -> Written {
        Written { text: text.into(), progress: progress.map(Into::into) }
    }

    fn piece(offset: usize, text: &str, progress: Option<&str>) -> Option<Piece> {
        Some(Piece { offset, text: text.into(), progress: progress.map(Into::into) })
    }

    #[test]
    fn each_piece_is_what_the_relay_does_not_know() {
        let mut shown = Shown::default();
        assert_eq!(shown.next_piece(&written("", None)), None);
        let first = shown.next_piece(&written("", Some("thinking")));
        assert_eq!(first, piece(0, "", Some("thinking")));
        shown.note(first.unwrap());
        assert_eq!(shown.next_piece(&written("", Some("thinking"))), None);
        let second = shown.next_piece(&written("Grüße", None));
        assert_eq!(second, piece(0, "Grüße", None));
        shown.note(second.unwrap());
        assert_eq!(shown.next_piece(&written("Grüße an", None)), piece(7, " an", None));
    }

    #[test]
    fn a_relay_that_is_at_no_place_of_the_text_gets_all_of_it() {
        let text = written("Grüße", None);
        for bytes in [3, 8, usize::MAX] {
            let mut shown = Shown { bytes, progress: None };
            assert_eq!(shown.next_piece(&text), piece(0, "Grüße", None), "{bytes}");
        }
        let mut shown = Shown { bytes: 2, progress: None };
        assert_eq!(shown.next_piece(&text), piece(2, "üße", None));
    }
}
