//! Limits that hold over restarts: counted in the rows, by the transaction that adds to them.

use std::time::Duration;

use rusqlite::{Connection, named_params};

use super::{Now, SessionKey, SiteKey, StoreError};
use crate::limits::{Allowance, DAY, Exceeded, Limit, MINUTE, SiteLimits};

const DAY_MS: i64 = 86_400_000;

/// When it is worth asking again for what opens by itself, at a moment nobody knows.
const SESSION_OPENS: Duration = Duration::from_secs(5);
const SITE_OPENS: Duration = Duration::from_secs(60);
const SITE_FORGETS: Duration = Duration::from_secs(3_600);

/// What a session and its site have used up.
struct Used {
    site: SiteKey,
    session_open: u32,
    site_open: u32,
    /// On the day that it is.
    today: u32,
    rates: Rates,
}

/// The moments on the steady clock at which the whole of an allowance is there again: all that the
/// generic cell rate algorithm has to know.
#[derive(Clone, Copy)]
pub(super) struct Rates {
    pub(super) session_minute: i64,
    pub(super) session_day: i64,
    site_minute: i64,
}

/// Takes one message off what its session, its site and its address may send. Tells what is to be noted
/// in the session's row, which the message changes anyway.
pub(super) fn take_message(
    conn: &Connection,
    session: SessionKey,
    allowance: &Allowance,
    now: Now,
) -> Result<Option<Rates>, StoreError> {
    let limits = &allowance.site;
    let mut noted = None;
    if *limits != SiteLimits::OFF {
        let used = used(conn, session, limits, now)?;
        check_open(&used, limits)?;
        let rates = take_rates(used.rates, limits, now)?;
        check_budget(&used, limits, now)?;
        note(conn, &used, rates, now)?;
        noted = Some(rates);
    }
    allowance.take_message()?;
    Ok(noted)
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
        let count: u32 = conn.prepare_cached(sql)?.query_row([site], |row| row.get(0))?;
        check_count(Limit::SiteSessions, count, max, SITE_FORGETS)?;
    }
    Ok(allowance.take_session()?)
}

fn used(
    conn: &Connection,
    session: SessionKey,
    limits: &SiteLimits,
    now: Now,
) -> Result<Used, StoreError> {
    let sql = "SELECT site.id AS site, open_count, iif(day = :today, day_count, 0) AS today,
                   session.minute_whole_at, session.day_whole_at,
                   site.minute_whole_at AS site_minute_whole_at,
                   (SELECT count(*) FROM (
                       SELECT 1 FROM inbox WHERE session = :session LIMIT :max)) AS session_open
               FROM session JOIN site ON site.id = session.site WHERE session.id = :session";
    let parameters = named_params! {
        ":session": session, ":max": limits.session_open_messages, ":today": day(now),
    };
    Ok(conn.prepare_cached(sql)?.query_row(parameters, |row| {
        Ok(Used {
            site: row.get("site")?,
            session_open: row.get("session_open")?,
            site_open: row.get("open_count")?,
            today: row.get("today")?,
            rates: Rates {
                session_minute: row.get("minute_whole_at")?,
                session_day: row.get("day_whole_at")?,
                site_minute: row.get("site_minute_whole_at")?,
            },
        })
    })?)
}

fn check_open(used: &Used, limits: &SiteLimits) -> Result<(), Exceeded> {
    let (of_session, of_site) = (limits.session_open_messages, limits.site_open_messages);
    check_count(Limit::SessionOpenMessages, used.session_open, of_session, SESSION_OPENS)?;
    check_count(Limit::SiteOpenMessages, used.site_open, of_site, SITE_OPENS)
}

fn check_count(
    limit: Limit,
    count: u32,
    quota: u32,
    retry_after: Duration,
) -> Result<(), Exceeded> {
    if quota > 0 && count >= quota {
        return Err(Exceeded { limit, quota, window: None, retry_after });
    }
    Ok(())
}

fn check_budget(used: &Used, limits: &SiteLimits, now: Now) -> Result<(), Exceeded> {
    let quota = limits.site_daily_budget;
    if quota > 0 && used.today >= quota {
        return Err(Exceeded {
            limit: Limit::SiteDailyBudget,
            quota,
            window: Some(DAY),
            retry_after: millis(DAY_MS - now.wall_ms.rem_euclid(DAY_MS)),
        });
    }
    Ok(())
}

fn take_rates(rates: Rates, limits: &SiteLimits, now: Now) -> Result<Rates, Exceeded> {
    use Limit::{SessionMessagesPerDay, SessionMessagesPerMinute, SiteMessagesPerMinute};
    let take = |limit, whole_at, quota, window| take(limit, whole_at, quota, window, now);
    let (minute, day) = (limits.session_messages_per_minute, limits.session_messages_per_day);
    let of_site = limits.site_messages_per_minute;
    Ok(Rates {
        session_minute: take(SessionMessagesPerMinute, rates.session_minute, minute, MINUTE)?,
        session_day: take(SessionMessagesPerDay, rates.session_day, day, DAY)?,
        site_minute: take(SiteMessagesPerMinute, rates.site_minute, of_site, MINUTE)?,
    })
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

/// Notes what a site has used up.
fn note(conn: &Connection, used: &Used, rates: Rates, now: Now) -> Result<(), StoreError> {
    let sql = "UPDATE site SET minute_whole_at = ?2, day = ?3, day_count = ?4 WHERE id = ?1";
    let row = (used.site, rates.site_minute, day(now), used.today + 1);
    conn.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// The day that it is (UTC), in days since 1970.
fn day(now: Now) -> i64 {
    now.wall_ms.div_euclid(DAY_MS)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}
