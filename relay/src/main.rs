//! `postern-relay`: parse, then serve until a signal comes, or do one of the operator's errands.

mod cli;

use std::io::{self, Write};
use std::process::ExitCode;

use axum::http::Uri;
use clap::{Parser, Subcommand};
use cli::{BackupArgs, CheckArgs, DeadLettersArgs, RestoreArgs};
use postern_host::log::{self, LogArgs};
use postern_host::{EX_CONFIG, signal};
use postern_relay::config::ServeArgs;
use postern_relay::{Server, script_line, secret};
use tracing::{error, info};

/// The public half of Postern: keeps visitors' messages until a poller fetches them.
#[derive(Parser)]
#[command(name = "postern-relay", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    log: LogArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Serve visitors, pollers and the operator
    Serve(Box<ServeArgs>),
    /// Print a fresh key, good for POSTERN_API_KEY or POSTERN_ADMIN_KEY
    Keygen,
    /// Print the line that puts the widget on a page, with the hash of this version of it
    Embed {
        /// Where pages reach this relay, such as https://relay.example
        relay: Uri,
    },
    /// List, show, requeue or drop the messages that were given up
    #[command(name = "deadletters")]
    DeadLetters(DeadLettersArgs),
    /// Copy the database to a file, while the relay serves
    Backup(BackupArgs),
    /// Put a backup in place of the database, which is kept; the relay must be stopped
    Restore(RestoreArgs),
    /// Check the database file and what its rows say; exits 0 only when all is well
    Check(CheckArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::init(&cli.log);
    match cli.command {
        Command::Serve(args) => serve(*args),
        Command::Keygen => print_line(&secret::generate()),
        Command::Embed { relay } => print_line(&script_line(&relay)),
        Command::DeadLetters(args) => args.run(),
        Command::Backup(args) => args.run(),
        Command::Restore(args) => args.run(),
        Command::Check(args) => args.run(),
    }
}

fn print_line(line: &str) -> ExitCode {
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[tokio::main]
async fn serve(args: ServeArgs) -> ExitCode {
    let config = match args.into_config() {
        Ok(config) => config,
        Err(problem) => {
            error!("{problem}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    let asked_to_end = signal::asked_to_end();
    let mut server = match Server::bind(config) {
        Ok(server) => server,
        Err(problem) => {
            error!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    info!("listening on http://{}", server.address());
    let code = tokio::select! {
        () = asked_to_end => ExitCode::SUCCESS,
        failure = server.failed() => {
            error!("{failure}");
            ExitCode::FAILURE
        }
    };
    server.shutdown().await;
    code
}
