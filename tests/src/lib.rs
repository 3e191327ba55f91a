//! What the end-to-end tests stand on: a relay, pollers, agents and visitors that are all real.
//!
//! Scripts read as the story: `visitor.send("hi").await; assert_eq!(visitor.next_reply().await, …)`.
//! Whatever is awaited here fails the test after [`PATIENCE`] instead of hanging.

#![expect(clippy::panic, reason = "a test that cannot go on gives up")]

mod agent;
mod caller;
mod chaos;
mod configured;
pub mod faults;
mod hostile;
mod poller;
mod process;
mod relay;
pub mod torture;
mod visitor;

use std::future::Future;
use std::time::Duration;

pub use agent::{Asked, TestAgent, Writing};
pub use caller::{Answer, Caller};
pub use chaos::{ChaosProxy, Fault};
pub use configured::ConfiguredRelay;
pub use hostile::{Call, HostileRelay};
pub use poller::{TestPoller, short_leases};
pub use process::{Process, binary};
pub use relay::TestRelay;
pub use visitor::{Draft, Event, Visitor};

/// How long anything may take before a test gives up; generous, for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The poller's key in tests.
pub const API_KEY: &str = "test-api-key-not-a-secret";

/// The operator's key in tests.
pub const ADMIN_KEY: &str = "test-admin-key-not-a-secret";

/// Waits for something that must come.
///
/// # Panics
/// When it does not come within [`PATIENCE`].
#[track_caller]
pub fn soon<T>(what: &str, coming: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let waited = tokio::time::timeout(PATIENCE, coming);
    async move {
        match waited.await {
            Ok(value) => value,
            Err(_) => panic!("{what} did not come, awaited at {caller}"),
        }
    }
}

/// Looks again and again until a condition holds.
///
/// # Panics
/// When it does not hold within [`PATIENCE`].
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    soon(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
