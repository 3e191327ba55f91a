//! Files that were sent: what is known of them. Their bytes lie beside the database.

use postern_shared::files::File;
use postern_shared::visitor::Role;
use postern_shared::{FileId, MessageId, SessionId};
use rusqlite::{Connection, OptionalExtension, named_params};

use super::writer::Txn;
use super::{IdempotencyKey, Now, SessionKey, SiteKey, Store, StoreError, rows};

/// A file on its way in, whose bytes are on disk.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// What is told of it.
    pub file: File,
    /// Its session.
    pub session: SessionKey,
    /// Who sent it, the visitor or the agent.
    pub by: Role,
    /// The SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// The idempotency key.
    pub idempotency: Option<IdempotencyKey>,
    /// How many files may wait in a session to go with an entry.
    pub max_waiting: usize,
}

impl Store {
    /// Stores a file that waits to go with a message or a reply. A repeat with the same idempotency
    /// key and content gives the file that was stored first.
    ///
    /// # Errors
    /// [`StoreError::TooManyFiles`] or [`StoreError::IdempotencyMismatch`].
    pub async fn add_file(&self, new: NewFile, now: Now) -> Result<FileId, StoreError> {
        self.writer.run(move |txn| add(txn, &new, now)).await
    }

    /// One file of a session.
    ///
    /// # Errors
    /// [`StoreError::UnknownFile`].
    pub async fn file(&self, session: SessionKey, id: FileId) -> Result<File, StoreError> {
        self.readers.run(move |conn| find(conn, session, &id)).await
    }

    /// The session of this name, for those who need no token; of one site only, when one is named.
    ///
    /// # Errors
    /// [`StoreError::UnknownSession`].
    pub async fn session_key(
        &self,
        site: Option<SiteKey>,
        id: SessionId,
    ) -> Result<SessionKey, StoreError> {
        self.readers.run(move |conn| rows::session_key(conn, site, &id)).await
    }

    /// Forgets the files that went with nothing and were stored before a moment of the steady clock,
    /// and tells which.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn sweep_files(&self, before_ms: i64) -> Result<Vec<FileId>, StoreError> {
        self.writer.run(move |txn| sweep(txn, before_ms)).await
    }
}

fn add(txn: &mut Txn<'_>, new: &NewFile, now: Now) -> Result<FileId, StoreError> {
    if let Some(earlier) = find_repeat(txn.conn, new)? {
        return Ok(earlier);
    }
    let sql = "SELECT count(*) FROM file WHERE session = ?1 AND role = ?2 AND message IS NULL";
    let by = rows::role_number(new.by);
    let waiting: usize = txn.statements.get(sql)?.query_row((new.session, by), |row| row.get(0))?;
    if waiting >= new.max_waiting {
        return Err(StoreError::TooManyFiles);
    }
    let sql = "INSERT INTO file (public_id, session, role, name, type, size_bytes, digest,
                                 idempotency, uploaded_at)
               VALUES (:id, :session, :role, :name, :type, :size, :digest, :key, :now)";
    txn.statements.get(sql)?.execute(named_params! {
        ":id": new.file.id.as_str(),
        ":session": new.session,
        ":role": by,
        ":name": new.file.name,
        ":type": new.file.media_type,
        ":size": new.file.size_bytes,
        ":digest": new.digest,
        ":key": new.idempotency,
        ":now": now.steady_ms,
    })?;
    Ok(new.file.id.clone())
}

fn find_repeat(conn: &Connection, new: &NewFile) -> Result<Option<FileId>, StoreError> {
    let Some(key) = new.idempotency else { return Ok(None) };
    let sql = "SELECT public_id, digest = ?3 AND name = ?4 AND type = ?5 AS same FROM file
               WHERE session = ?1 AND idempotency = ?2";
    let content = (new.session, key, new.digest, &new.file.name, &new.file.media_type);
    let earlier = conn
        .prepare_cached(sql)?
        .query_row(content, |row| Ok((file_id(row)?, row.get("same")?)))
        .optional()?;
    match earlier {
        None => Ok(None),
        Some((id, true)) => Ok(Some(id)),
        Some((_, false)) => Err(StoreError::IdempotencyMismatch),
    }
}

fn find(conn: &Connection, session: SessionKey, id: &FileId) -> Result<File, StoreError> {
    let sql = "SELECT public_id, name, type, size_bytes FROM file
               WHERE session = ?1 AND public_id = ?2";
    let found = conn.prepare_cached(sql)?.query_row((session, id.as_str()), |row| {
        Ok(File {
            id: file_id(row)?,
            name: row.get("name")?,
            media_type: row.get("type")?,
            size_bytes: row.get("size_bytes")?,
        })
    });
    found.optional()?.ok_or(StoreError::UnknownFile)
}

fn sweep(txn: &mut Txn<'_>, before_ms: i64) -> Result<Vec<FileId>, StoreError> {
    let sql = "DELETE FROM file WHERE message IS NULL AND uploaded_at <= ?1 RETURNING public_id";
    let swept: rusqlite::Result<_> =
        txn.statements.get(sql)?.query_map([before_ms], file_id)?.collect();
    Ok(swept?)
}

/// Gives files that wait in a session to one of its entries, in this order.
pub(super) fn attach(
    conn: &Connection,
    session: SessionKey,
    message: MessageId,
    by: Role,
    files: &[FileId],
) -> Result<(), StoreError> {
    let sql = "UPDATE file SET message = ?4, place = ?5
               WHERE public_id = ?1 AND session = ?2 AND role = ?3 AND message IS NULL";
    for (place, id) in files.iter().enumerate() {
        let row = (id.as_str(), session, rows::role_number(by), message.0, place);
        if conn.prepare_cached(sql)?.execute(row)? == 0 {
            return Err(StoreError::NotWaiting);
        }
    }
    Ok(())
}

/// The files that go with an entry, in their order.
pub(super) fn attached(conn: &Connection, message: MessageId) -> Result<Vec<FileId>, StoreError> {
    let sql = "SELECT public_id FROM file WHERE message = ?1 ORDER BY place";
    let attached: rusqlite::Result<_> =
        conn.prepare_cached(sql)?.query_map([message.0], file_id)?.collect();
    Ok(attached?)
}

fn file_id(row: &rusqlite::Row<'_>) -> rusqlite::Result<FileId> {
    rows::id(row, "public_id")
}
