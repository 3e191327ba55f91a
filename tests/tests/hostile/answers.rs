//! How much one answer may hold, and how many a client may have under way.

use postern_shared::ErrorType;
use postern_shared::visitor::{Entry, Responses, Transcript};
use postern_tests::{API_KEY, Answer, Caller, eventually};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::Target;

/// More than a transcript of long messages may be in one answer.
const MESSAGES: usize = 40;

#[tokio::test]
async fn a_long_conversation_comes_in_pages_that_are_no_larger_for_long_messages() {
    let target = Target::start(&[]).await;
    let (session, token) = target.session().await;
    let visitor = target.visitor().with_secret(&token);
    for number in 0..MESSAGES {
        let message = json!({ "session_id": session, "message": format!("{number:\0>10000}") });
        visitor.post("/messages", &message).await.data::<Value>();
    }
    let mut found: Vec<Entry> = Vec::new();
    let mut before = String::new();
    loop {
        let path = format!("/sessions/{session}/messages?limit=100{before}");
        let answer = visitor.get(&path).await;
        assert!(answer.body.len() < 1 << 20, "{} bytes", answer.body.len());
        let mut page: Transcript = answer.data();
        before = format!("&before={}", page.messages[0].id);
        page.messages.append(&mut found);
        found = page.messages;
        if !page.has_more {
            break;
        }
    }
    assert_eq!(found[0].text, "hi");
    for (number, entry) in found[1..].iter().enumerate() {
        assert_eq!(entry.text, format!("{number:\0>10000}"));
    }
    assert_eq!(found.len(), MESSAGES + 1);
}

#[tokio::test]
async fn long_replies_come_one_by_one() {
    let target = Target::start(&[]).await;
    let (session, token) = target.session().await;
    let poller = target.visitor().with_secret(API_KEY);
    for number in 0..3 {
        let reply = json!({ "session_id": session, "response": long(number) });
        poller.post("/outbox", &reply).await.data::<Value>();
    }
    let visitor = target.visitor().with_secret(&token);
    let mut after = String::new();
    for number in 0..3 {
        let path = format!("/responses/{session}?wait=1{after}");
        let page: Responses = visitor.get(&path).await.data();
        assert_eq!(page.responses.len(), 1);
        assert_eq!(page.responses[0].text, long(number));
        after = format!("&after={}", page.cursor);
    }
}

#[tokio::test]
async fn one_client_has_so_many_calls_under_way_behind_a_proxy_too() {
    let flags = ["--max-connections-per-address", "4"];
    let target = Target::trusting("127.0.0.1", &flags).await;
    let (session, token) = target.session().await;
    let visitor = target.visitor().with_secret(&token);
    let stream = format!("/sessions/{session}/events");
    let call = |path: &str, client: &str| forwarded(&visitor, path, client);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(call(&stream, "2001:db8:1:2::1").send().await.unwrap());
    }
    // Another address of the same household.
    let refused = Answer::to(call(&stream, "2001:db8:1:2::ffff")).await;
    assert_eq!(refused.failure().kind, ErrorType::RateLimited);
    assert_eq!(
        (refused.status.as_u16(), &refused.headers["retry-after"]),
        (429, &"2".parse().unwrap())
    );
    let transcript = format!("/sessions/{session}/messages");
    assert_eq!(Answer::to(call(&transcript, "2001:db8:1:3::1")).await.status, 200);
    held.pop();
    eventually("a place", async || {
        Answer::to(call(&transcript, "2001:db8:1:2::1")).await.status == 200
    })
    .await;
    drop(held);
}

/// A reply of which no two fit into one answer.
fn long(number: usize) -> String {
    number.to_string().repeat(100_000)
}

/// A call that a proxy hands on.
fn forwarded(visitor: &Caller, path: &str, client: &str) -> RequestBuilder {
    visitor.request(Method::GET, path).header("x-forwarded-for", client)
}
