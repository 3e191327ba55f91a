//! Load: as fast as answers come, or at a rate whatever comes back.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time;

use crate::http::Connection;

/// How calls come.
#[derive(Clone, Copy)]
pub(crate) enum Arrivals {
    /// The next once the last is answered.
    Closed,
    /// So many in a second, at even distances, over all connections.
    PerSecond(f64),
    /// The same, but what could not be sent before the end is not sent at all.
    Flood(f64),
}

/// What a load came to.
pub(crate) struct Outcome {
    /// Of what was accepted; in a load at a rate, from the moment at which the call was due.
    pub(crate) latencies: Histogram<u64>,
    /// Of what was refused with 503, from its sending.
    pub(crate) refusals: Histogram<u64>,
    pub(crate) took: Duration,
}

impl Outcome {
    fn new() -> Result<Self> {
        Ok(Self { latencies: histogram()?, refusals: histogram()?, took: Duration::ZERO })
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.latencies.len()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.accepted() as f64 / self.took.as_secs_f64()
    }

    /// A quantile of what was accepted, in milliseconds.
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        ms(&self.latencies, quantile)
    }
}

/// Of times up to a minute, in microseconds.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

pub(crate) fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
}

/// A quantile in milliseconds.
pub(crate) fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}

/// A load under way, which all its callers share.
pub(crate) struct Load {
    from: Instant,
    until: Instant,
    arrivals: Arrivals,
    next: AtomicU64,
    outcome: Mutex<Outcome>,
}

impl Load {
    /// From now on.
    pub(crate) fn new(arrivals: Arrivals, length: Duration) -> Result<Arc<Self>> {
        let from = Instant::now();
        let (until, outcome) = (from + length, Mutex::new(Outcome::new()?));
        Ok(Arc::new(Self { from, until, arrivals, next: AtomicU64::new(0), outcome }))
    }

    /// Waits until a caller's next call is due; `None` when the time is over.
    pub(crate) async fn next(&self) -> Option<Instant> {
        let due = self.due();
        let is_late = matches!(self.arrivals, Arrivals::Flood(_)) && Instant::now() >= self.until;
        if due >= self.until || is_late {
            return None;
        }
        if due > Instant::now() {
            time::sleep_until(due.into()).await;
        }
        Some(due)
    }

    pub(crate) fn accepted(&self, due: Instant) {
        record(&mut self.outcome().latencies, due.elapsed());
    }

    fn refused(&self, sent: Instant) {
        record(&mut self.outcome().refusals, sent.elapsed());
    }

    /// What it came to, once all callers are done.
    pub(crate) async fn done(&self, mut callers: JoinSet<Result<()>>) -> Result<Outcome> {
        while let Some(ran) = callers.join_next().await {
            ran??;
        }
        let took = self.from.elapsed();
        Ok(Outcome { took, ..std::mem::replace(&mut *self.outcome(), Outcome::new()?) })
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self) -> Instant {
        match self.arrivals {
            Arrivals::Closed => Instant::now(),
            Arrivals::PerSecond(rate) | Arrivals::Flood(rate) => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                self.from + Duration::from_secs_f64(number as f64 / rate)
            }
        }
    }
}

/// Writes the request of a connection's next call into a buffer.
pub(crate) type Request = Arc<dyn Fn(u32, u64, &mut Vec<u8>) + Send + Sync>;

/// Calls over so many connections for so long.
pub(crate) async fn run(
    address: SocketAddr,
    connections: u32,
    arrivals: Arrivals,
    length: Duration,
    request: Request,
) -> Result<Outcome> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(address).await?);
    }
    let load = Load::new(arrivals, length)?;
    let mut callers = JoinSet::new();
    for (number, connection) in (0..).zip(open) {
        callers.spawn(call(number, connection, Arc::clone(&load), Arc::clone(&request)));
    }
    load.done(callers).await
}

async fn call(
    number: u32,
    mut connection: Connection,
    load: Arc<Load>,
    request: Request,
) -> Result<()> {
    let mut buffer = Vec::with_capacity(1_024);
    for call in 0.. {
        let Some(due) = load.next().await else { break };
        buffer.clear();
        request(number, call, &mut buffer);
        let sent = Instant::now();
        let answer = connection.call(&buffer).await.context("no answer")?;
        match answer.status {
            200 => load.accepted(due),
            503 => load.refused(sent),
            status => anyhow::bail!("{status}: {}", String::from_utf8_lossy(answer.body)),
        }
    }
    Ok(())
}
