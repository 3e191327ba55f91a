//! Databases with as many messages as a relay has after some years, and visitors to go on from there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use crate::processes::Server;

/// How many conversations are under way, whatever is stored.
pub(crate) const SESSIONS: u32 = 10_000;

/// How many messages a conversation has, at most: so much is stored once each has as many, and what is
/// more lies in conversations that have ended.
const LENGTH: u64 = 100;
const UNDER_WAY: u64 = SESSIONS as u64 * LENGTH;

/// How many entries the relay keeps in a row.
const CHAPTER: usize = 32;

/// A visitor's message, of about the length that people write.
pub(crate) const MESSAGE: &str = "Hello! I ordered the blue one last Tuesday and have not heard of it \
                                  since. Could you look where it is, please?";

/// A database with this many messages that were answered, ready for a relay.
pub(crate) fn database(folder: &Path, messages: u64) -> Result<PathBuf> {
    let path = folder.join(format!("{messages}.db"));
    // The relay makes its own schema.
    drop(Server::relay(&path)?);
    let mut connection = Connection::open(&path)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", -512_000)?;
    let ended = ended(messages);
    add_ended_sessions(&connection, ended)?;
    add_sessions(&mut connection)?;
    add_messages(&connection, messages, ended)?;
    add_entries(&mut connection, messages, ended)?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(path)
}

/// How many of the conversations under way hold any: as many as have enough for a page or two.
pub(crate) fn conversations(messages: u64) -> u32 {
    u32::try_from(messages / LENGTH).map_or(SESSIONS, |needed| needed.clamp(1, SESSIONS))
}

/// How many conversations have ended by now.
fn ended(messages: u64) -> u64 {
    (messages / UNDER_WAY).saturating_sub(1) * u64::from(SESSIONS)
}

/// A conversation's public id.
pub(crate) fn session_id(number: u32) -> String {
    format!("session-of-the-bench-{number:08}")
}

/// What proves the right to it.
pub(crate) fn session_token(number: u32) -> String {
    format!("not-a-secret-token-of-the-bench-{number:08}")
}

fn add_ended_sessions(connection: &Connection, count: u64) -> Result<()> {
    let numbers = "WITH RECURSIVE number (n) AS (
        SELECT 1 WHERE ?1 > 0 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)";
    let sql = format!(
        "{numbers} INSERT INTO session (id, public_id, site, uid, created_at, last_active)
         SELECT n, printf('ended-session-of-the-bench-%08d', n), site.id,
             lower(hex(randomblob(8))), 0, 0
         FROM number, site"
    );
    connection.execute(&sql, [count])?;
    let sql = format!(
        "{numbers} INSERT INTO session_token (hash, session, created_at)
         SELECT randomblob(32), n, 0 FROM number"
    );
    connection.execute(&sql, [count])?;
    Ok(())
}

fn add_sessions(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction()?;
    let site: i64 = transaction
        .query_row("SELECT id FROM site", [], |row| row.get(0))
        .context("the relay's site is not in its database")?;
    for number in 0..SESSIONS {
        let uid = format!("{number:016x}");
        transaction
            .prepare_cached(
                "INSERT INTO session (public_id, site, uid, created_at, last_active)
             VALUES (?1, ?2, ?3, 0, 0)",
            )?
            .execute(params![session_id(number), site, uid])?;
        let session = transaction.last_insert_rowid();
        let token = Sha256::new().chain_update("default").chain_update([0]);
        let token = token.chain_update(session_token(number)).finalize();
        transaction
            .prepare_cached(
                "INSERT INTO session_token (hash, session, created_at) VALUES (?1, ?2, 0)",
            )?
            .execute(params![token.as_slice(), session])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Questions and answers by turns, in all conversations of a time at once.
fn add_messages(connection: &Connection, messages: u64, ended: u64) -> Result<()> {
    connection.execute(
        "WITH RECURSIVE number (n) AS (
             SELECT 0 WHERE ?1 > 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < ?1)
         INSERT INTO message (session, role, text, answers, at, idempotency)
         SELECT iif(n < ?2, n / ?3 * ?4 + (n / 2) % ?4, ?5 + (n / 2) % ?6) + 1,
             n % 2, ?7, iif(n % 2, n, NULL), n, randomblob(16) FROM number",
        params![
            messages,
            ended * LENGTH,
            UNDER_WAY,
            SESSIONS,
            ended,
            conversations(messages),
            MESSAGE
        ],
    )?;
    Ok(())
}

/// Counts the messages of each conversation, and puts their ids, and as many keys, where the relay looks for
/// them: the latest in the session's row, the others by 32.
fn add_entries(connection: &mut Connection, messages: u64, ended: u64) -> Result<()> {
    let transaction = connection.transaction()?;
    let mut earlier = transaction.prepare(
        "INSERT INTO earlier_entries (session, before, entries, keys)
         VALUES (?1, ?2, ?3, randomblob(8 * ?4))",
    )?;
    let mut latest = transaction.prepare(
        "UPDATE session SET message_count = ?2, response_count = ?2, entries = ?3,
             keys = randomblob(8 * ?4), chapters = ?5
         WHERE id = ?1",
    )?;
    for number in 0..ended + u64::from(conversations(messages)) {
        let ids = ids_of(number, messages, ended);
        let chapters: Vec<_> = ids.chunks(CHAPTER).collect();
        let Some((last, full)) = chapters.split_last() else { continue };
        for (ids, next) in full.iter().zip(&chapters[1..]) {
            earlier.execute(params![number + 1, next.first(), listed(ids), CHAPTER])?;
        }
        let (half, entries) = (ids.len() / 2, listed(last));
        latest.execute(params![number + 1, half, entries, last.len(), full.len()])?;
    }
    drop((earlier, latest));
    Ok(transaction.commit()?)
}

/// The messages of a conversation, as [`add_messages`] deals them out.
fn ids_of(number: u64, messages: u64, ended: u64) -> Vec<u64> {
    let all = u64::from(SESSIONS);
    let (first, until, step) = match number.checked_sub(ended) {
        None => {
            let from = number / all * UNDER_WAY;
            (from + 2 * (number % all), from + UNDER_WAY, 2 * all)
        }
        Some(number) => {
            let from = ended * LENGTH;
            (from + 2 * number, messages, 2 * u64::from(conversations(messages)))
        }
    };
    let questions = (first..until).step_by(step as usize);
    questions.flat_map(|question| [question + 1, question + 2]).collect()
}

fn listed(ids: &[u64]) -> String {
    let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
    ids.join(",")
}
