//! What rows mean: keys, roles, entries, and how they are read.

use std::sync::LazyLock;

use postern_shared::files::File;
use postern_shared::operator::Ratings;
use postern_shared::visitor::{self, IdentityState, Rating, Role};
use postern_shared::{MessageId, Metadata, SessionId, SiteId, Timestamp, Uid};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, RowIndex};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::identity::Known;
use super::{SiteKey, StoreError, timestamp};
use crate::secret::SecretHash;

pub use postern_shared::visitor::Entry;

/// A session's key inside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey(pub(super) i64);

/// The shortest idempotency key that may open a session, in characters.
const MIN_OPENING_KEY: usize = 16;

/// An idempotency key as the store keeps it: hashed, and apart for visitors and pollers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    hash: [u8; 16],
    /// Whoever repeats the key of the call that opened a session is given a token for it, so a key
    /// that can be guessed opens none.
    pub(super) may_open: bool,
}

impl IdempotencyKey {
    /// A key that came with a visitor's message.
    pub fn of_visitor(key: &str) -> Self {
        Self::new("visitor", key)
    }

    /// A key that came with a call that opens a session and says nothing.
    pub fn of_opening(key: &str) -> Self {
        Self::new("session", key)
    }

    /// A key that came with a reply.
    pub fn of_poller(key: &str) -> Self {
        Self::new("poller", key)
    }

    /// What is kept of it: half of its SHA-256.
    pub(super) fn hash(&self) -> &[u8; 16] {
        &self.hash
    }

    fn new(caller: &str, key: &str) -> Self {
        let digest = Sha256::new().chain_update(caller).chain_update([0]).chain_update(key);
        let mut half = [0; 16];
        half.copy_from_slice(&digest.finalize()[..16]);
        Self { hash: half, may_open: key.len() >= MIN_OPENING_KEY }
    }
}

/// A list's page: at most `limit` rows after the first `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// At most this many.
    pub limit: u32,
    /// After this many.
    pub offset: u64,
}

/// The rows of a page, and how many there are in all.
#[derive(Debug, Clone, PartialEq)]
pub struct Paged<T> {
    /// This page's rows.
    pub rows: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}

/// A message that wants an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenMessage {
    /// Its id.
    pub id: MessageId,
    /// Its session.
    pub session: SessionId,
    /// Its visitor.
    pub uid: Uid,
    /// Who that is.
    pub visitor: visitor::Identity,
    /// Its text as it was sent.
    pub text: String,
    /// When it was stored.
    pub at: Timestamp,
    /// What came with it; empty when nothing did.
    pub metadata: Metadata,
    /// The files that go with it.
    pub files: Vec<File>,
    /// How often it has been leased.
    pub attempts: u32,
}

/// A session as the operator sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    /// Its key inside the store.
    pub key: SessionKey,
    /// Its id.
    pub id: SessionId,
    /// Its site.
    pub site: SiteId,
    /// Its visitor.
    pub uid: Uid,
    /// Who that is.
    pub visitor: visitor::Identity,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When something was last said in it.
    pub last_active: Timestamp,
    /// How many messages the visitor sent.
    pub message_count: u64,
    /// How many replies were given.
    pub response_count: u64,
    /// How many of them are rated.
    pub ratings: Ratings,
    /// The address that opened it.
    pub ip_address: Option<String>,
    /// What came with its first message.
    pub metadata: Metadata,
}

impl ToSql for SessionKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for SessionKey {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

impl ToSql for IdempotencyKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.hash.to_sql()
    }
}

impl ToSql for SecretHash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_bytes().into())
    }
}

/// The number that stands for a role; the schema's CHECK knows them too.
pub(super) fn role_number(role: Role) -> u8 {
    match role {
        Role::Visitor => 0,
        Role::Agent => 1,
        Role::Operator => 2,
        Role::System => 3,
    }
}

/// The number that stands for a rating; the schema's CHECK knows them too.
pub(super) fn rating_number(rating: Rating) -> i8 {
    match rating {
        Rating::Up => 1,
        Rating::Down => -1,
    }
}

/// A text column that holds an id of ours.
pub(super) fn id<T: std::str::FromStr>(
    row: &Row<'_>,
    column: impl RowIndex,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|_| FromSqlError::InvalidType.into())
}

/// A column of JSON; absent is empty.
pub(super) fn from_json<T: DeserializeOwned + Default>(
    row: &Row<'_>,
    column: impl RowIndex,
) -> rusqlite::Result<T> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else {
        return Ok(T::default());
    };
    serde_json::from_str(text).map_err(|cause| FromSqlError::Other(cause.into()).into())
}

/// A column of milliseconds.
pub(super) fn moment(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Timestamp> {
    row.get(column).map(timestamp)
}

/// The files that go with a row of `message`, as JSON.
pub(super) const FILES: &str = "iif(EXISTS (SELECT 1 FROM file WHERE file.message = message.id),
    (SELECT json_group_array(json_object('id', public_id, 'name', name, 'type', type,
         'size_bytes', size_bytes) ORDER BY place)
     FROM file WHERE file.message = message.id), NULL) AS files";

/// The columns of [`entry`]; by their places, since a page has many rows.
pub(super) static ENTRY: LazyLock<String> = LazyLock::new(|| {
    format!("message.id, role, text, answers, message.at, stopped, quick_replies, {FILES}")
});

/// One row of a conversation, which begins with the columns of [`ENTRY`].
pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let role = match row.get(1)? {
        0_u8 => Role::Visitor,
        1 => Role::Agent,
        2 => Role::Operator,
        3 => Role::System,
        other => return Err(FromSqlError::OutOfRange(other.into()).into()),
    };
    Ok(Entry {
        message_id: row.get::<_, Option<i64>>(3)?.map(MessageId),
        stopped: row.get(5)?,
        quick_replies: from_json(row, 6)?,
        files: from_json(row, 7)?,
        ..Entry::new(MessageId(row.get(0)?), role, row.get(2)?, moment(row, 4)?)
    })
}

/// One row of a conversation, with what the visitor thinks of it.
pub(super) fn rated_entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry { rating: rating(row)?, comment: row.get("comment")?, ..entry(row)? })
}

/// The column of a rating.
pub(super) fn rating(row: &Row<'_>) -> rusqlite::Result<Option<Rating>> {
    match row.get("rating")? {
        None => Ok(None),
        Some(1_i8) => Ok(Some(Rating::Up)),
        Some(-1) => Ok(Some(Rating::Down)),
        Some(other) => Err(FromSqlError::OutOfRange(other.into()).into()),
    }
}

/// A session by what its messages need of it.
pub(super) struct SessionRef {
    pub(super) key: SessionKey,
    pub(super) id: SessionId,
    pub(super) visitor: Known,
}

/// The columns of a session for [`session_ref`]. By their places: each message reads one.
pub(super) const SESSION_REF: &str = "session.id, session.public_id, session.uid, session.visitor";

/// A row that begins with the columns of [`SESSION_REF`].
pub(super) fn session_ref(row: &Row<'_>) -> rusqlite::Result<SessionRef> {
    let visitor = Known { uid: id(row, 2)?, verified: row.get(3)? };
    Ok(SessionRef { key: row.get(0)?, id: id(row, 1)?, visitor })
}

/// The columns of a session's verified visitor, for [`identity`]; the query names the session.
pub(super) const VISITOR: &str =
    "verified_visitor.sub, verified_visitor.name AS visitor_name, email";

/// What [`VISITOR`] reads from.
pub(super) const JOIN_VISITOR: &str =
    "LEFT JOIN verified_visitor ON verified_visitor.id = session.visitor";

/// Who a visitor is, by the columns of [`VISITOR`] and what came along.
pub(super) fn identity(row: &Row<'_>, metadata: &Metadata) -> rusqlite::Result<visitor::Identity> {
    let sub: Option<String> = row.get("sub")?;
    if sub.is_none() {
        return Ok(visitor::Identity::unverified(metadata));
    }
    let state = IdentityState::Verified;
    let (name, email) = (row.get("visitor_name")?, row.get("email")?);
    Ok(visitor::Identity { state, sub, name, email })
}

/// The session that a token opens; [`StoreError::UnknownToken`] when none.
pub(super) fn token_holder(
    conn: &Connection,
    token: &SecretHash,
) -> Result<SessionRef, StoreError> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {SESSION_REF} FROM session_token
             JOIN session ON session.id = session_token.session WHERE hash = ?1"
        )
    });
    conn.prepare_cached(&SQL)?
        .query_row([token], session_ref)
        .optional()?
        .ok_or(StoreError::UnknownToken)
}

/// The session of this name; of one site only, when one is named.
pub(super) fn session_key(
    conn: &Connection,
    site: Option<SiteKey>,
    id: &SessionId,
) -> Result<SessionKey, StoreError> {
    let sql = "SELECT id FROM session WHERE public_id = ?1 AND site = coalesce(?2, site)";
    let found = conn.prepare_cached(sql)?.query_row((id.as_str(), site), |row| row.get(0));
    found.optional()?.ok_or(StoreError::UnknownSession)
}
