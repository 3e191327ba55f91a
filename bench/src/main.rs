//! `cargo bench-all`: Postern's halves, measured in one run as shares of what this machine can do.
//!
//! Limits and product take turns, round by round, so that a machine that slows down slows both. Each
//! figure is the median of its rounds; what counts is the ratio beside it.

mod accept;
mod agent;
mod at_a_rate;
mod bench;
mod chart;
mod chunks;
mod compare;
mod footprint;
mod growth;
mod http;
mod http2;
mod instructions;
mod limits;
mod line;
mod load;
mod outcome;
mod overload;
mod pictures;
mod plan;
mod processes;
mod promises;
mod prototype;
mod rates;
mod report;
mod single_calls;
mod stored;
mod streams;
mod verify;
mod visitor;
mod whole_way;
mod widget;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum as _};

use crate::bench::{Bench, Plan};
use crate::plan::Topic;

/// Measures Postern's halves as shares of what this machine can do; about nine minutes.
#[derive(Parser)]
#[command(name = "cargo bench-all")]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,

    /// How many messages are stored beforehand, in turn; multiples of 10,000
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "10000,1000000,10000000",
          value_parser = stored::amount)]
    stored: Vec<u64>,

    /// Over how many connections messages come, in turn
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,16,64,256,1024")]
    connections: Vec<u32>,

    /// Measure only these, in the order of the whole
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    only: Option<Vec<Topic>>,

    /// How often each figure is measured
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: u32,

    /// How long each measurement takes, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    length: f64,

    /// How many event streams are opened, in turn; more than the limit of open files allows share
    /// connections by HTTP/2
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "10000,50000")]
    streams: Vec<u32>,

    /// Measure nothing: check, for a quarter of a minute, that with 400 visitors every message is
    /// answered exactly once and in order; exits 1 when one is not
    #[arg(long)]
    verify: bool,

    /// Where the report goes, and the databases while they are needed
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,

    /// Measure the binaries that lie beside this one as they are
    #[arg(long)]
    no_build: bool,
}

#[derive(Subcommand)]
enum Part {
    /// A server that echoes, for comparison
    #[command(hide = true)]
    Echo,
    /// The least that stores messages, for comparison
    #[command(hide = true)]
    Prototype {
        /// Its database, made by a relay
        db: PathBuf,
    },
    /// Tells which of several relays accepts messages faster: they take turns, second by second
    Compare {
        /// Binaries of the relay; each is compared with the first
        #[arg(required = true)]
        relays: Vec<PathBuf>,

        /// Over how many connections messages come
        #[arg(long, value_name = "N", default_value_t = 256)]
        connections: u32,

        /// How many messages are stored beforehand; a multiple of 10,000
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = stored::amount)]
        stored: u64,

        /// How many turns each has
        #[arg(long, value_name = "N", default_value_t = 15)]
        turns: u32,
    },
    /// Counts the instructions of the relay's hot calls; fails when one takes over a tenth more than kept
    Instructions {
        /// Keep the new counts instead
        #[arg(long)]
        accept: bool,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.part {
        Some(Part::Echo) => return limits::serve_echo().await,
        Some(Part::Prototype { db }) => return prototype::serve(db).await,
        Some(Part::Compare { relays, connections, stored, turns }) => {
            let terms = compare::Terms { turns, connections, stored };
            return compare::run(&relays, terms, &cli.out).await;
        }
        Some(Part::Instructions { accept }) => return instructions::run(accept).await,
        None => {}
    }
    if !cli.no_build {
        processes::build()?;
    }
    if cli.verify {
        eprintln!("{}", verify::run(&cli.out).await?);
        return Ok(());
    }
    let plan = Plan {
        topics: cli.only.unwrap_or_else(|| Topic::value_variants().to_vec()),
        stored: cli.stored,
        connections: cli.connections,
        rounds: cli.rounds,
        length: Duration::from_secs_f64(cli.length),
        streams: cli.streams,
    };
    let mut bench = Bench::new(plan, &cli.out)?;
    let measured = plan::carry_out(&mut bench).await;
    // What was measured is kept, whatever came after.
    bench.report.write(&cli.out)?;
    bench.report.missed().for_each(|missed| eprintln!("missed: {missed}"));
    eprintln!("\nwritten to {}", cli.out.join("report.md").display());
    measured
}
