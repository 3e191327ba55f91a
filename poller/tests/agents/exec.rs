//! The exec agent with real programs: polite ones, and all kinds of others.

use std::path::PathBuf;
use std::process::Command;

use postern_poller::agent::{Agent, AgentError, Speaker};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::{OpenOptions, Receiver};

use crate::support::{agent, question, question_after, soon};

fn running(command: &str) -> Agent {
    agent(&["--agent", "exec", "--exec", command])
}

/// What comes of one message to a command.
async fn outcome(command: &str) -> Result<String, AgentError> {
    soon(running(command).answer(&question("What is a postern?"))).await
}

/// A pipe with a name, which tells when everyone who held it has ended.
struct Lifeline {
    path: PathBuf,
    _folder: TempDir,
}

impl Lifeline {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lifeline");
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo is there");
        assert!(made.success());
        Self { path, _folder: folder }
    }

    /// A command in which everyone holds the pipe as descriptor 9.
    fn held_by(&self, command: &str) -> String {
        format!("exec 9>{}; {command}", self.path.display())
    }

    /// Waits for a first line on the pipe; gives what waits for the end of all who hold it.
    async fn first_line(&self) -> BufReader<Receiver> {
        let mut pipe =
            BufReader::new(OpenOptions::new().open_receiver(&self.path).expect("it opens"));
        soon(pipe.read_line(&mut String::new())).await.expect("it is read");
        pipe
    }
}

async fn all_have_ended(mut pipe: BufReader<Receiver>) {
    soon(pipe.read_to_end(&mut Vec::new())).await.expect("it ends");
}

#[tokio::test]
async fn a_program_reads_the_question_and_its_reply_is_its_output() {
    let question = question_after(&[(Speaker::User, "Hi"), (Speaker::Assistant, "Hello")], "Où?\n");
    let reply = soon(running("cat").answer(&question)).await.unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&reply).unwrap(),
        serde_json::json!({
            "session_id": "session_1",
            "uid": "00ff00ff00ff00ff",
            "visitor": {"state": "anonymous"},
            "message_id": 7,
            "message": "Où?\n",
            "timestamp": "2026-01-02T03:04:05Z",
            "metadata": {},
            "history": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"},
            ],
        })
    );
}

#[tokio::test]
async fn a_program_may_use_what_was_said_before() {
    let count = "read -r question; n=$(printf %s \"$question\" | grep -o '\"role\":\"user\"' | wc -l); \
                 echo you said $((n)) things before";
    let said = [(Speaker::User, "a"), (Speaker::Assistant, "b"), (Speaker::User, "c")];
    let reply = soon(running(count).answer(&question_after(&said, "d"))).await.unwrap();
    assert_eq!(reply, "you said 2 things before");
}

#[tokio::test]
async fn a_message_is_never_part_of_the_command() {
    let question = question("$(echo run) `echo run`; echo run \"'");
    let reply = soon(running("cat >/dev/null; echo \"$0 $#\"").answer(&question)).await.unwrap();
    assert_eq!(reply, "sh 0");
}

#[tokio::test]
async fn only_the_line_ends_after_a_reply_are_cut() {
    assert_eq!(outcome("printf '\\n a \\n\\n b \\r\\n\\n'").await.unwrap(), "\n a \n\n b ");
    assert_eq!(outcome("printf 'a\\377b'").await.unwrap(), "a\u{fffd}b");
    let error = outcome("printf ' \\n\\t\\n'").await.unwrap_err();
    assert!(matches!(error, AgentError::Blank) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_failure_names_the_status_and_the_last_line_of_standard_error() {
    let error = outcome("echo no >&2; printf 'out of\\tluck\\n\\n' >&2; echo text; exit 3").await;
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "the agent's command failed (exit status: 3): out of luck");
    assert!(error.is_retryable());
    let error = outcome("printf unfinished >&2; kill -KILL $$").await.unwrap_err().to_string();
    assert!(error.contains("signal: 9") && error.ends_with(": unfinished"), "{error}");
    let error = outcome("/nonexistent/agent").await.unwrap_err().to_string();
    assert!(error.contains("exit status: 127") && error.contains("not found"), "{error}");
}

#[tokio::test]
async fn an_error_is_short_and_without_the_visitors_words() {
    let error = outcome("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2; exit 1").await;
    assert!(error.unwrap_err().to_string().len() < 600);
    let error = outcome("cat >&2; exit 1").await.unwrap_err().to_string();
    assert!(error.contains("session_1") && !error.contains("postern?"), "{error}");
    // What is left of a long line may end within what the visitor said.
    let long = question(&"my  secret ".repeat(500));
    let error = soon(running("cat >&2; exit 1").answer(&long)).await.unwrap_err().to_string();
    assert!(error.contains("session_1") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn a_program_need_not_read_its_input() {
    let question = question(&"x".repeat(1024 * 1024));
    for command in ["echo done", "exec <&-; echo done", "echo done; exec >&- 2>&-; cat >/dev/null"]
    {
        assert_eq!(soon(running(command).answer(&question)).await.unwrap(), "done", "{command}");
    }
}

#[tokio::test]
async fn a_program_may_write_before_it_reads() {
    let question = question(&"x".repeat(1024 * 1024));
    let flags = ["--agent", "exec", "--exec", "head -c 1000000 /dev/zero | tr '\\0' y; cat"];
    let agent = agent(&[&flags[..], &["--max-reply-bytes", "3000000"]].concat());
    assert!(soon(agent.answer(&question)).await.unwrap().len() > 2 * 1000 * 1000);
}

#[tokio::test]
async fn a_program_that_closes_its_output_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let command =
        format!("echo text; exec >&- 2>&-; cat >/dev/null; echo > {}; exit 4", done.display());
    let error = outcome(&command).await.unwrap_err();
    assert!(matches!(error, AgentError::Exited { .. }), "{error}");
    assert!(done.exists());
}

#[tokio::test]
async fn a_program_that_writes_forever_is_killed() {
    let lifeline = Lifeline::new();
    let command = lifeline.held_by("echo >&9; yes");
    let (error, held) = tokio::join!(outcome(&command), lifeline.first_line());
    let error = error.unwrap_err();
    assert!(matches!(error, AgentError::TooLong { limit_bytes: 262_144 }), "{error}");
    assert!(!error.is_retryable());
    all_have_ended(held).await;
}

#[tokio::test]
async fn the_timeout_ends_grandchildren_too() {
    let lifeline = Lifeline::new();
    let command = lifeline.held_by("sh -c 'sleep 1000 & echo >&9; wait' & wait");
    let flags = ["--agent", "exec", "--exec", &command, "--agent-timeout", "1"];
    let agent = agent(&flags);
    let question = question("Hi");
    let (error, held) = tokio::join!(soon(agent.answer(&question)), lifeline.first_line());
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "the agent gave no reply within 1s");
    assert!(error.is_retryable());
    all_have_ended(held).await;
}

#[tokio::test]
async fn a_program_may_clean_up_before_it_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let cleaned = folder.path().join("cleaned");
    let command = format!("trap 'echo > {}; exit' TERM; sleep 1000 & wait", cleaned.display());
    let flags = ["--agent", "exec", "--exec", &command, "--agent-timeout", "1"];
    let error = soon(agent(&flags).answer(&question("Hi"))).await.unwrap_err();
    assert!(matches!(error, AgentError::TimedOut(_)), "{error}");
    assert!(cleaned.exists());
}

#[tokio::test]
async fn a_program_that_will_not_end_is_killed() {
    let lifeline = Lifeline::new();
    let command = lifeline.held_by("trap '' TERM; echo >&9; while :; do sleep 1000; done");
    let flags = ["--agent", "exec", "--exec", &command, "--agent-timeout", "1"];
    let agent = agent(&flags);
    let question = question("Hi");
    let (error, held) = tokio::join!(soon(agent.answer(&question)), lifeline.first_line());
    assert!(matches!(error, Err(AgentError::TimedOut(_))), "{error:?}");
    all_have_ended(held).await;
}

#[tokio::test]
async fn a_dropped_question_kills_the_whole_group() {
    let lifeline = Lifeline::new();
    let agent = running(&lifeline.held_by("trap '' TERM; sleep 1000 & echo >&9; wait"));
    let asked = tokio::spawn(async move { agent.answer(&question("Hi")).await });
    let held = lifeline.first_line().await;
    asked.abort();
    all_have_ended(held).await;
}

#[tokio::test]
async fn whom_a_program_leaves_behind_does_not_hold_up_its_reply() {
    let lifeline = Lifeline::new();
    let command = lifeline.held_by("echo >&9; sleep 1000 & echo done");
    let (reply, held) = tokio::join!(outcome(&command), lifeline.first_line());
    assert_eq!(reply.unwrap(), "done");
    all_have_ended(held).await;
}

#[tokio::test]
async fn whom_it_leaves_behind_without_its_output_is_ended_too() {
    let lifeline = Lifeline::new();
    let command = lifeline.held_by("echo >&9; sleep 1000 >/dev/null 2>&1 & echo done");
    let (reply, held) = tokio::join!(outcome(&command), lifeline.first_line());
    assert_eq!(reply.unwrap(), "done");
    all_have_ended(held).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_that_has_left_the_group_does_not_hold_up_the_reply() {
    let (left, lifeline) = (Lifeline::new(), Lifeline::new());
    let daemon =
        format!("setsid sh -c 'echo >{}; : >{}'", left.path.display(), lifeline.path.display());
    let command = format!("{daemon} & read -r line <{}; echo done", left.path.display());
    assert_eq!(outcome(&command).await.unwrap(), "done");
    // It waits for someone who opens the pipe, and holds the output until then.
    all_have_ended(lifeline.first_line().await).await;
}

#[tokio::test]
async fn a_program_sees_the_environment_but_not_the_keys_of_the_bridge() {
    let keys =
        ["POSTERN_API_KEY", "POSTERN_API_KEY_FILE", "POSTERN_ADMIN_KEY", "POSTERN_ADMIN_KEY_FILE"];
    if std::env::var("POSTERN_TEST").is_ok() {
        let environment = outcome("env").await.unwrap();
        assert!(environment.contains("POSTERN_TEST=yes"), "{environment}");
        assert!(keys.iter().all(|key| !environment.contains(key)), "{environment}");
        return;
    }
    // The environment of this process is not the test's to change, so it runs itself in another.
    let name = "exec::a_program_sees_the_environment_but_not_the_keys_of_the_bridge";
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args([name, "--exact"]).env("POSTERN_TEST", "yes").envs(keys.map(|key| (key, "secret")));
    let output = String::from_utf8(again.output().unwrap().stdout).unwrap();
    assert!(output.contains("1 passed"), "{output}");
}
