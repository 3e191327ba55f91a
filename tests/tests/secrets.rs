//! Nothing secret is anywhere but where it belongs: the secrets of this run are looked for in
//! everything that it wrote, logged, answered and showed of itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::fs;
use std::path::Path;

use postern_shared::visitor::MessageAccepted;
use postern_tests::{Answer, Caller, Process};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

const API_KEY: &str = "api-Wq8sN3-found-nowhere-else";
const ADMIN_KEY: &str = "admin-Zr5tK7-found-nowhere-else";
/// Of the `env` of an agent, as its own key to something would be.
const AGENTS_SECRET: &str = "agent-Lm2xC9-found-nowhere-else";
const SAID: &str = "said-Pj4vB6-by-the-visitor";
const REPLIED: &str = "replied-Hy7nD1-by-the-agent";

/// What may be looked into for secrets: a name and its bytes.
type Place = (String, Vec<u8>);

#[tokio::test]
async fn no_secret_is_in_a_log_an_answer_a_metric_a_file_or_the_process_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let keys = [("POSTERN_API_KEY", API_KEY), ("POSTERN_ADMIN_KEY", ADMIN_KEY)];
    let trace = [("POSTERN_LOG", "trace"), ("AGENTS_SECRET", AGENTS_SECRET)];

    let args = ["serve", "--listen", "127.0.0.1:0", "--db", &path("relay.db")];
    let mut relay = Process::start_with("postern-relay", &args, &[&keys[..], &trace].concat());
    let line = relay.line_with("listening on http://").await;
    let address = line.rsplit("http://").next().unwrap().trim().parse().unwrap();
    let url = format!("http://{address}");
    let command = format!("echo {REPLIED}; echo $AGENTS_SECRET >&2");
    let args = ["run", "--relay", &url, "--queue", &path("queue.db"), "--agent", "exec"];
    let args = [&args[..], &["--exec", &command]].concat();
    let poller = Process::start_with("postern-poller", &args, &[&keys[..1], &trace].concat());
    let shown = [&relay, &poller].map(of_the_process_list);

    let stranger = Caller::new(address);
    let posted = stranger.post("/messages", &json!({ "message": SAID })).await;
    let accepted: MessageAccepted = posted.data();
    let token = accepted.session_token.unwrap();
    let visitor = stranger.with_secret(&token);
    let replies = format!("/responses/{}?wait=30", accepted.session_id);
    assert!(visitor.get(&replies).await.text().contains(REPLIED));
    let answers = answers_to_mistakes(&stranger, &token).await;

    let mut places = vec![];
    for (name, process) in [("the relay's log", relay), ("the poller's log", poller)] {
        process.signal(Signal::TERM);
        let (_, log) = process.end().await;
        assert!(!log.is_empty(), "{name} was not read");
        places.push((name.to_owned(), log.join("\n").into_bytes()));
    }
    for said in [SAID, REPLIED] {
        assert_nowhere(said, &places);
    }
    places.extend(answers);
    places.extend(shown);
    places.extend(files_in(folder.path()));
    for secret in [API_KEY, ADMIN_KEY, AGENTS_SECRET, &token] {
        assert_nowhere(secret, &places);
    }
}

fn assert_nowhere(secret: &str, places: &[Place]) {
    let found = places
        .iter()
        .find(|(_, bytes)| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    assert!(found.is_none(), "{secret} is in {}", found.unwrap().0);
}

/// What everyone on the machine may read of a process.
fn of_the_process_list(process: &Process) -> Place {
    let pid = process.pid().as_raw_nonzero();
    (format!("the command line of {pid}"), fs::read(format!("/proc/{pid}/cmdline")).unwrap())
}

/// Every answer but the one that gives the token out: right and wrong calls by everyone.
async fn answers_to_mistakes(stranger: &Caller, token: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let secrets = [token, API_KEY, ADMIN_KEY];
    for caller in secrets.map(|secret| stranger.with_secret(secret)) {
        for path in [
            "/inbox",
            "/sessions",
            "//metrics",
            "//health",
            "/sessions/none/messages",
            "/nowhere",
            "/inbox/lease?limit=x",
        ] {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let request = caller.request(method.clone(), path).body("{\"lease_id\": 7");
                let answer = Answer::to(request).await;
                let headers = format!("{:?}", answer.headers);
                let place = format!("the answer to {method} {path}");
                places.push((place, [headers.as_bytes(), &answer.body].concat()));
            }
        }
    }
    places
}

fn files_in(folder: &Path) -> Vec<Place> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => files_in(&path),
            false => vec![(path.display().to_string(), fs::read(&path).unwrap())],
        })
        .collect()
}
