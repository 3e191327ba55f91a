//! Logs: to standard error, coloured only where a person looks.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How a program logs.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// What to log, such as `debug` or `warn,postern_relay=debug`
    #[arg(long, env = "POSTERN_LOG", default_value = "info", value_name = "FILTER", global = true)]
    pub log: String,

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
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&args.log))
        .with_ansi(colours)
        .with_writer(io::stderr);
    match args.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
