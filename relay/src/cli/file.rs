//! `postern-relay backup`, `restore` and `check`.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use postern_relay::config::files_beside;
use postern_relay::maintenance::{self, Contents, Progress};
use postern_shared::Timestamp;

use super::{DbArg, count, exit, print};

/// What `postern-relay backup` takes.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Where to write the backup
    path: PathBuf,

    /// Overwrite what is there, once the backup is whole
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    db: DbArg,
}

/// What `postern-relay restore` takes.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup to restore
    backup: PathBuf,

    #[command(flatten)]
    db: DbArg,
}

/// What `postern-relay check` takes.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The folder of files; beside the database, with .files, when not given
    #[arg(long, env = "POSTERN_FILES", value_name = "DIR")]
    files: Option<PathBuf>,

    #[command(flatten)]
    db: DbArg,
}

impl BackupArgs {
    /// Makes the backup.
    pub(crate) fn run(self) -> ExitCode {
        exit(self.execute().map(|()| true))
    }

    fn execute(self) -> anyhow::Result<()> {
        maintenance::backup(&self.db.db, &self.path, self.force, progress_line())?;
        print(format!("backed up {} to {}", self.db.db.display(), self.path.display()))?;
        print("files are not in it: copy their folder after it")
    }
}

impl RestoreArgs {
    /// Restores the backup.
    pub(crate) fn run(self) -> ExitCode {
        exit(self.execute().map(|()| true))
    }

    fn execute(self) -> anyhow::Result<()> {
        let (db, backup) = (self.db.db.display(), self.backup.display());
        let progress = progress_line();
        let restored = maintenance::restore(&self.backup, &self.db.db, Timestamp::now(), progress)?;
        print(format!("restored {db} from {backup}: {}", figures(restored.contents)))?;
        match restored.kept {
            Some(kept) => print(format!("the former database is kept as {}", kept.display())),
            None => print("there was no former database"),
        }
    }
}

impl CheckArgs {
    /// Checks the file; good when nothing was found.
    pub(crate) fn run(self) -> ExitCode {
        exit(self.execute())
    }

    fn execute(self) -> anyhow::Result<bool> {
        let db = self.db.db.display();
        let files = self.files.unwrap_or_else(|| files_beside(&self.db.db));
        let report = maintenance::check(&self.db.db, &files)?;
        if let Some(strays) = &report.strays {
            print(format!("{db}: {strays}"))?;
        }
        if report.findings.is_empty() {
            print(format!("{db} is well: {}", figures(report.contents)))?;
            return Ok(true);
        }
        for finding in &report.findings {
            print(format!("{db}: {finding}"))?;
        }
        print(format!("{db} is not well: {}", count(report.findings.len() as u64, "finding")))?;
        Ok(false)
    }
}

fn figures(contents: Contents) -> String {
    let Contents { sessions, messages, open, dead_letters, files } = contents;
    format!(
        "{} with {}; {open} open, {}, {}",
        count(sessions, "session"),
        count(messages, "message"),
        count(dead_letters, "dead letter"),
        count(files, "file"),
    )
}

/// Keeps one line of a terminal up to date; says nothing where nobody looks.
fn progress_line() -> impl FnMut(Progress) {
    let looked_at = io::stderr().is_terminal();
    move |progress| {
        if looked_at {
            let Progress { copied, total } = progress;
            let end = if copied == total { "\n" } else { "" };
            // Whether it can be shown does not matter to the copy.
            let _ = write!(io::stderr(), "\rcopied {copied} of {total} pages{end}");
        }
    }
}
