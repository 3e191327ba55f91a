//! Opening a session before anything is said in it.

use std::net::IpAddr;

use postern_shared::{Metadata, SessionId, Uid};
use rusqlite::{Connection, OptionalExtension, named_params};

use super::identity::{self, Identity, Known};
use super::rows::{self, SESSION_REF, SessionRef};
use super::sessions::{add_token, metadata_text};
use super::{FreshSession, IdempotencyKey, Now, SessionKey, SiteKey, Store, StoreError, quota};
use crate::limits::Allowance;
use crate::secret::SecretHash;

/// A session that a visitor asks for.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The site it is for.
    pub site: SiteKey,
    /// An earlier session's token, if the visitor has one.
    pub token: Option<SecretHash>,
    /// What is said of who asks.
    pub identity: Identity,
    /// What came with it.
    pub metadata: Option<Metadata>,
    /// The idempotency key.
    pub idempotency: Option<IdempotencyKey>,
    /// The address it came from.
    pub ip_address: Option<IpAddr>,
    /// How much more its visitor may ask for.
    pub allowance: Allowance,
}

/// A session that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its id.
    pub session: SessionId,
    /// Its visitor.
    pub uid: Uid,
    /// Whether it made the uid.
    pub new_visitor: bool,
}

impl Store {
    /// Opens a session; a repeat with the same idempotency key gives the same session, and makes the
    /// fresh token one of its own.
    ///
    /// # Errors
    /// [`StoreError::UnknownToken`], [`StoreError::WeakOpeningKey`] or [`StoreError::Exceeded`].
    pub async fn open_session(
        &self,
        new: NewSession,
        fresh: FreshSession,
        now: Now,
    ) -> Result<Opened, StoreError> {
        self.writer.run(move |txn| open(txn.conn, &new, fresh, now)).await
    }
}

fn open(
    conn: &Connection,
    new: &NewSession,
    fresh: FreshSession,
    now: Now,
) -> Result<Opened, StoreError> {
    let earlier = new.token.map(|token| rows::token_holder(conn, &token)).transpose()?;
    let earlier = earlier.map(|holder| holder.visitor.uid);
    if new.idempotency.is_some_and(|key| !key.may_open) {
        return Err(StoreError::WeakOpeningKey);
    }
    if let Some(opened) = find_opened(conn, new.site, new.idempotency)? {
        add_token(conn, opened.key, &fresh.token, now)?;
        let new_visitor = earlier.is_none();
        return Ok(Opened { session: opened.id, uid: opened.visitor.uid, new_visitor });
    }
    let own = fresh.uid.clone();
    let visitor = identity::on_opening(conn, new.site, &new.identity, earlier, fresh.uid)?;
    let new_visitor = visitor.uid == own;
    let row = Row {
        id: fresh.id,
        site: new.site,
        visitor,
        ip_address: new.ip_address,
        metadata: metadata_text(new.metadata.as_ref()),
        opening_key: new.idempotency,
    };
    insert(conn, &row, &fresh.token, &new.allowance, now)?;
    Ok(Opened { session: row.id, uid: row.visitor.uid, new_visitor })
}

/// A session as it is stored first.
pub(super) struct Row {
    pub(super) id: SessionId,
    pub(super) site: SiteKey,
    pub(super) visitor: Known,
    pub(super) ip_address: Option<IpAddr>,
    pub(super) metadata: Option<String>,
    pub(super) opening_key: Option<IdempotencyKey>,
}

/// Stores a session and its first token.
pub(super) fn insert(
    conn: &Connection,
    row: &Row,
    token: &SecretHash,
    allowance: &Allowance,
    now: Now,
) -> Result<SessionKey, StoreError> {
    quota::take_session(conn, row.site, allowance)?;
    let sql = "INSERT INTO session
                   (public_id, site, uid, visitor, created_at, last_active, ip_address, metadata,
                    opening_key)
               VALUES (:id, :site, :uid, :visitor, :now, :now, :ip, :metadata, :key)";
    let key = SessionKey(conn.prepare_cached(sql)?.insert(named_params! {
        ":id": row.id.as_str(),
        ":site": row.site,
        ":uid": row.visitor.uid.as_str(),
        ":visitor": row.visitor.verified,
        ":now": now.wall_ms,
        ":ip": row.ip_address.map(|address| address.to_string()),
        ":metadata": row.metadata,
        ":key": row.opening_key,
    })?);
    add_token(conn, key, token, now)?;
    Ok(key)
}

/// The session that an idempotency key opened before.
pub(super) fn find_opened(
    conn: &Connection,
    site: SiteKey,
    key: Option<IdempotencyKey>,
) -> Result<Option<SessionRef>, StoreError> {
    let Some(key) = key.filter(|key| key.may_open) else { return Ok(None) };
    let sql = format!("SELECT {SESSION_REF} FROM session WHERE site = ?1 AND opening_key = ?2");
    Ok(conn.prepare_cached(&sql)?.query_row((site, key), rows::session_ref).optional()?)
}
