//! Bodies: each field by name, and each body as a whole.

use futures_util::stream;
use postern_relay::config::Limits;
use postern_shared::ErrorType;
use postern_shared::poller::{LeasedMessage, ReplyStored};
use postern_shared::visitor::MessageAccepted;
use postern_tests::{Answer, Caller, TestRelay};
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{leased, nothing, stored};

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
