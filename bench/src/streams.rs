//! Event streams: what many of them cost while nothing is said, and a message to one of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use postern_shared::Cursor;
use postern_shared::visitor::MessageAccepted;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time;

use crate::accept;
use crate::bench::Bench;
use crate::chart::{Chart, Curve};
use crate::http::Connection;
use crate::line::{Line, grouped};
use crate::outcome::{histogram, ms, record};
use crate::processes::Server;
use crate::stored::{MESSAGE, SESSIONS};
use crate::visitor::stream;

/// For how long nothing is said: as long as a relay is silent before it shows that a stream lives.
const IDLE: Duration = Duration::from_secs(25);

/// What a process has open beside streams.
const OTHER_FILES: u64 = 200;

/// How many open theirs at once.
const AT_ONCE: u32 = 32;

/// How many messages go to open streams, to one after another.
const MESSAGES: u32 = 200;

/// What an idle stream may cost.
const MOST_KIB: f64 = 12.0;

pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    let most = open_files()?;
    let alone = ms(&measure_few(bench).await?, 0.5);
    let (mut at, mut kib) = (Vec::new(), Vec::new());
    for wanted in bench.plan.streams.clone() {
        let count = wanted.min(most);
        let mut when = format!("{} open streams", grouped(count.into()));
        if count < wanted {
            when.push_str(&format!(
                " ({} would be more than this system's open files)",
                grouped(wanted.into())
            ));
        }
        if !at.contains(&grouped(count.into())) {
            kib.push(many(bench, count, &when, alone).await?);
            at.push(grouped(count.into()));
        }
    }
    let bound = Curve::bound("12 KiB", vec![MOST_KIB; at.len()]);
    bench.report.draw(Chart {
        name: "streams",
        title: "What an idle event stream costs the relay",
        x: "open streams",
        y: "KiB each",
        at,
        is_logarithmic: false,
        curves: vec![Curve::measured("memory", kib), bound],
    });
    Ok(())
}

/// A message to one of few streams, to compare with.
async fn measure_few(bench: &Bench) -> Result<Histogram<u64>> {
    let relay = Server::relay(&bench.fresh("few-streams.db")?)?;
    let mut few = open(&relay, MESSAGES).await?;
    messages(&relay, &mut few).await
}

/// Opens so many and watches the relay; returns its memory for each, in KiB.
async fn many(bench: &mut Bench, count: u32, when: &str, alone: f64) -> Result<f64> {
    let relay = Server::relay(&bench.fresh(&format!("{count}-streams.db"))?)?;
    let before = relay.process.resident_bytes()?;
    let from = Instant::now();
    let mut streams = open(&relay, count).await?;
    let opened = from.elapsed().as_secs_f64();
    let bytes = relay.process.resident_bytes()?.saturating_sub(before);
    let busy = relay.process.busy()?;
    time::sleep(IDLE).await;
    let busy = relay.process.busy()?.saturating_sub(busy).as_secs_f64() / IDLE.as_secs_f64();
    let latencies = messages(&relay, &mut streams).await?;
    let kib = bytes as f64 / 1_024.0 / f64::from(count);
    for line in [
        Line::new("memory of a stream", when, "KiB", kib).at_most(MOST_KIB),
        Line::new("time to open them", when, "s", opened),
        Line::new("of one core, while nothing is said", when, "%", busy * 100.0).at_most(1.0),
        Line::new("message to one of them p50", when, "ms", ms(&latencies, 0.5))
            .beside(alone, format!("with {MESSAGES} streams")),
        Line::new("message to one of them p99", when, "ms", ms(&latencies, 0.99)),
    ] {
        bench.report.add(line);
    }
    Ok(kib)
}

/// Opens so many streams, each up to its first event.
async fn open(relay: &Server, count: u32) -> Result<Vec<Connection>> {
    let address = relay.address;
    let mut openers = JoinSet::new();
    for first in 0..AT_ONCE.min(count) {
        openers.spawn(async move {
            let mut open = Vec::new();
            for number in (first..count).step_by(AT_ONCE as usize) {
                let mut events = stream(address, number, Cursor::default()).await?;
                events.event().await?;
                open.push((number, events));
            }
            anyhow::Ok(open)
        });
    }
    let mut streams = Vec::new();
    while let Some(opened) = openers.join_next().await {
        streams.append(&mut opened??);
    }
    streams.sort_by_key(|(number, _)| *number);
    Ok(streams.into_iter().map(|(_, events)| events).collect())
}

/// How long messages take to streams all over the crowd: from the call to the event.
async fn messages(relay: &Server, streams: &mut [Connection]) -> Result<Histogram<u64>> {
    let mut posts = Connection::open(relay.address).await?;
    let mut latencies = histogram()?;
    let step = streams.len() / MESSAGES as usize;
    for (turn, number) in (0..streams.len()).step_by(step.max(1)).enumerate() {
        let session = u32::try_from(number)? % SESSIONS;
        let mut request = Vec::new();
        let key = format!("to-a-stream-{turn:08}");
        accept::write_message(&mut request, session, &key, MESSAGE);
        let from = Instant::now();
        let accepted: MessageAccepted = posts.ask(&request).await?;
        let id = format!(r#""id":{},"#, accepted.message_id);
        let events = streams.get_mut(number).context("no such stream")?;
        while !events.event().await?.data.contains(&id) {}
        record(&mut latencies, from.elapsed());
    }
    Ok(latencies)
}

/// How many streams this process may hold once it has asked for all that it may have. The relay does
/// the same with the same limit.
fn open_files() -> Result<u32> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let files = limit.current.unwrap_or(u32::MAX.into()).saturating_sub(OTHER_FILES);
    Ok(u32::try_from(files).unwrap_or(u32::MAX))
}
