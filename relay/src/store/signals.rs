//! Wake-ups: who waits for new rows is told after the commit that made them.
//!
//! Register first, then query, then wait: a change between the query and the wait is never missed. Most
//! changes come with all there is to know of them, as a [`Step`], and need no query.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use postern_shared::MessageId;
use tokio::sync::{Notify, watch};

use super::{SessionKey, SiteKey, Step, Store};

/// How many steps are kept for those who have not looked yet: as many as come in some hundredths of a
/// second. Whoever comes later reads what was stored.
const STEPS: usize = 256;

/// The longest text that is kept with a step, in bytes: all of them take no more than 4 MiB.
const LONGEST_TEXT: usize = 16 * 1024;

/// What a transaction changed that somebody may be waiting for.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Sessions in which something was said, or whose message has come further; and how, when that is all.
    sessions: Vec<(SessionKey, Option<Step>)>,
    /// Messages whose lease ended: answered, given back, run out, or leased anew.
    pub(super) leases_ended: Vec<MessageId>,
    /// Leased messages to which the visitor wants no reply any more.
    pub(super) cancelled: Vec<MessageId>,
    /// Sites of which a message may be leased that could not be before.
    pub(super) inboxes: BTreeSet<SiteKey>,
    /// The earliest deadline that was set, on the steady clock.
    pub(super) deadline_ms: Option<i64>,
    /// The deadlines known before have been looked at: only `deadline_ms` counts from here on.
    pub(super) deadlines_swept: bool,
}

impl Changes {
    /// Something was stored in a session.
    pub(super) fn stored(&mut self, session: SessionKey) {
        self.sessions.push((session, None));
    }

    /// A session came further by this step, and nothing else was stored in it.
    pub(super) fn stepped(&mut self, session: SessionKey, step: Option<Step>) {
        self.sessions.push((session, step));
    }

    /// Takes what the next job changed, and leaves the room that it had for it.
    pub(super) fn append(&mut self, other: &mut Changes) {
        self.sessions.append(&mut other.sessions);
        self.leases_ended.append(&mut other.leases_ended);
        self.cancelled.append(&mut other.cancelled);
        self.inboxes.append(&mut other.inboxes);
        self.deadlines_swept |= mem::take(&mut other.deadlines_swept);
        // A sweep read the deadlines of the transactions before it, so the earlier one is right.
        self.deadline_ms = self.deadline_ms.into_iter().chain(other.deadline_ms.take()).min();
    }
}

/// How far a session has come.
#[derive(Debug, Default)]
struct Marks {
    /// How often something was stored.
    stored: u64,
    /// The latest two of what was stored, the last one last: a message is often leased in the commit that
    /// stores it.
    steps: [Weak<Step>; 2],
}

impl Marks {
    /// What was stored after so much; `None` when it is to be read.
    fn steps_after(&self, stored: u64) -> Option<Vec<Arc<Step>>> {
        let news = usize::try_from(self.stored.checked_sub(stored)?).ok()?;
        let known = self.steps.len().checked_sub(news)?;
        self.steps[known..].iter().map(Weak::upgrade).collect()
    }
}

/// The sessions that someone watches.
#[derive(Debug, Default)]
struct Watched {
    sessions: HashMap<SessionKey, watch::Sender<Marks>>,
    /// Keeps the latest steps of them.
    steps: VecDeque<Arc<Step>>,
}

impl Watched {
    fn announce(&mut self, session: SessionKey, step: Option<Step>) {
        let Some(sender) = self.sessions.get(&session) else { return };
        let step = step.filter(|step| step.text_bytes() <= LONGEST_TEXT).map(Arc::new);
        let latest = step.as_ref().map(Arc::downgrade).unwrap_or_default();
        sender.send_modify(|marks| {
            marks.stored += 1;
            marks.steps = [mem::take(&mut marks.steps[1]), latest];
        });
        self.steps.extend(step);
        if self.steps.len() > STEPS {
            self.steps.pop_front();
        }
    }
}

/// Everyone who waits.
#[derive(Debug)]
pub(super) struct Signals {
    watched: Mutex<Watched>,
    inboxes: Mutex<HashMap<SiteKey, Arc<Notify>>>,
    /// The next moment at which something happens by the passing of time alone; `i64::MAX` when
    /// nothing will.
    deadline_ms: watch::Sender<i64>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            watched: Mutex::default(),
            inboxes: Mutex::default(),
            deadline_ms: watch::channel(i64::MAX).0,
        }
    }
}

impl Signals {
    /// Wakes whoever waits for one of these changes.
    pub(super) fn announce(&self, changes: Changes) {
        for site in changes.inboxes {
            self.inbox(site).notify_waiters();
        }
        let deadline_ms = changes.deadline_ms.unwrap_or(i64::MAX);
        self.deadline_ms.send_if_modified(|known| {
            let earlier = changes.deadlines_swept || deadline_ms < *known;
            if earlier {
                *known = deadline_ms;
            }
            earlier
        });
        if changes.sessions.is_empty() {
            return;
        }
        let mut watched = self.lock();
        for (session, step) in changes.sessions {
            watched.announce(session, step);
        }
    }

    /// Wakes whoever watches the reply that is being written in a session.
    pub(super) fn announce_draft(&self, session: SessionKey) {
        if let Some(sender) = self.lock().sessions.get(&session) {
            // It is no mark, and wakes them all the same.
            sender.send_modify(|_| {});
        }
    }

    fn inbox(&self, site: SiteKey) -> Arc<Notify> {
        let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(inboxes.entry(site).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is new in a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Something was stored, which is to be read.
    Stored,
    /// This was stored, and nothing else.
    Steps(Vec<Arc<Step>>),
    /// Nothing was stored; the reply that is being written has grown.
    Written,
}

/// Tells when there is news in one session; dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Subscription {
    signals: Arc<Signals>,
    session: SessionKey,
    receiver: Option<watch::Receiver<Marks>>,
    /// How often something had been stored.
    seen: u64,
}

impl Subscription {
    /// Waits for the next news of any kind since this was made or last waited for.
    pub async fn changed(&mut self) -> Change {
        let Some(receiver) = &mut self.receiver else { return std::future::pending().await };
        // The sender lives as long as any subscription does, so an error cannot come.
        let _ = receiver.changed().await;
        let marks = receiver.borrow_and_update();
        let seen = mem::replace(&mut self.seen, marks.stored);
        if seen == marks.stored {
            return Change::Written;
        }
        marks.steps_after(seen).map_or(Change::Stored, Change::Steps)
    }

    /// Waits until something is stored.
    pub async fn stored(&mut self) {
        while self.changed().await == Change::Written {}
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut watched = self.signals.lock();
        drop(self.receiver.take());
        if let Entry::Occupied(entry) = watched.sessions.entry(self.session)
            && entry.get().receiver_count() == 0
        {
            entry.remove();
        }
    }
}

impl Store {
    /// Registers for the news of a session from now on.
    pub fn subscribe(&self, session: SessionKey) -> Subscription {
        let mut watched = self.signals.lock();
        let sender =
            watched.sessions.entry(session).or_insert_with(|| watch::Sender::new(Marks::default()));
        let receiver = sender.subscribe();
        let seen = receiver.borrow().stored;
        Subscription { signals: Arc::clone(&self.signals), session, receiver: Some(receiver), seen }
    }

    /// Registers for a message of a site that can be leased; await it after having looked.
    pub fn inbox_changed(&self, site: SiteKey) -> impl Future<Output = ()> + use<> {
        self.signals.inbox(site).notified_owned()
    }

    /// The next moment, on the steady clock in milliseconds, at which [`Store::expire_leases`] has
    /// something to do; `i64::MAX` when there is none.
    pub fn next_deadline(&self) -> watch::Receiver<i64> {
        self.signals.deadline_ms.subscribe()
    }
}
