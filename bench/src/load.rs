//! Load: as fast as answers come, or at a rate whatever comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time;

use crate::http::Connection;

/// What a load came to. Latencies are in microseconds; in a load at a rate they count from the moment
/// at which the call was due.
pub(crate) struct Outcome {
    pub(crate) latencies: Histogram<u64>,
    pub(crate) accepted: u64,
    /// Refused with 503.
    pub(crate) refused: u64,
    pub(crate) took: Duration,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64()
    }

    /// A quantile in milliseconds.
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// Writes the request of a connection's next call into a buffer.
pub(crate) type Request = Arc<dyn Fn(u32, u64, &mut Vec<u8>) + Send + Sync>;

/// How calls come.
#[derive(Clone, Copy)]
pub(crate) enum Arrivals {
    /// The next once the last is answered.
    Closed,
    /// So many in a second, at even distances, over all connections.
    PerSecond(f64),
}

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
    let from = Instant::now();
    let due = Arc::new(Schedule { from, arrivals, next: AtomicU64::new(0) });
    let mut callers = JoinSet::new();
    for (number, connection) in (0..).zip(open) {
        let caller = Caller { number, connection, due: Arc::clone(&due), until: from + length };
        callers.spawn(caller.run(Arc::clone(&request)));
    }
    let latencies = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    let mut outcome = Outcome { latencies, accepted: 0, refused: 0, took: length };
    while let Some(ran) = callers.join_next().await {
        let part = ran??;
        outcome.latencies.add(&part.latencies)?;
        outcome.accepted += part.accepted;
        outcome.refused += part.refused;
    }
    outcome.took = from.elapsed();
    Ok(outcome)
}

/// When the next call is due, for whoever is free to make it.
struct Schedule {
    from: Instant,
    arrivals: Arrivals,
    next: AtomicU64,
}

impl Schedule {
    fn next(&self) -> Instant {
        match self.arrivals {
            Arrivals::Closed => Instant::now(),
            Arrivals::PerSecond(rate) => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                self.from + Duration::from_secs_f64(number as f64 / rate)
            }
        }
    }
}

struct Caller {
    number: u32,
    connection: Connection,
    due: Arc<Schedule>,
    until: Instant,
}

impl Caller {
    async fn run(mut self, request: Request) -> Result<Outcome> {
        let latencies = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        let mut outcome = Outcome { latencies, accepted: 0, refused: 0, took: Duration::ZERO };
        let mut buffer = Vec::with_capacity(1_024);
        for call in 0.. {
            let due = self.due.next();
            if due >= self.until {
                break;
            }
            if due > Instant::now() {
                time::sleep_until(due.into()).await;
            }
            buffer.clear();
            request(self.number, call, &mut buffer);
            let answer = self.connection.call(&buffer).await.context("no answer")?;
            match answer.status {
                200 => outcome.accepted += 1,
                503 => outcome.refused += 1,
                status => anyhow::bail!("{status}: {}", String::from_utf8_lossy(answer.body)),
            }
            let latency = due.elapsed().as_micros();
            outcome.latencies.saturating_record(u64::try_from(latency)?.max(1));
        }
        Ok(outcome)
    }
}
