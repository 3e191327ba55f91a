//! Whether the store can write, asked of the disk at most once a second however many ask.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::store::{Store, StoreError};

/// How long an answer serves; the call needs no key, so it must not cost a commit each.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// The latest answer; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct HealthCheck(Arc<Mutex<Option<(Instant, bool)>>>);

impl HealthCheck {
    /// Good when a write reached the disk within the last second, or does now.
    pub(crate) async fn check(&self, store: &Store, clock: Clock) -> Result<(), StoreError> {
        let mut latest = self.0.lock().await;
        if let Some((checked, writable)) = *latest
            && checked.elapsed() < FRESH_FOR
        {
            return writable.then_some(()).ok_or(StoreError::Overloaded);
        }
        let written = store.check_writable(clock.now()).await;
        *latest = Some((Instant::now(), written.is_ok()));
        written
    }
}
