//! What the README shows works as it stands there.

use std::process::Stdio;

use postern_tests::{API_KEY, TestRelay};
use tokio::process::Command;

#[tokio::test]
async fn the_wire_by_curl_works_as_written() {
    let readme = include_str!("../../README.md");
    let (_, after) =
        readme.split_once("<!-- tests/tests/readme.rs runs the next block -->\n```sh\n").unwrap();
    let (script, _) = after.split_once("```").unwrap();
    let relay = TestRelay::start().await;
    let output = Command::new("bash")
        .args(["-euc", script])
        .env("relay", relay.url())
        .env("POSTERN_API_KEY", API_KEY)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("\"success\":false"), "{said}");
    assert!(
        said.contains(r#""responses":[{"id":2,"role":"agent","text":"Until six.","message_id":1"#)
    );
    assert!(said.contains("event: message\nid: 2\ndata: {"), "{said}");
}
