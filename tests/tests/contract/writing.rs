//! Replies that are being written: pieces, status, and stopping, in full.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use insta::assert_json_snapshot;
use postern_relay::config::Limits;
use postern_shared::poller::{ChunkTaken, LeasedMessage};
use postern_tests::{Answer, TestRelay, Visitor, soon};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{assert_refused, events, masked};

/// A visitor whose message is leased.
async fn leased(relay: &TestRelay) -> (Visitor, LeasedMessage) {
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let leased = relay.poller_calls().lease(&json!({})).await.remove(0);
    (visitor, leased)
}

async fn write(relay: &TestRelay, leased: &LeasedMessage, offset: u64, text: &str) -> Answer {
    let chunk = json!({ "lease_id": leased.lease_id, "offset": offset, "text": text });
    relay.poller_calls().post(&format!("/inbox/{}/chunks", leased.id), &chunk).await
}

async fn stream(visitor: &Visitor) -> impl Stream<Item = Value> {
    let path = format!("/sessions/{}/events", visitor.session());
    events(visitor.calls().request(Method::GET, &path).send().await.expect("an answer"))
}

#[tokio::test]
async fn a_piece_is_answered_with_how_long_the_reply_is_now() {
    let relay = TestRelay::start().await;
    let (_, leased) = leased(&relay).await;
    assert_json_snapshot!(masked(&write(&relay, &leased, 0, "Grüße").await), @r#"
    {
      "data": {
        "cancelled": false,
        "received": 7
      },
      "message": "Chunk taken",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
}

#[tokio::test]
async fn a_repeat_is_harmless_and_a_gap_is_refused_with_the_offset_that_is_wanted() {
    let relay = TestRelay::start().await;
    let (_, leased) = leased(&relay).await;
    for (offset, text) in [(0, "Grüße"), (0, "Grüße"), (0, "Gr"), (2, "üße"), (2, "üße!")] {
        write(&relay, &leased, offset, text).await.data::<ChunkTaken>();
    }
    let gap = write(&relay, &leased, 9, "x").await;
    assert_refused(&gap, StatusCode::CONFLICT);
    assert_json_snapshot!(masked(&gap), @r#"
    {
      "code": 409,
      "error": "text does not follow on what is known of the reply: send it from the offset given here",
      "offset": 8,
      "success": false,
      "timestamp": "[time]",
      "type": "offset_mismatch"
    }
    "#);
    // Within a character.
    assert_eq!(write(&relay, &leased, 3, "x").await.failure().offset, Some(8));
}

#[tokio::test]
async fn a_reply_that_grows_too_long_is_too_large() {
    let relay = TestRelay::with(Limits { max_reply_bytes: 8, ..Limits::default() });
    let (_, leased) = leased(&relay).await;
    write(&relay, &leased, 0, "12345678").await.data::<ChunkTaken>();
    let answer = write(&relay, &leased, 8, "9").await;
    assert_refused(&answer, StatusCode::PAYLOAD_TOO_LARGE);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 413,
      "error": "the reply is longer than 8 bytes",
      "success": false,
      "timestamp": "[time]",
      "type": "payload_too_large"
    }
    "#);
}

#[tokio::test]
async fn the_stream_tells_each_step_of_a_reply() {
    let relay = TestRelay::start().await;
    let (visitor, leased) = leased(&relay).await;
    let mut events = pin!(stream(&visitor).await.skip(1));
    let mut next = async || soon("an event", events.next()).await.unwrap();
    assert_json_snapshot!(next().await, @r#"
    {
      "data": {
        "host": "connected",
        "message_id": 1,
        "state": "working"
      },
      "event": "status",
      "id": null
    }
    "#);
    let chunk = json!({
        "lease_id": leased.lease_id, "offset": 0, "text": "", "progress": "Looking it up",
    });
    relay.poller_calls().post("/inbox/1/chunks", &chunk).await.data::<ChunkTaken>();
    assert_json_snapshot!(next().await, @r#"
    {
      "data": {
        "host": "connected",
        "message_id": 1,
        "progress": "Looking it up",
        "state": "working"
      },
      "event": "status",
      "id": null
    }
    "#);
    write(&relay, &leased, 0, "Grü").await;
    assert_json_snapshot!(next().await, @r#"
    {
      "data": {
        "message_id": 1,
        "offset": 0,
        "text": "Grü"
      },
      "event": "chunk",
      "id": null
    }
    "#);
    // The words went with the text.
    assert_eq!(next().await["event"], "status");
    write(&relay, &leased, 4, "ße").await;
    assert_json_snapshot!(next().await, @r#"
    {
      "data": {
        "message_id": 1,
        "offset": 4,
        "text": "ße"
      },
      "event": "chunk",
      "id": null
    }
    "#);
    visitor.cancel(leased.id).await;
    assert_eq!(next().await["data"]["state"], "cancelled");
    let reply = json!({
        "session_id": visitor.session(), "response": "Grüße", "message_id": 1,
        "lease_id": leased.lease_id, "stopped": true,
    });
    relay.poller_calls().post("/outbox", &reply).await.data::<Value>();
    assert_json_snapshot!(next().await, @r#"
    {
      "data": {
        "id": 2,
        "message_id": 1,
        "role": "agent",
        "stopped": true,
        "text": "Grüße",
        "timestamp": "[time]"
      },
      "event": "message",
      "id": "2"
    }
    "#);
    assert_json_snapshot!(next().await, @r#"
    {
      "data": {
        "host": "connected"
      },
      "event": "status",
      "id": null
    }
    "#);
}

#[tokio::test]
async fn a_stop_is_confirmed() {
    let relay = TestRelay::start().await;
    let (visitor, leased) = leased(&relay).await;
    let expected = masked(&visitor.cancel(leased.id).await);
    assert_json_snapshot!(expected, @r#"
    {
      "data": {
        "cancelled": true
      },
      "message": "Message cancelled",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
    assert_eq!(masked(&visitor.cancel(leased.id).await), expected);
    let taken: ChunkTaken = write(&relay, &leased, 0, "more").await.data();
    assert!(taken.cancelled);
}

#[tokio::test]
async fn a_held_heartbeat_is_answered_when_the_visitor_stops_the_reply() {
    let relay = TestRelay::start().await;
    let (visitor, leased) = leased(&relay).await;
    let poller = relay.poller_calls();
    let extend = json!({ "lease_id": leased.lease_id, "lease_seconds": 60, "wait_seconds": 30 });
    let begun = Instant::now();
    let held = async { poller.post("/inbox/1/extend", &extend).await.json() };
    let stop = async {
        // Something else that is said in the session does not end the call.
        visitor.other_tab().send("and another thing").await;
        visitor.cancel(leased.id).await
    };
    let (extended, _) = tokio::join!(held, stop);
    assert_eq!(extended["data"], json!({ "cancelled": true }));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_held_heartbeat_ends_with_its_message() {
    let relay = TestRelay::start().await;
    let (visitor, leased) = leased(&relay).await;
    let poller = relay.poller_calls();
    let extend = json!({ "lease_id": leased.lease_id, "lease_seconds": 60, "wait_seconds": 30 });
    let reply = json!({
        "session_id": visitor.session(), "response": "hello", "message_id": 1,
        "lease_id": leased.lease_id,
    });
    let begun = Instant::now();
    let held = poller.post("/inbox/1/extend", &extend);
    let (extended, _) = tokio::join!(held, poller.post("/outbox", &reply));
    assert_eq!(extended.failure().code, 409);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn only_a_stopped_reply_may_be_blank() {
    let relay = TestRelay::start().await;
    let (visitor, leased) = leased(&relay).await;
    let mut reply = json!({
        "session_id": visitor.session(), "response": "", "message_id": 1,
        "lease_id": leased.lease_id,
    });
    assert_eq!(relay.poller_calls().post("/outbox", &reply).await.failure().code, 400);
    reply["stopped"] = json!(true);
    relay.poller_calls().post("/outbox", &reply).await.data::<Value>();
}
