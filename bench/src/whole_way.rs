//! The whole way: from a visitor's message by relay, poller and agent to the reply on the visitor's page.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::{self, JoinSet};

use crate::accept;
use crate::bench::Bench;
use crate::limits;
use crate::line::Line;
use crate::load::{Arrivals, Load};
use crate::outcome::{Outcome, ms};
use crate::processes::{Running, Server};
use crate::stored::MESSAGE;
use crate::visitor::Visitor;

/// How many visitors write at once when many do.
const VISITORS: u32 = 64;

pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    let (raw, db) = (bench.fresh("raw.db")?, bench.fresh("whole-way.db")?);
    let relay = Server::relay(&db)?;
    let poller = Running::poller(relay.address, &bench.path("whole-way-poller.db"))?;
    let highest = crowd(bench, &relay, &poller).await?;
    let length = bench.plan.length;
    let (mut alone, mut bounds, mut half) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.plan.rounds {
        let from = VISITORS * (1 + 2 * round);
        alone.push(run(relay.address, from..from + 1, Arrivals::Closed, length).await?);
        bounds.push(bound(bench, &raw).await?);
        let arrivals = Arrivals::PerSecond(highest / 2.0);
        let visitors = from + VISITORS..from + 2 * VISITORS;
        half.push(run(relay.address, visitors, arrivals, length).await?);
    }
    bounds.sort_by(f64::total_cmp);
    let bound = bounds.get(bounds.len() / 2).copied().unwrap_or(f64::NAN);
    let of = |outcomes: &[Outcome], quantile| {
        outcomes.iter().map(|outcome| outcome.ms(quantile)).collect::<Vec<_>>()
    };
    for (outcomes, when) in [(&alone, "nothing else"), (&half, "half of the highest load")] {
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let line = Line::new(format!("whole way {name}"), when, "ms", of(outcomes, quantile));
            let line = line.beside(bound, "4 bare round trips and 4 commits");
            let is_judged = name == "p50" && when == "nothing else";
            bench.report.add(if is_judged { line.at_most(1.0) } else { line });
        }
    }
    Ok(())
}

/// As many visitors as write at once; returns how many are answered in a second.
async fn crowd(bench: &mut Bench, relay: &Server, poller: &Running) -> Result<f64> {
    let halves = [("relay", &relay.process), ("poller", poller)];
    let busy = || halves.iter().map(|(_, half)| half.busy()).collect::<Result<Vec<_>>>();
    let before = busy()?;
    let outcome = run(relay.address, 0..VISITORS, Arrivals::Closed, bench.plan.length * 2).await?;
    let after = busy()?;
    let when = format!("{VISITORS} visitors, each on and on");
    bench.report.add(Line::new("whole way: answered", &when, "/s", outcome.per_second()));
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let what = format!("whole way {name}");
        bench.report.add(Line::new(what, &when, "ms", outcome.ms(quantile)));
    }
    for (((name, _), after), before) in halves.iter().zip(after).zip(before) {
        let each = after.saturating_sub(before).as_secs_f64() * 1e6 / outcome.accepted() as f64;
        let what = format!("{name}'s processor time each");
        bench.report.add(Line::new(what, &when, "µs", each));
    }
    Ok(outcome.per_second())
}

/// Four round trips and four commits, in milliseconds.
async fn bound(bench: &Bench, raw: &Path) -> Result<f64> {
    let trip = Duration::from_millis(500);
    let echoed = accept::echo(bench.echo.address, 1, Arrivals::Closed, trip).await?;
    let commits = task::block_in_place(|| limits::commit(raw, 1, trip))?;
    Ok(4.0 * (echoed.ms(0.5) + ms(&commits.latencies, 0.5)))
}

/// Visitors who each wait for their reply before they write again.
async fn run(
    relay: SocketAddr,
    visitors: std::ops::Range<u32>,
    arrivals: Arrivals,
    length: Duration,
) -> Result<Outcome> {
    let mut present = Vec::new();
    for session in visitors {
        present.push(Visitor::arrive(relay, session).await?);
    }
    let load = Load::new(arrivals, length)?;
    let mut callers = JoinSet::new();
    for visitor in present {
        callers.spawn(talk(visitor, Arc::clone(&load)));
    }
    load.done(callers).await
}

async fn talk(mut visitor: Visitor, load: Arc<Load>) -> Result<()> {
    while let Some(due) = load.next().await {
        let message = visitor.says(MESSAGE).await?;
        visitor.hears_reply_to(message).await?;
        load.accepted(due);
    }
    Ok(())
}
