//! What breaks in between: nothing is lost and nothing comes twice.

use std::path::Path;

use postern_tests::faults::listening;
use postern_tests::{ADMIN_KEY, API_KEY, Caller, Process, TestRelay, eventually, soon};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{LONG, Plugin, SHORT, Widget, relay, texts};

const SESSION: &str = "session_mdwj6vj5_okiiczierw";

#[tokio::test]
async fn a_connection_that_drops_in_the_middle_of_the_inbox_loses_nothing() {
    for bytes in [1, 200, 700] {
        let relay = relay(SHORT);
        let mut widget = Widget::open(&relay).await;
        let all = ["first", "second", "third"];
        for text in all {
            widget.say(text).await;
        }
        let mut dropped = Plugin::start(&relay).await;
        dropped.ask("&limit=50&offset=0").await;
        dropped.0.read_and_drop(bytes).await;
        let mut plugin = Plugin::start(&relay).await;
        answer_all(&mut plugin, &all).await;
        assert_eq!(texts(&widget.since("").await, "response"), all, "after {bytes} bytes");
    }
}

/// Fetches these messages in one batch and echoes each.
async fn answer_all(plugin: &mut Plugin, wanted: &[&str]) {
    let fetched = plugin.fetch_soon().await;
    assert_eq!(texts(&fetched, "message"), wanted);
    for row in fetched {
        plugin.reply(row["session_id"].as_str().unwrap(), row["message"].as_str().unwrap()).await;
    }
}

#[tokio::test]
async fn a_client_that_is_killed_between_fetching_and_replying_loses_nothing() {
    let relay = relay(SHORT);
    let mut widget = Widget::open(&relay).await;
    let all = ["first", "second", "third"];
    for text in all {
        widget.say(text).await;
    }
    let mut killed = Plugin::start(&relay).await;
    assert_eq!(killed.fetch().await.len(), 3);
    killed.reply(&widget.session, "first").await;
    drop(killed);
    let mut next = Plugin::start(&relay).await;
    answer_all(&mut next, &all[1..]).await;
    assert_eq!(texts(&widget.since("").await, "response"), all);
    assert!(next.fetch().await.is_empty());
}

#[tokio::test]
async fn a_relay_that_is_down_while_its_plugin_replies_has_the_reply_once_it_is_back() {
    let mut relay = relay(LONG);
    let mut widget = Widget::open(&relay).await;
    widget.say("hi").await;
    Plugin::start(&relay).await.fetch().await;
    relay.stop().await;
    assert!(try_reply(&relay, &widget.session).await.is_none(), "the relay is not down");
    relay.start_again();
    eventually("the reply", async || try_reply(&relay, &widget.session).await.is_some()).await;
    let session = widget.session;
    let mut widget = Widget::open(&relay).await;
    widget.session = session;
    assert_eq!(texts(&widget.since("").await, "response"), ["hello"]);
    // Its lease outlived the restart, and its message is answered.
    assert!(Plugin::start(&relay).await.fetch().await.is_empty());
}

async fn try_reply(relay: &TestRelay, session: &str) -> Option<Value> {
    let body = json!({ "session_id": session, "response": "hello" });
    let calls = relay.poller_calls();
    let request = calls.request(reqwest::Method::POST, "//api/v1/?action=outbox").json(&body);
    let answer = request.send().await.ok()?;
    answer.status().is_success().then_some(body)
}

#[tokio::test]
async fn a_relay_that_is_killed_at_any_step_of_a_reply_has_it_once() {
    for fault in [
        "relay: lease stored, answer not sent@1",
        "relay: written, not committed@3",
        "relay: committed, nobody told@3",
        "relay: written, not committed@4",
        "relay: committed, nobody told@4",
        "relay: reply stored, answer not sent@1",
    ] {
        killed_at(fault).await;
    }
}

async fn killed_at(fault: &str) {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let (relay, calls) = start(&db, "").await;
    let body = json!({ "session_id": SESSION, "message": "hi" });
    calls.post("//api/v1/?action=messages", &body).await.data::<Value>();
    relay.signal(Signal::TERM);
    relay.end().await;

    let (relay, calls) = start(&db, fault).await;
    let mut plugin = RetryingPlugin { calls: calls.with_secret(API_KEY), unsent: None };
    plugin.turn().await;
    // Its own commits count too, so a fault of the fourth may not have been reached.
    relay.signal(Signal::KILL);
    relay.end().await;

    let (_relay, calls) = start(&db, "").await;
    plugin.calls = calls.with_secret(API_KEY);
    let path = format!("//api/v1/?action=responses&session_id={SESSION}&since=");
    let replies = async || {
        let read: Value = calls.get(&path).await.data();
        read["responses"].as_array().map(Vec::len)
    };
    soon("the reply", async {
        while replies().await == Some(0) || plugin.unsent.is_some() {
            plugin.turn().await;
        }
    })
    .await;
    assert_eq!(replies().await, Some(1), "{fault}");
    let metrics = calls.with_secret(ADMIN_KEY).get("//metrics").await;
    assert!(metrics.text().contains("postern_relay_open_messages 0"), "{fault}");
}

/// A plugin that posts a reply again until it is told of success.
struct RetryingPlugin {
    calls: Caller,
    unsent: Option<Value>,
}

impl RetryingPlugin {
    /// Fetches, if nothing is left to be posted, and posts; as far as the relay lives.
    async fn turn(&mut self) {
        if self.unsent.is_none() {
            let inbox = "//api/v1/?action=inbox&limit=50&offset=0";
            let answer = self.calls.request(reqwest::Method::GET, inbox).send().await;
            let Ok(answer) = answer else { return };
            let Ok(fetched) = answer.json::<Value>().await else { return };
            let Some(row) = fetched["data"]["messages"].get(0) else { return };
            let reply = json!({ "session_id": row["session_id"], "response": "hello" });
            self.unsent = Some(reply);
        }
        if let Some(reply) = &self.unsent {
            let path = "//api/v1/?action=outbox";
            let request = self.calls.request(reqwest::Method::POST, path).json(reply);
            if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
                self.unsent = None;
            }
        }
    }
}

async fn start(db: &Path, fault: &str) -> (Process, Caller) {
    let db = db.to_str().expect("a path in UTF-8");
    let args = ["serve", "--rate-limit", "off", "--listen", "127.0.0.1:0", "--db", db];
    let compat = ["--compat", "broca", "--compat-visitors", "--compat-lease", "300ms"];
    let keys = [("POSTERN_API_KEY", API_KEY), ("POSTERN_ADMIN_KEY", ADMIN_KEY)];
    let environment = [keys[0], keys[1], ("POSTERN_FAULT", fault)];
    let mut relay =
        Process::start_with("postern-relay", &[&args[..], &compat].concat(), &environment);
    let address = listening(&mut relay).await;
    (relay, Caller::new(address))
}
