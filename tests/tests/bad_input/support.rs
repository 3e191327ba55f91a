//! What the tests stand on.

use postern_shared::poller::LeasedMessage;
use postern_tests::{TestRelay, Visitor};
use serde_json::{Value, json};

/// A message of this visitor, leased.
pub(crate) async fn leased(relay: &TestRelay, visitor: &mut Visitor) -> LeasedMessage {
    let message = visitor.send("hi").await;
    let leased = relay.poller_calls().lease(&json!({})).await;
    leased.into_iter().find(|leased| leased.id == message).expect("the message")
}

pub(crate) fn reply_to(leased: &LeasedMessage) -> Value {
    json!({
        "session_id": leased.session_id, "response": "hello", "message_id": leased.id,
        "lease_id": leased.lease_id,
    })
}

/// All that the operator and the poller can see.
pub(crate) async fn stored(relay: &TestRelay) -> Value {
    let sessions: Value = relay.operator_calls().get("/sessions").await.data();
    let inbox: Value = relay.poller_calls().get("/inbox").await.data();
    let ids = sessions["sessions"].as_array().into_iter().flatten().map(|session| &session["id"]);
    let mut said = Vec::new();
    for id in ids {
        let path = format!("/sessions/{}", id.as_str().expect("an id"));
        said.push(relay.operator_calls().get(&path).await.data::<Value>());
    }
    json!({ "sessions": said, "inbox": inbox["messages"] })
}

pub(crate) fn nothing() -> Value {
    json!({ "sessions": [], "inbox": [] })
}
