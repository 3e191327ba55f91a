//! What the operator's commands take and print. What they do is in [`postern_relay::maintenance`].

mod dead_letters;
mod file;
mod keys;
mod layers;
mod settings;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use postern_shared::Timestamp;
use serde::Serialize;
use tracing::error;

pub(crate) use dead_letters::DeadLettersArgs;
pub(crate) use file::{BackupArgs, CheckArgs, RestoreArgs};
pub(crate) use keys::KeysArgs;
pub(crate) use layers::parse;
pub(crate) use settings::ConfigArgs;

/// Which database a command is about.
#[derive(Debug, Args)]
pub(crate) struct DbArg {
    /// The database file
    #[arg(long, env = "POSTERN_DB", default_value = "relay.db", global = true)]
    db: PathBuf,
}

/// A moment for people, to the second.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Ends a command: good when all is well.
fn exit(outcome: anyhow::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads has read enough, as `head` does.
        Err(failure) if is_broken_pipe(&failure) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(failure: &anyhow::Error) -> bool {
    let cause = failure.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints for a person; control characters, which a terminal would obey, are spelled out.
fn print(text: impl Display) -> anyhow::Result<()> {
    let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    Ok(writeln!(io::stdout(), "{}", spell_out(&text.to_string(), obeyed))?)
}

/// Prints one JSON object on a line of its own.
fn print_json(object: &impl Serialize) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{}", spell_out(&serde_json::to_string(object)?, char::is_control))?)
}

/// With some characters as JSON would have them.
fn spell_out(text: &str, chosen: impl Fn(char) -> bool) -> String {
    let mut spelled = String::with_capacity(text.len());
    for c in text.chars() {
        if chosen(c) {
            spelled.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            spelled.push(c);
        }
    }
    spelled
}

/// A number and what it counts, as in `1 session` or `2 sessions`.
fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
