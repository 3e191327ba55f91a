//! Folders and files that nobody else on this host may read.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs;

/// Makes a folder, and those above it that are missing.
pub(crate) async fn make_folder(path: PathBuf) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    builder.mode(0o700);
    builder.recursive(true).create(path).await
}

/// Removes a folder with all that is in it; one that is not there is well removed.
pub(crate) async fn remove_folder(path: &Path) -> io::Result<()> {
    // Mostly there is none, and to look takes less than to wake the thread that would remove it.
    let removed = match path.symlink_metadata() {
        Ok(_) => fs::remove_dir_all(path).await,
        absent => absent.map(drop),
    };
    match removed {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

/// Makes a file, or empties it.
pub(crate) async fn create_file(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path).await
}
