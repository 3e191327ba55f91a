//! Ids: each takes exactly its own characters, and is the same text again.

#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use postern_shared::{Cursor, FileId, LeaseId, SessionId, SiteId, Uid};
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|text: &str| {
    let is_token = (1..=64).contains(&text.len()) && text.chars().all(is_of_token);
    check::<SessionId>(text, is_token);
    check::<FileId>(text, is_token);
    check::<SiteId>(text, is_token);
    check::<LeaseId>(text, is_token);
    check::<Uid>(text, text.len() == 16 && text.chars().all(is_lower_hex));
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert!(cursor.position() >= 0);
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
});

fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-".contains(c)
}

fn is_lower_hex(c: char) -> bool {
    c.is_ascii_hexdigit() && !c.is_ascii_uppercase()
}

fn check<T: FromStr + Display + Serialize + DeserializeOwned>(text: &str, is_good: bool) {
    let parsed: Option<T> = text.parse().ok();
    assert_eq!(parsed.is_some(), is_good);
    let json = serde_json::to_string(text).unwrap();
    assert_eq!(serde_json::from_str::<T>(&json).is_ok(), is_good);
    if let Some(id) = parsed {
        assert_eq!(id.to_string(), text);
        assert_eq!(serde_json::to_string(&id).unwrap(), json);
    }
}
