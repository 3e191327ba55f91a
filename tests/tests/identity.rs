//! Verified visitors: whoever the site's own server vouches for, and nobody else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postern_poller::poller::Pace;
use postern_shared::ErrorType;
use postern_shared::operator::Sessions;
use postern_shared::visitor::{Identity, IdentityState, MessageAccepted};
use postern_tests::{ADMIN_KEY, API_KEY, Answer, ConfiguredRelay, TestAgent, TestPoller};
use rcgen::KeyPair;
use reqwest::StatusCode;
use serde_json::{Value, json};

const SHOP_SECRET: &str = "not-a-secret-of-the-shop-at-all-but-long-enough";
const CLUB_SECRET: &str = "not-a-secret-of-the-club-at-all-but-long-enough";
const OTHER_SECRET: &str = "not-a-secret-of-anyone-at-all-but-long-enough-too";

/// The club's server signs with it.
static CLUB: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key pair"));

const CONFIG: &str = r#"
    [[site]]
    id = "shop"
    identity_key_files = ["{folder}/shop.secret"]
    api_key_file = "{folder}/shop.key"

    [[site]]
    id = "club"
    identity_key_files = ["{folder}/club.secret", "{folder}/club.pem"]
    verified_only = true
"#;

async fn relay() -> ConfiguredRelay {
    ConfiguredRelay::start(&[
        ("relay.toml", CONFIG),
        ("shop.key", API_KEY),
        ("shop.secret", SHOP_SECRET),
        ("club.secret", CLUB_SECRET),
        ("club.pem", &CLUB.public_key_pem()),
    ])
    .await
}

/// A token that is good for an hour, or was until an hour ago.
fn claims(sub: &str, hours: i64) -> Value {
    let now = postern_shared::Timestamp::now().as_second();
    json!({ "sub": sub, "exp": now + 3_600 * hours, "name": "Ada", "email": "ada@example.org" })
}

fn signed(claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

fn signed_by_club(claims: &Value) -> String {
    let key = EncodingKey::from_ed_der(CLUB.serialized_der());
    jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &key).unwrap()
}

async fn says(relay: &ConfiguredRelay, site: &str, body: &Value, token: Option<&str>) -> Answer {
    let calls = match token {
        Some(token) => relay.calls_with(token),
        None => relay.stranger_calls(),
    };
    calls.post(&format!("/messages?site={site}"), body).await
}

/// How the operator sees the newest session.
async fn seen(relay: &ConfiguredRelay) -> Identity {
    let sessions: Sessions = relay.calls_with(ADMIN_KEY).get("/sessions").await.data();
    sessions.sessions[0].visitor.clone()
}

#[tokio::test]
async fn three_states_reach_the_agent_and_the_operator() {
    let relay = relay().await;
    let ada = Identity {
        state: IdentityState::Verified,
        sub: Some("customer-7".into()),
        name: Some("Ada".into()),
        email: Some("ada@example.org".into()),
    };
    let claimed = Identity { state: IdentityState::Claimed, ..Identity::default() };
    let token = signed(&claims("customer-7", 1), SHOP_SECRET);
    for (body, identity) in [
        (json!({ "message": "hi" }), Identity::default()),
        (json!({ "message": "hi", "metadata": { "visitor": { "name": "Ada" } } }), claimed),
        (json!({ "message": "hi", "identity": token }), ada),
    ] {
        assert_eq!(says(&relay, "shop", &body, None).await.status, StatusCode::OK, "{body}");
        assert_eq!(seen(&relay).await, identity, "{body}");
        let leased = relay.calls_with(API_KEY).lease(&json!({})).await;
        assert_eq!(leased[0].visitor, identity, "{body}");
    }
}

#[tokio::test]
async fn the_agent_is_told_by_whose_word_a_visitor_is_somebody() {
    let relay = relay().await;
    let mut agent = TestAgent::start().await;
    let url = format!("http://{}", relay.address);
    let asks = ["--agent", "http", "--http-url", &agent.url()];
    let _poller = TestPoller::at(&url, &asks, Pace::default());
    let identity = signed(&claims("customer-7", 1), SHOP_SECRET);
    let body = json!({ "message": "hi", "identity": identity });
    says(&relay, "shop", &body, None).await.data::<MessageAccepted>();
    let question = agent.replies("hello").await;
    assert_eq!(question.visitor.state, IdentityState::Verified);
    assert_eq!(question.visitor.sub.as_deref(), Some("customer-7"));
}

#[tokio::test]
async fn the_same_sub_is_the_same_visitor_on_every_device() {
    let relay = relay().await;
    let ask = async |sub: &str, earlier: Option<&str>| -> MessageAccepted {
        let identity = signed(&claims(sub, 1), SHOP_SECRET);
        let body = json!({ "message": "hi", "identity": identity });
        says(&relay, "shop", &body, earlier).await.data()
    };
    let phone = ask("customer-7", None).await;
    let laptop = ask("customer-7", None).await;
    assert_eq!((phone.uid.clone(), false), (laptop.uid.clone(), laptop.is_new_user));
    let other = ask("customer-8", None).await;
    assert_ne!(other.uid, phone.uid);
    // A second person on the phone does not inherit the first one's uid.
    let third = ask("customer-9", phone.session_token.as_deref()).await;
    assert!(third.uid != phone.uid && third.uid != other.uid);
}

#[tokio::test]
async fn a_visitor_who_logs_in_goes_on_with_the_conversation() {
    let relay = relay().await;
    let body = json!({ "message": "hi" });
    let opened: MessageAccepted = says(&relay, "shop", &body, None).await.data();
    let token = opened.session_token.as_deref();
    let identity = signed(&claims("customer-7", 1), SHOP_SECRET);
    let with = |text: &str, identity: Option<&str>| json!({ "message": text, "session_id": opened.session_id, "identity": identity });
    let body = with("it is me", Some(&identity));
    let known: MessageAccepted = says(&relay, "shop", &body, token).await.data();
    assert_eq!((&known.uid, &known.session_id), (&opened.uid, &opened.session_id));
    assert_eq!(seen(&relay).await.state, IdentityState::Verified);
    // It need not be said again …
    says(&relay, "shop", &with("again", None), token).await.data::<MessageAccepted>();
    assert_eq!(seen(&relay).await.sub.as_deref(), Some("customer-7"));
    // … and nobody else takes the session over.
    let other = signed(&claims("customer-8", 1), SHOP_SECRET);
    let refused = says(&relay, "shop", &with("me now", Some(&other)), token).await;
    assert_eq!(refused.failure().kind, ErrorType::OtherVisitor);
    assert_eq!(seen(&relay).await.sub.as_deref(), Some("customer-7"));
}

#[tokio::test]
async fn both_kinds_of_key_verify_and_an_open_session_counts() {
    let relay = relay().await;
    for identity in
        [signed(&claims("member-1", 1), CLUB_SECRET), signed_by_club(&claims("member-1", 1))]
    {
        let body = json!({ "message": "hi", "identity": identity });
        let opened: MessageAccepted = says(&relay, "club", &body, None).await.data();
        let body = json!({ "message": "more", "session_id": opened.session_id });
        let more = says(&relay, "club", &body, opened.session_token.as_deref()).await;
        assert_eq!(more.status, StatusCode::OK);
        let body = json!({ "identity": identity });
        let opened = relay.stranger_calls().post("/sessions?site=club", &body).await;
        assert_eq!(opened.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn what_is_not_signed_for_the_site_is_refused() {
    let relay = relay().await;
    let good = claims("member-1", 1);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signed(&claims, CLUB_SECRET)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        signed(&claims, CLUB_SECRET)
    };
    let unsigned = {
        let signed = signed(&good, CLUB_SECRET);
        let claims = signed.split('.').nth(1).unwrap();
        // {"alg":"none","typ":"JWT"}
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.")
    };
    let by_public_key_as_secret = signed(&good, &CLUB.public_key_pem());
    let long = "x".repeat(256);
    let refused = [
        ("expired", signed(&claims("member-1", -1), CLUB_SECRET), "it has expired"),
        ("foreign", signed(&good, OTHER_SECRET), "it is not signed for this site"),
        ("of the other site", signed(&good, SHOP_SECRET), "it is not signed for this site"),
        ("for another audience", with("aud", json!("shop")), "it is not signed for this site"),
        ("not yet good", with("nbf", json!(9_999_999_999_i64)), "it is not signed for this site"),
        ("unsigned", unsigned, "it is not signed for this site"),
        ("signed with the public key", by_public_key_as_secret, "it is not signed for this site"),
        ("no token", "hello".into(), "it is not signed for this site"),
        ("without an end", without("exp"), "sub must have"),
        ("without a sub", without("sub"), "sub must have"),
        ("of nobody", with("sub", json!("")), "sub must have"),
        ("too long", with("sub", json!(long)), "sub must have"),
        ("of another type", with("email", json!(7)), "sub must have"),
        ("for a number", with("aud", json!(["club", 7])), "and aud be a text"),
    ];
    for (what, identity, sentence) in refused {
        let body = json!({ "message": "hi", "identity": identity });
        for path in ["/messages?site=club", "/sessions?site=club"] {
            let answer = relay.stranger_calls().post(path, &body).await;
            let failure = answer.failure();
            assert_eq!(failure.kind, ErrorType::InvalidIdentity, "{what}");
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}");
            assert!(failure.error.contains(sentence), "{what}: {}", failure.error);
            assert!(!failure.error.contains("hello"), "a token is repeated: {}", failure.error);
        }
    }
    let missing = says(&relay, "club", &json!({ "message": "hi" }), None).await;
    assert!(missing.failure().error.starts_with("identity is missing"));
    let sessions: Value = relay.calls_with(ADMIN_KEY).get("/sessions").await.data();
    assert_eq!(sessions["pagination"]["total"], 0);
}

#[tokio::test]
async fn a_site_without_a_key_verifies_nobody() {
    let relay = postern_tests::TestRelay::start().await;
    let identity = signed(&claims("customer-7", 1), SHOP_SECRET);
    let body = json!({ "message": "hi", "identity": identity });
    let refused = relay.stranger_calls().post("/messages", &body).await;
    assert!(refused.failure().error.contains("no key to verify it with"));
}
