//! What all measurements share: the plan, the report, and databases to begin with.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use tokio::signal;

use crate::plan::Topic;
use crate::processes::Server;
use crate::report::Report;
use crate::stored;

/// What one run measures.
pub(crate) struct Plan {
    pub(crate) topics: Vec<Topic>,
    pub(crate) stored: Vec<u64>,
    pub(crate) connections: Vec<u32>,
    pub(crate) rounds: u32,
    pub(crate) length: Duration,
    pub(crate) streams: Vec<u32>,
}

/// A database as large as one gets, to be copied.
pub(crate) struct Size {
    /// How many messages it has.
    pub(crate) stored: u64,
    pub(crate) filled: PathBuf,
}

/// A folder in `out` for databases, which are gone with it, also when ctrl-c ends the run.
pub(crate) fn folder(out: &Path) -> Result<TempDir> {
    fs::create_dir_all(out)?;
    let folder = tempfile::tempdir_in(out)?;
    let path = folder.path().to_owned();
    tokio::spawn(async move {
        if signal::ctrl_c().await.is_ok() {
            if let Err(error) = fs::remove_dir_all(&path) {
                eprintln!("{} is left: {error}", path.display());
            }
            process::exit(130);
        }
    });
    Ok(folder)
}

pub(crate) struct Bench {
    pub(crate) plan: Plan,
    pub(crate) report: Report,
    /// The least that HTTP costs.
    pub(crate) echo: Server,
    /// A database with conversations in which nothing was said.
    empty: PathBuf,
    folder: TempDir,
}

impl Bench {
    /// Databases lie in a folder of their own in `out`, which goes with this.
    pub(crate) fn new(plan: Plan, out: &Path) -> Result<Self> {
        let folder = folder(out)?;
        let echo = Server::start(&std::env::current_exe()?, &["echo"])?;
        let empty = stored::database(folder.path(), 0)?;
        Ok(Self { plan, report: Report::default(), echo, empty, folder })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A database of its own with conversations in which nothing was said.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::copy(&self.empty, &path)?;
        Ok(path)
    }

    /// A database with so many messages.
    pub(crate) fn filled(&self, stored: u64) -> Result<Size> {
        Ok(Size { stored, filled: stored::database(self.folder.path(), stored)? })
    }

    /// Two copies of a database in place of earlier ones, for a relay and for raw commits.
    pub(crate) fn copies(&self, size: &Size) -> Result<[PathBuf; 2]> {
        Ok([self.copy(size, "relay")?, self.copy(size, "raw")?])
    }

    /// A copy of a database in place of an earlier one; it is on disk, and in memory.
    pub(crate) fn copy(&self, Size { stored, filled }: &Size, name: &str) -> Result<PathBuf> {
        let copy = self.path(&format!("{stored}-{name}.db"));
        for ending in ["", "-wal", "-shm"] {
            let mut path = copy.clone().into_os_string();
            path.push(ending);
            remove(Path::new(&path))?;
        }
        copy_to_disk(filled, &copy)?;
        Ok(copy)
    }
}

/// Copies a file, and has the disk take all that it was to take: otherwise it does while something is measured.
pub(crate) fn copy_to_disk(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    Ok(rustix::fs::syncfs(File::open(to)?)?)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(problem),
        _ => Ok(()),
    }
}
