//! Arrivals at even distances whatever comes back, at half of the highest rate and at twice.

use std::path::Path;

use anyhow::Result;
use tokio::task;

use crate::accept;
use crate::bench::Bench;
use crate::chart::{Chart, Curve};
use crate::limits;
use crate::line::{Figure, Line};
use crate::load::Arrivals;
use crate::outcome::{Outcome, ms};
use crate::processes::Server;
use crate::rates::BUSIEST;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Medians over the rounds, in milliseconds, in the order of [`QUANTILES`].
type Quantiles = Vec<f64>;

pub(crate) async fn measure(
    bench: &mut Bench,
    relay: &Server,
    raw: &Path,
    highest: f64,
) -> Result<()> {
    let (mut half, mut twice, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    // Long enough for its hundredth part to be more than one stall.
    let length = bench.plan.length * 2;
    for _ in 0..bench.plan.rounds {
        let rate = Arrivals::PerSecond(highest / 2.0);
        half.push(accept::run(relay.address, BUSIEST, rate, length).await?);
        commits.push(task::block_in_place(|| limits::commit_at(raw, highest / 2.0, length))?);
        let rate = Arrivals::PerSecond(highest * 2.0);
        twice.push(accept::run(relay.address, BUSIEST, rate, length).await?);
    }
    let commits = quantiles(&commits, ms);
    let [half, twice] = [(half, "half"), (twice, "twice")].map(|(outcomes, name)| {
        let when = format!("{name} the highest rate, {BUSIEST} connections");
        tell(bench, &when, &outcomes, highest, if name == "half" { commits.get(2) } else { None })
    });
    let curves = vec![
        Curve::measured("accepted at twice the highest rate", twice),
        Curve::measured("accepted at half of it", half),
        Curve::bound("commits at half of it", commits),
    ];
    bench.report.draw(Chart {
        name: "latency",
        title: "How long a message takes to be accepted",
        x: "quantile",
        y: "ms",
        at: QUANTILES.map(|(name, _)| name.to_owned()).to_vec(),
        is_logarithmic: true,
        curves,
    });
    Ok(())
}

fn tell(
    bench: &mut Bench,
    when: &str,
    outcomes: &[Outcome],
    highest: f64,
    commit_p99: Option<&f64>,
) -> Quantiles {
    let accepted: Vec<_> = outcomes.iter().map(Outcome::per_second).collect();
    let line = Line::new("accepted", when, "/s", accepted);
    bench.report.add(line.beside(highest, "the highest rate"));
    for (name, quantile) in QUANTILES {
        let values: Vec<_> = outcomes.iter().map(|outcome| outcome.ms(quantile)).collect();
        let line = Line::new(format!("accept {name}"), when, "ms", values);
        bench.report.add(match commit_p99 {
            Some(commit) if name == "p99" => {
                line.beside(*commit, "p99 of group commits at that rate").at_most(4.0)
            }
            _ => line,
        });
    }
    quantiles(outcomes, Outcome::ms)
}

fn quantiles<T>(rounds: &[T], ms: impl Fn(&T, f64) -> f64) -> Quantiles {
    let median = |quantile| {
        Figure::from(rounds.iter().map(|round| ms(round, quantile)).collect::<Vec<_>>()).median
    };
    QUANTILES.map(|(_, quantile)| median(quantile)).to_vec()
}
