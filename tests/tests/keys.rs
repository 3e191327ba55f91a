//! Keys of pollers and operators: made, replaced and revoked while the relay serves.
use std::time::Instant;

use postern_shared::ErrorType;
use postern_tests::{ADMIN_KEY, API_KEY, Caller, ConfiguredRelay, eventually, soon};
use reqwest::StatusCode;
use serde_json::{Value, json};

async fn relay() -> ConfiguredRelay {
    let config = "api_key_file = \"{folder}/api.key\"";
    ConfiguredRelay::start(&[("relay.toml", config), ("api.key", API_KEY)]).await
}

async fn opens(calls: &Caller, path: &str) -> bool {
    calls.get(path).await.status == StatusCode::OK
}

#[tokio::test]
async fn a_key_that_is_made_while_the_relay_serves_opens_what_it_is_for() {
    let relay = relay().await;
    let pollers = relay.calls_with(&relay.make_key(&["create", "home"]));
    let operators = relay.calls_with(&relay.make_key(&["create", "alice", "--admin"]));
    eventually("the poller's key", async || opens(&pollers, "/inbox").await).await;
    eventually("the operator's key", async || opens(&operators, "/sessions").await).await;
    let crossed = [pollers.get("/sessions").await, operators.get("/inbox").await];
    for refused in crossed {
        assert_eq!(refused.failure().kind, ErrorType::Forbidden);
    }
    // Those of the configuration go on opening.
    assert!(opens(&relay.calls_with(API_KEY), "/inbox").await);
    assert!(opens(&relay.calls_with(ADMIN_KEY), "/sessions").await);
}

#[tokio::test]
async fn a_revoked_key_ends_its_open_calls_within_a_second() {
    let relay = relay().await;
    let poller = relay.calls_with(&relay.make_key(&["create", "home"]));
    eventually("the key", async || opens(&poller, "/inbox").await).await;
    let waits = json!({ "wait_seconds": 30 });
    let held = poller.post("/inbox/lease", &waits);
    let revoke = async {
        relay.calls_with(ADMIN_KEY).sees_lease_calls_held(1).await;
        relay.make_key(&["revoke", "home"]);
        Instant::now()
    };
    let (ended, revoked_at) =
        soon("the end of the call", async { tokio::join!(held, revoke) }).await;
    assert_eq!(ended.status, StatusCode::UNAUTHORIZED);
    assert!(revoked_at.elapsed().as_millis() < 1_000, "{:?}", revoked_at.elapsed());
    assert!(!opens(&poller, "/inbox").await);
}

#[tokio::test]
async fn a_rotated_key_gives_way_at_once_or_after_an_overlap() {
    let relay = relay().await;
    let first = relay.calls_with(&relay.make_key(&["create", "home"]));
    let second = relay.calls_with(&relay.make_key(&["rotate", "home", "--overlap", "3600"]));
    eventually("the second key", async || opens(&second, "/inbox").await).await;
    assert!(opens(&first, "/inbox").await, "the first key goes on for an hour");
    let third = relay.calls_with(&relay.make_key(&["rotate", "home"]));
    eventually("the third key", async || opens(&third, "/inbox").await).await;
    eventually("the second key's end", async || !opens(&second, "/inbox").await).await;
    assert!(opens(&first, "/inbox").await);
    relay.make_key(&["revoke", "home"]);
    for key in [&first, &third] {
        eventually("the end of all of that name", async || !opens(key, "/inbox").await).await;
    }
}

#[tokio::test]
async fn keys_outlive_a_restart_and_revoked_ones_stay_revoked() {
    let mut relay = relay().await;
    let (kept, ended) = (relay.make_key(&["create", "kept"]), relay.make_key(&["create", "ended"]));
    relay.make_key(&["revoke", "ended"]);
    drop(relay.take_process());
    relay.start_again().await;
    assert!(opens(&relay.calls_with(&kept), "/inbox").await);
    assert!(!opens(&relay.calls_with(&ended), "/inbox").await);
}

#[tokio::test]
async fn the_list_tells_what_each_key_opens_and_when_it_was_used_and_no_key() {
    let mut relay = relay().await;
    let keys =
        [relay.make_key(&["create", "home"]), relay.make_key(&["create", "alice", "--admin"])];
    let poller = relay.calls_with(&keys[0]);
    eventually("the key", async || opens(&poller, "/inbox").await).await;
    let process = relay.take_process();
    process.signal(rustix::process::Signal::TERM);
    process.end().await;

    let printed = relay.make_key(&["list"]);
    assert!(keys.iter().all(|key| !printed.contains(key)));
    let listed = relay.make_key(&["list", "--json"]);
    let rows: Vec<Value> = listed.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let names: Vec<_> = rows.iter().map(|row| (&row["name"], &row["site"])).collect();
    assert_eq!(names, [(&json!("alice"), &Value::Null), (&json!("home"), &json!("default"))]);
    assert!(rows[0]["last_used_at"].is_null());
    assert!(rows[1]["last_used_at"].is_string(), "{listed}");
}

#[tokio::test]
async fn what_cannot_be_done_with_keys_is_told() {
    let relay = relay().await;
    relay.make_key(&["create", "home"]);
    for (args, sentence) in [
        (vec!["create", "home"], "there is a key named \"home\" already"),
        (vec!["create", "other", "--site", "shop"], "no relay has served a site shop"),
        (vec!["rotate", "away"], "no key is named \"away\""),
        (vec!["revoke", "away"], "no key is named \"away\""),
    ] {
        let refused = relay.run(&[&["keys"], args.as_slice()].concat());
        let log = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success(), "{args:?}");
        assert!(log.contains(sentence), "{args:?}: {log}");
    }
}
