//! Databases with as many messages as a relay has after some years, and visitors to go on from there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use crate::processes::Server;

/// How many conversations have just begun, whatever is stored. The load goes into these: one that is long
/// makes a message slower, and that is no growth.
pub(crate) const SESSIONS: u32 = 10_000;

/// How many messages a stored conversation has, how many conversations were under way at a time, and how
/// many messages those have together.
const LENGTH: u64 = 100;
const AT_A_TIME: u64 = 100;
const A_TIME: u64 = AT_A_TIME * LENGTH;

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
    let over = conversations(messages);
    add_sessions(&mut connection, (0..over).map(stored_session).chain(0..SESSIONS))?;
    add_messages(&connection, messages)?;
    add_entries(&mut connection, messages)?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(path)
}

/// An amount that can be stored: whole conversations, all of their time.
pub(crate) fn amount(given: &str) -> Result<u64> {
    let messages = given.parse()?;
    ensure!(messages > 0 && messages % A_TIME == 0, "it has to be a multiple of {A_TIME}");
    Ok(messages)
}

/// How many conversations hold so many messages.
pub(crate) fn conversations(messages: u64) -> u32 {
    u32::try_from(messages / LENGTH).unwrap_or(u32::MAX)
}

/// The number of a stored conversation, behind those of the ones that have just begun.
pub(crate) fn stored_session(place: u32) -> u32 {
    SESSIONS + place
}

/// A conversation's public id.
pub(crate) fn session_id(number: u32) -> String {
    format!("session-of-the-bench-{number:08}")
}

/// What proves the right to it.
pub(crate) fn session_token(number: u32) -> String {
    format!("not-a-secret-token-of-the-bench-{number:08}")
}

fn add_sessions(connection: &mut Connection, numbers: impl Iterator<Item = u32>) -> Result<()> {
    let transaction = connection.transaction()?;
    let site: i64 = transaction
        .query_row("SELECT id FROM site", [], |row| row.get(0))
        .context("the relay's site is not in its database")?;
    for number in numbers {
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
fn add_messages(connection: &Connection, messages: u64) -> Result<()> {
    connection.execute(
        "WITH RECURSIVE number (n) AS (
             SELECT 0 WHERE ?1 > 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < ?1)
         INSERT INTO message (session, role, text, answers, at, idempotency)
         SELECT n / ?2 * ?3 + (n / 2) % ?3 + 1,
             n % 2, ?4, iif(n % 2, n, NULL), n, randomblob(16) FROM number",
        params![messages, A_TIME, AT_A_TIME, MESSAGE],
    )?;
    Ok(())
}

/// Counts the messages of each conversation, and puts their ids, and as many keys, where the relay looks for
/// them: the latest in the session's row, the others by 32.
fn add_entries(connection: &mut Connection, messages: u64) -> Result<()> {
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
    for number in 0..u64::from(conversations(messages)) {
        let ids: Vec<_> = ids_of(number).collect();
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
fn ids_of(number: u64) -> impl Iterator<Item = u64> {
    let first = number / AT_A_TIME * A_TIME + 2 * (number % AT_A_TIME);
    let questions = (0..LENGTH / 2).map(move |turn| first + 2 * AT_A_TIME * turn);
    questions.flat_map(|question| [question + 1, question + 2])
}

fn listed(ids: &[u64]) -> String {
    let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
    ids.join(",")
}
