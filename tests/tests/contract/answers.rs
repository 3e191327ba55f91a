//! What each call is answered with when all is well, in full.

use futures_util::StreamExt;
use insta::assert_json_snapshot;
use postern_shared::operator::SessionDetail;
use postern_shared::poller::Inbox;
use postern_shared::visitor::{MessageAccepted, Role, Transcript};
use postern_tests::TestRelay;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{answered, events, masked};

#[tokio::test]
async fn the_message_that_opens_a_session_is_answered_with_its_token() {
    let relay = TestRelay::start().await;
    let body = json!({ "message": "hi", "timestamp": "2026-01-01T00:00:00Z", "metadata": {} });
    let answer = relay.stranger_calls().post("/messages", &body).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "data": {
        "is_new_user": true,
        "message_id": 1,
        "session_id": "[session]",
        "session_token": "[token]",
        "uid": "[uid]"
      },
      "message": "Message accepted",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
}

#[tokio::test]
async fn later_messages_of_a_session_are_answered_without_a_token() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("one").await;
    let body = json!({ "session_id": visitor.session(), "message": "two" });
    assert_json_snapshot!(masked(&visitor.calls().post("/messages", &body).await), @r#"
    {
      "data": {
        "is_new_user": false,
        "message_id": 2,
        "session_id": "[session]",
        "uid": "[uid]"
      },
      "message": "Message accepted",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
}

#[tokio::test]
async fn a_session_may_be_opened_under_a_name_that_is_free() {
    let relay = TestRelay::start().await;
    let body = json!({ "session_id": "my_own-Name1", "message": "hi" });
    let opened: MessageAccepted = relay.stranger_calls().post("/messages", &body).await.data();
    assert_eq!(opened.session_id.as_str(), "my_own-Name1");
    let token = opened.session_token.expect("a token");
    let calls = relay.stranger_calls().with_secret(&token);
    let transcript: Transcript = calls.get("/sessions/my_own-Name1/messages").await.data();
    assert_eq!(transcript.messages.len(), 1);
}

#[tokio::test]
async fn replies_come_oldest_first_with_a_cursor() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let path = format!("/responses/{}", visitor.session());
    assert_json_snapshot!(masked(&visitor.calls().get(&path).await), @r#"
    {
      "data": {
        "cursor": "3",
        "responses": [
          {
            "id": 2,
            "message_id": 1,
            "role": "agent",
            "text": "hello",
            "timestamp": "[time]"
          },
          {
            "id": 3,
            "message_id": null,
            "role": "agent",
            "text": "anything else?",
            "timestamp": "[time]"
          }
        ]
      },
      "message": "Responses",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
    let rest = visitor.calls().get(&format!("{path}?after=3")).await;
    assert_json_snapshot!(masked(&rest), @r#"
    {
      "data": {
        "cursor": "3",
        "responses": []
      },
      "message": "Responses",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
}

#[tokio::test]
async fn a_reply_comes_with_what_it_offers_to_answer() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let reply = json!({
        "session_id": visitor.session(), "response": "Shall I?", "quick_replies": ["Yes", "No"],
    });
    relay.poller_calls().post("/outbox", &reply).await.data::<Value>();
    let path = format!("/responses/{}", visitor.session());
    let answer = masked(&visitor.calls().get(&path).await);
    assert_json_snapshot!(answer["data"]["responses"][0], @r#"
    {
      "id": 2,
      "message_id": null,
      "quick_replies": [
        "Yes",
        "No"
      ],
      "role": "agent",
      "text": "Shall I?",
      "timestamp": "[time]"
    }
    "#);
}

#[tokio::test]
async fn feedback_is_answered_with_the_rating_and_shown_with_the_reply() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let feedback = json!({ "rating": "up", "comment": "That <b>helped</b>." });
    let answer = visitor.calls().post("/messages/2/feedback", &feedback).await;
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "data": {
        "rating": "up"
      },
      "message": "Feedback taken",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
    let path = format!("/sessions/{}/messages", visitor.session());
    let transcript = masked(&visitor.calls().get(&path).await);
    assert_json_snapshot!(transcript["data"]["messages"][1], @r#"
    {
      "comment": "That <b>helped</b>.",
      "id": 2,
      "message_id": 1,
      "rating": "up",
      "role": "agent",
      "text": "hello",
      "timestamp": "[time]"
    }
    "#);
    let taken_back = visitor.calls().post("/messages/2/feedback", &json!({ "rating": null })).await;
    assert_json_snapshot!(masked(&taken_back)["data"], @r#"
    {
      "rating": null
    }
    "#);
}

#[tokio::test]
async fn a_transcript_holds_both_sides() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let path = format!("/sessions/{}/messages", visitor.session());
    assert_json_snapshot!(masked(&visitor.calls().get(&path).await), @r#"
    {
      "data": {
        "cursor": "3",
        "has_more": false,
        "messages": [
          {
            "id": 1,
            "message_id": null,
            "role": "visitor",
            "text": "hi",
            "timestamp": "[time]"
          },
          {
            "id": 2,
            "message_id": 1,
            "role": "agent",
            "text": "hello",
            "timestamp": "[time]"
          },
          {
            "id": 3,
            "message_id": null,
            "role": "agent",
            "text": "anything else?",
            "timestamp": "[time]"
          }
        ]
      },
      "message": "Transcript",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
}

#[tokio::test]
async fn the_event_stream_is_made_for_proxies_and_tells_both_sides() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let path = format!("/sessions/{}/events", visitor.session());
    let answer = visitor.calls().request(Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    assert_eq!(answer.headers()["cache-control"], "no-cache, no-transform");
    assert!(answer.headers().contains_key("x-request-id"));
    let events: Vec<_> = events(answer).take(3).collect().await;
    assert_json_snapshot!(events, @r#"
    [
      {
        "data": {
          "id": 1,
          "message_id": null,
          "role": "visitor",
          "text": "hi",
          "timestamp": "[time]"
        },
        "event": "message",
        "id": "1"
      },
      {
        "data": {
          "id": 2,
          "message_id": 1,
          "role": "agent",
          "text": "hello",
          "timestamp": "[time]"
        },
        "event": "message",
        "id": "2"
      },
      {
        "data": {
          "id": 3,
          "message_id": null,
          "role": "agent",
          "text": "anything else?",
          "timestamp": "[time]"
        },
        "event": "message",
        "id": "3"
      }
    ]
    "#);
}

#[tokio::test]
async fn a_lease_is_extended_given_back_and_answered() {
    let relay = TestRelay::start().await;
    let poller = relay.poller_calls();
    relay.visitor().send_with("hi", json!({ "page": "/prices" })).await;

    let leased = poller.post("/inbox/lease", &json!({})).await;
    assert_json_snapshot!(masked(&leased), @r#"
    {
      "data": {
        "messages": [
          {
            "attempts": 1,
            "id": 1,
            "lease_id": "[lease]",
            "message": "hi",
            "metadata": {
              "page": "/prices"
            },
            "session_id": "[session]",
            "timestamp": "[time]",
            "uid": "[uid]",
            "visitor": {
              "state": "anonymous"
            }
          }
        ]
      },
      "message": "Leased",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
    let lease_id = leased.json()["data"]["messages"][0]["lease_id"].clone();
    let extend = json!({ "lease_id": lease_id, "lease_seconds": 60 });
    assert_json_snapshot!(masked(&poller.post("/inbox/1/extend", &extend).await), @r#"
    {
      "data": {
        "cancelled": false
      },
      "message": "Lease extended",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
    let nack = json!({ "lease_id": lease_id, "error": "no model" });
    assert_json_snapshot!(masked(&poller.post("/inbox/1/nack", &nack).await), @r#"
    {
      "data": {
        "dead_letter": false
      },
      "message": "Message given back",
      "success": true,
      "timestamp": "[time]"
    }
    "#);

    let again = &poller.lease(&json!({})).await[0];
    let reply = json!({
        "session_id": again.session_id, "response": "hello", "message_id": again.id,
        "lease_id": again.lease_id, "timestamp": "2026-01-01T00:00:00Z",
    });
    assert_json_snapshot!(masked(&poller.post("/outbox", &reply).await), @r#"
    {
      "data": {
        "response_id": 2
      },
      "message": "Reply stored",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
    let empty = poller.post("/inbox/lease", &json!({})).await;
    assert_json_snapshot!(masked(&empty), @r#"
    {
      "data": {
        "messages": []
      },
      "message": "Leased",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
}

#[tokio::test]
async fn the_inbox_is_looked_at_without_leasing() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send_with("one", json!({ "page": "/prices" })).await;
    visitor.send("two").await;
    let page = relay.poller_calls().get("/inbox?limit=1").await;
    assert_json_snapshot!(masked(&page), @r#"
    {
      "data": {
        "messages": [
          {
            "attempts": 0,
            "id": 1,
            "message": "one",
            "metadata": {
              "page": "/prices"
            },
            "session_id": "[session]",
            "timestamp": "[time]",
            "uid": "[uid]",
            "visitor": {
              "state": "anonymous"
            }
          }
        ],
        "pagination": {
          "has_more": true,
          "limit": 1,
          "offset": 0,
          "total": 2
        }
      },
      "message": "Open messages",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
    let rest: Inbox = relay.poller_calls().get("/inbox?limit=1&offset=1").await.data();
    assert_eq!(rest.messages[0].message, "two");
    assert!(!rest.pagination.has_more);
    assert_eq!(relay.poller_calls().lease(&json!({})).await[0].attempts, 1);
}

#[tokio::test]
async fn the_operator_sees_sessions_and_what_was_said() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let operator = relay.operator_calls();
    assert_json_snapshot!(masked(&operator.get("/sessions").await), @r#"
    {
      "data": {
        "pagination": {
          "has_more": false,
          "limit": 50,
          "offset": 0,
          "total": 1
        },
        "sessions": [
          {
            "created_at": "[time]",
            "id": "[session]",
            "ip_address": "127.0.0.1",
            "last_active": "[time]",
            "message_count": 1,
            "metadata": {},
            "ratings": {
              "down": 0,
              "up": 0
            },
            "response_count": 2,
            "site": "default",
            "uid": "[uid]",
            "visitor": {
              "state": "anonymous"
            }
          }
        ]
      },
      "message": "Sessions",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
    let detail = operator.get(&format!("/sessions/{}?limit=2", visitor.session())).await;
    assert_json_snapshot!(masked(&detail), @r#"
    {
      "data": {
        "messages": [
          {
            "id": 1,
            "message_id": null,
            "role": "visitor",
            "text": "hi",
            "timestamp": "[time]"
          },
          {
            "id": 2,
            "message_id": 1,
            "role": "agent",
            "text": "hello",
            "timestamp": "[time]"
          }
        ],
        "pagination": {
          "has_more": true,
          "limit": 2,
          "offset": 0,
          "total": 3
        },
        "session": {
          "created_at": "[time]",
          "id": "[session]",
          "ip_address": "127.0.0.1",
          "last_active": "[time]",
          "message_count": 1,
          "metadata": {},
          "ratings": {
            "down": 0,
            "up": 0
          },
          "response_count": 2,
          "site": "default",
          "uid": "[uid]",
          "visitor": {
            "state": "anonymous"
          }
        }
      },
      "message": "Session",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
    let path = format!("/sessions/{}?limit=2&offset=2", visitor.session());
    let rest: SessionDetail = operator.get(&path).await.data();
    assert_eq!(rest.messages.len(), 1);
    assert!(!rest.pagination.has_more);
}

#[tokio::test]
async fn health_is_told_without_a_key() {
    let relay = TestRelay::start().await;
    let answer = relay.stranger_calls().get("//health").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "data": {
        "store_writable": true,
        "version": "[version]"
      },
      "message": "The relay can store messages",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
}

#[tokio::test]
async fn an_agent_may_speak_of_its_own_accord() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let reply = json!({ "session_id": visitor.session(), "response": "anything else?" });
    relay.poller_calls().post("/outbox", &reply).await.data::<Value>();
    let entry = visitor.next_reply_entry().await;
    assert_eq!((entry.role, entry.message_id), (Role::Agent, None));
    assert_eq!(relay.poller_calls().lease(&json!({})).await.len(), 1, "nothing was answered");
}
