//! What stands in fields: none of it is ever run, and no answer goes to another session.

use std::fs;
use std::path::Path;

use postern_tests::{HostileRelay, eventually};
use serde_json::{Value, json};

use crate::support::{Poller, hands_out, leased, ok, said};

/// Notes what it was started with and what it was given, each in a file of its own.
const WITNESS: &str = r#"run=$NOTES/$$; tr '\0' '\n' < /proc/$$/cmdline > $run.arguments
    env | sort > $run.environment; cat > $run.input; echo fine"#;

/// Whatever a shell would run, and ways out of quotes and folders.
fn shell_code(mark: &Path) -> String {
    let touch = format!("touch {}", mark.display());
    format!(
        "$({touch}) `{touch}`; {touch}\n{touch} & | {touch} ' {touch}; \" {touch};\r\n%0a{touch}"
    )
}

fn full_of(code: &str) -> Value {
    let mut message = leased(2, "-rf", code);
    message["lease_id"] = json!("--help");
    message["metadata"] =
        json!({ code: code, "PATH": "/tmp", "LD_PRELOAD": code, "nested": [code] });
    message["visitor"] = json!({ "state": "verified", "sub": code, "name": code, "email": code });
    message
}

fn notes(folder: &Path, kind: &str) -> Vec<String> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|found| found == kind));
    paths.map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[tokio::test]
async fn a_program_gets_what_was_sent_on_its_input_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let code = shell_code(&mark);
    let hostile = full_of(&code);
    let messages = [leased(1, "plain", "hi"), hostile.clone()];
    let relay = HostileRelay::start(hands_out(vec![ok(&json!({ "messages": messages }))])).await;
    let command = format!("NOTES={}; {WITNESS}", folder.path().display());
    let _poller = Poller::start(&relay, &["--agent", "exec", "--exec", &command]);
    eventually("both runs", async || {
        notes(folder.path(), "input").iter().filter(|x| x.ends_with('\n')).count() == 2
    })
    .await;

    let arguments = notes(folder.path(), "arguments");
    assert_eq!(arguments[0], arguments[1]);
    assert!(arguments[0].contains(WITNESS) && !arguments[0].contains("touch"), "{arguments:?}");
    let environments: Vec<_> =
        notes(folder.path(), "environment").iter().map(|one| without_reply_folder(one)).collect();
    assert_eq!(environments[0], environments[1]);
    assert!(!environments[0].contains("touch"), "{environments:?}");

    let inputs = notes(folder.path(), "input");
    let input = inputs.iter().find(|input| input.contains("touch")).unwrap();
    let input: Value = serde_json::from_str(input).unwrap();
    assert_eq!((&input["message"], &input["metadata"]), (&json!(code), &hostile["metadata"]));
    relay.serves_once_it_is_honest().await;
    assert!(!mark.exists(), "something was run");
}

/// The one variable that differs holds a number that the relay chose, and nothing else of its.
fn without_reply_folder(environment: &str) -> String {
    let (folder, others): (Vec<_>, Vec<_>) =
        environment.lines().partition(|line| line.starts_with("POSTERN_REPLY_FILES="));
    let folder = folder[0].strip_suffix("/reply").unwrap();
    assert!(folder.ends_with("/poller.db.files/1") || folder.ends_with("/poller.db.files/2"));
    others.join("\n")
}

#[tokio::test]
async fn a_number_that_two_sessions_have_brings_no_answer_to_the_other() {
    let (first, second) = (leased(1, "first", "of first"), leased(1, "second", "of second"));
    let again = leased(1, "first", "of first");
    let answers = [json!([first]), json!([second, again]), json!([second])];
    let answers = answers.map(|messages| ok(&json!({ "messages": messages })));
    let mut relay = HostileRelay::start(hands_out(answers.into())).await;
    // Each answer comes while the former message is with the agent.
    let slow =
        r#"read -r question; sleep 0.2; echo "$question" | sed 's/.*"message":"\([^"]*\).*/\1/'"#;
    let _poller = Poller::start(&relay, &["--agent", "exec", "--exec", slow]);
    loop {
        let reply = said(&relay.next_call("/outbox").await);
        let session = reply["session_id"].as_str().unwrap();
        assert_eq!(reply["response"], format!("of {session}"));
        if session == "second" {
            break;
        }
    }
    relay.serves_once_it_is_honest().await;
}
