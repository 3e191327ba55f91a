//! The database file: locked against a second relay, recognised, and only then written to.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postern_host::file::{self, FileLock};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rusqlite_migration::{M, Migrations};
use tracing::info;

use super::Now;

/// The schema's versions, oldest first: the first entry leads to version 1. A released one is never
/// edited.
const SCHEMA: &[M<'static>] = &[M::up(include_str!("../../../schema.sql"))];

/// Marks a file as a relay's database (`PRAGMA application_id`): "PRly".
const APPLICATION_ID: i32 = 0x5052_6c79;

/// How long a start looks for damaged pages. What it does not get through, `postern-relay check`
/// does.
const PAGE_CHECK: Duration = Duration::from_secs(2);

/// How many pages are looked at between two looks at the clock.
const PAGES_PER_LOOK: i32 = 100;

/// How long the log grows before it is folded into the file, in pages (16 MB). A crowd in many
/// conversations writes a thousand pages a commit; each fold costs two syncs.
const PAGES_PER_CHECKPOINT: i32 = 4_000;

/// The pages that the writer keeps, in KiB by SQLite's sign for it: the upper ones of each index of a
/// large database, so that a conversation is found with few reads. No more: after a commit that moved pages
/// of a tree, SQLite goes through all that are kept.
const CACHE_KIB: i32 = -16_384;

/// How long a relay waits for the short transactions of a tool.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a tool waits for the transactions of a relay.
const TOOL_BUSY_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// SQLite cannot use it now.
    #[error("the database {path} cannot be used: {cause}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        cause: rusqlite::Error,
    },
    /// Not what was once written to it.
    #[error(
        "the database {path} is damaged and was left as it is: {what}; \
         `postern-relay restore` brings a backup back"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Nothing in it, where a relay's database is wanted.
    #[error("{0} is empty: it is no relay's database")]
    Empty(PathBuf),
    /// Some other program's database.
    #[error("{0} is a database, but not a relay's; name another file")]
    Foreign(PathBuf),
    /// Written by a newer relay.
    #[error(
        "the database {path} has schema version {found}, and this relay knows versions up to \
         {known}: start the newer relay that wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The latest that this relay knows.
        known: usize,
    },
    /// Written by an older relay, and not upgraded yet.
    #[error(
        "the database {path} has schema version {found}, and this is for version {known}: \
         `postern-relay serve` upgrades it when it starts"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The version that is wanted.
        known: usize,
    },
    /// The upgrade failed, and nothing of it was kept.
    #[error(
        "the database {path} could not be brought to schema version {known} and was left as it \
         is: {cause}"
    )]
    Upgrade {
        /// The file.
        path: PathBuf,
        /// The version that is wanted.
        known: usize,
        /// What went wrong.
        cause: String,
    },
    /// The readers' connections could not be made.
    #[error("the database cannot be opened for reading: {0}")]
    Readers(#[from] r2d2::Error),
    /// The system gave no thread.
    #[error("the writer thread did not start: {0}")]
    Thread(io::Error),
}

impl OpenError {
    /// What SQLite said of a file.
    pub(crate) fn sqlite(path: &Path, cause: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match cause.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path, what: cause.to_string() }
            }
            _ => Self::Sqlite { path, cause },
        }
    }
}

/// What a tool wants of a database beside which a relay may be running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To copy it whole; an older version will do.
    Copy,
    /// To read its rows.
    Read,
    /// To change some of them.
    Write,
}

/// A database as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) connection: Connection,
    /// Its schema's version.
    pub(crate) version: usize,
}

impl Found {
    /// Whether its rows are as this version of the relay knows them.
    pub(crate) fn is_current(&self) -> bool {
        self.version == SCHEMA.len()
    }
}

/// Opens the file for a relay and brings it to this version's schema.
pub(super) fn open(path: &Path, now: Now) -> Result<(Connection, FileLock), OpenError> {
    open_as(path, now, SCHEMA)
}

fn open_as(path: &Path, now: Now, schema: &[M<'_>]) -> Result<(Connection, FileLock), OpenError> {
    let lock = lock(path)?;
    let sqlite = |cause| OpenError::sqlite(path, cause);
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let version = recognise(&connection, path, schema.len())?;
    check_pages(&connection, path, PAGE_CHECK)?;
    configure(&connection).map_err(sqlite)?;
    if version == 0 {
        connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite)?;
    }
    upgrade(&mut connection, path, schema)?;
    check_schema(&connection, path, schema)?;
    if (1..schema.len()).contains(&version) {
        info!(from = version, to = schema.len(), "the database was upgraded");
    }
    rebase_deadlines(&connection, now).map_err(sqlite)?;
    fold_on_close(&connection, true).map_err(sqlite)?;
    Ok((connection, lock))
}

/// Opens a relay's database for a tool. Never makes, upgrades or locks it: a relay may be serving
/// from it all the while.
pub(crate) fn open_beside(path: &Path, purpose: Purpose) -> Result<Found, OpenError> {
    if size_bytes(path)? == 0 {
        return Err(OpenError::Empty(path.to_owned()));
    }
    let access = match purpose {
        Purpose::Copy | Purpose::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Purpose::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let sqlite = |cause| OpenError::sqlite(path, cause);
    let connection = connect(path, access)?;
    connection.busy_timeout(TOOL_BUSY_TIMEOUT).map_err(sqlite)?;
    let known = SCHEMA.len();
    let found = recognise(&connection, path, known)?;
    if found == 0 {
        return Err(OpenError::Empty(path.to_owned()));
    }
    if purpose != Purpose::Copy && found < known {
        return Err(OpenError::Older { path: path.to_owned(), found, known });
    }
    if purpose == Purpose::Write {
        configure(&connection).map_err(sqlite)?;
        fold_on_close(&connection, true).map_err(sqlite)?;
    }
    Ok(Found { connection, version: found })
}

/// Locks the file against a second relay, making it when there is none.
pub(crate) fn lock(path: &Path) -> Result<FileLock, OpenError> {
    match file::claim(path, file::PATIENCE) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(OpenError::InUse(path.to_owned())),
        Err(cause) => Err(OpenError::File { path: path.to_owned(), cause }),
    }
}

/// A file that goes with a database, such as its `-wal`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn size_bytes(path: &Path) -> Result<u64, OpenError> {
    let found =
        path.metadata().map_err(|cause| OpenError::File { path: path.to_owned(), cause })?;
    Ok(found.len())
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, OpenError> {
    let log = beside(path, "-wal");
    if size_bytes(path)? == 0 && log.metadata().is_ok_and(|log| log.len() > 0) {
        let what = format!("it is empty, while {} is not", log.display());
        return Err(OpenError::Damaged { path: path.to_owned(), what });
    }
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            // A file that is refused is left as it is: its log is not folded into it either.
            fold_on_close(&connection, false)?;
            Ok(connection)
        })
        .map_err(|cause| OpenError::sqlite(path, cause))
}

/// The version of a relay's database, 0 when it is still empty; reads only.
fn recognise(connection: &Connection, path: &Path, known: usize) -> Result<usize, OpenError> {
    let sql = "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
               FROM pragma_application_id, pragma_user_version";
    let (id, found, tables): (i32, i64, i64) = connection
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(|cause| OpenError::sqlite(path, cause))?;
    if id != APPLICATION_ID && (id, tables) != (0, 0) {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    let path = path.to_owned();
    match usize::try_from(found) {
        Ok(found) if found > known => Err(OpenError::Newer { path, found, known }),
        Ok(found) => Ok(found),
        Err(_) => Err(OpenError::Damaged { path, what: format!("its schema version is {found}") }),
    }
}

/// Looks at as many pages as it can in a time.
fn check_pages(connection: &Connection, path: &Path, time: Duration) -> Result<(), OpenError> {
    let sqlite = |cause| OpenError::sqlite(path, cause);
    let until = Instant::now() + time;
    connection
        .progress_handler(PAGES_PER_LOOK, Some(move || Instant::now() > until))
        .map_err(sqlite)?;
    let found: rusqlite::Result<String> =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    connection.progress_handler(0, None::<fn() -> bool>).map_err(sqlite)?;
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(what) => Err(OpenError::Damaged { path: path.to_owned(), what }),
        Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            info!("the database is too large to be looked at whole: `postern-relay check` does");
            Ok(())
        }
        Err(cause) => Err(sqlite(cause)),
    }
}

/// Runs the migrations that are missing, all in one transaction.
fn upgrade(connection: &mut Connection, path: &Path, schema: &[M<'_>]) -> Result<(), OpenError> {
    use rusqlite_migration::Error::RusqliteError;
    Migrations::from_slice(schema).to_latest(connection).map_err(|failed| {
        let cause = match failed {
            // Without the query, which is a whole schema.
            RusqliteError { err, .. } => err.to_string(),
            other => other.to_string(),
        };
        OpenError::Upgrade { path: path.to_owned(), known: schema.len(), cause }
    })
}

/// Looks for every table, column and index that this version's schema makes.
fn check_schema(connection: &Connection, path: &Path, schema: &[M<'_>]) -> Result<(), OpenError> {
    match missing_from_schema(connection, schema) {
        Ok(missing) if missing.is_empty() => Ok(()),
        Ok(missing) => {
            let what = format!("its schema has no {}", missing.join(", no "));
            Err(OpenError::Damaged { path: path.to_owned(), what })
        }
        Err(cause) => Err(OpenError::sqlite(path, cause)),
    }
}

/// The tables, columns and indexes that a database of this version lacks.
pub(crate) fn missing_parts(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    missing_from_schema(connection, SCHEMA)
}

fn missing_from_schema(connection: &Connection, schema: &[M<'_>]) -> rusqlite::Result<Vec<String>> {
    let mut model = Connection::open_in_memory()?;
    // A schema that does not build is found by the tests; here it asks for nothing.
    if Migrations::from_slice(schema).to_latest(&mut model).is_err() {
        return Ok(Vec::new());
    }
    let found = schema_parts(connection)?;
    Ok(schema_parts(&model)?.into_iter().filter(|part| !found.contains(part)).collect())
}

/// Every table, index and column, as in `column message.text TEXT`.
fn schema_parts(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT type || ' ' || name FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*'
               UNION ALL
               SELECT 'column ' || part.name || '.' || columns.name || ' ' || columns.type
               FROM sqlite_schema AS part, pragma_table_info(part.name) AS columns
               WHERE part.type = 'table' AND part.name NOT GLOB 'sqlite_*'";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", PAGES_PER_CHECKPOINT)?;
    keep_plans(connection)
}

/// A statement is planned once. Otherwise one that may use a partial index is planned anew for each
/// set of values it is given, which costs as much as running it.
pub(super) fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn fold_on_close(connection: &Connection, fold: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !fold).map(drop)
}

/// Deadlines of a former run lie on that run's clock: none may be further off than it was when it
/// was set.
fn rebase_deadlines(connection: &Connection, now: Now) -> rusqlite::Result<()> {
    let sql = "UPDATE inbox SET visible_at = min(visible_at, ?1 + hidden_ms) WHERE visible_at > ?1";
    connection.execute(sql, [now.steady_ms])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOW: Now = Now { wall_ms: 1_000, steady_ms: 1_000 };

    /// As if version 2 had come.
    const NEXT: &[M<'static>] =
        &[M::up(include_str!("../../../schema.sql")), M::up("ALTER TABLE session ADD note TEXT")];

    /// The same with a third version that fails in its second half.
    const FAILING: &[M<'static>] = &[
        M::up(include_str!("../../../schema.sql")),
        M::up("ALTER TABLE session ADD note TEXT"),
        M::up("UPDATE session SET note = 'upgraded'; ALTER TABLE no_such_table ADD x TEXT"),
    ];

    /// A closed database of version 1 with a session in it.
    fn filled(folder: &Path) -> PathBuf {
        let path = folder.join("relay.db");
        let (connection, _lock) = open(&path, NOW).unwrap();
        let sql = "INSERT INTO site (id, public_id, unanswered) VALUES (1, 'default', 'Sorry.');
                   INSERT INTO session
                       (public_id, site, uid, created_at, last_active, message_count, entries)
                   VALUES ('a-session', 1, '00ff00ff00ff00ff', 1, 2, 1, '1');
                   INSERT INTO message (session, role, text, at) VALUES (1, 0, 'hello', 1);
                   INSERT INTO inbox (session, message, site, visible_at) VALUES (1, 1, 1, 1);";
        connection.execute_batch(sql).unwrap();
        path
    }

    fn refusal(opened: Result<(Connection, FileLock), OpenError>) -> String {
        opened.map(drop).unwrap_err().to_string()
    }

    #[test]
    fn a_further_version_is_one_more_entry_and_keeps_every_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path());
        let (connection, _lock) = open_as(&path, NOW, NEXT).unwrap();
        assert_eq!(recognise(&connection, &path, 2).unwrap(), 2);
        let sql = "SELECT public_id, message_count, note, text, visible_at FROM session
                   JOIN message ON message.session = session.id
                   JOIN inbox ON inbox.message = message.id";
        let row: (String, u32, Option<String>, String, i64) = connection
            .query_row(sql, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })
            .unwrap();
        assert_eq!(row, ("a-session".into(), 1, None, "hello".into(), 1));
    }

    #[test]
    fn an_upgrade_that_fails_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path());
        let before = fs::read(&path).unwrap();
        let sentence = refusal(open_as(&path, NOW, FAILING));
        assert!(sentence.contains(path.to_str().unwrap()), "{sentence}");
        assert!(sentence.contains("schema version 3 and was left as it is"), "{sentence}");
        assert_eq!(fs::read(&path).unwrap(), before);
        let (connection, _lock) = open(&path, NOW).unwrap();
        assert_eq!(recognise(&connection, &path, 1).unwrap(), 1);
    }

    #[test]
    fn a_relay_from_before_an_upgrade_refuses_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path());
        drop(open_as(&path, NOW, NEXT).unwrap());
        let before = fs::read(&path).unwrap();
        let sentence = refusal(open(&path, NOW));
        assert!(sentence.contains("has schema version 2"), "{sentence}");
        assert!(sentence.contains("up to 1"), "{sentence}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_start_that_was_cut_off_before_the_schema_was_made_is_taken_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.db");
        let connection = Connection::open(&path).unwrap();
        configure(&connection).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        drop(connection);
        assert!(open(&path, NOW).is_ok());
    }

    #[test]
    fn a_part_of_the_schema_that_is_gone_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path());
        Connection::open(&path).unwrap().execute_batch("DROP TABLE health").unwrap();
        let sentence = refusal(open(&path, NOW));
        assert!(sentence.contains("its schema has no table health"), "{sentence}");
    }

    #[test]
    fn a_start_looks_for_damaged_pages_only_as_long_as_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path());
        let connection = Connection::open(&path).unwrap();
        let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                   INSERT INTO message (session, role, text, at)
                   SELECT 1, 3, hex(zeroblob(1000)), 1 FROM n";
        connection.execute_batch(sql).unwrap();
        drop(connection);
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 8_192..].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        let connection = Connection::open(&path).unwrap();
        assert!(check_pages(&connection, &path, Duration::ZERO).is_ok());
        let found = check_pages(&connection, &path, Duration::from_secs(60));
        assert!(matches!(found, Err(OpenError::Damaged { .. })), "{found:?}");
    }

    #[test]
    fn a_log_without_its_database_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.db");
        let log = beside(&path, "-wal");
        fs::write(&log, "what was accepted").unwrap();
        let sentence = refusal(open(&path, NOW));
        assert!(sentence.contains("it is empty, while"), "{sentence}");
        assert_eq!(fs::read(&log).unwrap(), b"what was accepted");
    }
}
