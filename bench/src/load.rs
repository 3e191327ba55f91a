//! Load: as fast as answers come, or at a rate whatever comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time;

use crate::http::Connection;
use crate::outcome::{Outcome, record};

/// How calls come.
#[derive(Clone, Copy)]
pub(crate) enum Arrivals {
    /// The next once the last is answered.
    Closed,
    /// So many in a second, at even distances, over all connections.
    PerSecond(f64),
    /// The same, but what could not be sent before the end is not sent at all, and a call counts from its
    /// sending: what is late is the load.
    Flood(f64),
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

    /// Waits until a caller's next call is due, and tells from when it counts; `None` when the time is over.
    pub(crate) async fn next(&self) -> Option<Instant> {
        let (due, now) = (self.due(), Instant::now());
        let is_flood = matches!(self.arrivals, Arrivals::Flood(_));
        if due >= self.until || (is_flood && now >= self.until) {
            return None;
        }
        if due > now {
            time::sleep_until(due.into()).await;
        }
        Some(if is_flood { Instant::now() } else { due })
    }

    pub(crate) fn accepted(&self, from: Instant) {
        record(&mut self.outcome().latencies, from.elapsed());
    }

    fn refused(&self, from: Instant) {
        record(&mut self.outcome().refusals, from.elapsed());
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

/// How many connections are opened at once.
const OPENED_AT_ONCE: usize = 32;

/// Opens connections from all addresses of 127.0.1.0/24 in turn: a port rests for a minute after its
/// connection, and with one address's 28,000 ports the system would soon be busy with looking for another.
pub(crate) async fn open(address: SocketAddr, connections: u32) -> Result<Vec<Connection>> {
    static TURN: AtomicU8 = AtomicU8::new(0);
    let (mut open, mut opening) = (Vec::new(), JoinSet::new());
    for _ in 0..connections {
        if opening.len() == OPENED_AT_ONCE {
            open.extend(opening.join_next().await.transpose()?);
        }
        let from = Ipv4Addr::new(127, 0, 1, TURN.fetch_add(1, Ordering::Relaxed));
        opening.spawn(Connection::open_from(from, address));
    }
    open.extend(opening.join_all().await);
    Ok(open.into_iter().collect::<Result<_, _>>()?)
}

/// Calls over all these connections for so long.
pub(crate) async fn run(
    connections: Vec<Connection>,
    arrivals: Arrivals,
    length: Duration,
    request: Request,
) -> Result<Outcome> {
    let load = Load::new(arrivals, length)?;
    let mut callers = JoinSet::new();
    for (number, connection) in (0..).zip(connections) {
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
        let Some(from) = load.next().await else { break };
        buffer.clear();
        request(number, call, &mut buffer);
        let answer = connection.call(&buffer).await.context("no answer")?;
        match answer.status {
            200 => load.accepted(from),
            503 => load.refused(from),
            status => anyhow::bail!("{status}: {}", String::from_utf8_lossy(answer.body)),
        }
    }
    Ok(())
}
