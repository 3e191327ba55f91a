//! Accepting a visitor's message: from its first byte to the answer that says it is on disk.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::http::Connection;
use crate::load::{self, Arrivals, Request};
use crate::outcome::Outcome;
use crate::processes::Server;
use crate::stored::{MESSAGE, SESSIONS, session_id, session_token};

/// Posts messages to the conversations in turn, each with an idempotency key of its own.
pub(crate) async fn run(
    relay: SocketAddr,
    connections: u32,
    arrivals: Arrivals,
    length: Duration,
) -> Result<Outcome> {
    run_over(load::open(relay, connections).await?, arrivals, length).await
}

/// The same as fast as a relay answers, with its processor time for each, in microseconds.
pub(crate) async fn run_busy(
    relay: &Server,
    connections: u32,
    length: Duration,
) -> Result<(Outcome, f64)> {
    let busy = relay.process.busy()?;
    let found = run(relay.address, connections, Arrivals::Closed, length).await?;
    let busy = relay.process.busy()?.saturating_sub(busy);
    let each = busy.as_secs_f64() * 1e6 / found.accepted() as f64;
    Ok((found, each))
}

/// The same over connections that are open.
pub(crate) async fn run_over(
    connections: Vec<Connection>,
    arrivals: Arrivals,
    length: Duration,
) -> Result<Outcome> {
    let count = u32::try_from(connections.len())?;
    load::run(connections, arrivals, length, messages(count)).await
}

/// The same calls to a server that echoes them.
pub(crate) async fn echo(
    server: SocketAddr,
    connections: u32,
    arrivals: Arrivals,
    length: Duration,
) -> Result<Outcome> {
    let request: Request = Arc::new(|caller, _, buffer| {
        write(buffer, "/", caller % SESSIONS, "0", MESSAGE);
    });
    load::run(load::open(server, connections).await?, arrivals, length, request).await
}

fn messages(connections: u32) -> Request {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    Arc::new(move |caller, call, buffer| {
        // A conversation belongs to one caller, so that its order can be seen.
        let turn = u32::try_from(call % 1_000_000).unwrap_or_default();
        let session = (caller + turn.wrapping_mul(connections)) % SESSIONS;
        let key = format!("{run:08}-{caller:08}-{call:012}");
        write_message(buffer, session, &key, MESSAGE);
    })
}

/// Writes the request that posts a message; nothing in its text may have to be escaped.
pub(crate) fn write_message(buffer: &mut Vec<u8>, session: u32, key: &str, text: &str) {
    write(buffer, "/api/v1/messages", session, key, text);
}

fn write(buffer: &mut Vec<u8>, path: &str, session: u32, key: &str, text: &str) {
    let id = session_id(session);
    let body = format!(r#"{{"session_id":"{id}","message":"{text}"}}"#);
    // Writing to memory does not fail.
    let _ = write!(
        buffer,
        "POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {}\r\nIdempotency-Key: {key}\r\nX-Forwarded-For: {}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        session_token(session),
        Ipv4Addr::from(Ipv4Addr::new(10, 0, 0, 0).to_bits() + session),
        body.len(),
    );
}
