//! Event streams: what one costs while nothing is said, and the whole way of a message to one.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::time;

use crate::accept;
use crate::http::Connection;
use crate::processes::Server;
use crate::stored::{session_id, session_token};

/// How many connections one address of loopback makes: fewer than it has ports.
const PER_ADDRESS: u32 = 20_000;

/// For how long nothing is said.
const IDLE: Duration = Duration::from_secs(5);

/// What many open streams come to.
pub(crate) struct Idle {
    pub(crate) streams: u32,
    pub(crate) opened_in: Duration,
    /// Of the relay's memory, without what the system has of its own for a connection.
    pub(crate) bytes_each: f64,
    /// Of one core, by all of them together.
    pub(crate) share_of_core: f64,
}

/// Opens so many streams, one for each conversation, and watches the relay while nothing is said.
pub(crate) async fn idle(relay: &Server, streams: u32) -> Result<Idle> {
    let before = relay.resident_bytes()?;
    let from = Instant::now();
    let mut open = Vec::new();
    for number in 0..streams {
        open.push(stream(relay.address, number).await?);
    }
    let opened_in = from.elapsed();
    let bytes = relay.resident_bytes()?.saturating_sub(before);
    let busy = relay.busy()?;
    time::sleep(IDLE).await;
    let busy = relay.busy()?.saturating_sub(busy);
    Ok(Idle {
        streams,
        opened_in,
        bytes_each: bytes as f64 / f64::from(streams),
        share_of_core: busy.as_secs_f64() / IDLE.as_secs_f64(),
    })
}

/// How long a visitor waits for an echo, in microseconds: from the first byte of the message to the
/// event with its reply. A poller has to be there.
pub(crate) async fn whole_way(relay: SocketAddr, messages: u32) -> Result<Histogram<u64>> {
    let mut latencies = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    let mut events = stream(relay, 0).await?;
    let mut posts = Connection::open(relay).await?;
    let mut request = Vec::new();
    for number in 0..messages {
        request.clear();
        accept::write_message(&mut request, 0, &format!("the-whole-way-{number:016}"));
        let from = Instant::now();
        let answer = posts.call(&request).await?;
        ensure!(answer.status == 200, "{}", String::from_utf8_lossy(answer.body));
        let body: serde_json::Value = serde_json::from_slice(answer.body)?;
        let id = body["data"]["message_id"].as_i64().context("a message without an id")?;
        events.reads(r#""role":"agent""#, &format!(r#""message_id":{id},"#)).await?;
        latencies.saturating_record(u64::try_from(from.elapsed().as_micros())?);
    }
    Ok(latencies)
}

async fn stream(relay: SocketAddr, session: u32) -> Result<Connection> {
    let [.., c, d] = (session / PER_ADDRESS + 1).to_be_bytes();
    let mut connection = Connection::open_from(Ipv4Addr::new(127, 1, c, d), relay).await?;
    let request = format!(
        "GET /api/v1/sessions/{}/events HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {}\r\n\r\n",
        session_id(session),
        session_token(session),
    );
    connection.sends(request.as_bytes()).await?;
    connection.reads("HTTP/1.1 200", "connected").await?;
    Ok(connection)
}
