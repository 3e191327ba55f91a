//! What an operator does to the database file itself, most of it while a relay serves from it.
//!
//! Each tool opens the file by its own connection: SQLite's log lets it read one consistent moment,
//! or write a short transaction, beside the relay. Only [`restore`] wants the relay to be stopped.

mod backup;
mod check;
mod copy;
mod dead_letters;
mod keys;
mod restore;

pub use backup::{BackupError, backup};
pub use check::{Contents, Report, check};
pub use copy::{CopyError, Progress};
pub use dead_letters::{DeadLetterError, DeadLetterFile};
pub use keys::{KeyFile, KeyFileError};
pub use restore::{RestoreError, Restored, restore};
