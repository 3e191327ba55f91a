//! The store and its model, side by side.

mod calls;
mod choice;
mod reading;
mod watcher;

use std::fmt::Debug;

use futures_util::FutureExt;
use postern_relay::sites::Site;
use postern_relay::store::{
    NewMessage, NewReply, Now, OpenError, Page, Paged, SessionKey, SiteKey, Store, StoreError,
};
use postern_shared::{LeaseId, MessageId, SiteId};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tempfile::TempDir;

use crate::model::Model;
use crate::op::{Answer, Op, Shown, Time, Which};
use watcher::Watcher;

type Checked = Result<(), TestCaseError>;

const ALL: Page = Page { limit: u32::MAX, offset: 0 };
const START: Now = Now { wall_ms: 1_800_000_000_000, steady_ms: 1_800_000_000_000 };

pub(crate) struct Run {
    folder: TempDir,
    store: Store,
    site: SiteKey,
    model: Model,
    keys: Vec<SessionKey>,
    watchers: Vec<Watcher>,
    leases: Vec<LeaseId>,
    calls: Vec<Call>,
    offered: u64,
    dropped: usize,
}

/// A write that may be repeated.
#[derive(Clone)]
enum Call {
    Accept(NewMessage),
    Reply(NewReply),
}

/// The database in a folder, for the one site that there is.
fn open(folder: &TempDir, now: Now) -> Result<Store, OpenError> {
    let sites = [Site::only(None).stored()];
    Store::open(&folder.path().join("relay.db"), &sites, now).map(|(store, _)| store)
}

impl Run {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder, START).expect("a database");
        Self {
            site: store.site(&SiteId::default()).expect("the only site"),
            store,
            folder,
            model: Model::new(START),
            keys: Vec::new(),
            watchers: Vec::new(),
            leases: Vec::new(),
            calls: Vec::new(),
            offered: 0,
            dropped: 0,
        }
    }

    /// Does one thing, then checks what is open and who was told.
    pub(crate) async fn step(&mut self, op: Op) -> Checked {
        let store = self.store.clone();
        let woken = store.inbox_changed(self.site);
        let (leasable, swept_at) = (self.model.leasable(), self.model.swept_at);
        let before = self.model.views();
        self.model.may_tell = None;
        self.apply(op).await?;
        match op {
            Op::Time(_) => return Ok(()),
            Op::Reopen => return self.check_everything().await,
            _ => self.settle().await,
        }
        let is_new = |id: &MessageId| match op {
            Op::Sweep { .. } => self.model.visible_at(*id) > swept_at,
            _ => !leasable.contains(id),
        };
        if self.model.leasable().iter().any(is_new) {
            prop_assert!(woken.now_or_never().is_some(), "nobody was woken to lease");
        }
        for (session, before) in before.into_iter().enumerate() {
            self.check_told(session, before).await?;
        }
        self.check_drafts()?;
        self.check_deadline(matches!(op, Op::Sweep { .. }))?;
        self.check_inbox().await
    }

    async fn apply(&mut self, op: Op) -> Checked {
        match op {
            Op::Accept(say) => self.accept(self.new_message(say)).await,
            Op::Cancel { message, token } => self.cancel(self.message(message), token).await,
            Op::Rate(rate) => self.rate(rate).await,
            Op::Upload(upload) => self.upload(upload).await,
            Op::SweepFiles { older_than_ms } => self.sweep_files(older_than_ms).await,
            Op::Reply(answer) => self.reply(self.new_reply(answer)).await,
            Op::Again { call, but } => self.repeat(call, but).await,
            Op::Lease { limit, lasts_ms } => self.lease(limit, lasts_ms).await,
            Op::Extend { message, lease, lasts_ms } => {
                let (id, lease) = self.message_under(message, lease);
                self.extend(id, lease, lasts_ms).await
            }
            Op::Nack { message, lease, retry_ms, dead_letter } => {
                let (id, lease) = self.message_under(message, lease);
                self.nack(id, lease, retry_ms, dead_letter).await
            }
            Op::Chunk { message, lease, piece, read } => {
                let (id, lease) = self.message_under(message, lease);
                self.chunk(id, self.new_chunk(id, lease, piece)).await?;
                if read { self.read_draft(id) } else { Ok(()) }
            }
            Op::Requeue(message) => self.requeue(self.message(message)).await,
            Op::Drop(message) => self.drop_dead_letter(self.message(message)).await,
            Op::Sweep { at_deadline } => {
                if at_deadline {
                    self.time_passes(Time::PassesUntilDeadline { short_by_ms: 0 });
                }
                self.sweep().await
            }
            Op::Reopen => self.reopen().await,
            Op::Time(time) => {
                self.time_passes(time);
                Ok(())
            }
            Op::Read(look) => self.read(look).await,
        }
    }

    fn time_passes(&mut self, time: Time) {
        let deadline_ms = self.model.next_deadline();
        let Now { wall_ms, steady_ms } = &mut self.model.now;
        let passed_ms = match time {
            Time::Jumps(ms) => {
                *wall_ms += ms;
                return;
            }
            Time::Passes(ms) => ms,
            Time::PassesUntilDeadline { short_by_ms } => match deadline_ms {
                i64::MAX => 0,
                _ => deadline_ms - short_by_ms - *steady_ms,
            },
        };
        *steady_ms += passed_ms;
        *wall_ms += passed_ms;
    }

    /// Waiters are woken after the caller was answered; the answer to one more write tells that
    /// they have been.
    async fn settle(&self) {
        let nothing = self.store.drop_dead_letter(MessageId(0)).await;
        assert!(matches!(nothing, Err(StoreError::UnknownDeadLetter)));
    }

    fn check_deadline(&self, just_swept: bool) -> Checked {
        let (known, first) = (*self.store.next_deadline().borrow(), self.model.next_deadline());
        prop_assert!(known == first || known < first && !just_swept, "{} for {}", known, first);
        Ok(())
    }

    /// Answers all that is open, as a poller would in the end.
    pub(crate) async fn finish(mut self) -> Checked {
        let (to, lease) = (Some(Which::Leased(0)), Shown::Held);
        let answer = Answer {
            to,
            astray: None,
            lease,
            key: None,
            text: 0,
            stopped: false,
            offers: 0,
            files: 0,
        };
        while !self.model.open_messages().is_empty() {
            self.step(Op::Time(Time::Passes(4_000_000))).await?;
            self.step(Op::Sweep { at_deadline: false }).await?;
            self.step(Op::Lease { limit: 4, lasts_ms: 1_000 }).await?;
            self.step(Op::Reply(answer)).await?;
        }
        self.check_everything().await
    }
}

fn same<T: PartialEq + Debug>(
    got: Result<T, StoreError>,
    expected: Result<T, StoreError>,
) -> Checked {
    prop_assert_eq!(got.map_err(|e| e.to_string()), expected.map_err(|e| e.to_string()));
    Ok(())
}

fn paged<T>(all: Vec<T>, page: Page) -> Paged<T> {
    let total = all.len() as u64;
    let rest = all.into_iter().skip(page.offset as usize);
    Paged { rows: rest.take(page.limit as usize).collect(), total }
}
