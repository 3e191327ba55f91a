//! What the operator has for bad days: dead letters, backups, and a check of the file.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

mod backup;
mod check;
mod dead_letters;
mod host;
