//! Settings that describe no agent are refused in a sentence that names the flag.

use crate::support::{agent, configure, question, soon};

fn refusal(flags: &[&str]) -> String {
    configure(flags).expect_err("the flags describe no agent").to_string()
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(
        refusal(&[]),
        "no agent is chosen: --agent (POSTERN_AGENT) takes echo, exec, http, openai or broca"
    );
    assert_eq!(refusal(&["--agent", "exec"]), "--agent exec needs --exec 'CMD'");
    assert_eq!(refusal(&["--agent", "exec", "--exec", "  "]), "--agent exec needs --exec 'CMD'");
    assert_eq!(refusal(&["--agent", "http"]), "--agent http needs --http-url URL");
    assert_eq!(refusal(&["--agent", "openai"]), "--agent openai needs --openai-model NAME");
    assert_eq!(refusal(&["--agent", "broca"]), "--agent broca needs --broca-db PATH");
}

#[test]
fn urls_that_cannot_be_used_are_refused_without_showing_them() {
    for url in ["", "localhost:1", "ftp://key@host", "http://"] {
        let sentence = refusal(&["--agent", "http", "--http-url", url]);
        assert_eq!(sentence, "--http-url must be an http:// or https:// URL", "{url}");
        let flags = ["--agent", "openai", "--openai-model", "m", "--openai-base-url", url];
        assert!(refusal(&flags).starts_with("--openai-base-url must be"), "{url}");
        let flags = ["--agent", "broca", "--broca-db", "sanctum.db", "--letta-url", url];
        assert!(refusal(&flags).starts_with("--letta-url must be"), "{url}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_named_and_not_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "two\nlines").unwrap();
    let path = file.path().to_str().unwrap();
    let flags = ["--agent", "openai", "--openai-model", "m", "--openai-api-key-file", path];
    let sentence = refusal(&flags);
    assert!(sentence.starts_with("OPENAI_API_KEY has a character"), "{sentence}");
    let letta = ["--letta-url", "http://127.0.0.1:1", "--letta-key-file", path];
    let sentence =
        refusal(&[&["--agent", "broca", "--broca-db", "sanctum.db"][..], &letta].concat());
    assert!(sentence.starts_with("LETTA_API_KEY has a character"), "{sentence}");
}

#[test]
fn what_an_agent_shows_of_itself_holds_no_secret() {
    let flags = ["--agent", "http", "--http-url", "http://me:secret@127.0.0.1:1/?key=secret"];
    assert_eq!(
        format!("{:?}", agent(&flags)),
        r#"Http(Http { service: Service("http://127.0.0.1:1") })"#
    );
}

#[tokio::test]
async fn echo_says_what_it_is_told() {
    let echo = agent(&["--agent", "echo"]);
    assert_eq!(soon(echo.answer(&question(" Grüße & <b>\n"))).await.unwrap(), " Grüße & <b>\n");
}
