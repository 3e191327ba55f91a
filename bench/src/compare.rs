//! Which of several relays accepts messages faster. On a machine that slows down and recovers by the second,
//! only those that take turns by the second can be told apart.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::accept;
use crate::bench::{copy_to_disk, folder};
use crate::line::{Line, ratios};
use crate::processes::{self, Server};
use crate::report::Report;
use crate::stored;

/// How long each has its turn.
const TURN: Duration = Duration::from_secs(1);

/// How often, over how many connections, and with how many messages stored beforehand.
pub(crate) struct Terms {
    pub(crate) turns: u32,
    pub(crate) connections: u32,
    pub(crate) stored: u64,
}

/// What a relay came to, turn by turn.
struct Contestant {
    name: String,
    relay: Server,
    per_second: Vec<f64>,
    /// Processor time of the relay for each message, in microseconds.
    cpu_us: Vec<f64>,
}

/// Measures these relays, each on a database of its own, and tells how they compare with the first.
pub(crate) async fn run(relays: &[PathBuf], terms: Terms, out: &Path) -> Result<()> {
    let folder = folder(out)?;
    let filled = stored::database(folder.path(), terms.stored)?;
    let start = |(number, program): (usize, &PathBuf)| {
        let db = folder.path().join(format!("{number}-relay.db"));
        copy_to_disk(&filled, &db)?;
        let relay = Server::start(program, &processes::relay_args(&db)?)?;
        let (name, per_second, cpu_us) = (program.display().to_string(), vec![], vec![]);
        Ok(Contestant { name, relay, per_second, cpu_us })
    };
    let mut contestants = relays.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    for _ in 0..terms.turns {
        for contestant in &mut contestants {
            contestant.take_turn(terms.connections).await?;
        }
    }
    let mut report = Report::default();
    let Some(first) = contestants.first() else { return Ok(()) };
    for Contestant { name, per_second, cpu_us, .. } in &contestants {
        let times = |what, own, first| Line::new(what, name, "×", ratios(own, first));
        report.add(Line::new("accepted", name, "/s", per_second.clone()));
        report.add(times("accepted, beside the first", per_second, &first.per_second));
        report.add(Line::new("relay's processor time each", name, "µs", cpu_us.clone()));
        report.add(times("the same, beside the first's", cpu_us, &first.cpu_us));
    }
    Ok(())
}

impl Contestant {
    async fn take_turn(&mut self, connections: u32) -> Result<()> {
        let (found, cpu_us) = accept::run_busy(&self.relay, connections, TURN).await?;
        self.per_second.push(found.per_second());
        self.cpu_us.push(cpu_us);
        Ok(())
    }
}
