//! The model: all that a relay has to know, as two lists.

mod files;
mod operator;
mod poller;
mod reading;
mod time;
mod visitor;

use postern_relay::secret::SecretHash;
use postern_relay::store::{IdempotencyKey, Now, StoreError};
use postern_shared::operator::DeadLetter;
use postern_shared::visitor::{Entry, Role};
use postern_shared::{LeaseId, MessageId, Metadata, SessionId, Timestamp, Uid};

pub(crate) use reading::View;

pub(crate) const IP_ADDRESS: &str = "203.0.113.7";
pub(crate) const MAX_ATTEMPTS: u32 = 2;
pub(crate) const MAX_WAITING: usize = 3;

const NOTICE: &str = "Sorry, this message could not be answered. Please try again later.";

/// The ids count without gaps, which is more than is promised.
pub(crate) struct Model {
    pub(crate) now: Now,
    /// When leases that ran out were last looked for in this run of the relay.
    pub(crate) swept_at: i64,
    pub(crate) sessions: Vec<Session>,
    pub(crate) said: Vec<Said>,
    files: Vec<files::Sent>,
    /// Who may be told, and as what, though nothing changed.
    pub(crate) may_tell: Option<(usize, bool)>,
    /// How many drafts were begun or rewritten.
    versions: u64,
}

pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) tokens: Vec<SecretHash>,
    /// The message whose turn it is to be answered.
    pub(crate) turn: Option<MessageId>,
    uid: Uid,
    created_at: Timestamp,
    last_active: Timestamp,
    opening_key: Option<IdempotencyKey>,
    metadata: Metadata,
}

/// One entry of a conversation.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) session: usize,
    pub(crate) entry: Entry,
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
pub(crate) struct Open {
    pub(crate) lease: Option<LeaseId>,
    pub(crate) draft: Option<Draft>,
    visible_at: i64,
    /// For how long it was last hidden.
    hidden_ms: i64,
    attempts: u32,
    error: Option<String>,
    cancelled: bool,
}

/// A reply that is being written under the message's latest lease.
#[derive(Clone, Default)]
pub(crate) struct Draft {
    /// A reader who has come some way in another version begins anew.
    pub(crate) version: u64,
    pub(crate) text: String,
    pub(crate) progress: Option<String>,
}

impl Model {
    pub(crate) fn new(now: Now) -> Self {
        let (sessions, said, files) = (Vec::new(), Vec::new(), Vec::new());
        Self { now, swept_at: i64::MIN, sessions, said, files, may_tell: None, versions: 0 }
    }

    pub(crate) fn find(&self, id: MessageId) -> Option<&Said> {
        self.said.iter().find(|said| said.entry.id == id)
    }

    pub(crate) fn find_open(&self, id: MessageId) -> Option<&Open> {
        self.find(id)?.open()
    }

    pub(crate) fn lease_of(&self, id: MessageId) -> Option<LeaseId> {
        self.find_open(id)?.lease.clone()
    }

    pub(crate) fn visible_at(&self, id: MessageId) -> i64 {
        self.find_open(id).map_or(i64::MAX, |open| open.visible_at)
    }

    pub(crate) fn holder(&self, token: SecretHash) -> Option<usize> {
        self.sessions.iter().position(|session| session.tokens.contains(&token))
    }

    /// The message whose turn it is in each session, when it is as wanted, by when it is visible.
    pub(crate) fn in_turn(&self, wanted: impl Fn(&Open) -> bool) -> Vec<MessageId> {
        let turns = self.sessions.iter().filter_map(|session| session.turn);
        let all = turns.filter_map(|id| Some((id, self.find_open(id)?)));
        let mut found: Vec<_> = all.filter(|(_, open)| wanted(open)).collect();
        found.sort_by_key(|(id, open)| (open.visible_at, *id));
        found.into_iter().map(|(id, _)| id).collect()
    }

    pub(crate) fn open(&mut self, id: MessageId) -> Option<&mut Open> {
        if let Fate::Open(open) = &mut self.said(id).fate { Some(open) } else { None }
    }

    fn said(&mut self, id: MessageId) -> &mut Said {
        self.said.iter_mut().find(|said| said.entry.id == id).expect("a stored entry")
    }

    fn named(&self, id: &SessionId) -> Option<usize> {
        self.sessions.iter().position(|session| session.id == *id)
    }

    fn earlier(&self, session: usize, role: Role, key: Option<IdempotencyKey>) -> Option<&Said> {
        let mut of_key = self.said.iter().filter(|said| key.is_some() && said.key == key);
        of_key.find(|said| said.session == session && said.entry.role == role)
    }

    /// A message that wants an answer.
    fn wanting(&mut self, id: MessageId) -> Result<&mut Open, StoreError> {
        let found = self.find(id).filter(|said| said.entry.role == Role::Visitor);
        found.ok_or(StoreError::UnknownMessage)?;
        match &mut self.said(id).fate {
            Fate::DeadLetter(_) => Err(StoreError::DeadLetter),
            Fate::Done => Err(StoreError::AlreadyAnswered),
            Fate::Open(open) => Ok(open),
        }
    }

    /// An open message, when this lease is its latest or, if none is shown, when it is under one. A
    /// lease that has run out is good until the message is leased again.
    fn held(&mut self, id: MessageId, lease: Option<&LeaseId>) -> Result<&mut Open, StoreError> {
        let now_ms = self.now.steady_ms;
        let open = self.wanting(id)?;
        match (&open.lease, lease) {
            (None, _) => Err(StoreError::NotLeased),
            (Some(_), None) if !open.is_leased(now_ms) => Err(StoreError::NotLeased),
            (Some(held), Some(shown)) if held != shown => Err(StoreError::StaleLease),
            _ => Ok(open),
        }
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
        let entry = Entry { message_id, ..Entry::new(id, role, text.into(), timestamp) };
        self.said.push(Said { session, entry, metadata: Metadata::new(), key, fate: Fate::Done });
        self.sessions[session].last_active = timestamp;
        id
    }

    /// Answers a cancelled message with what was written.
    fn stop(&mut self, id: MessageId, written: &str) {
        self.close(id, Fate::Done);
        let session = self.said(id).session;
        let reply = self.add(session, Role::Agent, written, Some(id), None);
        self.said(reply).entry.stopped = true;
    }

    /// Makes a dead letter of a message and tells the visitor.
    fn give_up(&mut self, id: MessageId, error: String) {
        let Some(attempts) = self.find_open(id).map(|open| open.attempts) else { return };
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
            error: Some(error),
        };
        self.close(id, Fate::DeadLetter(dead_letter));
        self.add(said.session, Role::System, NOTICE, Some(id), None);
        self.sessions[said.session].last_active = last_active;
    }

    /// The message wants no answer any more; if it was its turn, it is the next one's.
    fn close(&mut self, id: MessageId, fate: Fate) {
        self.said(id).fate = fate;
        let session = self.said(id).session;
        if self.sessions[session].turn == Some(id) {
            self.next_turn(session, self.now.steady_ms);
        }
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
}

impl Said {
    pub(crate) fn open(&self) -> Option<&Open> {
        if let Fate::Open(open) = &self.fate { Some(open) } else { None }
    }
}

impl Open {
    /// Whether it is under a lease that has not run out at a moment.
    fn is_leased(&self, at_ms: i64) -> bool {
        self.lease.is_some() && self.visible_at > at_ms
    }

    fn written(&self) -> String {
        self.draft.as_ref().map_or_else(String::new, |draft| draft.text.clone())
    }
}

fn moment(now: Now) -> Timestamp {
    Timestamp::from_millisecond(now.wall_ms).expect("a moment of this century")
}
