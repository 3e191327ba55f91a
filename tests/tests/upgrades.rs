//! Databases of another version than the relay's: older ones are taken over, newer ones refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use postern_shared::operator::{SessionDetail, Sessions};
use postern_tests::{ADMIN_KEY, API_KEY, Caller, Process, binary};
use rusqlite::Connection;
use rusqlite::types::Value;
use rustix::process::Signal;
use serde_json::json;

const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What the tables of version 1 hold after some days of work: an answered message, one that was
/// given up, one under a lease that ran out, and one that waits behind it.
const ROWS_OF_VERSION_1: &str = r#"
    INSERT INTO site (id, public_id, unanswered, open_count) VALUES
        (1, 'default', 'Sorry, this message could not be answered. Please try again later.', 2);
    INSERT INTO key VALUES (1, 'home', 1, zeroblob(32), 1000, 2000, NULL);
    INSERT INTO session
        (id, public_id, site, uid, created_at, last_active, message_count, response_count, ip_address,
         metadata, opening_key, entries, keys)
    VALUES
        (1, 'answered', 1, '00ff00ff00ff00ff', 1000, 2000, 1, 1, '192.0.2.7', '{"page":"/"}', x'01', '1,2',
         x'0a000000000000000b00000000000000'),
        (2, 'waiting', 1, '11ff00ff00ff00ff', 3000, 4000, 3, 0, NULL, NULL, NULL, '3,4,5,6', x'');
    INSERT INTO session_token VALUES (x'aa', 1, 1000), (x'bb', 2, 3000), (x'cc', 2, 3001);
    INSERT INTO message
        (id, session, role, text, answers, at, sent_at, metadata, idempotency)
    VALUES
        (1, 1, 0, 'hello & <b>', NULL, 1000, 999, '{"page":"/"}', x'0a000000000000000000000000000000'),
        (2, 1, 1, 'hello you', 1, 2000, 1999, NULL, x'0b000000000000000000000000000000'),
        (3, 2, 0, 'too hard', NULL, 3000, NULL, NULL, NULL),
        (4, 2, 3, 'Sorry.', 3, 3500, NULL, NULL, NULL),
        (5, 2, 0, 'one', NULL, 3600, NULL, NULL, NULL),
        (6, 2, 0, 'two', NULL, 3700, NULL, NULL, NULL);
    INSERT INTO inbox
        (session, message, site, visible_at, hidden_ms, attempts, lease_id, last_error)
    VALUES
        (2, 5, 1, 3900, 300, 2, 'an-old-lease', 'no model'), (2, 6, 1, NULL, 0, 0, NULL, NULL);
    INSERT INTO dead_letter VALUES (3, 2, 5, 'no model', 3500);
    INSERT INTO health VALUES (1, 4000);
"#;

#[tokio::test]
async fn a_filled_database_of_version_1_is_served_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let db = version_1(folder.path());
    let before = rows(&db);
    let (relay, address) = Process::relay(&db, ANY_PORT).await;
    let operator = Caller::new(address).with_secret(ADMIN_KEY);
    let sessions: Sessions = operator.get("/sessions").await.data();
    let ids: Vec<_> = sessions.sessions.iter().map(|session| session.id.as_str()).collect();
    assert_eq!(ids, ["waiting", "answered"]);
    let answered: SessionDetail = operator.get("/sessions/answered").await.data();
    assert_eq!(answered.messages[0].text, "hello & <b>");
    relay.signal(Signal::TERM);
    relay.end().await;
    assert_eq!(rows(&db), before);

    let (_relay, address) = Process::relay(&db, ANY_PORT).await;
    let leased = Caller::new(address).with_secret(API_KEY).lease(&json!({})).await;
    assert_eq!(leased.len(), 1);
    assert_eq!((leased[0].id.0, leased[0].attempts), (5, 3));
    let check = postern(&["check", "--db", db.to_str().unwrap()]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[tokio::test]
async fn a_newer_database_is_refused_with_both_versions_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let db = version_1(folder.path());
    let newer = Connection::open(&db).unwrap();
    newer.execute_batch("ALTER TABLE session ADD note TEXT; PRAGMA user_version = 7").unwrap();
    drop(newer);
    let before = fs::read(&db).unwrap();
    let path = db.to_str().unwrap();
    let sentence =
        format!("the database {path} has schema version 7, and this relay knows versions up to 1");
    let args = ["serve", "--listen", "127.0.0.1:0", "--db", path];
    let (status, log) = Process::start("postern-relay", &args).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.iter().any(|line| line.contains(&sentence)), "{log:?}");

    let place = folder.path().join("copy.db");
    let place = place.to_str().unwrap();
    for args in [
        vec!["check", "--db", path],
        vec!["backup", place, "--db", path],
        vec!["restore", path, "--db", place],
        vec!["deadletters", "list", "--db", path],
        vec!["deadletters", "requeue", "--all", "--db", path],
    ] {
        let refused = postern(&args);
        let log = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{args:?}");
        assert!(log.contains(&sentence), "{args:?}: {log}");
    }
    assert_eq!(fs::read(&db).unwrap(), before);
    assert!(!Path::new(place).exists());
}

/// A closed file as a relay of version 1 left it, made without the relay's code.
fn version_1(folder: &Path) -> PathBuf {
    let db = folder.join("relay.db");
    let connection = Connection::open(&db).unwrap();
    let pragmas = "PRAGMA journal_mode = WAL; PRAGMA application_id = 0x50526c79;
                   PRAGMA user_version = 1;";
    connection.execute_batch(pragmas).unwrap();
    connection.execute_batch(include_str!("../../schema.sql")).unwrap();
    connection.execute_batch(ROWS_OF_VERSION_1).unwrap();
    db
}

/// Every row of every table, and the version.
fn rows(db: &Path) -> Vec<Vec<Value>> {
    let connection = Connection::open(db).unwrap();
    let mut rows = Vec::new();
    for query in [
        "PRAGMA user_version",
        "SELECT * FROM site",
        "SELECT * FROM key",
        "SELECT * FROM session",
        "SELECT * FROM session_token",
        "SELECT * FROM message",
        "SELECT * FROM inbox",
        "SELECT * FROM dead_letter",
        "SELECT * FROM health",
        "SELECT * FROM sqlite_sequence",
    ] {
        let mut statement = connection.prepare(query).unwrap();
        let columns = statement.column_count();
        let read = statement.query_map([], |row| (0..columns).map(|at| row.get(at)).collect());
        rows.extend(read.unwrap().map(Result::unwrap));
    }
    rows
}

fn postern(args: &[&str]) -> std::process::Output {
    Command::new(binary("postern-relay")).args(args).env_clear().output().unwrap()
}
