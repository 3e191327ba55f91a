//! What can be read.

use postern_relay::store::{News, OpenMessage, SessionKey, SessionRow, StoreError, Waiting};
use postern_shared::operator::Ratings;
use postern_shared::visitor::{Entry, Identity, MessageState, Rating, Role};
use postern_shared::{Cursor, MessageId, SiteId};

use super::{Draft, IP_ADDRESS, Model, Said, Session};

/// A session, as those who wait for its news may tell it from what it was.
#[derive(Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) entries: usize,
    /// What waits now, and what those know who have not been told yet whose lease ran out.
    pub(crate) waiting: [Option<Waiting>; 2],
    written: (String, Option<String>),
}

impl View {
    /// What is told of a change: true when something was stored or what waits came further, false
    /// when only the reply that is being written did.
    pub(crate) fn told(&self, after: &View) -> Option<bool> {
        if (self.entries, self.waiting) != (after.entries, after.waiting) {
            return Some(true);
        }
        (self.written != after.written).then_some(false)
    }
}

impl Model {
    pub(crate) fn views(&self) -> Vec<View> {
        (0..self.sessions.len()).map(|session| self.view(session)).collect()
    }

    pub(crate) fn view(&self, session: usize) -> View {
        let turn = self.sessions[session].turn;
        let draft = turn.and_then(|message| self.draft(message)).cloned().unwrap_or_default();
        View {
            entries: self.entries(session).len(),
            waiting: [self.now.steady_ms, self.swept_at].map(|at_ms| self.waiting(session, at_ms)),
            written: (draft.text, draft.progress),
        }
    }

    /// The reply that is being written to a message.
    pub(crate) fn draft(&self, message: MessageId) -> Option<&Draft> {
        self.find_open(message)?.draft.as_ref()
    }

    pub(crate) fn entries(&self, session: usize) -> Vec<Entry> {
        let of_session = self.said.iter().filter(|said| said.session == session);
        of_session.map(|said| said.entry.clone()).collect()
    }

    /// The entries as events tell them: once each, and so of no rating.
    pub(crate) fn told(&self, session: usize) -> Vec<Entry> {
        let all = self.entries(session).into_iter();
        all.map(|entry| Entry { rating: None, comment: None, ..entry }).collect()
    }

    pub(crate) fn entries_after(
        &self,
        session: usize,
        cursor: Cursor,
        replies_only: bool,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.told(session);
        let is_lost = entries.last().is_none_or(|last| cursor > Cursor::after(last.id));
        entries.retain(|entry| Cursor::after(entry.id) > cursor);
        entries.retain(|entry| !replies_only || entry.role != Role::Visitor);
        entries.truncate(limit as usize);
        if is_lost { Err(StoreError::UnknownCursor) } else { Ok(entries) }
    }

    pub(crate) fn news(
        &self,
        session: usize,
        cursor: Cursor,
        limit: u32,
    ) -> Result<News, StoreError> {
        let entries = self.entries_after(session, cursor, false, limit)?;
        Ok(News { entries, waiting: self.waiting(session, self.now.steady_ms) })
    }

    fn waiting(&self, session: usize, at_ms: i64) -> Option<Waiting> {
        let message = self.sessions[session].turn?;
        let open = self.find_open(message)?;
        let state = if open.cancelled {
            MessageState::Cancelled
        } else if open.is_leased(at_ms) {
            MessageState::Working
        } else if open.attempts > 0 {
            MessageState::Retrying
        } else {
            MessageState::Waiting
        };
        Some(Waiting { message, state })
    }

    pub(crate) fn open_messages(&self) -> Vec<OpenMessage> {
        let open = |said: &Said| {
            let attempts = said.open()?.attempts;
            let Said {
                session, entry: Entry { id, text, timestamp: at, files, .. }, metadata, ..
            } = said.clone();
            let Session { id: session, uid, .. } = &self.sessions[session];
            let (session, uid) = (session.clone(), uid.clone());
            let visitor = Identity::unverified(&metadata);
            Some(OpenMessage { id, session, uid, visitor, text, at, metadata, files, attempts })
        };
        self.said.iter().filter_map(open).collect()
    }

    /// The sessions, the newest first.
    pub(crate) fn rows(&self, keys: &[SessionKey]) -> Vec<SessionRow> {
        (0..keys.len()).rev().map(|session| self.row(session, keys[session])).collect()
    }

    pub(crate) fn row(&self, session: usize, key: SessionKey) -> SessionRow {
        let all = self.entries(session);
        let count = |role| all.iter().filter(|entry| entry.role == role).count() as u64;
        let rated = |rating| all.iter().filter(|entry| entry.rating == Some(rating)).count() as u64;
        let Session { id, uid, created_at, last_active, metadata, .. } = &self.sessions[session];
        SessionRow {
            key,
            id: id.clone(),
            site: SiteId::default(),
            uid: uid.clone(),
            visitor: Identity::unverified(metadata),
            created_at: *created_at,
            last_active: *last_active,
            message_count: count(Role::Visitor),
            response_count: count(Role::Agent),
            ratings: Ratings { up: rated(Rating::Up), down: rated(Rating::Down) },
            ip_address: Some(IP_ADDRESS.into()),
            metadata: metadata.clone(),
        }
    }
}
