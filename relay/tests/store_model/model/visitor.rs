//! What a visitor asks.

use std::mem;

use postern_relay::secret::SecretHash;
use postern_relay::store::{
    Accepted, Feedback, FreshSession, IdempotencyKey, NewMessage, StoreError,
};
use postern_shared::MessageId;
use postern_shared::visitor::Role;

use super::{Fate, Model, Open, Said, Session, files, moment};
use crate::op::KEYS;

impl Model {
    pub(crate) fn accept(
        &mut self,
        new: &NewMessage,
        fresh: FreshSession,
    ) -> Result<Accepted, StoreError> {
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
        // None can wait in a session that is not there.
        if !new.files.is_empty() {
            return Err(StoreError::NotWaiting);
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
            Some(earlier)
                if earlier.entry.text == new.text
                    && earlier.metadata == metadata
                    && files::are(&earlier.entry.files, &new.files) =>
            {
                earlier.entry.id
            }
            Some(_) => return Err(StoreError::IdempotencyMismatch),
            None => {
                self.check_waiting(session, Role::Visitor, &new.files)?;
                let id = self.add(session, Role::Visitor, &new.text, None, new.idempotency);
                let visible_at = self.now.steady_ms;
                let said = self.said(id);
                said.metadata = metadata;
                said.fate = Fate::Open(Open { visible_at, ..Open::default() });
                self.sessions[session].turn.get_or_insert(id);
                self.attach(id, &new.files);
                id
            }
        };
        let Session { id, uid, .. } = &self.sessions[session];
        let new_visitor = new.token.is_none();
        Ok(Accepted { message, session: id.clone(), uid: uid.clone(), opened, new_visitor })
    }

    /// Stops a message at once, unless an agent may be at it: that one is to end first.
    pub(crate) fn cancel(&mut self, id: MessageId, token: SecretHash) -> Result<(), StoreError> {
        let now_ms = self.now.steady_ms;
        let session = self.holder(token).ok_or(StoreError::UnknownToken)?;
        let found = self.find(id).filter(|said| said.session == session);
        found.ok_or(StoreError::UnknownMessage)?;
        let open = self.wanting(id)?;
        if !open.is_leased(now_ms) {
            let written = open.written();
            self.stop(id, &written);
            return Ok(());
        }
        let again = mem::replace(&mut open.cancelled, true);
        self.may_tell = again.then_some((session, true));
        Ok(())
    }

    pub(crate) fn rate(
        &mut self,
        id: MessageId,
        token: SecretHash,
        feedback: Option<Feedback>,
    ) -> Result<(), StoreError> {
        let session = self.holder(token).ok_or(StoreError::UnknownToken)?;
        let is_reply = |said: &&Said| said.session == session && said.entry.role == Role::Agent;
        self.find(id).filter(is_reply).ok_or(StoreError::UnknownReply)?;
        let entry = &mut self.said(id).entry;
        entry.rating = feedback.as_ref().map(|feedback| feedback.rating);
        entry.comment = feedback.and_then(|feedback| feedback.comment);
        Ok(())
    }

    fn opened_with(&self, key: Option<IdempotencyKey>) -> Option<usize> {
        self.sessions.iter().position(|session| key.is_some() && session.opening_key == key)
    }
}
