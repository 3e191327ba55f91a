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

/// As many as may wait: what they come to tells what so many connections cost, from what an overload does.
const CROWD: u32 = 3_500;

/// What is to be kept of the highest rate, and how long an answer may take, in milliseconds.
const KEPT: f64 = 0.9;
const ACCEPT_MS: f64 = 1_000.0;
const REFUSE_MS: f64 = 100.0;

/// The conversation of whoever writes alone, before and after.
const ALONE: u32 = SESSIONS - 1;

/// A relay that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many messages in a row that are as fast as before are no accident.
const WELL: usize = 10;

pub(crate) async fn measure(
    bench: &mut Bench,
    relay: &Server,
    db: &Path,
    highest: f64,
) -> Result<()> {
    let rows = count(db)?;
    let before = lone_messages(relay.address, "before").await?;
    let length = bench.plan.length * 2;
    let crowd = accept::run(relay.address, CROWD, Arrivals::Closed, length).await?;
    let flood = Arrivals::Flood(2.0 * highest);
    let connections = load::open(relay.address, CONNECTIONS).await?;
    let busy = relay.process.busy()?;
    let (outcome, recovery) = tokio::try_join!(
        accept::run_over(connections, flood, length),
        recover(relay, length, 2.0 * ms(&before, 0.5)),
    )?;
    let busy = relay.process.busy()?.saturating_sub(busy);
    let (waited, after) = recovery;
    let answered = before.len() + crowd.accepted() + outcome.accepted() + after;
    tell(bench, &outcome, (highest, crowd.per_second()), waited);
    let each = busy.as_secs_f64() * 1e6 / (outcome.accepted() + outcome.refusals.len()) as f64;
    bench.report.add(Line::new("relay's processor time each", "overload", "µs", each));
    let lost = (answered as f64) - (count(db)? - rows) as f64;
    let line = Line::new("accepted, not stored", "overload", "", lost);
    bench.report.add(line.at_most(0.0));
    Ok(())
}

fn tell(bench: &mut Bench, outcome: &Outcome, (highest, crowd): (f64, f64), waited: Duration) {
    let when = format!("twice the highest rate, {} connections", grouped(CONNECTIONS.into()));
    let (seconds, refused) = (outcome.took.as_secs_f64(), outcome.refusals.len());
    let sent = (outcome.accepted() + refused) as f64 / seconds;
    let to = "the highest rate";
    let accepted = Line::new("accepted", &when, "/s", outcome.per_second());
    bench.report.add(Line::new("sent", &when, "/s", sent).beside(highest, to));
    bench.report.add(accepted.beside(highest, to).at_least(KEPT));
    let waiting = format!("{} connections, each on and on", grouped(CROWD.into()));
    bench.report.add(Line::new("accepted", &waiting, "/s", crowd).beside(highest, to));
    let beside = outcome.per_second() / crowd;
    let what = "accepted, beside those that wait";
    bench.report.add(Line::new(what, &when, "×", beside).at_least(KEPT));
    bench.report.add(Line::new("accept p99", &when, "ms", outcome.ms(0.99)).at_most(ACCEPT_MS));
    bench.report.add(Line::new("refused", &when, "/s", refused as f64 / seconds));
    if refused > 0 {
        let [p50, p99] = [0.5, 0.99].map(|quantile| ms(&outcome.refusals, quantile));
        bench.report.add(Line::new("refuse p50", &when, "ms", p50));
        bench.report.add(Line::new("refuse p99", &when, "ms", p99).at_most(REFUSE_MS));
    }
    let what = "until a lone message is as before";
    bench.report.add(Line::new(what, "after it", "s", waited.as_secs_f64()).at_most(1.0));
}

/// Messages one after another, with nothing else going on.
async fn lone_messages(relay: SocketAddr, name: &str) -> Result<Histogram<u64>> {
    let mut posts = Connection::open(relay).await?;
    let mut latencies = histogram()?;
    for number in 0..500 {
        let took = post(&mut posts, &format!("{name}-{number:08}")).await?;
        record(&mut latencies, took.context("a lone message was refused")?);
    }
    Ok(latencies)
}

/// How long after the load's end messages are accepted as fast as before, and how many were meanwhile.
async fn recover(relay: &Server, load: Duration, usual_ms: f64) -> Result<(Duration, u64)> {
    time::sleep(load).await;
    let end = Instant::now();
    let mut posts = Connection::open(relay.address).await?;
    let (mut well, mut since, mut accepted) = (0, end, 0);
    while well < WELL && end.elapsed() < PATIENCE {
        let from = Instant::now();
        let took = post(&mut posts, &format!("after-{accepted:08}")).await?;
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
