//! How long to wait between tries: growing, with jitter, capped, and reset by a success.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

const LEAST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(5);

/// The longest wait that is granted to whoever asks for one: it may be asked for by mistake, or to
/// silence this side for good.
const MOST_ASKED: Duration = Duration::from_secs(300);

/// The waits of one loop.
#[derive(Debug)]
pub(crate) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(crate) fn new() -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(LEAST)
            .with_max_delay(MOST)
            .with_jitter()
            .without_max_times();
        Self(builder.build())
    }

    /// The next wait; never shorter than what the other side asked for, up to five minutes.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let wait = self.0.next().unwrap_or(MOST);
        wait.max(asked.unwrap_or_default().min(MOST_ASKED))
    }

    /// The next failure begins anew.
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_never_end() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..50).map(|_| backoff.next(None)).collect();
        assert!(waits[0] >= LEAST && waits[0] <= 2 * LEAST);
        assert!(waits[1..].iter().all(|wait| *wait <= 2 * MOST));
        assert!(waits[20..].iter().all(|wait| *wait >= MOST));
    }

    #[test]
    fn what_the_relay_asks_for_is_the_least() {
        let asked = Duration::from_secs(120);
        assert_eq!(Backoff::new().next(Some(asked)), asked);
    }

    #[test]
    fn nobody_is_silenced_for_good() {
        assert_eq!(Backoff::new().next(Some(Duration::MAX)), MOST_ASKED);
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = Backoff::new();
        for _ in 0..20 {
            backoff.next(None);
        }
        backoff.reset();
        assert!(backoff.next(None) <= 2 * LEAST);
    }
}
