//! Limits that are counted in the rows: each holds at its number, and opens as time passes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use postern_relay::limits::{Allowance, Exceeded, Limit, SiteLimits};
use postern_relay::secret::SecretHash;
use postern_relay::sites::Site;
use postern_relay::store::{FreshSession, Identity, NewMessage, Now, Store, StoreError};
use postern_shared::{MessageId, SessionId, SiteId, Uid};
use tempfile::TempDir;

/// Ten minutes before a midnight (UTC).
const EVENING: i64 = 1_800_057_000_000;

const MINUTE_MS: i64 = 60_000;

/// A store, the limits of its site, and the time.
struct Stage {
    folder: TempDir,
    store: Store,
    limits: SiteLimits,
    now: Now,
}

impl Stage {
    fn with(limits: SiteLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Now { wall_ms: EVENING, steady_ms: EVENING };
        let store = open(&folder, now);
        Self { folder, store, limits, now }
    }

    fn pass(&mut self, ms: i64) {
        self.now = Now { wall_ms: self.now.wall_ms + ms, steady_ms: self.now.steady_ms + ms };
    }

    async fn restart(&mut self) {
        self.store.close().await;
        self.store = open(&self.folder, self.now);
    }

    /// Says something in a session, opening it the first time.
    async fn say(&self, session: u32) -> Result<MessageId, Exceeded> {
        let id: SessionId = format!("session-{session}").parse().unwrap();
        let token = token(session);
        let is_open = self.store.authorise(id.clone(), token).await.is_ok();
        let uid = Uid::try_from(format!("{session:016x}")).unwrap();
        let message = NewMessage {
            site: self.store.site(&SiteId::default()).unwrap(),
            session: Some(id.clone()),
            token: is_open.then_some(token),
            identity: Identity::default(),
            text: "hi".into(),
            metadata: None,
            files: Vec::new(),
            sent_at: None,
            idempotency: None,
            ip_address: None,
            allowance: Allowance::of_site(self.limits),
        };
        let fresh = FreshSession { id, uid, token };
        match self.store.accept_message(message, move || fresh, self.now).await {
            Ok(accepted) => Ok(accepted.message),
            Err(StoreError::Exceeded(exceeded)) => Err(exceeded),
            Err(other) => unreachable!("{other}"),
        }
    }

    /// How many of up to 100 messages a session may send at this moment.
    async fn let_through(&self, session: u32) -> u32 {
        for sent in 0..100 {
            if self.say(session).await.is_err() {
                return sent;
            }
        }
        100
    }

    #[track_caller]
    fn assert_refused(&self, said: Result<MessageId, Exceeded>, limit: Limit, seconds: u64) {
        let exceeded = said.unwrap_err();
        assert_eq!((exceeded.limit, exceeded.retry_after.as_secs()), (limit, seconds));
    }
}

fn open(folder: &TempDir, now: Now) -> Store {
    let sites = [Site::only(None).stored()];
    Store::open(&folder.path().join("relay.db"), &sites, now).unwrap().0
}

fn token(session: u32) -> SecretHash {
    SecretHash::of(&format!("token of {session}"))
}

#[tokio::test]
async fn a_sessions_messages_of_a_minute_come_back_one_by_one() {
    let mut stage = Stage::with(SiteLimits { session_messages_per_minute: 20, ..SiteLimits::OFF });
    assert_eq!(stage.let_through(1).await, 20);
    assert_eq!(stage.let_through(2).await, 20);
    stage.assert_refused(stage.say(1).await, Limit::SessionMessagesPerMinute, 3);
    stage.pass(3_000);
    assert_eq!(stage.let_through(1).await, 1);
    stage.pass(MINUTE_MS);
    assert_eq!(stage.let_through(1).await, 20);
}

#[tokio::test]
async fn a_sessions_messages_of_a_day_hold_over_a_restart() {
    let mut stage = Stage::with(SiteLimits { session_messages_per_day: 24, ..SiteLimits::OFF });
    assert_eq!(stage.let_through(1).await, 24);
    stage.restart().await;
    stage.assert_refused(stage.say(1).await, Limit::SessionMessagesPerDay, 3_600);
    stage.pass(60 * MINUTE_MS);
    assert_eq!(stage.let_through(1).await, 1);
}

#[tokio::test]
async fn a_sites_messages_of_a_minute_are_those_of_all_its_sessions() {
    let mut stage = Stage::with(SiteLimits { site_messages_per_minute: 30, ..SiteLimits::OFF });
    for session in 0..30 {
        assert!(stage.say(session).await.is_ok());
    }
    stage.assert_refused(stage.say(7).await, Limit::SiteMessagesPerMinute, 2);
    stage.assert_refused(stage.say(31).await, Limit::SiteMessagesPerMinute, 2);
    stage.pass(2_000);
    assert!(stage.say(31).await.is_ok());
}

#[tokio::test]
async fn a_budget_is_spent_until_midnight_whatever_is_answered_or_restarted() {
    let mut stage = Stage::with(SiteLimits { site_daily_budget: 3, ..SiteLimits::OFF });
    assert_eq!(stage.let_through(1).await, 3);
    stage.restart().await;
    stage.assert_refused(stage.say(2).await, Limit::SiteDailyBudget, 600);
    stage.pass(10 * MINUTE_MS - 1);
    stage.assert_refused(stage.say(2).await, Limit::SiteDailyBudget, 0);
    stage.pass(1);
    assert_eq!(stage.let_through(2).await, 3);
    stage.assert_refused(stage.say(1).await, Limit::SiteDailyBudget, 86_400);
}

#[tokio::test]
async fn a_site_has_so_many_sessions_and_open_messages() {
    let limits = SiteLimits { site_sessions: 2, site_open_messages: 3, ..SiteLimits::OFF };
    let mut stage = Stage::with(limits);
    let first = stage.say(1).await.unwrap();
    assert!(stage.say(2).await.is_ok());
    assert_eq!(stage.say(3).await.unwrap_err().limit, Limit::SiteSessions);
    stage.restart().await;
    assert_eq!(stage.say(3).await.unwrap_err().limit, Limit::SiteSessions);
    assert_eq!(stage.let_through(2).await, 1);
    assert_eq!(stage.say(1).await.unwrap_err().limit, Limit::SiteOpenMessages);
    stage.store.cancel(first, token(1), stage.now).await.unwrap();
    assert_eq!(stage.let_through(1).await, 1);
}

#[tokio::test]
async fn a_clock_that_was_ahead_in_a_former_run_closes_nothing() {
    let mut stage = Stage::with(SiteLimits { session_messages_per_minute: 20, ..SiteLimits::OFF });
    assert_eq!(stage.let_through(1).await, 20);
    stage.pass(-1_000 * MINUTE_MS);
    stage.restart().await;
    assert_eq!(stage.let_through(1).await, 20);
}
