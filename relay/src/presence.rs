//! Presence: whether the agent's host is there, told by its poller's own calls and nothing else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_shared::visitor::Host;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

/// Watches the pollers' calls; cheap to clone.
///
/// The host is connected while a call is held, and for a while after the last: between two calls,
/// and when the relay has just started and the poller is on its way back.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    away_after: Duration,
    calls: Arc<Mutex<Calls>>,
    host: Arc<watch::Sender<Host>>,
    connected: Gauge,
}

#[derive(Debug)]
struct Calls {
    held: usize,
    last_ended: Instant,
}

/// One call of a poller, from its beginning until this is dropped.
#[derive(Debug)]
pub(crate) struct Call(Presence);

impl Presence {
    pub(crate) fn start(away_after: Duration, connected: Gauge) -> Self {
        connected.set(1);
        Self {
            away_after,
            calls: Arc::new(Mutex::new(Calls { held: 0, last_ended: Instant::now() })),
            host: Arc::new(watch::Sender::new(Host::Connected)),
            connected,
        }
    }

    /// Notes that a poller calls.
    pub(crate) fn begin_call(&self) -> Call {
        let mut calls = self.lock();
        calls.held += 1;
        self.set(Host::Connected);
        Call(self.clone())
    }

    /// Whether the host is there, now and from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Host> {
        self.host.subscribe()
    }

    /// Notes that the host is away, if it is; otherwise when to look again.
    fn look(&self) -> Result<(), Instant> {
        let calls = self.lock();
        let now = Instant::now();
        let last_seen = if calls.held > 0 { now } else { calls.last_ended };
        if last_seen + self.away_after > now {
            return Err(last_seen + self.away_after);
        }
        self.set(Host::Away);
        Ok(())
    }

    /// To be called under the lock, so that a call and its absence cannot cross.
    fn set(&self, host: Host) {
        self.host.send_if_modified(|known| {
            let is_news = *known != host;
            *known = host;
            is_news
        });
        self.connected.set((host == Host::Connected).into());
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = self.0.lock();
        calls.held -= 1;
        calls.last_ended = Instant::now();
    }
}

/// Notices that the host has gone away; ends when cancelled.
pub(crate) async fn run(presence: Presence, cancelled: CancellationToken) {
    loop {
        let () = match presence.look() {
            Ok(()) => wait_for_a_call(&presence, &cancelled).await,
            Err(look_at) => tokio::select! {
                () = cancelled.cancelled() => {}
                () = time::sleep_until(look_at) => {}
            },
        };
        if cancelled.is_cancelled() {
            return;
        }
    }
}

async fn wait_for_a_call(presence: &Presence, cancelled: &CancellationToken) {
    let mut host = presence.watch();
    tokio::select! {
        () = cancelled.cancelled() => {}
        // The presence holds the sender, so an error cannot come.
        _ = host.wait_for(|host| *host == Host::Connected) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAY_AFTER: Duration = Duration::from_secs(10);

    fn start() -> (Presence, watch::Receiver<Host>) {
        let presence = Presence::start(AWAY_AFTER, Gauge::default());
        let host = presence.watch();
        tokio::spawn(run(presence.clone(), CancellationToken::new()));
        (presence, host)
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_is_away_a_while_after_its_last_call() {
        let (presence, mut host) = start();
        let call = presence.begin_call();
        time::sleep(10 * AWAY_AFTER).await;
        assert_eq!(*host.borrow(), Host::Connected);
        drop(call);
        let ended = Instant::now();
        host.wait_for(|host| *host == Host::Away).await.unwrap();
        assert!(ended.elapsed() >= AWAY_AFTER);
        assert!(ended.elapsed() <= 2 * AWAY_AFTER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_is_back_with_its_first_call() {
        let (presence, mut host) = start();
        host.wait_for(|host| *host == Host::Away).await.unwrap();
        drop(presence.begin_call());
        assert_eq!(*host.borrow(), Host::Connected);
        host.wait_for(|host| *host == Host::Away).await.unwrap();
    }
}
