//! The binaries as an operator runs them: how they start, refuse to start, and end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_tests::{ADMIN_KEY, API_KEY, Caller, Process, binary, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;

const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[tokio::test]
async fn a_relay_without_good_keys_does_not_start_and_names_the_setting() {
    let both = |api, admin| vec![("POSTERN_API_KEY", api), ("POSTERN_ADMIN_KEY", admin)];
    let refused = [
        (vec![], "POSTERN_API_KEY is not set"),
        (vec![("POSTERN_API_KEY", API_KEY)], "POSTERN_ADMIN_KEY is not set"),
        (both("fifteen-chars-x", ADMIN_KEY), "POSTERN_API_KEY is shorter than 16 characters"),
        (both(API_KEY, "short"), "POSTERN_ADMIN_KEY is shorter than 16 characters"),
        (both(API_KEY, API_KEY), "POSTERN_API_KEY and POSTERN_ADMIN_KEY are equal"),
        (vec![("POSTERN_API_KEY_FILE", "/nonexistent")], "POSTERN_API_KEY_FILE names /nonexistent"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    for (environment, sentence) in refused {
        let args = ["serve", "--listen", "127.0.0.1:0", "--db", db.to_str().unwrap()];
        let (status, log) = Process::start_with("postern-relay", &args, &environment).end().await;
        assert_eq!(status.code(), Some(78), "{log:?}");
        assert!(log.iter().any(|line| line.contains(sentence)), "{sentence}: {log:?}");
    }
    assert!(!db.exists(), "a relay that does not start leaves nothing behind");
}

#[tokio::test]
async fn keys_come_from_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, key: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{key}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (api, admin) = (file("api", API_KEY), file("admin", ADMIN_KEY));
    let db = folder.path().join("relay.db");
    let args =
        ["serve", "--listen", "127.0.0.1:0", "--db", db.to_str().unwrap(), "--api-key-file", &api];
    let environment = [("POSTERN_ADMIN_KEY_FILE", admin.as_str())];
    let mut relay = Process::start_with("postern-relay", &args, &environment);
    let line = relay.line_with("listening on http://").await;
    let address = line.rsplit("http://").next().unwrap().trim().parse().unwrap();
    let inbox = Caller::new(address).with_secret(API_KEY).get("/inbox").await;
    assert_eq!(inbox.status, 200);
}

#[tokio::test]
async fn keygen_prints_a_key_that_a_relay_takes() {
    let output =
        std::process::Command::new(binary("postern-relay")).arg("keygen").output().unwrap();
    let key = String::from_utf8(output.stdout).unwrap();
    assert!(key.trim().len() >= postern_relay::config::MIN_KEY_CHARS, "{key}");
}

#[tokio::test]
async fn sigterm_and_ctrl_c_end_a_relay_within_5_seconds_and_lose_nothing() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("relay.db");
        let (relay, address) = Process::relay(&db, ANY_PORT).await;
        let accepted = accept_messages(address, 20).await;
        let poller = Caller::new(address).with_secret(API_KEY);
        let lease = json!({ "limit": 1, "wait_seconds": 30 });
        let leased: Value = poller.post("/inbox/lease", &lease).await.data();
        assert_eq!(leased["messages"].as_array().unwrap().len(), 1);

        let begun = Instant::now();
        relay.signal(signal);
        let (status, log) = relay.end().await;
        assert_eq!(status.code(), Some(0), "{log:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

        let (_relay, address) = Process::relay(&db, ANY_PORT).await;
        assert_eq!(open_messages(address).await, accepted);
    }
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let (relay, address) = Process::relay(&db, ANY_PORT).await;
    let accepted = accept_messages(address, 50).await;
    relay.signal(Signal::KILL);
    relay.end().await;
    let (_relay, address) = Process::relay(&db, ANY_PORT).await;
    assert_eq!(open_messages(address).await, accepted);
}

#[tokio::test]
async fn a_second_relay_on_the_same_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let (_first, _) = Process::relay(&db, ANY_PORT).await;
    let args = ["serve", "--listen", "127.0.0.1:0", "--db", db.to_str().unwrap()];
    let (status, log) = Process::start("postern-relay", &args).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.iter().any(|line| line.contains("in use by another relay")), "{log:?}");
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("other.db");
    let other = rusqlite::Connection::open(&db).unwrap();
    other.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
    drop(other);
    let before = std::fs::read(&db).unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--db", db.to_str().unwrap()];
    let (status, log) = Process::start("postern-relay", &args).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.iter().any(|line| line.contains("not a relay's")), "{log:?}");
    assert_eq!(std::fs::read(&db).unwrap(), before);
}

#[tokio::test]
async fn a_poller_whose_key_is_refused_says_so_and_exits_78() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = Process::relay(&folder.path().join("relay.db"), ANY_PORT).await;
    let queue = folder.path().join("poller.db");
    let url = format!("http://{address}");
    for wrong in ["no-key-of-this-relay", ADMIN_KEY] {
        let args = ["run", "--relay", &url, "--queue", queue.to_str().unwrap(), "--agent", "echo"];
        let environment = [("POSTERN_API_KEY", wrong)];
        let (status, log) = Process::start_with("postern-poller", &args, &environment).end().await;
        assert_eq!(status.code(), Some(78), "{log:?}");
        assert!(log.iter().any(|line| line.contains("refuses the key")), "{log:?}");
        assert!(!log.iter().any(|line| line.contains(wrong)), "the key is in the log: {log:?}");
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_hold_up_a_relays_end() {
    let folder = tempfile::tempdir().unwrap();
    let (relay, address) = Process::relay(&folder.path().join("relay.db"), ANY_PORT).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    // The relay takes connections in their order.
    assert_eq!(Caller::new(address).get("//health").await.status, 200);
    let begun = Instant::now();
    relay.signal(Signal::TERM);
    let (status, log) = relay.end().await;
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_poller_ends_well_on_sigterm_while_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = Process::relay(&folder.path().join("relay.db"), ANY_PORT).await;
    let queue = folder.path().join("poller.db");
    let url = format!("http://{address}");
    let args = ["run", "--relay", &url, "--queue", queue.to_str().unwrap(), "--agent", "echo"];
    let mut poller = Process::start("postern-poller", &args);
    poller.line_with("pulling messages").await;
    let begun = Instant::now();
    poller.signal(Signal::TERM);
    let (status, log) = poller.end().await;
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_agent_does_not_outlive_a_poller_that_is_killed() {
    let agent = "sleep 1000 & echo $$ $! > $NOTE; wait";
    outlives_no_killed_poller(agent, "300").await;
}

#[tokio::test]
async fn an_agent_that_was_asked_to_end_does_not_outlive_a_poller_that_is_killed() {
    let agent = "trap 'echo $$ $! > $NOTE' TERM; sleep 1000 & while :; do wait; sleep 0.01; done";
    outlives_no_killed_poller(agent, "0.2").await;
}

/// Kills the poller once the agent has noted two processes, and waits for both to end.
async fn outlives_no_killed_poller(agent: &str, timeout: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = Process::relay(&folder.path().join("relay.db"), ANY_PORT).await;
    let (queue, note) = (folder.path().join("poller.db"), folder.path().join("note"));
    let url = format!("http://{address}");
    let command = format!("NOTE={}; {agent}", note.display());
    let args = [
        "run",
        "--relay",
        &url,
        "--queue",
        queue.to_str().unwrap(),
        "--agent",
        "exec",
        "--exec",
        &command,
        "--agent-timeout",
        timeout,
    ];
    let poller = Process::start("postern-poller", &args);
    accept_messages(address, 1).await;
    let noted = async || std::fs::read_to_string(&note).is_ok_and(|note| note.ends_with('\n'));
    eventually("the agent's note", noted).await;
    poller.signal(Signal::KILL);
    poller.end().await;
    let pids = std::fs::read_to_string(&note).unwrap();
    let pids: Vec<_> = pids.split_whitespace().map(|pid| format!("/proc/{pid}/fd")).collect();
    assert_eq!(pids.len(), 2);
    // A zombie has no descriptors left.
    let gone = |path: &String| std::fs::read_dir(path).map_or(true, |mut fds| fds.next().is_none());
    eventually("the agent's end", async || pids.iter().all(gone)).await;
}

#[tokio::test]
async fn ask_runs_the_agent_once_without_a_relay() {
    let ask = |args: &[&str]| {
        std::process::Command::new(binary("postern-poller")).args(args).output().unwrap()
    };
    let said = ask(&["ask", "hello", "--agent", "exec", "--exec", "cat"]);
    assert!(said.status.success());
    let question: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(question["message"], "hello");
    let failed = ask(&["ask", "hello", "--agent", "exec", "--exec", "echo no model >&2; exit 3"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("no model"));
    let wrong = ask(&["ask", "hello", "--agent", "exec"]);
    assert_eq!(wrong.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--exec"));
}

/// Sends messages of sessions of their own; gives the ids that were accepted.
async fn accept_messages(address: SocketAddr, count: usize) -> Vec<i64> {
    let visitor = Caller::new(address);
    let mut accepted = Vec::new();
    for number in 0..count {
        let body = json!({ "message": format!("message {number}") });
        let answer: Value = visitor.post("/messages", &body).await.data();
        accepted.push(answer["message_id"].as_i64().unwrap());
    }
    accepted
}

async fn open_messages(address: SocketAddr) -> Vec<i64> {
    let inbox: Value =
        Caller::new(address).with_secret(API_KEY).get("/inbox?limit=100").await.data();
    let messages = inbox["messages"].as_array().unwrap();
    messages.iter().map(|message| message["id"].as_i64().unwrap()).collect()
}
