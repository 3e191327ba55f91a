//! Event streams: what many of them cost while nothing is said, and a message to one of them.

use std::fmt;
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
use crate::http::{Connection, Event};
use crate::http2;
use crate::line::{Line, grouped};
use crate::load::Arrivals;
use crate::outcome::{Outcome, histogram, ms, record};
use crate::processes::{ADMIN_KEY, Server};
use crate::stored::{MESSAGE, SESSIONS};
use crate::visitor::stream;

/// For how long nothing is said: as long as a relay is silent before it shows that a stream lives.
const IDLE: Duration = Duration::from_secs(25);

/// What a process has open beside streams.
const OTHER_FILES: u64 = 200;

/// How many share a connection, by HTTP/2, when there are more than files may be open; as the relay lets them.
const SHARING: usize = 64;

/// How many open theirs at once.
const AT_ONCE: u32 = 32;

/// How many messages go to open streams, to one after another.
const MESSAGES: u32 = 200;

/// What flows while they are open: so many messages in a second, over so many connections, for so long.
const TRAFFIC: u64 = 1_000;
const WRITERS: u32 = 16;
const TRAFFIC_TIME: Duration = Duration::from_secs(2);

/// What an idle stream may cost of memory, and ten thousand of one core.
const MOST_KIB: f64 = 12.0;
const MOST_PERCENT: f64 = 1.0;

/// An open stream: a connection, or a part of one.
enum Stream {
    Own(Connection),
    Shared(http2::Events),
}

impl Stream {
    async fn event(&mut self) -> Result<Event> {
        match self {
            Self::Own(connection) => Ok(connection.event().await?),
            Self::Shared(events) => events.event().await,
        }
    }
}

/// So many streams, and whether they share connections.
#[derive(Clone, Copy)]
struct Crowd {
    count: u32,
    is_shared: bool,
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} open streams", grouped(self.count.into()))?;
        if self.is_shared { write!(f, ", {SHARING} to a connection") } else { Ok(()) }
    }
}

/// How long messages took while streams were open, and how many of these were after them.
struct Latencies {
    /// To the streams, one after another: from the call to the event.
    to_stream: Histogram<u64>,
    /// That came by themselves: from when each was due to its answer.
    traffic: Outcome,
    still_open: u32,
}

pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    let most = open_files()?;
    let few = measure_few(bench).await?;
    let (mut at, mut kib) = (Vec::new(), Vec::new());
    for count in bench.plan.streams.clone() {
        let crowd = Crowd { count, is_shared: count > most };
        kib.push(many(bench, crowd, &few).await?);
        at.push(grouped(count.into()) + if crowd.is_shared { " by HTTP/2" } else { "" });
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

/// Messages while few streams are open, to compare with.
async fn measure_few(bench: &Bench) -> Result<Latencies> {
    let relay = Server::relay(&bench.fresh("few-streams.db")?)?;
    let mut few = open(&relay, Crowd { count: MESSAGES, is_shared: false }).await?;
    talk(&relay, &mut few).await
}

/// Opens so many and watches the relay; returns its memory for each, in KiB.
async fn many(bench: &mut Bench, crowd: Crowd, few: &Latencies) -> Result<f64> {
    let Crowd { count, .. } = crowd;
    let relay = Server::relay(&bench.fresh(&format!("{count}-streams.db"))?)?;
    let before = relay.process.resident_bytes()?;
    let from = Instant::now();
    let mut streams = open(&relay, crowd).await?;
    let opened = from.elapsed().as_secs_f64();
    let bytes = relay.process.resident_bytes()?.saturating_sub(before);
    let busy = relay.process.busy()?;
    time::sleep(IDLE).await;
    let busy = relay.process.busy()?.saturating_sub(busy).as_secs_f64() / IDLE.as_secs_f64();
    let Latencies { to_stream, traffic, still_open } = talk(&relay, &mut streams).await?;
    let kib = bytes as f64 / 1_024.0 / f64::from(count);
    let percent = busy * 100.0 * 10_000.0 / f64::from(count);
    let (when, beside) = (crowd.to_string(), format!("with {MESSAGES} streams"));
    let flowing = format!("{} a second, {when}", grouped(TRAFFIC));
    for line in [
        Line::new("memory of a stream", &when, "KiB", kib).at_most(MOST_KIB),
        Line::new("time to open them", &when, "s", opened),
        Line::new("of one core for each 10,000, while nothing is said", &when, "%", percent)
            .at_most(MOST_PERCENT),
        Line::new("message to one of them p50", &when, "ms", ms(&to_stream, 0.5))
            .beside(ms(&few.to_stream, 0.5), &beside),
        Line::new("message to one of them p99", &when, "ms", ms(&to_stream, 0.99)),
        Line::new("accepted", &flowing, "/s", traffic.per_second()),
        Line::new("still open", &flowing, "streams", f64::from(still_open)).at_least(count.into()),
        Line::new("accept p50", &flowing, "ms", traffic.ms(0.5))
            .beside(few.traffic.ms(0.5), &beside),
        Line::new("accept p99", &flowing, "ms", traffic.ms(0.99))
            .beside(few.traffic.ms(0.99), &beside),
    ] {
        bench.report.add(line);
    }
    Ok(kib)
}

/// Opens so many streams, each up to its first event.
async fn open(relay: &Server, crowd: Crowd) -> Result<Vec<Stream>> {
    let (address, Crowd { count, is_shared }) = (relay.address, crowd);
    let mut openers = JoinSet::new();
    for first in 0..AT_ONCE.min(count) {
        openers.spawn(async move {
            let mut open = Vec::new();
            let numbers: Vec<_> = (first..count).step_by(AT_ONCE as usize).collect();
            for numbers in numbers.chunks(SHARING) {
                let mut shared = None;
                if is_shared {
                    shared = Some(http2::Connection::open(address).await?);
                }
                for number in numbers.iter().copied() {
                    // There may be more of them than conversations.
                    let session = number % SESSIONS;
                    let mut events = match &mut shared {
                        Some(connection) => Stream::Shared(connection.listen(session).await?),
                        None => Stream::Own(stream(address, session, Cursor::default()).await?),
                    };
                    events.event().await?;
                    open.push((number, events));
                }
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

/// Messages come by themselves, and then to streams all over the crowd.
async fn talk(relay: &Server, streams: &mut [Stream]) -> Result<Latencies> {
    let arrivals = Arrivals::PerSecond(TRAFFIC as f64);
    let traffic = accept::run(relay.address, WRITERS, arrivals, TRAFFIC_TIME).await?;
    let to_stream = messages(relay, streams).await?;
    Ok(Latencies { to_stream, traffic, still_open: still_open(relay).await? })
}

/// How many streams the relay says are open.
async fn still_open(relay: &Server) -> Result<u32> {
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\r\n"
    );
    let mut connection = Connection::open(relay.address).await?;
    let answer = connection.call(request.as_bytes()).await?;
    let metrics = str::from_utf8(answer.body)?;
    let open = metrics.lines().find_map(|line| line.strip_prefix("postern_relay_event_streams "));
    Ok(open.context("the relay does not say how many streams are open")?.parse()?)
}

/// How long messages take to streams all over the crowd: from the call to the event.
async fn messages(relay: &Server, streams: &mut [Stream]) -> Result<Histogram<u64>> {
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
