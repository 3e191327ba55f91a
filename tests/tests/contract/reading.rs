//! Pages, cursors and moments: what reading calls show and never hide.

use futures_util::StreamExt;
use postern_shared::Timestamp;
use postern_shared::operator::{SessionDetail, Sessions};
use postern_shared::poller::Inbox;
use postern_shared::visitor::{Responses, Transcript};
use postern_tests::{ADMIN_KEY, API_KEY, TestRelay, soon};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{self, Instant};

use crate::support::{answered, events, names, open, texts};

#[tokio::test]
async fn a_transcript_is_paged_backwards() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    for text in ["one", "two", "three", "four", "five"] {
        visitor.send(text).await;
    }
    let path = format!("/sessions/{}/messages", visitor.session());
    let page = async |query: &str| -> Transcript {
        visitor.calls().get(&format!("{path}?limit=2{query}")).await.data()
    };
    let pages = [("", vec!["four", "five"]), ("&before=4", vec!["two", "three"])];
    for (query, wanted) in pages {
        let page = page(query).await;
        assert_eq!(texts(&page.messages), wanted);
        assert!(page.has_more);
        assert_eq!(page.cursor.to_string(), "5");
    }
    let oldest = page("&before=2").await;
    assert_eq!(texts(&oldest.messages), ["one"]);
    assert!(!oldest.has_more);
    assert!(!page("&before=3").await.has_more, "exactly a page is the last page");
}

#[tokio::test]
async fn a_long_conversation_is_read_from_every_place_in_both_directions() {
    let relay = TestRelay::start().await;
    let (mut visitor, mut neighbour) = (relay.visitor(), relay.visitor());
    visitor.send("hi").await;
    neighbour.send("hi").await;
    // More than a session's row has room for, and more than one row of earlier ones.
    for number in 0..70 {
        for session in [visitor.session(), neighbour.session()] {
            let reply = json!({ "session_id": session, "response": format!("{number}") });
            relay.poller_calls().post("/outbox", &reply).await.data::<Value>();
        }
    }
    let path = format!("/sessions/{}/messages", visitor.session());
    let whole: Transcript = visitor.calls().get(&format!("{path}?limit=100")).await.data();
    let said: Vec<_> = (0..70).map(|number| number.to_string()).collect();
    assert_eq!(texts(&whole.messages)[1..], said);
    for (place, entry) in whole.messages.iter().enumerate() {
        let (before, after) = (&whole.messages[..place], &whole.messages[place + 1..]);
        for limit in [1, 7, 50] {
            let older = format!("{path}?limit={limit}&before={}", entry.id);
            let page: Transcript = visitor.calls().get(&older).await.data();
            assert_eq!(page.messages, before[before.len().saturating_sub(limit)..]);
            assert_eq!(page.has_more, before.len() > limit);
        }
        let replies = visitor.poll(&format!("after={}", entry.id)).await.responses;
        assert_eq!(texts(&replies), texts(after));
    }
    let page: SessionDetail = relay
        .operator_calls()
        .get(&format!("/sessions/{}?limit=40&offset=20", visitor.session()))
        .await
        .data();
    assert_eq!(page.messages, whole.messages[20..60]);
    assert_eq!(page.pagination.total, 71);
}

#[tokio::test]
async fn sessions_are_paged_newest_first() {
    let relay = TestRelay::start().await;
    for name in ["s1", "s2", "s3"] {
        let body = json!({ "session_id": name, "message": "hi" });
        relay.stranger_calls().post("/messages", &body).await.data::<Value>();
    }
    let page = async |query: &str| -> Sessions {
        relay.operator_calls().get(&format!("/sessions?{query}")).await.data()
    };
    let first = page("limit=2").await;
    assert_eq!(names(&first), ["s3", "s2"]);
    assert!(first.pagination.has_more);
    let last = page("limit=2&offset=2").await;
    assert_eq!(names(&last), ["s1"]);
    assert!(!last.pagination.has_more);
    assert_eq!((last.pagination.total, last.pagination.offset), (3, 2));
    let beyond = page("offset=3").await;
    assert!(beyond.sessions.is_empty() && !beyond.pagination.has_more);
}

#[tokio::test]
async fn sessions_in_which_nothing_was_said_for_long_are_not_active() {
    let mut relay = TestRelay::start().await;
    for name in ["quiet", "lively"] {
        let body = json!({ "session_id": name, "message": "hi" });
        relay.stranger_calls().post("/messages", &body).await.data::<Value>();
    }
    relay.stop().await;
    let file = rusqlite::Connection::open(relay.file("relay.db")).unwrap();
    let long_ago = "UPDATE session SET last_active = last_active - 31 * 60000
                    WHERE public_id = 'quiet'";
    assert_eq!(file.execute(long_ago, []).unwrap(), 1);
    drop(file);
    relay.start_again();
    let list = async |query: &str| -> Sessions {
        relay.operator_calls().get(&format!("/sessions{query}")).await.data()
    };
    let active = list("?active=true").await;
    assert_eq!((names(&active), active.pagination.total), (vec!["lively"], 1));
    assert_eq!(names(&list("?active=false").await), ["lively", "quiet"]);
    assert_eq!(names(&list("").await), ["lively", "quiet"]);
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_lives_before_anyone_takes_it_for_dead() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let path = format!("/sessions/{}/events", visitor.session());
    let mut stream = visitor.calls().request(Method::GET, &path).send().await.unwrap();
    let mut told = async || stream.chunk().await.unwrap().unwrap();
    // From here on time leaps to whatever is next.
    time::pause();
    while told().await != ": keep-alive\n\n" {}
    for _ in 0..3 {
        let silent_since = Instant::now();
        assert_eq!(told().await, ": keep-alive\n\n");
        assert_eq!(silent_since.elapsed().as_secs(), 25);
    }
}

#[tokio::test]
async fn a_stream_goes_on_after_a_cursor() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let path = format!("/sessions/{}/events", visitor.session());
    let first = async |query: &str, last_event_id: &str| {
        let request = visitor.calls().request(Method::GET, &format!("{path}{query}"));
        let request = request.header("last-event-id", last_event_id);
        let mut events = Box::pin(events(request.send().await.unwrap()));
        soon("an event", events.next()).await.unwrap()["id"].clone()
    };
    assert_eq!(first("", "").await, "1");
    assert_eq!(first("?after=0", "").await, "1");
    assert_eq!(first("?after=1", "").await, "2");
    assert_eq!(first("", "2").await, "3");
    // A browser that reconnects repeats the address it began with: where it came to goes first.
    assert_eq!(first("?after=1", "2").await, "3");
}

#[tokio::test]
async fn a_held_call_for_replies_ends_when_one_comes() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let reply = json!({ "session_id": visitor.session(), "response": "one more thing" });
    let poller = relay.poller_calls();
    let held = visitor.poll("after=3&wait=30");
    let (held, _) = tokio::join!(held, poller.post("/outbox", &reply));
    assert_eq!(texts(&held.responses), ["one more thing"]);
    assert_eq!(held.cursor.to_string(), "4");
}

#[tokio::test]
async fn replies_since_a_moment_include_that_moment_and_hide_nothing() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let said = visitor.poll("").await.responses;
    let since =
        async |moment: Timestamp| -> Responses { visitor.poll(&format!("since={moment}")).await };
    for reply in &said {
        let found = since(reply.timestamp).await.responses;
        let wanted = said.iter().filter(|other| other.timestamp >= reply.timestamp);
        assert_eq!(found, wanted.cloned().collect::<Vec<_>>());
    }
    assert_eq!(since("1970-01-01T00:00:00Z".parse().unwrap()).await.responses, said);
    let none = since("2999-01-01T00:00:00Z".parse().unwrap()).await;
    assert_eq!((none.responses.len(), none.cursor.to_string()), (0, "3".to_owned()));
    // With both, the cursor decides: it is the exact one.
    let both = visitor.poll("after=2&since=1970-01-01T00:00:00Z").await;
    assert_eq!(both.responses, said[1..]);
}

#[tokio::test]
async fn the_inbox_since_a_moment_includes_that_moment() {
    let relay = TestRelay::start().await;
    for text in ["one", "two", "three"] {
        open(&relay.stranger_calls(), text).await;
    }
    let all: Inbox = relay.poller_calls().get("/inbox").await.data();
    let since = async |moment: Timestamp| -> Inbox {
        relay.poller_calls().get(&format!("/inbox?since={moment}")).await.data()
    };
    for message in &all.messages {
        let found = since(message.timestamp).await;
        let wanted = all.messages.iter().filter(|other| other.timestamp >= message.timestamp);
        assert_eq!(found.messages, wanted.cloned().collect::<Vec<_>>());
        assert_eq!(found.pagination.total, found.messages.len() as u64);
    }
    let none = since("2999-01-01T00:00:00Z".parse().unwrap()).await;
    assert_eq!((none.messages.len(), none.pagination.total), (0, 0));
}

#[tokio::test]
async fn metrics_tell_the_operator_how_much_and_never_what() {
    let relay = TestRelay::start().await;
    let calls = relay.stranger_calls();
    let opened = open(&calls, "a text nobody else may read").await;
    let token = opened.session_token.as_deref().unwrap();
    let session = opened.session_id.as_str();
    calls.with_secret(token).get(&format!("/responses/{session}")).await.data::<Responses>();
    calls.get(&format!("/{session}")).await;

    let answer = relay.operator_calls().get("//metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("postern_relay_messages_total 1\n"), "{text}");
    assert!(text.contains("postern_relay_open_messages 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    for secret in [token, session, opened.uid.as_str(), "nobody else", API_KEY, ADMIN_KEY] {
        assert!(!text.contains(secret), "{secret} is in the metrics");
    }
}
