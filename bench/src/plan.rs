//! What is measured, and in which order.

use std::fs;

use anyhow::Result;
use clap::ValueEnum;

use crate::bench::{Bench, Size};
use crate::growth::Growth;
use crate::line::{Line, grouped};
use crate::processes::Server;
use crate::{at_a_rate, chunks, footprint, overload, rates, streams, whole_way, widget};

/// What can be measured on its own, in the order of the whole.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Topic {
    /// Start, memory and size of both halves
    Footprint,
    /// From a message to its reply on the page
    WholeWay,
    /// Pieces of replies
    Chunks,
    /// Messages accepted, single calls and overload, with little and with much stored
    Accepted,
    /// Open event streams
    Streams,
    /// The widget in a browser
    Widget,
}

/// Measures what is planned into the bench's report.
pub(crate) async fn carry_out(bench: &mut Bench) -> Result<()> {
    for topic in Topic::value_variants() {
        if !bench.plan.topics.contains(topic) {
            continue;
        }
        match topic {
            Topic::Footprint => footprint::measure(bench).await?,
            Topic::WholeWay => whole_way::measure(bench).await?,
            Topic::Chunks => chunks::measure(bench).await?,
            Topic::Accepted => accept_and_grow(bench).await?,
            Topic::Streams => streams::measure(bench).await?,
            Topic::Widget => widget::measure(bench).await?,
        }
    }
    Ok(())
}

/// What depends on how much is stored, or may. The sizes take turns, so that an hour that becomes slower is
/// not taken for growth.
async fn accept_and_grow(bench: &mut Bench) -> Result<()> {
    let stored = bench.plan.stored.clone();
    let sizes = stored.iter().map(|stored| bench.filled(*stored)).collect::<Result<Vec<_>>>()?;
    for size in &sizes {
        tell_size(bench, size)?;
    }
    let mut growth = Growth::default();
    growth.measure(bench, &sizes).await?;
    let rates = rates::measure(bench, &sizes, &mut growth).await?;
    let highest = rates.first().and_then(|rates| rates.highest(&bench.plan.connections));
    if let (Some(smallest), Some((highest, busiest))) = (sizes.first(), highest) {
        let [db, raw] = bench.copies(smallest)?;
        let relay = Server::relay(&db)?;
        at_a_rate::measure(bench, &relay, &raw, highest).await?;
        overload::measure(bench, &relay, &db, busiest).await?;
    }
    bench.report.draw(rates::chart(&bench.plan.connections, &stored, &rates));
    growth.charts(&stored).into_iter().for_each(|chart| bench.report.draw(chart));
    Ok(())
}

fn tell_size(bench: &mut Bench, Size { stored, filled }: &Size) -> Result<()> {
    let bytes = fs::metadata(filled)?.len() as f64 / *stored as f64;
    let when = format!("{} stored", grouped(*stored));
    bench.report.add(Line::new("database, for each message", when, "bytes", bytes));
    Ok(())
}
