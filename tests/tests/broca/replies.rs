//! The outbox: a reply that names no message answers the oldest that was fetched.

use postern_shared::operator::SessionDetail;
use postern_tests::TestRelay;
use serde_json::{Value, json};

use crate::support::{LONG, Plugin, SHORT, Widget, relay, texts};

/// Which messages were answered, by which replies, as the relay keeps it.
async fn answers(relay: &TestRelay, session: &str) -> Vec<(String, Option<i64>)> {
    let path = format!("/sessions/{session}");
    let detail: SessionDetail = relay.operator_calls().get(&path).await.data();
    let replies = detail.messages.into_iter().filter(|entry| entry.message_id.is_some());
    replies.map(|entry| (entry.text, entry.message_id.map(|id| id.0))).collect()
}

#[tokio::test]
async fn replies_answer_the_messages_of_a_session_in_turn() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    let mut asked = vec![];
    for text in ["one", "two", "three"] {
        asked.push(widget.say(text).await["message_id"].as_i64());
    }
    plugin.fetch().await;
    widget.say("not fetched yet").await;
    let mut wanted = vec![];
    for (text, message) in ["1", "2", "3"].into_iter().zip(asked) {
        plugin.reply(&widget.session, text).await;
        wanted.push((text.to_owned(), message));
    }
    assert_eq!(answers(&relay, &widget.session).await, wanted);
    // One more is of the agent's own accord, and answers nothing that it never saw.
    plugin.reply(&widget.session, "anything else?").await;
    assert_eq!(texts(&plugin.fetch().await, "message"), ["not fetched yet"]);
    assert_eq!(texts(&widget.since("").await, "response"), ["1", "2", "3", "anything else?"]);
}

#[tokio::test]
async fn a_late_reply_counts_and_its_message_does_not_come_again() {
    let relay = relay(SHORT);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    let asked = widget.say("hi").await["message_id"].as_i64();
    plugin.fetch().await;
    let again = plugin.fetch_soon().await;
    assert_eq!(again.len(), 1);
    plugin.reply(&widget.session, "at last").await;
    assert_eq!(answers(&relay, &widget.session).await, [("at last".to_owned(), asked)]);
    assert!(plugin.fetch().await.is_empty());
}

#[tokio::test]
async fn a_reply_may_name_its_message() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    widget.say("one").await;
    let second = widget.say("two").await["message_id"].clone();
    plugin.fetch().await;
    let reply = |id: &Value| {
        json!({ "session_id": widget.session, "response": "2", "message_id": id,
                "timestamp": "2026-11-21T09:30:00+00:00" })
    };
    let stored = plugin.post(&reply(&second)).await.data();
    let repeated = plugin.post(&reply(&second.to_string().into())).await.data();
    assert_eq!(repeated["response_id"], stored["response_id"]);
    assert_eq!(answers(&relay, &widget.session).await, [("2".to_owned(), second.as_i64())]);
    let unknown = plugin.post(&reply(&json!(4_711))).await.refusal();
    assert_eq!(unknown, (404, "not_found".into()));
    // Null and zero name none.
    plugin.post(&reply(&json!(0))).await.data();
    assert_eq!(answers(&relay, &widget.session).await.len(), 2);
}

#[tokio::test]
async fn the_same_reply_again_with_nothing_left_to_answer_is_one_reply() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    for text in ["one", "two"] {
        widget.say(text).await;
    }
    plugin.fetch().await;
    // Two messages may well have the same answer.
    let mut stored = vec![];
    for _ in 0..4 {
        stored.push(plugin.reply(&widget.session, "yes").await["response_id"].clone());
    }
    assert_eq!(stored[1..], [stored[1].clone(), stored[1].clone(), stored[1].clone()]);
    assert_eq!(texts(&widget.since("").await, "response"), ["yes", "yes"]);
}

#[tokio::test]
async fn what_is_said_reaches_the_other_side_byte_for_byte() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    let text = "it's <b>5 > 4</b> & \"so\"\n\t🦉 \u{1}";
    widget.say(text).await;
    assert_eq!(texts(&plugin.fetch().await, "message"), [text]);
    plugin.reply(&widget.session, text).await;
    assert_eq!(texts(&widget.since("").await, "response"), [text]);
}
