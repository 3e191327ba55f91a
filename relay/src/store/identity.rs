//! Who visitors are: the ones that a site vouches for are the same over sessions and devices.

use postern_shared::Uid;
use rusqlite::{Connection, OptionalExtension};

use super::rows::SessionRef;
use super::{SiteKey, StoreError, rows};
use crate::identity::VerifiedVisitor;

/// What a call says of who its visitor is.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Who it is by the word of the site's server.
    pub verified: Option<VerifiedVisitor>,
    /// Whether the site takes no others.
    pub required: bool,
}

/// A verified visitor's key inside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VisitorKey(i64);

/// Who a session's visitor is.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) uid: Uid,
    pub(super) verified: Option<VisitorKey>,
}

impl rusqlite::ToSql for VisitorKey {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl rusqlite::types::FromSql for VisitorKey {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

/// Who the visitor of a new session is: the one vouched for, else whoever had the earlier session.
pub(super) fn on_opening(
    conn: &Connection,
    site: SiteKey,
    identity: &Identity,
    earlier: Option<Uid>,
    fresh: Uid,
) -> Result<Known, StoreError> {
    match &identity.verified {
        Some(visitor) => find_or_add(conn, site, visitor, earlier, || fresh),
        None if identity.required => Err(StoreError::IdentityRequired),
        None => Ok(Known { uid: earlier.unwrap_or(fresh), verified: None }),
    }
}

/// Who the visitor of an open session is, now that this is said. One who was vouched for does not
/// become another: a second person on the same device begins anew.
pub(super) fn in_session(
    conn: &Connection,
    site: SiteKey,
    session: &SessionRef,
    identity: &Identity,
    fresh: impl FnOnce() -> Uid,
) -> Result<Known, StoreError> {
    let known = session.visitor.clone();
    let Some(visitor) = &identity.verified else {
        let is_refused = identity.required && known.verified.is_none();
        return if is_refused { Err(StoreError::IdentityRequired) } else { Ok(known) };
    };
    let found = find_or_add(conn, site, visitor, Some(known.uid.clone()), fresh)?;
    match known.verified {
        Some(before) if Some(before) != found.verified => return Err(StoreError::OtherVisitor),
        Some(_) => {}
        None => {
            let sql = "UPDATE session SET visitor = ?2, uid = ?3 WHERE id = ?1";
            conn.prepare_cached(sql)?.execute((session.key, found.verified, found.uid.as_str()))?;
        }
    }
    Ok(found)
}

/// The visitor by this name. A new one keeps the uid of the session it comes from, unless that is
/// somebody else's.
fn find_or_add(
    conn: &Connection,
    site: SiteKey,
    visitor: &VerifiedVisitor,
    earlier: Option<Uid>,
    fresh: impl FnOnce() -> Uid,
) -> Result<Known, StoreError> {
    let sql = "UPDATE verified_visitor SET name = ?3, email = ?4 WHERE site = ?1 AND sub = ?2
               RETURNING id, uid";
    let values = (site, &visitor.sub, &visitor.name, &visitor.email);
    let found = conn.prepare_cached(sql)?.query_row(values, |row| {
        Ok(Known { uid: rows::id(row, "uid")?, verified: row.get("id")? })
    });
    if let Some(found) = found.optional()? {
        return Ok(found);
    }
    let uid = match earlier {
        Some(uid) if !is_somebodys(conn, site, &uid)? => uid,
        _ => fresh(),
    };
    let sql = "INSERT INTO verified_visitor (site, sub, name, email, uid)
               VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id";
    let values = (site, &visitor.sub, &visitor.name, &visitor.email, uid.as_str());
    let key = conn.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    Ok(Known { uid, verified: Some(key) })
}

fn is_somebodys(conn: &Connection, site: SiteKey, uid: &Uid) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM verified_visitor WHERE site = ?1 AND uid = ?2)";
    Ok(conn.prepare_cached(sql)?.query_row((site, uid.as_str()), |row| row.get(0))?)
}
