//! What grows slower as more is stored, by calls that come one after another.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use postern_shared::Cursor;
use postern_shared::visitor::MessageAccepted;
use rusqlite::{Connection as Database, OpenFlags};

use crate::accept;
use crate::agent::Agent;
use crate::bench::Bench;
use crate::chart::{Chart, Curve};
use crate::http::Connection;
use crate::line::{Figure, Line};
use crate::load::{histogram, ms, record};
use crate::processes::Server;
use crate::stored::{MESSAGE, conversations};
use crate::visitor::{page, stream};

/// How many messages are leased at once.
const LEASED: u32 = 10;

/// How often that is done, and how often anything else.
const TIMES: u32 = 100;

/// How many entries a page of a transcript has, and what an event stream catches up with.
const PAGE: u32 = 50;

/// How many messages wait when the index of the waiting is looked at.
const WAITING: u32 = 1_000;

/// How many times faster or slower a thing may be with more stored.
const SLOWER: f64 = 1.2;
const FEWER: f64 = 0.8;

const SMALLEST: &str = "the smallest database";

/// What everything was with the least stored, and how fast it is since, as a share of that.
#[derive(Default)]
pub(crate) struct Growth {
    smallest: BTreeMap<String, f64>,
    rates: BTreeMap<String, Vec<f64>>,
    times: BTreeMap<String, Vec<f64>>,
}

impl Growth {
    /// Notes a rate; a line is added when there is something to compare it with.
    pub(crate) fn rate(&mut self, bench: &mut Bench, name: String, stored: u64, rate: Figure) {
        let first = *self.smallest.entry(name.clone()).or_insert(rate.median);
        let speeds = self.rates.entry(name.clone()).or_default();
        if !speeds.is_empty() {
            let line =
                Line::new("accepted, as it grows", format!("{name}, {stored} stored"), "/s", rate);
            bench.report.add(line.beside(first, SMALLEST).at_least(FEWER));
        }
        speeds.push(rate.median / first);
    }

    fn time(&mut self, bench: &mut Bench, name: &str, stored: u64, took: &Histogram<u64>) {
        let figure = Figure { median: ms(took, 0.5), least: ms(took, 0.0), most: ms(took, 1.0) };
        let first = *self.smallest.entry(name.to_owned()).or_insert(figure.median);
        let line = Line::new(name, format!("nothing else, {stored} stored"), "ms", figure);
        let speeds = self.times.entry(name.to_owned()).or_default();
        let is_first = speeds.is_empty();
        bench.report.add(if is_first {
            line
        } else {
            line.beside(first, SMALLEST).at_most(SLOWER)
        });
        speeds.push(first / figure.median);
    }

    /// Measures what is done for one visitor, with so much stored and no load.
    pub(crate) async fn measure(
        &mut self,
        bench: &mut Bench,
        stored: u64,
        relay: &Server,
        db: &Path,
    ) -> Result<()> {
        let turns = Turns::take(relay).await?;
        let pages = pages(relay, stored).await?;
        let streams = streams(relay, stored).await?;
        for (name, took) in [
            ("a message", &turns.messages),
            ("a lease of 10", &turns.leases),
            ("a reply", &turns.replies),
            ("a page of a transcript", &pages),
            ("a stream with 50 entries", &streams),
        ] {
            self.time(bench, name, stored, took);
        }
        let kib = index_of_waiting(relay, db).await?;
        let first = *self.smallest.entry("index".into()).or_insert(kib);
        let line = Line::new("index of 1,000 waiting", format!("{stored} stored"), "KiB", kib);
        bench.report.add(line.beside(first, SMALLEST).at_most(SLOWER));
        Ok(())
    }

    /// How fast everything still is, as shares of the fastest.
    pub(crate) fn charts(&self, stored: &[u64]) -> [Chart; 2] {
        let chart = |name, title, speeds: &BTreeMap<String, Vec<f64>>| {
            let curve =
                |(name, speeds): (&String, &Vec<f64>)| Curve::measured(name, speeds.clone());
            let mut curves: Vec<_> = speeds.iter().map(curve).collect();
            curves.push(Curve::bound("0.80", vec![FEWER; stored.len()]));
            let at = stored.iter().map(u64::to_string).collect();
            let (x, y) = ("messages stored", "speed, as a share");
            Chart { name, title, x, y, at, is_logarithmic: false, curves }
        };
        [
            chart("growth-rates", "Messages accepted in a second, as more is stored", &self.rates),
            chart("growth-times", "Speed of single calls, as more is stored", &self.times),
        ]
    }
}

/// A conversation's steps, each on its own.
struct Turns {
    messages: Histogram<u64>,
    leases: Histogram<u64>,
    replies: Histogram<u64>,
}

impl Turns {
    /// Ten messages, a lease of them all, ten replies; and again.
    async fn take(relay: &Server) -> Result<Self> {
        let (messages, leases, replies) = (histogram()?, histogram()?, histogram()?);
        let mut turns = Self { messages, leases, replies };
        let mut posts = Connection::open(relay.address).await?;
        let mut agent = Agent::open(relay.address).await?;
        for turn in 0..TIMES {
            for session in turn * LEASED..(turn + 1) * LEASED {
                record(&mut turns.messages, post(&mut posts, session, "turn").await?);
            }
            let from = Instant::now();
            let leased = agent.lease(LEASED).await?;
            record(&mut turns.leases, from.elapsed());
            ensure!(leased.len() == LEASED as usize, "{} were leased", leased.len());
            for message in leased {
                let from = Instant::now();
                agent.replies(&message, MESSAGE).await?;
                record(&mut turns.replies, from.elapsed());
            }
        }
        Ok(turns)
    }
}

/// The newest page of one conversation after another.
async fn pages(relay: &Server, stored: u64) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut calls = Connection::open(relay.address).await?;
    for number in 0..TIMES * LEASED {
        let from = Instant::now();
        let page = page(&mut calls, number % conversations(stored), PAGE, None).await?;
        record(&mut latencies, from.elapsed());
        ensure!(page.messages.len() == PAGE as usize, "a page of {}", page.messages.len());
    }
    Ok(latencies)
}

/// Streams that open with as much to catch up with as a page has: from the call to the last entry.
async fn streams(relay: &Server, stored: u64) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut calls = Connection::open(relay.address).await?;
    for number in 0..TIMES {
        let session = number % conversations(stored);
        let page = page(&mut calls, session, PAGE + 1, None).await?;
        let seen = Cursor::after(page.messages.first().context("an empty conversation")?.id);
        let from = Instant::now();
        let mut events = stream(relay.address, session, seen).await?;
        let mut entries = 0;
        while entries < PAGE {
            entries += u32::from(events.event().await?.name == "message");
        }
        record(&mut latencies, from.elapsed());
    }
    Ok(latencies)
}

/// The size of the index of the waiting messages, in KiB, while many wait.
async fn index_of_waiting(relay: &Server, db: &Path) -> Result<f64> {
    let mut posts = Connection::open(relay.address).await?;
    for session in 0..WAITING {
        post(&mut posts, session, "waits").await?;
    }
    let database = Database::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let size = "SELECT sum(pgsize) FROM dbstat WHERE name = 'inbox_by_visibility'";
    Ok(database.query_row(size, [], |row| row.get::<_, f64>(0))? / 1_024.0)
}

async fn post(posts: &mut Connection, session: u32, key: &str) -> Result<Duration> {
    let mut request = Vec::new();
    accept::write_message(&mut request, session, &format!("{key}-{session:08}"), MESSAGE);
    let from = Instant::now();
    posts.ask::<MessageAccepted>(&request).await?;
    Ok(from.elapsed())
}
