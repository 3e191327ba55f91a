//! More than the relay can take: what it accepts, how fast it refuses the rest, and how soon it is well.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use rusqlite::{Connection as Database, OpenFlags};
use tokio::time;

use crate::accept;
use crate::bench::Bench;
use crate::http::Connection;
use crate::line::{Line, grouped};
use crate::load::{self, Arrivals};
use crate::outcome::{Outcome, histogram, ms, record};
use crate::processes::Server;
use crate::stored::{MESSAGE, SESSIONS};

/// More than the writes of visitors that may wait (3,584), so that some are refused.
const CONNECTIONS: u32 = 6_000;

/// What is to be kept of the highest rate, once so many connections and refusals have taken what they take of
/// a server that does nothing; and how long an answer may take, in milliseconds.
const KEPT: f64 = 0.9;
const ACCEPT_MS: f64 = 500.0;
const REFUSE_MS: f64 = 100.0;

/// The conversation of whoever writes alone, before and after.
const ALONE: u32 = SESSIONS - 1;

/// A relay that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many messages in a row that are as fast as before are no accident.
const WELL: usize = 10;

/// What it came to, round by round.
#[derive(Default)]
struct Rounds {
    highest: Vec<f64>,
    /// Of an echo, over as many connections as the highest rate and as the overload.
    echo: Vec<f64>,
    crowded_echo: Vec<f64>,
    sent: Vec<f64>,
    accepted: Vec<f64>,
    accept_p99: Vec<f64>,
    refused: Vec<f64>,
    /// Of the rounds in which any was.
    refuse_p50: Vec<f64>,
    refuse_p99: Vec<f64>,
    cpu_us: Vec<f64>,
    recovery: Vec<f64>,
}

/// The highest rate comes over so many connections.
pub(crate) async fn measure(
    bench: &mut Bench,
    relay: &Server,
    db: &Path,
    busiest: u32,
) -> Result<()> {
    let rows = count(db)?;
    let before = lone_messages(relay.address).await?;
    let usual_ms = 2.0 * ms(&before, 0.5);
    let (mut rounds, mut answered) = (Rounds::default(), before.len());
    for round in 0..bench.plan.rounds {
        let length = bench.plan.length * 2;
        let highest = accept::run(relay.address, busiest, Arrivals::Closed, length).await?;
        let echo =
            |connections| accept::echo(bench.echo.address, connections, Arrivals::Closed, length);
        rounds.echo.push(echo(busiest).await?.per_second());
        rounds.crowded_echo.push(echo(CONNECTIONS).await?.per_second());
        let flood = Arrivals::Flood(2.0 * highest.per_second());
        let connections = load::open(relay.address, CONNECTIONS).await?;
        let busy = relay.process.busy()?;
        let (outcome, recovery) = tokio::try_join!(
            accept::run_over(connections, flood, length),
            recover(relay, length, usual_ms, round),
        )?;
        let busy = relay.process.busy()?.saturating_sub(busy);
        let (waited, after) = recovery;
        answered += highest.accepted() + outcome.accepted() + after;
        rounds.highest.push(highest.per_second());
        rounds.note(&outcome, busy, waited);
    }
    rounds.tell(bench);
    let lost = (answered as f64) - (count(db)? - rows) as f64;
    let line = Line::new("accepted, not stored", "overload", "", lost);
    bench.report.add(line.at_most(0.0));
    Ok(())
}

impl Rounds {
    fn note(&mut self, outcome: &Outcome, busy: Duration, waited: Duration) {
        let seconds = outcome.took.as_secs_f64();
        let refused = outcome.refusals.len();
        let sent = (outcome.accepted() + refused) as f64;
        self.sent.push(sent / seconds);
        self.accepted.push(outcome.per_second());
        self.accept_p99.push(outcome.ms(0.99));
        self.refused.push(refused as f64 / seconds);
        if refused > 0 {
            self.refuse_p50.push(ms(&outcome.refusals, 0.5));
            self.refuse_p99.push(ms(&outcome.refusals, 0.99));
        }
        self.cpu_us.push(busy.as_secs_f64() * 1e6 / sent);
        self.recovery.push(waited.as_secs_f64());
    }

    /// What is left of the highest rate in each round, if so many connections make a message as much dearer as
    /// they make an echo, and a refusal costs an echo.
    fn left(&self) -> Vec<f64> {
        let each = |round: usize| {
            let echo = 1.0 / self.crowded_echo[round];
            let message = 1.0 / self.highest[round] + echo - 1.0 / self.echo[round];
            (1.0 - self.refused[round] * echo) / message
        };
        (0..self.highest.len()).map(each).collect()
    }

    fn tell(self, bench: &mut Bench) {
        let overload =
            format!("twice the highest rate, {} connections", grouped(CONNECTIONS.into()));
        let waiting = format!("{} connections, each on and on", grouped(CONNECTIONS.into()));
        let of_highest =
            |what, rounds| Line::rate(what, &overload, rounds, &self.highest, "the highest rate");
        let (what, to) = ("accepted, beside what is left", "what is left");
        let beside = Line::rate(what, &overload, &self.accepted, &self.left(), to);
        for line in [
            of_highest("sent", &self.sent),
            of_highest("accepted", &self.accepted),
            beside.at_least(KEPT),
            Line::rate(
                "echo",
                &waiting,
                &self.crowded_echo,
                &self.echo,
                "that at the highest rate",
            ),
            Line::new("accept p99", &overload, "ms", self.accept_p99).at_most(ACCEPT_MS),
            Line::new("refused", &overload, "/s", self.refused),
            Line::new("relay's processor time each", &overload, "µs", self.cpu_us),
            Line::new("until a lone message is as before", "after it", "s", self.recovery)
                .at_most(1.0),
        ] {
            bench.report.add(line);
        }
        if !self.refuse_p50.is_empty() {
            bench.report.add(Line::new("refuse p50", &overload, "ms", self.refuse_p50));
            let line = Line::new("refuse p99", &overload, "ms", self.refuse_p99);
            bench.report.add(line.at_most(REFUSE_MS));
        }
    }
}

/// Messages one after another, with nothing else going on.
async fn lone_messages(relay: SocketAddr) -> Result<Histogram<u64>> {
    let mut posts = Connection::open(relay).await?;
    let mut latencies = histogram()?;
    for number in 0..500 {
        let took = post(&mut posts, &format!("before-{number:08}")).await?;
        record(&mut latencies, took.context("a lone message was refused")?);
    }
    Ok(latencies)
}

/// How long after the load's end messages are accepted as fast as before, and how many were meanwhile.
async fn recover(
    relay: &Server,
    load: Duration,
    usual_ms: f64,
    round: u32,
) -> Result<(Duration, u64)> {
    time::sleep(load).await;
    let end = Instant::now();
    let mut posts = Connection::open(relay.address).await?;
    let (mut well, mut since, mut accepted) = (0, end, 0);
    while well < WELL && end.elapsed() < PATIENCE {
        let from = Instant::now();
        let took = post(&mut posts, &format!("after-{round}-{accepted:08}")).await?;
        accepted += u64::from(took.is_some());
        let is_well = took.is_some_and(|took| took.as_secs_f64() * 1e3 <= usual_ms);
        since = if is_well && well == 0 { from } else { since };
        well = if is_well { well + 1 } else { 0 };
    }
    let waited = if well == WELL { since - end } else { PATIENCE };
    Ok((waited, accepted))
}

/// How long it took; `None` when it was refused.
async fn post(posts: &mut Connection, key: &str) -> Result<Option<Duration>> {
    let mut request = Vec::new();
    accept::write_message(&mut request, ALONE, key, MESSAGE);
    let from = Instant::now();
    let status = posts.call(&request).await?.status;
    ensure!(status == 200 || status == 503, "a lone message was answered {status}");
    Ok((status == 200).then(|| from.elapsed()))
}

fn count(db: &Path) -> Result<i64> {
    let database = Database::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    Ok(database.query_row("SELECT count(*) FROM message", [], |row| row.get(0))?)
}
