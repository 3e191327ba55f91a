//! How many event streams and held calls a session and an address have open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Exceeded, Limit};
use crate::store::SessionKey;

/// When it is worth asking for another: a connection that broke is noticed within half a minute.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Counts what is open; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<Listener, u32>>>);

/// Who has streams open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Listener {
    Session(SessionKey),
    Address(IpAddr),
}

/// One that is open, for as long as it lives.
#[derive(Debug)]
pub(crate) struct CountedStream {
    streams: Streams,
    listeners: Vec<Listener>,
}

impl Streams {
    /// Opens one, unless the session or the address has as many as it may; 0 is no limit.
    pub(crate) fn open(
        &self,
        (session, session_max): (SessionKey, u32),
        (network, address_max): (Option<IpAddr>, u32),
    ) -> Result<CountedStream, Exceeded> {
        let mut listeners = vec![(Listener::Session(session), Limit::SessionStreams, session_max)];
        listeners
            .extend(network.map(|it| (Listener::Address(it), Limit::AddressStreams, address_max)));
        let mut open = self.lock();
        for (listener, limit, quota) in listeners.iter().copied() {
            let is_full = open.get(&listener).is_some_and(|count| *count >= quota);
            if is_full && quota > 0 {
                return Err(Exceeded { limit, quota, window: None, retry_after: RETRY_AFTER });
            }
        }
        let listeners: Vec<_> = listeners.into_iter().map(|(listener, ..)| listener).collect();
        for listener in &listeners {
            *open.entry(*listener).or_default() += 1;
        }
        Ok(CountedStream { streams: self.clone(), listeners })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Listener, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        for listener in &self.listeners {
            let Some(count) = open.get_mut(listener) else { continue };
            *count -= 1;
            if *count == 0 {
                open.remove(listener);
            }
        }
    }
}
