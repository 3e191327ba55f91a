//! Several sites on one relay: each has its own pages, its own pollers and its own conversations.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use postern_shared::visitor::{MessageAccepted, Transcript};
use postern_shared::{ErrorType, Failure};
use postern_tests::{ADMIN_KEY, Answer, Caller, ConfiguredRelay, TestRelay, soon};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SHOP_KEY: &str = "shop-poller-key-not-a-secret";
const BLOG_KEY: &str = "blog-poller-key-not-a-secret";

const CONFIG: &str = r#"
    max_attempts = 1

    [[site]]
    id = "shop"
    origins = ["https://shop.example", "https://*.shop.example"]
    api_key_file = "{folder}/shop.key"
    texts.unanswered = "Der Laden kann gerade nicht antworten."

    [[site]]
    id = "blog"
    origins = ["https://blog.example"]
    api_key_file = "{folder}/blog.key"
"#;

async fn two_sites() -> ConfiguredRelay {
    let files = [("relay.toml", CONFIG), ("shop.key", SHOP_KEY), ("blog.key", BLOG_KEY)];
    ConfiguredRelay::start(&files).await
}

/// A message on a site that opens a session.
async fn says(relay: &ConfiguredRelay, site: &str, text: &str) -> MessageAccepted {
    let path = format!("/messages?site={site}");
    relay.stranger_calls().post(&path, &json!({ "message": text })).await.data()
}

fn token(accepted: &MessageAccepted) -> String {
    accepted.session_token.clone().unwrap()
}

#[tokio::test]
async fn a_poller_never_sees_or_touches_another_sites_messages() {
    let relay = two_sites().await;
    let asked = says(&relay, "shop", "how much?").await;
    let (shop, blog) = (relay.calls_with(SHOP_KEY), relay.calls_with(BLOG_KEY));
    assert!(blog.lease(&json!({})).await.is_empty());
    let inbox: Value = blog.get("/inbox").await.data();
    assert_eq!(inbox["pagination"]["total"], 0);

    let leased = shop.lease(&json!({})).await;
    assert_eq!(leased.len(), 1);
    let answer = |lease: Option<&str>| {
        json!({ "session_id": asked.session_id, "response": "no",
        "message_id": asked.message_id, "lease_id": lease })
    };
    let lease = leased[0].lease_id.as_str();
    for body in [
        answer(Some(lease)),
        answer(None),
        json!({ "session_id": asked.session_id,
        "response": "of my own accord" }),
    ] {
        let refused = blog.post("/outbox", &body).await;
        assert_eq!(refused.failure().kind, ErrorType::NotFound, "{body}");
    }
    let file = format!("/sessions/{}/files?name=a.txt", asked.session_id);
    let upload = blog.request(Method::POST, &file).header("content-type", "text/plain").body("a");
    assert_eq!(Answer::to(upload).await.status, StatusCode::NOT_FOUND);
    assert_eq!(shop.post("/outbox", &answer(Some(lease))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_message_wakes_its_own_sites_poller_and_no_other() {
    let relay = two_sites().await;
    let (shop, blog) = (relay.calls_with(SHOP_KEY), relay.calls_with(BLOG_KEY));
    let waits = json!({ "wait_seconds": 30 });
    let (shops, blogs) = (shop.lease(&waits), blog.lease(&waits));
    tokio::pin!(blogs);
    let send = async {
        // Both calls are held before anything is said.
        relay.calls_with(ADMIN_KEY).sees_lease_calls_held(2).await;
        says(&relay, "shop", "hello").await
    };
    let (leased, said) = tokio::select! {
        done = async { tokio::join!(shops, send) } => done,
        _ = &mut blogs => panic!("the other site's poller was answered"),
    };
    assert_eq!(leased[0].id, said.message_id);
    says(&relay, "blog", "hi").await;
    assert_eq!(soon("the other site's own message", blogs).await[0].message, "hi");
}

#[tokio::test]
async fn a_token_opens_nothing_on_another_site() {
    let relay = two_sites().await;
    let asked = says(&relay, "shop", "hello").await;
    let calls = relay.calls_with(&token(&asked));
    let transcript = format!("/sessions/{}/messages", asked.session_id);
    let own: Transcript = calls.get(&format!("{transcript}?site=shop")).await.data();
    assert_eq!(own.messages.len(), 1);
    for path in [
        format!("{transcript}?site=blog"),
        format!("/responses/{}?site=blog", asked.session_id),
        format!("/sessions/{}/events?site=blog", asked.session_id),
    ] {
        assert_eq!(calls.get(&path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let body = json!({ "message": "hi", "session_id": asked.session_id });
    let refused = calls.post("/messages?site=blog", &body).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_call_names_a_site_that_there_is() {
    let relay = two_sites().await;
    for path in ["/messages", "/messages?site=shops", "/messages?site=", "/messages?site=default"] {
        let refused = relay.stranger_calls().post(path, &json!({ "message": "hi" })).await;
        let failure = refused.failure();
        assert_eq!(failure.kind, ErrorType::InvalidRequest, "{path}");
        assert!(failure.error.starts_with("site, in the query,"), "{}", failure.error);
    }
    // A relay with one site needs no name.
    let only = TestRelay::start().await;
    for path in ["/messages", "/messages?site=default"] {
        let taken = only.stranger_calls().post(path, &json!({ "message": "hi" })).await;
        assert_eq!(taken.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn only_pages_of_a_sites_origins_reach_it() {
    let relay = two_sites().await;
    let from = async |origin: &str, path: &str| {
        let request = relay.stranger_calls().request(Method::POST, path);
        Answer::to(request.header("origin", origin).json(&json!({ "message": "hi" }))).await
    };
    for origin in ["https://shop.example", "https://www.shop.example"] {
        let taken = from(origin, "/messages?site=shop").await;
        assert_eq!(taken.status, StatusCode::OK, "{origin}");
        assert_eq!(taken.headers["access-control-allow-origin"], origin);
    }
    for (origin, path) in [
        ("https://blog.example", "/messages?site=shop"),
        ("https://shop.example", "/messages?site=blog"),
        ("https://evil.example", "/messages?site=shop"),
        ("https://evil.example", "/sessions?site=shop"),
        ("http://shop.example", "/messages?site=shop"),
        ("https://shop.example.evil.example", "/messages?site=shop"),
        ("null", "/messages?site=shop"),
    ] {
        let refused = from(origin, path).await;
        assert_eq!(refused.failure().kind, ErrorType::ForeignOrigin, "{origin} {path}");
        assert!(!refused.headers.contains_key("access-control-allow-origin"), "{origin} {path}");
    }
    let inbox: Value = relay.calls_with(SHOP_KEY).get("/inbox").await.data();
    assert_eq!(inbox["pagination"]["total"], 2, "a refused page opened a session");
}

#[tokio::test]
async fn a_preflight_is_answered_for_the_sites_origins_only() {
    let relay = two_sites().await;
    let preflight = async |origin: &str| {
        let calls = relay.stranger_calls();
        let request = calls.request(Method::OPTIONS, "/messages?site=shop");
        let request = request.header("origin", origin);
        Answer::to(request.header("access-control-request-method", "POST")).await
    };
    let allowed = preflight("https://shop.example").await;
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://shop.example");
    assert!(allowed.headers["vary"].to_str().unwrap().contains("origin"));
    let foreign = preflight("https://blog.example").await;
    assert!(!foreign.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_site_tells_its_visitors_in_its_own_words() {
    let relay = two_sites().await;
    for (site, key, text) in [
        ("shop", SHOP_KEY, "Der Laden kann gerade nicht antworten."),
        ("blog", BLOG_KEY, "Sorry, this message could not be answered. Please try again later."),
    ] {
        let asked = says(&relay, site, "hello").await;
        let poller = relay.calls_with(key);
        let leased = poller.lease(&json!({})).await.remove(0);
        let nack = json!({ "lease_id": leased.lease_id, "error": "no", "dead_letter": true });
        poller.post(&format!("/inbox/{}/nack", leased.id), &nack).await;
        let path = format!("/sessions/{}/messages?site={site}", asked.session_id);
        let transcript: Transcript = relay.calls_with(&token(&asked)).get(&path).await.data();
        assert_eq!(transcript.messages[1].text, text);
    }
}

#[tokio::test]
async fn the_operator_sees_every_site() {
    let relay = two_sites().await;
    says(&relay, "shop", "hello").await;
    says(&relay, "blog", "hello").await;
    let sessions: Value = relay.calls_with(ADMIN_KEY).get("/sessions").await.data();
    let sites: Vec<_> =
        sessions["sessions"].as_array().unwrap().iter().map(|row| row["site"].clone()).collect();
    assert_eq!(sites, ["blog", "shop"]);
}

#[tokio::test]
async fn a_site_keeps_its_conversations_over_a_restart_and_a_change_of_the_file() {
    let mut relay = two_sites().await;
    let asked = says(&relay, "shop", "hello").await;
    drop(relay.take_process());
    let without_blog = CONFIG.split("[[site]]\n    id = \"blog\"").next().unwrap();
    let folder = relay.file("").to_str().unwrap().trim_end_matches('/').to_owned();
    std::fs::write(relay.file("relay.toml"), without_blog.replace("{folder}", &folder)).unwrap();
    relay.start_again().await;
    let path = format!("/sessions/{}/messages?site=shop", asked.session_id);
    let transcript: Transcript = relay.calls_with(&token(&asked)).get(&path).await.data();
    assert_eq!(transcript.messages[0].text, "hello");
    assert_eq!(relay.calls_with(BLOG_KEY).get("/inbox").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_revoked_session_opens_nothing_and_its_streams_end() {
    let relay = TestRelay::start().await;
    for by_operator in [true, false] {
        let mut visitor = relay.visitor();
        visitor.send("hello").await;
        visitor.next_entry().await;
        let path = format!("/sessions/{}/revoke", visitor.session());
        let revoker: &Caller = if by_operator { &relay.operator_calls() } else { visitor.calls() };
        assert_eq!(revoker.post(&path, &json!({})).await.status, StatusCode::OK);
        while visitor.next_event().await.is_some() {}
        let path = format!("/sessions/{}/messages", visitor.session());
        assert_eq!(visitor.calls().get(&path).await.status, StatusCode::UNAUTHORIZED);
        let body = json!({ "message": "again", "session_id": visitor.session() });
        assert_eq!(visitor.calls().post("/messages", &body).await.status, StatusCode::UNAUTHORIZED);
    }
    let path = "/sessions/nobodys/revoke";
    for refused in [relay.poller_calls(), relay.stranger_calls()] {
        let failure: Failure = refused.post(path, &json!({})).await.failure();
        assert!(matches!(failure.code, 401 | 403), "{failure:?}");
    }
}
