//! A visitor in Broca's tables: one user and one profile per `uid`.

use postern_shared::visitor::IdentityState;
use postern_shared::{Timestamp, Uid};
use rusqlite::{OptionalExtension, Row, Transaction, named_params};
use serde_json::{Map, Value};

use super::letta::LettaIds;
use crate::agent::Question;
use crate::one_line::one_line;

/// What Broca calls the platform that its own web chat is.
pub(super) const PLATFORM: &str = "web_chat";

/// How long a name may be, in characters.
const MAX_NAME_CHARS: usize = 100;

/// A visitor's profile and what it holds.
pub(super) struct Profile {
    pub(super) id: i64,
    pub(super) user_id: i64,
    pub(super) metadata: Map<String, Value>,
}

/// Whether a visitor's identity and block are known.
pub(super) fn has_letta_ids(tx: &Transaction<'_>, uid: &Uid) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM platform_profiles AS profile
               JOIN letta_users AS user ON user.id = profile.letta_user_id
               WHERE profile.platform = ?1 AND profile.platform_user_id = ?2
                   AND user.letta_identity_id <> '' AND user.letta_block_id <> ''";
    let known: i64 = tx.query_row(sql, (PLATFORM, uid.as_str()), |row| row.get(0))?;
    Ok(known > 0)
}

/// A visitor's profile; `None` when there is none, or none that belongs to a user.
pub(super) fn find(tx: &Transaction<'_>, uid: &Uid) -> rusqlite::Result<Option<Profile>> {
    let sql = "SELECT profile.id, user.id AS user_id, profile.metadata
               FROM platform_profiles AS profile
               JOIN letta_users AS user ON user.id = profile.letta_user_id
               WHERE profile.platform = ?1 AND profile.platform_user_id = ?2";
    tx.query_row(sql, (PLATFORM, uid.as_str()), profile).optional()
}

/// A visitor's profile, made when there is none, with what the visitor is known by now.
pub(super) fn find_or_make(
    tx: &Transaction<'_>,
    question: &Question,
    letta_ids: &LettaIds,
) -> rusqlite::Result<Profile> {
    let mut profile = match find(tx, &question.uid)? {
        Some(profile) => profile,
        None => make(tx, question)?,
    };
    let sql = "UPDATE letta_users SET last_active = ?2,
                   letta_identity_id = coalesce(nullif(letta_identity_id, ''), ?3),
                   letta_block_id = coalesce(nullif(letta_block_id, ''), ?4)
               WHERE id = ?1";
    tx.execute(sql, (profile.user_id, now(), &letta_ids.identity, &letta_ids.block))?;
    profile.metadata.extend(known_of(question)?);
    Ok(profile)
}

/// Writes a profile with the name that its visitor goes by.
pub(super) fn update(
    tx: &Transaction<'_>,
    profile: &Profile,
    question: &Question,
) -> rusqlite::Result<()> {
    let sql = "UPDATE platform_profiles SET display_name = ?2, metadata = ?3, last_active = ?4
               WHERE id = ?1";
    let metadata = Value::Object(profile.metadata.clone()).to_string();
    tx.execute(sql, (profile.id, display_name(question), metadata, now())).map(drop)
}

/// What to call a visitor: by name only when the site's server vouches for it.
pub(super) fn display_name(question: &Question) -> String {
    let verified = question.visitor.state == IdentityState::Verified;
    let name = question.visitor.name.as_deref().filter(|_| verified).map(one_line);
    match name.filter(|name| !name.is_empty()) {
        Some(name) => name.chars().take(MAX_NAME_CHARS).collect(),
        None => format!("Web User ({:.8})", question.uid.as_str()),
    }
}

/// The moment as Broca writes it: UTC, and without saying so. Broca sorts by it as text.
pub(super) fn moment(timestamp: Timestamp) -> String {
    timestamp.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// This moment as Broca writes it.
pub(super) fn now() -> String {
    moment(Timestamp::now())
}

fn make(tx: &Transaction<'_>, question: &Question) -> rusqlite::Result<Profile> {
    let sql = "INSERT INTO letta_users (created_at, last_active, is_active) VALUES (?1, ?1, 1)";
    tx.execute(sql, [now()])?;
    let user_id = tx.last_insert_rowid();
    let uid = question.uid.as_str();
    let sql = "INSERT INTO platform_profiles
                   (letta_user_id, platform, platform_user_id, username, created_at)
               VALUES (:user, :platform, :uid, :username, :now)
               ON CONFLICT (platform, platform_user_id)
               DO UPDATE SET letta_user_id = excluded.letta_user_id
               RETURNING id, letta_user_id AS user_id, metadata";
    let row = named_params! {
        ":user": user_id,
        ":platform": PLATFORM,
        ":uid": uid,
        // The agent is shown this with every message, so it is nobody's choice.
        ":username": format!("web_user_{uid}"),
        ":now": now(),
    };
    tx.query_row(sql, row, profile)
}

fn profile(row: &Row<'_>) -> rusqlite::Result<Profile> {
    let metadata: Option<String> = row.get("metadata")?;
    let metadata = metadata.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(Profile { id: row.get("id")?, user_id: row.get("user_id")?, metadata })
}

/// What Broca's web chat keeps of a visitor, and by whose word the visitor is somebody.
fn known_of(question: &Question) -> rusqlite::Result<Map<String, Value>> {
    let visitor = serde_json::to_value(&question.visitor)
        .map_err(|cause| rusqlite::Error::ToSqlConversionFailure(cause.into()))?;
    let known = [
        ("source", PLATFORM.into()),
        ("session_id", question.session_id.to_string().into()),
        ("uid", question.uid.to_string().into()),
        ("visitor", visitor),
    ];
    Ok(known.map(|(key, value)| (key.to_owned(), value)).into_iter().collect())
}
