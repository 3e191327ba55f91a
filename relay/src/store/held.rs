//! Held calls for messages: a lease that is waited for shares the commit of its message.
//!
//! A call that has found nothing leaves word of what it wants. Whoever then queues a message queues the
//! lease right behind it and hands it to the call, so that both are on disk at once. What becomes
//! visible in any other way is announced, and the call looks again.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{LeaseTerms, Leased, Now, SiteKey, Store, StoreError};

/// A lease that is queued; whoever drops it leaves the messages to nobody until it runs out.
struct UnderWay(BoxFuture<'static, Result<Vec<Leased>, StoreError>>);

/// Whoever waits for messages, the longest first.
#[derive(Debug, Default)]
pub(super) struct HeldCalls(Mutex<HashMap<SiteKey, VecDeque<Wanted>>>);

/// What one call wants.
#[derive(Debug)]
struct Wanted {
    terms: LeaseTerms,
    call: oneshot::Sender<UnderWay>,
}

/// A call that waits for messages; dropped, it is forgotten.
#[derive(Debug)]
pub struct HeldCall {
    calls: Arc<HeldCalls>,
    handed_over: oneshot::Receiver<UnderWay>,
    under_way: Option<UnderWay>,
}

impl HeldCall {
    /// Waits until a lease is under way for this call.
    pub async fn served(&mut self) {
        match (&mut self.handed_over).await {
            Ok(lease) => self.under_way = Some(lease),
            Err(_) => future::pending().await,
        }
    }

    /// Waits no longer: what was leased for this call, if anything was.
    ///
    /// # Errors
    /// As [`Store::lease`].
    pub async fn leased(mut self) -> Result<Vec<Leased>, StoreError> {
        // Nobody is just handing over while the calls are locked: a lease that came too late would be
        // nobody's until it runs out.
        let calls = self.calls.lock();
        self.handed_over.close();
        drop(calls);
        match self.under_way.take().or_else(|| self.handed_over.try_recv().ok()) {
            Some(lease) => lease.0.await,
            None => Ok(Vec::new()),
        }
    }
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnderWay").finish_non_exhaustive()
    }
}

impl HeldCalls {
    /// Hands what is queued for it to the call that has waited longest.
    fn serve(&self, site: SiteKey, queue: impl FnOnce(&Wanted) -> UnderWay) {
        let mut calls = self.lock();
        let Some(waiting) = calls.get_mut(&site) else { return };
        let mut waiting = std::iter::from_fn(|| waiting.pop_front());
        if let Some(wanted) = waiting.find(|wanted| !wanted.call.is_closed()) {
            let under_way = queue(&wanted);
            let _ = wanted.call.send(under_way);
        }
    }

    fn add(&self, site: SiteKey, wanted: Wanted) {
        let mut calls = self.lock();
        let waiting = calls.entry(site).or_default();
        waiting.retain(|earlier| !earlier.call.is_closed());
        waiting.push_back(wanted);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SiteKey, VecDeque<Wanted>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Leaves word that a call waits for messages; to be registered with [`Store::inbox_changed`], and
    /// to have looked, before.
    pub fn hold_call(&self, site: SiteKey, terms: LeaseTerms) -> HeldCall {
        let (call, handed_over) = oneshot::channel();
        self.held_calls.add(site, Wanted { terms, call });
        HeldCall { calls: Arc::clone(&self.held_calls), handed_over, under_way: None }
    }

    /// To be called right after a write was queued that may bring a message to a site: queues the lease of
    /// a call that waits for one right behind it.
    pub fn serve_held_call(&self, site: SiteKey, now: Now) {
        self.held_calls
            .serve(site, |wanted| UnderWay(self.lease_in_turn(site, wanted.terms, now).boxed()));
    }
}
