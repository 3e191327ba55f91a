//! What is measured, and in which order.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::load::{Arrivals, Outcome};
use crate::processes::{self, Server};
use crate::report::{Figure, Line, Report};
use crate::{accept, limits, stored, streams};

/// How many messages go the whole way in one measurement.
const WHOLE_WAYS: u32 = 300;

/// The number of connections at which the highest rate is looked for.
const BUSIEST: u32 = 256;

const MIB: f64 = 1_048_576.0;

/// What one run measures.
pub(crate) struct Plan {
    pub(crate) stored: Vec<u64>,
    pub(crate) connections: Vec<u32>,
    pub(crate) rounds: u32,
    pub(crate) length: Duration,
    pub(crate) streams: u32,
}

/// Accepting at one number of connections, and the limits beside it.
#[derive(Default)]
struct Rates {
    echo: Vec<f64>,
    commit: Vec<f64>,
    accept: Vec<f64>,
    cpu_us: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    p999: Vec<f64>,
}

impl Plan {
    /// Measures everything; the databases are removed at the end.
    pub(crate) async fn carry_out(&self, out: &Path) -> Result<Report> {
        fs::create_dir_all(out)?;
        let folder = tempfile::tempdir_in(out)?;
        let mut report = Report::default();
        footprint(&mut report, folder.path()).await?;
        let echo = Server::start(&std::env::current_exe()?, &["echo"])?;
        let raw = stored::database(folder.path(), 0)?;
        whole_way(&mut report, &echo, &raw, folder.path()).await?;
        let mut smallest = Vec::new();
        for stored in &self.stored {
            let db = stored::database(folder.path(), *stored)?;
            let size = fs::metadata(&db)?.len() as f64 / *stored as f64;
            report.add(Line {
                what: "database, for each message".into(),
                when: format!("{stored} stored"),
                unit: "bytes",
                figure: Figure::of(vec![size]),
                ratio: None,
                of: String::new(),
            });
            let relay = Server::relay(&db)?;
            let mut rates = Vec::new();
            for connections in &self.connections {
                let found = self.accepting(*connections, &echo, &relay, &raw).await?;
                rates.push(tell(&mut report, *stored, *connections, &found));
            }
            grown(&mut report, *stored, &self.connections, &rates, &mut smallest);
            if self.stored.first() == Some(stored) {
                self.at_a_rate(&mut report, &relay, &rates).await?;
                self.streaming(&mut report, &relay).await?;
            }
        }
        Ok(report)
    }

    /// Limits and product by turns.
    async fn accepting(
        &self,
        connections: u32,
        echo: &Server,
        relay: &Server,
        raw: &Path,
    ) -> Result<Rates> {
        let mut rates = Rates::default();
        for _ in 0..self.rounds {
            let arrivals = Arrivals::Closed;
            let echoed = accept::echo(echo.address, connections, arrivals, self.length).await?;
            let rows = if connections == 1 { 1 } else { connections.min(BUSIEST) };
            let commit = tokio::task::block_in_place(|| limits::commit(raw, rows, self.length))?;
            let busy = relay.busy()?;
            let found = accept::run(relay.address, connections, arrivals, self.length).await?;
            let busy = relay.busy()?.saturating_sub(busy);
            rates.echo.push(echoed.per_second());
            rates.commit.push(commit.rows_per_second);
            rates.accept.push(found.per_second());
            rates.cpu_us.push(busy.as_secs_f64() * 1e6 / found.accepted as f64);
            rates.p50.push(found.ms(0.5));
            rates.p99.push(found.ms(0.99));
            rates.p999.push(found.ms(0.999));
        }
        Ok(rates)
    }

    /// At half of the highest rate, and at twice: what is refused is to be refused fast.
    async fn at_a_rate(&self, report: &mut Report, relay: &Server, rates: &[f64]) -> Result<()> {
        let highest = rates.iter().copied().fold(0.0, f64::max);
        for (share, when) in [(0.5, "half of the highest rate"), (2.0, "twice the highest rate")] {
            let mut outcomes = Vec::new();
            for _ in 0..self.rounds {
                let arrivals = Arrivals::PerSecond(highest * share);
                outcomes.push(accept::run(relay.address, BUSIEST, arrivals, self.length).await?);
            }
            let figure =
                |value: &dyn Fn(&Outcome) -> f64| Figure::of(outcomes.iter().map(value).collect());
            let mut add = |what: &str, unit, figure: Figure, ratio| {
                let (what, when, of) = (what.into(), when.into(), String::new());
                report.add(Line { what, when, unit, figure, ratio, of });
            };
            let accepted = figure(&Outcome::per_second);
            add("accepted", "/s", accepted, Some(accepted.median / highest));
            add("refused", "", figure(&|outcome| outcome.refused as f64), None);
            for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                add(&format!("accept {name}"), "ms", figure(&|outcome| outcome.ms(quantile)), None);
            }
        }
        Ok(())
    }

    async fn streaming(&self, report: &mut Report, relay: &Server) -> Result<()> {
        let idle = streams::idle(relay, self.streams).await?;
        let when = format!("{} open streams", idle.streams);
        let lines = [
            ("memory of a stream", "KiB", idle.bytes_each / 1_024.0, "at most 12"),
            ("time to open them", "s", idle.opened_in.as_secs_f64(), ""),
            ("of one core while nothing is said", "%", idle.share_of_core * 100.0, "none"),
        ];
        for (what, unit, value, of) in lines {
            let figure = Figure::of(vec![value]);
            let (what, when, of) = (what.into(), when.clone(), of.into());
            report.add(Line { what, when, unit, figure, ratio: None, of });
        }
        Ok(())
    }
}

/// What both halves take while they do nothing.
async fn footprint(report: &mut Report, folder: &Path) -> Result<()> {
    let relay = Server::relay(&folder.join("idle.db"))?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let size =
        |name| Ok::<_, anyhow::Error>(fs::metadata(processes::binary(name)?)?.len() as f64 / 1e6);
    let lines = [
        ("relay: start to listening", "ms", relay.started_in.as_secs_f64() * 1e3, "at most 50"),
        ("relay: resident", "MiB", relay.resident_bytes()? as f64 / MIB, "at most 12"),
        ("relay: binary", "MB", size("postern-relay")?, "at most 15"),
        ("poller: binary", "MB", size("postern-poller")?, "at most 15"),
    ];
    for (what, unit, value, of) in lines {
        let (what, when, of) = (what.into(), "idle".into(), of.into());
        report.add(Line { what, when, unit, figure: Figure::of(vec![value]), ratio: None, of });
    }
    Ok(())
}

/// Adds what accepting came to; returns the rate.
fn tell(report: &mut Report, stored: u64, connections: u32, rates: &Rates) -> f64 {
    let when = format!("{connections} connections, {stored} stored");
    let (echo, commit) = (Figure::of(rates.echo.clone()), Figure::of(rates.commit.clone()));
    let accept = Figure::of(rates.accept.clone());
    let limit = echo.median.min(commit.median);
    let mut add = |what: &str, unit, figure, ratio, of: &str| {
        let (what, when, of) = (what.into(), when.clone(), of.into());
        report.add(Line { what, when, unit, figure, ratio, of });
    };
    add("limit: echo", "/s", echo, None, "");
    add("limit: commits", "/s", commit, None, "");
    add("accepted", "/s", accept, Some(accept.median / limit), "the lower limit; at least 0.60");
    add("relay's processor time each", "µs", Figure::of(rates.cpu_us.clone()), None, "");
    let p50 = Figure::of(rates.p50.clone());
    let commits = (connections == 1).then(|| p50.median / (1_000.0 / commit.median));
    add(
        "accept p50",
        "ms",
        p50,
        commits,
        if connections == 1 { "a commit; at most 3" } else { "" },
    );
    add("accept p99", "ms", Figure::of(rates.p99.clone()), None, "");
    add("accept p99.9", "ms", Figure::of(rates.p999.clone()), None, "");
    accept.median
}

/// How the rates compare with those when the least was stored.
fn grown(
    report: &mut Report,
    stored: u64,
    connections: &[u32],
    rates: &[f64],
    smallest: &mut Vec<f64>,
) {
    if smallest.is_empty() {
        smallest.extend_from_slice(rates);
        return;
    }
    for ((rate, least), connections) in rates.iter().zip(smallest).zip(connections) {
        report.add(Line {
            what: "accepted".into(),
            when: format!("{connections} connections, {stored} stored"),
            unit: "/s",
            figure: Figure::of(vec![*rate]),
            ratio: Some(rate / *least),
            of: "the smallest database; at least 0.80".into(),
        });
    }
}

/// From a message to its echo on the event stream, with nothing else going on.
async fn whole_way(report: &mut Report, echo: &Server, raw: &Path, folder: &Path) -> Result<()> {
    let db = folder.join("whole-way.db");
    fs::copy(raw, &db)?;
    let relay = Server::relay(&db)?;
    let _poller = processes::Poller::start(relay.address, &folder.join("poller.db"))?;
    let way = streams::whole_way(relay.address, WHOLE_WAYS).await?;
    let trip = accept::echo(echo.address, 1, Arrivals::Closed, Duration::from_secs(1)).await?;
    let commit = tokio::task::block_in_place(|| limits::commit(raw, 1, Duration::from_secs(1)))?;
    let bound = 4.0 * (trip.ms(0.5) + commit.latencies.value_at_quantile(0.5) as f64 / 1e3);
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let ms = way.value_at_quantile(quantile) as f64 / 1e3;
        report.add(Line {
            what: format!("the whole way {name}"),
            when: "nothing else".into(),
            unit: "ms",
            figure: Figure::of(vec![ms]),
            ratio: Some(ms / bound),
            of: "4 bare round trips and 4 commits; p50 at most 1".into(),
        });
    }
    Ok(())
}
