//! What settles no message: unknown ones, stale leases, what has been settled before.

use postern_shared::ErrorType;
use postern_shared::poller::LeasedMessage;
use postern_tests::{Answer, TestRelay};
use serde_json::{Value, json};

use crate::support::{leased, nothing, reply_to, stored};

#[tokio::test]
async fn a_reply_to_an_unknown_session_is_not_found() {
    let relay = TestRelay::start().await;
    let reply = json!({ "session_id": "nobody", "response": "hello" });
    let failure = relay.poller_calls().post("/outbox", &reply).await.failure();
    assert_eq!((failure.code, failure.kind), (404, ErrorType::NotFound));
    assert_eq!(failure.error, "session_id names no session");
    assert_eq!(stored(&relay).await, nothing());
}

#[tokio::test]
async fn a_message_of_another_session_cannot_be_answered() {
    let relay = TestRelay::start().await;
    let mut other = relay.visitor();
    let leased = leased(&relay, &mut relay.visitor()).await;
    other.send("hi").await;
    let before = stored(&relay).await;
    let mut reply = reply_to(&leased);
    reply["session_id"] = json!(other.session());
    let failure = relay.poller_calls().post("/outbox", &reply).await.failure();
    assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest));
    assert_eq!(failure.error, "message_id names a message of another session");
    assert_eq!(stored(&relay).await, before);
    relay.poller_calls().post("/outbox", &reply_to(&leased)).await.data::<Value>();
}

#[tokio::test]
async fn what_is_no_message_of_a_visitor_is_not_found() {
    let relay = TestRelay::start().await;
    let leased = leased(&relay, &mut relay.visitor()).await;
    let answer = relay.poller_calls().post("/outbox", &reply_to(&leased)).await;
    let reply = answer.data::<Value>()["response_id"].as_i64().unwrap();
    let before = stored(&relay).await;
    for id in [reply, reply + 1, 0, -1, i64::MIN, i64::MAX] {
        for answer in settle(&relay, &leased, id).await {
            let failure = answer.failure();
            assert_eq!((failure.code, failure.kind), (404, ErrorType::NotFound), "{id}");
            assert_eq!(failure.error, "message_id names no message of a visitor");
        }
    }
    assert_eq!(stored(&relay).await, before);
}

#[tokio::test]
async fn a_lease_that_is_stale_or_anothers_settles_nothing() {
    let relay = TestRelay::start().await;
    let poller = relay.poller_calls();
    let stale = leased(&relay, &mut relay.visitor()).await;
    let nack = json!({ "lease_id": stale.lease_id, "error": "busy" });
    poller.post(&format!("/inbox/{}/nack", stale.id), &nack).await.data::<Value>();
    let held = poller.lease(&json!({})).await.remove(0);
    let other = leased(&relay, &mut relay.visitor()).await;
    let made_up = LeasedMessage { lease_id: "never-given-out".parse().unwrap(), ..held.clone() };
    let before = stored(&relay).await;
    for shown in [&stale, &other, &made_up] {
        for answer in settle(&relay, shown, held.id.0).await {
            let failure = answer.failure();
            assert_eq!((failure.code, failure.kind), (409, ErrorType::StaleLease));
            assert!(failure.error.starts_with("lease_id "), "{}", failure.error);
        }
    }
    assert_eq!(stored(&relay).await, before);
    poller.post("/outbox", &reply_to(&held)).await.data::<Value>();
}

#[tokio::test]
async fn a_message_that_is_not_leased_cannot_be_settled() {
    let relay = TestRelay::start().await;
    let poller = relay.poller_calls();
    let given_back = leased(&relay, &mut relay.visitor()).await;
    let nack = json!({ "lease_id": given_back.lease_id, "error": "busy" });
    poller.post(&format!("/inbox/{}/nack", given_back.id), &nack).await.data::<Value>();
    let mut visitor = relay.visitor();
    let never_leased = visitor.send("hi").await;
    // The second of its session cannot even be leased before the first has its answer.
    let behind = visitor.send("and").await;
    let before = stored(&relay).await;
    for id in [given_back.id, never_leased, behind] {
        for answer in settle(&relay, &given_back, id.0).await {
            let failure = answer.failure();
            assert_eq!((failure.code, failure.kind), (409, ErrorType::NotLeased), "{id}");
        }
        let mut reply = reply_to(&given_back);
        reply["message_id"] = json!(id);
        reply["lease_id"] = Value::Null;
        let failure = poller.post("/outbox", &reply).await.failure();
        assert_eq!((failure.code, failure.kind), (409, ErrorType::NotLeased), "{id}");
    }
    assert_eq!(stored(&relay).await, before);
}

#[tokio::test]
async fn an_answered_message_cannot_be_settled_again() {
    let relay = TestRelay::start().await;
    let leased = leased(&relay, &mut relay.visitor()).await;
    relay.poller_calls().post("/outbox", &reply_to(&leased)).await.data::<Value>();
    let before = stored(&relay).await;
    for answer in settle(&relay, &leased, leased.id.0).await {
        let failure = answer.failure();
        assert_eq!((failure.code, failure.kind), (409, ErrorType::AlreadyAnswered));
        assert_eq!(failure.error, "the message has been answered");
    }
    assert_eq!(stored(&relay).await, before);
}

#[tokio::test]
async fn a_dead_letter_cannot_be_settled_again() {
    let relay = TestRelay::start().await;
    let leased = leased(&relay, &mut relay.visitor()).await;
    let nack = json!({ "lease_id": leased.lease_id, "error": "no", "dead_letter": true });
    let path = format!("/inbox/{}/nack", leased.id);
    relay.poller_calls().post(&path, &nack).await.data::<Value>();
    let before = stored(&relay).await;
    for answer in settle(&relay, &leased, leased.id.0).await {
        let failure = answer.failure();
        assert_eq!((failure.code, failure.kind), (409, ErrorType::DeadLetter));
    }
    assert_eq!(stored(&relay).await, before);
}

/// Extends, gives back and answers, whole and in pieces, a message under a lease that may be
/// another's.
async fn settle(relay: &TestRelay, leased: &LeasedMessage, message_id: i64) -> [Answer; 4] {
    let poller = relay.poller_calls();
    let mut reply = reply_to(leased);
    reply["message_id"] = json!(message_id);
    let extend = json!({ "lease_id": leased.lease_id, "lease_seconds": 60 });
    let chunk = json!({ "lease_id": leased.lease_id, "offset": 0, "text": "hel" });
    let nack = json!({ "lease_id": leased.lease_id, "error": "busy" });
    [
        poller.post(&format!("/inbox/{message_id}/chunks"), &chunk).await,
        poller.post(&format!("/inbox/{message_id}/extend"), &extend).await,
        poller.post(&format!("/inbox/{message_id}/nack"), &nack).await,
        poller.post("/outbox", &reply).await,
    ]
}
