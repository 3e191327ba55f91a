//! Dead letters: listed, shown, put back and dropped, by command and over the admin API.

use postern_shared::ErrorType;
use postern_shared::operator::{DeadLetter, DeadLetterDetail, DeadLetters};
use postern_shared::poller::ReplyStored;
use postern_shared::visitor::Role;
use postern_tests::{Answer, TestRelay};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::host::{Host, give_up_next, ids, reply_to, requeue, succeeds, text};

#[tokio::test]
async fn dead_letters_are_listed_without_and_shown_with_what_was_said() {
    let host = Host::start().await;
    let given_up = host.dead_letter("the visitor's words", "no \u{1b}[31mmodel").await;

    let listed = host.succeeds(&["deadletters", "list"]);
    assert!(listed.starts_with("   MESSAGE  SESSION"), "{listed}");
    assert!(listed.contains(given_up.session_id.as_str()), "{listed}");
    assert!(listed.contains("no \\u001b[31mmodel"), "{listed}");
    assert!(!listed.contains("words"), "{listed}");
    let listed = host.succeeds(&["deadletters", "list", "--json"]);
    assert!(!listed.contains("words"), "{listed}");
    let listed: DeadLetter = serde_json::from_str(&listed).unwrap();
    assert_eq!((listed.message_id, listed.attempts), (given_up.id, 1));
    assert_eq!(listed.error.as_deref(), Some("no \u{1b}[31mmodel"));

    let id = given_up.id.to_string();
    let shown = host.succeeds(&["deadletters", "show", &id]);
    assert!(shown.ends_with("\n\nthe visitor's words\n"), "{shown}");
    let shown = host.succeeds(&["deadletters", "show", "--json", &id]);
    let shown: DeadLetterDetail = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown.message, "the visitor's words");
    assert_eq!(shown.dead_letter, listed);
}

#[tokio::test]
async fn a_dead_letter_requeued_by_command_has_all_its_attempts_again() {
    let host = Host::start().await;
    let given_up = host.dead_letter("hi", "no model").await;
    let requeued = host.succeeds(&["deadletters", "requeue", &given_up.id.to_string()]);
    assert_eq!(requeued, "requeued 1 message\n");
    assert_eq!(host.succeeds(&["deadletters", "list"]), "no dead letters\n");

    let leased = host.lease().await;
    assert_eq!((leased[0].id, leased[0].attempts), (given_up.id, 1));
    host.answer(&leased[0]).await;
    assert_eq!(host.lease().await, []);
    host.is_well();
}

#[tokio::test]
async fn all_dead_letters_are_requeued_by_one_command() {
    let host = Host::start().await;
    // More than the command takes into one transaction.
    for _ in 0..257 {
        host.accept("hi").await;
    }
    loop {
        let leased = host.lease().await;
        if leased.is_empty() {
            break;
        }
        for message in &leased {
            host.give_up(message, "no model").await;
        }
    }
    let requeued = host.succeeds(&["deadletters", "requeue", "--all", "--json"]);
    assert_eq!(requeued, "{\"requeued\":257}\n");
    assert_eq!(host.open_messages().await.len(), 257);
    host.is_well();
}

#[tokio::test]
async fn what_is_no_dead_letter_is_named_and_nothing_is_changed() {
    let host = Host::start().await;
    let given_up = host.dead_letter("hi", "no model").await.id.to_string();
    for command in ["requeue", "drop"] {
        let refusal = host.fails(&["deadletters", command, &given_up, "999"]);
        assert!(refusal.contains("message 999 is not a dead letter"), "{refusal}");
    }
    assert!(host.fails(&["deadletters", "show", "999"]).contains("message 999"));
    assert_eq!(host.succeeds(&["deadletters", "list", "--json"]).lines().count(), 1);
    assert_eq!(host.lease().await, []);
}

#[tokio::test]
async fn a_dropped_dead_letter_leaves_the_conversation_whole() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let message = visitor.send("hi").await;
    give_up_next(&relay.poller_calls()).await;
    let before = visitor.transcript().await;
    assert_eq!(before.messages.len(), 2);
    let path = format!("/deadletters/{message}");
    let operator = relay.operator_calls();
    let dropped = Answer::to(operator.request(Method::DELETE, &path)).await;
    assert_eq!(dropped.data::<Value>(), json!({ "message_id": message }));
    assert_eq!(visitor.transcript().await, before);
    assert_eq!(relay.poller_calls().lease(&json!({})).await, []);
    assert_eq!(operator.get(&path).await.status, StatusCode::NOT_FOUND);
    assert!(succeeds(&["check", "--db", text(&relay.file("relay.db"))]).contains("is well"));
}

#[tokio::test]
async fn a_requeue_over_the_admin_api_wakes_a_held_call_and_the_visitor_is_answered() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let message = visitor.send("hi").await;
    give_up_next(&relay.poller_calls()).await;
    assert_eq!(visitor.next_reply_entry().await.role, Role::System);

    let poller = relay.poller_calls();
    let held = tokio::spawn({
        let poller = poller.clone();
        async move { poller.lease(&json!({ "wait_seconds": 30 })).await }
    });
    let operator = relay.operator_calls();
    operator.sees_lease_calls_held(1).await;
    let begun = std::time::Instant::now();
    let path = format!("/deadletters/{message}/requeue");
    let requeued: Value = operator.post(&path, &json!({})).await.data();
    assert_eq!(requeued, json!({ "message_id": message }));
    let leased = held.await.unwrap();
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    assert_eq!((leased[0].id, leased[0].attempts), (message, 1));

    poller.post("/outbox", &reply_to(&leased[0])).await.data::<ReplyStored>();
    let reply = visitor.next_reply_entry().await;
    assert_eq!((reply.role, reply.message_id), (Role::Agent, Some(message)));
    let roles: Vec<_> = visitor.transcript().await.messages.iter().map(|said| said.role).collect();
    assert_eq!(roles, [Role::Visitor, Role::System, Role::Agent]);
}

#[tokio::test]
async fn a_requeued_message_goes_before_the_later_ones_of_its_session() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let (first, second) = (visitor.send("one").await, visitor.send("two").await);
    let poller = relay.poller_calls();
    give_up_next(&poller).await;
    requeue(&relay, first).await;
    for message in [first, second] {
        let leased = poller.lease(&json!({})).await;
        assert_eq!(ids(&leased), [message]);
        assert_eq!(poller.lease(&json!({})).await, []);
        poller.post("/outbox", &reply_to(&leased[0])).await.data::<ReplyStored>();
    }
}

#[tokio::test]
async fn a_requeued_message_waits_for_the_one_of_its_session_that_is_leased() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let mut sent = Vec::new();
    for text in ["one", "two", "three", "four"] {
        sent.push(visitor.send(text).await);
    }
    let poller = relay.poller_calls();
    give_up_next(&poller).await;
    give_up_next(&poller).await;
    let leased = poller.lease(&json!({})).await;
    assert_eq!(ids(&leased), [sent[2]]);
    for message in [sent[1], sent[0]] {
        requeue(&relay, message).await;
        assert_eq!(poller.lease(&json!({})).await, [], "the session has a second agent");
        assert!(succeeds(&["check", "--db", text(&relay.file("relay.db"))]).contains("is well"));
    }
    // Given back, it is still its turn; answered, the oldest is next.
    let nack = json!({ "lease_id": leased[0].lease_id, "error": "busy" });
    poller.post(&format!("/inbox/{}/nack", sent[2]), &nack).await.data::<Value>();
    for message in [sent[2], sent[0], sent[1], sent[3]] {
        let leased = poller.lease(&json!({})).await;
        assert_eq!(ids(&leased), [message]);
        assert_eq!(poller.lease(&json!({})).await, []);
        poller.post("/outbox", &reply_to(&leased[0])).await.data::<ReplyStored>();
    }
    assert!(succeeds(&["check", "--db", text(&relay.file("relay.db"))]).contains("is well"));
}

#[tokio::test]
async fn requeued_in_any_order_a_session_is_answered_in_its_own() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let mut sent = Vec::new();
    for text in ["one", "two", "three"] {
        sent.push(visitor.send(text).await);
    }
    let poller = relay.poller_calls();
    give_up_next(&poller).await;
    give_up_next(&poller).await;
    // The third is given back with a long wait, so it is unleased when the others come back.
    let third = poller.lease(&json!({})).await;
    requeue(&relay, sent[0]).await;
    let nack =
        json!({ "lease_id": third[0].lease_id, "error": "busy", "retry_after_seconds": 3600 });
    poller.post(&format!("/inbox/{}/nack", sent[2]), &nack).await.data::<Value>();
    requeue(&relay, sent[1]).await;
    for message in sent {
        let leased = poller.lease(&json!({})).await;
        assert_eq!(ids(&leased), [message]);
        poller.post("/outbox", &reply_to(&leased[0])).await.data::<ReplyStored>();
    }
}

#[tokio::test]
async fn a_lease_from_before_the_message_was_given_up_answers_it_no_more() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let message = visitor.send("hi").await;
    let poller = relay.poller_calls();
    let lost = give_up_next(&poller).await;
    requeue(&relay, message).await;
    let late = poller.post("/outbox", &reply_to(&lost)).await.failure();
    assert_eq!(late.kind, ErrorType::NotLeased);
    let leased = poller.lease(&json!({})).await;
    let late = poller.post("/outbox", &reply_to(&lost)).await.failure();
    assert_eq!(late.kind, ErrorType::StaleLease);
    poller.post("/outbox", &reply_to(&leased[0])).await.data::<ReplyStored>();
}

#[tokio::test]
async fn dead_letters_come_in_pages_and_to_the_operator_only() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let mut sent = Vec::new();
    for text in ["one", "two", "three"] {
        sent.push(visitor.send(text).await);
        give_up_next(&relay.poller_calls()).await;
    }
    let operator = relay.operator_calls();
    let page: DeadLetters = operator.get("/deadletters?limit=2&offset=1").await.data();
    let listed: Vec<_> = page.dead_letters.iter().map(|letter| letter.message_id).collect();
    assert_eq!(listed, sent[1..]);
    assert_eq!((page.pagination.total, page.pagination.has_more), (3, false));
    let one: DeadLetterDetail = operator.get(&format!("/deadletters/{}", sent[0])).await.data();
    assert_eq!((one.message.as_str(), &one.dead_letter.session_id), ("one", visitor.session()));

    let path = format!("/deadletters/{}", sent[0]);
    for (caller, status) in [
        (relay.poller_calls(), StatusCode::FORBIDDEN),
        (visitor.calls().clone(), StatusCode::UNAUTHORIZED),
        (relay.stranger_calls(), StatusCode::UNAUTHORIZED),
    ] {
        let requeue = format!("{path}/requeue");
        let calls = [
            caller.request(Method::GET, "/deadletters"),
            caller.request(Method::GET, &path),
            caller.request(Method::DELETE, &path),
            caller.request(Method::POST, &requeue),
        ];
        for call in calls {
            let refused = Answer::to(call).await;
            assert_eq!(refused.status, status, "{}", refused.failure().error);
        }
    }
    for path in ["/deadletters/999/requeue", "/deadletters/4611686018427387904/requeue"] {
        let failure = operator.post(path, &json!({})).await.failure();
        assert_eq!((failure.code, failure.kind), (404, ErrorType::NotFound));
        assert_eq!(failure.error, "message_id names no dead letter");
    }
    assert_eq!(operator.get("/deadletters/x").await.failure().code, 400);
}
