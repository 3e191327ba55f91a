//! The openai agent against a service that speaks the real protocol and is cut anywhere.

use std::time::Duration;

use postern_poller::agent::{Agent, AgentError, Speaker};
use serde_json::json;

use crate::server::{Server, Then, answer, chunks, stream};
use crate::support::{agent, question, question_after, soon};

const KEY: &str = "sk-a-key-that-must-not-show";

/// A stream with all that services put into theirs: a comment, a role without text, text of
/// characters of one to four bytes, null and missing content, reasoning, both kinds of line end,
/// usage without a choice.
const STREAM: &str = concat!(
    ": OPENROUTER PROCESSING\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"Hm.\",\"content\":null}}]}\r\n\r\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"Ein Törchen \"},\"finish_reason\":\"\"}]}\n\n",
    "data:{\"choices\":[{\"delta\":{\"content\":\"für 5 €: \"}}],\"error\":null}\n\n",
    "event: message\nid: 5\ndata: {\"choices\":[{\"delta\":{\"content\":\"門 🚪\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"total_tokens\":9}}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n",
);

const REPLY: &str = "Ein Törchen für 5 €: 門 🚪";

fn asking(server: &Server) -> Agent {
    let base = format!("{}/v1/", server.url());
    agent(&["--agent", "openai", "--openai-model", "small", "--openai-base-url", &base])
}

/// What the agent makes of one answer.
async fn outcome(answer: Vec<u8>) -> Result<String, AgentError> {
    let server = Server::start(answer).await;
    soon(asking(&server).answer(&question("What is a postern?"))).await
}

/// An event with a piece of text.
fn event(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"delta": {"content": text}}]}))
}

/// An event that ends the reply.
fn end(finish_reason: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"delta": {}, "finish_reason": finish_reason}]}))
}

#[tokio::test]
async fn a_cut_at_any_byte_changes_nothing() {
    let cuts = (0..=STREAM.len()).map(|at| STREAM.as_bytes().split_at(at));
    let answers = cuts.map(|(left, right)| stream([left, right])).collect();
    let server = Server::start_and(answers, Then::Close).await;
    let agent = asking(&server);
    for at in 0..=STREAM.len() {
        let reply = soon(agent.answer(&question("What is a postern?"))).await;
        assert_eq!(reply.unwrap(), REPLY, "cut at byte {at}");
    }
}

#[tokio::test]
async fn bytes_may_come_one_by_one() {
    assert_eq!(outcome(stream(STREAM.as_bytes().chunks(1))).await.unwrap(), REPLY);
}

#[tokio::test]
async fn a_stream_that_ends_before_its_reply_is_retried_wherever_it_ends() {
    let whole = STREAM.find(r#""stop""#).unwrap();
    let pieces = || (0..whole).map(|at| STREAM.as_bytes().split_at(at).0);
    let ended = pieces().map(|piece| stream([piece])).collect();
    let dropped = pieces().map(|piece| chunks([piece])).collect();
    for answers in [ended, dropped] {
        let server = Server::start_and(answers, Then::Close).await;
        let agent = asking(&server);
        for at in 0..whole {
            let error = soon(agent.answer(&question("Hi"))).await.unwrap_err();
            let cut_off = matches!(error, AgentError::BrokenOff | AgentError::Network { .. });
            assert!(cut_off && error.is_retryable(), "cut at byte {at}: {error}");
        }
    }
}

#[tokio::test]
async fn either_end_mark_will_do() {
    let text = event("A small gate.");
    for end in ["data: [DONE]\n\n", &end("stop"), &end("length"), &end("eos")] {
        let answer = chunks([text.as_bytes(), end.as_bytes()]);
        assert_eq!(outcome(answer).await.unwrap(), "A small gate.", "{end}");
    }
}

#[tokio::test]
async fn the_reply_does_not_wait_for_the_connections_end() {
    let answer = chunks([event("A small gate.").as_bytes(), b"data: [DONE]\n\n"]);
    let server = Server::start_and(vec![answer], Then::WaitForTheCallerToLeave).await;
    assert_eq!(soon(asking(&server).answer(&question("Hi"))).await.unwrap(), "A small gate.");
}

#[tokio::test]
async fn some_ends_are_failures() {
    let text = event("A small");
    for (reason, retryable) in [("content_filter", false), ("error", true), ("abort", true)] {
        let answer = stream([text.as_bytes(), end(reason).as_bytes()]);
        assert_eq!(outcome(answer).await.unwrap_err().is_retryable(), retryable, "{reason}");
    }
    let error = outcome(stream([end("stop").as_bytes()])).await.unwrap_err();
    assert!(matches!(error, AgentError::Blank), "{error}");
}

#[tokio::test]
async fn a_service_that_does_not_stream_works_too() {
    let json = ["content-type: application/json; charset=utf-8"];
    let body = json!({
        "object": "chat.completion",
        "choices": [{"message": {"role": "assistant", "content": REPLY}, "finish_reason": "stop"}],
        "usage": {"total_tokens": 9},
    });
    assert_eq!(outcome(answer("200 OK", &json, body.to_string())).await.unwrap(), REPLY);
}

#[tokio::test]
async fn the_conversation_arrives_in_order() {
    let mut server = Server::start(stream([STREAM.as_bytes()])).await;
    let base = format!("{}/v1", server.url());
    let agent = agent(&[
        "--agent",
        "openai",
        "--openai-model",
        "small",
        "--openai-base-url",
        &base,
        "--system-prompt",
        "Be brief.",
    ]);
    let said = [(Speaker::User, "Hi"), (Speaker::Assistant, "Hello"), (Speaker::User, "Well?")];
    soon(agent.answer(&question_after(&said, "What is a postern?"))).await.unwrap();
    let request = server.request().await;
    assert!(request.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", request.head);
    let expected = json!({
        "model": "small",
        "stream": true,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Well?"},
            {"role": "user", "content": "What is a postern?"},
        ],
    });
    assert_eq!(request.body, expected);
}

#[tokio::test]
async fn the_key_is_sent_and_never_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{KEY}\n")).unwrap();
    let body = json!({"error": {"message": format!("Incorrect API key: {KEY}\u{1b}[0m\nGo away")}});
    let mut server = Server::start(answer("401 Unauthorized", &[], body.to_string())).await;
    let agent = agent(&[
        "--agent",
        "openai",
        "--openai-model",
        "small",
        "--openai-base-url",
        &server.url(),
        "--openai-api-key-file",
        file.path().to_str().unwrap(),
    ]);
    let error = soon(agent.answer(&question("Hi"))).await.unwrap_err();
    let request = server.request().await;
    assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    let expected = format!(
        "{} answered 401: Incorrect API key: … [0m Go away (check OPENAI_API_KEY)",
        server.url()
    );
    assert_eq!(error.to_string(), expected);
    assert!(!format!("{error:?} {agent:?}").contains(KEY));
}

#[tokio::test]
async fn a_refusal_says_what_to_check_and_what_the_service_said() {
    for (status, body, check) in [
        ("400 Bad Request", r#"{"object":"error","message":"too long","code":400}"#, "fits"),
        ("401 Unauthorized", r#"{"error":{"message":"too long"}}"#, "check OPENAI_API_KEY"),
        ("403 Forbidden", r#"{"error":"too long"}"#, "check OPENAI_API_KEY"),
        ("404 Not Found", r#"{"detail":"too long"}"#, "--openai-base-url and --openai-model"),
    ] {
        let error = outcome(answer(status, &[], body)).await.unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.contains(": too long (") && sentence.contains(check), "{sentence}");
        assert!(!error.is_retryable(), "{sentence}");
    }
}

#[tokio::test]
async fn too_many_requests_are_retried_when_the_service_says() {
    let headers = ["retry-after: 12"];
    let error = outcome(answer("429 Too Many Requests", &headers, "{}")).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(12)));
}

#[tokio::test]
async fn a_failure_in_the_middle_of_the_stream_is_no_reply() {
    for (failure, retryable) in [
        (json!({"message": "out of memory", "type": "server_error", "code": null}), true),
        (json!({"message": "out of memory", "code": 503}), true),
        (json!({"message": "out of memory", "code": 400}), false),
        (json!("out of memory"), true),
    ] {
        let failure = format!("data: {}\n\n", json!({"error": failure}));
        let answer = stream([event("A small").as_bytes(), failure.as_bytes(), b"data: [DONE]\n\n"]);
        let error = outcome(answer).await.unwrap_err();
        assert!(error.to_string().contains("out of memory"), "{error}");
        assert_eq!(error.is_retryable(), retryable, "{failure}");
    }
}

#[tokio::test]
async fn what_is_no_chat_completion_fails_for_good() {
    let html = answer("200 OK", &["content-type: text/html"], "<h1>Welcome</h1>");
    let error = outcome(html).await.unwrap_err();
    assert!(error.to_string().ends_with(r#"answered "text/html" (check --openai-base-url)"#));
    assert!(!error.is_retryable());
    for event in [&b"data: {]\n\n"[..], b"data: 5\n\n", b"data: \xff\n\n"] {
        assert!(!outcome(stream([event])).await.unwrap_err().is_retryable());
    }
}

#[tokio::test]
async fn a_reply_without_end_is_left() {
    let piece = event(&"x".repeat(64 * 1024));
    let pieces = [piece.as_bytes(); 5];
    let mut server = Server::start_and(vec![chunks(pieces)], Then::WaitForTheCallerToLeave).await;
    let error = soon(asking(&server).answer(&question("Hi"))).await.unwrap_err();
    assert!(matches!(error, AgentError::TooLong { limit_bytes: 262_144 }), "{error}");
    server.departure().await;
}

#[tokio::test]
async fn a_model_may_think_for_longer_than_it_speaks() {
    let thought = json!({"choices": [{"delta": {"reasoning_content": "x".repeat(64 * 1024)}}]});
    let thought = format!("data: {thought}\n\n");
    let (text, end) = (event("A small gate."), end("stop"));
    let thoughts = [thought.as_bytes(); 64];
    let answer = stream(thoughts.into_iter().chain([text.as_bytes(), end.as_bytes()]));
    assert_eq!(outcome(answer).await.unwrap(), "A small gate.");
}

#[tokio::test]
async fn an_event_without_end_is_left() {
    let piece = [b'x'; 64 * 1024];
    let mut server =
        Server::start_and(vec![chunks([&piece[..]; 64])], Then::WaitForTheCallerToLeave).await;
    let error = soon(asking(&server).answer(&question("Hi"))).await.unwrap_err();
    assert!(error.to_string().ends_with("answered an event without an end"), "{error}");
    server.departure().await;
}

#[tokio::test]
async fn a_dropped_question_closes_the_stream() {
    let answer = chunks([event("A small").as_bytes()]);
    let mut server = Server::start_and(vec![answer], Then::WaitForTheCallerToLeave).await;
    let asked = tokio::spawn({
        let agent = asking(&server);
        async move { agent.answer(&question("Hi")).await }
    });
    server.request().await;
    asked.abort();
    server.departure().await;
}
