//! Backup: a copy of the whole database as it was when the copying began.

use std::path::{Path, PathBuf};

use super::copy::{CopyError, Draft, Progress};
use crate::store::file::{self, OpenError, Purpose};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Something is at its place.
    #[error("{0} exists: name another file, or give --force to overwrite it")]
    Exists(PathBuf),
    /// It would overwrite what it is to keep.
    #[error("{0} is the database itself: name another file")]
    Itself(PathBuf),
    /// The copy.
    #[error(transparent)]
    Copy(#[from] CopyError),
}

/// Copies a relay's database to `place`, a single file that only its owner can read. It holds
/// everything that was accepted before the call; a relay may be serving all the while.
///
/// # Errors
/// [`BackupError`] names the file. What was at `place` is as it was then.
pub fn backup(
    db: &Path,
    place: &Path,
    force: bool,
    progress: impl FnMut(Progress),
) -> Result<(), BackupError> {
    let original = file::open_beside(db, Purpose::Copy)?;
    if let (Ok(db), Ok(place)) = (db.canonicalize(), place.canonicalize())
        && db == place
    {
        return Err(BackupError::Itself(place));
    }
    if !force && place.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(place.to_owned()));
    }
    Ok(Draft::copy(&original.connection, place, progress)?.put(place)?)
}
