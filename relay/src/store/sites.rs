//! Sites: whose visitors are served. Each session belongs to one, and so does all that is in it.

use std::collections::HashMap;

use postern_shared::SiteId;
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row};

use super::{Store, StoreError, rows};

/// A site's key inside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteKey(pub(super) i64);

/// A site as the store needs it.
#[derive(Debug, Clone)]
pub struct NewSite {
    /// Its id.
    pub id: SiteId,
    /// What its visitors are told of a message that was given up.
    pub unanswered: String,
}

impl ToSql for SiteKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for SiteKey {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

impl Store {
    /// The key of a site that it was opened with.
    pub fn site(&self, id: &SiteId) -> Option<SiteKey> {
        self.sites.get(id).copied()
    }
}

/// Writes the sites that are served now.
pub(super) fn register(
    conn: &Connection,
    sites: &[NewSite],
) -> rusqlite::Result<HashMap<SiteId, SiteKey>> {
    let sql = "INSERT INTO site (public_id, unanswered) VALUES (?1, ?2)
               ON CONFLICT (public_id) DO UPDATE SET unanswered = excluded.unanswered
               RETURNING id";
    let mut statement = conn.prepare(sql)?;
    let mut key = |site: &NewSite| {
        statement.query_row((site.id.as_str(), &site.unanswered), |row| row.get(0))
    };
    sites.iter().map(|site| Ok((site.id.clone(), key(site)?))).collect()
}

/// Every site there ever was.
pub(super) fn all(conn: &Connection) -> Result<Vec<SiteKey>, StoreError> {
    let all: rusqlite::Result<_> =
        conn.prepare_cached("SELECT id FROM site")?.query_map([], |row| row.get(0))?.collect();
    Ok(all?)
}

/// The site's id as its owner knows it.
pub(super) fn id(row: &Row<'_>) -> rusqlite::Result<SiteId> {
    rows::id(row, "site_id")
}
