//! Check: whether the file holds together and its rows say what the schema means.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use postern_shared::FileId;
use rusqlite::Connection;

use crate::store::file::{self, Found, OpenError, Purpose};

/// How many rows a finding names; the rest it counts.
const EXAMPLES: usize = 5;

/// Something that always holds.
struct Invariant {
    /// The sentence when it does not; the rows are named after it.
    broken: &'static str,
    /// Names each row that breaks it.
    sql: &'static str,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// What is wrong, a sentence each; empty when all is well.
    pub findings: Vec<String>,
    /// Files in their folder that the database does not know, in a sentence. They do no harm: a crash
    /// or the restore of an older database leaves them.
    pub strays: Option<String>,
    /// What the database holds; all zero when its pages or its schema are damaged.
    pub contents: Contents,
}

/// A database in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// How many sessions there are.
    pub sessions: u64,
    /// How many messages, of visitors and to them.
    pub messages: u64,
    /// How many of them want an answer.
    pub open: u64,
    /// How many were given up.
    pub dead_letters: u64,
    /// How many files were sent, whose bytes lie in a folder of their own.
    pub files: u64,
}

/// Looks at every page, every row and the folder of files as they are at this moment; a relay may be
/// serving meanwhile. Changes nothing.
///
/// # Errors
/// [`OpenError`] names a file that cannot be read as a relay's database.
pub fn check(db: &Path, files: &Path) -> Result<Report, OpenError> {
    let found = file::open_beside(db, Purpose::Read)?;
    let sqlite = |cause| OpenError::sqlite(db, cause);
    let mut report = examine(&found).map_err(sqlite)?;
    // The files of a database whose rows cannot be read are not known.
    if report.contents != Contents::default() {
        // Looked at before the rows: a file that is being stored has its bytes first.
        let lying = lying_files(files);
        let known = known_files(&found.connection).map_err(sqlite)?;
        report.findings.extend(missing_files(&known, files));
        report.strays = stray_files(&known, lying, files);
    }
    Ok(report)
}

/// The names of files in the folder; none when it cannot be read.
fn lying_files(folder: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| {
        let id: FileId = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some(id.to_string())
    };
    fs::read_dir(folder).map(|entries| entries.filter_map(name).collect()).unwrap_or_default()
}

/// The size in bytes of every file that was sent.
fn known_files(conn: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    conn.prepare("SELECT public_id, size_bytes FROM file")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Files whose bytes are not in their folder, or not all of them.
fn missing_files(known: &BTreeMap<String, u64>, folder: &Path) -> Option<String> {
    let is_whole = |id: &str, size_bytes| {
        folder.join(id).metadata().is_ok_and(|file| file.len() == size_bytes)
    };
    let missing = known.iter().filter(|(id, size_bytes)| !is_whole(id, **size_bytes));
    let missing: Vec<_> = missing.map(|(id, _)| format!("file {id}")).collect();
    named(&format!("not whole in {}", folder.display()), &missing)
}

fn stray_files(known: &BTreeMap<String, u64>, lying: Vec<String>, folder: &Path) -> Option<String> {
    let strays = lying.into_iter().filter(|id| !known.contains_key(id));
    let mut strays: Vec<_> = strays.map(|id| format!("file {id}")).collect();
    strays.sort();
    named(&format!("not known, and left in {}", folder.display()), &strays)
}

/// Looks at the rows too when they are of the version whose meaning is known here.
pub(super) fn examine(found: &Found) -> rusqlite::Result<Report> {
    let moment = found.connection.unchecked_transaction()?;
    let mut findings = damaged_pages(&moment)?;
    if findings.is_empty() && found.is_current() {
        findings.extend(file::missing_parts(&moment)?.into_iter().map(no_part));
    }
    if !findings.is_empty() {
        return Ok(Report { findings, strays: None, contents: Contents::default() });
    }
    findings.extend(dangling_rows(&moment)?);
    if found.is_current() {
        for invariant in INVARIANTS {
            findings.extend(broken(&moment, invariant)?);
        }
    }
    Ok(Report { findings, strays: None, contents: contents(&moment)? })
}

fn no_part(part: String) -> String {
    format!("the schema has no {part}")
}

fn damaged_pages(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let found: Vec<String> = conn
        .prepare("PRAGMA integrity_check")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(found
        .into_iter()
        .filter(|line| line != "ok")
        .map(|what| format!("the file is damaged: {what}"))
        .collect())
}

fn dangling_rows(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = r#"SELECT "table", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2"#;
    conn.prepare(sql)?
        .query_map([], |row| {
            let (table, parent, rows): (String, String, u64) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(format!("{table} has rows whose {parent} does not exist: {rows}"))
        })?
        .collect()
}

fn broken(conn: &Connection, invariant: &Invariant) -> rusqlite::Result<Option<String>> {
    let rows: Vec<String> =
        conn.prepare(invariant.sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(named(invariant.broken, &rows))
}

/// A sentence that names some of what it is about.
fn named(broken: &str, rows: &[String]) -> Option<String> {
    let examples = rows.iter().take(EXAMPLES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match rows.len().saturating_sub(EXAMPLES) {
        _ if rows.is_empty() => None,
        0 => Some(format!("{broken}: {examples}")),
        more => Some(format!("{broken}: {examples} and {more} more")),
    }
}

fn contents(conn: &Connection) -> rusqlite::Result<Contents> {
    let sql = "SELECT (SELECT count(*) FROM session), (SELECT count(*) FROM message),
                      (SELECT count(*) FROM inbox), (SELECT count(*) FROM dead_letter),
                      (SELECT count(*) FROM file)";
    conn.query_row(sql, [], |row| {
        Ok(Contents {
            sessions: row.get(0)?,
            messages: row.get(1)?,
            open: row.get(2)?,
            dead_letters: row.get(3)?,
            files: row.get(4)?,
        })
    })
}

/// Roles are numbers in the file: 0 is the visitor, 1 the agent.
const INVARIANTS: &[Invariant] = &[
    // Of those that a batch took, each has a lease of its own.
    Invariant {
        broken: "of a session's open messages not exactly one is next to be leased",
        sql: "SELECT 'session ' || public_id FROM session
              JOIN inbox ON inbox.session = session.id
              GROUP BY session.id HAVING count(visible_at) = 0 OR count(visible_at) FILTER (
                  WHERE coalesce(lease_id NOT GLOB 'batch-*', 1)) > 1",
    },
    // One that was leased already goes before an older one that was requeued since.
    Invariant {
        broken: "an open message is leased before an older one of its session",
        sql: "SELECT 'message ' || message FROM inbox AS next
              WHERE visible_at IS NOT NULL AND attempts = 0 AND EXISTS (
                  SELECT 1 FROM inbox WHERE session = next.session AND message < next.message)",
    },
    Invariant {
        broken: "an open message is under a lease while another of its session is next",
        sql: "SELECT 'message ' || message FROM inbox
              WHERE visible_at IS NULL AND lease_id IS NOT NULL",
    },
    Invariant {
        broken: "an open message is no visitor's, or of another session",
        sql: "SELECT 'message ' || message FROM inbox JOIN message ON message.id = inbox.message
              WHERE role <> 0 OR message.session <> inbox.session",
    },
    Invariant {
        broken: "an open message has its reply",
        sql: "SELECT 'message ' || message FROM inbox
              WHERE message IN (SELECT answers FROM message WHERE role = 1)",
    },
    Invariant {
        broken: "an open message is a dead letter too",
        sql: "SELECT 'message ' || message FROM inbox
              WHERE message IN (SELECT message FROM dead_letter)",
    },
    Invariant {
        broken: "a dead letter is no visitor's message, or of another session",
        sql: "SELECT 'message ' || message FROM dead_letter
              JOIN message ON message.id = dead_letter.message
              WHERE role <> 0 OR message.session <> dead_letter.session",
    },
    Invariant {
        broken: "a dead letter has its reply",
        sql: "SELECT 'message ' || message FROM dead_letter
              WHERE message IN (SELECT answers FROM message WHERE role = 1)",
    },
    Invariant {
        broken: "an entry answers what is no earlier message of a visitor in its session",
        sql: "SELECT 'message ' || reply.id FROM message AS reply
              LEFT JOIN message AS asked ON asked.id = reply.answers
              WHERE reply.answers IS NOT NULL AND (asked.id IS NULL OR asked.role <> 0
                  OR asked.session <> reply.session OR asked.id >= reply.id OR reply.role = 0)",
    },
    Invariant {
        broken: "a message has more than one reply",
        sql: "SELECT 'message ' || answers FROM message
              WHERE role = 1 AND answers IS NOT NULL GROUP BY answers HAVING count(*) > 1",
    },
    Invariant {
        broken: "a message is not among its session's",
        sql: "SELECT 'message ' || id FROM (
                  SELECT id, session FROM message EXCEPT SELECT entry, session FROM conversation)",
    },
    Invariant {
        broken: "a session has what is no message of it, or not in order",
        sql: "SELECT 'session ' || public_id FROM session WHERE id IN (
                  SELECT session FROM (
                      SELECT entry, session FROM conversation
                      EXCEPT SELECT id, session FROM message)
                  UNION ALL SELECT session FROM (
                      SELECT session, entry, chapter, lag(entry, 1, 0) OVER (
                          PARTITION BY session ORDER BY chapter, place) AS previous
                      FROM conversation) WHERE entry <= previous OR entry >= chapter)",
    },
    Invariant {
        broken: "a session does not count its rows of earlier entries right",
        sql: "SELECT 'session ' || public_id FROM session WHERE chapters <> (
                  SELECT count(*) FROM earlier_entries WHERE session = session.id)",
    },
    Invariant {
        broken: "a message's idempotency key is not among its session's",
        sql: "SELECT 'message ' || message.id FROM message
              JOIN session ON session.id = message.session
              WHERE idempotency IS NOT NULL AND NOT instr(session.keys, substr(idempotency, 1, 8))
              AND NOT EXISTS (SELECT 1 FROM earlier_entries AS earlier WHERE earlier.session = session.id
                              AND instr(earlier.keys, substr(idempotency, 1, 8)))",
    },
    Invariant {
        broken: "two messages of a session came with one idempotency key",
        sql: "SELECT 'message ' || max(id) FROM message WHERE idempotency IS NOT NULL
              GROUP BY session, idempotency HAVING count(*) > 1",
    },
    Invariant {
        broken: "a site does not count its sessions or its open messages right",
        sql: "SELECT 'site ' || public_id FROM site
              WHERE session_count <> (SELECT count(*) FROM session WHERE site = site.id)
              OR open_count <> (SELECT count(*) FROM inbox WHERE site = site.id)",
    },
    Invariant {
        broken: "a session does not count its messages right",
        sql: "SELECT 'session ' || public_id FROM session LEFT JOIN (
                  SELECT session, count(*) AS said FROM message WHERE role = 0 GROUP BY session
              ) AS counted ON counted.session = session.id
              WHERE message_count <> coalesce(said, 0)",
    },
    Invariant {
        broken: "a session does not count its replies right",
        sql: "SELECT 'session ' || public_id FROM session LEFT JOIN (
                  SELECT session, count(*) AS said FROM message WHERE role = 1 GROUP BY session
              ) AS counted ON counted.session = session.id
              WHERE response_count <> coalesce(said, 0)",
    },
    Invariant {
        broken: "a session does not count its ratings right",
        sql: "SELECT 'session ' || public_id FROM session LEFT JOIN (
                  SELECT session, sum(rating = 1) AS up, sum(rating = -1) AS down FROM feedback
                  GROUP BY session
              ) AS counted ON counted.session = session.id
              WHERE up_count <> coalesce(up, 0) OR down_count <> coalesce(down, 0)",
    },
    Invariant {
        broken: "feedback is not on a reply, or of another session",
        sql: "SELECT 'message ' || message FROM feedback JOIN message ON message.id = feedback.message
              WHERE role NOT IN (1, 2) OR message.session <> feedback.session",
    },
    Invariant {
        broken: "a session's id or visitor is not of the form it must have",
        sql: "SELECT 'session ' || public_id FROM session
              WHERE public_id GLOB '*[^A-Za-z0-9_-]*' OR length(public_id) NOT BETWEEN 1 AND 64
              OR uid GLOB '*[^0-9a-f]*' OR length(uid) <> 16",
    },
    Invariant {
        broken: "metadata is not a JSON object",
        sql: "SELECT subject FROM (
                  SELECT 'message ' || id AS subject, metadata FROM message
                  UNION ALL SELECT 'session ' || public_id, metadata FROM session
              ) WHERE metadata IS NOT NULL
              AND iif(json_valid(metadata), json_type(metadata), 'none') <> 'object'",
    },
    Invariant {
        broken: "quick replies are not a JSON array, or not a reply's",
        sql: "SELECT 'message ' || id FROM message WHERE quick_replies IS NOT NULL AND (role <> 1
              OR iif(json_valid(quick_replies), json_type(quick_replies), 'none') <> 'array')",
    },
    Invariant {
        broken: "a file goes with an entry of another session, or of someone else",
        sql: "SELECT 'file ' || public_id FROM file JOIN message ON message.id = file.message
              WHERE message.session <> file.session OR message.role <> file.role",
    },
    Invariant {
        broken: "an id could be given out a second time",
        sql: "SELECT 'message ' || id FROM message WHERE id > (
                  SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'message')",
    },
];
