//! `postern-relay deadletters`: a table for people, or JSON for programs.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use postern_relay::maintenance::DeadLetterFile;
use postern_shared::MessageId;
use postern_shared::operator::{DeadLetter, DeadLetterDetail};
use serde_json::json;

use super::{DbArg, count, exit, moment, print, print_json};

/// The longest error text in a table, in characters.
const ERROR_CHARS: usize = 60;

/// What `postern-relay deadletters` takes.
#[derive(Debug, Args)]
pub(crate) struct DeadLettersArgs {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    db: DbArg,

    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them, the oldest message first, without what was said
    List,
    /// Show one with what the visitor wrote
    Show {
        /// The message's id
        id: i64,
    },
    /// Hand them to the agent again, with all attempts before them
    ///
    /// Each takes its old place in its session. A poller whose call is being held finds them with
    /// its next one, 30 seconds later at most; requeued over the admin API, it finds them at once.
    Requeue {
        /// The messages' ids; all of them are requeued, or none
        #[arg(required_unless_present = "all", value_name = "ID")]
        ids: Vec<i64>,

        /// Requeue every dead letter
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Take them off the list for good; what was said stays in the conversation
    Drop {
        /// The messages' ids; all of them are dropped, or none
        #[arg(required = true, value_name = "ID")]
        ids: Vec<i64>,
    },
}

impl DeadLettersArgs {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        exit(self.execute().map(|()| true))
    }

    fn execute(self) -> anyhow::Result<()> {
        let mut file = DeadLetterFile::open(&self.db.db)?;
        match self.command {
            Command::List => print_list(&file.list()?, self.json),
            Command::Show { id } => print_one(&file.find(MessageId(id))?, self.json),
            Command::Requeue { all: true, .. } => {
                print_done("requeued", file.requeue_all()?, self.json)
            }
            Command::Requeue { ids, .. } => {
                file.requeue(&messages(&ids))?;
                print_done("requeued", ids.len(), self.json)
            }
            Command::Drop { ids } => {
                file.drop(&messages(&ids))?;
                print_done("dropped", ids.len(), self.json)
            }
        }
    }
}

fn messages(ids: &[i64]) -> Vec<MessageId> {
    ids.iter().copied().map(MessageId).collect()
}

fn print_list(dead_letters: &[DeadLetter], json: bool) -> anyhow::Result<()> {
    if json {
        return dead_letters.iter().try_for_each(print_json);
    }
    if dead_letters.is_empty() {
        return print("no dead letters");
    }
    let width = dead_letters.iter().map(|letter| letter.session_id.as_str().len()).max();
    let width = width.unwrap_or_default().max("SESSION".len());
    print(format!(
        "{:>10}  {:<width$}  {:>8}  {:<20}  ERROR",
        "MESSAGE", "SESSION", "ATTEMPTS", "GIVEN UP"
    ))?;
    dead_letters.iter().try_for_each(|letter| {
        print(format!(
            "{:>10}  {:<width$}  {:>8}  {:<20}  {}",
            letter.message_id.0,
            letter.session_id.as_str(),
            letter.attempts,
            moment(letter.given_up_at),
            short(letter.error.as_deref().unwrap_or("-")),
        ))
    })
}

fn print_one(detail: &DeadLetterDetail, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(detail);
    }
    let letter = &detail.dead_letter;
    print(format!("message   {}", letter.message_id))?;
    print(format!("session   {}", letter.session_id))?;
    print(format!("visitor   {}", letter.uid))?;
    print(format!("accepted  {}", moment(letter.timestamp)))?;
    print(format!("given up  {}", moment(letter.given_up_at)))?;
    print(format!("attempts  {}", letter.attempts))?;
    print(format!("error     {}", letter.error.as_deref().unwrap_or("-")))?;
    if !detail.metadata.is_empty() {
        print(format!("metadata  {}", serde_json::to_string(&detail.metadata)?))?;
    }
    print(format!("\n{}", detail.message))
}

fn print_done(what: &str, number: usize, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&json!({ what: number }));
    }
    print(format!("{what} {}", count(number as u64, "message")))
}

/// The beginning of an error's first line.
fn short(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    match line.char_indices().nth(ERROR_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
