//! A copy of a database, whole and on disk before it takes its place.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::{io, process};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::store::file::beside;

/// How many pages are copied between two reports of progress: 4 MiB.
const PAGES_PER_STEP: i32 = 1_024;

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pages copied.
    pub copied: u32,
    /// Pages in all.
    pub total: u32,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The copy cannot be written.
    #[error("{path} cannot be written: {cause}")]
    File {
        /// The copy.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The original cannot be read, or the copy not be written.
    #[error("the copy {path} was not made: {cause}")]
    Sqlite {
        /// The copy.
        path: PathBuf,
        /// What SQLite said.
        cause: rusqlite::Error,
    },
    /// The original has damaged pages.
    #[error("the copy {path} was not kept, since the original is damaged: {what}")]
    Damaged {
        /// The copy.
        path: PathBuf,
        /// What was found.
        what: String,
    },
}

/// A copy under a temporary name; removed when it is dropped before it has taken its place.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
}

impl Draft {
    /// Copies a database as it is at this moment, whatever is written to it meanwhile, and looks at
    /// every page of the copy. Its name is `place` with a suffix.
    pub(super) fn copy(
        original: &Connection,
        place: &Path,
        progress: impl FnMut(Progress),
    ) -> Result<Self, CopyError> {
        let path = beside(place, &format!(".partial-{}", process::id()));
        private_file(&path).map_err(|cause| CopyError::File { path: path.clone(), cause })?;
        let draft = Self { path };
        let sqlite = |cause| CopyError::Sqlite { path: draft.path.clone(), cause };
        let mut copy = draft.connect().map_err(sqlite)?;
        copy_pages(original, &mut copy, progress).map_err(sqlite)?;
        // One file that needs no log beside it.
        copy.pragma_update(None, "journal_mode", "DELETE").map_err(sqlite)?;
        let found: String =
            copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
        if found != "ok" {
            return Err(CopyError::Damaged { path: place.to_owned(), what: found });
        }
        Ok(draft)
    }

    /// Opens the copy for changes.
    pub(super) fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&self.path, flags)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Brings the copy to disk, then puts it in place of whatever is there.
    pub(super) fn put(self, place: &Path) -> Result<(), CopyError> {
        File::open(&self.path)
            .and_then(|copy| copy.sync_all())
            .and_then(|()| fs::rename(&self.path, place))
            .and_then(|()| sync_folder(place))
            .map_err(|cause| CopyError::File { path: place.to_owned(), cause })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Not there any more when it has taken its place.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the names in a file's folder last.
pub(super) fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
}

fn copy_pages(
    original: &Connection,
    copy: &mut Connection,
    mut progress: impl FnMut(Progress),
) -> rusqlite::Result<()> {
    // Nobody waits for this file, and a copy that was cut off is thrown away.
    copy.pragma_update(None, "journal_mode", "OFF")?;
    copy.pragma_update(None, "synchronous", "OFF")?;
    // Pins the moment: without it, every write of the relay would begin the copy anew.
    let moment = original.unchecked_transaction()?;
    moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let backup = Backup::new(&moment, copy)?;
    loop {
        let step = backup.step(PAGES_PER_STEP)?;
        let pages = backup.progress();
        let total = u32::try_from(pages.pagecount).unwrap_or(0);
        let remaining = u32::try_from(pages.remaining).unwrap_or(0);
        progress(Progress { copied: total.saturating_sub(remaining), total });
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            // Its own busy handler has waited by now.
            _ => return Err(locked()),
        }
    }
}

fn locked() -> rusqlite::Error {
    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(busy, Some("another program has locked it".into()))
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
