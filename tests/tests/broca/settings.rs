//! What the relay is told: by flag, environment and file, for all sites or one.

use postern_tests::{API_KEY, Caller, ConfiguredRelay, Process};
use reqwest::StatusCode;
use serde_json::{Value, json};

const SHOP_KEY: &str = "shop-poller-key-not-a-secret";
const BLOG_KEY: &str = "blog-poller-key-not-a-secret";
const SESSION: &str = "session_mdwj6vj5_okiiczierw";

const CONFIG: &str = r#"
    compat_lease = "90s"

    [[site]]
    id = "shop"
    origins = ["https://shop.example"]
    api_key_file = "{folder}/shop.key"
    compat = "broca"
    compat_visitors = true

    [[site]]
    id = "blog"
    api_key_file = "{folder}/blog.key"
"#;

async fn two_sites() -> ConfiguredRelay {
    let files = [("relay.toml", CONFIG), ("shop.key", SHOP_KEY), ("blog.key", BLOG_KEY)];
    ConfiguredRelay::start(&files).await
}

fn says(text: &str) -> Value {
    json!({ "session_id": SESSION, "message": text })
}

#[tokio::test]
async fn a_site_is_named_by_the_prefix_or_the_query() {
    let relay = two_sites().await;
    let stranger = relay.stranger_calls();
    for path in ["//shop/api/v1/?action=messages", "//x/api/v1/?action=messages&site=shop"] {
        assert_eq!(stranger.post(path, &says(path)).await.status, StatusCode::OK, "{path}");
    }
    for path in ["//blog/api/v1/?action=messages", "//api/v1/index.php?action=messages&site=blog"] {
        assert_eq!(stranger.post(path, &says(path)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let inbox = "//api/v1/?action=inbox&limit=50&offset=0";
    let fetched: Value = relay.calls_with(SHOP_KEY).get(inbox).await.data();
    assert_eq!(fetched["pagination"]["total"], 2);
    assert_eq!(relay.calls_with(BLOG_KEY).get(inbox).await.status, StatusCode::NOT_FOUND);
    // A batch's leases are no fault of the database.
    let checked = relay.run(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[tokio::test]
async fn only_pages_of_the_sites_origins_may_call() {
    let relay = two_sites().await;
    for (origin, status) in
        [("https://shop.example", StatusCode::OK), ("https://evil.example", StatusCode::FORBIDDEN)]
    {
        let calls = relay.stranger_calls();
        let request = calls.request(reqwest::Method::POST, "//shop/api/v1/?action=messages");
        let request = request.header("origin", origin).json(&says(origin));
        let answer = postern_tests::Answer::to(request).await;
        assert_eq!(answer.status, status, "{origin}");
        assert_eq!(
            answer.headers.contains_key("access-control-allow-origin"),
            status == StatusCode::OK
        );
    }
}

#[tokio::test]
async fn flags_serve_the_only_site() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let flags = ["--compat", "broca", "--compat-lease", "20m", "--compat-visitors"];
    let (relay, address) = Process::relay_with(&db, ([127, 0, 0, 1], 0).into(), &flags).await;
    let calls = Caller::new(address);
    let said = calls.post("//any/api/v1/?action=messages", &says("hi")).await;
    assert_eq!(said.status, StatusCode::OK);
    let inbox = "//any/api/v1/?action=inbox&limit=50&offset=0";
    let fetched: Value = calls.with_secret(API_KEY).get(inbox).await.data();
    assert_eq!(fetched["messages"][0]["session_id"], SESSION);
    drop(relay);
}

#[tokio::test]
async fn a_lease_that_is_none_stops_the_start_by_name() {
    for lease in ["20", "0s", "soon"] {
        let args = ["config", "check", "--compat", "broca", "--compat-lease", lease];
        let (status, log) = Process::start("postern-relay", &args).end().await;
        assert!(!status.success());
        assert!(log.iter().any(|line| line.contains("--compat-lease")), "{lease}: {log:?}");
    }
}
