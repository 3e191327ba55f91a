//! The private half cannot be reached: not by its dependencies, not by its code, not at run time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::collections::BTreeSet;
use std::process::Command;

use postern_tests::{Process, TestRelay, binary};
use procfs::net::TcpState;
use procfs::process::{FDTarget, Process as ProcfsProcess};
use serde_json::Value;

/// Crates that serve. A dependency on one of them would be a way in.
const SERVER_CRATES: [&str; 22] = [
    "actix-http",
    "actix-web",
    "astra",
    "axum",
    "axum-core",
    "axum-server",
    "gotham",
    "h2",
    "hyper-server",
    "iron",
    "ntex",
    "poem",
    "quinn",
    "rocket",
    "rouille",
    "salvo",
    "thrussh",
    "tide",
    "tiny_http",
    "tonic",
    "trillium",
    "warp",
];

#[test]
fn no_dependency_of_the_poller_brings_a_server() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", "postern-poller"])
        .args(["--edges", "normal,features", "--prefix", "none", "--format", "{p} [{f}]"])
        .output()
        .expect("cargo tree");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let mut names = BTreeSet::new();
    for line in tree.lines() {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        names.insert(name);
        let features = rest.rsplit_once('[').map_or("", |(_, features)| features);
        let serves = features.trim_end_matches(" (*)").trim_end_matches(']');
        assert!(!serves.split(',').any(|feature| feature.contains("server")), "{line}");
        assert!(!rest.contains("feature \"server"), "{line}");
    }
    assert!(names.contains("hyper") && names.contains("tokio"), "the tree was not read: {tree}");
    let found: Vec<_> = SERVER_CRATES.iter().filter(|name| names.contains(**name)).collect();
    assert!(found.is_empty(), "server crates: {found:?}");
}

/// Every way to listen ends in one of these calls of the C library. What is not imported cannot be
/// called: the linker has left out every path that would.
#[test]
fn the_pollers_binary_has_no_call_that_listens() {
    let imports = |name: &str| {
        let symbols =
            Command::new("nm").args(["-D", "--undefined-only"]).arg(binary(name)).output();
        let symbols = symbols.expect("nm, of the C compiler's tools").stdout;
        let symbols = String::from_utf8(symbols).unwrap();
        let name = |line: &str| line.split_whitespace().last().unwrap_or_default().to_owned();
        let plain = |symbol: String| symbol.split('@').next().unwrap_or_default().to_owned();
        symbols.lines().map(name).map(plain).collect::<BTreeSet<String>>()
    };
    let poller = imports("postern-poller");
    assert!(poller.contains("connect"), "the imports were not read");
    for call in ["listen", "accept", "accept4"] {
        assert!(!poller.contains(call), "the poller imports {call}");
    }
    assert!(imports("postern-relay").contains("listen"), "this test cannot fail");
}

#[tokio::test]
async fn a_running_poller_holds_no_listening_socket() {
    let relay = TestRelay::start().await;
    let queue = relay.file("poller.db");
    let url = relay.url();
    let args = [
        "run",
        "--relay",
        &url,
        "--queue",
        queue.to_str().unwrap(),
        "--agent",
        "exec",
        "--exec",
        "read question; echo running",
    ];
    let mut poller = Process::start("postern-poller", &args);
    poller.line_with("pulling messages").await;
    let pid = poller.pid().as_raw_nonzero().get();
    let mut visitor = relay.visitor();
    for _ in 0..5 {
        visitor.send("hi").await;
        assert_eq!(visitor.next_reply().await, "running");
        assert_eq!(listening(pid), Vec::<String>::new());
    }
    assert_ne!(listening(std::process::id().cast_signed()), Vec::<String>::new());
}

#[tokio::test]
async fn doctor_finds_everything_well_and_exits_0() {
    let relay = TestRelay::start().await;
    let findings = doctor(&relay, &["--agent", "echo"], true).await;
    let checks: Vec<_> = findings.iter().map(|finding| finding["check"].clone()).collect();
    assert_eq!(checks, ["relay", "tls", "clock", "key", "agent", "queue", "sockets"]);
}

#[tokio::test]
async fn doctor_names_an_agent_that_listens_and_exits_1() {
    let relay = TestRelay::start().await;
    let listens = "exec node -e 'require(\"net\").createServer().listen(0, \"127.0.0.1\", () => \
                   setTimeout(() => { console.log(\"hi\"); process.exit() }, 1500))'";
    let findings = doctor(&relay, &["--agent", "exec", "--exec", listens], false).await;
    let sockets = findings.iter().find(|finding| finding["check"] == "sockets").unwrap();
    assert_eq!(sockets["ok"], false);
    assert!(sockets["sentence"].as_str().unwrap().contains("node"), "{sockets}");
}

#[tokio::test]
async fn doctor_says_what_is_wrong_with_the_relay_and_the_agent() {
    let mut relay = TestRelay::start().await;
    relay.stop().await;
    let findings =
        doctor(&relay, &["--agent", "exec", "--exec", "echo broken >&2; false"], false).await;
    let wrong: Vec<_> = findings.iter().filter(|finding| finding["ok"] == false).collect();
    assert_eq!(wrong[0]["check"], "relay");
    assert!(wrong[0]["sentence"].as_str().unwrap().contains("refused"), "{}", wrong[0]);
    assert_eq!(wrong[1]["check"], "agent");
    assert!(wrong[1]["sentence"].as_str().unwrap().contains("broken"), "{}", wrong[1]);
}

async fn doctor(relay: &TestRelay, agent: &[&str], well: bool) -> Vec<Value> {
    let queue = relay.file("doctor.db");
    let url = relay.url();
    let mut args = vec!["doctor", "--json", "--relay", &url, "--queue", queue.to_str().unwrap()];
    args.extend(agent);
    let output = tokio::process::Command::new(binary("postern-poller"))
        .args(args)
        .env("POSTERN_API_KEY", postern_tests::API_KEY)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.success(), well, "{}", String::from_utf8_lossy(&output.stdout));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The addresses on which a process listens.
fn listening(pid: i32) -> Vec<String> {
    let process = ProcfsProcess::new(pid).unwrap();
    let held: BTreeSet<u64> = process
        .fd()
        .unwrap()
        .filter_map(|fd| match fd.ok()?.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    let tcp = process.tcp().unwrap().into_iter().chain(process.tcp6().unwrap_or_default());
    tcp.filter(|entry| entry.state == TcpState::Listen && held.contains(&entry.inode))
        .map(|entry| entry.local_address.to_string())
        .collect()
}
