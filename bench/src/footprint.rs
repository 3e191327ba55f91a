//! What both halves take while they do nothing.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use tokio::time;

use crate::bench::Bench;
use crate::line::Line;
use crate::processes::{self, Running, Server};

const MIB: f64 = 1_048_576.0;

/// How long a relay may take until it listens, in milliseconds.
pub(crate) const START_MS: f64 = 50.0;

/// How long each is left alone before it is looked at.
const SETTLED: Duration = Duration::from_secs(2);

pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    let mut starts = Vec::new();
    for round in 0..bench.plan.rounds {
        let relay = Server::relay(&bench.path(&format!("start-{round}.db")))?;
        starts.push(relay.started_in.as_secs_f64() * 1e3);
    }
    let relay = Server::relay(&bench.path("idle.db"))?;
    let poller = Running::poller(relay.address, &bench.path("idle-poller.db"))?;
    time::sleep(SETTLED).await;
    let mib = |process: &Running| Ok::<_, anyhow::Error>(process.resident_bytes()? as f64 / MIB);
    let lines = [
        Line::new("relay: start to listening", "a new database", "ms", starts).at_most(START_MS),
        Line::new("relay: resident", "idle", "MiB", mib(&relay.process)?).at_most(12.0),
        Line::new("poller: resident", "idle", "MiB", mib(&poller)?).at_most(12.0),
        Line::new("relay: binary", "as built", "MB", megabytes("postern-relay")?).at_most(15.0),
        Line::new("poller: binary", "as built", "MB", megabytes("postern-poller")?).at_most(15.0),
    ];
    lines.into_iter().for_each(|line| bench.report.add(line));
    Ok(())
}

fn megabytes(name: &str) -> Result<f64> {
    Ok(fs::metadata(processes::binary(name)?)?.len() as f64 / 1e6)
}
