//! Batches: for pollers of another contract, which fetch all that waits and know no leases.
//!
//! A message of a batch is leased like any other, but each of a session's has a lease of its own. A
//! reply that names no message answers the oldest of them.

use std::time::Duration;

use postern_shared::MessageId;
use postern_shared::visitor::Role;
use rusqlite::{Connection, OptionalExtension, named_params};

use super::entries::Latest;
use super::writer::Txn;
use super::{
    NewReply, Now, OpenMessage, Page, Paged, SessionKey, SiteKey, Store, StoreError, inbox, outbox,
    rows,
};

/// For how long a program posts a reply again that it was not told to be stored.
const REPEATED_WITHIN_MS: i64 = 3_600_000;

/// Which messages a batch may take.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Those of this site.
    pub site: SiteKey,
    /// One that had this many leases is left to the sweeper.
    pub max_attempts: u32,
}

/// The rows of `inbox AS waiting` that a batch may take. The lease of one contract's poller, or a
/// pause that it asked for, keeps the other's from the session.
const WAITS: &str = "waiting.site = :site AND coalesce(waiting.visible_at, :now) <= :now
    AND waiting.attempts < :max_attempts AND NOT waiting.cancelled
    AND NOT EXISTS (
        SELECT 1 FROM inbox AS held WHERE held.session = waiting.session
        AND held.visible_at > :now AND coalesce(held.lease_id NOT GLOB 'batch-*', 1))";

impl Store {
    /// Leases up to `limit` messages that wait, in their order, any number of a session. Tells how
    /// many waited before.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn lease_batch(
        &self,
        due: Due,
        limit: u32,
        lease: Duration,
        now: Now,
    ) -> Result<Paged<OpenMessage>, StoreError> {
        self.writer.run(move |txn| lease_batch(txn, due, limit, lease, now)).await
    }

    /// What a batch would take, without leasing it.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn waiting(
        &self,
        due: Due,
        page: Page,
        now: Now,
    ) -> Result<Paged<OpenMessage>, StoreError> {
        self.readers
            .run(move |conn| {
                let snapshot = conn.unchecked_transaction()?;
                let total = count(&snapshot, due, now)?;
                let rows = look(&snapshot, due, page, now)?;
                Ok(Paged { rows, total })
            })
            .await
    }

    /// Stores a reply and acks the message it answers: the one it names, leased or not, else the
    /// oldest of its session that a batch took. A reply that answers nothing and is the same as the
    /// session's latest, within the hour, is that one again.
    ///
    /// # Errors
    /// [`StoreError::UnknownSession`], [`StoreError::UnknownMessage`],
    /// [`StoreError::AlreadyAnswered`] or [`StoreError::DeadLetter`]; then nothing is stored.
    pub async fn answer_batch(&self, reply: NewReply, now: Now) -> Result<MessageId, StoreError> {
        self.writer.run(move |txn| answer(txn, reply, now)).await
    }
}

fn lease_batch(
    txn: &mut Txn<'_>,
    due: Due,
    limit: u32,
    lease: Duration,
    now: Now,
) -> Result<Paged<OpenMessage>, StoreError> {
    let total = count(txn.conn, due, now)?;
    let sql = format!(
        "SELECT session, message FROM inbox AS waiting WHERE {WAITS} ORDER BY message LIMIT :limit"
    );
    let parameters = named_params! {
        ":site": due.site,
        ":now": now.steady_ms,
        ":max_attempts": due.max_attempts,
        ":limit": limit,
    };
    let mut query = txn.conn.prepare_cached(&sql)?;
    let found = inbox::find(&mut query, parameters)?;
    let leased = inbox::take(txn, found, "batch-", lease, now)?;
    Ok(Paged { rows: leased.into_iter().map(|leased| leased.message).collect(), total })
}

fn count(conn: &Connection, due: Due, now: Now) -> Result<u64, StoreError> {
    let sql = format!("SELECT count(*) FROM inbox AS waiting WHERE {WAITS}");
    let parameters = named_params! {
        ":site": due.site,
        ":now": now.steady_ms,
        ":max_attempts": due.max_attempts,
    };
    Ok(conn.prepare_cached(&sql)?.query_row(parameters, |row| row.get(0))?)
}

fn look(conn: &Connection, due: Due, page: Page, now: Now) -> Result<Vec<OpenMessage>, StoreError> {
    let which = format!(
        "(inbox.session, inbox.message) IN (
             SELECT session, message FROM inbox AS waiting WHERE {WAITS})
         ORDER BY message.id LIMIT :limit OFFSET :offset"
    );
    let parameters = named_params! {
        ":site": due.site,
        ":now": now.steady_ms,
        ":max_attempts": due.max_attempts,
        ":limit": page.limit,
        ":offset": page.offset,
    };
    inbox::read_where(conn, &which, parameters)
}

fn answer(txn: &mut Txn<'_>, mut reply: NewReply, now: Now) -> Result<MessageId, StoreError> {
    let latest = Latest::of_named(&mut txn.statements, reply.site, &reply.session)?;
    let session = latest.session();
    let named = reply.answers;
    reply.answers =
        named.map_or_else(|| oldest_leased(txn.conn, session), |named| Ok(Some(named)))?;
    match reply.answers {
        Some(message) => match inbox::find_in_session(txn.conn, message, session) {
            Ok(open) => {
                inbox::dequeue(txn, (open.site, session, message), now)?;
            }
            Err(refused @ StoreError::AlreadyAnswered) => {
                return same_answer(txn.conn, session, &reply)?.ok_or(refused);
            }
            Err(refused) => return Err(refused),
        },
        None => {
            if let Some(latest) = same_as_latest(txn.conn, session, &reply, now)? {
                return Ok(latest);
            }
        }
    }
    let id = outbox::insert(txn, latest, &reply, now)?;
    txn.changes.stored(session);
    Ok(id)
}

/// The message that a reply without a name answers. A lease that has run out still counts, as
/// everywhere.
fn oldest_leased(conn: &Connection, session: SessionKey) -> Result<Option<MessageId>, StoreError> {
    let sql = "SELECT message FROM inbox WHERE session = ?1 AND lease_id GLOB 'batch-*'
               ORDER BY message LIMIT 1";
    let oldest = conn.prepare_cached(sql)?.query_row([session], |row| row.get(0).map(MessageId));
    Ok(oldest.optional()?)
}

/// The reply that a message has, when it is the same.
fn same_answer(
    conn: &Connection,
    session: SessionKey,
    reply: &NewReply,
) -> Result<Option<MessageId>, StoreError> {
    let sql = "SELECT id FROM conversation CROSS JOIN message ON message.id = entry
               WHERE conversation.session = ?1 AND answers = ?2 AND role = ?3 AND text = ?4";
    let answered = reply.answers.map(|id| id.0);
    let row = (session, answered, rows::role_number(Role::Agent), &reply.text);
    Ok(conn.prepare_cached(sql)?.query_row(row, |row| row.get(0).map(MessageId)).optional()?)
}

/// The session's latest reply, when it is the same and not older than a repeat may be.
fn same_as_latest(
    conn: &Connection,
    session: SessionKey,
    reply: &NewReply,
    now: Now,
) -> Result<Option<MessageId>, StoreError> {
    let sql = "SELECT id FROM message WHERE text = ?3 AND at >= ?4 AND id = (
                   SELECT max(id) FROM conversation CROSS JOIN message ON message.id = entry
                   WHERE conversation.session = ?1 AND role = ?2)";
    let since = now.wall_ms.saturating_sub(REPEATED_WITHIN_MS);
    let row = (session, rows::role_number(Role::Agent), &reply.text, since);
    Ok(conn.prepare_cached(sql)?.query_row(row, |row| row.get(0).map(MessageId)).optional()?)
}
