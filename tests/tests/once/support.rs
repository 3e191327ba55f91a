//! What the tests stand on.

use postern_shared::poller::{Inbox, LeasedMessage};
use postern_tests::TestRelay;
use serde_json::{Value, json};

pub(crate) async fn open(relay: &TestRelay) -> Inbox {
    relay.poller_calls().get("/inbox").await.data()
}

pub(crate) async fn lease_one(relay: &TestRelay) -> LeasedMessage {
    let mut leased = relay.poller_calls().lease(&json!({ "limit": 1 })).await;
    leased.pop().expect("a message that can be leased")
}

pub(crate) fn reply_to(leased: &LeasedMessage, text: &str) -> Value {
    json!({
        "session_id": leased.session_id, "response": text, "message_id": leased.id,
        "lease_id": leased.lease_id,
    })
}
