//! What only looks odd is kept as it was sent.

use postern_tests::TestRelay;
use serde_json::{Value, json};

use crate::support::reply_to;

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
