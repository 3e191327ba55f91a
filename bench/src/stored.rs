//! Databases with as many messages as a relay has after some years, and visitors to go on from there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use crate::processes::Server;

/// How many conversations there are, whatever is stored in them.
pub(crate) const SESSIONS: u32 = 10_000;

/// How many messages a conversation has before there is another.
const LENGTH: u64 = 100;

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
    add_sessions(&mut connection)?;
    add_messages(&connection, messages)?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(path)
}

/// In how many conversations they are: in each as much as fills a page or two, and then more in all.
pub(crate) fn conversations(messages: u64) -> u32 {
    u32::try_from(messages / LENGTH).map_or(SESSIONS, |needed| needed.clamp(1, SESSIONS))
}

/// A conversation's public id.
pub(crate) fn session_id(number: u32) -> String {
    format!("session-of-the-bench-{number:08}")
}

/// What proves the right to it.
pub(crate) fn session_token(number: u32) -> String {
    format!("not-a-secret-token-of-the-bench-{number:08}")
}

fn add_sessions(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction()?;
    let site: i64 = transaction
        .query_row("SELECT id FROM site", [], |row| row.get(0))
        .context("the relay's site is not in its database")?;
    for number in 0..SESSIONS {
        let uid = format!("{number:016x}");
        transaction.prepare_cached(
            "INSERT INTO session (id, public_id, site, uid, created_at, last_active, message_count,
                 response_count) VALUES (?1, ?2, ?3, ?4, 0, 0, 0, 0)",
        )?
        .execute(params![number + 1, session_id(number), site, uid])?;
        let token = Sha256::new().chain_update("default").chain_update([0]);
        let token = token.chain_update(session_token(number)).finalize();
        transaction
            .prepare_cached(
                "INSERT INTO session_token (hash, session, created_at) VALUES (?1, ?2, 0)",
            )?
            .execute(params![token.as_slice(), number + 1])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Questions and answers by turns, in all conversations at once, as time brings them.
fn add_messages(connection: &Connection, messages: u64) -> Result<()> {
    connection.execute(
        "WITH RECURSIVE number (n) AS (
             SELECT 0 WHERE ?1 > 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < ?1)
         INSERT INTO message (session, role, text, answers, at, idempotency)
         SELECT (n / 2) % ?2 + 1, n % 2, ?3, iif(n % 2, n, NULL), n, randomblob(16) FROM number",
        params![i64::try_from(messages)?, conversations(messages), MESSAGE],
    )?;
    Ok(())
}
