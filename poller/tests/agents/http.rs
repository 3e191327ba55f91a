//! The http agent against a service that answers well, badly and not at all.

use std::time::Duration;

use postern_poller::agent::{Agent, AgentError, Draft, Speaker};

use crate::server::{Server, Then, answer};
use crate::support::{agent, question, question_after, soon};

fn asking(server: &Server) -> Agent {
    agent(&["--agent", "http", "--http-url", &server.url()])
}

/// What the agent makes of one answer.
async fn outcome(answer: Vec<u8>) -> Result<String, AgentError> {
    let server = Server::start(answer).await;
    soon(asking(&server).answer(&question("What is a postern?"))).await
}

#[tokio::test]
async fn the_service_is_sent_the_whole_question() {
    let mut server = Server::start(answer("200 OK", &[], "Hello")).await;
    let said = [(Speaker::User, "Hi"), (Speaker::Assistant, "Hello")];
    let question = question_after(&said, "What is a postern?");
    soon(asking(&server).answer(&question)).await.unwrap();
    let request = server.request().await;
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.body, serde_json::to_value(&question).unwrap());
}

#[tokio::test]
async fn text_and_json_are_replies() {
    let json = ["content-type: application/json; charset=utf-8"];
    let reply = outcome(answer("200 OK", &json, r#"{"reply":"A small g\u0061te.","model":1}"#));
    assert_eq!(reply.await.unwrap(), "A small gate.");
    for headers in [&["content-type: text/plain"][..], &["content-type: TEXT/HTML"], &[]] {
        let reply = outcome(answer("201 Created", headers, "A small gäte.\r\n"));
        assert_eq!(reply.await.unwrap(), "A small gäte.");
    }
}

#[tokio::test]
async fn quick_replies_come_with_the_reply_and_never_lose_it() {
    let json = ["content-type: application/json"];
    for (offered, texts, cut) in [
        (r#"["Yes", "No"]"#, vec!["Yes", "No"], false),
        ("null", vec![], false),
        (r#""Yes""#, vec!["Yes"], false),
        (r#"["Yes", 5, " "]"#, vec!["Yes"], true),
        ("5", vec![], true),
    ] {
        let body = format!(r#"{{"reply": "Are you?", "quick_replies": {offered}}}"#);
        let server = Server::start(answer("200 OK", &json, body)).await;
        let draft = Draft::default();
        let reply = asking(&server).write_answer(&question("Hi"), &draft).await.unwrap();
        assert_eq!(reply, "Are you?");
        let offered = draft.quick_replies();
        assert_eq!(
            (offered.texts, offered.cut),
            (texts.into_iter().map(Into::into).collect(), cut)
        );
    }
}

#[tokio::test]
async fn an_answer_without_a_reply_fails_for_good() {
    let json = ["content-type: application/json"];
    for body in [r#"{"reply":5}"#, r#"{"answer":"A small gate."}"#, r#""A small gate.""#, "{"] {
        let error = outcome(answer("200 OK", &json, body)).await.unwrap_err();
        assert!(error.to_string().ends_with(r#"answered JSON without a text field "reply""#));
        assert!(!error.is_retryable());
    }
    let error = outcome(answer("200 OK", &["content-type: image/png"], "PNG")).await.unwrap_err();
    assert!(error.to_string().contains(r#""image/png""#), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_blank_reply_is_a_failure() {
    let error = outcome(answer("200 OK", &[], " \n\n")).await.unwrap_err();
    assert!(matches!(error, AgentError::Blank), "{error}");
}

#[tokio::test]
async fn the_callers_faults_are_final_and_the_services_are_not() {
    for (status, retryable) in [
        ("400 Bad Request", false),
        ("401 Unauthorized", false),
        ("404 Not Found", false),
        ("408 Request Timeout", true),
        ("429 Too Many Requests", true),
        ("500 Internal Server Error", true),
        ("503 Service Unavailable", true),
    ] {
        let error = outcome(answer(status, &[], "")).await.unwrap_err();
        assert_eq!(error.is_retryable(), retryable, "{error}");
        assert!(error.to_string().contains(&status[..3]), "{error}");
    }
}

#[tokio::test]
async fn retry_after_is_taken_as_seconds_or_date_and_capped() {
    for (header, expected) in [
        ("retry-after: 7", Some(7)),
        ("retry-after: 999999999999", Some(3_600)),
        ("retry-after: Tue, 31 Dec 2999 23:59:59 GMT", Some(3_600)),
        ("retry-after: Wed, 21 Oct 2015 07:28:00 GMT", Some(0)),
        ("retry-after: soon", None),
    ] {
        let error = outcome(answer("429 Too Many Requests", &[header], "")).await.unwrap_err();
        assert_eq!(error.retry_after(), expected.map(Duration::from_secs), "{header}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut elsewhere = Server::start(answer("200 OK", &[], "stolen")).await;
    let location = format!("location: {}", elsewhere.url());
    for status in ["302 Found", "307 Temporary Redirect"] {
        let error = outcome(answer(status, &[&location], "")).await.unwrap_err();
        assert!(error.to_string().ends_with("(redirects are not followed)"), "{error}");
        assert!(!error.is_retryable());
    }
    assert!(elsewhere.is_idle());
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read_to_its_end() {
    let json = ["content-type: application/json", "content-length: 99999999999"];
    let text = ["content-type: text/plain", "content-length: 99999999999"];
    // JSON may hold files too.
    for (headers, limit) in [(json, 18_415_616), (text, 262_144)] {
        let mut endless = answer("200 OK", &headers, "x".repeat(20 * 1024 * 1024));
        // Only the length that announces more than comes is to stay.
        let told = b"content-length: 20971520\r\n";
        let at = endless.windows(told.len()).position(|bytes| bytes == told).unwrap();
        endless.drain(at..at + told.len());
        let mut server = Server::start_and(vec![endless], Then::WaitForTheCallerToLeave).await;
        let error = soon(asking(&server).answer(&question("Hi"))).await.unwrap_err();
        assert!(matches!(error, AgentError::TooLong { limit_bytes } if limit_bytes == limit));
        assert!(!error.is_retryable());
        server.departure().await;
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named_and_may_come_back() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://me:secret@{}/?key=secret", listener.local_addr().unwrap());
    drop(listener);
    let agent = agent(&["--agent", "http", "--http-url", &url]);
    let error = soon(agent.answer(&question("Hi"))).await.unwrap_err();
    assert!(error.is_retryable());
    let sentence = error.to_string();
    assert!(sentence.contains("Connection refused"), "{sentence}");
    assert!(sentence.starts_with("http://127.0.0.1:"), "{sentence}");
    assert!(!sentence.contains("secret"), "{sentence}");
}

#[tokio::test]
async fn a_service_that_says_nothing_is_left_in_time() {
    let mut server = Server::start_and(vec![], Then::WaitForTheCallerToLeave).await;
    let agent = agent(&["--agent", "http", "--http-url", &server.url(), "--agent-timeout", "0.1"]);
    let error = soon(agent.answer(&question("Hi"))).await.unwrap_err();
    assert_eq!(error.to_string(), "the agent gave no reply within 100ms");
    assert!(error.is_retryable());
    server.departure().await;
}

#[tokio::test]
async fn the_visitors_words_are_not_in_the_error() {
    let json = ["content-type: application/json"];
    let body = r#"{"detail":"cannot parse What is a postern?\nat line 1"}"#;
    let error = outcome(answer("422 Unprocessable Content", &json, body)).await.unwrap_err();
    let sentence = error.to_string();
    assert!(sentence.ends_with("answered 422: cannot parse … at line 1"), "{sentence}");
}
