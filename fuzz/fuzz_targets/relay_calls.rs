//! Any request to a relay, as text: it is answered as the contract says, and what is private only to
//! whoever shows a key.

#![no_main]

use std::sync::{LazyLock, Mutex};

use http::{HeaderMap, Method, header};
use libfuzzer_sys::{Corpus, fuzz_target};
use postern_fuzz::relay::{ADMIN_KEY, API_KEY, Answer, Relay};
use postern_shared::{ErrorType, Failure, Success};
use serde_json::Value;

static RELAY: LazyLock<Mutex<Relay>> = LazyLock::new(|| Relay::start().into());

/// What every answer carries.
const ALWAYS: [&str; 3] = ["x-request-id", "x-content-type-options", "content-security-policy"];

const PRIVATE: [&str; 4] = ["/inbox", "/outbox", "/deadletters", "/metrics"];

fuzz_target!(|text: &str| -> Corpus {
    let mut relay = RELAY.lock().expect("no panic before");
    if relay.is_worn() {
        *relay = Relay::start();
    }
    let Some(request) = relay.request(text) else { return Corpus::Reject };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let has_key = shows_key(request.headers());
    if let Some(answer) = relay.answer(request) {
        check(&answer, &method);
        let is_good = answer.head.status.is_success() && method != Method::OPTIONS;
        assert!(has_key || !is_good || !is_private(&path));
    }
    Corpus::Keep
});

fn shows_key(headers: &HeaderMap) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    shown.is_some_and(|shown| shown.contains(API_KEY) || shown.contains(ADMIN_KEY))
}

fn is_private(path: &str) -> bool {
    let path = path.trim_start_matches("/api").trim_start_matches("/v1");
    PRIVATE.iter().any(|private| path.starts_with(private))
}

fn check(answer: &Answer, method: &Method) {
    let Answer { head, body } = answer;
    let status = head.status;
    assert!(!status.is_server_error(), "{status}: {}", String::from_utf8_lossy(body));
    assert!(ALWAYS.iter().all(|name| head.headers.contains_key(*name)), "{head:?}");
    if method == Method::HEAD {
        assert!(body.is_empty());
    } else if status.is_client_error() {
        let failure: Failure = serde_json::from_slice(body).expect("the body of a failure");
        assert_eq!((failure.success, failure.code), (false, status.as_u16()));
        assert_ne!(failure.kind, ErrorType::Unknown);
        assert!(!failure.error.is_empty());
    } else if is_json(&head.headers) {
        let success: Success<Value> = serde_json::from_slice(body).expect("the body of a success");
        assert!(success.success);
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json")
}
