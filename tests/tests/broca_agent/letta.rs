//! What Letta is asked to make for a visitor, and that it is asked for nothing twice.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::future::join_all;
use postern_poller::agent::Question;
use postern_shared::visitor::{Identity, IdentityState};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::sanctum::{Processor, Sanctum};
use crate::support::{Asked, agent, question};

const KEY: &str = "letta-test-key-not-a-secret";

/// A Letta server as far as identities and blocks go.
#[derive(Clone)]
pub(crate) struct TestLetta {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    identities: Vec<Value>,
    blocks: Vec<Value>,
    calls: Vec<String>,
    keys: Vec<Option<String>>,
    /// How many things are still made without their maker being told.
    answers_to_lose: u32,
    is_down: bool,
}

type Shared = State<Arc<Mutex<Kept>>>;
type Answer = Result<Json<Value>, StatusCode>;

impl TestLetta {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::<Mutex<Kept>>::default();
        // The others are there already: none of them is this visitor's.
        lock(&kept)
            .identities
            .push(json!({ "id": "identity-0", "identifier_key": "broca_user_1" }));
        lock(&kept).blocks.push(json!({ "id": "block-0", "label": "human", "value": "{}" }));
        let app = Router::new()
            .route("/letta/v1/identities/", post(make_identity).get(list_identities))
            .route("/letta/v1/blocks/", post(make_block).get(list_blocks))
            .with_state(Arc::clone(&kept));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, kept }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/letta", self.address)
    }

    /// How many identities and blocks were made.
    pub(crate) fn made(&self) -> (usize, usize) {
        let kept = lock(&self.kept);
        (kept.identities.len() - 1, kept.blocks.len() - 1)
    }

    fn calls(&self) -> Vec<String> {
        lock(&self.kept).calls.clone()
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn hear(&mut self, call: &str, headers: &HeaderMap) -> Result<(), StatusCode> {
        self.calls.push(call.to_owned());
        let key = headers.get("authorization").map(|key| key.to_str().unwrap().to_owned());
        self.keys.push(key);
        if self.is_down { Err(StatusCode::SERVICE_UNAVAILABLE) } else { Ok(()) }
    }

    fn answer(&mut self, made: Value) -> Answer {
        if self.answers_to_lose == 0 {
            return Ok(Json(made));
        }
        self.answers_to_lose -= 1;
        Err(StatusCode::BAD_GATEWAY)
    }
}

async fn make_identity(
    State(kept): Shared,
    headers: HeaderMap,
    Json(mut identity): Json<Value>,
) -> Answer {
    let mut kept = lock(&kept);
    kept.hear("POST identities", &headers)?;
    let key = &identity["identifier_key"];
    if kept.identities.iter().any(|other| other["identifier_key"] == *key) {
        return Err(StatusCode::CONFLICT);
    }
    identity["id"] = format!("identity-{}", kept.identities.len()).into();
    kept.identities.push(identity.clone());
    kept.answer(identity)
}

/// Knows no query, as a server of another version may.
async fn list_identities(State(kept): Shared, headers: HeaderMap) -> Answer {
    let mut kept = lock(&kept);
    kept.hear("GET identities", &headers)?;
    Ok(Json(kept.identities.clone().into()))
}

async fn make_block(
    State(kept): Shared,
    headers: HeaderMap,
    Json(mut block): Json<Value>,
) -> Answer {
    let mut kept = lock(&kept);
    kept.hear("POST blocks", &headers)?;
    block["id"] = format!("block-{}", kept.blocks.len()).into();
    kept.blocks.push(block.clone());
    kept.answer(block)
}

async fn list_blocks(
    State(kept): Shared,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let mut kept = lock(&kept);
    kept.hear("GET blocks", &headers)?;
    let fits = |block: &&Value| {
        let value = block["value"].as_str().unwrap();
        block["label"] == query["label"] && value.contains(&query["value_search"])
    };
    Ok(Json(kept.blocks.iter().filter(fits).cloned().collect()))
}

fn ids(sanctum: &Sanctum) -> Vec<String> {
    sanctum.rows("SELECT letta_identity_id, letta_block_id FROM letta_users WHERE id > 1")
}

#[tokio::test]
async fn a_visitor_gets_an_identity_and_a_block_once() {
    let (sanctum, letta) = (Sanctum::filled(), TestLetta::start().await);
    let _processor = Processor::echo(&sanctum);
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), format!("{KEY}\n")).unwrap();
    let url = letta.url();
    let flags = ["--letta-url", &url, "--letta-key-file", key.path().to_str().unwrap()];
    let visitor = Identity {
        state: IdentityState::Verified,
        name: Some("Ada \"Lovelace\"".to_owned()),
        ..Identity::default()
    };
    for number in 0..3 {
        let asked = Question { visitor: visitor.clone(), ..question(number, "Hi") };
        assert_eq!(Asked::ask(&sanctum, &flags, asked).reply().await, "re Hi");
    }
    assert_eq!(ids(&sanctum), ["identity-1 | block-1"]);
    assert_eq!(letta.calls(), ["POST identities", "POST blocks"]);
    let kept = lock(&letta.kept);
    assert_eq!(kept.keys, [Some(format!("Bearer {KEY}")), Some(format!("Bearer {KEY}"))]);
    insta::assert_json_snapshot!(kept.identities[1], @r#"
    {
      "id": "identity-1",
      "identifier_key": "postern_00ff00ff00ff00ff",
      "identity_type": "user",
      "name": "Ada \"Lovelace\""
    }
    "#);
    insta::assert_json_snapshot!(kept.blocks[1], @r#"
    {
      "id": "block-1",
      "label": "human",
      "value": "{\"name\":\"Ada \\\"Lovelace\\\"\",\"platform\":\"web_chat\",\"uid\":\"00ff00ff00ff00ff\"}"
    }
    "#);
}

#[tokio::test]
async fn an_answer_of_letta_that_is_lost_makes_nothing_twice() {
    for lost in 1..=2 {
        let (sanctum, letta) = (Sanctum::filled(), TestLetta::start().await);
        let _processor = Processor::echo(&sanctum);
        lock(&letta.kept).answers_to_lose = lost;
        let url = letta.url();
        for _ in 0..lost {
            let asked = Asked::ask(&sanctum, &["--letta-url", &url], question(1, "Hi"));
            let error = asked.outcome().await.unwrap_err();
            assert!(error.is_retryable(), "{error}");
            assert_eq!(sanctum.queue(), [""; 0], "Broca could not work on it yet");
        }
        let asked = Asked::ask(&sanctum, &["--letta-url", &url], question(1, "Hi"));
        assert_eq!(asked.reply().await, "re Hi");
        assert_eq!(letta.made(), (1, 1), "{:?}", letta.calls());
        assert_eq!(ids(&sanctum), ["identity-1 | block-1"]);
    }
}

#[tokio::test]
async fn sessions_that_a_visitor_opens_at_once_share_what_is_made() {
    let (sanctum, letta) = (Sanctum::filled(), TestLetta::start().await);
    let _processor = Processor::echo(&sanctum);
    let url = letta.url();
    let agent = Arc::new(agent(&sanctum, &["--letta-url", &url]));
    let asked = (0..8).map(|number| {
        let agent = Arc::clone(&agent);
        let session_id = format!("session_{number}").parse().unwrap();
        let question = Question { session_id, ..question(number, "Hi") };
        tokio::spawn(async move { agent.answer(&question).await.unwrap() })
    });
    for reply in join_all(asked).await {
        assert_eq!(reply.unwrap(), "re Hi");
    }
    assert_eq!(letta.made(), (1, 1));
    assert_eq!(ids(&sanctum), ["identity-1 | block-1"]);
}

#[tokio::test]
async fn a_user_gets_what_was_missing_and_keeps_what_was_there() {
    let (sanctum, letta) = (Sanctum::filled(), TestLetta::start().await);
    let _processor = Processor::echo(&sanctum);
    Asked::ask(&sanctum, &[], question(1, "without Letta")).reply().await;
    assert_eq!(ids(&sanctum), ["NULL | NULL"]);
    sanctum.execute("UPDATE letta_users SET letta_identity_id = 'of-broca' WHERE id = 2", []);
    let url = letta.url();
    Asked::ask(&sanctum, &["--letta-url", &url], question(2, "with Letta")).reply().await;
    assert_eq!(ids(&sanctum), ["of-broca | block-1"]);
}

#[tokio::test]
async fn a_letta_that_is_away_is_told_and_asked_again_later() {
    let (sanctum, letta) = (Sanctum::filled(), TestLetta::start().await);
    lock(&letta.kept).is_down = true;
    let url = letta.url();
    let asked = Asked::ask(&sanctum, &["--letta-url", &url], question(1, "Hi"));
    let error = asked.outcome().await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("answered 503"), "{error}");
    assert_eq!((sanctum.messages(), ids(&sanctum)), (vec![], vec![]));
}
