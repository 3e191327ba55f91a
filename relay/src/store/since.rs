//! Since when: where to go on for a visitor who knows no cursor, only a moment.

use postern_shared::visitor::Role;
use postern_shared::{Cursor, MessageId, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::conversation::cursor_at;
use super::{Now, SessionKey, Store, StoreError, rows, timestamp};

/// The furthest that a visitor's clock is believed to be off.
const FURTHEST_OFF_MS: i64 = 24 * 3_600_000;

/// The longest that a message is believed to have been on its way.
const LONGEST_WAY_MS: i64 = 10_000;

impl Store {
    /// Where to begin for a visitor who asks for what came since a moment and was `given` everything
    /// up to a place. A moment of [`told_at`] is the place after that entry; any other is by the
    /// visitor's own clock, and hides nothing that was not given yet.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn place_since(
        &self,
        session: SessionKey,
        since: Timestamp,
        given: Option<Cursor>,
        now: Now,
    ) -> Result<Cursor, StoreError> {
        self.readers
            .run(move |conn| {
                let snapshot = conn.unchecked_transaction()?;
                place_since(&snapshot, session, since, given, now)
            })
            .await
    }
}

/// The moment that is told of an entry: the millisecond at which it was stored and, below that, the
/// last digits of its id. So no two entries of a conversation are of one moment.
pub fn told_at(id: MessageId, at: Timestamp) -> Timestamp {
    let told = at.as_millisecond() * 1_000 + id.0.rem_euclid(1_000);
    Timestamp::from_microsecond(told).unwrap_or(at)
}

fn place_since(
    conn: &Connection,
    session: SessionKey,
    since: Timestamp,
    given: Option<Cursor>,
    now: Now,
) -> Result<Cursor, StoreError> {
    if let Some(told) = entry_of(conn, session, since)? {
        return Ok(Cursor::after(told));
    }
    let since = by_our_clock(conn, session, since, given.is_some())?;
    let place = cursor_at(conn, session, since)?;
    let given = match given {
        None if since > timestamp(now.wall_ms) => Some(latest_message(conn, session)?),
        given => given,
    };
    Ok(given.map_or(place, |given| place.min(given)))
}

/// A moment by the visitor's clock as the relay's shows it, no finer than it was said. While nothing
/// was given yet, a little that the clock seems to be behind may be the message's way.
fn by_our_clock(
    conn: &Connection,
    session: SessionKey,
    since: Timestamp,
    is_given: bool,
) -> Result<Timestamp, StoreError> {
    if is_stored_at(conn, session, since)? {
        return Ok(since);
    }
    let off = clock_off_ms(conn, session)?
        .filter(|off| is_given || off.saturating_abs() > LONGEST_WAY_MS);
    let ms = since.as_millisecond().saturating_sub(off.unwrap_or(0));
    let is_whole_second = since.subsec_nanosecond() == 0;
    Ok(timestamp(if is_whole_second { ms - ms.rem_euclid(1_000) } else { ms }))
}

/// The entry of which a moment was told.
fn entry_of(
    conn: &Connection,
    session: SessionKey,
    moment: Timestamp,
) -> Result<Option<MessageId>, StoreError> {
    let sql = "SELECT id FROM conversation CROSS JOIN message ON message.id = entry
               WHERE conversation.session = ?1 AND at = ?2 AND id % 1000 = ?3";
    let (at, digits) = (moment.as_millisecond(), moment.as_microsecond().rem_euclid(1_000));
    let mut found = conn.prepare_cached(sql)?;
    Ok(found.query_row((session, at, digits), |row| row.get(0).map(MessageId)).optional()?)
}

/// Whether some entry is of this millisecond: then the moment is one that was told, cut short.
fn is_stored_at(
    conn: &Connection,
    session: SessionKey,
    moment: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (
                   SELECT 1 FROM conversation CROSS JOIN message ON message.id = entry
                   WHERE conversation.session = ?1 AND at = ?2)";
    let row = (session, moment.as_millisecond());
    Ok(conn.prepare_cached(sql)?.query_row(row, |row| row.get(0))?)
}

/// By how many milliseconds the visitor's clock is ahead, by what the latest message says.
fn clock_off_ms(conn: &Connection, session: SessionKey) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT sent_at - at FROM conversation CROSS JOIN message ON message.id = entry
               WHERE conversation.session = ?1 AND role = ?2 AND sent_at IS NOT NULL ORDER BY id DESC LIMIT 1";
    let visitor = rows::role_number(Role::Visitor);
    let off: Option<i64> =
        conn.prepare_cached(sql)?.query_row((session, visitor), |row| row.get(0)).optional()?;
    Ok(off.filter(|off| off.saturating_abs() <= FURTHEST_OFF_MS))
}

/// The place after the visitor's latest message.
fn latest_message(conn: &Connection, session: SessionKey) -> Result<Cursor, StoreError> {
    let sql = "SELECT coalesce(max(id), 0)
               FROM conversation CROSS JOIN message ON message.id = entry
               WHERE conversation.session = ?1 AND role = ?2";
    let visitor = rows::role_number(Role::Visitor);
    let latest = conn.prepare_cached(sql)?.query_row((session, visitor), |row| row.get(0))?;
    Ok(Cursor::after(MessageId(latest)))
}
