//! Several visitors hold a conversation of several turns with a real program that knows only what
//! each question's history tells it.

use postern_tests::{TestPoller, TestRelay, Visitor};

#[tokio::test]
async fn several_visitors_converse_with_a_program_that_uses_its_history() {
    let relay = TestRelay::start().await;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/agents/memory.mjs");
    let command = format!("exec node '{program}'");
    let _poller = TestPoller::start(&relay, &["--agent", "exec", "--exec", &command]);

    let names = ["Ada", "Bert & Söhne", "李", "\"Dot\"\\n"];
    let conversations = names.map(|name| tokio::spawn(converse(relay.visitor(), name)));
    for conversation in conversations {
        conversation.await.unwrap();
    }
}

async fn converse(mut visitor: Visitor, name: &'static str) {
    assert_eq!(ask(&mut visitor, "Who am I?").await, "You have not told me.");
    assert_eq!(ask(&mut visitor, &format!("I am {name}")).await, "Noted, as number 2.");
    assert_eq!(ask(&mut visitor, "Who am I?").await, format!("You are {name}."));
    let all = ask(&mut visitor, "What did I say?").await;
    assert_eq!(all, format!("1. Who am I?\n2. I am {name}\n3. Who am I?"));
}

async fn ask(visitor: &mut Visitor, text: &str) -> String {
    visitor.send(text).await;
    visitor.next_reply().await
}
