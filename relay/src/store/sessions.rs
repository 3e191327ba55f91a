//! Sessions: opened by a visitor's first message, listed for the operator.

use std::net::IpAddr;
use std::sync::LazyLock;

use postern_shared::operator::Ratings;
use postern_shared::visitor::{MessageState, Role};
use postern_shared::{FileId, MessageId, Metadata, SessionId, Timestamp, Uid};
use rusqlite::{Connection, Row};

use super::entries::Latest;
use super::identity::{self, Identity};
use super::quota::{SessionUse, Used};
use super::rows::{self, JOIN_VISITOR, SessionRef, VISITOR};
use super::writer::Txn;
use super::{
    Entry, IdempotencyKey, Now, Page, Paged, SessionKey, SessionRow, SiteKey, Step, Store,
    StoreError, Waiting, inbox, opening, quota, sites, timestamp, uploads,
};
use crate::limits::Allowance;
use crate::secret::SecretHash;

/// A visitor's message on its way in.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The site it was sent on.
    pub site: SiteKey,
    /// The session asked for; `None` opens one.
    pub session: Option<SessionId>,
    /// The token that came with it.
    pub token: Option<SecretHash>,
    /// What is said of who sent it.
    pub identity: Identity,
    /// The text as it was sent.
    pub text: String,
    /// The files that go with it.
    pub files: Vec<FileId>,
    /// What came with it.
    pub metadata: Option<Metadata>,
    /// When the visitor says it was written.
    pub sent_at: Option<Timestamp>,
    /// The idempotency key.
    pub idempotency: Option<IdempotencyKey>,
    /// The address it came from.
    pub ip_address: Option<IpAddr>,
    /// How much more its sender may send.
    pub allowance: Allowance,
}

/// What a session gets if this message opens one.
#[derive(Debug, Clone)]
pub struct FreshSession {
    /// Its id, when the visitor names none.
    pub id: SessionId,
    /// Its visitor, when there is no earlier session.
    pub uid: Uid,
    /// The hash of its token.
    pub token: SecretHash,
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub message: MessageId,
    /// Its session.
    pub session: SessionId,
    /// Its visitor.
    pub uid: Uid,
    /// Whether it opened the session, so that the fresh token is the session's.
    pub opened: bool,
    /// Whether it made the uid.
    pub new_visitor: bool,
}

impl Store {
    /// Stores a visitor's message, opening a session when it must. A repeat with the same
    /// idempotency key and body answers as the first did. It is queued by this call, not by the first look
    /// at its answer. `fresh` is made when it is needed, which it is not in a session.
    ///
    /// # Errors
    /// [`StoreError::TokenMissing`], [`StoreError::UnknownToken`], [`StoreError::ForeignToken`],
    /// [`StoreError::WeakOpeningKey`], [`StoreError::IdempotencyMismatch`] or
    /// [`StoreError::Exceeded`], the last never for a repeat; then nothing is stored.
    pub fn accept_message<F>(
        &self,
        message: NewMessage,
        fresh: F,
        now: Now,
    ) -> impl Future<Output = Result<Accepted, StoreError>> + Send + use<F>
    where
        F: FnOnce() -> FreshSession + Send + 'static,
    {
        self.writer.run_checked(move |txn: &mut Txn<'_>| accept(txn, &message, fresh, now))
    }

    /// Revokes every token of a session and ends its open streams. Its conversation stays.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn revoke_tokens(&self, session: SessionKey) -> Result<(), StoreError> {
        self.writer
            .run(move |txn| {
                let sql = "DELETE FROM session_token WHERE session = ?1";
                txn.statements.get(sql)?.execute([session])?;
                txn.changes.stored(session);
                Ok(())
            })
            .await
    }

    /// Sessions, the newest first; only those active since a moment, when one is given.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn sessions(
        &self,
        active_since: Option<Timestamp>,
        page: Page,
    ) -> Result<Paged<SessionRow>, StoreError> {
        self.readers.run(move |conn| sessions(conn, active_since, page)).await
    }
}

fn accept(
    txn: &mut Txn<'_>,
    message: &NewMessage,
    fresh: impl FnOnce() -> FreshSession,
    now: Now,
) -> Result<Accepted, StoreError> {
    let holder = match &message.token {
        Some(token) => Some(quota::holder(txn, token, &message.allowance)?),
        None => None,
    };
    match holder {
        Some((session, used)) if message.session.as_ref() == Some(&session.id) => {
            // The visitor's identity is written before a repeat is looked for, and files are looked for last.
            let checks_first = message.identity.verified.is_none() && message.files.is_empty();
            let work =
                |txn: &mut Txn<'_>| accept_in(txn, message, (session, used), || fresh().uid, now);
            if checks_first { work(txn) } else { txn.undoing(work) }
        }
        other => {
            let holder = other.map(|(session, _)| session);
            txn.undoing(|txn| accept_opening(txn, message, holder, fresh(), now))
        }
    }
}

/// Stores a message that opens a session, or did so before.
fn accept_opening(
    txn: &mut Txn<'_>,
    message: &NewMessage,
    holder: Option<SessionRef>,
    fresh: FreshSession,
    now: Now,
) -> Result<Accepted, StoreError> {
    if let Some(opened) = opening::find_opened(txn.conn, message.site, message.idempotency)? {
        return repeat_opening(txn, message, opened, &fresh, now);
    }
    if let Some(asked) = &message.session
        && is_taken(txn.conn, asked)?
    {
        return Err(holder.map_or(StoreError::TokenMissing, |_| StoreError::ForeignToken));
    }
    if message.idempotency.is_some_and(|key| !key.may_open) {
        return Err(StoreError::WeakOpeningKey);
    }
    open_session(txn, message, holder, fresh, now)
}

/// Stores a message in a session whose token was shown.
pub(super) fn accept_in(
    txn: &mut Txn<'_>,
    message: &NewMessage,
    (session, used): (SessionRef, Used),
    fresh: impl FnOnce() -> Uid,
    now: Now,
) -> Result<Accepted, StoreError> {
    let visitor = identity::in_session(txn.conn, message.site, &session, &message.identity, fresh)?;
    let id = match find_repeat(txn.conn, &used.latest, message)? {
        Some(earlier) => earlier,
        None => insert(txn, message, session.key, used, now)?,
    };
    Ok(Accepted {
        message: id,
        session: session.id,
        uid: visitor.uid,
        opened: false,
        new_visitor: false,
    })
}

/// Answers a repeat of the call that opened a session, with a token that works: the first answer
/// may have been lost, and its token with it.
fn repeat_opening(
    txn: &mut Txn<'_>,
    message: &NewMessage,
    session: SessionRef,
    fresh: &FreshSession,
    now: Now,
) -> Result<Accepted, StoreError> {
    if message.session.as_ref().is_some_and(|asked| *asked != session.id) {
        return Err(StoreError::IdempotencyMismatch);
    }
    let latest = Latest::of(txn.conn, session.key)?;
    let first = find_repeat(txn.conn, &latest, message)?;
    let id = first.ok_or(StoreError::IdempotencyMismatch)?;
    add_token(txn.conn, session.key, &fresh.token, now)?;
    // The repeat carries what the first call did: an earlier token, or none.
    let new_visitor = message.token.is_none();
    let uid = session.visitor.uid;
    Ok(Accepted { message: id, session: session.id, uid, opened: true, new_visitor })
}

pub(super) fn open_session(
    txn: &mut Txn<'_>,
    message: &NewMessage,
    earlier: Option<SessionRef>,
    fresh: FreshSession,
    now: Now,
) -> Result<Accepted, StoreError> {
    let earlier = earlier.map(|holder| holder.visitor.uid);
    let own = fresh.uid.clone();
    let (site, identity) = (message.site, &message.identity);
    let visitor = identity::on_opening(txn.conn, site, identity, earlier, fresh.uid)?;
    let new_visitor = visitor.uid == own;
    let row = opening::Row {
        id: message.session.clone().unwrap_or(fresh.id),
        site: message.site,
        visitor,
        ip_address: message.ip_address,
        metadata: metadata_text(message.metadata.as_ref()),
        opening_key: message.idempotency,
    };
    let key = opening::insert(txn.conn, &row, &fresh.token, &message.allowance, now)?;
    let used = quota::used(txn, key, &message.allowance)?;
    let message = insert(txn, message, key, used, now)?;
    let uid = row.visitor.uid;
    Ok(Accepted { message, session: row.id, uid, opened: true, new_visitor })
}

fn insert(
    txn: &mut Txn<'_>,
    message: &NewMessage,
    session: SessionKey,
    used: Used,
    now: Now,
) -> Result<MessageId, StoreError> {
    let session_use = quota::take_message(txn, &used, &message.allowance, now)?;
    let sql = "INSERT INTO message (session, role, text, at, sent_at, metadata, idempotency)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let id = MessageId(txn.statements.get(sql)?.insert((
        session,
        rows::role_number(Role::Visitor),
        &message.text,
        now.wall_ms,
        message.sent_at.map(Timestamp::as_millisecond),
        metadata_text(message.metadata.as_ref()),
        message.idempotency,
    ))?);
    uploads::attach(txn.conn, session, id, Role::Visitor, &message.files)?;
    let sql = "UPDATE session SET message_count = message_count + 1, last_active = ?2,
                   minute_whole_at = ?3, day_whole_at = ?4, entries = ?5, keys = ?6, chapters = ?7
               WHERE id = ?1";
    let latest = used.latest.with(txn.conn, message.idempotency, id)?;
    let (entries, keys, chapters) = latest.columns();
    let SessionUse { minute_whole_at, day_whole_at } = session_use;
    let row = (session, now.wall_ms, minute_whole_at, day_whole_at, entries, keys, chapters);
    txn.statements.get(sql)?.execute(row)?;
    let is_next = used.session_open == 0;
    inbox::enqueue(txn, (used.site, session, id), is_next, now)?;
    let is_known = is_next && message.files.is_empty();
    txn.changes.stepped(session, is_known.then(|| first_to_wait(message, id, now)));
    Ok(id)
}

/// The step by which a conversation in which none waits gets a message.
fn first_to_wait(message: &NewMessage, id: MessageId, now: Now) -> Step {
    let said = Entry::new(id, Role::Visitor, message.text.clone(), timestamp(now.wall_ms));
    let waiting = Some(Waiting { message: id, state: MessageState::Waiting });
    Step { from: None, said: Some(said), waiting }
}

/// Serialised the same way each time, so that equal metadata is equal text.
pub(super) fn metadata_text(metadata: Option<&Metadata>) -> Option<String> {
    let metadata = metadata.filter(|metadata| !metadata.is_empty())?;
    serde_json::to_string(metadata).ok()
}

pub(super) fn add_token(
    conn: &Connection,
    session: SessionKey,
    token: &SecretHash,
    now: Now,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO session_token (hash, session, created_at) VALUES (?1, ?2, ?3)";
    conn.prepare_cached(sql)?.execute((token, session, now.wall_ms))?;
    Ok(())
}

pub(super) fn is_taken(conn: &Connection, id: &SessionId) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM session WHERE public_id = ?1)";
    Ok(conn.prepare_cached(sql)?.query_row([id.as_str()], |row| row.get(0))?)
}

/// The message that came with this one's idempotency key before; an error when it was another.
fn find_repeat(
    conn: &Connection,
    latest: &Latest,
    message: &NewMessage,
) -> Result<Option<MessageId>, StoreError> {
    latest.find_same(conn, message.idempotency, &message.files, |earlier| {
        let sql = "SELECT text = ?2 AND metadata IS ?3 FROM message WHERE id = ?1";
        let body = (earlier.0, &message.text, metadata_text(message.metadata.as_ref()));
        conn.prepare_cached(sql)?.query_row(body, |row| row.get(0))
    })
}

fn sessions(
    conn: &Connection,
    active_since: Option<Timestamp>,
    page: Page,
) -> Result<Paged<SessionRow>, StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    let since = active_since.map_or(i64::MIN, Timestamp::as_millisecond);
    let sql = "SELECT count(*) FROM session WHERE last_active >= ?1";
    let total = snapshot.prepare_cached(sql)?.query_row([since], |row| row.get(0))?;
    let sql =
        format!("{} WHERE last_active >= ?1 ORDER BY session.id DESC LIMIT ?2 OFFSET ?3", *SESSION);
    let rows = snapshot
        .prepare_cached(&sql)?
        .query_map((since, page.limit, page.offset), session_row)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Paged { rows, total })
}

/// Whole rows for [`session_row`].
pub(super) static SESSION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT session.*, site.public_id AS site_id, {VISITOR} FROM session
         JOIN site ON site.id = session.site {JOIN_VISITOR}"
    )
});

/// A whole row of the `session` table.
pub(super) fn session_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    let metadata = rows::from_json(row, "metadata")?;
    Ok(SessionRow {
        visitor: rows::identity(row, &metadata)?,
        key: row.get("id")?,
        id: rows::id(row, "public_id")?,
        site: sites::id(row)?,
        uid: rows::id(row, "uid")?,
        created_at: rows::moment(row, "created_at")?,
        last_active: rows::moment(row, "last_active")?,
        message_count: row.get("message_count")?,
        response_count: row.get("response_count")?,
        ratings: Ratings { up: row.get("up_count")?, down: row.get("down_count")? },
        ip_address: row.get("ip_address")?,
        metadata,
    })
}
