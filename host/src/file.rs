//! Database files that only their owner can read and only one process uses.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long a claim waits for a process that is just ending: one that was killed while it started
/// another may live on for a moment in the copy of itself that becomes the other.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// Held as long as the database is open; the system releases it however the process ends.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// The same lock for a process that is to end before anybody else has the database.
    ///
    /// # Errors
    /// Too many open files.
    pub fn share(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

/// Makes the database file if there is none, and locks it against a second process; `None` when
/// another has it for longer than is waited.
///
/// The lock is on a file of its own beside the database: closing any handle on the database itself
/// would drop `SQLite`'s locks.
///
/// # Errors
/// Whatever keeps the files from being made.
pub fn claim(database: &Path, patience: Duration) -> io::Result<Option<FileLock>> {
    let mut beside = database.as_os_str().to_owned();
    beside.push(".lock");
    let lock = private_file(Path::new(&beside))?;
    if !lock_within(&lock, patience)? {
        return Ok(None);
    }
    private_file(database)?;
    Ok(Some(FileLock(lock)))
}

fn lock_within(file: &File, patience: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(cause)) => return Err(cause),
            Err(TryLockError::WouldBlock) if begun.elapsed() > patience => return Ok(false),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_claimed_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("some.db");
        let held = claim(&database, PATIENCE).unwrap();
        assert!(held.is_some());
        assert!(claim(&database, Duration::ZERO).unwrap().is_none());
        let shared = held.as_ref().unwrap().share().unwrap();
        drop(held);
        assert!(claim(&database, Duration::ZERO).unwrap().is_none());
        drop(shared);
        assert!(claim(&database, PATIENCE).unwrap().is_some());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_a_new_database() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("some.db");
        claim(&database, PATIENCE).unwrap();
        assert_eq!(database.metadata().unwrap().permissions().mode() & 0o077, 0);
    }
}
