//! Leases: kept, given back, run out, and waited for.

use std::collections::HashSet;

use futures_util::future::join_all;
use postern_relay::config::Limits;
use postern_shared::poller::{LeasedMessage, Nacked};
use postern_shared::visitor::Role;
use postern_shared::{ErrorType, MessageId};
use postern_tests::{Answer, Caller, TestRelay, eventually};
use serde_json::{Value, json};

use crate::support::{lease_one, open, reply_to};

#[tokio::test]
async fn a_lease_is_kept_by_extending_it() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let poller = relay.poller_calls();
    let leased = poller.lease(&json!({ "lease_seconds": 1 })).await.remove(0);
    extend(&poller, &leased, 60).await.data::<Value>();
    assert_eq!(poller.lease(&json!({ "wait_seconds": 2 })).await, []);
    poller.post("/outbox", &reply_to(&leased, "hello")).await.data::<Value>();
}

#[tokio::test]
async fn a_lease_is_cut_short_by_extending_it_less() {
    let relay = TestRelay::start().await;
    relay.visitor().send("hi").await;
    let poller = relay.poller_calls();
    let leased = poller.lease(&json!({ "lease_seconds": 3_600 })).await.remove(0);
    extend(&poller, &leased, 1).await.data::<Value>();
    let again = poller.lease(&json!({ "wait_seconds": 30 })).await;
    assert_eq!((again[0].id, again[0].attempts), (leased.id, 2));
}

#[tokio::test]
async fn a_message_given_back_now_is_leased_again_at_once() {
    let relay = TestRelay::start().await;
    relay.visitor().send("hi").await;
    let mut seen = HashSet::new();
    for attempt in 1..=3 {
        let leased = lease_one(&relay).await;
        assert_eq!(leased.attempts, attempt);
        assert!(seen.insert(leased.lease_id.clone()), "a lease's id came twice");
        let nack = if attempt == 1 { json!({}) } else { json!({ "retry_after_seconds": 0 }) };
        assert!(!give_back(&relay, &leased, nack).await);
    }
}

#[tokio::test]
async fn a_message_given_back_for_later_comes_later() {
    let relay = TestRelay::start().await;
    relay.visitor().send("hi").await;
    let leased = lease_one(&relay).await;
    let begun = std::time::Instant::now();
    assert!(!give_back(&relay, &leased, json!({ "retry_after_seconds": 1 })).await);
    let poller = relay.poller_calls();
    assert_eq!(poller.lease(&json!({})).await, []);
    let again = poller.lease(&json!({ "wait_seconds": 30 })).await;
    assert_eq!((again[0].id, again[0].attempts), (leased.id, 2));
    let waited = begun.elapsed().as_millis();
    assert!((1_000..10_000).contains(&waited), "after {waited} ms");
}

#[tokio::test]
async fn a_message_given_up_is_a_dead_letter_and_the_visitor_is_told() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let given_up = visitor.send("one").await;
    let next = visitor.send("two").await;
    let leased = lease_one(&relay).await;
    assert!(give_back(&relay, &leased, json!({ "dead_letter": true })).await);
    let notice = visitor.next_reply_entry().await;
    assert_eq!((notice.role, notice.message_id), (Role::System, Some(given_up)));
    assert!(!notice.text.contains("the agent's own words"), "{}", notice.text);
    assert_eq!(lease_one(&relay).await.id, next);
}

#[tokio::test]
async fn a_message_given_back_too_often_is_a_dead_letter() {
    let relay = TestRelay::with(Limits { max_attempts: 2, ..Limits::default() });
    let mut visitor = relay.visitor();
    let message = visitor.send("hi").await;
    assert!(!give_back(&relay, &lease_one(&relay).await, json!({})).await);
    assert!(give_back(&relay, &lease_one(&relay).await, json!({})).await);
    assert_eq!(relay.poller_calls().lease(&json!({})).await, []);
    let notice = visitor.next_reply_entry().await;
    assert_eq!((notice.role, notice.message_id), (Role::System, Some(message)));
    assert_eq!(visitor.transcript().await.messages.len(), 2, "told once");
}

#[tokio::test]
async fn a_message_whose_leases_run_out_is_a_dead_letter() {
    let relay = TestRelay::with(Limits { max_attempts: 2, ..Limits::default() });
    let mut visitor = relay.visitor();
    let message = visitor.send("one").await;
    let next = visitor.send("two").await;
    let poller = relay.poller_calls();
    let request = json!({ "wait_seconds": 30, "lease_seconds": 1 });
    for attempt in 1..=2 {
        let leased = poller.lease(&request).await;
        assert_eq!((leased[0].id, leased[0].attempts), (message, attempt));
    }
    let leased = poller.lease(&json!({ "wait_seconds": 30 })).await;
    assert_eq!((leased[0].id, leased[0].attempts), (next, 1));
    let notice = visitor.next_reply_entry().await;
    assert_eq!((notice.role, notice.message_id), (Role::System, Some(message)));
    let transcript = visitor.transcript().await;
    assert_eq!(transcript.messages.len(), 3, "told once");
}

#[tokio::test]
async fn only_the_oldest_open_message_of_a_session_is_leased() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    for text in ["one", "two", "three"] {
        visitor.send(text).await;
    }
    let poller = relay.poller_calls();
    for text in ["one", "two", "three"] {
        let leased = poller.lease(&json!({})).await;
        assert_eq!(texts(&leased), [text]);
        assert_eq!(poller.lease(&json!({})).await, []);
        // Given back for later, it still holds its place.
        assert!(!give_back(&relay, &leased[0], json!({ "retry_after_seconds": 1 })).await);
        assert_eq!(poller.lease(&json!({})).await, []);
        let again = poller.lease(&json!({ "wait_seconds": 30 })).await;
        assert_eq!(texts(&again), [text]);
        poller.post("/outbox", &reply_to(&again[0], "done")).await.data::<Value>();
    }
    assert_eq!(poller.lease(&json!({})).await, []);
}

#[tokio::test]
async fn sessions_are_served_first_come_first_served() {
    let relay = TestRelay::start().await;
    let mut visitors: Vec<_> = (0..5).map(|_| relay.visitor()).collect();
    // The later sessions speak first, so that no order but that of arrival will do.
    let mut sent = Vec::new();
    for (number, visitor) in visitors.iter_mut().enumerate().rev() {
        sent.push(visitor.send(&number.to_string()).await);
    }
    visitors[0].send("the second of its session comes last").await;
    let poller = relay.poller_calls();
    for wanted in sent.chunks(2) {
        assert_eq!(ids(&poller.lease(&json!({ "limit": 2 })).await), wanted);
    }
    assert_eq!(poller.lease(&json!({})).await, []);
}

#[tokio::test]
async fn a_lease_takes_no_more_than_its_limit() {
    let relay = TestRelay::start().await;
    for _ in 0..52 {
        relay.visitor().send("hi").await;
    }
    let poller = relay.poller_calls();
    assert_eq!(poller.lease(&json!({ "limit": 1 })).await.len(), 1);
    assert_eq!(poller.lease(&json!({})).await.len(), 50);
    assert_eq!(poller.lease(&json!({ "limit": 100 })).await.len(), 1);
}

#[tokio::test]
async fn a_held_lease_call_wakes_when_a_message_arrives() {
    let relay = TestRelay::start().await;
    let held = hold(&relay);
    eventually("the held call", async || held_calls(&relay).await == 1).await;
    let message = relay.visitor().send("hi").await;
    let begun = std::time::Instant::now();
    assert_eq!(ids(&held.await.unwrap()), [message]);
    assert!(begun.elapsed().as_secs() < 10, "it waited for {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_held_lease_call_wakes_when_the_message_before_is_answered() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("one").await;
    let second = visitor.send("two").await;
    let leased = lease_one(&relay).await;
    let held = hold(&relay);
    eventually("the held call", async || held_calls(&relay).await == 1).await;
    relay.poller_calls().post("/outbox", &reply_to(&leased, "done")).await.data::<Value>();
    assert_eq!(ids(&held.await.unwrap()), [second]);
}

#[tokio::test]
async fn a_held_lease_call_wakes_when_a_message_is_given_back() {
    let relay = TestRelay::start().await;
    let message = relay.visitor().send("hi").await;
    let leased = lease_one(&relay).await;
    let held = hold(&relay);
    eventually("the held call", async || held_calls(&relay).await == 1).await;
    assert!(!give_back(&relay, &leased, json!({})).await);
    assert_eq!(ids(&held.await.unwrap()), [message]);
}

#[tokio::test]
async fn one_message_goes_to_one_of_the_calls_that_wait_for_it() {
    let relay = TestRelay::start().await;
    let poller = relay.poller_calls();
    let request = json!({ "wait_seconds": 2 });
    let waiting = join_all((0..8).map(|_| poller.lease(&request)));
    let sent = async {
        eventually("the held calls", async || held_calls(&relay).await == 8).await;
        relay.visitor().send("hi").await
    };
    let (leased, message) = tokio::join!(waiting, sent);
    assert_eq!(leased.iter().flat_map(|leased| ids(leased)).collect::<Vec<_>>(), [message]);
}

#[tokio::test]
async fn no_message_is_leased_twice_by_callers_at_once() {
    let relay = TestRelay::start().await;
    let mut sent = HashSet::new();
    for _ in 0..50 {
        sent.insert(relay.visitor().send("hi").await);
    }
    let callers = (1..=8).map(|limit| {
        let poller = relay.poller_calls();
        tokio::spawn(async move {
            let mut taken = Vec::new();
            loop {
                let leased = poller.lease(&json!({ "limit": limit })).await;
                if leased.is_empty() {
                    return taken;
                }
                taken.extend(ids(&leased));
            }
        })
    });
    let taken: Vec<_> = join_all(callers).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(taken.len(), 50);
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), sent);
}

#[tokio::test]
async fn a_lease_that_ran_out_still_takes_its_reply_until_it_is_leased_again() {
    let relay = TestRelay::start().await;
    let (mut one, mut two) = (relay.visitor(), relay.visitor());
    one.send("one").await;
    two.send("two").await;
    let poller = relay.poller_calls();
    let leased = poller.lease(&json!({ "lease_seconds": 1 })).await;
    assert_eq!(texts(&leased), ["one", "two"]);
    // Both leases end at the same moment; the first being leased again shows that it has passed.
    let again = poller.lease(&json!({ "limit": 1, "wait_seconds": 30 })).await;
    assert_eq!(texts(&again), ["one"]);
    let failure = poller.post("/outbox", &reply_to(&leased[0], "late")).await.failure();
    assert_eq!((failure.code, failure.kind), (409, ErrorType::StaleLease));
    poller.post("/outbox", &reply_to(&leased[1], "late")).await.data::<Value>();
    assert_eq!(two.next_reply().await, "late");
    assert_eq!(one.transcript().await.messages.len(), 1);
}

#[tokio::test]
async fn a_lease_that_ran_out_is_kept_by_extending_it() {
    let relay = TestRelay::start().await;
    for text in ["one", "two"] {
        relay.visitor().send(text).await;
    }
    let poller = relay.poller_calls();
    let leased = poller.lease(&json!({ "lease_seconds": 1 })).await;
    poller.lease(&json!({ "limit": 1, "wait_seconds": 30 })).await;
    assert_eq!(extend(&poller, &leased[0], 60).await.failure().kind, ErrorType::StaleLease);
    extend(&poller, &leased[1], 60).await.data::<Value>();
    assert_eq!(poller.lease(&json!({})).await, []);
}

#[tokio::test]
async fn a_reply_without_a_lease_id_acks_a_leased_message() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let mut reply = reply_to(&lease_one(&relay).await, "hello");
    reply["lease_id"] = Value::Null;
    relay.poller_calls().post("/outbox", &reply).await.data::<Value>();
    assert_eq!(open(&relay).await.pagination.total, 0);
    assert_eq!(visitor.next_reply().await, "hello");
}

/// A call that waits for a message.
fn hold(relay: &TestRelay) -> tokio::task::JoinHandle<Vec<LeasedMessage>> {
    let poller = relay.poller_calls();
    tokio::spawn(async move { poller.lease(&json!({ "wait_seconds": 30 })).await })
}

async fn held_calls(relay: &TestRelay) -> u32 {
    let metrics = relay.operator_calls().get("//metrics").await.body;
    let metrics = String::from_utf8(metrics).expect("text");
    let line = metrics.lines().find_map(|l| l.strip_prefix("postern_relay_lease_calls_held "));
    line.expect("the metric").parse().expect("a number")
}

async fn extend(poller: &Caller, leased: &LeasedMessage, seconds: u32) -> Answer {
    let body = json!({ "lease_id": leased.lease_id, "lease_seconds": seconds });
    poller.post(&format!("/inbox/{}/extend", leased.id), &body).await
}

/// Gives a message back; true when it became a dead letter.
async fn give_back(relay: &TestRelay, leased: &LeasedMessage, how: Value) -> bool {
    let mut body = how;
    body["lease_id"] = json!(leased.lease_id);
    body["error"] = json!("the agent's own words");
    let path = format!("/inbox/{}/nack", leased.id);
    relay.poller_calls().post(&path, &body).await.data::<Nacked>().dead_letter
}

fn ids(leased: &[LeasedMessage]) -> Vec<MessageId> {
    leased.iter().map(|message| message.id).collect()
}

fn texts(leased: &[LeasedMessage]) -> Vec<&str> {
    leased.iter().map(|message| message.message.as_str()).collect()
}
