//! Logs: to standard error, coloured only where a person looks.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// How a program logs.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// What to log, such as `debug` or `warn,postern_relay=debug`
    #[arg(long, env = "POSTERN_LOG", default_value = "info", value_name = "FILTER", global = true)]
    pub log: Targets,

    /// How to log
    #[arg(
        long,
        env = "POSTERN_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT",
        global = true
    )]
    pub log_format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Starts logging; once, at the start of `main`.
pub fn init(args: &LogArgs) {
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = fmt::layer().with_ansi(colours).with_writer(io::stderr);
    let lines = match args.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // The filter is a layer of its own, around the others: what it keeps out is then asked for once.
    registry().with(lines).with(args.log.clone()).init();
}
