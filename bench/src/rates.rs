//! How many messages are accepted in a second, beside what the machine can do at most.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tokio::task;

use crate::accept;
use crate::bench::{Bench, Size};
use crate::chart::{Chart, Curve};
use crate::growth::Growth;
use crate::limits;
use crate::line::{Figure, Line, grouped};
use crate::load::Arrivals;
use crate::outcome::ms;
use crate::processes::Server;

/// The number of connections at which the highest rate is looked for.
pub(crate) const BUSIEST: u32 = 256;

/// How much of a prototype's rate is to be left with everything on.
const OF_PROTOTYPE: f64 = 0.86;

/// Accepting at one number of connections with so much stored, and the limits beside it, round by round.
#[derive(Default)]
struct Rounds {
    echo: Vec<f64>,
    /// Only with the least stored.
    prototype: Vec<f64>,
    commits: Vec<f64>,
    commit_ms: Vec<f64>,
    accepted: Vec<f64>,
    cpu_us: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    p999: Vec<f64>,
}

/// The medians over all numbers of connections, for the picture.
#[derive(Default)]
pub(crate) struct Rates {
    pub(crate) accepted: Vec<f64>,
    limits: Vec<f64>,
    prototypes: Vec<f64>,
}

impl Rates {
    /// The most that was accepted in a second, and over how many of these connections.
    pub(crate) fn highest(&self, connections: &[u32]) -> Option<(f64, u32)> {
        let rates = self.accepted.iter().copied().zip(connections.iter().copied());
        rates.max_by(|(one, _), (other, _)| one.total_cmp(other))
    }
}

/// A relay on a database of one size, and a copy of that for raw commits.
struct Contestant {
    stored: u64,
    relay: Server,
    raw: PathBuf,
    rounds: Rounds,
}

/// Measures every number of connections, each beginning with copies of these databases; what each size came
/// to.
pub(crate) async fn measure(
    bench: &mut Bench,
    sizes: &[Size],
    growth: &mut Growth,
) -> Result<Vec<Rates>> {
    let mut all: Vec<_> = sizes.iter().map(|_| Rates::default()).collect();
    for connections in bench.plan.connections.clone() {
        let contestants = measure_all(bench, connections, sizes).await?;
        for (Contestant { stored, rounds, .. }, rates) in contestants.into_iter().zip(&mut all) {
            rates.prototypes.extend(rounds.prototype().map(|prototype| prototype.median));
            rates.accepted.push(Figure::from(rounds.accepted.clone()).median);
            growth.rate(bench, over(connections), stored, &rounds.accepted);
            rates.limits.push(rounds.tell(bench, stored, connections));
        }
    }
    Ok(all)
}

/// Echo and a prototype, and then raw commits and a relay for each size by turns, round by round.
async fn measure_all(bench: &Bench, connections: u32, sizes: &[Size]) -> Result<Vec<Contestant>> {
    let start = |size: &Size| {
        let [db, raw] = bench.copies(size)?;
        let (relay, rounds) = (Server::relay(&db)?, Rounds::default());
        Ok(Contestant { stored: size.stored, relay, raw, rounds })
    };
    let mut contestants = sizes.iter().map(start).collect::<Result<Vec<_>>>()?;
    let prototype = |least| Server::prototype(&bench.copy(least, "prototype")?);
    let prototype = sizes.first().map(prototype).transpose()?;
    let (closed, length) = (Arrivals::Closed, bench.plan.length);
    for _ in 0..bench.plan.rounds {
        let echo = accept::echo(bench.echo.address, connections, closed, length).await?;
        if let (Some(prototype), Some(least)) = (&prototype, contestants.first_mut()) {
            let found = accept::run(prototype.address, connections, closed, length).await?;
            least.rounds.prototype.push(found.per_second());
        }
        for Contestant { relay, raw, rounds, .. } in &mut contestants {
            rounds.echo.push(echo.per_second());
            rounds.take_turn(connections, relay, raw, length).await?;
        }
    }
    Ok(contestants)
}

/// What was accepted with each size of database, and the limits of the smallest, with its prototype.
pub(crate) fn chart(connections: &[u32], stored: &[u64], rates: &[Rates]) -> Chart {
    let curve = |(stored, rates): (&u64, &Rates)| {
        Curve::measured(format!("{} stored", grouped(*stored)), rates.accepted.clone())
    };
    let mut curves: Vec<_> = stored.iter().zip(rates).map(curve).collect();
    if let Some(smallest) = rates.first() {
        curves.push(Curve::measured("prototype, least stored", smallest.prototypes.clone()));
        curves.push(Curve::bound("limit, least stored", smallest.limits.clone()));
        let target = smallest.limits.iter().map(|limit| 0.6 * limit).collect();
        curves.push(Curve::bound("0.60 of the limit", target));
    }
    Chart {
        name: "accepted",
        title: "Messages accepted in a second",
        x: "connections",
        y: "messages/s",
        at: connections.iter().map(|count| grouped((*count).into())).collect(),
        is_logarithmic: false,
        curves,
    }
}

fn over(connections: u32) -> String {
    let ending = if connections == 1 { "" } else { "s" };
    format!("{} connection{ending}", grouped(connections.into()))
}

impl Rounds {
    async fn take_turn(
        &mut self,
        connections: u32,
        relay: &Server,
        raw: &Path,
        length: Duration,
    ) -> Result<()> {
        let rows = connections.min(BUSIEST).into();
        let commits = task::block_in_place(|| limits::commit(raw, rows, length))?;
        let (found, cpu_us) = accept::run_busy(relay, connections, length).await?;
        self.commits.push(commits.rows_per_second);
        self.commit_ms.push(ms(&commits.latencies, 0.5));
        self.accepted.push(found.per_second());
        self.cpu_us.push(cpu_us);
        self.p50.push(found.ms(0.5));
        self.p99.push(found.ms(0.99));
        self.p999.push(found.ms(0.999));
        Ok(())
    }

    /// What the prototype came to, if it had turns.
    fn prototype(&self) -> Option<Figure> {
        (!self.prototype.is_empty()).then(|| self.prototype.clone().into())
    }

    /// Adds the lines; returns the lower limit.
    fn tell(self, bench: &mut Bench, stored: u64, connections: u32) -> f64 {
        let when = format!("{}, {} stored", over(connections), grouped(stored));
        let prototype = self.prototype();
        let (echo, commits) = (Figure::from(self.echo), Figure::from(self.commits));
        let limit = echo.median.min(commits.median);
        let accepted = Figure::from(self.accepted.clone());
        let share = Line::new("accepted", &when, "/s", accepted).beside(limit, "the lower limit");
        let p50 = Line::new("accept p50", &when, "ms", self.p50);
        let commit = Figure::from(self.commit_ms).median;
        let is_alone = connections == 1;
        if let Some(prototype) = prototype {
            let (what, to) = ("accepted, beside a prototype", "a prototype");
            let beside = Line::rate(what, &when, &self.accepted, &self.prototype, to);
            let is_busiest = connections == BUSIEST;
            bench.report.add(Line::new("prototype", &when, "/s", prototype));
            bench.report.add(if is_busiest { beside.at_least(OF_PROTOTYPE) } else { beside });
        }
        for line in [
            Line::new("limit: echo", &when, "/s", echo),
            Line::new("limit: commits", &when, "/s", commits),
            if connections == BUSIEST { share.at_least(0.6) } else { share },
            Line::new("relay's processor time each", &when, "µs", self.cpu_us),
            if is_alone { p50.beside(commit, "a commit").at_most(3.0) } else { p50 },
            Line::new("accept p99", &when, "ms", self.p99),
            Line::new("accept p99.9", &when, "ms", self.p999),
        ] {
            bench.report.add(line);
        }
        limit
    }
}
