//! The check, and what a relay refuses to start with.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postern_tests::Process;
use rusqlite::Connection;

use crate::host::{
    Host, cut_in_half, damage_a_page, fails, fill, keep_sending, postern, text, zero,
};

#[tokio::test]
async fn a_database_at_work_is_found_well() {
    let host = Host::start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let sender = keep_sending(host.address, Arc::clone(&stop));
    for _ in 0..5 {
        let leased = host.lease().await;
        for (number, message) in leased.iter().enumerate() {
            match number % 3 {
                0 => host.answer(message).await,
                1 => host.give_up(message, "no model").await,
                _ => {}
            }
        }
        host.is_well();
        host.succeeds(&["deadletters", "requeue", "--all"]);
        host.is_well();
    }
    stop.store(true, Ordering::SeqCst);
    sender.await.unwrap();
}

#[tokio::test]
async fn every_broken_invariant_is_named_in_a_sentence() {
    let host = Host::start().await;
    fill(&host).await;
    let host = host.stop().await;
    let whole = fs::read(&host.db).unwrap();
    let cases = [
        (
            "UPDATE inbox SET visible_at = NULL",
            "of a session's open messages not exactly one is next to be leased: session ",
        ),
        (
            "UPDATE inbox SET visible_at = 1",
            "of a session's open messages not exactly one is next to be leased: session ",
        ),
        (
            "UPDATE inbox SET attempts = 0, visible_at = iif(visible_at IS NULL, 1, NULL),
                 lease_id = NULL",
            "an open message is leased before an older one of its session: message ",
        ),
        (
            "UPDATE inbox SET lease_id = 'a-lease' WHERE visible_at IS NULL",
            "an open message is under a lease while another of its session is next: message ",
        ),
        (
            "UPDATE message SET role = 2 WHERE id IN (SELECT message FROM inbox)",
            "an open message is no visitor's, or of another session: message ",
        ),
        (
            "INSERT INTO message (session, role, text, answers, at)
                 SELECT session, 1, 'x', message, 1 FROM inbox",
            "an open message has its reply: message ",
        ),
        (
            "INSERT INTO dead_letter (message, session, attempts, at)
                 SELECT message, session, 1, 1 FROM inbox",
            "an open message is a dead letter too: message ",
        ),
        (
            "UPDATE message SET role = 3 WHERE id IN (SELECT message FROM dead_letter)",
            "a dead letter is no visitor's message, or of another session: message ",
        ),
        (
            "INSERT INTO message (session, role, text, answers, at)
                 SELECT session, 1, 'x', message, 1 FROM dead_letter",
            "a dead letter has its reply: message ",
        ),
        (
            "UPDATE message SET answers = 999 WHERE role = 1",
            "an entry answers what is no earlier message of a visitor in its session: message ",
        ),
        (
            "INSERT INTO message (session, role, text, answers, at)
                 SELECT session, 1, 'x', answers, 1 FROM message WHERE role = 1",
            "a message has more than one reply: message ",
        ),
        ("UPDATE session SET entries = ''", "a message is not among its session's: message "),
        (
            "UPDATE session SET entries = '1,' || entries WHERE id = 2",
            "a session has what is no message of it, or not in order: session ",
        ),
        (
            "UPDATE session SET entries = entries || ',' || entries WHERE entries <> ''",
            "a session has what is no message of it, or not in order: session ",
        ),
        (
            "UPDATE session SET chapters = 1",
            "a session does not count its rows of earlier entries right: session ",
        ),
        (
            "UPDATE session SET message_count = message_count + 1",
            "a session does not count its messages right: session ",
        ),
        (
            "UPDATE session SET response_count = response_count + 1",
            "a session does not count its replies right: session ",
        ),
        (
            "UPDATE session SET up_count = up_count + 1",
            "a session does not count its ratings right: session ",
        ),
        (
            "INSERT INTO feedback (message, session, rating, at)
                 SELECT id, session, -1, 1 FROM message WHERE role = 1;
             UPDATE session SET up_count = 1 WHERE id IN (SELECT session FROM feedback)",
            "a session does not count its ratings right: session ",
        ),
        (
            "INSERT INTO feedback (message, session, rating, at)
                 SELECT id, session, 1, 1 FROM message WHERE role = 0",
            "feedback is not on a reply, or of another session: message ",
        ),
        (
            "UPDATE session SET uid = 'nobody'",
            "a session's id or visitor is not of the form it must have: session ",
        ),
        (
            "UPDATE message SET quick_replies = '\"Yes\"' WHERE role = 1",
            "quick replies are not a JSON array, or not a reply's: message ",
        ),
        (
            "UPDATE message SET quick_replies = '[\"Yes\"]' WHERE role = 0",
            "quick replies are not a JSON array, or not a reply's: message ",
        ),
        ("UPDATE message SET metadata = '[1]'", "metadata is not a JSON object: message "),
        ("UPDATE sqlite_sequence SET seq = 1", "an id could be given out a second time: message "),
        (
            "PRAGMA foreign_keys = off; UPDATE session_token SET session = 999",
            "session_token has rows whose session does not exist: 3",
        ),
        ("DROP INDEX inbox_by_visibility", "the schema has no index inbox_by_visibility"),
    ];
    for (sql, sentence) in cases {
        fs::write(&host.db, &whole).unwrap();
        Connection::open(&host.db).unwrap().execute_batch(sql).unwrap();
        let output = postern(&["check", "--db", text(&host.db)]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{sql}: {said}");
        assert!(said.contains(sentence), "{sql}: {said}");
    }
    fs::write(&host.db, &whole).unwrap();
    host.is_well();
}

#[tokio::test]
async fn a_damaged_file_is_named_by_every_tool_and_never_written_to() {
    let host = Host::start().await;
    fill(&host).await;
    let host = host.stop().await;
    let whole = fs::read(&host.db).unwrap();
    let garbage: fn(&Path) = |db| {
        let mut bytes = fs::read(db).unwrap();
        bytes[..100].fill(b'x');
        fs::write(db, bytes).unwrap();
    };
    for spoil in [garbage, cut_in_half, zero, damage_a_page] {
        fs::write(&host.db, &whole).unwrap();
        spoil(&host.db);
        let before = fs::read(&host.db).unwrap();
        let args = ["serve", "--listen", "127.0.0.1:0", "--db", text(&host.db)];
        let (status, log) = Process::start("postern-relay", &args).end().await;
        assert_eq!(status.code(), Some(1), "{log:?}");
        let sentence = format!("the database {} is damaged", text(&host.db));
        assert!(log.iter().any(|line| line.contains(&sentence)), "{log:?}");

        let output = postern(&["check", "--db", text(&host.db)]);
        assert_eq!(output.status.code(), Some(1));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(text(&host.db)) && said.contains("damaged"), "{said}");

        let backup = host.file("backup.db");
        assert!(host.fails(&["backup", text(&backup)]).contains("damaged"));
        assert!(!backup.exists());
        assert_eq!(fs::read(&host.db).unwrap(), before);
    }
}

#[tokio::test]
async fn a_file_cut_in_half_under_a_log_is_refused_and_both_are_kept() {
    let host = Host::start().await;
    fill(&host).await;
    let host = host.stop().await.start_again().await;
    host.accept("in the log only").await;
    let host = host.kill().await;
    let log = host.file("relay.db-wal");
    cut_in_half(&host.db);
    let before = (fs::read(&host.db).unwrap(), fs::read(&log).unwrap());
    assert!(!before.1.is_empty());
    let args = ["serve", "--listen", "127.0.0.1:0", "--db", text(&host.db)];
    let (status, log_lines) = Process::start("postern-relay", &args).end().await;
    assert_eq!(status.code(), Some(1), "{log_lines:?}");
    assert!(log_lines.iter().any(|line| line.contains("is damaged")), "{log_lines:?}");
    assert_eq!((fs::read(&host.db).unwrap(), fs::read(&log).unwrap()), before);
}

#[tokio::test]
async fn tools_make_no_database_and_take_no_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.db");
    let empty = folder.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE shopping (item)").unwrap();
    let before = fs::read(&foreign).unwrap();
    let backup = folder.path().join("backup.db");
    for (db, sentence) in [
        (&missing, "missing.db cannot be opened"),
        (&empty, "empty.db is empty"),
        (&foreign, "foreign.db is a database, but not a relay's"),
    ] {
        for command in [
            vec!["check"],
            vec!["backup", text(&backup)],
            vec!["deadletters", "list"],
            vec!["deadletters", "requeue", "--all"],
        ] {
            let refusal = fails(&[&command[..], &["--db", text(db)]].concat());
            assert!(refusal.contains(sentence), "{command:?}: {refusal}");
        }
        assert!(fails(&["restore", text(db), "--db", text(&missing)]).contains(sentence));
    }
    assert!(!missing.exists() && !backup.exists());
    assert_eq!(fs::read(&foreign).unwrap(), before);
}
