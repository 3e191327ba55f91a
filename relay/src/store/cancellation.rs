//! Cancellation: a visitor wants no reply to a message any more.

use std::sync::Arc;

use postern_shared::MessageId;
use postern_shared::visitor::Role;

use super::drafts::Drafts;
use super::entries::Latest;
use super::writer::Txn;
use super::{Now, SessionKey, SiteKey, Store, StoreError, inbox, outbox, rows};
use crate::secret::SecretHash;

impl Store {
    /// Cancels an open message of the token's session. Under a lease it is marked, and whoever holds
    /// the lease ends the agent and posts what was written; otherwise it is stopped at once.
    ///
    /// # Errors
    /// [`StoreError::UnknownToken`], [`StoreError::UnknownMessage`],
    /// [`StoreError::AlreadyAnswered`] or [`StoreError::DeadLetter`].
    pub async fn cancel(
        &self,
        message: MessageId,
        token: SecretHash,
        now: Now,
    ) -> Result<(), StoreError> {
        let drafts = Arc::clone(&self.drafts);
        self.writer.run(move |txn| cancel(txn, &drafts, message, &token, now)).await
    }
}

fn cancel(
    txn: &mut Txn<'_>,
    drafts: &Drafts,
    message: MessageId,
    token: &SecretHash,
    now: Now,
) -> Result<(), StoreError> {
    let holder = rows::token_holder(txn.conn, token)?;
    let open = inbox::find_in_session(txn.conn, message, holder.key)?;
    if !open.is_leased(now) {
        return stop(txn, (open.site, holder.key, message), &drafts.text(message), now);
    }
    let sql = "UPDATE inbox SET cancelled = 1 WHERE session = ?1 AND message = ?2";
    txn.statements.get(sql)?.execute((holder.key, message.0))?;
    txn.changes.cancelled.push(message);
    txn.changes.stored(holder.key);
    Ok(())
}

/// Takes a cancelled message out of the inbox; what was written stays as its reply.
pub(super) fn stop(
    txn: &mut Txn<'_>,
    (site, session, message): (SiteKey, SessionKey, MessageId),
    written: &str,
    now: Now,
) -> Result<(), StoreError> {
    inbox::dequeue(txn, (site, session, message), now)?;
    let sql = "INSERT INTO message (session, role, text, answers, at, stopped)
               VALUES (?1, ?2, ?3, ?4, ?5, 1)";
    let role = rows::role_number(Role::Agent);
    let reply = (session, role, written, message.0, now.wall_ms);
    let id = MessageId(txn.statements.get(sql)?.insert(reply)?);
    let latest = Latest::of(txn.conn, session)?.with(txn.conn, None, id)?;
    outbox::count_reply(&mut txn.statements, &latest, now)?;
    txn.changes.stored(session);
    Ok(())
}
