//! Limits that hold over restarts: counted in the rows, by the transaction that adds to them.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, ToSql};

use super::entries::{LATEST, Latest};
use super::rows::{SESSION_REF, SessionRef, session_ref};
use super::statements::Statements;
use super::writer::Txn;
use super::{Now, SessionKey, SiteKey, StoreError};
use crate::limits::{Allowance, DAY, Exceeded, Limit, MINUTE, SiteLimits};
use crate::secret::SecretHash;

const DAY_MS: i64 = 86_400_000;

/// When it is worth asking again for what opens by itself, at a moment nobody knows.
const SESSION_OPENS: Duration = Duration::from_secs(5);
const SITE_OPENS: Duration = Duration::from_secs(60);
const SITE_FORGETS: Duration = Duration::from_secs(3_600);

/// What a session and its site have used up.
pub(super) struct Used {
    pub(super) site: SiteKey,
    /// As far as anybody wants to know: it is not counted beyond the limit.
    pub(super) session_open: u32,
    site_open: i64,
    /// Read with the rest, since each message needs both.
    pub(super) latest: Latest,
    of_session: SessionUse,
    of_site: SiteUse,
}

/// The moments on the steady clock at which the whole of a session's allowances is there again: all that
/// the generic cell rate algorithm has to know.
pub(super) struct SessionUse {
    pub(super) minute_whole_at: i64,
    pub(super) day_whole_at: i64,
}

/// The same for a site, whose days begin at midnight (UTC) instead.
#[derive(Clone, Copy)]
pub(super) struct SiteUse {
    minute_whole_at: i64,
    /// In days since 1970.
    day: i64,
    day_count: u32,
}

/// What the jobs of one commit make of their sites' rows; written once, by [`note`].
#[derive(Default)]
pub(super) struct SitesUse(HashMap<SiteKey, Noted>);

/// What is to be noted in one site's row.
#[derive(Default)]
struct Noted {
    used: Option<SiteUse>,
    /// How many more messages are open than the row says.
    opened: i64,
}

impl SitesUse {
    /// Keeps what a job has made of its site's limits, and how many messages it opened and closed.
    pub(super) fn keep(
        &mut self,
        used: Option<(SiteKey, SiteUse)>,
        opened: impl IntoIterator<Item = (SiteKey, i64)>,
    ) {
        if let Some((site, used)) = used {
            self.0.entry(site).or_default().used = Some(used);
        }
        for (site, more) in opened {
            self.0.entry(site).or_default().opened += more;
        }
    }

    /// Forgets what the commit before was.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn of(&self, site: SiteKey) -> (Option<SiteUse>, i64) {
        self.0.get(&site).map(|noted| (noted.used, noted.opened)).unwrap_or_default()
    }
}

/// Takes one message off what its session, its site and its address may send. Tells what is to be noted
/// in the session's row, which the message changes anyway.
pub(super) fn take_message(
    txn: &mut Txn<'_>,
    used: &Used,
    allowance: &Allowance,
    now: Now,
) -> Result<SessionUse, StoreError> {
    use Limit::{SessionMessagesPerDay, SessionMessagesPerMinute, SiteMessagesPerMinute};
    let limits = &allowance.site;
    let Used { of_session, of_site, .. } = used;
    let take = |limit, whole_at, quota, window| take(limit, whole_at, quota, window, now);
    check_open(used, limits)?;
    let (minute, day) = (limits.session_messages_per_minute, limits.session_messages_per_day);
    let session = SessionUse {
        minute_whole_at: take(
            SessionMessagesPerMinute,
            of_session.minute_whole_at,
            minute,
            MINUTE,
        )?,
        day_whole_at: take(SessionMessagesPerDay, of_session.day_whole_at, day, DAY)?,
    };
    let minute = limits.site_messages_per_minute;
    let minute_whole_at = take(SiteMessagesPerMinute, of_site.minute_whole_at, minute, MINUTE)?;
    let day = today(now);
    let day_count = of_site.count_on(day);
    check_budget(day_count, limits, now)?;
    allowance.take_message()?;
    if *limits != SiteLimits::OFF {
        let site = SiteUse { minute_whole_at, day, day_count: day_count + 1 };
        txn.site_use = Some((used.site, site));
    }
    Ok(session)
}

/// Takes one session off what a site may have and an address may open.
pub(super) fn take_session(
    conn: &Connection,
    site: SiteKey,
    allowance: &Allowance,
) -> Result<(), StoreError> {
    if allowance.needs_proof {
        return Err(StoreError::ProofRequired);
    }
    let max = allowance.site.site_sessions;
    if max > 0 {
        let sql = "SELECT session_count FROM site WHERE id = ?1";
        let count: i64 = conn.prepare_cached(sql)?.query_row([site], |row| row.get(0))?;
        check_count(Limit::SiteSessions, count, max, SITE_FORGETS)?;
    }
    Ok(allowance.take_session()?)
}

/// What a session and its site have used up by now.
pub(super) fn used(
    txn: &mut Txn<'_>,
    session: SessionKey,
    allowance: &Allowance,
) -> Result<Used, StoreError> {
    static SQL: LazyLock<String> = LazyLock::new(|| select_used("session.id = ?1"));
    let (_, used) = find(txn, &SQL, session, allowance)?;
    Ok(used)
}

/// The session that a token opens, and what it and its site have used up by now: read at once, since each
/// message needs both. [`StoreError::UnknownToken`] when it opens none.
pub(super) fn holder(
    txn: &mut Txn<'_>,
    token: &SecretHash,
    allowance: &Allowance,
) -> Result<(SessionRef, Used), StoreError> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        select_used("session.id = (SELECT session FROM session_token WHERE hash = ?1)")
    });
    find(txn, &SQL, token, allowance).optional()?.ok_or(StoreError::UnknownToken)
}

/// The query of [`find`]; `?2` is how many open messages are worth counting.
fn select_used(which: &str) -> String {
    format!(
        "SELECT {SESSION_REF}, {LATEST}, session.minute_whole_at, session.day_whole_at,
             (SELECT count(*) FROM (SELECT 1 FROM inbox WHERE inbox.session = session.id LIMIT ?2)),
             site.id, site.open_count, site.minute_whole_at, site.day, site.day_count
         FROM session JOIN site ON site.id = session.site WHERE {which}"
    )
}

fn find(
    txn: &mut Txn<'_>,
    sql: &'static str,
    which: impl ToSql,
    allowance: &Allowance,
) -> rusqlite::Result<(SessionRef, Used)> {
    let max = allowance.site.session_open_messages.max(1);
    let Txn { statements, sites_use, .. } = txn;
    statements.get(sql)?.query_row((which, max), |row| {
        let session = session_ref(row)?;
        let site = row.get(10)?;
        let (minute_whole_at, day, day_count) = (row.get(12)?, row.get(13)?, row.get(14)?);
        let stored = SiteUse { minute_whole_at, day, day_count };
        let (noted, opened) = sites_use.of(site);
        let used = Used {
            site,
            session_open: row.get(9)?,
            site_open: row.get::<_, i64>(11)? + opened,
            latest: Latest::read(session.key, row, 4)?,
            of_session: SessionUse { minute_whole_at: row.get(7)?, day_whole_at: row.get(8)? },
            of_site: noted.unwrap_or(stored),
        };
        Ok((session, used))
    })
}

impl SiteUse {
    fn count_on(&self, day: i64) -> u32 {
        if self.day == day { self.day_count } else { 0 }
    }
}

fn check_open(used: &Used, limits: &SiteLimits) -> Result<(), Exceeded> {
    let (of_session, of_site) = (limits.session_open_messages, limits.site_open_messages);
    check_count(Limit::SessionOpenMessages, used.session_open.into(), of_session, SESSION_OPENS)?;
    check_count(Limit::SiteOpenMessages, used.site_open, of_site, SITE_OPENS)
}

fn check_count(
    limit: Limit,
    count: i64,
    quota: u32,
    retry_after: Duration,
) -> Result<(), Exceeded> {
    if quota > 0 && count >= i64::from(quota) {
        return Err(Exceeded { limit, quota, window: None, retry_after });
    }
    Ok(())
}

fn check_budget(today: u32, limits: &SiteLimits, now: Now) -> Result<(), Exceeded> {
    let quota = limits.site_daily_budget;
    if quota > 0 && today >= quota {
        return Err(Exceeded {
            limit: Limit::SiteDailyBudget,
            quota,
            window: Some(DAY),
            retry_after: millis(DAY_MS - now.wall_ms.rem_euclid(DAY_MS)),
        });
    }
    Ok(())
}

fn take(
    limit: Limit,
    whole_at: i64,
    quota: u32,
    window: Duration,
    now: Now,
) -> Result<i64, Exceeded> {
    if quota == 0 {
        return Ok(whole_at);
    }
    let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
    let window_end = now.steady_ms + window_ms;
    // What is further off than a window was noted by a former run, whose clock was ahead.
    let is_of_now = (now.steady_ms..=window_end).contains(&whole_at);
    let taken_until = if is_of_now { whole_at } else { now.steady_ms };
    let whole_at = taken_until + window_ms / i64::from(quota);
    let early_ms = whole_at - window_end;
    if early_ms > 0 {
        let retry_after = millis(early_ms);
        return Err(Exceeded { limit, quota, window: Some(window), retry_after });
    }
    Ok(whole_at)
}

/// Writes down what sites have used up, and how many of their messages are open.
pub(super) fn note(statements: &mut Statements<'_>, sites: &SitesUse) -> rusqlite::Result<()> {
    let sql = "UPDATE site SET open_count = open_count + ?2,
                   minute_whole_at = coalesce(?3, minute_whole_at), day = coalesce(?4, day),
                   day_count = coalesce(?5, day_count)
               WHERE id = ?1";
    for (site, Noted { used, opened }) in &sites.0 {
        let minute_whole_at = used.map(|used| used.minute_whole_at);
        let (day, day_count) = (used.map(|used| used.day), used.map(|used| used.day_count));
        statements.get(sql)?.execute((site, opened, minute_whole_at, day, day_count))?;
    }
    Ok(())
}

/// Counts messages that were put into the inbox, or, below zero, taken out.
pub(super) fn count_open(conn: &Connection, site: SiteKey, more: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE site SET open_count = open_count + ?2 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((site, more))?;
    Ok(())
}

/// The day that it is (UTC), in days since 1970.
fn today(now: Now) -> i64 {
    now.wall_ms.div_euclid(DAY_MS)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}
