//! The calls for files: what they are answered with, and what each refusal looks like.

use insta::assert_json_snapshot;
use postern_relay::config::Limits;
use postern_shared::SessionId;
use postern_shared::files::{FileStored, SessionOpened};
use postern_tests::{Caller, TestRelay};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{assert_refused, masked};

async fn opened(relay: &TestRelay) -> (Caller, SessionId) {
    let opened: SessionOpened = relay.stranger_calls().post("/sessions", &json!({})).await.data();
    (relay.stranger_calls().with_secret(&opened.session_token), opened.session_id)
}

async fn send(caller: &Caller, session: &SessionId) -> FileStored {
    caller.send_file(session, "notes.txt", "text/plain", b"text").await.data()
}

#[tokio::test]
async fn a_session_is_opened_without_a_message() {
    let relay = TestRelay::start().await;
    let answer = relay.stranger_calls().post("/sessions", &json!({})).await;
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "data": {
        "is_new_user": true,
        "session_id": "[session]",
        "session_token": "[token]",
        "uid": "[uid]"
      },
      "message": "Session opened",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
}

#[tokio::test]
async fn a_file_is_answered_with_what_is_known_of_it() {
    let relay = TestRelay::start().await;
    let (visitor, session) = opened(&relay).await;
    let answer = visitor.send_file(&session, "my%20notes.txt", "Text/Plain; a=b", b"text").await;
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "data": {
        "file_id": "[file]",
        "name": "my notes.txt",
        "size_bytes": 4,
        "type": "text/plain"
      },
      "message": "File stored",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
}

#[tokio::test]
async fn files_are_listed_wherever_their_message_or_reply_is() {
    let relay = TestRelay::start().await;
    let (visitor, session) = opened(&relay).await;
    let file = send(&visitor, &session).await;
    let message = json!({ "session_id": session, "message": "", "files": [file.file_id] });
    visitor.post("/messages", &message).await.data::<Value>();
    let poller = relay.poller_calls();
    assert_json_snapshot!(masked(&poller.get("/inbox").await)["data"]["messages"][0], @r#"
    {
      "attempts": 0,
      "files": [
        {
          "id": "[file]",
          "name": "notes.txt",
          "size_bytes": 4,
          "type": "text/plain"
        }
      ],
      "id": 1,
      "message": "",
      "metadata": {},
      "session_id": "[session]",
      "timestamp": "[time]",
      "uid": "[uid]",
      "visitor": {
        "state": "anonymous"
      }
    }
    "#);
    let leased = poller.post("/inbox/lease", &json!({})).await;
    assert_json_snapshot!(masked(&leased)["data"]["messages"][0], @r#"
    {
      "attempts": 1,
      "files": [
        {
          "id": "[file]",
          "name": "notes.txt",
          "size_bytes": 4,
          "type": "text/plain"
        }
      ],
      "id": 1,
      "lease_id": "[lease]",
      "message": "",
      "metadata": {},
      "session_id": "[session]",
      "timestamp": "[time]",
      "uid": "[uid]",
      "visitor": {
        "state": "anonymous"
      }
    }
    "#);

    let chart = send(&poller, &session).await;
    let reply = json!({ "session_id": session, "response": "", "files": [chart.file_id] });
    poller.post("/outbox", &reply).await.data::<Value>();
    let responses = visitor.get(&format!("/responses/{session}")).await;
    assert_json_snapshot!(masked(&responses)["data"]["responses"][0], @r#"
    {
      "files": [
        {
          "id": "[file]",
          "name": "notes.txt",
          "size_bytes": 4,
          "type": "text/plain"
        }
      ],
      "id": 2,
      "message_id": null,
      "role": "agent",
      "text": "",
      "timestamp": "[time]"
    }
    "#);
    let path = format!("/sessions/{session}");
    let transcript = masked(&visitor.get(&format!("{path}/messages")).await);
    let seen = masked(&relay.operator_calls().get(&path).await);
    assert_eq!(transcript["data"]["messages"], seen["data"]["messages"]);
    assert_json_snapshot!(transcript["data"]["messages"], @r#"
    [
      {
        "files": [
          {
            "id": "[file]",
            "name": "notes.txt",
            "size_bytes": 4,
            "type": "text/plain"
          }
        ],
        "id": 1,
        "message_id": null,
        "role": "visitor",
        "text": "",
        "timestamp": "[time]"
      },
      {
        "files": [
          {
            "id": "[file]",
            "name": "notes.txt",
            "size_bytes": 4,
            "type": "text/plain"
          }
        ],
        "id": 2,
        "message_id": null,
        "role": "agent",
        "text": "",
        "timestamp": "[time]"
      }
    ]
    "#);
}

#[tokio::test]
async fn a_type_that_is_not_taken_is_invalid_request() {
    let relay = TestRelay::start().await;
    let (visitor, session) = opened(&relay).await;
    let answer = visitor.send_file(&session, "a.png", "image/png", b"<script>").await;
    assert_refused(&answer, StatusCode::BAD_REQUEST);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 400,
      "error": "Content-Type says image/png, and the body is something else",
      "success": false,
      "timestamp": "[time]",
      "type": "invalid_request"
    }
    "#);
}

#[tokio::test]
async fn a_file_over_the_limit_is_too_large() {
    let relay = TestRelay::with(Limits { max_file_bytes: 3, ..Limits::default() });
    let (visitor, session) = opened(&relay).await;
    let answer = visitor.send_file(&session, "a.txt", "text/plain", b"text").await;
    assert_refused(&answer, StatusCode::PAYLOAD_TOO_LARGE);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 413,
      "error": "the body is larger than 3 bytes",
      "success": false,
      "timestamp": "[time]",
      "type": "payload_too_large"
    }
    "#);
}

#[tokio::test]
async fn too_many_files_say_whether_to_send_fewer_or_to_send_some_first() {
    let relay = TestRelay::with(Limits { max_files_per_message: 1, ..Limits::default() });
    let (visitor, session) = opened(&relay).await;
    let files = [send(&visitor, &session).await.file_id, send(&visitor, &session).await.file_id];
    let message = json!({ "session_id": session, "message": "look", "files": files });
    let answer = visitor.post("/messages", &message).await;
    assert_refused(&answer, StatusCode::BAD_REQUEST);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 400,
      "error": "files must be at most 1",
      "success": false,
      "timestamp": "[time]",
      "type": "too_many_files"
    }
    "#);
    let answer = visitor.send_file(&session, "a.txt", "text/plain", b"text").await;
    assert_refused(&answer, StatusCode::CONFLICT);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 409,
      "error": "too many files of this session wait for a message: send it before the next file",
      "success": false,
      "timestamp": "[time]",
      "type": "too_many_files"
    }
    "#);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_found_and_goes_with_nothing() {
    let relay = TestRelay::start().await;
    let (visitor, session) = opened(&relay).await;
    let answer = visitor.get(&format!("/sessions/{session}/files/nothing")).await;
    assert_refused(&answer, StatusCode::NOT_FOUND);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 404,
      "error": "file_id names no file of this session",
      "success": false,
      "timestamp": "[time]",
      "type": "not_found"
    }
    "#);
    let message = json!({ "session_id": session, "message": "look", "files": ["nothing"] });
    let answer = visitor.post("/messages", &message).await;
    assert_refused(&answer, StatusCode::BAD_REQUEST);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 400,
      "error": "files names a file that was not sent to this session, or went with another message",
      "success": false,
      "timestamp": "[time]",
      "type": "invalid_request"
    }
    "#);
}
