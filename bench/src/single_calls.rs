//! Calls that come one after another, with nothing else going on.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use postern_shared::Cursor;
use postern_shared::visitor::MessageAccepted;
use rusqlite::{Connection as Database, OpenFlags};

use crate::accept;
use crate::agent::Agent;
use crate::http::Connection;
use crate::outcome::{histogram, record};
use crate::processes::Server;
use crate::stored::{MESSAGE, conversations};
use crate::visitor::{page, stream};

/// How many messages are leased at once.
const LEASED: u32 = 10;

/// How often that is done.
const TIMES: u32 = 100;

/// How many streams are opened.
const STREAMS: u32 = 500;

/// How many entries a page of a transcript has, and what an event stream catches up with.
const PAGE: u32 = 50;

/// How many messages wait when the index of the waiting is looked at.
const WAITING: u32 = 1_000;

/// A conversation's steps, each on its own.
pub(crate) struct Turns {
    pub(crate) messages: Histogram<u64>,
    pub(crate) leases: Histogram<u64>,
    pub(crate) replies: Histogram<u64>,
}

impl Turns {
    /// Ten messages, a lease of them all, ten replies; and again.
    pub(crate) async fn take(relay: &Server) -> Result<Self> {
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
pub(crate) async fn pages(relay: &Server, stored: u64) -> Result<Histogram<u64>> {
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
pub(crate) async fn streams(relay: &Server, stored: u64) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut calls = Connection::open(relay.address).await?;
    for number in 0..STREAMS {
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
pub(crate) async fn index_of_waiting(relay: &Server, db: &Path) -> Result<f64> {
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
