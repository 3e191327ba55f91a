//! What every answer carries beside its body, and what a page of another origin may do.

use std::collections::HashSet;

use postern_tests::{ADMIN_KEY, Answer, TestRelay};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{ORIGIN, answered, masked, preflight, words};

#[tokio::test]
async fn the_widget_is_sent_once_and_compressed() {
    let relay = TestRelay::start().await;
    let calls = relay.stranger_calls();
    let plain = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    let script = "text/javascript; charset=utf-8";
    let files = [
        ("/widget.js", script),
        ("/widget.mjs", script),
        ("/widget/texts/de.json", "application/json"),
    ];
    for (path, media_type) in files {
        let asked = &format!("/{path}");
        let whole = calls.get(asked).await;
        assert_eq!(whole.status, StatusCode::OK);
        assert_eq!(whole.headers["content-type"], media_type);
        assert_eq!(whole.headers["x-content-type-options"], "nosniff");
        assert_eq!(whole.headers["access-control-allow-origin"], "*");
        assert!(!whole.body.is_empty());

        let etag = whole.headers["etag"].clone();
        let seen = calls.request(Method::GET, asked).header("if-none-match", &etag);
        let unchanged = Answer::to(seen).await;
        assert_eq!((unchanged.status, unchanged.body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(unchanged.headers["etag"], etag);
        let old = calls.request(Method::GET, asked).header("if-none-match", "W/\"older\"");
        assert_eq!(Answer::to(old).await.body, whole.body);

        let url = format!("{}{path}", relay.url());
        let small = Answer::to(plain.get(&url).header("accept-encoding", "gzip")).await;
        assert_eq!(small.headers["content-encoding"], "gzip");
        assert_eq!(small.headers["vary"], "accept-encoding");
        assert!(small.body.starts_with(&[0x1f, 0x8b]) && small.body.len() < whole.body.len());
        assert_eq!(Answer::to(plain.get(&url)).await.body, whole.body);
    }
}

#[tokio::test]
async fn a_version_of_the_widget_is_kept_for_ever_and_only_that() {
    let relay = TestRelay::start().await;
    let calls = relay.stranger_calls();
    let caching = async |path: &str| {
        let answer = calls.get(path).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.headers["cache-control"].to_str().unwrap().to_owned()
    };
    let line = postern_relay::script_line(&"https://relay.example/chat/".parse().unwrap(), None);
    let version = line.split("?v=").nth(1).unwrap().split('"').next().unwrap();
    assert!(line.starts_with("<script src=\"https://relay.example/chat/widget.js?v="), "{line}");
    let pinned = caching(&format!("//widget.js?v={version}")).await;
    assert_eq!(pinned, "public, max-age=31536000, immutable");
    for path in ["//widget.js", "//widget.js?v=0", &format!("//widget.mjs?v={version}")] {
        assert_eq!(caching(path).await, "public, max-age=300", "{path}");
    }
}

#[tokio::test]
async fn the_script_names_the_version_of_the_words_that_are_served_with_it() {
    let relay = TestRelay::start().await;
    let calls = relay.stranger_calls();
    let script = String::from_utf8(calls.get("//widget.js").await.body).unwrap();
    for language in ["ar", "de", "es", "fr", "ja", "pt", "zh"] {
        let texts = calls.get(&format!("//widget/texts/{language}.json")).await;
        let version = texts.headers["etag"].to_str().unwrap().split('"').nth(1).unwrap();
        assert!(script.contains(version), "{language}");
        let pinned = calls.get(&format!("//widget/texts/{language}.json?v={version}")).await;
        assert_eq!(pinned.headers["cache-control"], "public, max-age=31536000, immutable");
    }
    assert_eq!(calls.get("//widget/texts/nl.json").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let relay = TestRelay::start().await;
    let calls = relay.stranger_calls();
    let requests = [
        (calls.request(Method::POST, "/messages").body(r#"{"message":"hi"}"#), 200),
        (calls.request(Method::POST, "/messages").body("{}"), 400),
        (calls.request(Method::GET, "/inbox"), 401),
        (calls.with_secret(ADMIN_KEY).request(Method::GET, "/inbox"), 403),
        (calls.request(Method::GET, "/nothing"), 404),
        (calls.request(Method::GET, "/messages"), 405),
        (calls.request(Method::POST, "/messages").body("x".repeat(70_000)), 413),
        (calls.request(Method::GET, "//health"), 200),
        (calls.request(Method::GET, "//widget.js"), 200),
        (calls.with_secret(ADMIN_KEY).request(Method::GET, "//metrics"), 200),
    ];
    let mut seen = HashSet::new();
    for (request, status) in requests {
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, status);
        let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        assert!(!id.is_empty() && seen.insert(id), "{status} shares its id");
    }
}

#[tokio::test]
async fn every_answer_tells_a_browser_to_make_nothing_of_it() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let (calls, stranger) = (visitor.calls(), relay.stranger_calls());
    let stream = calls.request(Method::GET, &format!("/sessions/{}/events", visitor.session()));
    let requests = [
        (stranger.request(Method::POST, "/messages").body(r#"{"message":"hi"}"#), 200),
        (stranger.request(Method::POST, "/messages").body("{}"), 400),
        (stranger.request(Method::GET, "/inbox"), 401),
        (stranger.request(Method::GET, "/nothing"), 404),
        (stranger.request(Method::GET, "/messages"), 405),
        (stranger.request(Method::GET, "//health"), 200),
        (stranger.request(Method::GET, "//widget.js"), 200),
        (relay.operator_calls().request(Method::GET, "//metrics"), 200),
        (preflight(&stranger, "/messages"), 200),
        (stream, 200),
    ];
    for (request, status) in requests {
        let answer = request.send().await.unwrap();
        let (url, headers) = (answer.url(), answer.headers());
        assert_eq!(answer.status(), status, "{url}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{url}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{url}");
        let policy = "default-src 'none'; frame-ancestors 'none'";
        assert_eq!(headers["content-security-policy"], policy, "{url}");
        let cached = headers["cache-control"].to_str().unwrap();
        let (caching, loaded_by) = match url.path() {
            "/widget.js" => ("public, max-age=300", "cross-origin"),
            path if path.ends_with("/events") => ("no-cache, no-transform", "same-origin"),
            _ => ("no-store", "same-origin"),
        };
        assert_eq!(cached, caching, "{url}");
        assert_eq!(headers["cross-origin-resource-policy"], loaded_by, "{url}");
        assert!(!headers.contains_key("strict-transport-security"), "{url}: not without TLS");
    }
}

#[tokio::test]
async fn a_callers_request_id_is_kept_when_it_is_safe_to_log() {
    let relay = TestRelay::start().await;
    let answered = async |id: &[u8]| {
        let request = relay.stranger_calls().request(Method::GET, "//health");
        let answer = Answer::to(request.header("x-request-id", id)).await;
        answer.headers["x-request-id"].as_bytes().to_vec()
    };
    for sane in ["a", "page-7_Z", &"x".repeat(64)] {
        assert_eq!(answered(sane.as_bytes()).await, sane.as_bytes());
    }
    let long = "x".repeat(65);
    for odd in ["", "a b", "a\tb", "<b>", "a=1", "a\"", "ä", &long] {
        let id = answered(odd.as_bytes()).await;
        assert!(!id.is_empty() && id != odd.as_bytes(), "{odd:?} was kept");
    }
}

#[tokio::test]
async fn the_unversioned_paths_answer_like_the_versioned_ones() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let (calls, session) = (visitor.calls().with_key("one-key"), visitor.session());
    let poller = relay.poller_calls().with_key("one-key");
    let message = json!({ "session_id": session, "message": "again" });
    let reply = json!({ "session_id": session, "response": "by the way" });
    let pairs = [
        (calls.post("/messages", &message).await, calls.post("//api/messages", &message).await),
        (poller.post("/outbox", &reply).await, poller.post("//api/outbox", &reply).await),
        (poller.get("/inbox").await, poller.get("//api/inbox").await),
        (
            calls.get(&format!("/responses/{session}?after=1")).await,
            calls.get(&format!("//api/responses/{session}?after=1")).await,
        ),
        (
            relay.operator_calls().get("/sessions").await,
            relay.operator_calls().get("//api/sessions").await,
        ),
        (poller.get("/sessions").await, poller.get("//api/sessions").await),
        (
            poller.post("/messages", &json!([])).await,
            poller.post("//api/messages", &json!([])).await,
        ),
    ];
    for (versioned, alias) in pairs {
        assert_eq!(alias.status, versioned.status);
        assert_eq!(masked(&alias), masked(&versioned));
    }
}

#[tokio::test]
async fn a_page_of_any_origin_may_make_the_visitors_calls() {
    let relay = TestRelay::start().await;
    let calls = relay.stranger_calls();
    let visitors = [
        "/messages",
        "/responses/s1",
        "/sessions",
        "/sessions/s1/files",
        "/sessions/s1/files/f1",
        "/sessions/s1/events",
        "/sessions/s1/messages",
        "//api/messages",
        "//api/responses/s1",
    ];
    for path in visitors {
        let answer = Answer::to(preflight(&calls, path)).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.status);
        assert!(answer.headers.contains_key("x-request-id"), "{path}");
        assert_eq!(answer.headers["access-control-allow-origin"], ORIGIN, "{path}");
        let allowed = words(&answer, "access-control-allow-headers");
        for header in ["authorization", "content-type", "idempotency-key", "last-event-id"] {
            assert!(allowed.contains(header), "{path}: {header}");
        }
        let methods = words(&answer, "access-control-allow-methods");
        assert!(methods.is_superset(&["get", "post"].map(str::to_owned).into()), "{path}");
        assert!(!answer.headers.contains_key("access-control-allow-credentials"), "{path}");
    }
}

#[tokio::test]
async fn a_page_can_read_what_its_calls_were_answered() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let calls = visitor.calls();
    let stream = calls.request(Method::GET, &format!("/sessions/{}/events", visitor.session()));
    let stream = stream.header("origin", ORIGIN).send().await.unwrap();
    assert_eq!(stream.headers()["access-control-allow-origin"], ORIGIN);

    let requests = [
        (calls.request(Method::POST, "/messages").body(r#"{"message":"hi"}"#), 200),
        (calls.request(Method::POST, "/messages").body("{}"), 400),
        (relay.stranger_calls().request(Method::GET, "/responses/s1"), 401),
        (calls.request(Method::POST, "/sessions").body("{}"), 200),
        (calls.request(Method::GET, "/responses/s1"), 403),
        (calls.request(Method::POST, "/messages").body("x".repeat(70_000)), 413),
    ];
    for (request, status) in requests {
        let answer = Answer::to(request.header("origin", ORIGIN)).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers["access-control-allow-origin"], ORIGIN, "{status}");
        let exposed = words(&answer, "access-control-expose-headers");
        assert!(exposed.contains("x-request-id") && exposed.contains("retry-after"), "{status}");
    }
}

#[tokio::test]
async fn no_page_may_make_the_pollers_or_the_operators_calls() {
    let relay = TestRelay::start().await;
    let operator = relay.operator_calls();
    let private = [
        "/inbox",
        "/inbox/lease",
        "/inbox/1/extend",
        "/inbox/1/nack",
        "/outbox",
        "/sessions/s1",
        "//api/inbox",
        "//api/outbox",
        "//api/sessions",
        "//metrics",
    ];
    for path in private {
        let asked = Answer::to(preflight(&operator, path)).await;
        let called = operator.request(Method::GET, path).header("origin", ORIGIN);
        let called = Answer::to(called).await;
        for answer in [asked, called] {
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
            assert!(!answer.headers.contains_key("access-control-allow-headers"), "{path}");
        }
    }
}
