//! `postern-poller`: parse, then run, ask or examine.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use postern_host::log::{self, LogArgs};
use postern_host::{EX_CONFIG, signal};
use postern_poller::agent::{Agent, AgentArgs, Draft, Written};
use postern_poller::config::RunArgs;
use postern_poller::doctor::{self, Finding};
use postern_poller::poller::{self, PollerError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The private half of Postern: pulls messages from the relay, asks the agent, posts the replies.
#[derive(Parser)]
#[command(name = "postern-poller", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    log: LogArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Pull messages, ask the agent, post the replies, until told to end
    Run(Box<RunArgs>),
    /// Ask the agent once, here, without a relay
    Ask {
        /// What to ask
        text: String,

        #[command(flatten)]
        agent: Box<AgentArgs>,
    },
    /// Check the relay, the key, the agent, the queue, and that nothing listens
    Doctor {
        #[command(flatten)]
        args: Box<RunArgs>,

        /// Print the findings as JSON, one a line
        #[arg(long)]
        json: bool,
    },
}

// On one thread: a poller waits nearly all of the time, and to wake another thread takes longer than
// most of what it does in between.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    log::init(&cli.log);
    match cli.command {
        Command::Run(args) => run(*args).await,
        Command::Ask { text, agent } => ask(&text, &agent).await,
        Command::Doctor { args, json } => examine(*args, json).await,
    }
}

async fn run(args: RunArgs) -> ExitCode {
    let config = match args.into_config() {
        Ok(config) => config,
        Err(problem) => return bad_config(&problem),
    };
    if !config.relay.is_private() {
        warn!("the relay's address is not https: anyone on the way can read the key");
    }
    let cancelled = CancellationToken::new();
    let ending = cancelled.clone();
    let asked_to_end = signal::asked_to_end();
    tokio::spawn(async move {
        asked_to_end.await;
        info!("shutting down");
        ending.cancel();
    });
    match poller::run(config, cancelled).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem @ PollerError::KeyRefused(_)) => bad_config(&problem),
        Err(problem) => {
            error!("{problem}");
            ExitCode::FAILURE
        }
    }
}

async fn ask(text: &str, agent: &AgentArgs) -> ExitCode {
    let agent = match Agent::from_args(agent) {
        Ok(agent) => agent,
        Err(problem) => return bad_config(&problem),
    };
    let question = match doctor::question(text) {
        Ok(question) => question,
        Err(problem) => return bad_config(&problem),
    };
    let draft = Draft::default();
    let mut printer = Printer::default();
    let answer = tokio::select! {
        answer = agent.write_answer(&question, &draft) => answer,
        () = printer.print_as_written(draft.watch()) => return ExitCode::FAILURE,
        () = signal::asked_to_end() => return ExitCode::FAILURE,
    };
    for file in draft.files().kept {
        let _ = writeln!(io::stderr(), "file: {}, {}", file.name, file.media_type);
    }
    match answer {
        Ok(reply) => print(reply.get(printer.printed..).unwrap_or_default()),
        Err(problem) => {
            error!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a reply while it is written.
#[derive(Default)]
struct Printer {
    /// How much of it has been printed, in bytes.
    printed: usize,
}

impl Printer {
    /// Returns when nobody reads any more.
    async fn print_as_written(&mut self, mut written: watch::Receiver<Written>) {
        while written.changed().await.is_ok() {
            let written = written.borrow_and_update().clone();
            // The line ends after a reply are not part of it.
            let text = written.text.trim_end_matches(['\r', '\n']);
            let piece = text.get(self.printed..).unwrap_or_default();
            if write!(io::stdout(), "{piece}").and_then(|()| io::stdout().flush()).is_err() {
                return;
            }
            self.printed += piece.len();
            if let Some(words) = written.progress {
                let _ = writeln!(io::stderr(), "status: {words}");
            }
        }
    }
}

async fn examine(args: RunArgs, json: bool) -> ExitCode {
    let well = doctor::examine(args, |finding| {
        let line = if json { as_json(finding) } else { as_line(finding) };
        print(&line);
    });
    if well.await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn as_line(finding: &Finding) -> String {
    let mark = if finding.ok { "ok  " } else { "FAIL" };
    format!("{mark}  {:<8} {}", finding.check, finding.sentence)
}

fn as_json(finding: &Finding) -> String {
    serde_json::to_string(finding).unwrap_or_default()
}

fn print(line: &str) -> ExitCode {
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn bad_config(problem: &dyn std::error::Error) -> ExitCode {
    error!("{problem}");
    ExitCode::from(EX_CONFIG)
}
