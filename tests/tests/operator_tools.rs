//! What the operator has for bad days: dead letters, backups, and a check of the file.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postern_shared::operator::{DeadLetter, DeadLetterDetail, DeadLetters};
use postern_shared::poller::{Inbox, Leased, LeasedMessage, ReplyStored};
use postern_shared::visitor::{MessageAccepted, Role};
use postern_shared::{ErrorType, MessageId};
use postern_tests::{API_KEY, Answer, Caller, Process, TestRelay, binary, soon};
use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

// Dead letters.

#[tokio::test]
async fn dead_letters_are_listed_without_and_shown_with_what_was_said() {
    let host = Host::start().await;
    let given_up = host.dead_letter("the visitor's words", "no \u{1b}[31mmodel").await;

    let listed = host.succeeds(&["deadletters", "list"]);
    assert!(listed.starts_with("   MESSAGE  SESSION"), "{listed}");
    assert!(listed.contains(given_up.session_id.as_str()), "{listed}");
    assert!(listed.contains("no \\u001b[31mmodel"), "{listed}");
    assert!(!listed.contains("words"), "{listed}");
    let listed = host.succeeds(&["deadletters", "list", "--json"]);
    assert!(!listed.contains("words"), "{listed}");
    let listed: DeadLetter = serde_json::from_str(&listed).unwrap();
    assert_eq!((listed.message_id, listed.attempts), (given_up.id, 1));
    assert_eq!(listed.error.as_deref(), Some("no \u{1b}[31mmodel"));

    let id = given_up.id.to_string();
    let shown = host.succeeds(&["deadletters", "show", &id]);
    assert!(shown.ends_with("\n\nthe visitor's words\n"), "{shown}");
    let shown = host.succeeds(&["deadletters", "show", "--json", &id]);
    let shown: DeadLetterDetail = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown.message, "the visitor's words");
    assert_eq!(shown.dead_letter, listed);
}

#[tokio::test]
async fn a_dead_letter_requeued_by_command_has_all_its_attempts_again() {
    let host = Host::start().await;
    let given_up = host.dead_letter("hi", "no model").await;
    let requeued = host.succeeds(&["deadletters", "requeue", &given_up.id.to_string()]);
    assert_eq!(requeued, "requeued 1 message\n");
    assert_eq!(host.succeeds(&["deadletters", "list"]), "no dead letters\n");

    let leased = host.lease().await;
    assert_eq!((leased[0].id, leased[0].attempts), (given_up.id, 1));
    host.answer(&leased[0]).await;
    assert_eq!(host.lease().await, []);
    host.is_well();
}

#[tokio::test]
async fn all_dead_letters_are_requeued_by_one_command() {
    let host = Host::start().await;
    // More than the command takes into one transaction.
    for _ in 0..257 {
        host.accept("hi").await;
    }
    loop {
        let leased = host.lease().await;
        if leased.is_empty() {
            break;
        }
        for message in &leased {
            host.give_up(message, "no model").await;
        }
    }
    let requeued = host.succeeds(&["deadletters", "requeue", "--all", "--json"]);
    assert_eq!(requeued, "{\"requeued\":257}\n");
    assert_eq!(host.open_messages().await.len(), 257);
    host.is_well();
}

#[tokio::test]
async fn what_is_no_dead_letter_is_named_and_nothing_is_changed() {
    let host = Host::start().await;
    let given_up = host.dead_letter("hi", "no model").await.id.to_string();
    for command in ["requeue", "drop"] {
        let refusal = host.fails(&["deadletters", command, &given_up, "999"]);
        assert!(refusal.contains("message 999 is not a dead letter"), "{refusal}");
    }
    assert!(host.fails(&["deadletters", "show", "999"]).contains("message 999"));
    assert_eq!(host.succeeds(&["deadletters", "list", "--json"]).lines().count(), 1);
    assert_eq!(host.lease().await, []);
}

#[tokio::test]
async fn a_dropped_dead_letter_leaves_the_conversation_whole() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let message = visitor.send("hi").await;
    give_up_next(&relay.poller_calls()).await;
    let before = visitor.transcript().await;
    assert_eq!(before.messages.len(), 2);
    let path = format!("/deadletters/{message}");
    let operator = relay.operator_calls();
    let dropped = Answer::to(operator.request(Method::DELETE, &path)).await;
    assert_eq!(dropped.data::<Value>(), json!({ "message_id": message }));
    assert_eq!(visitor.transcript().await, before);
    assert_eq!(relay.poller_calls().lease(&json!({})).await, []);
    assert_eq!(operator.get(&path).await.status, StatusCode::NOT_FOUND);
    assert!(succeeds(&["check", "--db", text(&relay.file("relay.db"))]).contains("is well"));
}

#[tokio::test]
async fn a_requeue_over_the_admin_api_wakes_a_held_call_and_the_visitor_is_answered() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let message = visitor.send("hi").await;
    give_up_next(&relay.poller_calls()).await;
    assert_eq!(visitor.next_reply_entry().await.role, Role::System);

    let poller = relay.poller_calls();
    let held = tokio::spawn({
        let poller = poller.clone();
        async move { poller.lease(&json!({ "wait_seconds": 30 })).await }
    });
    let operator = relay.operator_calls();
    operator.sees_lease_calls_held(1).await;
    let begun = std::time::Instant::now();
    let path = format!("/deadletters/{message}/requeue");
    let requeued: Value = operator.post(&path, &json!({})).await.data();
    assert_eq!(requeued, json!({ "message_id": message }));
    let leased = held.await.unwrap();
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    assert_eq!((leased[0].id, leased[0].attempts), (message, 1));

    poller.post("/outbox", &reply_to(&leased[0])).await.data::<ReplyStored>();
    let reply = visitor.next_reply_entry().await;
    assert_eq!((reply.role, reply.message_id), (Role::Agent, Some(message)));
    let roles: Vec<_> = visitor.transcript().await.messages.iter().map(|said| said.role).collect();
    assert_eq!(roles, [Role::Visitor, Role::System, Role::Agent]);
}

#[tokio::test]
async fn a_requeued_message_goes_before_the_later_ones_of_its_session() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let (first, second) = (visitor.send("one").await, visitor.send("two").await);
    let poller = relay.poller_calls();
    give_up_next(&poller).await;
    requeue(&relay, first).await;
    for message in [first, second] {
        let leased = poller.lease(&json!({})).await;
        assert_eq!(ids(&leased), [message]);
        assert_eq!(poller.lease(&json!({})).await, []);
        poller.post("/outbox", &reply_to(&leased[0])).await.data::<ReplyStored>();
    }
}

#[tokio::test]
async fn a_requeued_message_waits_for_the_one_of_its_session_that_is_leased() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let mut sent = Vec::new();
    for text in ["one", "two", "three", "four"] {
        sent.push(visitor.send(text).await);
    }
    let poller = relay.poller_calls();
    give_up_next(&poller).await;
    give_up_next(&poller).await;
    let leased = poller.lease(&json!({})).await;
    assert_eq!(ids(&leased), [sent[2]]);
    for message in [sent[1], sent[0]] {
        requeue(&relay, message).await;
        assert_eq!(poller.lease(&json!({})).await, [], "the session has a second agent");
        assert!(succeeds(&["check", "--db", text(&relay.file("relay.db"))]).contains("is well"));
    }
    // Given back, it is still its turn; answered, the oldest is next.
    let nack = json!({ "lease_id": leased[0].lease_id, "error": "busy" });
    poller.post(&format!("/inbox/{}/nack", sent[2]), &nack).await.data::<Value>();
    for message in [sent[2], sent[0], sent[1], sent[3]] {
        let leased = poller.lease(&json!({})).await;
        assert_eq!(ids(&leased), [message]);
        assert_eq!(poller.lease(&json!({})).await, []);
        poller.post("/outbox", &reply_to(&leased[0])).await.data::<ReplyStored>();
    }
    assert!(succeeds(&["check", "--db", text(&relay.file("relay.db"))]).contains("is well"));
}

#[tokio::test]
async fn requeued_in_any_order_a_session_is_answered_in_its_own() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let mut sent = Vec::new();
    for text in ["one", "two", "three"] {
        sent.push(visitor.send(text).await);
    }
    let poller = relay.poller_calls();
    give_up_next(&poller).await;
    give_up_next(&poller).await;
    // The third is given back with a long wait, so it is unleased when the others come back.
    let third = poller.lease(&json!({})).await;
    requeue(&relay, sent[0]).await;
    let nack =
        json!({ "lease_id": third[0].lease_id, "error": "busy", "retry_after_seconds": 3600 });
    poller.post(&format!("/inbox/{}/nack", sent[2]), &nack).await.data::<Value>();
    requeue(&relay, sent[1]).await;
    for message in sent {
        let leased = poller.lease(&json!({})).await;
        assert_eq!(ids(&leased), [message]);
        poller.post("/outbox", &reply_to(&leased[0])).await.data::<ReplyStored>();
    }
}

#[tokio::test]
async fn a_lease_from_before_the_message_was_given_up_answers_it_no_more() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let message = visitor.send("hi").await;
    let poller = relay.poller_calls();
    let lost = give_up_next(&poller).await;
    requeue(&relay, message).await;
    let late = poller.post("/outbox", &reply_to(&lost)).await.failure();
    assert_eq!(late.kind, ErrorType::NotLeased);
    let leased = poller.lease(&json!({})).await;
    let late = poller.post("/outbox", &reply_to(&lost)).await.failure();
    assert_eq!(late.kind, ErrorType::StaleLease);
    poller.post("/outbox", &reply_to(&leased[0])).await.data::<ReplyStored>();
}

#[tokio::test]
async fn dead_letters_come_in_pages_and_to_the_operator_only() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let mut sent = Vec::new();
    for text in ["one", "two", "three"] {
        sent.push(visitor.send(text).await);
        give_up_next(&relay.poller_calls()).await;
    }
    let operator = relay.operator_calls();
    let page: DeadLetters = operator.get("/deadletters?limit=2&offset=1").await.data();
    let listed: Vec<_> = page.dead_letters.iter().map(|letter| letter.message_id).collect();
    assert_eq!(listed, sent[1..]);
    assert_eq!((page.pagination.total, page.pagination.has_more), (3, false));
    let one: DeadLetterDetail = operator.get(&format!("/deadletters/{}", sent[0])).await.data();
    assert_eq!((one.message.as_str(), &one.dead_letter.session_id), ("one", visitor.session()));

    let path = format!("/deadletters/{}", sent[0]);
    for (caller, status) in [
        (relay.poller_calls(), StatusCode::FORBIDDEN),
        (visitor.calls().clone(), StatusCode::UNAUTHORIZED),
        (relay.stranger_calls(), StatusCode::UNAUTHORIZED),
    ] {
        let requeue = format!("{path}/requeue");
        let calls = [
            caller.request(Method::GET, "/deadletters"),
            caller.request(Method::GET, &path),
            caller.request(Method::DELETE, &path),
            caller.request(Method::POST, &requeue),
        ];
        for call in calls {
            let refused = Answer::to(call).await;
            assert_eq!(refused.status, status, "{}", refused.failure().error);
        }
    }
    for path in ["/deadletters/999/requeue", "/deadletters/4611686018427387904/requeue"] {
        let failure = operator.post(path, &json!({})).await.failure();
        assert_eq!((failure.code, failure.kind), (404, ErrorType::NotFound));
        assert_eq!(failure.error, "message_id names no dead letter");
    }
    assert_eq!(operator.get("/deadletters/x").await.failure().code, 400);
}

// Backup and restore.

#[tokio::test]
async fn a_backup_made_while_messages_come_in_holds_all_that_came_before_it() {
    let host = Host::start().await;
    let mut before = Vec::new();
    for number in 0..50 {
        before.push(host.accept(&format!("before {number}")).await.message_id);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4).map(|_| keep_sending(host.address, Arc::clone(&stop))).collect();
    let backup = host.file("backup.db");
    let ended = tokio::process::Command::new(binary("postern-relay"))
        .args(["backup", text(&backup), "--db", text(&host.db)])
        .stdout(std::process::Stdio::null())
        .status();
    assert!(soon("the backup's end", ended).await.unwrap().success());
    stop.store(true, Ordering::SeqCst);
    let mut meanwhile = 0;
    for sender in senders {
        meanwhile += sender.await.unwrap();
    }
    assert!(meanwhile > 0, "nothing was accepted while the backup was made");
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);

    let elsewhere = host.file("elsewhere.db");
    let said = succeeds(&["restore", text(&backup), "--db", text(&elsewhere)]);
    assert!(said.contains("there was no former database"), "{said}");
    assert!(succeeds(&["check", "--db", text(&elsewhere)]).contains("is well"));
    let (_relay, address) = Process::relay(&elsewhere, ANY_PORT).await;
    let restored = open_messages(address).await;
    assert!(before.iter().all(|message| restored.contains(message)), "{before:?} {restored:?}");
    assert_eq!(restored, sorted(&restored), "{restored:?}");
}

#[tokio::test]
async fn a_backup_overwrites_nothing_unless_forced_and_never_the_database_itself() {
    let host = Host::start().await;
    let message = host.accept("hi").await.message_id;
    let backup = host.file("backup.db");
    fs::write(&backup, "something dear").unwrap();
    let refusal = host.fails(&["backup", text(&backup)]);
    assert!(refusal.contains("backup.db exists"), "{refusal}");
    assert_eq!(fs::read(&backup).unwrap(), b"something dear");
    for db in ["relay.db", "./relay.db"] {
        let refusal = host.fails(&["backup", "--force", text(&host.file(db))]);
        assert!(refusal.contains("is the database itself"), "{refusal}");
    }
    host.succeeds(&["backup", "--force", text(&backup)]);
    assert!(succeeds(&["check", "--db", text(&backup)]).contains("1 open"));
    assert_eq!(host.open_messages().await, [message]);
    assert_eq!(left_over(&host), [] as [String; 0]);
}

#[tokio::test]
async fn a_backup_of_a_damaged_database_does_not_replace_a_good_one() {
    let host = Host::start().await;
    fill(&host).await;
    let backup = host.file("backup.db");
    host.succeeds(&["backup", text(&backup)]);
    let good = fs::read(&backup).unwrap();
    let host = host.stop().await;
    damage_a_page(&host.db);
    let refusal = host.fails(&["backup", "--force", text(&backup)]);
    assert!(refusal.contains("damaged"), "{refusal}");
    assert_eq!(fs::read(&backup).unwrap(), good);
    assert_eq!(left_over(&host), [] as [String; 0]);
}

#[tokio::test]
async fn a_restore_waits_for_no_relay_and_keeps_what_was_there() {
    let host = Host::start().await;
    let kept = host.accept("in the backup").await.message_id;
    let backup = host.file("backup.db");
    host.succeeds(&["backup", text(&backup)]);
    let later = host.accept("after the backup").await.message_id;
    let refusal = host.fails(&["restore", text(&backup)]);
    assert!(refusal.contains("in use by another relay"), "{refusal}");
    assert_eq!(host.open_messages().await, [kept, later]);

    let host = host.stop().await;
    let said = host.succeeds(&["restore", text(&backup)]);
    assert!(said.contains("1 session with 1 message"), "{said}");
    let former = PathBuf::from(said.trim_end().rsplit("is kept as ").next().unwrap());
    assert!(text(&former).starts_with(&format!("{}.2", text(&host.db))), "{said}");
    assert!(succeeds(&["check", "--db", text(&former)]).contains("2 open"));

    let host = host.start_again().await;
    assert_eq!(host.open_messages().await, [kept]);
    let next = host.accept("after the restore").await.message_id;
    assert!(next > later, "an id was given out twice");
    host.is_well();
}

#[tokio::test]
async fn a_restore_after_a_crash_keeps_the_log_with_the_former_database() {
    let host = Host::start().await;
    host.accept("in the backup").await;
    let backup = host.file("backup.db");
    host.succeeds(&["backup", text(&backup)]);
    host.accept("in the log only").await;
    let host = host.kill().await;
    assert!(fs::metadata(host.file("relay.db-wal")).unwrap().len() > 0);
    let said = host.succeeds(&["restore", text(&backup)]);
    let former = PathBuf::from(said.trim_end().rsplit("is kept as ").next().unwrap());
    assert!(succeeds(&["check", "--db", text(&former)]).contains("2 open"));
    assert!(host.succeeds(&["check"]).contains("1 open"));
}

#[tokio::test]
async fn a_backup_that_is_not_well_is_not_restored() {
    let host = Host::start().await;
    fill(&host).await;
    let good = host.file("good.db");
    host.succeeds(&["backup", text(&good)]);
    let host = host.stop().await;
    let before = fs::read(&host.db).unwrap();
    let bad = host.file("bad.db");
    let spoil: [fn(&Path); 5] = [
        cut_in_half,
        damage_a_page,
        zero,
        |bad| fs::write(bad, "no database at all").unwrap(),
        |bad| {
            Connection::open(bad)
                .unwrap()
                .execute_batch(
                    "DELETE FROM inbox WHERE message = 1; UPDATE session SET message_count = 0",
                )
                .unwrap();
        },
    ];
    for spoil in spoil {
        fs::copy(&good, &bad).unwrap();
        spoil(&bad);
        let refusal = host.fails(&["restore", text(&bad)]);
        assert!(refusal.contains("bad.db"), "{refusal}");
        assert_eq!(fs::read(&host.db).unwrap(), before);
    }
    assert_eq!(left_over(&host), [] as [String; 0]);
}

// The check, and what a relay refuses to start with.

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

// What the tests above stand on.

/// A relay of its own, as a process, with its file; calls it as a poller would.
struct Host {
    folder: TempDir,
    db: PathBuf,
    relay: Option<Process>,
    address: SocketAddr,
    poller: Caller,
}

impl Host {
    async fn start() -> Self {
        Self::at(tempfile::tempdir().unwrap()).await
    }

    async fn at(folder: TempDir) -> Self {
        let db = folder.path().join("relay.db");
        let (relay, address) = Process::relay(&db, ANY_PORT).await;
        let poller = Caller::new(address).with_secret(API_KEY);
        Self { folder, db, relay: Some(relay), address, poller }
    }

    async fn stop(self) -> Self {
        self.end(Signal::TERM).await
    }

    async fn kill(self) -> Self {
        self.end(Signal::KILL).await
    }

    async fn end(mut self, signal: Signal) -> Self {
        let relay = self.relay.take().unwrap();
        relay.signal(signal);
        relay.end().await;
        self
    }

    async fn start_again(self) -> Self {
        Self::at(self.folder).await
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command on its database; gives what it printed.
    #[track_caller]
    fn succeeds(&self, args: &[&str]) -> String {
        succeeds(&[args, &["--db", text(&self.db)]].concat())
    }

    /// Runs a command that must fail; gives what it logged.
    #[track_caller]
    fn fails(&self, args: &[&str]) -> String {
        fails(&[args, &["--db", text(&self.db)]].concat())
    }

    #[track_caller]
    fn is_well(&self) {
        let said = self.succeeds(&["check"]);
        assert!(said.contains("is well: "), "{said}");
    }

    /// A message in a session of its own.
    async fn accept(&self, text: &str) -> MessageAccepted {
        Caller::new(self.address).post("/messages", &json!({ "message": text })).await.data()
    }

    async fn lease(&self) -> Vec<LeasedMessage> {
        self.poller.lease(&json!({ "limit": 100 })).await
    }

    async fn give_up(&self, message: &LeasedMessage, error: &str) {
        give_up(&self.poller, message, error).await;
    }

    async fn answer(&self, message: &LeasedMessage) {
        self.poller.post("/outbox", &reply_to(message)).await.data::<ReplyStored>();
    }

    /// A message that was given up, in a session of its own.
    async fn dead_letter(&self, text: &str, error: &str) -> LeasedMessage {
        self.accept(text).await;
        let mut leased = self.lease().await;
        let message = leased.pop().unwrap();
        self.give_up(&message, error).await;
        message
    }

    async fn open_messages(&self) -> Vec<MessageId> {
        open_messages(self.address).await
    }
}

/// Three sessions: one answered, one with a dead letter, one with two messages that wait; and
/// enough text that the file has many pages.
async fn fill(host: &Host) {
    let words = "a long message ".repeat(600);
    host.accept(&words).await;
    host.answer(&host.lease().await[0]).await;
    host.dead_letter(&words, "no model").await;
    let waiting = host.accept(&words).await;
    let token = waiting.session_token.as_deref().unwrap();
    let visitor = Caller::new(host.address).with_secret(token);
    let body = json!({ "session_id": waiting.session_id, "message": words });
    visitor.post("/messages", &body).await.data::<Value>();
}

/// Sends messages, each in a session of its own, until told to stop; gives how many.
fn keep_sending(address: SocketAddr, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let visitor = Caller::new(address);
        let mut sent = 0;
        while !stop.load(Ordering::SeqCst) {
            let body = json!({ "message": format!("meanwhile {sent}") });
            visitor.post("/messages", &body).await.data::<Value>();
            sent += 1;
        }
        sent
    })
}

async fn give_up_next(poller: &Caller) -> LeasedMessage {
    let mut leased = poller.post("/inbox/lease", &json!({ "limit": 1 })).await.data::<Leased>();
    let message = leased.messages.pop().unwrap();
    give_up(poller, &message, "no model").await;
    message
}

async fn give_up(poller: &Caller, message: &LeasedMessage, error: &str) {
    let nack = json!({ "lease_id": message.lease_id, "error": error, "dead_letter": true });
    poller.post(&format!("/inbox/{}/nack", message.id), &nack).await.data::<Value>();
}

async fn requeue(relay: &TestRelay, message: MessageId) {
    let path = format!("/deadletters/{message}/requeue");
    relay.operator_calls().post(&path, &json!({})).await.data::<Value>();
}

fn reply_to(message: &LeasedMessage) -> Value {
    json!({
        "session_id": message.session_id, "message_id": message.id,
        "lease_id": message.lease_id, "response": "hello",
    })
}

fn ids(leased: &[LeasedMessage]) -> Vec<MessageId> {
    leased.iter().map(|message| message.id).collect()
}

fn sorted(messages: &[MessageId]) -> Vec<MessageId> {
    let mut sorted = messages.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

async fn open_messages(address: SocketAddr) -> Vec<MessageId> {
    let poller = Caller::new(address).with_secret(API_KEY);
    let mut open = Vec::new();
    loop {
        let page: Inbox =
            poller.get(&format!("/inbox?limit=100&offset={}", open.len())).await.data();
        open.extend(page.messages.iter().map(|message| message.id));
        if !page.pagination.has_more {
            return open;
        }
    }
}

fn postern(args: &[&str]) -> Output {
    Command::new(binary("postern-relay")).args(args).env_clear().output().unwrap()
}

#[track_caller]
fn succeeds(args: &[&str]) -> String {
    let output = postern(args);
    let log = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{args:?}: {said}{log}");
    said.into_owned()
}

#[track_caller]
fn fails(args: &[&str]) -> String {
    let output = postern(args);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    String::from_utf8(output.stderr).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Files in its folder that a command began and did not take away.
fn left_over(host: &Host) -> Vec<String> {
    let names = fs::read_dir(host.folder.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("partial")).collect()
}

fn cut_in_half(db: &Path) {
    let size = fs::metadata(db).unwrap().len();
    fs::OpenOptions::new().write(true).open(db).unwrap().set_len(size / 2).unwrap();
}

fn zero(db: &Path) {
    let size = fs::read(db).unwrap().len();
    fs::write(db, vec![0; size]).unwrap();
}

/// Overwrites the page in which the visitors' messages begin.
fn damage_a_page(db: &Path) {
    let connection = Connection::open(db).unwrap();
    let (root, size): (usize, usize) = connection
        .query_row(
            "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size
             WHERE name = 'message'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    drop(connection);
    let mut bytes = fs::read(db).unwrap();
    bytes[(root - 1) * size..root * size].fill(0xa5);
    fs::write(db, bytes).unwrap();
}
