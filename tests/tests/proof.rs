//! Proof of work: whoever opens a session has shown it, where a site asks for it; nobody else is asked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use jsonwebtoken::{EncodingKey, Header};
use postern_relay::limits::{AddressLimits, SiteLimits};
use postern_shared::files::SessionOpened;
use postern_shared::proof::{Challenge, Proof};
use postern_shared::visitor::MessageAccepted;
use postern_shared::{ErrorType, Timestamp};
use postern_tests::{Answer, Caller, ConfiguredRelay, TestRelay};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const ASKS: SiteLimits = SiteLimits { proof_of_work: 200, ..SiteLimits::OFF };
const SECRET: &str = "not-a-secret-of-the-shop-at-all-but-long-enough";

fn relay() -> TestRelay {
    TestRelay::limited(AddressLimits::OFF, ASKS)
}

fn key(name: &str) -> String {
    format!("{name}-0123456789abcdef")
}

/// What the relay asks for.
#[track_caller]
fn challenge(answer: &Answer) -> Challenge {
    let failure = answer.failure();
    assert_eq!(failure.kind, ErrorType::ProofRequired, "{}", answer.text());
    assert_eq!(answer.status, StatusCode::PRECONDITION_REQUIRED);
    failure.challenge.unwrap()
}

/// Finds the number as the wire contract describes it.
fn solve(Challenge { token, hash, max }: Challenge, key: &str) -> Proof {
    let begins_so = |number: &u32| {
        let digest = Sha256::digest(format!("{key}:{number}"));
        digest[..4] == hash.to_be_bytes()
    };
    Proof { token, number: (0..max).find(begins_so).unwrap() }
}

async fn say(calls: &Caller, key: &str, proof: Option<&Proof>) -> Answer {
    let body = json!({ "message": "hi", "proof": proof });
    calls.with_key(key).post("/messages", &body).await
}

#[tokio::test]
async fn a_message_opens_a_session_once_the_work_is_shown() {
    let relay = relay();
    let calls = relay.stranger_calls();
    let key = key("visitor");
    let proof = solve(challenge(&say(&calls, &key, None).await), &key);
    let opened: MessageAccepted = say(&calls, &key, Some(&proof)).await.data();
    // The answer may have been lost, and the proof with it.
    let repeated: MessageAccepted = say(&calls, &key, None).await.data();
    assert_eq!(repeated.message_id, opened.message_id);
    let inside = calls.with_secret(&repeated.session_token.unwrap());
    let body = json!({ "session_id": opened.session_id, "message": "and more" });
    assert_eq!(inside.post("/messages", &body).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_without_a_message_wants_it_too() {
    let relay = relay();
    let key = key("opening");
    let calls = relay.stranger_calls().with_key(&key);
    let proof = solve(challenge(&calls.post("/sessions", &json!({})).await), &key);
    let body = json!({ "proof": proof });
    let opened: SessionOpened = calls.post("/sessions", &body).await.data();
    let repeated: SessionOpened = calls.post("/sessions", &body).await.data();
    assert_eq!(repeated.session_id, opened.session_id);
}

#[tokio::test]
async fn what_was_shown_once_opens_nothing_else() {
    let relay = relay();
    let calls = relay.stranger_calls();
    let (key, other) = (key("visitor"), key("other"));
    let proof = solve(challenge(&say(&calls, &key, None).await), &key);
    challenge(&say(&calls, &other, Some(&proof)).await);
    let wrong = Proof { number: proof.number ^ 1, ..proof.clone() };
    challenge(&say(&calls, &key, Some(&wrong)).await);
    let unsigned = Proof { token: forged(&key, &proof), ..proof.clone() };
    challenge(&say(&calls, &key, Some(&unsigned)).await);
    let elsewhere = self::relay();
    challenge(&say(&elsewhere.stranger_calls(), &key, Some(&proof)).await);
    assert_eq!(say(&calls, &key, Some(&proof)).await.status, StatusCode::OK);
}

/// A challenge for the proof that the relay has not signed.
fn forged(key: &str, proof: &Proof) -> String {
    let digest = Sha256::digest(format!("{key}:{}", proof.number));
    let hash = u32::from_be_bytes(digest[..4].try_into().unwrap());
    let exp = Timestamp::now().as_second() + 60;
    let claims = json!({ "idempotency_key": key, "hash": hash, "exp": exp });
    let signing = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &signing).unwrap()
}

#[tokio::test]
async fn a_call_without_a_key_of_its_own_is_told_to_take_one() {
    let relay = relay();
    let calls = relay.stranger_calls();
    let answer = calls.post("/messages", &json!({ "message": "hi" })).await;
    let failure = answer.failure();
    assert_eq!(failure.kind, ErrorType::InvalidRequest);
    assert!(failure.error.starts_with("Idempotency-Key"), "{}", failure.error);
    let weak = say(&calls, "short", None).await.failure();
    assert_eq!(weak.kind, ErrorType::InvalidRequest);
}

#[tokio::test]
async fn a_site_asks_for_itself_and_not_of_whom_it_vouches_for() {
    let config = r#"
        [[site]]
        id = "shop"
        identity_key_files = ["{folder}/shop.secret"]
        api_key_file = "{folder}/shop.key"
        limits = { proof_of_work = 200 }

        [[site]]
        id = "club"
    "#;
    let files =
        [("relay.toml", config), ("shop.secret", SECRET), ("shop.key", postern_tests::API_KEY)];
    let relay = ConfiguredRelay::start(&files).await;
    let key = key("visitor");
    let calls = relay.stranger_calls().with_key(&key);
    let at =
        async |site: &str, body: &Value| calls.post(&format!("/messages?site={site}"), body).await;
    let hi = json!({ "message": "hi" });
    challenge(&at("shop", &hi).await);
    assert_eq!(at("club", &hi).await.status, StatusCode::OK);
    let claims = json!({ "sub": "ada", "exp": Timestamp::now().as_second() + 60 });
    let signing = EncodingKey::from_secret(SECRET.as_bytes());
    let identity = jsonwebtoken::encode(&Header::default(), &claims, &signing).unwrap();
    let vouched = json!({ "message": "hi", "identity": identity });
    assert_eq!(at("shop", &vouched).await.status, StatusCode::OK);
}
