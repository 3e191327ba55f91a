//! `postern-relay`: parse, then serve until a signal comes, or do one of the operator's errands.

mod cli;

use std::io::{self, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use axum::http::Uri;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use cli::{BackupArgs, CheckArgs, ConfigArgs, DeadLettersArgs, KeysArgs, RestoreArgs};
use postern_host::log::{self, LogArgs};
use postern_host::{EX_CONFIG, signal};
use postern_relay::config::{FileError, ServeArgs, SiteSettings};
use postern_relay::{Server, script_line, secret};
use postern_shared::SiteId;
use tokio::runtime::{self, Runtime};
use tracing::{error, info};

/// The public half of Postern: keeps visitors' messages until a poller fetches them.
#[derive(Parser)]
#[command(name = "postern-relay", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// A file of settings (TOML): those of the flags, and the sites
    #[arg(long, env = "POSTERN_CONFIG", value_name = "PATH", global = true)]
    config: Option<PathBuf>,

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

        /// The site that the page is of, where the relay serves several
        #[arg(long)]
        site: Option<SiteId>,
    },
    /// Check the configuration, or show what it comes to
    Config(ConfigArgs),
    /// Make, list, replace and revoke the keys of pollers and operators
    Keys(KeysArgs),
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
    let command = Cli::command();
    let (matches, file) = match cli::parse(command.clone()) {
        Ok(parsed) => parsed,
        Err(problem) => return refuse(&problem),
    };
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|problem| problem.exit());
    log::init(&cli.log);
    match cli.command {
        Command::Serve(args) => serve(*args, file.sites),
        Command::Config(args) => args.run(&command, &matches, file),
        Command::Keys(args) => args.run(),
        Command::Keygen => print_line(&secret::generate()),
        Command::Embed { relay, site } => print_line(&script_line(&relay, site.as_ref())),
        Command::DeadLetters(args) => args.run(),
        Command::Backup(args) => args.run(),
        Command::Restore(args) => args.run(),
        Command::Check(args) => args.run(),
    }
}

/// Before anything can be logged.
fn refuse(problem: &FileError) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {problem}");
    ExitCode::from(EX_CONFIG)
}

fn print_line(line: &str) -> ExitCode {
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(args: ServeArgs, sites: Vec<SiteSettings>) -> ExitCode {
    match runtime() {
        Ok(runtime) => runtime.block_on(serve_until_ended(args, sites)),
        Err(problem) => {
            error!("the threads of the relay did not start: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// One core is left to the store's writer, which is as busy as all calls together. Where that leaves one for
/// them, they need nothing that shares work among threads.
fn runtime() -> io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = match cores {
        0..=2 => runtime::Builder::new_current_thread(),
        _ => runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(cores.saturating_sub(1).max(1)).enable_all().build()
}

async fn serve_until_ended(args: ServeArgs, sites: Vec<SiteSettings>) -> ExitCode {
    let config = match args.into_config(sites) {
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
            let code = if problem.is_of_config() { EX_CONFIG } else { 1 };
            return ExitCode::from(code);
        }
    };
    info!("listening on {}://{}", server.scheme(), server.address());
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
