//! Keys that `postern-relay keys` makes, ends and lists, and that a serving relay reads.

use postern_shared::{SiteId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Now, SiteKey, Store, StoreError, rows, timestamp};
use crate::secret::SecretHash;

/// A key's number inside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(i64);

/// A key that opens something now.
#[derive(Debug, Clone)]
pub struct LiveKey {
    /// Its number.
    pub id: KeyId,
    /// The site whose messages it opens; `None` for an operator's.
    pub site: Option<SiteKey>,
    /// Its hash.
    pub hash: SecretHash,
}

/// A key as the operator sees it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct KeyRow {
    /// What it is called.
    pub name: String,
    /// The site whose messages it opens; `None` for an operator's.
    pub site: Option<SiteId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the minute; `None` for never.
    pub last_used_at: Option<Timestamp>,
    /// From when on it opens nothing; `None` while that is not known.
    pub ends_at: Option<Timestamp>,
}

impl Store {
    /// The keys that open something now.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn live_keys(&self, now: Now) -> Result<Vec<LiveKey>, StoreError> {
        self.readers.run(move |conn| Ok(live(conn, now)?)).await
    }

    /// Notes when keys were last used, in milliseconds since 1970.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn note_key_use(&self, used: Vec<(KeyId, i64)>) -> Result<(), StoreError> {
        self.writer
            .run(move |txn| {
                let sql = "UPDATE key SET last_used_at = ?2 WHERE id = ?1";
                let statement = txn.statements.get(sql)?;
                for (key, at) in used {
                    statement.execute((key.0, at))?;
                }
                Ok(())
            })
            .await
    }
}

pub(super) fn live(conn: &Connection, now: Now) -> rusqlite::Result<Vec<LiveKey>> {
    let sql = "SELECT id, site, hash FROM key WHERE ends_at IS NULL OR ends_at > ?1";
    conn.prepare_cached(sql)?.query_map([now.wall_ms], live_key)?.collect()
}

fn live_key(row: &Row<'_>) -> rusqlite::Result<LiveKey> {
    let hash: [u8; 32] = row.get("hash")?;
    Ok(LiveKey { id: KeyId(row.get("id")?), site: row.get("site")?, hash: hash.into() })
}

/// Every key there ever was, the newest first.
pub(crate) fn list(conn: &Connection) -> Result<Vec<KeyRow>, StoreError> {
    let sql = "SELECT key.*, site.public_id AS site_id FROM key
               LEFT JOIN site ON site.id = key.site ORDER BY key.id DESC";
    let all: rusqlite::Result<_> = conn.prepare(sql)?.query_map([], key_row)?.collect();
    Ok(all?)
}

fn key_row(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    let is_admins = row.get_ref("site_id")? == rusqlite::types::ValueRef::Null;
    let moment = |column| row.get(column).map(|at: Option<i64>| at.map(timestamp));
    Ok(KeyRow {
        name: row.get("name")?,
        site: if is_admins { None } else { Some(super::sites::id(row)?) },
        created_at: rows::moment(row, "created_at")?,
        last_used_at: moment("last_used_at")?,
        ends_at: moment("ends_at")?,
    })
}

/// What a key of this name opens; `None` when no key has the name now.
pub(crate) fn find(conn: &Connection, name: &str) -> Result<Option<Option<SiteKey>>, StoreError> {
    let sql = "SELECT site FROM key WHERE name = ?1 AND ends_at IS NULL";
    Ok(conn.query_row(sql, [name], |row| row.get(0)).optional()?)
}

/// The site of this id, if a relay has served it from this database.
pub(crate) fn find_site(conn: &Connection, id: &SiteId) -> Result<Option<SiteKey>, StoreError> {
    let sql = "SELECT id FROM site WHERE public_id = ?1";
    Ok(conn.query_row(sql, [id.as_str()], |row| row.get(0)).optional()?)
}

/// Stores a key; the name must be free.
pub(crate) fn create(
    conn: &Connection,
    name: &str,
    site: Option<SiteKey>,
    hash: SecretHash,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO key (name, site, hash, created_at) VALUES (?1, ?2, ?3, ?4)";
    conn.execute(sql, (name, site, hash, now.as_millisecond()))?;
    Ok(())
}

/// Frees the name of a key, which opens what it opens until a moment.
pub(crate) fn replace(conn: &Connection, name: &str, until: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE key SET ends_at = ?2 WHERE name = ?1 AND ends_at IS NULL";
    conn.execute(sql, (name, until.as_millisecond()))?;
    Ok(())
}

/// Ends every key of a name; false when none opens anything.
pub(crate) fn revoke(conn: &Connection, name: &str, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE key SET ends_at = ?2 WHERE name = ?1 AND (ends_at IS NULL OR ends_at > ?2)";
    Ok(conn.execute(sql, (name, now.as_millisecond()))? > 0)
}
