//! Every action, and the form of its answer.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::support::{LONG, Plugin, Widget, relay, rows, texts};

/// Puts what differs from run to run out of sight, once it has the right form.
fn masked(mut value: Value) -> Value {
    mask(&mut value);
    value
}

fn mask(value: &mut Value) {
    match value {
        Value::Array(rows) => rows.iter_mut().for_each(mask),
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "timestamp" | "created_at" | "last_active" | "latest_response_at" => {
                        assert_is_moment(value);
                        *value = "(moment)".into();
                    }
                    "uid" => *value = "(uid)".into(),
                    "session_id" => *value = "(session)".into(),
                    "id" if value.is_string() => *value = "(session)".into(),
                    _ => mask(value),
                }
            }
        }
        _ => {}
    }
}

/// `datetime.fromisoformat` of Python before 3.11 takes three or six digits, and no Z.
fn assert_is_moment(value: &Value) {
    let text = value.as_str().expect("a moment");
    let (seconds, zone) = text.split_at(text.len() - 6);
    let digits = seconds.rsplit('.').next().expect("digits");
    assert_eq!((zone, digits.len()), ("+00:00", 6), "{text}");
}

#[tokio::test]
async fn a_conversation_of_a_widget_and_a_plugin() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    assert_json_snapshot!(masked(widget.say("Hello, how can you help me?").await), @r#"
    {
      "is_new_user": true,
      "message_id": 1,
      "session_id": "(session)",
      "timestamp": "(moment)",
      "uid": "(uid)"
    }
    "#);
    assert_json_snapshot!(masked(plugin.inbox("&limit=50&offset=0").await), @r#"
    {
      "messages": [
        {
          "id": 1,
          "message": "Hello, how can you help me?",
          "metadata": {},
          "session_id": "(session)",
          "timestamp": "(moment)",
          "uid": "(uid)"
        }
      ],
      "pagination": {
        "has_more": false,
        "limit": 50,
        "offset": 0,
        "total": 1
      }
    }
    "#);
    assert_json_snapshot!(masked(plugin.reply(&widget.session, "With anything.").await), @r#"
    {
      "response_id": 2,
      "session_id": "(session)",
      "timestamp": "(moment)"
    }
    "#);
    let query = format!("action=responses&session_id={}&since=", widget.session);
    assert_json_snapshot!(masked(widget.call("GET", &query, "").await.data()), @r#"
    {
      "responses": [
        {
          "id": 2,
          "message_id": 1,
          "response": "With anything.",
          "session_id": "(session)",
          "timestamp": "(moment)"
        }
      ],
      "session_id": "(session)"
    }
    "#);
    let query = format!("action=history&session_id={}&limit=6", widget.session);
    assert_json_snapshot!(masked(widget.call("GET", &query, "").await.data()), @r#"
    {
      "items": [
        {
          "id": 1,
          "role": "user",
          "text": "Hello, how can you help me?",
          "timestamp": "(moment)"
        },
        {
          "id": 2,
          "role": "assistant",
          "text": "With anything.",
          "timestamp": "(moment)"
        }
      ],
      "latest_response_at": "(moment)",
      "session_id": "(session)"
    }
    "#);
}

#[tokio::test]
async fn what_an_operator_asks_for() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    widget.say("hi").await;
    plugin.fetch().await;
    plugin.reply(&widget.session, "hello").await;
    let sessions = plugin.administer("GET", "action=sessions").await.data();
    assert_json_snapshot!(masked(sessions), @r#"
    {
      "pagination": {
        "has_more": false,
        "limit": 50,
        "offset": 0,
        "total": 1
      },
      "sessions": [
        {
          "created_at": "(moment)",
          "id": "(session)",
          "ip_address": "127.0.0.1",
          "last_active": "(moment)",
          "message_count": 1,
          "metadata": {},
          "response_count": 1,
          "uid": "(uid)"
        }
      ]
    }
    "#);
    let query = format!("action=session_messages&session_id={}", widget.session);
    let detail = plugin.administer("GET", &query).await.data();
    assert_eq!(texts(&rows(&detail["messages"]), "message"), ["hi"]);
    assert_eq!(texts(&rows(&detail["responses"]), "response"), ["hello"]);
    assert_eq!(detail["session"]["id"], *widget.session);
    let cleaned = plugin.administer("POST", "action=cleanup").await.data();
    assert_eq!(cleaned["cleaned_count"], 0);
}

#[tokio::test]
async fn what_is_refused_and_how() {
    let relay = relay(LONG);
    let (mut widget, mut plugin) = (Widget::open(&relay).await, Plugin::start(&relay).await);
    let session = widget.session.clone();
    let mut refused = vec![];
    for (method, query, body) in [
        ("GET", "", ""),
        ("GET", "action=", ""),
        ("GET", "action=nothing", ""),
        ("POST", "action=no/thing", "{}"),
        ("GET", "action=messages", ""),
        ("POST", "action=responses", "{}"),
        ("POST", "action=inbox", "{}"),
        ("GET", "action=inbox", ""),
        ("GET", "action=sessions", ""),
        ("GET", "action=responses", ""),
        ("GET", "action=responses&session_id=a%20blank%20in%20the%20middle", ""),
        ("POST", "action=messages", "no JSON"),
        ("POST", "action=messages", r#"{"session_id":"session_mdwj6vj5_okiicz"}"#),
        ("POST", "action=messages", r#"{"message":"hi"}"#),
        ("POST", "action=messages", r#"{"message":" ","session_id":"session_mdwj6vj5_okiicz"}"#),
    ] {
        let (status, kind) = widget.call(method, query, body).await.refusal();
        refused.push(format!("{method} {query} {body}: {status} {kind}"));
    }
    let query = format!("action=responses&session_id={session}&since=yesterday");
    refused.push(format!("since=yesterday: {:?}", widget.call("GET", &query, "").await.refusal()));
    for body in [
        json!({ "response": "no session" }),
        json!({ "session_id": session, "response": "a session that nobody has" }),
        json!({ "session_id": session, "response": "" }),
    ] {
        refused.push(format!("{}: {:?}", body["response"], plugin.post(&body).await.refusal()));
    }
    let by_other_key = plugin.administer("GET", "action=inbox").await.refusal();
    refused.push(format!("the inbox with the operator's key: {by_other_key:?}"));
    insta::assert_snapshot!(refused.join("\n"), @r#"
    GET  : 400 invalid_request
    GET action= : 400 invalid_request
    GET action=nothing : 400 invalid_request
    POST action=no/thing {}: 400 invalid_request
    GET action=messages : 405 method_not_allowed
    POST action=responses {}: 405 method_not_allowed
    POST action=inbox {}: 405 method_not_allowed
    GET action=inbox : 401 unauthorized
    GET action=sessions : 401 unauthorized
    GET action=responses : 400 invalid_request
    GET action=responses&session_id=a%20blank%20in%20the%20middle : 400 invalid_request
    POST action=messages no JSON: 400 invalid_request
    POST action=messages {"session_id":"session_mdwj6vj5_okiicz"}: 400 invalid_request
    POST action=messages {"message":"hi"}: 400 invalid_request
    POST action=messages {"message":" ","session_id":"session_mdwj6vj5_okiicz"}: 400 invalid_request
    since=yesterday: (400, "invalid_request")
    "no session": (400, "invalid_request")
    "a session that nobody has": (404, "not_found")
    "": (400, "invalid_request")
    the inbox with the operator's key: (403, "forbidden")
    "#);
}

#[tokio::test]
async fn both_contracts_are_of_one_conversation() {
    let relay = relay(LONG);
    let mut widget = Widget::open(&relay).await;
    let mut visitor = relay.visitor();
    widget.say("from the widget").await;
    visitor.send("from our own").await;
    let poller = relay.poller_calls();
    for leased in poller.lease(&json!({})).await {
        let reply = json!({ "session_id": leased.session_id, "response": leased.message,
                            "message_id": leased.id, "lease_id": leased.lease_id });
        poller.post("/outbox", &reply).await.data::<Value>();
    }
    assert_eq!(visitor.next_reply().await, "from our own");
    assert_eq!(texts(&widget.since("").await, "response"), ["from the widget"]);

    visitor.send("answered by a plugin").await;
    let mut plugin = Plugin::start(&relay).await;
    let fetched = plugin.fetch().await;
    assert_eq!(texts(&fetched, "message"), ["answered by a plugin"]);
    plugin.reply(visitor.session().as_str(), "here it is").await;
    assert_eq!(visitor.next_reply().await, "here it is");
}
