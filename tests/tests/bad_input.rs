//! Bad input: each malformed request is refused with a sentence that names the field, and stores
//! nothing; what only looks odd is kept as it was sent.

use futures_util::stream;
use postern_relay::config::Limits;
use postern_shared::poller::{LeasedMessage, ReplyStored};
use postern_shared::visitor::MessageAccepted;
use postern_shared::{ErrorType, IDEMPOTENCY_KEY};
use postern_tests::{Answer, Caller, TestRelay, Visitor};
use reqwest::header::HeaderValue;
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};

const NOT_TEXT: &[&str] =
    &["1", "-1.5", "true", "[]", "{}", "[\"x\"]", "1e999", "18446744073709551616"];
const NOT_AN_OBJECT: &[&str] = &["1", "true", "[]", "\"x\"", "[[1]]"];
const NOT_A_NUMBER: &[&str] =
    &["\"1\"", "true", "[]", "{}", "1.5", "-1", "1e999", "4294967296", "18446744073709551616"];
const NOT_AN_ID: &[&str] =
    &["\"1\"", "true", "[]", "{}", "1.5", "1e999", "9223372036854775808", "18446744073709551616"];
const NOT_AN_OFFSET: &[&str] =
    &["\"1\"", "true", "[]", "{}", "1.5", "-1", "1e999", "18446744073709551616"];
const TOO_MANY_WORDS: &[&str] = &[concat!(
    "\"",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "x\""
)];
/// Not ids; one that was never given out.
const NOT_FILES: &[&str] =
    &["1", "\"a\"", "{}", "[1]", "[null]", "[\"a b\"]", "[\"\"]", "[\"never-given-out\"]"];
/// Not texts; eleven of them; one that is blank; one of more than 80 characters.
const NOT_QUICK_REPLIES: &[&str] = &[
    "1",
    "\"Yes\"",
    "{}",
    "[1]",
    "[null]",
    "[[\"Yes\"]]",
    "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\"]",
    "[\"Yes\",\" \"]",
    concat!(
        "[\"",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"]"
    ),
];
const NOT_A_BOOL: &[&str] = &["0", "1", "\"true\"", "[]", "{}"];
const NOT_A_TOKEN: &[&str] = &[
    "\"\"",
    "\"a b\"",
    "\"a/b\"",
    "\"ä\"",
    "\"a\\u0000\"",
    "\"a\\n\"",
    "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"",
];
const NOT_A_MOMENT: &[&str] = &[
    "\"\"",
    "\"yesterday\"",
    "\"2026-13-01T00:00:00Z\"",
    "\"2026-01-01\"",
    "\"2026-01-01T00:00:00\"",
    "\"99999-01-01T00:00:00Z\"",
];
const BLANK: &[&str] = &["\"\"", "\" \"", "\"\\n\\t\\r\"", "\"\\u00a0\\u3000\""];
const NULL: &[&str] = &["null"];
const MOMENT: &str = "\"2026-01-01T00:00:00Z\"";

/// One call's body: its fields, and for each what it must not be.
struct Call {
    caller: Caller,
    path: String,
    fields: Vec<Field>,
}

/// A field with a value in raw JSON that is right, and sets of values that are wrong.
struct Field {
    name: &'static str,
    good: String,
    bad: Vec<&'static [&'static str]>,
}

impl Call {
    /// The body with one field's value replaced; raw, since not every value fits a JSON library.
    fn body_with(&self, name: &str, value: &str) -> String {
        let fields = self.fields.iter().map(|field| {
            let value = if field.name == name { value } else { &field.good };
            format!("\"{}\":{value}", field.name)
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }

    fn body(&self) -> String {
        self.body_with("", "")
    }

    fn body_without(&self, name: &str) -> String {
        let fields = self.fields.iter().filter(|field| field.name != name);
        let fields = fields.map(|field| format!("\"{}\":{}", field.name, field.good));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }

    async fn post(&self, body: impl Into<Vec<u8>>) -> Answer {
        self.caller.post_bytes(&self.path, body).await
    }
}

#[tokio::test]
async fn each_field_of_each_body_is_refused_by_name() {
    let relay = TestRelay::start().await;
    let calls = calls(&relay).await;
    let before = stored(&relay).await;
    for call in &calls {
        for field in &call.fields {
            for value in field.bad.iter().copied().flatten() {
                let answer = call.post(call.body_with(field.name, value)).await;
                let failure = answer.failure();
                let shown = format!("{}: {} = {value}: {}", call.path, field.name, failure.error);
                assert_eq!(
                    (failure.code, failure.kind),
                    (400, ErrorType::InvalidRequest),
                    "{shown}"
                );
                assert!(failure.error.starts_with(field.name), "{shown}");
                assert!(failure.error.len() < 300, "{shown}");
            }
        }
    }
    assert_eq!(stored(&relay).await, before);
    // With nothing replaced each is taken: it was the one field that was refused.
    for call in &calls {
        call.post(call.body()).await.data::<Value>();
    }
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let relay = TestRelay::start().await;
    let calls = calls(&relay).await;
    let before = stored(&relay).await;
    let missing = [
        ("/messages", "message"),
        ("/feedback", "rating"),
        ("/extend", "lease_id"),
        ("/extend", "lease_seconds"),
        ("/chunks", "lease_id"),
        ("/chunks", "offset"),
        ("/chunks", "text"),
        ("/nack", "lease_id"),
        ("/nack", "error"),
        ("/outbox", "session_id"),
        ("/outbox", "response"),
    ];
    for (path, field) in missing {
        let call = calls.iter().find(|call| call.path.ends_with(path)).unwrap();
        let failure = call.post(call.body_without(field)).await.failure();
        assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest));
        assert!(failure.error.contains(&format!("missing field `{field}`")), "{}", failure.error);
    }
    assert_eq!(stored(&relay).await, before);
}

#[tokio::test]
async fn a_field_given_twice_is_refused_by_name() {
    let relay = TestRelay::start().await;
    let calls = calls(&relay).await;
    let before = stored(&relay).await;
    for call in &calls {
        for field in &call.fields {
            let mut body = call.body();
            body.truncate(body.len() - 1);
            body = format!("{body},\"{}\":{}}}", field.name, field.good);
            let failure = call.post(body).await.failure();
            assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest));
            let named = failure.error.contains(&format!("duplicate field `{}`", field.name));
            assert!(named, "{}: {}", call.path, failure.error);
        }
    }
    let escaped = r#"{"message":"one","\u006dessage":"two"}"#;
    let failure = relay.stranger_calls().post_bytes("/messages", escaped).await.failure();
    assert!(failure.error.contains("duplicate field `message`"), "{}", failure.error);
    assert_eq!(stored(&relay).await, before);
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let relay = TestRelay::start().await;
    let calls = calls(&relay).await;
    let before = stored(&relay).await;
    let bodies: [&[u8]; 12] = [
        b"",
        b" \n",
        b"null",
        b"1",
        b"true",
        b"\"message\"",
        b"[]",
        b"[null,\"hi\"]",
        b"[{}]",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b"message=hi&session_id=s1",
    ];
    for call in &calls {
        for body in bodies {
            let failure = call.post(body).await.failure();
            let shown = format!("{}: {}: {}", call.path, body.escape_ascii(), failure.error);
            assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest), "{shown}");
            let named = failure.error.contains("the body") || failure.error.contains("the request");
            assert!(named, "{shown}");
        }
        let two = format!("{0}{0}", call.body());
        let failure = call.post(two).await.failure();
        assert_eq!(failure.code, 400, "two bodies in one: {}", failure.error);
        assert!(failure.error.starts_with("the body is not JSON"), "{}", failure.error);
    }
    assert_eq!(stored(&relay).await, before);
}

#[tokio::test]
async fn broken_json_is_refused() {
    let relay = TestRelay::start().await;
    let broken = [
        "{",
        "{]",
        "{\"",
        "{\"mess",
        "{\"message\"",
        "{\"message\":\"hi\",",
        "{\"message\":\"hi\",}",
        "{\"other\":",
        "{'message':'hi'}",
        "{message:1}",
    ];
    for body in broken {
        let failure = relay.stranger_calls().post_bytes("/messages", body).await.failure();
        let shown = format!("{body}: {}", failure.error);
        assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest), "{shown}");
        let names = ["the body", "the request", "message", "other"];
        assert!(names.iter().any(|name| failure.error.starts_with(name)), "{shown}");
    }
    assert_eq!(stored(&relay).await, nothing());
}

#[tokio::test]
async fn text_that_is_no_unicode_is_refused() {
    let relay = TestRelay::start().await;
    let broken: [&[u8]; 8] = [
        b"\"\xff\"",
        b"\"\xc3\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf0\x9f\xa6\"",
        b"\"\xc0\xaf\"",
        b"\"\\ud800\"",
        b"\"\\udc00\\ud800\"",
        b"\"a\x00b\"",
    ];
    for text in broken {
        let body = [b"{\"message\":".as_slice(), text, b"}"].concat();
        let failure = relay.stranger_calls().post_bytes("/messages", body).await.failure();
        let shown = format!("{}: {}", text.escape_ascii(), failure.error);
        assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest), "{shown}");
        assert!(failure.error.starts_with("message "), "{shown}");
    }
    assert_eq!(stored(&relay).await, nothing());
}

#[tokio::test]
async fn text_that_is_no_unicode_is_refused_in_an_unknown_field_too() {
    let relay = TestRelay::start().await;
    let body = b"{\"message\":\"hi\",\"other\":\"\xff\"}";
    let answer = relay.stranger_calls().post_bytes("/messages", body.as_slice()).await;
    assert_eq!(answer.failure().kind, ErrorType::InvalidRequest);
    assert_eq!(stored(&relay).await, nothing());
}

#[tokio::test]
async fn deep_json_is_refused() {
    let limits = Limits { max_body_bytes: 1 << 20, ..Limits::default() };
    let relay = TestRelay::with(limits);
    let lists = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let open = "{\"a\":[".repeat(100_000);
    for metadata in [lists, objects, open] {
        let body = format!("{{\"message\":\"hi\",\"metadata\":{metadata}}}");
        let failure = relay.stranger_calls().post_bytes("/messages", body).await.failure();
        assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest));
        assert!(failure.error.starts_with("metadata"), "{}", failure.error);
    }
    assert_eq!(stored(&relay).await, nothing());
}

#[tokio::test]
async fn a_refusal_stays_a_sentence_however_long_the_field() {
    let relay = TestRelay::start().await;
    let nested = format!("{}1{}", "{\"long_name\":".repeat(200), "}".repeat(200));
    let text = format!("\"{}\"", "x".repeat(60_000));
    for metadata in [nested, text] {
        let body = format!("{{\"message\":\"hi\",\"metadata\":{metadata}}}");
        let failure = relay.stranger_calls().post_bytes("/messages", body).await.failure();
        assert_eq!(failure.kind, ErrorType::InvalidRequest);
        assert!(failure.error.starts_with("metadata"), "{}", failure.error);
        assert!(failure.error.len() < 300, "{} bytes", failure.error.len());
    }
}

#[tokio::test]
async fn a_message_may_have_ten_thousand_characters_and_not_one_more() {
    let relay = TestRelay::start().await;
    for character in ["x", "ä", "🦀"] {
        let longest = character.repeat(10_000);
        relay.visitor().send(&longest).await;
        let longer = json!({ "message": longest + character });
        let failure = relay.stranger_calls().post("/messages", &longer).await.failure();
        assert_eq!(failure.kind, ErrorType::InvalidRequest);
        assert_eq!(failure.error, "message is longer than 10000 characters");
    }
    let leased = relay.poller_calls().lease(&json!({})).await;
    let lengths: Vec<_> = leased.iter().map(|message| message.message.chars().count()).collect();
    assert_eq!(lengths, [10_000; 3]);
}

#[tokio::test]
async fn a_reply_over_the_limit_is_refused() {
    let relay = TestRelay::with(Limits { max_reply_bytes: 10, ..Limits::default() });
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let before = stored(&relay).await;
    let poller = relay.poller_calls();
    let reply = |text: &str| json!({ "session_id": visitor.session(), "response": text });
    for long in ["12345678901", "ääääää", &"\0".repeat(11)] {
        let failure = poller.post("/outbox", &reply(long)).await.failure();
        assert_eq!(failure.kind, ErrorType::InvalidRequest);
        assert_eq!(failure.error, "response is longer than 10 bytes");
    }
    let answer = poller.post("/outbox", &reply(&"x".repeat(20_000))).await;
    assert_eq!(answer.failure().kind, ErrorType::PayloadTooLarge);
    assert_eq!(stored(&relay).await, before);
    for fits in ["1234567890", "äääää", &"\0".repeat(10)] {
        poller.post("/outbox", &reply(fits)).await.data::<Value>();
    }
}

#[tokio::test]
async fn a_body_may_have_64_kibibytes_and_not_one_more() {
    let relay = TestRelay::start().await;
    let padded = |bytes: usize| r#"{"message":"hi"}"#.to_owned() + &" ".repeat(bytes - 16);
    let calls = relay.stranger_calls();
    let request = || calls.request(Method::POST, "/messages");
    for bytes in [65_537, 100_000] {
        let chunks = padded(bytes).into_bytes();
        let chunks: Vec<_> =
            chunks.chunks(10_000).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect();
        let chunked = request().body(Body::wrap_stream(stream::iter(chunks)));
        for request in [request().body(padded(bytes)), chunked] {
            let failure = Answer::to(request).await.failure();
            assert_eq!((failure.code, failure.kind), (413, ErrorType::PayloadTooLarge));
            assert_eq!(failure.error, "the body is larger than 65536 bytes");
        }
    }
    assert_eq!(stored(&relay).await, nothing());
    calls.post_bytes("/messages", padded(65_536)).await.data::<Value>();
}

#[tokio::test]
async fn every_body_has_a_limit() {
    let relay = TestRelay::start().await;
    for call in calls(&relay).await {
        let body = format!("{{\"x\":\"{}\"}}", "x".repeat(2 << 20));
        let answer = call.post(body).await;
        assert_eq!(answer.failure().kind, ErrorType::PayloadTooLarge, "{}", call.path);
    }
}

#[tokio::test]
async fn a_body_far_over_the_limit_is_answered_too() {
    let relay = TestRelay::start().await;
    let answer = relay.stranger_calls().post_bytes("/messages", vec![b'x'; 32 << 20]).await;
    assert_eq!(answer.failure().kind, ErrorType::PayloadTooLarge);
}

#[tokio::test]
async fn a_strangers_body_is_not_read() {
    let relay = TestRelay::start().await;
    for path in ["/inbox/lease", "/inbox/1/extend", "/inbox/1/chunks", "/inbox/1/nack", "/outbox"] {
        let answer = relay.stranger_calls().post_bytes(path, vec![b'x'; 70_000]).await;
        assert_eq!(answer.failure().kind, ErrorType::Unauthorized, "{path}");
    }
}

#[tokio::test]
async fn each_field_of_each_query_is_refused_by_name() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let (page, session) = (visitor.calls().clone(), visitor.session().clone());
    let (poller, operator) = (relay.poller_calls(), relay.operator_calls());
    let numbers = ["-1", "x", "", "1.5", "1e999", "4294967296", "18446744073709551616", "%FF"];
    let limits = [&numbers[..], &["0", "101"]].concat();
    let moments = ["", "yesterday", "2026-01-01", "1", "2026-01-01T00:00:00", "%FF"];
    let flags = ["", "1", "yes", "TRUE"];
    let rows: [(&Caller, String, &str, &[&str]); 10] = [
        (&page, format!("/responses/{session}"), "wait", &[&numbers[..], &["31"]].concat()),
        (&page, format!("/responses/{session}"), "since", &moments),
        (&page, format!("/sessions/{session}/messages"), "limit", &limits),
        (&poller, "/inbox".to_owned(), "limit", &limits),
        (&poller, "/inbox".to_owned(), "offset", &numbers),
        (&poller, "/inbox".to_owned(), "since", &moments),
        (&operator, "/sessions".to_owned(), "limit", &limits),
        (&operator, "/sessions".to_owned(), "offset", &numbers),
        (&operator, "/sessions".to_owned(), "active", &flags),
        (&operator, format!("/sessions/{session}"), "limit", &limits),
    ];
    for (caller, path, field, values) in rows {
        for value in values {
            let path = format!("{path}?{field}={value}");
            let failure = caller.get(&path).await.failure();
            let shown = format!("{path}: {}", failure.error);
            assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest), "{shown}");
            assert!(failure.error.starts_with(field), "{shown}");
        }
        let failure = caller.get(&format!("{path}?{field}=1&{field}=1")).await.failure();
        assert_eq!(failure.code, 400, "{path}: {field} twice");
        assert!(failure.error.contains(field), "{path}: {}", failure.error);
    }
}

#[tokio::test]
async fn a_cursor_that_was_never_given_out_is_unknown() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    // Further on in the store, but in another session.
    relay.visitor().send("hi").await;
    for cursor in ["2", "3", "9223372036854775807"] {
        assert_unknown_cursor(&visitor, cursor).await;
    }
}

#[tokio::test]
async fn a_cursor_that_is_none_is_unknown() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    for cursor in ["-1", "x", "1.5", "1e3", "9223372036854775808"] {
        assert_unknown_cursor(&visitor, cursor).await;
        let path = format!("/sessions/{}/messages?before={cursor}", visitor.session());
        let failure = visitor.calls().get(&path).await.failure();
        assert_eq!((failure.code, failure.kind), (400, ErrorType::UnknownCursor), "{cursor}");
        assert!(failure.error.starts_with("before "), "{}", failure.error);
    }
}

#[tokio::test]
async fn a_session_id_in_a_path_is_refused_by_name() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let long = "x".repeat(65);
    for id in ["a%20b", "%C3%A4", "a%2Fb", "a%00", "a%2E", "a.b", &long] {
        let answers = [
            visitor.calls().get(&format!("/responses/{id}")).await,
            visitor.calls().get(&format!("/sessions/{id}/events")).await,
            visitor.calls().get(&format!("/sessions/{id}/messages")).await,
            relay.operator_calls().get(&format!("/sessions/{id}")).await,
        ];
        for answer in answers {
            let failure = answer.failure();
            assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest), "{id}");
            assert!(failure.error.starts_with("session_id must be"), "{}", failure.error);
        }
    }
    let failure = visitor.calls().get("/responses/%FF").await.failure();
    assert_eq!((failure.code, failure.error.as_str()), (400, "the path is not valid UTF-8"));
}

#[tokio::test]
async fn a_message_id_in_a_path_is_refused_by_name() {
    let relay = TestRelay::start().await;
    let body =
        json!({ "lease_id": "x", "lease_seconds": 1, "error": "x", "offset": 0, "text": "x" });
    for id in ["x", "1.5", "-", "1e999", "0x1", "%31%20", "9223372036854775808"] {
        for call in ["extend", "chunks", "nack"] {
            let path = format!("/inbox/{id}/{call}");
            let failure = relay.poller_calls().post(&path, &body).await.failure();
            assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest), "{path}");
            assert!(failure.error.starts_with("message_id must be"), "{}", failure.error);
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_is_refused_by_name() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let before = stored(&relay).await;
    let message = json!({ "message": "hi" });
    let reply = json!({ "session_id": visitor.session(), "response": "hello" });
    let (stranger, poller) = (relay.stranger_calls(), relay.poller_calls());
    let long = "k".repeat(256);
    let odd =
        ["", "a key with blanks in it", "schlüssel-lang-genug", "tab\tbed-long-enough", &long];
    for key in odd {
        let key = HeaderValue::from_bytes(key.as_bytes()).unwrap();
        for (caller, path, body) in
            [(&stranger, "/messages", &message), (&poller, "/outbox", &reply)]
        {
            let request = caller.request(Method::POST, path).header(IDEMPOTENCY_KEY, &key);
            let failure = Answer::to(request.json(body)).await.failure();
            assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest), "{key:?}");
            assert!(failure.error.starts_with("Idempotency-Key must be"), "{}", failure.error);
        }
    }
    assert_eq!(stored(&relay).await, before);
    stranger.with_key(&long[1..]).post("/messages", &message).await.data::<Value>();
    poller.with_key(&long[1..]).post("/outbox", &reply).await.data::<Value>();
    poller.with_key("k").post("/outbox", &reply).await.data::<Value>();
}

#[tokio::test]
async fn a_key_that_can_be_guessed_opens_no_session() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let before = stored(&relay).await;
    let stranger = relay.stranger_calls();
    for (caller, body) in [
        (&stranger, json!({ "message": "hi" })),
        (&stranger, json!({ "message": "hi", "session_id": "mine" })),
        (visitor.calls(), json!({ "message": "hi" })),
    ] {
        let answer = caller.with_key("fifteen-chars-x").post("/messages", &body).await;
        let failure = answer.failure();
        assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest));
        assert!(failure.error.starts_with("Idempotency-Key must have"), "{}", failure.error);
    }
    assert_eq!(stored(&relay).await, before);
    let body = json!({ "message": "two", "session_id": visitor.session() });
    visitor.calls().with_key("2").post("/messages", &body).await.data::<Value>();
    stranger
        .with_key("sixteen-chars-xx")
        .post("/messages", &json!({ "message": "hi" }))
        .await
        .data::<Value>();
}

#[tokio::test]
async fn a_key_that_can_be_guessed_opens_no_named_session_for_a_known_visitor_either() {
    let relay = TestRelay::start().await;
    let (mut visitor, mut thief) = (relay.visitor(), relay.visitor());
    visitor.send("hi").await;
    thief.send("hi").await;
    let body = json!({ "message": "hi", "session_id": "second" });
    let opened = visitor.calls().with_key("1").post("/messages", &body).await;
    let taken = thief.calls().with_key("1").post("/messages", &body).await;
    assert!(!taken.status.is_success(), "whoever guesses the key is given the session's token");
    assert_eq!(opened.failure().kind, ErrorType::InvalidRequest);
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let relay = TestRelay::start().await;
    for call in calls(&relay).await {
        let mut body = call.body();
        body.truncate(body.len() - 1);
        body += r#","other":{"deep":[1,null,"x"]},"other":1e999,"":null}"#;
        call.post(body).await.data::<Value>();
    }
    let answer = relay.operator_calls().get("/sessions?other=1&other=2").await;
    assert_eq!(answer.status, StatusCode::OK);
}

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

#[tokio::test]
async fn every_odd_text_is_kept_byte_for_byte() {
    let odd = [
        "a\0b",
        "\0 ",
        " leading and trailing \r\n",
        "\u{feff}with a mark",
        "one\ntwo\r\nthree\rfour\u{2028}five\u{2029}six\u{85}seven",
        "data: x\n\nevent: message\ndata: {}",
        "e\u{301} is not \u{e9}",
        "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽",
        "\u{202e}right to left\u{202c} \u{200f}",
        "\u{200b}",
        "\u{fffd}\u{ffff}\u{10ffff}\u{1}\u{7f}\u{9f}",
        "&#039; &amp; <script>alert(1)</script> \\u0041 \\\\ \"quoted\" 'too' `too`",
        "Robert'); DROP TABLE message;--",
        "{\"message\":\"in a message\"}",
        "Z\u{335}\u{321}a\u{335}l\u{334}g\u{337}o\u{338}",
    ];
    let relay = TestRelay::start().await;
    let poller = relay.poller_calls();
    for text in odd {
        let mut visitor = relay.visitor();
        let metadata = json!({ text: text, "list": [text, { text: null }] });
        visitor.send_with(text, metadata.clone()).await;
        let leased = poller.lease(&json!({})).await.remove(0);
        assert_eq!(leased.message, text);
        assert_eq!(Value::Object(leased.metadata.clone()), metadata);
        let mut reply = reply_to(&leased);
        reply["response"] = json!(text);
        poller.post("/outbox", &reply).await.data::<Value>();
        assert_eq!(visitor.next_entry().await.unwrap().text, text, "by event");
        assert_eq!(visitor.next_entry().await.unwrap().text, text, "by event");
        assert_eq!(visitor.poll("").await.responses[0].text, text, "by long poll");
        let texts: Vec<_> =
            visitor.transcript().await.messages.into_iter().map(|e| e.text).collect();
        assert_eq!(texts, [text, text], "by transcript");
    }
}

#[tokio::test]
async fn escaped_text_is_the_text_it_stands_for() {
    let relay = TestRelay::start().await;
    let body = r#"{"message":"\u0041\u0000\ud83e\udd80\/\u003c\n"}"#;
    relay.stranger_calls().post_bytes("/messages", body).await.data::<Value>();
    assert_eq!(relay.poller_calls().lease(&json!({})).await[0].message, "A\0🦀/<\n");
}

#[tokio::test]
async fn numbers_in_metadata_are_handed_on_as_they_are() {
    let relay = TestRelay::start().await;
    let numbers = "[0,-0.0,1.0,0.1,1e-7,1.7976931348623157e308,9007199254740993,\
                   18446744073709551615,-9223372036854775808,0.30000000000000004]";
    let body = format!("{{\"message\":\"hi\",\"metadata\":{{\"n\":{numbers}}}}}");
    relay.stranger_calls().post_bytes("/messages", body).await.data::<Value>();
    let leased = relay.poller_calls().post("/inbox/lease", &json!({})).await;
    let sent: Value = serde_json::from_str(numbers).unwrap();
    assert_eq!(leased.json()["data"]["messages"][0]["metadata"]["n"], sent);
}

/// Every call that takes a body, with messages under a lease for those that want one. Posted in
/// this order they all succeed.
async fn calls(relay: &TestRelay) -> Vec<Call> {
    let answered = leased(relay, &mut relay.visitor()).await;
    let given_back = leased(relay, &mut relay.visitor()).await;
    let replied = replied(relay).await;
    let message = vec![
        field("session_id", "\"fresh\"", &[NOT_TEXT, NOT_A_TOKEN]),
        field("message", "\"hi\"", &[NOT_TEXT, BLANK, NULL]),
        field("timestamp", MOMENT, &[NOT_TEXT, NOT_A_MOMENT]),
        field("metadata", "{}", &[NOT_AN_OBJECT]),
        field("files", "[]", &[NOT_FILES, NULL]),
    ];
    let lease = vec![
        field("limit", "1", &[NOT_A_NUMBER, &["0", "101"]]),
        field("wait_seconds", "0", &[NOT_A_NUMBER, &["31"]]),
        field("lease_seconds", "60", &[NOT_A_NUMBER, &["0", "3601"]]),
    ];
    let call = |caller, path: &str, fields| Call { caller, path: path.to_owned(), fields };
    let poller = || relay.poller_calls();
    vec![
        call(relay.stranger_calls(), "/messages", message),
        call(replied.caller, &format!("/messages/{}/feedback", replied.reply), feedback_fields()),
        call(poller(), "/inbox/lease", lease),
        call(poller(), &format!("/inbox/{}/extend", answered.id), extend_fields(&answered)),
        call(poller(), &format!("/inbox/{}/chunks", answered.id), chunk_fields(&answered)),
        call(poller(), "/outbox", reply_fields(&answered)),
        call(poller(), &format!("/inbox/{}/nack", given_back.id), nack_fields(&given_back)),
    ]
}

/// A visitor with a reply of the agent's own accord.
struct Replied {
    caller: Caller,
    reply: i64,
}

async fn replied(relay: &TestRelay) -> Replied {
    let opened = json!({ "message": "hi" });
    let opened: MessageAccepted = relay.stranger_calls().post("/messages", &opened).await.data();
    let reply = json!({ "session_id": opened.session_id, "response": "hello" });
    let stored: ReplyStored = relay.poller_calls().post("/outbox", &reply).await.data();
    let token = opened.session_token.expect("a token");
    Replied { caller: relay.stranger_calls().with_secret(&token), reply: stored.response_id.0 }
}

fn feedback_fields() -> Vec<Field> {
    vec![
        field("rating", "\"up\"", &[NOT_TEXT, &["\"UP\"", "\"\"", "\"sideways\"", "-1"]]),
        field("comment", "\"good\"", &[NOT_TEXT]),
    ]
}

fn extend_fields(leased: &LeasedMessage) -> Vec<Field> {
    vec![
        field("lease_id", &quoted(&leased.lease_id), &[NOT_TEXT, NOT_A_TOKEN, NULL]),
        field("lease_seconds", "60", &[NOT_A_NUMBER, &["0", "3601"], NULL]),
        field("wait_seconds", "0", &[NOT_A_NUMBER, &["31"]]),
    ]
}

fn chunk_fields(leased: &LeasedMessage) -> Vec<Field> {
    vec![
        field("lease_id", &quoted(&leased.lease_id), &[NOT_TEXT, NOT_A_TOKEN, NULL]),
        field("offset", "0", &[NOT_AN_OFFSET, NULL]),
        field("text", "\"hel\"", &[NOT_TEXT, NULL]),
        field("progress", "\"thinking\"", &[NOT_TEXT, TOO_MANY_WORDS]),
    ]
}

fn reply_fields(leased: &LeasedMessage) -> Vec<Field> {
    vec![
        field("session_id", &quoted(&leased.session_id), &[NOT_TEXT, NOT_A_TOKEN, NULL]),
        field("response", "\"hello\"", &[NOT_TEXT, BLANK, NULL]),
        field("message_id", &leased.id.to_string(), &[NOT_AN_ID]),
        field("lease_id", &quoted(&leased.lease_id), &[NOT_TEXT, NOT_A_TOKEN]),
        field("timestamp", MOMENT, &[NOT_TEXT, NOT_A_MOMENT]),
        field("stopped", "false", &[NOT_A_BOOL]),
        field("files", "[]", &[NOT_FILES, NULL]),
        field("quick_replies", "[\"Yes\", \"No\"]", &[NOT_QUICK_REPLIES, NULL]),
    ]
}

fn nack_fields(leased: &LeasedMessage) -> Vec<Field> {
    vec![
        field("lease_id", &quoted(&leased.lease_id), &[NOT_TEXT, NOT_A_TOKEN, NULL]),
        field("error", "\"busy\"", &[NOT_TEXT, NULL]),
        field("retry_after_seconds", "60", &[NOT_A_NUMBER, &["3601"]]),
        field("dead_letter", "false", &[NOT_A_BOOL]),
    ]
}

fn field(name: &'static str, good: &str, bad: &[&'static [&'static str]]) -> Field {
    Field { name, good: good.to_owned(), bad: bad.to_vec() }
}

fn quoted(id: &impl std::fmt::Display) -> String {
    format!("\"{id}\"")
}

/// A message of this visitor, leased.
async fn leased(relay: &TestRelay, visitor: &mut Visitor) -> LeasedMessage {
    let message = visitor.send("hi").await;
    let leased = relay.poller_calls().lease(&json!({})).await;
    leased.into_iter().find(|leased| leased.id == message).expect("the message")
}

fn reply_to(leased: &LeasedMessage) -> Value {
    json!({
        "session_id": leased.session_id, "response": "hello", "message_id": leased.id,
        "lease_id": leased.lease_id,
    })
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

async fn assert_unknown_cursor(visitor: &Visitor, cursor: &str) {
    let (calls, session) = (visitor.calls(), visitor.session());
    let stream = format!("/sessions/{session}/events");
    let resumed = calls.request(Method::GET, &stream).header("last-event-id", cursor);
    for answer in [
        calls.get(&format!("/responses/{session}?after={cursor}")).await,
        calls.get(&format!("{stream}?after={cursor}")).await,
        Answer::to(resumed).await,
    ] {
        let failure = answer.failure();
        assert_eq!(failure.code, 400, "{cursor}");
        assert_eq!(failure.kind, ErrorType::UnknownCursor, "{cursor}: {}", failure.error);
    }
}

/// All that the operator and the poller can see.
async fn stored(relay: &TestRelay) -> Value {
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

fn nothing() -> Value {
    json!({ "sessions": [], "inbox": [] })
}
