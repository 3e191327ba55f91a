//! Time as the store wants it: the host's clock for people, a steady one for deadlines.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::store::Now;

/// Hands out [`Now`]; the steady part starts at the host's time and never jumps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    started_ms: i64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), started_ms: wall_ms() }
    }

    pub(crate) fn now(&self) -> Now {
        let elapsed_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Now { wall_ms: wall_ms(), steady_ms: self.started_ms.saturating_add(elapsed_ms) }
    }
}

/// Milliseconds since 1970 by the host's clock; 0 for a clock set before that.
fn wall_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
