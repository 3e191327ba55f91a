//! Limits that hold: each at its number, for whom it is meant, and for nobody else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use postern_relay::limits::{AddressLimits, SiteLimits};
use postern_shared::visitor::MessageAccepted;
use postern_shared::{ErrorType, Failure, IDEMPOTENCY_KEY};
use postern_tests::{ADMIN_KEY, API_KEY, Answer, Caller, Process, TestRelay, eventually};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const NOWHERE: SiteLimits = SiteLimits::OFF;
const NOBODY: AddressLimits = AddressLimits::OFF;

#[tokio::test]
async fn an_address_sends_as_many_messages_as_it_may_and_another_address_its_own() {
    let limits = AddressLimits { address_messages_per_minute: 3, ..NOBODY };
    let relay = TestRelay::limited(limits, NOWHERE);
    let here = relay.stranger_calls().at("192.0.2.1");
    for _ in 0..3 {
        open(&here).await;
    }
    let refused = say(&here, "one more").await;
    let failure = refusal(&refused, ErrorType::RateLimited);
    let seconds = failure.retry_after.unwrap();
    assert!((1..=20).contains(&seconds), "{seconds}");
    assert_eq!(header(&refused, "retry-after"), seconds.to_string());
    let policy = header(&refused, "ratelimit-policy");
    assert_eq!(policy, r#""address-messages-per-minute";q=3;w=60"#);
    let left = header(&refused, "ratelimit");
    assert_eq!(left, format!(r#""address-messages-per-minute";r=0;t={seconds}"#));
    open(&relay.stranger_calls().at("192.0.2.2")).await;
}

#[tokio::test]
async fn a_forged_address_gains_nothing() {
    let limits = AddressLimits { address_messages_per_minute: 1, ..NOBODY };
    let relay = TestRelay::limited(limits, NOWHERE);
    open(&relay.stranger_calls().at("192.0.2.1")).await;
    for forged in ["203.0.113.9, 192.0.2.1", "::1, 192.0.2.1", "127.0.0.1, 192.0.2.1"] {
        refusal(&say(&relay.stranger_calls().at(forged), "hi").await, ErrorType::RateLimited);
    }
    let calls = relay.stranger_calls().at("192.0.2.1");
    let request = calls.request(Method::POST, "/messages").header("forwarded", "for=203.0.113.9");
    let answer = Answer::to(request.json(&json!({ "message": "hi" }))).await;
    refusal(&answer, ErrorType::RateLimited);
}

#[tokio::test]
async fn ipv6_counts_by_the_network_that_a_household_is_given() {
    let limits = AddressLimits { address_messages_per_minute: 1, ..NOBODY };
    let relay = TestRelay::limited(limits, NOWHERE);
    let at = |address: &str| relay.stranger_calls().at(address);
    open(&at("2001:db8:1:2::1")).await;
    refusal(&say(&at("2001:db8:1:2:ffff::9"), "hi").await, ErrorType::RateLimited);
    open(&at("2001:db8:1:3::1")).await;
}

#[tokio::test]
async fn an_address_opens_as_many_sessions_as_it_may_by_either_call() {
    let limits = AddressLimits { address_sessions_per_hour: 2, ..NOBODY };
    let relay = TestRelay::limited(limits, NOWHERE);
    let here = relay.stranger_calls().at("192.0.2.1");
    let opened = open(&here).await;
    here.post("/sessions", &json!({})).await.data::<Value>();
    refusal(&here.post("/sessions", &json!({})).await, ErrorType::RateLimited);
    refusal(&say(&here, "hi").await, ErrorType::RateLimited);
    // An earlier session goes on, and opens no other by a name that is free.
    let own = here.with_secret(opened.session_token.as_deref().unwrap());
    say_in(&own, &opened, "still here").await.data::<MessageAccepted>();
    let elsewhere = json!({ "session_id": "a-free-name", "message": "hi" });
    refusal(&own.post("/messages", &elsewhere).await, ErrorType::RateLimited);
}

#[tokio::test]
async fn only_bad_keys_and_tokens_count_and_a_good_one_is_never_refused_for_them() {
    let limits = AddressLimits { address_failures_per_minute: 4, ..NOBODY };
    let relay = TestRelay::limited(limits, NOWHERE);
    let here = relay.stranger_calls().at("192.0.2.1");
    let opened = open(&here).await;
    let bad = here.with_secret("no-key-of-this-relay");
    for _ in 0..2 {
        assert_eq!(bad.post("/inbox/lease", &json!({})).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(say_in(&bad, &opened, "hi").await.status, StatusCode::UNAUTHORIZED);
    }
    for path in ["/inbox", "/sessions", "//metrics", "/sessions/s1/messages"] {
        refusal(&bad.get(path).await, ErrorType::RateLimited);
    }
    let poller = here.with_secret(API_KEY);
    assert_eq!(poller.lease(&json!({})).await.len(), 1);
    here.with_secret(ADMIN_KEY).get("/sessions").await.data::<Value>();
    let own = here.with_secret(opened.session_token.as_deref().unwrap());
    say_in(&own, &opened, "mine").await.data::<MessageAccepted>();
    let elsewhere = bad.at("192.0.2.2").get("/inbox").await;
    assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_poller_is_not_throttled_by_the_visitors_at_its_address() {
    let limits = AddressLimits { address_calls_per_minute: 2, ..NOBODY };
    let relay = TestRelay::limited(limits, NOWHERE);
    let here = relay.stranger_calls().at("192.0.2.1");
    let opened = open(&here).await;
    open(&here).await;
    refusal(&say(&here, "one more").await, ErrorType::RateLimited);

    let poller = here.with_secret(API_KEY);
    let leased = poller.lease(&json!({})).await;
    assert_eq!(leased.len(), 2);
    for message in &leased {
        let reply = json!({ "session_id": message.session_id, "response": "hello",
                            "message_id": message.id, "lease_id": message.lease_id });
        poller.post("/outbox", &reply).await.data::<Value>();
    }
    let file = poller.send_file(&opened.session_id, "a.txt", "text/plain", b"words").await;
    assert_eq!(file.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_has_so_many_open_messages_and_each_reply_makes_room_for_one() {
    let limits = SiteLimits { session_open_messages: 2, ..NOWHERE };
    let relay = TestRelay::limited(NOBODY, limits);
    let (own, opened) = visitor(&relay).await;
    say_in(&own, &opened, "second").await.data::<MessageAccepted>();
    let refused = say_in(&own, &opened, "third").await;
    refusal(&refused, ErrorType::TooManyOpenMessages);
    assert_eq!(header(&refused, "ratelimit-policy"), r#""session-open-messages";q=2"#);

    let poller = relay.poller_calls();
    let leased = poller.lease(&json!({})).await.remove(0);
    let reply = json!({ "session_id": leased.session_id, "response": "hello",
                        "message_id": leased.id, "lease_id": leased.lease_id });
    poller.post("/outbox", &reply).await.data::<Value>();
    say_in(&own, &opened, "third").await.data::<MessageAccepted>();
    refusal(&say_in(&own, &opened, "fourth").await, ErrorType::TooManyOpenMessages);
}

#[tokio::test]
async fn a_repeat_of_what_was_accepted_is_answered_whatever_limit_is_reached() {
    let address =
        AddressLimits { address_messages_per_minute: 2, address_sessions_per_hour: 1, ..NOBODY };
    let site = SiteLimits {
        session_messages_per_minute: 2,
        session_messages_per_day: 2,
        session_open_messages: 2,
        site_messages_per_minute: 2,
        site_daily_budget: 2,
        site_open_messages: 2,
        site_sessions: 1,
        ..NOWHERE
    };
    let relay = TestRelay::limited(address, site);
    let opening = relay.stranger_calls().at("192.0.2.1").with_key("a-key-that-opens-a-session");
    let opened = open(&opening).await;
    let own = opening.with_secret(opened.session_token.as_deref().unwrap());
    let second = own.with_key("second");
    let accepted: MessageAccepted = say_in(&second, &opened, "second").await.data();
    assert_eq!(say_in(&own.with_key("third"), &opened, "third").await.status, 429);
    for _ in 0..3 {
        assert_eq!(open(&opening).await.message_id, opened.message_id);
        let again: MessageAccepted = say_in(&second, &opened, "second").await.data();
        assert_eq!(again.message_id, accepted.message_id);
    }
}

#[tokio::test]
async fn a_spent_budget_is_told_in_the_sites_words_and_outlives_a_restart() {
    let limits = SiteLimits { site_daily_budget: 2, ..NOWHERE };
    let mut relay = TestRelay::limited(NOBODY, limits);
    let (own, opened) = visitor(&relay).await;
    say_in(&own, &opened, "second").await.data::<MessageAccepted>();
    for restarts in [false, true] {
        if restarts {
            relay.stop().await;
            relay.start_again();
        }
        for calls in [&own, &relay.stranger_calls()] {
            let answer = calls.post("/messages", &json!({ "message": "third" })).await;
            let failure = refusal(&answer, ErrorType::BudgetSpent);
            assert!(failure.error.contains("sent tomorrow"), "{}", failure.error);
            assert!((1..=86_400).contains(&failure.retry_after.unwrap()));
        }
        let metrics = relay.operator_calls().get("//metrics").await;
        let metrics = String::from_utf8(metrics.body).unwrap();
        for line in [
            r#"postern_relay_budgets_spent_total{site="default"} 1"#,
            r#"postern_relay_limits_reached_total{limit="site-daily-budget"} 2"#,
        ] {
            assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        }
    }
}

#[tokio::test]
async fn a_session_and_an_address_have_so_many_streams_and_a_closed_one_makes_room() {
    let address = AddressLimits { address_streams: 3, ..NOBODY };
    let relay = TestRelay::limited(address, SiteLimits { session_streams: 2, ..NOWHERE });
    let (own, opened) = visitor(&relay).await;
    let own = own.at("192.0.2.1");
    let (other, others) = visitor(&relay).await;
    let other = other.at("192.0.2.1");
    let path = |opened: &MessageAccepted| format!("/sessions/{}/events", opened.session_id);
    let stream = async |calls: &Caller, opened: &MessageAccepted| {
        calls.request(Method::GET, &path(opened)).send().await.unwrap()
    };
    let first = stream(&own, &opened).await;
    let second = stream(&own, &opened).await;
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    let refused = own.get(&path(&opened)).await;
    refusal(&refused, ErrorType::RateLimited);
    assert_eq!(header(&refused, "ratelimit-policy"), r#""session-streams";q=2"#);
    let held = format!("/responses/{}?wait=30&after=0", opened.session_id);
    refusal(&own.get(&held).await, ErrorType::RateLimited);

    let third = stream(&other, &others).await;
    assert_eq!(third.status(), StatusCode::OK);
    let refused = other.get(&path(&others)).await;
    assert_eq!(header(&refused, "ratelimit-policy"), r#""address-streams";q=3"#);
    drop((first, second));
    eventually("room for a stream", async || stream(&other, &others).await.status().is_success())
        .await;
}

#[tokio::test]
async fn a_page_can_read_why_it_was_refused() {
    let limits = AddressLimits { address_calls_per_minute: 1, ..NOBODY };
    let relay = TestRelay::limited(limits, NOWHERE);
    let here = relay.stranger_calls().at("192.0.2.1");
    open(&here).await;
    let call = here.request(Method::POST, "/messages").header("origin", "https://page.example");
    let refused = Answer::to(call.json(&json!({ "message": "hi" }))).await;
    refusal(&refused, ErrorType::RateLimited);
    assert_eq!(header(&refused, "access-control-allow-origin"), "https://page.example");
    let exposed = header(&refused, "access-control-expose-headers");
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(exposed.split(',').any(|exposed| exposed.trim() == name), "{name}: {exposed}");
    }
    let preflight = here
        .request(Method::OPTIONS, "/messages")
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", IDEMPOTENCY_KEY);
    assert!(Answer::to(preflight).await.status.is_success());
}

#[tokio::test]
async fn a_relay_without_limits_says_so_when_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = process(&folder, "", &["--rate-limit", "off"]);
    relay.line_with("visitors are not limited").await;
    relay.line_with("listening on").await;
}

#[tokio::test]
async fn a_site_has_limits_of_its_own_by_the_names_of_the_flags() {
    let folder = tempfile::tempdir().unwrap();
    let file = "site_daily_budget = 7\n[[site]]\nid = \"shop\"\n\
                limits = { session_open_messages = 1 }\n\
                texts = { budget_spent = \"We sleep.\" }\n\
                [[site]]\nid = \"default\"\nlimits = { site_daily_budget = 1 }\n";
    let mut relay = process(&folder, file, &[]);
    let line = relay.line_with("listening on http").await;
    let calls = Caller::new(line.rsplit("://").next().unwrap().trim().parse().unwrap());
    let opened: MessageAccepted =
        calls.post("/messages?site=shop", &json!({ "message": "hi" })).await.data();
    let more = json!({ "session_id": opened.session_id, "message": "more" });
    let own = calls.with_secret(opened.session_token.as_deref().unwrap());
    let refused = own.post("/messages?site=shop", &more).await;
    refusal(&refused, ErrorType::TooManyOpenMessages);
    open(&calls).await;
    refusal(&say(&calls, "hi").await, ErrorType::BudgetSpent);
}

#[tokio::test]
async fn a_sites_limit_that_there_is_not_stops_the_start_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[[site]]\nid = \"shop\"\nlimits = { address_streams = 1 }\n";
    let (status, log) = process(&folder, file, &[]).end().await;
    assert_eq!(status.code(), Some(78), "{log:?}");
    let named = ["limits of site shop", "address_streams"];
    assert!(named.iter().all(|name| log.iter().any(|line| line.contains(name))), "{log:?}");
}

/// A relay with this configuration file.
fn process(folder: &tempfile::TempDir, file: &str, flags: &[&str]) -> Process {
    let config = folder.path().join("relay.toml");
    std::fs::write(&config, file).unwrap();
    let db = folder.path().join("relay.db");
    let (config, db) = (config.to_str().unwrap(), db.to_str().unwrap());
    let args = ["serve", "--config", config, "--listen", "127.0.0.1:0", "--db", db];
    let keys = [("POSTERN_API_KEY", API_KEY), ("POSTERN_ADMIN_KEY", ADMIN_KEY)];
    Process::start_with("postern-relay", &[&args, flags].concat(), &keys)
}

async fn visitor(relay: &TestRelay) -> (Caller, MessageAccepted) {
    let opened = open(&relay.stranger_calls()).await;
    let own = relay.stranger_calls().with_secret(opened.session_token.as_deref().unwrap());
    (own, opened)
}

async fn open(calls: &Caller) -> MessageAccepted {
    say(calls, "hi").await.data()
}

async fn say(calls: &Caller, text: &str) -> Answer {
    calls.post("/messages", &json!({ "message": text })).await
}

async fn say_in(calls: &Caller, opened: &MessageAccepted, text: &str) -> Answer {
    let body = json!({ "session_id": opened.session_id, "message": text });
    calls.post("/messages", &body).await
}

#[track_caller]
fn refusal(answer: &Answer, kind: ErrorType) -> Failure {
    let failure = answer.failure();
    assert_eq!((answer.status.as_u16(), failure.kind), (429, kind), "{}", failure.error);
    failure
}

fn header(answer: &Answer, name: &str) -> String {
    answer.headers[name].to_str().unwrap().to_owned()
}
