//! A real client: aiohttp, as `./check` installs it from PyPI beside what is built.

use std::path::PathBuf;
use std::process::Stdio;

use postern_tests::{API_KEY, TestRelay, soon};
use serde_json::Value;
use tokio::process::Command;

use crate::support::{LONG, relay};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/aiohttp/broca.py");

/// The Python that has aiohttp.
fn python() -> Option<PathBuf> {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.parent()?.join("aiohttp");
    folder.join(".installed-from").exists().then(|| folder.join("bin/python"))
}

/// What the program prints of its conversation.
async fn converse(relay: &TestRelay, prefix: &str) -> Option<Value> {
    let Some(python) = python() else {
        eprintln!("skipped: aiohttp is not there; ./check installs it, with Debian's python3-venv");
        return None;
    };
    let url = format!("{}{prefix}", relay.url());
    let mut command = Command::new(python);
    command.arg(PROGRAM).args([&url, API_KEY]).stdin(Stdio::null()).kill_on_drop(true);
    let output = soon("the program's end", command.output()).await.expect("a program that starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[tokio::test]
async fn a_program_with_aiohttp_fetches_and_replies_and_reads() {
    for prefix in ["", "/chat"] {
        let relay = relay(LONG);
        let Some(told) = converse(&relay, prefix).await else { return };
        assert_eq!(told["fetched"], serde_json::json!(["one", "two", "three"]));
        assert_eq!(told["shown"], serde_json::json!(["re: one", "re: two", "re: three"]));
        assert_eq!(told["left"], 0);
    }
}
