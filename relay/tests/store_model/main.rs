//! The store against a model of it: whatever it is asked, in whatever order, while time moves and
//! the file is closed and opened again, it answers as the design says; nothing is lost or doubled.
//!
//! `PROPTEST_CASES` sets how many runs are made and `PROPTEST_RNG_SEED` repeats them. A run that
//! fails is shrunk to the fewest operations that still fail.

use std::cmp::min;
use std::collections::HashSet;
use std::fmt::Debug;
use std::time::Duration;

use futures_util::FutureExt;
use postern_relay::secret::SecretHash;
use postern_relay::store::{
    Accepted, Entry, FreshSession, IdempotencyKey, Inbox, Nack, NewMessage, NewReply, Now,
    OpenMessage, Page, Paged, SessionKey, SessionRow, Store, StoreError, Subscription,
    TranscriptPage,
};
use postern_shared::operator::DeadLetter;
use postern_shared::visitor::Role;
use postern_shared::{Cursor, LeaseId, MessageId, Metadata, SessionId, Timestamp, Uid};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{
    FailurePersistence, FileFailurePersistence, TestCaseError, contextualize_config,
};
use tempfile::TempDir;

const NOTICE: &str = "Sorry, this message could not be answered. Please try again later.";
const LEASE_RAN_OUT: &str = "no answer before the last lease ran out";
const IP_ADDRESS: &str = "203.0.113.7";
const TEXTS: [&str; 2] = ["hi", " <b>&#039;\u{0}ü\r\n"];
/// The first is too short to open a session.
const KEYS: [&str; 4] = ["short", "a-long-enough-key", "the-next-long-key", "a-third-long-key"];
const ALL: Page = Page { limit: u32::MAX, offset: 0 };

const START: Now = Now { wall_ms: 1_800_000_000_000, steady_ms: 1_800_000_000_000 };
const MAX_ATTEMPTS: u32 = 2;

/// One thing to ask of the store. Numbers pick among the sessions, messages, leases and calls that
/// are there by then.
#[derive(Debug, Clone, Copy)]
enum Op {
    Accept(Say),
    Reply(Answer),
    Again { call: u8, other_text: bool },
    Lease { limit: u32, lasts_ms: i64 },
    Extend { message: Which, lease: Shown, lasts_ms: i64 },
    Nack { message: Which, lease: Shown, retry_ms: i64, dead_letter: bool },
    Requeue(Which),
    Drop(Which),
    Sweep { at_deadline: bool },
    Time(Time),
    Reopen,
    Read(Look),
}

#[derive(Debug, Clone, Copy)]
struct Say {
    to: To,
    token: Token,
    key: Option<u8>,
    text: usize,
    metadata: u8,
}

/// A reply to a message's own session, unless it goes `astray`.
#[derive(Debug, Clone, Copy)]
struct Answer {
    to: Option<Which>,
    astray: Option<To>,
    lease: Shown,
    key: Option<u8>,
    text: usize,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    session: u8,
    position: u8,
    page: Page,
    replies_only: bool,
}

/// Both clocks go on, until the next deadline or just before it at most; or the host's clock jumps.
#[derive(Debug, Clone, Copy)]
enum Time {
    Passes(i64),
    PassesUntilDeadline { short_by_ms: i64 },
    Jumps(i64),
}

/// A session: one that the relay names, one that the caller names, or one that is there.
#[derive(Debug, Clone, Copy)]
enum To {
    Fresh,
    Named(u8),
    Known(u8),
}

/// A token: none, one of the session's own, anybody's, or one that was never given.
#[derive(Debug, Clone, Copy)]
enum Token {
    None,
    Own(u8),
    Any(u8),
    MadeUp,
}

/// A message: a leased one, a dead letter, or any id up to the first that is not taken.
#[derive(Debug, Clone, Copy)]
enum Which {
    Leased(u8),
    DeadLetter(u8),
    Any(u8),
}

/// A lease: the message's latest, any that was ever given, one that never was, or none.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Held,
    Earlier(u8),
    MadeUp,
    None,
}

fn op() -> impl Strategy<Value = Op> {
    let lasts_ms = || select(vec![1_000, 5_000, 60_000, 3_600_000]);
    let retry_ms = select(vec![0, 1_000, 120_000]);
    prop_oneof![
        8 => say().prop_map(Op::Accept),
        5 => answer().prop_map(Op::Reply),
        3 => (any::<u8>(), prop::bool::weighted(0.2))
            .prop_map(|(call, other_text)| Op::Again { call, other_text }),
        8 => (1..=4_u32, lasts_ms()).prop_map(|(limit, lasts_ms)| Op::Lease { limit, lasts_ms }),
        2 => (which(5, 1), shown(), lasts_ms())
            .prop_map(|(message, lease, lasts_ms)| Op::Extend { message, lease, lasts_ms }),
        4 => (which(5, 1), shown(), retry_ms, prop::bool::weighted(0.25)).prop_map(
            |(message, lease, retry_ms, dead_letter)| Op::Nack {
                message, lease, retry_ms, dead_letter,
            }),
        3 => which(1, 5).prop_map(Op::Requeue),
        1 => which(1, 5).prop_map(Op::Drop),
        4 => any::<bool>().prop_map(|at_deadline| Op::Sweep { at_deadline }),
        6 => time().prop_map(Op::Time),
        1 => Just(Op::Reopen),
        3 => look().prop_map(Op::Read),
    ]
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        2 => select(vec![1, 999, 61_000, 4_000_000]).prop_map(Time::Passes),
        3 => (0..=1_i64).prop_map(|short_by_ms| Time::PassesUntilDeadline { short_by_ms }),
        1 => select(vec![-3_600_000, -1_000, 1_000, 3_600_000]).prop_map(Time::Jumps),
    ]
}

prop_compose! {
    fn say()(to in to(), token in token(), key in key(), text in 0..2_usize, metadata in 0..3_u8)
        -> Say {
        Say { to, token, key, text, metadata }
    }
}

prop_compose! {
    fn answer()(to in weighted(0.9, which(5, 1)), astray in weighted(0.2, to()),
                lease in prop_oneof![9 => shown(), 2 => Just(Shown::None)],
                key in key(), text in 0..2_usize) -> Answer {
        Answer { to, astray, lease, key, text }
    }
}

prop_compose! {
    fn look()(session in any::<u8>(), position in any::<u8>(), limit in 1..=4_u32,
              offset in 0..=4_u64, replies_only in any::<bool>()) -> Look {
        Look { session, position, page: Page { limit, offset }, replies_only }
    }
}

fn key() -> impl Strategy<Value = Option<u8>> {
    weighted(0.5, 0..4_u8)
}

fn to() -> impl Strategy<Value = To> {
    let known = (0..8_u8).prop_map(To::Known);
    prop_oneof![6 => known, 1 => Just(To::Fresh), 1 => (0..3_u8).prop_map(To::Named)]
}

fn token() -> impl Strategy<Value = Token> {
    let (own, any) = ((0..4_u8).prop_map(Token::Own), any::<u8>().prop_map(Token::Any));
    prop_oneof![8 => own, 1 => any, 1 => Just(Token::None), 1 => Just(Token::MadeUp)]
}

fn which(leased: u32, dead_letter: u32) -> impl Strategy<Value = Which> {
    prop_oneof![
        leased => (0..6_u8).prop_map(Which::Leased),
        dead_letter => (0..6_u8).prop_map(Which::DeadLetter),
        1 => any::<u8>().prop_map(Which::Any),
    ]
}

fn shown() -> impl Strategy<Value = Shown> {
    let earlier = any::<u8>().prop_map(Shown::Earlier);
    prop_oneof![7 => Just(Shown::Held), 1 => earlier, 1 => Just(Shown::MadeUp)]
}

/// All that a relay has to know, as two lists. The ids count without gaps, which is more than is
/// promised.
struct Model {
    now: Now,
    swept_at: i64,
    sessions: Vec<Session>,
    said: Vec<Said>,
}

struct Session {
    id: SessionId,
    uid: Uid,
    created_at: Timestamp,
    last_active: Timestamp,
    tokens: Vec<SecretHash>,
    opening_key: Option<IdempotencyKey>,
    metadata: Metadata,
    /// The message whose turn it is to be answered.
    turn: Option<MessageId>,
}

/// One entry of a conversation.
#[derive(Clone)]
struct Said {
    session: usize,
    entry: Entry,
    metadata: Metadata,
    key: Option<IdempotencyKey>,
    fate: Fate,
}

#[derive(Clone)]
enum Fate {
    /// It wants an answer. `visible_at` counts once it is its turn.
    Open(Open),
    DeadLetter(DeadLetter),
    /// Answered, dropped, or never in want of an answer.
    Done,
}

#[derive(Clone, Default)]
struct Open {
    visible_at: i64,
    /// For how long it was last hidden.
    hidden_ms: i64,
    attempts: u32,
    lease: Option<LeaseId>,
    error: Option<String>,
}

impl Model {
    fn accept(&mut self, new: &NewMessage, fresh: FreshSession) -> Result<Accepted, StoreError> {
        let holder = new.token.map(|token| self.holder(token).ok_or(StoreError::UnknownToken));
        let holder = holder.transpose()?;
        let named = new.session.as_ref().and_then(|id| self.named(id));
        if let Some(own) = holder.filter(|_| holder == named) {
            return Ok(Accepted { new_visitor: false, ..self.say(own, new, false)? });
        }
        // The answer that opened the session was lost on the way, so the call is made again.
        if let Some(opened) = self.opened_with(new.idempotency) {
            if new.session.is_some() && named != Some(opened) {
                return Err(StoreError::IdempotencyMismatch);
            }
            let accepted = self.say(opened, new, true)?;
            self.sessions[opened].tokens.push(fresh.token);
            return Ok(accepted);
        }
        if named.is_some() {
            return Err(holder.map_or(StoreError::TokenMissing, |_| StoreError::ForeignToken));
        }
        if new.idempotency == Some(IdempotencyKey::of_visitor(KEYS[0])) {
            return Err(StoreError::WeakOpeningKey);
        }
        self.sessions.push(Session {
            id: new.session.clone().unwrap_or(fresh.id),
            // Whoever shows an earlier session's token stays the same visitor.
            uid: holder.map_or(fresh.uid, |earlier| self.sessions[earlier].uid.clone()),
            created_at: moment(self.now),
            last_active: moment(self.now),
            tokens: vec![fresh.token],
            opening_key: new.idempotency,
            metadata: new.metadata.clone().unwrap_or_default(),
            turn: None,
        });
        self.say(self.sessions.len() - 1, new, true)
    }

    /// Stores a visitor's message, unless its key has stored it before.
    fn say(
        &mut self,
        session: usize,
        new: &NewMessage,
        opened: bool,
    ) -> Result<Accepted, StoreError> {
        let metadata = new.metadata.clone().unwrap_or_default();
        let message = match self.earlier(session, Role::Visitor, new.idempotency) {
            Some(earlier) if earlier.entry.text == new.text && earlier.metadata == metadata => {
                earlier.entry.id
            }
            Some(_) => return Err(StoreError::IdempotencyMismatch),
            None => {
                let id = self.add(session, Role::Visitor, &new.text, None, new.idempotency);
                let visible_at = self.now.steady_ms;
                let said = self.said(id);
                said.metadata = metadata;
                said.fate = Fate::Open(Open { visible_at, ..Open::default() });
                self.sessions[session].turn.get_or_insert(id);
                id
            }
        };
        let Session { id, uid, .. } = &self.sessions[session];
        let new_visitor = new.token.is_none();
        Ok(Accepted { message, session: id.clone(), uid: uid.clone(), opened, new_visitor })
    }

    fn post_reply(&mut self, new: &NewReply) -> Result<MessageId, StoreError> {
        let session = self.named(&new.session).ok_or(StoreError::UnknownSession)?;
        if let Some(Said { entry, .. }) = self.earlier(session, Role::Agent, new.idempotency) {
            let same = entry.text == new.text && entry.message_id == new.answers;
            return if same { Ok(entry.id) } else { Err(StoreError::IdempotencyMismatch) };
        }
        if let Some(message) = new.answers {
            self.held(message, new.lease.as_ref())?;
            if self.said(message).session != session {
                return Err(StoreError::ForeignMessage);
            }
            self.close(message, Fate::Done);
        }
        Ok(self.add(session, Role::Agent, &new.text, new.answers, new.idempotency))
    }

    /// What can be leased now, the longest visible first.
    fn leasable(&self) -> Vec<MessageId> {
        let now_ms = self.now.steady_ms;
        self.in_turn(|open| open.visible_at <= now_ms && open.attempts < MAX_ATTEMPTS)
    }

    /// Leases, and tells by id; the lease ids are the store's to make.
    fn lease(&mut self, limit: u32, lasts_ms: i64) -> Vec<OpenMessage> {
        let mut taken = self.leasable();
        taken.truncate(limit as usize);
        let visible_at = self.now.steady_ms + lasts_ms;
        for id in &taken {
            let open = self.open(*id).expect("it can be leased");
            open.attempts += 1;
            open.visible_at = visible_at;
            open.hidden_ms = lasts_ms;
        }
        let mut open = self.open_messages();
        open.retain(|open| taken.contains(&open.id));
        open
    }

    fn extend(&mut self, id: MessageId, lease: &LeaseId, lasts_ms: i64) -> Result<(), StoreError> {
        let visible_at = self.now.steady_ms + lasts_ms;
        let open = self.held(id, Some(lease))?;
        (open.visible_at, open.hidden_ms) = (visible_at, lasts_ms);
        Ok(())
    }

    fn nack(&mut self, id: MessageId, lease: &LeaseId, nack: Nack) -> Result<bool, StoreError> {
        let hidden_ms = nack.retry_after.as_millis() as i64;
        let visible_at = self.now.steady_ms + hidden_ms;
        let open = self.held(id, Some(lease))?;
        let attempts = open.attempts;
        *open = Open { visible_at, hidden_ms, attempts, lease: None, error: Some(nack.error) };
        let give_up = nack.dead_letter || attempts >= MAX_ATTEMPTS;
        if give_up {
            self.give_up(id);
        }
        Ok(give_up)
    }

    /// Gives up what has had its last lease, once that has run out.
    fn sweep(&mut self) -> usize {
        self.swept_at = self.now.steady_ms;
        let now_ms = self.swept_at;
        let over = self.in_turn(|open| open.visible_at <= now_ms && open.attempts >= MAX_ATTEMPTS);
        over.iter().for_each(|id| self.give_up(*id));
        over.len()
    }

    /// It goes before the later messages of its session, but for one that is leased.
    fn requeue(&mut self, id: MessageId) -> Result<(), StoreError> {
        let session = self.drop_dead_letter(id)?;
        self.said(id).fate = Fate::Open(Open { visible_at: 0, ..Open::default() });
        let turn = self.sessions[session].turn;
        if turn.is_none_or(|turn| id < turn && self.lease_of(turn).is_none()) {
            self.next_turn(session, 0);
        }
        Ok(())
    }

    fn drop_dead_letter(&mut self, id: MessageId) -> Result<usize, StoreError> {
        self.dead_letter(id)?;
        self.said(id).fate = Fate::Done;
        Ok(self.said(id).session)
    }

    fn dead_letter(&self, id: MessageId) -> Result<DeadLetter, StoreError> {
        let mut all = self.dead_letters().into_iter();
        all.find(|one| one.message_id == id).ok_or(StoreError::UnknownDeadLetter)
    }

    /// A new run's steady clock begins at the host's time. Nothing is hidden for longer from there
    /// than it was from when it was hidden.
    fn reopen(&mut self) {
        self.now.steady_ms = self.now.wall_ms;
        for said in &mut self.said {
            if let Fate::Open(open) = &mut said.fate {
                open.visible_at = min(open.visible_at, self.now.steady_ms + open.hidden_ms);
            }
        }
    }

    /// An open message, when this lease is its latest or, if none is shown, when it is under one. A
    /// lease that has run out is good until the message is leased again.
    fn held(&mut self, id: MessageId, lease: Option<&LeaseId>) -> Result<&mut Open, StoreError> {
        let now_ms = self.now.steady_ms;
        let found = self.find(id).filter(|said| said.entry.role == Role::Visitor);
        found.ok_or(StoreError::UnknownMessage)?;
        let open = match &mut self.said(id).fate {
            Fate::DeadLetter(_) => return Err(StoreError::DeadLetter),
            Fate::Done => return Err(StoreError::AlreadyAnswered),
            Fate::Open(open) => open,
        };
        match (&open.lease, lease) {
            (None, _) => Err(StoreError::NotLeased),
            (Some(_), None) if open.visible_at <= now_ms => Err(StoreError::NotLeased),
            (Some(held), Some(shown)) if held != shown => Err(StoreError::StaleLease),
            _ => Ok(open),
        }
    }

    /// Makes a dead letter of a message and tells the visitor.
    fn give_up(&mut self, id: MessageId) {
        let Some(Open { attempts, error, .. }) = self.open(id).cloned() else { return };
        let said = self.said(id).clone();
        let session = &self.sessions[said.session];
        let last_active = session.last_active;
        let dead_letter = DeadLetter {
            message_id: id,
            session_id: session.id.clone(),
            uid: session.uid.clone(),
            timestamp: said.entry.timestamp,
            given_up_at: moment(self.now),
            attempts,
            error: Some(error.unwrap_or_else(|| LEASE_RAN_OUT.into())),
        };
        self.close(id, Fate::DeadLetter(dead_letter));
        self.add(said.session, Role::System, NOTICE, Some(id), None);
        self.sessions[said.session].last_active = last_active;
    }

    /// The message wants no answer any more, so it is the turn of the next.
    fn close(&mut self, id: MessageId, fate: Fate) {
        self.said(id).fate = fate;
        self.next_turn(self.find(id).map_or(0, |said| said.session), self.now.steady_ms);
    }

    /// Gives the turn to the oldest open message of a session.
    fn next_turn(&mut self, session: usize, visible_at: i64) {
        let mut all = self.said.iter_mut().filter(|said| said.session == session);
        self.sessions[session].turn = all.find_map(|said| {
            let Fate::Open(next) = &mut said.fate else { return None };
            (next.visible_at, next.hidden_ms) = (visible_at, 0);
            Some(said.entry.id)
        });
    }

    fn add(
        &mut self,
        session: usize,
        role: Role,
        text: &str,
        message_id: Option<MessageId>,
        key: Option<IdempotencyKey>,
    ) -> MessageId {
        let (id, timestamp) = (MessageId(self.said.len() as i64 + 1), moment(self.now));
        let stopped = false;
        let entry = Entry { id, role, text: text.into(), message_id, timestamp, stopped };
        self.said.push(Said { session, entry, metadata: Metadata::new(), key, fate: Fate::Done });
        self.sessions[session].last_active = timestamp;
        id
    }

    /// The message whose turn it is in each session, when it is as wanted, by when it is visible.
    fn in_turn(&self, wanted: impl Fn(&Open) -> bool) -> Vec<MessageId> {
        let turns = self.sessions.iter().filter_map(|session| session.turn);
        let all = turns.filter_map(|id| Some((id, self.find(id)?.open()?)));
        let mut found: Vec<_> = all.filter(|(_, open)| wanted(open)).collect();
        found.sort_by_key(|(id, open)| (open.visible_at, *id));
        found.into_iter().map(|(id, _)| id).collect()
    }

    /// When the next lease, or wait after a nack, ends.
    fn next_deadline(&self) -> i64 {
        let ahead = self.in_turn(|open| open.visible_at > self.now.steady_ms);
        ahead.first().map_or(i64::MAX, |id| self.visible_at(*id))
    }

    fn visible_at(&self, id: MessageId) -> i64 {
        self.find(id).and_then(Said::open).map_or(i64::MAX, |open| open.visible_at)
    }

    fn lease_of(&self, id: MessageId) -> Option<LeaseId> {
        self.find(id)?.open()?.lease.clone()
    }

    fn open_messages(&self) -> Vec<OpenMessage> {
        let open = |said: &Said| {
            let attempts = said.open()?.attempts;
            let Said { session, entry: Entry { id, text, timestamp: at, .. }, metadata, .. } =
                said.clone();
            let Session { id: session, uid, .. } = &self.sessions[session];
            let (session, uid) = (session.clone(), uid.clone());
            Some(OpenMessage { id, session, uid, text, at, metadata, attempts })
        };
        self.said.iter().filter_map(open).collect()
    }

    fn dead_letters(&self) -> Vec<DeadLetter> {
        let given_up = |said: &Said| match &said.fate {
            Fate::DeadLetter(letter) => Some(letter.clone()),
            _ => None,
        };
        self.said.iter().filter_map(given_up).collect()
    }

    fn entries(&self, session: usize) -> Vec<Entry> {
        let of_session = self.said.iter().filter(|said| said.session == session);
        of_session.map(|said| said.entry.clone()).collect()
    }

    /// The sessions, the newest first.
    fn rows(&self, keys: &[SessionKey]) -> Vec<SessionRow> {
        (0..keys.len()).rev().map(|session| self.row(session, keys[session])).collect()
    }

    fn row(&self, session: usize, key: SessionKey) -> SessionRow {
        let all = self.entries(session);
        let count = |role| all.iter().filter(|entry| entry.role == role).count() as u64;
        let Session { id, uid, created_at, last_active, metadata, .. } = &self.sessions[session];
        SessionRow {
            key,
            id: id.clone(),
            uid: uid.clone(),
            created_at: *created_at,
            last_active: *last_active,
            message_count: count(Role::Visitor),
            response_count: count(Role::Agent),
            ip_address: Some(IP_ADDRESS.into()),
            metadata: metadata.clone(),
        }
    }

    fn holder(&self, token: SecretHash) -> Option<usize> {
        self.sessions.iter().position(|session| session.tokens.contains(&token))
    }

    fn named(&self, id: &SessionId) -> Option<usize> {
        self.sessions.iter().position(|session| session.id == *id)
    }

    fn opened_with(&self, key: Option<IdempotencyKey>) -> Option<usize> {
        self.sessions.iter().position(|session| key.is_some() && session.opening_key == key)
    }

    fn earlier(&self, session: usize, role: Role, key: Option<IdempotencyKey>) -> Option<&Said> {
        let mut of_key = self.said.iter().filter(|said| key.is_some() && said.key == key);
        of_key.find(|said| said.session == session && said.entry.role == role)
    }

    fn find(&self, id: MessageId) -> Option<&Said> {
        self.said.iter().find(|said| said.entry.id == id)
    }

    fn said(&mut self, id: MessageId) -> &mut Said {
        self.said.iter_mut().find(|said| said.entry.id == id).expect("a stored entry")
    }

    fn open(&mut self, id: MessageId) -> Option<&mut Open> {
        if let Fate::Open(open) = &mut self.said(id).fate { Some(open) } else { None }
    }
}

impl Said {
    fn open(&self) -> Option<&Open> {
        if let Fate::Open(open) = &self.fate { Some(open) } else { None }
    }
}

type Checked = Result<(), TestCaseError>;

/// A write that may be repeated.
#[derive(Clone)]
enum Call {
    Accept(NewMessage),
    Reply(NewReply),
}

/// The store and its model, side by side.
struct Run {
    folder: TempDir,
    store: Store,
    model: Model,
    keys: Vec<SessionKey>,
    subscriptions: Vec<Subscription>,
    leases: Vec<LeaseId>,
    calls: Vec<Call>,
    offered: u64,
    dropped: usize,
}

impl Run {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            store: Store::open(&folder.path().join("relay.db"), START).expect("a database"),
            folder,
            model: Model { now: START, swept_at: 0, sessions: Vec::new(), said: Vec::new() },
            keys: Vec::new(),
            subscriptions: Vec::new(),
            leases: Vec::new(),
            calls: Vec::new(),
            offered: 0,
            dropped: 0,
        }
    }

    /// Does one thing, then checks what is open and who was woken.
    async fn step(&mut self, op: Op) -> Checked {
        let store = self.store.clone();
        let woken = store.inbox_changed();
        let (leasable, swept_at) = (self.model.leasable(), self.model.swept_at);
        let (stored, listening) = (self.model.said.len(), self.keys.len());
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
        for (session, subscription) in self.subscriptions.iter_mut().enumerate().take(listening) {
            let told = subscription.changed().now_or_never().is_some();
            let said = self.model.said[stored..].iter().any(|said| said.session == session);
            prop_assert!(told || !said, "session {session} was not told");
        }
        self.check_deadline(matches!(op, Op::Sweep { .. }))?;
        self.check_inbox().await
    }

    async fn apply(&mut self, op: Op) -> Checked {
        match op {
            Op::Accept(say) => self.accept(self.new_message(say)).await,
            Op::Reply(answer) => self.reply(self.new_reply(answer)).await,
            Op::Again { call, other_text } => self.repeat(call, other_text).await,
            Op::Lease { limit, lasts_ms } => self.lease(limit, lasts_ms).await,
            Op::Extend { message, lease, lasts_ms } => {
                let (id, now) = (self.message(message), self.model.now);
                let lease = self.shown(id, lease).unwrap_or_else(made_up);
                let expected = self.model.extend(id, &lease, lasts_ms);
                same(self.store.extend(id, lease, span(lasts_ms), now).await.map(drop), expected)
            }
            Op::Nack { message, lease, retry_ms, dead_letter } => {
                let (id, now) = (self.message(message), self.model.now);
                let lease = self.shown(id, lease).unwrap_or_else(made_up);
                let error = format!("broke at {}", now.steady_ms);
                let nack = Nack { error, retry_after: span(retry_ms), dead_letter };
                let expected = self.model.nack(id, &lease, nack.clone());
                same(self.store.nack(id, lease, nack, MAX_ATTEMPTS, now).await, expected)
            }
            Op::Requeue(message) => {
                let id = self.message(message);
                same(self.store.requeue(id).await, self.model.requeue(id))
            }
            Op::Drop(message) => {
                let id = self.message(message);
                let expected = self.model.drop_dead_letter(id).map(drop);
                self.dropped += usize::from(expected.is_ok());
                same(self.store.drop_dead_letter(id).await, expected)
            }
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
            Op::Read(look) => match usize::from(look.session).checked_rem(self.keys.len()) {
                Some(session) => {
                    self.read_session(session, look).await?;
                    self.read_lists(session, look).await
                }
                None => Ok(()),
            },
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

    async fn accept(&mut self, new: NewMessage) -> Checked {
        self.calls.push(Call::Accept(new.clone()));
        self.offered += 1;
        let (id, token) = (format!("fresh-{}", self.offered), format!("token {}", self.offered));
        let token = SecretHash::of(&token);
        let uid = Uid::try_from(format!("{:016x}", self.offered))?;
        let fresh = FreshSession { id: session_id(&id), uid, token };
        let expected = self.model.accept(&new, fresh.clone());
        same(self.store.accept_message(new, fresh, self.model.now).await, expected)?;
        if let Some(opened) = self.model.sessions.get(self.keys.len()) {
            self.settle().await;
            let key = self.store.authorise(opened.id.clone(), token).await?;
            self.keys.push(key);
            self.subscriptions.push(self.store.subscribe(key));
        }
        Ok(())
    }

    async fn reply(&mut self, new: NewReply) -> Checked {
        self.calls.push(Call::Reply(new.clone()));
        let expected = self.model.post_reply(&new);
        same(self.store.post_reply(new, self.model.now).await, expected)
    }

    /// Makes an earlier call again.
    async fn repeat(&mut self, call: u8, other_text: bool) -> Checked {
        let more = if other_text { "!" } else { "" };
        match pick(&self.calls, call) {
            None => Ok(()),
            Some(Call::Accept(mut new)) => {
                new.text += more;
                self.accept(new).await
            }
            Some(Call::Reply(mut new)) => {
                new.text += more;
                self.reply(new).await
            }
        }
    }

    async fn lease(&mut self, limit: u32, lasts_ms: i64) -> Checked {
        let now = self.model.now;
        let leased = self.store.lease(limit, span(lasts_ms), MAX_ATTEMPTS, now).await?;
        let messages: Vec<_> = leased.iter().map(|leased| leased.message.clone()).collect();
        prop_assert_eq!(messages, self.model.lease(limit, lasts_ms));
        for leased in leased {
            prop_assert!(!self.leases.contains(&leased.lease), "a lease id came twice");
            self.leases.push(leased.lease.clone());
            self.model.open(leased.message.id).expect("it is leased").lease = Some(leased.lease);
        }
        Ok(())
    }

    async fn sweep(&mut self) -> Checked {
        let swept = self.store.expire_leases(MAX_ATTEMPTS, i64::MIN, self.model.now).await;
        same(swept, Ok(self.model.sweep()))
    }

    /// Ends this run of the relay and begins another, which sweeps first.
    async fn reopen(&mut self) -> Checked {
        self.store.close().await;
        self.model.reopen();
        self.store = Store::open(&self.folder.path().join("relay.db"), self.model.now)?;
        self.sweep().await?;
        self.settle().await;
        self.subscriptions = self.keys.iter().map(|key| self.store.subscribe(*key)).collect();
        self.check_deadline(true)
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

    async fn check_inbox(&self) -> Checked {
        let open = self.model.open_messages();
        let figures = Inbox { open: open.len() as u64, oldest: open.first().map(|open| open.at) };
        prop_assert_eq!(self.store.inbox().await?, figures);
        same(self.store.open_messages(None, ALL).await, Ok(paged(open, ALL)))
    }

    /// Compares all that is stored, and counts: what was accepted waits, has its one answer, or is
    /// a dead letter that the visitor was told of.
    async fn check_everything(&self) -> Checked {
        self.check_inbox().await?;
        let rows = paged(self.model.rows(&self.keys), ALL);
        same(self.store.sessions(None, ALL).await, Ok(rows))?;
        let letters = self.model.dead_letters();
        same(self.store.dead_letters(ALL).await, Ok(paged(letters, ALL)))?;
        let (mut accepted, mut answered) = (0, HashSet::new());
        for (session, key) in self.keys.iter().enumerate() {
            let all = self.store.entries_after(*key, Cursor::default(), false, ALL.limit).await?;
            prop_assert!(all.is_sorted_by(|one, next| one.id < next.id), "ids rise");
            for entry in &all {
                accepted += u64::from(entry.role == Role::Visitor);
                let answers = entry.message_id.filter(|_| entry.role == Role::Agent);
                prop_assert!(answers.is_none_or(|id| answered.insert(id)), "answered twice");
            }
            prop_assert_eq!(all, self.model.entries(session));
        }
        let waiting = self.store.inbox().await?.open;
        let given_up = self.store.dead_letters(ALL).await?.total + self.dropped as u64;
        prop_assert_eq!(accepted, waiting + answered.len() as u64 + given_up);
        Ok(())
    }

    /// Reads a session in all the ways there are.
    async fn read_session(&self, session: usize, look: Look) -> Checked {
        let Look { position, page, replies_only, .. } = look;
        let (key, all) = (self.keys[session], self.model.entries(session));
        let end = all.last().map_or(0, |last| last.id.0);
        let at = i64::from(position) % (self.model.said.len() as i64 + 2);
        let (cursor, limit) = (Cursor::after(MessageId(at)), page.limit as usize);

        let shown = |entry: &&Entry| !replies_only || entry.role != Role::Visitor;
        let later = all.iter().filter(|entry| entry.id.0 > at).filter(shown);
        let later: Vec<_> = later.take(limit).cloned().collect();
        let is_lost = later.is_empty() && at > end;
        let expected = if is_lost { Err(StoreError::UnknownCursor) } else { Ok(later) };
        same(self.store.entries_after(key, cursor, replies_only, page.limit).await, expected)?;

        let before: Vec<_> = all.iter().filter(|entry| entry.id.0 < at).cloned().collect();
        let (older, entries) = before.split_at(before.len().saturating_sub(limit));
        let end = Cursor::after(MessageId(end));
        let has_more = !older.is_empty();
        let expected = TranscriptPage { entries: entries.to_vec(), end, has_more };
        same(self.store.transcript(key, Some(cursor), page.limit).await, Ok(expected))?;

        let since = all[usize::from(position) % all.len()].timestamp;
        let first = all.iter().find(|entry| entry.timestamp >= since).expect("it is there");
        let before_it = Cursor::after(MessageId(first.id.0 - 1));
        same(self.store.cursor_at(key, since).await, Ok(before_it))?;

        let id = self.model.sessions[session].id.clone();
        let expected = (self.model.row(session, key), paged(all, page));
        same(self.store.session_detail(id.clone(), page).await, Ok(expected))?;
        let token = self.token(Token::Any(position), None).expect("there is one");
        let owns = self.model.holder(token) == Some(session);
        let expected = if owns { Ok(key) } else { Err(StoreError::ForeignToken) };
        same(self.store.authorise(id, token).await, expected)
    }

    /// Reads the lists, since a moment at which something was said.
    async fn read_lists(&self, session: usize, Look { position, page, .. }: Look) -> Checked {
        let all = self.model.entries(session);
        let since = all[usize::from(position) % all.len()].timestamp;
        let mut active = self.model.rows(&self.keys);
        active.retain(|row| row.last_active >= since);
        same(self.store.sessions(Some(since), page).await, Ok(paged(active, page)))?;
        let mut open = self.model.open_messages();
        open.retain(|open| open.at >= since);
        same(self.store.open_messages(Some(since), page).await, Ok(paged(open, page)))?;
        let letters = paged(self.model.dead_letters(), page);
        same(self.store.dead_letters(page).await, Ok(letters))?;
        let id = self.message(Which::DeadLetter(position));
        let found = self.store.dead_letter(id).await.map(|found| found.dead_letter);
        same(found, self.model.dead_letter(id))
    }

    /// Answers all that is open, as a poller would in the end.
    async fn finish(mut self) -> Checked {
        let (to, lease) = (Some(Which::Leased(0)), Shown::Held);
        while !self.model.open_messages().is_empty() {
            self.step(Op::Time(Time::Passes(4_000_000))).await?;
            self.step(Op::Sweep { at_deadline: false }).await?;
            self.step(Op::Lease { limit: 4, lasts_ms: 1_000 }).await?;
            self.step(Op::Reply(Answer { to, astray: None, lease, key: None, text: 0 })).await?;
        }
        self.check_everything().await
    }

    fn new_message(&self, Say { to, token, key, text, metadata }: Say) -> NewMessage {
        let session = self.session(to);
        let token = self.token(token, session.as_ref());
        let page = || (String::from("page"), "/".into());
        NewMessage {
            session,
            token,
            text: TEXTS[text].into(),
            metadata: (metadata > 0).then(|| (1..metadata).map(|_| page()).collect()),
            sent_at: None,
            idempotency: key.map(|key| IdempotencyKey::of_visitor(KEYS[usize::from(key)])),
            ip_address: Some(IP_ADDRESS.into()),
        }
    }

    fn new_reply(&self, Answer { to, astray, lease, key, text }: Answer) -> NewReply {
        let answers = to.map(|which| self.message(which));
        let its_own = answers.and_then(|id| self.model.find(id)).map_or(0, |said| said.session);
        let its_own = self.model.sessions.get(its_own).map(|session| session.id.clone());
        let session = astray.map_or(its_own, |to| self.session(to));
        NewReply {
            session: session.unwrap_or_else(|| session_id("nobody")),
            text: TEXTS[text].into(),
            answers,
            lease: answers.and_then(|id| self.shown(id, lease)),
            sent_at: None,
            stopped: false,
            idempotency: key.map(|key| IdempotencyKey::of_poller(KEYS[usize::from(key)])),
        }
    }

    fn session(&self, to: To) -> Option<SessionId> {
        match to {
            To::Fresh => None,
            To::Named(n) => Some(session_id(&format!("named-{n}"))),
            To::Known(n) => {
                let index = usize::from(n).checked_rem(self.model.sessions.len())?;
                Some(self.model.sessions[index].id.clone())
            }
        }
    }

    fn token(&self, token: Token, session: Option<&SessionId>) -> Option<SecretHash> {
        let all = self.model.sessions.iter();
        let own = all.clone().filter(|one| Some(&one.id) == session);
        match token {
            Token::None => None,
            Token::Own(n) => pick(&own.flat_map(|one| one.tokens.clone()).collect::<Vec<_>>(), n),
            Token::Any(n) => pick(&all.flat_map(|one| one.tokens.clone()).collect::<Vec<_>>(), n),
            Token::MadeUp => Some(SecretHash::of("made up")),
        }
    }

    fn message(&self, which: Which) -> MessageId {
        let leased = || self.model.in_turn(|open| open.lease.is_some());
        let letters = self.model.dead_letters().into_iter().map(|letter| letter.message_id);
        let found = match which {
            Which::Leased(n) => pick(&leased(), n),
            Which::DeadLetter(n) => pick(&letters.collect::<Vec<_>>(), n),
            Which::Any(n) => Some(MessageId(i64::from(n) % (self.model.said.len() as i64 + 2))),
        };
        found.unwrap_or(MessageId(0))
    }

    fn shown(&self, message: MessageId, shown: Shown) -> Option<LeaseId> {
        match shown {
            Shown::Held => self.model.lease_of(message).or_else(|| Some(made_up())),
            Shown::Earlier(n) => pick(&self.leases, n),
            Shown::MadeUp => Some(made_up()),
            Shown::None => None,
        }
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

fn pick<T: Clone>(all: &[T], n: u8) -> Option<T> {
    all.get(usize::from(n).checked_rem(all.len())?).cloned()
}

fn moment(now: Now) -> Timestamp {
    Timestamp::from_millisecond(now.wall_ms).expect("a moment of this century")
}

fn span(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

fn session_id(text: &str) -> SessionId {
    text.parse().expect("a session id")
}

fn made_up() -> LeaseId {
    "made-up".parse().expect("a lease id")
}

fn config() -> ProptestConfig {
    let beside = FileFailurePersistence::WithSource("regressions");
    let failure_persistence: Option<Box<dyn FailurePersistence>> = Some(Box::new(beside));
    contextualize_config(ProptestConfig { cases: 128, failure_persistence, ..Default::default() })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_store_does_what_its_model_does(ops in vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let mut run = Run::start();
            for op in ops {
                run.step(op).await?;
            }
            run.finish().await
        })?;
    }
}
