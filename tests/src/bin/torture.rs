//! The fault tests in their long form: thousands of kills and broken connections, by a seed.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use postern_tests::torture::{self, Plan};

/// Breaks a real bridge over and over while visitors use it, and checks what is left.
///
/// Build the workspace first: `cargo build --workspace`.
#[derive(Parser)]
struct Cli {
    /// Chooses every fault; printed, so that a run can be repeated
    #[arg(long, default_value_t = u64::from(std::process::id()))]
    seed: u64,

    /// How many times a process is killed
    #[arg(long, default_value_t = 3_000)]
    kills: u64,

    /// How many connections are broken
    #[arg(long, default_value_t = 3_000)]
    cuts: u64,

    /// How many visitors talk at the same time
    #[arg(long, default_value_t = 12)]
    visitors: u64,
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let Cli { seed, kills, cuts, visitors } = Cli::parse();
    let plan = Plan { seed, kills, cuts, visitors };
    let mut out = io::stdout();
    writeln!(out, "seed {seed}")?;
    let watched = io::stderr().is_terminal();
    let report = torture::run(plan, |killed, cut| {
        if watched {
            let _ = write!(io::stderr(), "\r{killed}/{kills} kills, {cut}/{cuts} cuts ");
        }
    });
    let report = report.await;
    writeln!(out, "\n{report}")?;
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
