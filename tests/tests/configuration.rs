//! The relay's configuration: flags over environment over file over default, checked and shown.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::path::Path;
use std::process::{Command, Output};

use postern_tests::{ADMIN_KEY, API_KEY, binary};

/// Runs `postern-relay config …` in a folder with this `relay.toml`.
fn config(toml: &str, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("relay.toml"), toml).unwrap();
    run(folder.path(), args, environment)
}

fn run(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(binary("postern-relay"))
        .current_dir(folder)
        .args(["--config", "relay.toml", "config"])
        .args(args)
        .env_clear()
        .envs([("POSTERN_API_KEY", API_KEY), ("POSTERN_ADMIN_KEY", ADMIN_KEY)])
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn shown(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The line of a setting, with one blank between its words.
fn line(shown: &str, name: &str) -> String {
    let found = shown.lines().find(|line| line.starts_with(&format!("{name} = ")));
    found.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
    let toml = "max_message_chars = 1\nmax_body_bytes = 2\nmax_attempts = 3";
    let environment = [("POSTERN_MAX_BODY_BYTES", "20"), ("POSTERN_MAX_MESSAGE_CHARS", "10")];
    let args = ["show", "--max-message-chars", "100"];
    let shown = shown(&config(toml, &args, &environment));
    assert_eq!(line(&shown, "max_message_chars"), "max_message_chars = 100 # flag");
    assert_eq!(line(&shown, "max_body_bytes"), "max_body_bytes = 20 # environment");
    assert_eq!(line(&shown, "max_attempts"), "max_attempts = 3 # file");
    assert_eq!(line(&shown, "away_after"), "away_after = 10 # default");
}

#[test]
fn what_is_shown_is_a_file_that_says_the_same() {
    let toml = "db = 'some.db'\naway_after = 2.5\nfile_types = ['image/png', 'text/plain']\n\
                [[site]]\nid = 'shop'\norigins = ['https://shop.example']\n\
                [[site]]\nid = 'default'\ntexts.unanswered = 'Sorry.'";
    let first = shown(&config(toml, &["show"], &[]));
    let settings = |shown: &str| {
        let lines =
            shown.lines().map(|line| line.split(" #").next().unwrap().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    };
    let second = shown(&config(&settings(&first), &["show"], &[]));
    assert_eq!(settings(&first), settings(&second));
    assert!(first.contains("unanswered = \"Sorry.\""), "{first}");
}

#[test]
fn no_key_is_shown_and_redacting_leaves_out_what_tells_of_the_host() {
    let toml = "db = 'secret-place/some.db'\nmax_attempts = 3\n\
                [[site]]\nid = 'default'\norigins = ['https://customer.example']";
    let whole = shown(&config(toml, &["show"], &[]));
    assert!(whole.contains("secret-place") && whole.contains("customer.example"), "{whole}");
    assert!(!whole.contains(API_KEY) && !whole.contains(ADMIN_KEY), "{whole}");
    let redacted = shown(&config(toml, &["show", "--redact"], &[]));
    assert!(!redacted.contains("secret-place") && !redacted.contains("customer"), "{redacted}");
    assert_eq!(line(&redacted, "max_attempts"), "max_attempts = 3 # file");
    assert!(redacted.contains("id = \"default\""), "{redacted}");
}

#[test]
fn a_check_names_what_is_wrong_and_where() {
    for (toml, sentence) in [
        ("max_message_char = 1", "relay.toml: there is no setting max_message_char;"),
        ("config = 'other.toml'", "relay.toml: there is no setting config;"),
        ("max_attempts = 'many'", "--max-attempts <N>"),
        ("max_attempts = { a = 1 }", "relay.toml: max_attempts must be a text"),
        ("max_attempts = ", "line 1"),
        ("[[site]]\nid = 'a b'", "must be 1 to 64 characters"),
        ("[[site]]\nid = 'a'\n[[site]]\nid = 'a'", "two sites have the id \"a\""),
        ("[[site]]\nid = 'a'\norigin = 'https://a.example'", "unknown field `origin`"),
        ("[[site]]\nid = 'a'\norigins = ['a.example']", "\"a.example\" is no origin"),
        ("[[site]]\nid = 'a'\n[[site]]\nid = 'b'", "no site is named \"default\""),
        ("[[site]]\nid = 'a'\napi_key_file = '/nonexistent'", "/nonexistent cannot be read"),
    ] {
        let refused = config(toml, &["check"], &[]);
        let log = String::from_utf8(refused.stderr).unwrap();
        assert!(matches!(refused.status.code(), Some(78 | 2)), "{toml}: {:?}", refused.status);
        assert!(log.contains(sentence), "{toml}: {log}");
    }
    assert_eq!(shown(&config("", &["check"], &[])), "the configuration is well\n");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = run(folder.path(), &["check"], &[]);
    assert_eq!(refused.status.code(), Some(78));
    let log = String::from_utf8(refused.stderr).unwrap();
    assert!(log.contains("relay.toml cannot be read"), "{log}");
}
