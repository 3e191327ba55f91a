//! The signals that ask a program to end.

use std::future::Future;

/// Resolves at ctrl-c or SIGTERM. They are caught from the call on, not only once it is awaited; a
/// system that cannot catch them ends the program as it always would.
#[cfg(unix)]
pub fn asked_to_end() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let caught = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = caught else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Resolves at ctrl-c.
#[cfg(not(unix))]
pub fn asked_to_end() -> impl Future<Output = ()> {
    async { drop(tokio::signal::ctrl_c().await) }
}
