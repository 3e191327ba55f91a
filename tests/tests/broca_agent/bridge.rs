//! From the visitor to Broca and back.

use std::collections::HashSet;

use futures_util::future::join_all;
use postern_shared::visitor::MessageState;
use postern_tests::{TestPoller, TestRelay, binary, eventually, short_leases};
use serde_json::Value;

use crate::sanctum::{Processor, Sanctum};

fn start(relay: &TestRelay, sanctum: &Sanctum) -> TestPoller {
    let flags = sanctum.flags(&[]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    TestPoller::start(relay, &flags)
}

#[tokio::test]
async fn a_visitor_talks_to_broca() {
    let (relay, sanctum) = (TestRelay::start().await, Sanctum::filled());
    let _poller = start(&relay, &sanctum);
    let _processor = Processor::echo(&sanctum);
    let mut visitor = relay.visitor();
    for text in ["one", "two", "three"] {
        visitor.send(text).await;
        assert_eq!(visitor.next_reply().await, format!("re {text}"));
    }
    assert_eq!(sanctum.messages(), ["one", "two", "three"]);
}

#[tokio::test]
async fn a_visitor_stops_what_broca_has_not_begun() {
    let (relay, sanctum) = (TestRelay::start().await, Sanctum::filled());
    let _poller = start(&relay, &sanctum);
    let mut visitor = relay.visitor();
    let message = visitor.send("never mind").await;
    sanctum.has_queue(&["pending"]).await;
    visitor.cancel(message).await;
    assert!(visitor.next_reply_entry().await.stopped);
    sanctum.has_queue(&["flushed"]).await;
    let _processor = Processor::echo(&sanctum);
    visitor.send("but this").await;
    assert_eq!(visitor.next_reply().await, "re but this");
    assert_eq!(sanctum.queue(), ["flushed", "completed"]);
}

#[tokio::test]
async fn a_visitor_is_told_when_broca_gives_up() {
    let (relay, sanctum) = (TestRelay::start().await, Sanctum::filled());
    let _poller = start(&relay, &sanctum);
    let _processor = Processor::start(&sanctum, |text| (text != "bad").then(|| "good".to_owned()));
    let mut visitor = relay.visitor();
    visitor.send("bad").await;
    visitor.sees_state(MessageState::Failed).await;
    visitor.send("another").await;
    eventually("the reply", async || {
        visitor.transcript().await.messages.iter().any(|entry| entry.text == "good")
    })
    .await;
    assert_eq!(sanctum.queue(), ["failed", "completed"]);
}

#[tokio::test]
async fn eight_pollers_queue_each_message_once_and_each_visitor_as_one_user() {
    let (relay, sanctum) = (TestRelay::start().await, Sanctum::filled());
    let flags = sanctum.flags(&[]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut pollers: Vec<_> =
        (0..8).map(|_| TestPoller::at(&relay.url(), &flags, short_leases())).collect();
    let _processor = Processor::echo(&sanctum);
    let visitors = (0..8).map(async |number| {
        let mut visitor = relay.visitor();
        for turn in 0..4 {
            visitor.send(&format!("{number}.{turn}")).await;
            assert_eq!(visitor.next_reply().await, format!("re {number}.{turn}"));
        }
    });
    let restarts = async {
        for poller in &mut pollers {
            poller.abort().await;
            poller.start_again();
        }
    };
    tokio::join!(join_all(visitors), restarts);
    let messages = sanctum.messages();
    assert_eq!((messages.len(), sanctum.queue()), (32, vec!["completed".to_owned(); 32]));
    assert_eq!(messages.into_iter().collect::<HashSet<_>>().len(), 32);
    assert_eq!(sanctum.value::<i64>("SELECT count(*) FROM letta_users WHERE id > 1"), 8);
}

#[tokio::test]
async fn the_doctor_tells_what_is_wrong_with_the_database() {
    let (relay, sanctum) = (TestRelay::start().await, Sanctum::filled());
    let _processor = Processor::echo(&sanctum);
    assert_eq!(doctor(&relay, &sanctum).await, (true, "the agent answers".to_owned()));
    sanctum.execute("ALTER TABLE messages DROP COLUMN agent_response", []);
    let path = sanctum.path();
    let sentence = "the table messages has no column agent_response";
    let sentence = format!("the agent's database {}: {sentence}", path.display());
    assert_eq!(doctor(&relay, &sanctum).await, (false, sentence));
}

/// What the doctor finds of the agent, but not how long it takes.
async fn doctor(relay: &TestRelay, sanctum: &Sanctum) -> (bool, String) {
    let queue = sanctum.path().with_file_name("doctor.db");
    let output = tokio::process::Command::new(binary("postern-poller"))
        .args(["doctor", "--json", "--relay", &relay.url()])
        .args(["--queue", queue.to_str().unwrap()])
        .args(sanctum.flags(&[]))
        .env("POSTERN_API_KEY", postern_tests::API_KEY)
        .output()
        .await
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let findings = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let finding = findings.into_iter().find(|finding| finding["check"] == "agent").unwrap();
    let sentence = finding["sentence"].as_str().unwrap();
    let sentence = sentence.split(", in ").next().unwrap();
    (finding["ok"] == true, sentence.to_owned())
}
