//! Restore: a backup takes the place of the database, which is kept beside it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use postern_shared::Timestamp;

use super::check::{self, Contents};
use super::copy::{self, CopyError, Draft, Progress};
use crate::store::file::{self, OpenError, Purpose, beside};

/// How far the ids after a restore are from those before. Visitors' pages hold cursors from after
/// the backup, so no id that was given out since may be given out again.
const ID_GAP: i64 = 1_000_000_000;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup, or the database's place.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The backup is not one to go on with.
    #[error("the backup {path} is not well, and nothing was changed: {}", findings.join("; "))]
    BadBackup {
        /// The backup.
        path: PathBuf,
        /// What is wrong with it, in sentences.
        findings: Vec<String>,
    },
    /// The copy.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The former database could not be set aside.
    #[error("the former database {path} cannot be set aside as {kept}: {cause}")]
    Aside {
        /// The database.
        path: PathBuf,
        /// The name to keep it under.
        kept: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// What a restore did.
#[derive(Debug)]
pub struct Restored {
    /// What the database holds now.
    pub contents: Contents,
    /// Where the former database is; `None` when there was none.
    pub kept: Option<PathBuf>,
}

/// Checks a backup and puts a copy of it in place of the database, which is kept beside it under a
/// name with the date.
///
/// # Errors
/// [`RestoreError`]; a relay that uses the database is one.
pub fn restore(
    backup: &Path,
    db: &Path,
    now: Timestamp,
    progress: impl FnMut(Progress),
) -> Result<Restored, RestoreError> {
    let original = file::open_beside(backup, Purpose::Copy)?;
    let report = check::examine(&original)
        .map_err(|cause| RestoreError::Open(OpenError::sqlite(backup, cause)))?;
    if !report.findings.is_empty() {
        let findings = report.findings;
        return Err(RestoreError::BadBackup { path: backup.to_owned(), findings });
    }
    let former = db.metadata().ok().filter(|former| former.len() > 0);
    let _lock = file::lock(db)?;
    let draft = Draft::copy(&original.connection, db, progress)?;
    skip_ids(&draft).map_err(|cause| CopyError::Sqlite { path: draft.path().to_owned(), cause })?;
    if let Some(former) = former {
        give_to_owner(draft.path(), &former)
            .map_err(|cause| CopyError::File { path: draft.path().to_owned(), cause })?;
    }
    let kept = set_aside(db, now)?;
    draft.put(db)?;
    Ok(Restored { contents: report.contents, kept })
}

fn skip_ids(draft: &Draft) -> rusqlite::Result<()> {
    let mut connection = draft.connect()?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "INSERT INTO sqlite_sequence (name, seq)
         SELECT 'message', 0 WHERE NOT EXISTS (
             SELECT 1 FROM sqlite_sequence WHERE name = 'message')",
    )?;
    let sql = "UPDATE sqlite_sequence SET seq = seq + ?1 WHERE name = 'message'";
    transaction.execute(sql, [ID_GAP])?;
    transaction.commit()
}

/// Moves the database and its log to a name with the date. The log goes last: a crash in between
/// leaves a log without its database, which a relay refuses to start with.
fn set_aside(db: &Path, now: Timestamp) -> Result<Option<PathBuf>, RestoreError> {
    let kept = beside(db, &now.strftime(".%Y-%m-%dT%H-%M-%S.%3fZ").to_string());
    let failed = |cause| RestoreError::Aside { path: db.to_owned(), kept: kept.clone(), cause };
    let mut moved = false;
    for part in ["", "-wal"] {
        let (from, to) = (beside(db, part), beside(&kept, part));
        if from.metadata().is_ok_and(|part| part.len() > 0) {
            fs::rename(from, to).map_err(failed)?;
            moved = true;
        }
    }
    for part in ["-wal", "-shm"] {
        // What is left of these is empty, or made anew from the log.
        let _ = fs::remove_file(beside(db, part));
    }
    copy::sync_folder(db).map_err(failed)?;
    Ok(moved.then_some(kept))
}

/// The relay runs as a user of its own, and whoever restores is often root.
#[cfg(unix)]
fn give_to_owner(file: &Path, former: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    chown(file, Some(former.uid()), Some(former.gid()))
}

#[cfg(not(unix))]
fn give_to_owner(_: &Path, _: &fs::Metadata) -> io::Result<()> {
    Ok(())
}
