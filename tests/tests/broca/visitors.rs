//! Visitors who have a session id and nothing else: whom it lets in, and where it does not.

use postern_relay::compat::{Compat, Contract};
use postern_relay::limits::SiteLimits;
use postern_shared::visitor::MessageAccepted;
use postern_tests::TestRelay;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{LONG, Plugin, Widget, relay, rows, texts};

#[tokio::test]
async fn visitors_without_a_token_are_let_in_only_when_that_is_allowed() {
    let compat = Compat { contract: Contract::Broca, lease: LONG, visitors: false };
    let relay = TestRelay::compatible(compat, SiteLimits::OFF);
    let mut widget = Widget::open(&relay).await;
    let body = json!({ "session_id": widget.session, "message": "hi" }).to_string();
    let session = widget.session.clone();
    for (method, query, body) in [
        ("POST", "action=messages".to_owned(), &*body),
        ("GET", format!("action=responses&session_id={session}&since="), ""),
        ("GET", format!("action=history&session_id={session}&limit=6"), ""),
    ] {
        let refused = widget.call(method, &query, body).await.refusal();
        assert_eq!(refused, (403, "forbidden".into()), "{query}");
    }
    // A plugin is served all the same.
    relay.visitor().send("hi").await;
    assert_eq!(Plugin::start(&relay).await.fetch().await.len(), 1);
}

#[tokio::test]
async fn a_session_id_that_is_easily_guessed_lets_nobody_in() {
    let relay = relay(LONG);
    let mut widget = Widget::open(&relay).await;
    for (id, is_let_in) in [("nineteen_characters", false), ("twenty_characters_xx", true)] {
        widget.session = id.into();
        let body = json!({ "session_id": id, "message": "hi" }).to_string();
        let posted = widget.call("POST", "action=messages", &body).await;
        assert_eq!(posted.status, if is_let_in { 200 } else { 400 }, "{posted:?}");
        let query = format!("action=responses&session_id={id}&since=");
        let read = widget.call("GET", &query, "").await;
        assert_eq!(read.status, if is_let_in { 200 } else { 400 }, "{read:?}");
    }
}

#[tokio::test]
async fn a_session_with_a_token_is_neither_read_nor_written_by_its_id() {
    let relay = relay(LONG);
    let mut visitor = relay.visitor();
    visitor.send("a secret").await;
    let mut plugin = Plugin::start(&relay).await;
    plugin.fetch().await;
    plugin.reply(visitor.session().as_str(), "another").await;
    let mut widget = Widget::open(&relay).await;
    let revoked = format!("/sessions/{}/revoke", visitor.session());
    for is_revoked in [false, true] {
        if is_revoked {
            let answer = relay.operator_calls().post(&revoked, &json!({})).await;
            assert_eq!(answer.status, StatusCode::OK);
        }
        let session = visitor.session().to_string();
        let body = json!({ "session_id": session, "message": "hi" }).to_string();
        for (method, query, body) in [
            ("POST", "action=messages".to_owned(), &*body),
            ("GET", format!("action=responses&session_id={session}&since="), ""),
            ("GET", format!("action=history&session_id={session}&limit=6"), ""),
        ] {
            let refused = widget.call(method, &query, body).await.refusal();
            assert_eq!(refused, (401, "unauthorized".into()), "{query}, revoked: {is_revoked}");
        }
    }
}

#[tokio::test]
async fn an_id_is_no_token_of_the_versioned_calls() {
    let relay = relay(LONG);
    let mut widget = Widget::open(&relay).await;
    widget.say("hi").await;
    let calls = relay.stranger_calls().with_secret(&widget.session);
    let path = format!("/sessions/{}/messages", widget.session);
    assert_eq!(calls.get(&path).await.status, StatusCode::UNAUTHORIZED);
    let body = json!({ "session_id": widget.session, "message": "hi" });
    assert_eq!(calls.post("/messages", &body).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        relay.stranger_calls().post("/messages", &body).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_page_asks_before_its_visitor_has_said_anything() {
    let relay = relay(LONG);
    let mut widget = Widget::open(&relay).await;
    assert!(widget.since("").await.is_empty());
    let query = format!("action=history&session_id={}", widget.session);
    let history = widget.call("GET", &query, "").await.data();
    assert_eq!((rows(&history["items"]).len(), &history["latest_response_at"]), (0, &json!(null)));
    let sessions = Plugin::start(&relay).await.administer("GET", "action=sessions").await.data();
    assert_eq!(sessions["pagination"]["total"], 0, "asking opened a session");
    assert_eq!(widget.say("hi").await["is_new_user"], true);
    assert_eq!(widget.say("again").await["is_new_user"], false);
}

#[tokio::test]
async fn what_is_sent_again_is_stored_once() {
    let relay = relay(LONG);
    let mut widget = Widget::open(&relay).await;
    let sent = |text: &str, timestamp: &str| {
        json!({ "session_id": "session_mdwj6vj5_repeated", "message": text,
                "timestamp": timestamp })
        .to_string()
    };
    let (early, late) = ("2026-11-21T09:30:00.125Z", "2026-11-21T09:30:01.125Z");
    let mut ids = vec![];
    for body in [sent("hi", early), sent("hi", early), sent("hi", late), sent("ho", late)] {
        let stored = widget.call("POST", "action=messages", &body).await.data();
        ids.push(stored["message_id"].as_i64().unwrap());
    }
    assert_eq!(ids[0], ids[1]);
    let fetched = Plugin::start(&relay).await.fetch().await;
    assert_eq!(texts(&fetched, "message"), ["hi", "hi", "ho"]);
}

#[tokio::test]
async fn such_visitors_have_the_limits_of_all() {
    let limits = SiteLimits { session_open_messages: 2, ..SiteLimits::OFF };
    let compat = Compat { contract: Contract::Broca, lease: LONG, visitors: true };
    let relay = TestRelay::compatible(compat, limits);
    let mut widget = Widget::open(&relay).await;
    for text in ["one", "two"] {
        widget.say(text).await;
    }
    let body = json!({ "session_id": widget.session, "message": "three" }).to_string();
    let refused = widget.call("POST", "action=messages", &body).await;
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    assert_eq!(refused.refusal(), (429, "too_many_open_messages".into()));

    let limits = SiteLimits { site_daily_budget: 1, ..SiteLimits::OFF };
    let relay = TestRelay::compatible(compat, limits);
    let mut widget = Widget::open(&relay).await;
    widget.say("one").await;
    let body = json!({ "session_id": widget.session, "message": "two" }).to_string();
    let refused = widget.call("POST", "action=messages", &body).await.refusal();
    assert_eq!(refused, (429, "budget_spent".into()));
}

#[tokio::test]
async fn a_session_of_such_a_visitor_can_be_revoked() {
    let relay = relay(LONG);
    let mut widget = Widget::open(&relay).await;
    let accepted = widget.say("hi").await;
    let path = format!("/sessions/{}/revoke", widget.session);
    relay.operator_calls().post(&path, &json!({})).await.data::<serde_json::Value>();
    let body = json!({ "session_id": widget.session, "message": "hi again" }).to_string();
    let refused = widget.call("POST", "action=messages", &body).await.refusal();
    assert_eq!(refused, (401, "unauthorized".into()), "{accepted}");
    // A token of the versioned calls is another matter, and still given to whoever opens a session.
    let opened = relay.stranger_calls().post("/messages", &json!({ "message": "hi" })).await;
    assert!(opened.data::<MessageAccepted>().session_token.is_some());
}

#[tokio::test]
async fn a_site_that_asks_for_a_proof_of_work_lets_no_such_visitor_around_it() {
    let limits = SiteLimits { proof_of_work: 100, ..SiteLimits::OFF };
    let compat = Compat { contract: Contract::Broca, lease: LONG, visitors: true };
    let relay = TestRelay::compatible(compat, limits);
    let mut widget = Widget::open(&relay).await;
    let body = json!({ "session_id": widget.session, "message": "hi" }).to_string();
    let refused = widget.call("POST", "action=messages", &body).await.refusal();
    assert_eq!(refused, (400, "invalid_request".into()));
    assert_eq!(Plugin::start(&relay).await.fetch().await.len(), 0);
}
