//! Identities: nobody is verified without the site's key, nor by claims that are not whole.
//!
//! The input is a JSON header and, on the lines after it, JSON claims; as a token of its own too.

#![no_main]

use std::fs;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use libfuzzer_sys::fuzz_target;
use postern_relay::fuzzing;
use postern_relay::identity::{IdentityKeys, VerifiedVisitor};
use postern_shared::{SiteId, Timestamp};
use serde_json::Value;

const OURS: &[u8; 32] = &[b'o'; 32];
const THEIRS: &[u8; 32] = &[b't'; 32];

static KEYS: LazyLock<IdentityKeys> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    fs::write(&path, OURS).expect("a file");
    fuzzing::identity_keys(&[&path]).expect("a key")
});

fuzz_target!(|text: &str| {
    assert!(verify(text).is_none());
    let (header, claims) = text.split_once('\n').unwrap_or(("", text));
    assert!(verify(&signed(header, claims, THEIRS)).is_none());
    let ours = signed(header, claims, OURS);
    if let Some(visitor) = verify(&ours) {
        let claims: Value = serde_json::from_str(claims).expect("JSON");
        assert!(is_whole(&claims, &visitor), "{claims}");
        let (signed, _) = ours.rsplit_once('.').expect("a signature");
        assert!(verify(&format!("{signed}.")).is_none());
        assert!(verify(&format!("{signed}x.{}", signature("", OURS))).is_none());
    }
});

fn verify(token: &str) -> Option<VerifiedVisitor> {
    fuzzing::verify(&KEYS, token, &SiteId::default()).ok()
}

fn signed(header: &str, claims: &str, key: &[u8]) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let signature = signature(&message, key);
    format!("{message}.{signature}")
}

fn signature(message: &str, key: &[u8]) -> String {
    let key = EncodingKey::from_secret(key);
    crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature")
}

fn is_whole(claims: &Value, visitor: &VerifiedVisitor) -> bool {
    let now = Timestamp::now().as_second();
    let lasts = claims["exp"].as_f64().is_some_and(|exp| exp as i64 > now - 120);
    let is_for_us = match &claims["aud"] {
        Value::Null => true,
        Value::String(site) => site == SiteId::default().as_str(),
        Value::Array(sites) => sites.iter().any(|site| site == SiteId::default().as_str()),
        _ => false,
    };
    let has_name = (1..=255).contains(&visitor.sub.chars().count());
    lasts && is_for_us && has_name && claims["sub"] == visitor.sub
}
