//! What a poller asks.

use postern_relay::store::{Nack, NewChunk, NewReply, OpenMessage, StoreError, Taken};
use postern_shared::visitor::Role;
use postern_shared::{LeaseId, MessageId};

use super::{Draft, Fate, MAX_ATTEMPTS, Model, Open, files};

impl Model {
    /// What can be leased now, the longest visible first.
    pub(crate) fn leasable(&self) -> Vec<MessageId> {
        let is_visible = |open: &Open| open.visible_at <= self.now.steady_ms;
        self.in_turn(|open| is_visible(open) && open.attempts < MAX_ATTEMPTS && !open.cancelled)
    }

    /// Leases, and tells by id; the lease ids are the store's to make.
    pub(crate) fn lease(&mut self, limit: u32, lasts_ms: i64) -> Vec<OpenMessage> {
        let mut taken = self.leasable();
        taken.truncate(limit as usize);
        let visible_at = self.now.steady_ms + lasts_ms;
        for id in &taken {
            let open = self.open(*id).expect("it can be leased");
            open.attempts += 1;
            open.visible_at = visible_at;
            open.hidden_ms = lasts_ms;
            open.draft = None;
        }
        let mut open = self.open_messages();
        open.retain(|open| taken.contains(&open.id));
        open
    }

    /// Keeps a lease; tells its session and whether the message is cancelled.
    pub(crate) fn extend(
        &mut self,
        id: MessageId,
        lease: &LeaseId,
        lasts_ms: i64,
    ) -> Result<(usize, bool), StoreError> {
        let cancelled = self.is_cancelled(id, lease)?;
        let session = self.come_back(id);
        let visible_at = self.now.steady_ms + lasts_ms;
        let open = self.held(id, Some(lease))?;
        (open.visible_at, open.hidden_ms) = (visible_at, lasts_ms);
        Ok((session, cancelled))
    }

    pub(crate) fn is_cancelled(
        &mut self,
        id: MessageId,
        lease: &LeaseId,
    ) -> Result<bool, StoreError> {
        Ok(self.held(id, Some(lease))?.cancelled)
    }

    pub(crate) fn nack(
        &mut self,
        id: MessageId,
        lease: &LeaseId,
        nack: Nack,
    ) -> Result<bool, StoreError> {
        let open = self.held(id, Some(lease))?.clone();
        self.come_back(id);
        if open.cancelled {
            self.stop(id, &open.written());
            return Ok(false);
        }
        if nack.dead_letter || open.attempts >= MAX_ATTEMPTS {
            self.give_up(id, nack.error);
            return Ok(true);
        }
        let hidden_ms = nack.retry_after.as_millis() as i64;
        let visible_at = self.now.steady_ms + hidden_ms;
        let (attempts, error) = (open.attempts, Some(nack.error));
        let given_back = Open { visible_at, hidden_ms, attempts, error, ..Open::default() };
        self.said(id).fate = Fate::Open(given_back);
        Ok(false)
    }

    /// A lease may be used after it ran out. The session is told then, whether or not it has been
    /// told that it ran out: the store keeps no note of that.
    fn come_back(&mut self, id: MessageId) -> usize {
        let session = self.said(id).session;
        let now_ms = self.now.steady_ms;
        if self.find_open(id).is_some_and(|open| !open.is_leased(now_ms)) {
            self.may_tell = Some((session, true));
        }
        session
    }

    /// Takes a piece under a lease that lives, or for a draft that has not been ended.
    pub(crate) fn take_chunk(
        &mut self,
        id: MessageId,
        chunk: &NewChunk,
    ) -> Result<Taken, StoreError> {
        self.versions += 1;
        let (version, now_ms) = (self.versions, self.now.steady_ms);
        let open = self.held(id, Some(&chunk.lease))?;
        if open.draft.is_none() && !open.is_leased(now_ms) {
            return Err(StoreError::StaleLease);
        }
        let cancelled = open.cancelled;
        let draft = open.draft.get_or_insert_with(|| Draft { version, ..Draft::default() });
        draft.take(chunk, version)?;
        let received = draft.text.len();
        // Nothing is new in a repeat, which is told all the same.
        self.may_tell = Some((self.said(id).session, false));
        Ok(Taken { received, cancelled })
    }

    pub(crate) fn post_reply(&mut self, new: &NewReply) -> Result<MessageId, StoreError> {
        let session = self.named(&new.session).ok_or(StoreError::UnknownSession)?;
        if let Some(super::Said { entry, .. }) = self.earlier(session, Role::Agent, new.idempotency)
        {
            let same = entry.text == new.text
                && entry.message_id == new.answers
                && entry.stopped == new.stopped
                && entry.quick_replies == new.quick_replies
                && files::are(&entry.files, &new.files);
            return if same { Ok(entry.id) } else { Err(StoreError::IdempotencyMismatch) };
        }
        if let Some(message) = new.answers {
            self.held(message, new.lease.as_ref())?;
            if self.said(message).session != session {
                return Err(StoreError::ForeignMessage);
            }
        }
        self.check_waiting(session, Role::Agent, &new.files)?;
        if let Some(message) = new.answers {
            self.close(message, Fate::Done);
        }
        let id = self.add(session, Role::Agent, &new.text, new.answers, new.idempotency);
        let entry = &mut self.said(id).entry;
        entry.stopped = new.stopped;
        entry.quick_replies = new.quick_replies.clone();
        self.attach(id, &new.files);
        Ok(id)
    }
}

impl Draft {
    /// The reply is what it was up to the piece, and the piece, unless it was longer already.
    fn take(&mut self, chunk: &NewChunk, version: u64) -> Result<(), StoreError> {
        let wanted = self.text.len();
        let before = self.text.get(..chunk.offset).ok_or(StoreError::OffsetMismatch { wanted })?;
        let reply = format!("{before}{}", chunk.text);
        if !reply.starts_with(&self.text) && !self.text.starts_with(&reply) {
            self.version = version;
            self.text = reply;
        } else if reply.len() > self.text.len() {
            self.text = reply;
        }
        self.progress = chunk.progress.clone();
        Ok(())
    }
}
