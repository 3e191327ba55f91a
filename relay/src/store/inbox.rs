//! The inbox: messages that want an answer are leased, kept, given back, or given up.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use postern_shared::visitor::{MessageState, Role};
use postern_shared::{LeaseId, MessageId, Timestamp};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, Statement, ToSql, named_params};

use super::drafts::Drafts;
use super::rows::{FILES, JOIN_VISITOR, VISITOR};
use super::statements::Statements;
use super::writer::Txn;
use super::{Now, OpenMessage, Page, Paged, SessionKey, SiteKey, Step, Store, StoreError, Waiting};
use super::{cancellation, entries, rows};
use crate::secret::random_bytes;

/// The longest error text that is kept, in characters.
const MAX_ERROR_CHARS: usize = 1_000;

/// A message and the right to answer it.
#[derive(Debug, Clone, PartialEq)]
pub struct Leased {
    /// The message; its attempts count this lease.
    pub message: OpenMessage,
    /// Proves the lease.
    pub lease: LeaseId,
}

/// What a lease is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// At most so many messages.
    pub limit: u32,
    /// For so long.
    pub lasts: Duration,
    /// None that had this many leases: they are left to the sweeper.
    pub max_attempts: u32,
}

/// Why and how a message is given back.
#[derive(Debug, Clone)]
pub struct Nack {
    /// What went wrong.
    pub error: String,
    /// How long it stays invisible.
    pub retry_after: Duration,
    /// Whether it is given up for good.
    pub dead_letter: bool,
}

/// The inbox in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbox {
    /// How many messages want an answer.
    pub open: u64,
    /// When the oldest of them was stored.
    pub oldest: Option<Timestamp>,
}

/// An open message as a change to it needs it.
pub(super) struct Open {
    pub(super) session: SessionKey,
    pub(super) site: SiteKey,
    pub(super) cancelled: bool,
    attempts: u32,
    lease: Option<LeaseId>,
    visible_at: Option<i64>,
}

impl Open {
    /// Whether an agent may be at work for it.
    pub(super) fn is_leased(&self, now: Now) -> bool {
        self.lease.is_some() && self.visible_at > Some(now.steady_ms)
    }
}

/// A lease as it was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The session of its message.
    pub session: SessionKey,
    /// Whether the visitor wants no reply any more.
    pub cancelled: bool,
}

impl Store {
    /// Leases visible messages of a site, the longest visible first, at most the oldest of each session.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn lease(
        &self,
        site: SiteKey,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Vec<Leased>, StoreError> {
        // Most calls find nothing, and a look takes less than a turn in the writer's queue.
        let look = move |conn: &Connection| is_any_visible(conn, site, terms.max_attempts, now);
        if !self.readers.run_here(look).await? {
            return Ok(Vec::new());
        }
        self.lease_in_turn(site, terms, now).await
    }

    /// The same in the writer's turn, behind everything that is queued for it.
    pub(super) fn lease_in_turn(
        &self,
        site: SiteKey,
        terms: LeaseTerms,
        now: Now,
    ) -> impl Future<Output = Result<Vec<Leased>, StoreError>> + Send + use<> {
        self.writer.run_for_agent(move |txn: &mut Txn<'_>| lease_visible(txn, site, terms, now))
    }

    /// Keeps a lease: it runs out `lease` from now.
    ///
    /// # Errors
    /// [`StoreError::UnknownMessage`], [`StoreError::StaleLease`], [`StoreError::NotLeased`],
    /// [`StoreError::AlreadyAnswered`] or [`StoreError::DeadLetter`].
    pub async fn extend(
        &self,
        message: MessageId,
        lease_id: LeaseId,
        lease: Duration,
        now: Now,
    ) -> Result<Kept, StoreError> {
        self.writer.run_checked(move |txn| keep(txn, message, &lease_id, lease, now)).await
    }

    /// Whether the visitor wants no reply any more to a message under this lease.
    ///
    /// # Errors
    /// As [`Store::extend`].
    pub async fn is_cancelled(
        &self,
        message: MessageId,
        lease_id: LeaseId,
        now: Now,
    ) -> Result<bool, StoreError> {
        self.readers
            .run(move |conn| {
                let found = conn.prepare_cached(FIND_OPEN)?.query_row([message.0], open);
                Ok(under_lease(conn, message, found, Some(&lease_id), now)?.cancelled)
            })
            .await
    }

    /// Gives a leased message back. True when it became a dead letter.
    ///
    /// # Errors
    /// As [`Store::extend`].
    pub async fn nack(
        &self,
        message: MessageId,
        lease_id: LeaseId,
        nack: Nack,
        max_attempts: u32,
        now: Now,
    ) -> Result<bool, StoreError> {
        let drafts = Arc::clone(&self.drafts);
        self.writer
            .run(move |txn| give_back(txn, &drafts, message, &lease_id, &nack, max_attempts, now))
            .await
    }

    /// Open messages, oldest first, without leasing them; only those stored at or after a moment,
    /// when one is given.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn open_messages(
        &self,
        site: SiteKey,
        since: Option<Timestamp>,
        page: Page,
    ) -> Result<Paged<OpenMessage>, StoreError> {
        self.readers.run(move |conn| open_messages(conn, site, since, page)).await
    }

    /// The inbox in figures.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn inbox(&self) -> Result<Inbox, StoreError> {
        self.readers
            .run(|conn| {
                let sql = "SELECT count(*) AS open, (
                               SELECT at FROM message WHERE id = (SELECT min(message) FROM inbox)
                           ) AS oldest FROM inbox";
                Ok(conn.prepare_cached(sql)?.query_row([], |row| {
                    let oldest: Option<i64> = row.get("oldest")?;
                    Ok(Inbox { open: row.get("open")?, oldest: oldest.map(super::timestamp) })
                })?)
            })
            .await
    }
}

/// Puts a message into the inbox; visible at once when it is its session's only one.
pub(super) fn enqueue(
    txn: &mut Txn<'_>,
    (site, session, message): (SiteKey, SessionKey, MessageId),
    is_next: bool,
    now: Now,
) -> Result<(), StoreError> {
    let visible_at = is_next.then_some(now.steady_ms);
    let sql = "INSERT INTO inbox (site, session, message, visible_at) VALUES (?1, ?2, ?3, ?4)";
    txn.statements.get(sql)?.execute((site, session, message.0, visible_at))?;
    txn.opened.push((site, 1));
    if is_next {
        txn.changes.inboxes.insert(site);
    }
    Ok(())
}

/// Takes a message out of the inbox and makes the next of its session visible; tells whether there is one.
pub(super) fn dequeue(
    txn: &mut Txn<'_>,
    (site, session, message): (SiteKey, SessionKey, MessageId),
    now: Now,
) -> Result<bool, StoreError> {
    let sql = "DELETE FROM inbox WHERE session = ?1 AND message = ?2";
    txn.statements.get(sql)?.execute((session, message.0))?;
    txn.opened.push((site, -1));
    txn.changes.leases_ended.push(message);
    let sql = "SELECT EXISTS (SELECT 1 FROM inbox WHERE session = ?1)";
    if !txn.statements.get(sql)?.query_row([session], |row| row.get(0))? {
        return Ok(false);
    }
    let sql = "UPDATE inbox SET visible_at = ?2, hidden_ms = 0
               WHERE session = ?1 AND message = (SELECT min(message) FROM inbox WHERE session = ?1)
               AND NOT EXISTS (
                   SELECT 1 FROM inbox WHERE session = ?1 AND visible_at IS NOT NULL)";
    txn.statements.get(sql)?.execute((session, now.steady_ms))?;
    // That one, or one that a batch took: it may have waited for this one with its lease run out.
    let sql = "SELECT EXISTS (SELECT 1 FROM inbox WHERE session = ?1 AND visible_at <= ?2)";
    let visible = (session, now.steady_ms);
    if txn.statements.get(sql)?.query_row(visible, |row| row.get(0))? {
        txn.changes.inboxes.insert(site);
    }
    Ok(true)
}

const FIND_OPEN: &str =
    "SELECT inbox.session, site, attempts, lease_id, visible_at, cancelled FROM message
     JOIN inbox ON inbox.session = message.session AND inbox.message = message.id
     WHERE message.id = ?1";

/// The open message, when `lease` is the one it is under, or, without one, when it is under any.
///
/// A lease that has run out still counts until the message is leased again: the answer is there,
/// and asking the agent once more would gain nothing.
pub(super) fn find_open(
    txn: &mut Txn<'_>,
    message: MessageId,
    lease: Option<&LeaseId>,
    now: Now,
) -> Result<Open, StoreError> {
    let found = txn.statements.get(FIND_OPEN)?.query_row([message.0], open);
    under_lease(txn.conn, message, found, lease, now)
}

fn under_lease(
    conn: &Connection,
    message: MessageId,
    found: rusqlite::Result<Open>,
    lease: Option<&LeaseId>,
    now: Now,
) -> Result<Open, StoreError> {
    let Some(open) = found.optional()? else {
        return Err(why_not_open(conn, message)?);
    };
    match (lease, &open.lease) {
        (Some(shown), Some(held)) if shown == held => Ok(open),
        (None, Some(_)) if open.visible_at > Some(now.steady_ms) => Ok(open),
        (Some(_), Some(_)) => Err(StoreError::StaleLease),
        (_, _) => Err(StoreError::NotLeased),
    }
}

/// An open message of this session, leased or not.
pub(super) fn find_in_session(
    conn: &Connection,
    message: MessageId,
    session: SessionKey,
) -> Result<Open, StoreError> {
    let sql = "SELECT session, site, attempts, lease_id, visible_at, cancelled FROM inbox
               WHERE session = ?1 AND message = ?2";
    let key = (session, message.0);
    if let Some(open) = conn.prepare_cached(sql)?.query_row(key, open).optional()? {
        return Ok(open);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM message WHERE session = ?1 AND id = ?2)";
    let is_its_own: bool = conn.prepare_cached(sql)?.query_row(key, |row| row.get(0))?;
    Err(if is_its_own { why_not_open(conn, message)? } else { StoreError::UnknownMessage })
}

pub(super) fn open(row: &Row<'_>) -> rusqlite::Result<Open> {
    Ok(Open {
        session: row.get("session")?,
        site: row.get("site")?,
        cancelled: row.get("cancelled")?,
        attempts: row.get("attempts")?,
        lease: row.get::<_, Option<String>>("lease_id")?.and_then(|id| id.try_into().ok()),
        visible_at: row.get("visible_at")?,
    })
}

fn why_not_open(conn: &Connection, message: MessageId) -> Result<StoreError, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM dead_letter WHERE message = ?1)
               FROM message WHERE id = ?1 AND role = ?2";
    let given_up = conn
        .prepare_cached(sql)?
        .query_row((message.0, rows::role_number(Role::Visitor)), |row| row.get(0))
        .optional()?;
    Ok(match given_up {
        None => StoreError::UnknownMessage,
        Some(true) => StoreError::DeadLetter,
        Some(false) => StoreError::AlreadyAnswered,
    })
}

/// The rows of `inbox AS next` that may be leased. Of the messages that a batch took, several of one
/// session may be visible: those behind another wait for it.
const LEASABLE: &str = "next.site = :site AND next.visible_at <= :now
    AND next.attempts < :max_attempts AND NOT next.cancelled
    AND (coalesce(next.lease_id NOT GLOB 'batch-*', 1) OR NOT EXISTS (
        SELECT 1 FROM inbox AS other WHERE other.session = next.session
        AND (other.visible_at > :now OR (
            other.visible_at IS NOT NULL AND other.message < next.message))))";

fn is_any_visible(
    conn: &Connection,
    site: SiteKey,
    max_attempts: u32,
    now: Now,
) -> Result<bool, StoreError> {
    static SQL: LazyLock<String> =
        LazyLock::new(|| format!("SELECT EXISTS (SELECT 1 FROM inbox AS next WHERE {LEASABLE})"));
    let parameters =
        named_params! { ":site": site, ":max_attempts": max_attempts, ":now": now.steady_ms };
    Ok(conn.prepare_cached(&SQL)?.query_row(parameters, |row| row.get(0))?)
}

fn lease_visible(
    txn: &mut Txn<'_>,
    site: SiteKey,
    LeaseTerms { limit, lasts, max_attempts }: LeaseTerms,
    now: Now,
) -> Result<Vec<Leased>, StoreError> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT session, message FROM inbox AS next WHERE {LEASABLE}
             ORDER BY visible_at, message LIMIT :limit"
        )
    });
    let parameters = named_params! {
        ":site": site,
        ":max_attempts": max_attempts,
        ":now": now.steady_ms,
        ":limit": limit,
    };
    let found = find(txn.statements.get(&SQL)?, parameters)?;
    take(txn, found, "", lasts, now)
}

/// The rows of a query, each a session and one of its messages.
pub(super) fn find(
    query: &mut Statement<'_>,
    parameters: &[(&str, &dyn ToSql)],
) -> rusqlite::Result<Vec<(SessionKey, MessageId)>> {
    query.query_map(parameters, |row| Ok((row.get(0)?, MessageId(row.get(1)?))))?.collect()
}

/// Leases these messages, each under an id that begins so; returns them in their order. One that cannot be
/// read fails before anything is written.
pub(super) fn take(
    txn: &mut Txn<'_>,
    found: Vec<(SessionKey, MessageId)>,
    id_prefix: &str,
    lease: Duration,
    now: Now,
) -> Result<Vec<Leased>, StoreError> {
    let sql = "UPDATE inbox
               SET visible_at = ?3, hidden_ms = ?4, attempts = attempts + 1, lease_id = ?5
               WHERE session = ?1 AND message = ?2";
    let (until, hidden_ms) = (after(now, lease), millis(lease));
    let read = |(session, id): (SessionKey, MessageId)| {
        let mut message = read_open(&mut txn.statements, id)?;
        message.attempts += 1;
        Ok((session, Leased { message, lease: fresh_lease(id_prefix)? }))
    };
    let mut leased = found.into_iter().map(read).collect::<Result<Vec<_>, StoreError>>()?;
    for (session, Leased { message, lease }) in &leased {
        let row = (session, message.id.0, until, hidden_ms, lease.as_str());
        txn.statements.get(sql)?.execute(row)?;
        txn.changes.deadline_ms = Some(until);
        let waiting = Some(Waiting { message: message.id, state: MessageState::Working });
        let step = Step { from: Some(message.id), said: None, waiting };
        txn.changes.stepped(*session, Some(step));
        txn.changes.leases_ended.push(message.id);
    }
    leased.sort_by_key(|(_, leased)| leased.message.id);
    Ok(leased.into_iter().map(|(_, leased)| leased).collect())
}

fn fresh_lease(prefix: &str) -> Result<LeaseId, StoreError> {
    let id = format!("{prefix}{:032x}", u128::from_be_bytes(random_bytes()));
    let id = LeaseId::try_from(id).map_err(|_| FromSqlError::InvalidType);
    Ok(id.map_err(rusqlite::Error::from)?)
}

/// The columns of [`open_message`].
static OPEN_MESSAGE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "message.id, session.public_id, session.uid, text, message.at, message.metadata, attempts,
         {FILES}, {VISITOR}"
    )
});

fn read_open(statements: &mut Statements<'_>, message: MessageId) -> rusqlite::Result<OpenMessage> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {} FROM message
             JOIN session ON session.id = message.session {JOIN_VISITOR}
             JOIN inbox ON inbox.session = message.session AND inbox.message = message.id
             WHERE message.id = ?1",
            *OPEN_MESSAGE
        )
    });
    statements.get(&SQL)?.query_row([message.0], open_message)
}

fn open_message(row: &Row<'_>) -> rusqlite::Result<OpenMessage> {
    let metadata = rows::from_json(row, 5)?;
    Ok(OpenMessage {
        visitor: rows::identity(row, &metadata)?,
        id: MessageId(row.get(0)?),
        session: rows::id(row, 1)?,
        uid: rows::id(row, 2)?,
        text: row.get(3)?,
        at: rows::moment(row, 4)?,
        metadata,
        files: rows::from_json(row, 7)?,
        attempts: row.get(6)?,
    })
}

fn keep(
    txn: &mut Txn<'_>,
    message: MessageId,
    lease_id: &LeaseId,
    lease: Duration,
    now: Now,
) -> Result<Kept, StoreError> {
    let open = find_open(txn, message, Some(lease_id), now)?;
    let sql = "UPDATE inbox SET visible_at = ?3, hidden_ms = ?4
               WHERE session = ?1 AND message = ?2";
    let until = after(now, lease);
    let row = (open.session, message.0, until, millis(lease));
    txn.statements.get(sql)?.execute(row)?;
    txn.changes.deadline_ms = Some(until);
    if !open.is_leased(now) {
        txn.changes.stored(open.session);
    }
    Ok(Kept { session: open.session, cancelled: open.cancelled })
}

fn give_back(
    txn: &mut Txn<'_>,
    drafts: &Drafts,
    message: MessageId,
    lease_id: &LeaseId,
    nack: &Nack,
    max_attempts: u32,
    now: Now,
) -> Result<bool, StoreError> {
    let open = find_open(txn, message, Some(lease_id), now)?;
    if open.cancelled {
        cancellation::stop(txn, (open.site, open.session, message), &drafts.text(message), now)?;
        return Ok(false);
    }
    let error: String = nack.error.chars().take(MAX_ERROR_CHARS).collect();
    if nack.dead_letter || open.attempts >= max_attempts {
        dead_letter(txn, message, &open, Some(error), now)?;
        return Ok(true);
    }
    let sql = "UPDATE inbox SET visible_at = ?3, hidden_ms = ?4, lease_id = NULL, last_error = ?5
               WHERE session = ?1 AND message = ?2";
    let (visible_at, hidden_ms) = (after(now, nack.retry_after), millis(nack.retry_after));
    let row = (open.session, message.0, visible_at, hidden_ms, error);
    txn.statements.get(sql)?.execute(row)?;
    if nack.retry_after.is_zero() {
        txn.changes.inboxes.insert(open.site);
    }
    txn.changes.deadline_ms = Some(visible_at);
    txn.changes.stored(open.session);
    txn.changes.leases_ended.push(message);
    Ok(false)
}

/// Takes a message out of delivery, keeps it for the operator and tells the visitor.
pub(super) fn dead_letter(
    txn: &mut Txn<'_>,
    message: MessageId,
    open: &Open,
    error: Option<String>,
    now: Now,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO dead_letter (message, session, attempts, error, at)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    txn.statements.get(sql)?.execute((
        message.0,
        open.session,
        open.attempts,
        error,
        now.wall_ms,
    ))?;
    dequeue(txn, (open.site, open.session, message), now)?;
    let sql = "INSERT INTO message (session, role, text, answers, at)
               SELECT ?1, ?2, unanswered, ?3, ?4 FROM site WHERE id = ?5";
    let role = rows::role_number(Role::System);
    let notice = (open.session, role, message.0, now.wall_ms, open.site);
    let id = MessageId(txn.statements.get(sql)?.insert(notice)?);
    entries::note(txn.conn, open.session, id)?;
    txn.changes.stored(open.session);
    Ok(())
}

fn open_messages(
    conn: &Connection,
    site: SiteKey,
    since: Option<Timestamp>,
    page: Page,
) -> Result<Paged<OpenMessage>, StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    let since = since.map_or(i64::MIN, Timestamp::as_millisecond);
    let sql = "SELECT count(*) FROM inbox JOIN message ON message.id = inbox.message
               WHERE site = ?1 AND at >= ?2";
    let total = snapshot.prepare_cached(sql)?.query_row((site, since), |row| row.get(0))?;
    let which =
        "inbox.site = :site AND at >= :since ORDER BY message.id LIMIT :limit OFFSET :offset";
    let parameters = named_params! {
        ":site": site, ":since": since, ":limit": page.limit, ":offset": page.offset,
    };
    let rows = read_where(&snapshot, which, parameters)?;
    Ok(Paged { rows, total })
}

/// The open messages that a condition names, in the order that it names.
pub(super) fn read_where(
    conn: &Connection,
    which: &str,
    parameters: &[(&str, &dyn ToSql)],
) -> Result<Vec<OpenMessage>, StoreError> {
    let sql = format!(
        "SELECT {} FROM inbox JOIN message ON message.id = inbox.message
         JOIN session ON session.id = inbox.session {JOIN_VISITOR} WHERE {which}",
        *OPEN_MESSAGE
    );
    let rows = conn
        .prepare_cached(&sql)?
        .query_map(parameters, open_message)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

/// A deadline on the steady clock.
pub(super) fn after(now: Now, wait: Duration) -> i64 {
    now.steady_ms.saturating_add(millis(wait))
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
