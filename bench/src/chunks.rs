//! Replies while they are written: from the poller's chunk to the visitor's page.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use postern_shared::poller::LeasedMessage;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::accept;
use crate::agent::Agent;
use crate::bench::Bench;
use crate::line::Line;
use crate::load::Arrivals;
use crate::outcome::{histogram, ms, record};
use crate::processes::Server;
use crate::stored::MESSAGE;
use crate::visitor::Visitor;

/// How many replies are written at once.
const REPLIES: u32 = 16;

/// What a model says at once, more or less.
const WORD: &str = "postern ";

/// The longest reply that a relay takes, in bytes.
const LONGEST: u64 = 256 * 1024;

/// The data of a `chunk` event.
#[derive(Deserialize)]
struct Chunk {
    offset: u64,
    text: String,
}

pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    let relay = Server::relay(&bench.fresh("chunks.db")?)?;
    let (address, length) = (relay.address, bench.plan.length);
    let first = first_chunks(address, length).await?;
    let trip = accept::echo(bench.echo.address, 1, Arrivals::Closed, length).await?.ms(0.5);
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let what = format!("first chunk to the page {name}");
        let line = Line::new(what, "nothing else", "ms", ms(&first, quantile));
        bench.report.add(line.beside(trip, "a bare round trip"));
    }
    let when = format!("{REPLIES} replies written at once");
    let mut rates = Vec::new();
    for round in 0..bench.plan.rounds {
        rates.push(crowd(address, 1 + round * REPLIES, length).await?);
    }
    bench.report.add(Line::new("chunks", when, "/s", rates));
    Ok(())
}

/// How long the first chunk of a reply takes to the page: from its sending to its event.
async fn first_chunks(relay: SocketAddr, length: Duration) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut visitor = Visitor::arrive(relay, 0).await?;
    let mut agent = Agent::open(relay).await?;
    let until = Instant::now() + length;
    while Instant::now() < until {
        let message = visitor.says(MESSAGE).await?;
        let leased = lease(&mut agent, 1).await?.remove(0);
        let from = Instant::now();
        let shown = async {
            visitor.next("chunk").await?;
            Ok(from.elapsed())
        };
        let (_, took) = tokio::try_join!(agent.writes(&leased, 0, WORD), shown)?;
        record(&mut latencies, took);
        agent.replies(&leased, WORD).await?;
        visitor.hears_reply_to(message).await?;
    }
    Ok(latencies)
}

/// How many chunks are taken in a second while many replies are written; every page sees all of its own.
async fn crowd(relay: SocketAddr, first: u32, length: Duration) -> Result<f64> {
    let mut visitors = Vec::new();
    for session in first..first + REPLIES {
        let mut visitor = Visitor::arrive(relay, session).await?;
        visitor.says(MESSAGE).await?;
        visitors.push(visitor);
    }
    let mut leased = lease(&mut Agent::open(relay).await?, REPLIES).await?;
    leased.sort_by_key(|leased| leased.session_id.to_string());
    let from = Instant::now();
    let mut replies = JoinSet::new();
    for (leased, visitor) in leased.into_iter().zip(visitors) {
        let agent = Agent::open(relay).await?;
        replies.spawn(write_on(agent, leased, visitor, from + length));
    }
    let mut chunks = 0;
    while let Some(written) = replies.join_next().await {
        chunks += written??;
    }
    Ok(chunks as f64 / from.elapsed().as_secs_f64())
}

/// Writes a reply word by word, while its visitor reads; returns how many words it took.
async fn write_on(
    mut agent: Agent,
    to: LeasedMessage,
    mut visitor: Visitor,
    until: Instant,
) -> Result<u64> {
    let reading = tokio::spawn(async move { read_all(&mut visitor).await });
    let (mut written, mut words) = (0, 0);
    while Instant::now() < until && written + (WORD.len() as u64) < LONGEST {
        written = agent.writes(&to, written, WORD).await?;
        words += 1;
    }
    agent.writes(&to, written, "\n").await?;
    let read = reading.await??;
    ensure!(read > 0, "a page saw nothing of its reply");
    agent.replies(&to, &WORD.repeat(usize::try_from(words)?)).await?;
    Ok(words)
}

/// Reads a reply to its last line's end; returns how long it is. Nothing may be missing in it.
async fn read_all(visitor: &mut Visitor) -> Result<u64> {
    let mut read = 0;
    loop {
        let chunk: Chunk = serde_json::from_str(&visitor.next("chunk").await?)?;
        ensure!(chunk.offset == read, "a page saw {} after {read} bytes", chunk.offset);
        read += chunk.text.len() as u64;
        if chunk.text.ends_with('\n') {
            return Ok(read);
        }
    }
}

async fn lease(agent: &mut Agent, messages: u32) -> Result<Vec<LeasedMessage>> {
    let leased = agent.lease(messages).await?;
    ensure!(leased.len() == messages as usize, "{} of {messages} were leased", leased.len());
    Ok(leased)
}
