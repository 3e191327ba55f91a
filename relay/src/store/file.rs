//! The database file: opened, recognised, upgraded and locked against a second relay.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postern_host::file::{self, FileLock};
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::Now;

/// Marks a file as a relay's database (`PRAGMA application_id`): "PRly".
const APPLICATION_ID: i32 = 0x5052_6c79;

/// The longest a lease of a former run may still last when the host's clock went back in between.
const LEFTOVER_LEASE_MS: i64 = 60_000;

/// Why the database was not opened; each names the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder cannot be used.
    #[error("the database {path} cannot be opened: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another relay has it open.
    #[error("the database {0} is in use by another relay; each relay needs its own")]
    InUse(PathBuf),
    /// SQLite cannot read it, or it is damaged.
    #[error("the database {path} cannot be used: {cause}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        cause: rusqlite::Error,
    },
    /// Some other program's database.
    #[error("{0} is a database, but not a relay's; name another file")]
    Foreign(PathBuf),
    /// Written by a newer relay, or an upgrade failed.
    #[error("the database {path} does not fit this version of the relay: {cause}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        cause: rusqlite_migration::Error,
    },
    /// The readers' connections could not be made.
    #[error("the database cannot be opened for reading: {0}")]
    Readers(#[from] r2d2::Error),
    /// The system gave no thread.
    #[error("the writer thread did not start: {0}")]
    Thread(io::Error),
}

/// Opens the file for writing and brings it to this version's schema.
pub(super) fn open(path: &Path, now: Now) -> Result<(Connection, FileLock), OpenError> {
    let lock = lock(path)?;
    let sqlite = |cause| OpenError::Sqlite { path: path.to_owned(), cause };
    let mut connection = Connection::open_with_flags(path, flags()).map_err(sqlite)?;
    recognise(&connection, path)?;
    configure(&connection).map_err(sqlite)?;
    migrations()
        .to_latest(&mut connection)
        .map_err(|cause| OpenError::Schema { path: path.to_owned(), cause })?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite)?;
    rebase_deadlines(&connection, now).map_err(sqlite)?;
    Ok((connection, lock))
}

/// The schema's versions, oldest first; a released one is never edited.
fn migrations() -> Migrations<'static> {
    Migrations::new(vec![M::up(include_str!("../../../schema.sql"))])
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn lock(path: &Path) -> Result<FileLock, OpenError> {
    match file::claim(path) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(OpenError::InUse(path.to_owned())),
        Err(cause) => Err(OpenError::File { path: path.to_owned(), cause }),
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cache_size", -65_536)
}

fn recognise(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |cause| OpenError::Sqlite { path: path.to_owned(), cause };
    let id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(sqlite)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sqlite)?;
    if id == APPLICATION_ID || (id == 0 && tables == 0) {
        return Ok(());
    }
    Err(OpenError::Foreign(path.to_owned()))
}

/// Deadlines of a former run lie on that run's clock: none may be further off than a lease is long.
fn rebase_deadlines(connection: &Connection, now: Now) -> rusqlite::Result<()> {
    let sql = "UPDATE inbox SET visible_at = min(visible_at, ?1 + iif(lease_id IS NULL, 0, ?2))
               WHERE visible_at > ?1";
    connection.execute(sql, [now.steady_ms, LEFTOVER_LEASE_MS])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_valid() {
        migrations().validate().unwrap();
    }
}
