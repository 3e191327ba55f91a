//! The inbox: batches, leases, and looks that take nothing.

use std::collections::HashSet;

use futures_util::future::join_all;
use postern_tests::soon;
use serde_json::{Value, json};

use crate::support::{LONG, Plugin, SHORT, Widget, relay, rows, texts};

fn ids(rows: &[Value]) -> Vec<i64> {
    rows.iter().map(|row| row["id"].as_i64().expect("an integer")).collect()
}

#[tokio::test]
async fn a_fetch_gives_all_that_waits_in_order_and_once() {
    let relay = relay(LONG);
    let (mut one, mut other) = (Widget::open(&relay).await, Widget::open(&relay).await);
    let mut plugin = Plugin::start(&relay).await;
    for round in 0..3 {
        one.say(&format!("one {round}")).await;
        other.say(&format!("other {round}")).await;
    }
    let fetched = plugin.fetch().await;
    let all = ["one 0", "other 0", "one 1", "other 1", "one 2", "other 2"];
    assert_eq!(texts(&fetched, "message"), all);
    assert!(ids(&fetched).is_sorted());
    assert!(plugin.fetch().await.is_empty(), "a message came twice");
    one.say("one 3").await;
    assert_eq!(texts(&plugin.fetch().await, "message"), ["one 3"]);
}

#[tokio::test]
async fn a_fetch_of_one_only_looks() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    for text in ["first", "second"] {
        widget.say(text).await;
    }
    for _ in 0..3 {
        let looked = plugin.inbox("&limit=1&offset=0").await;
        assert_eq!(texts(&rows(&looked["messages"]), "message"), ["first"]);
        assert_eq!(looked["pagination"]["total"], 2);
        assert_eq!(looked["pagination"]["has_more"], true);
    }
    assert_eq!(texts(&plugin.fetch().await, "message"), ["first", "second"]);
    let looked = plugin.inbox("&limit=1&offset=0").await;
    assert_eq!(looked["messages"], json!([]), "what was fetched does not wait");
}

#[tokio::test]
async fn pages_give_everything_once() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    for number in 0..12 {
        widget.say(&number.to_string()).await;
    }
    let mut seen = vec![];
    loop {
        let page = plugin.inbox(&format!("&limit=5&offset={}", seen.len())).await;
        seen.extend(texts(&rows(&page["messages"]), "message"));
        assert_eq!(page["pagination"]["total"], 12);
        if page["pagination"]["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, (0..12).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lease_that_runs_out_brings_its_messages_again_in_order() {
    let relay = relay(SHORT);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    let all = ["first", "second", "third"];
    for text in all {
        widget.say(text).await;
    }
    let first = plugin.fetch().await;
    let again = plugin.fetch_soon().await;
    assert_eq!(again, first, "not the same rows");
    assert_eq!(texts(&again, "message"), all);
}

#[tokio::test]
async fn eight_concurrent_plugins_get_no_message_twice_and_lose_none() {
    const MESSAGES: usize = 160;
    let relay = relay(LONG);
    let visitors = join_all((0..4).map(async |_| {
        let mut widget = Widget::open(&relay).await;
        for number in 0..MESSAGES / 4 {
            widget.say(&number.to_string()).await;
        }
        widget
    }));
    let seen = std::sync::Mutex::new(Vec::new());
    let plugins = join_all((0..8).map(async |_| {
        let mut plugin = Plugin::start(&relay).await;
        while seen.lock().unwrap().len() < MESSAGES {
            for row in rows(&plugin.inbox("&limit=7&offset=0").await["messages"]) {
                let session = row["session_id"].as_str().unwrap();
                let text = format!("re {session} {}", row["message"].as_str().unwrap());
                plugin.reply(session, &text).await;
                seen.lock().unwrap().push(row["id"].as_i64().unwrap());
            }
        }
    }));
    let both = async { tokio::join!(visitors, plugins) };
    let (mut widgets, _) = soon("all messages", both).await;
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), MESSAGES);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), MESSAGES, "a message came twice");
    for widget in &mut widgets {
        let mut shown = texts(&widget.since("").await, "response");
        shown.sort();
        let mut wanted: Vec<_> =
            (0..MESSAGES / 4).map(|number| format!("re {} {number}", widget.session)).collect();
        wanted.sort();
        assert_eq!(shown, wanted);
    }
    assert!(Plugin::start(&relay).await.fetch().await.is_empty());
}

#[tokio::test]
async fn our_own_pollers_wait_for_a_session_that_a_batch_took() {
    let relay = relay(SHORT);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    for text in ["first", "second"] {
        widget.say(text).await;
    }
    plugin.fetch().await;
    // One at a time and in order, once the batch's leases have run out.
    let poller = relay.poller_calls();
    for text in ["first", "second"] {
        let leased = poller.lease(&json!({ "wait_seconds": 30, "lease_seconds": 60 })).await;
        assert_eq!(leased.iter().map(|one| &*one.message).collect::<Vec<_>>(), [text]);
        assert!(plugin.fetch().await.is_empty(), "a plugin got what our poller holds");
        let reply = json!({ "session_id": widget.session, "response": text,
                            "message_id": leased[0].id, "lease_id": leased[0].lease_id });
        poller.post("/outbox", &reply).await.data::<Value>();
    }
    assert_eq!(texts(&widget.since("").await, "response"), ["first", "second"]);
}
