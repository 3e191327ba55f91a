//! What is measured, and in which order.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::bench::Bench;
use crate::growth::Growth;
use crate::line::{Line, grouped};
use crate::processes::Server;
use crate::rates::{self, Rates};
use crate::{at_a_rate, chunks, footprint, overload, streams, whole_way, widget};

/// Measures everything into the bench's report.
pub(crate) async fn carry_out(bench: &mut Bench) -> Result<()> {
    footprint::measure(bench).await?;
    whole_way::measure(bench).await?;
    chunks::measure(bench).await?;
    grow(bench).await?;
    streams::measure(bench).await?;
    widget::measure(bench).await
}

/// What depends on how much is stored, or may.
async fn grow(bench: &mut Bench) -> Result<()> {
    let mut growth = Growth::default();
    let mut sizes: Vec<(u64, Rates)> = Vec::new();
    for stored in bench.plan.stored.clone() {
        let [db, raw] = bench.filled(stored)?;
        tell_size(bench, stored, &db)?;
        let relay = Server::relay(&db)?;
        growth.measure(bench, stored, &relay, &db).await?;
        let rates = rates::measure(bench, stored, &relay, &raw, &mut growth).await?;
        if sizes.is_empty() {
            at_a_rate::measure(bench, &relay, &raw, rates.highest()).await?;
            overload::measure(bench, &relay, &db, rates.highest()).await?;
        }
        sizes.push((stored, rates));
        drop(relay);
        [db, raw].iter().try_for_each(fs::remove_file)?;
    }
    bench.report.draw(rates::chart(&bench.plan.connections, &sizes));
    growth.charts(&bench.plan.stored).into_iter().for_each(|chart| bench.report.draw(chart));
    Ok(())
}

fn tell_size(bench: &mut Bench, stored: u64, db: &Path) -> Result<()> {
    let bytes = fs::metadata(db)?.len() as f64 / stored as f64;
    let when = format!("{} stored", grouped(stored));
    bench.report.add(Line::new("database, for each message", when, "bytes", bytes));
    Ok(())
}
