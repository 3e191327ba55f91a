//! Calls that are held until there is a message: its lease is stored together with it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postern_relay::limits::{Allowance, SiteLimits};
use postern_relay::secret::SecretHash;
use postern_relay::sites::Site;
use postern_relay::store::{
    Change, FreshSession, HeldCall, Identity, LeaseTerms, Leased, NewMessage, NewReply, Now,
    SiteKey, Step, Store, StoreError,
};
use postern_shared::visitor::MessageState;
use postern_shared::{MessageId, SessionId, SiteId, Uid};
use rusqlite::Connection;
use tempfile::TempDir;

const MAX_ATTEMPTS: u32 = 5;
const LEASE: Duration = Duration::from_secs(60);
const NOW: Now = Now { wall_ms: 1_800_000_000_000, steady_ms: 1_800_000_000_000 };

#[tokio::test]
async fn a_message_and_the_lease_of_a_call_that_waits_for_it_are_one_commit() {
    let stage = Stage::open();
    let mut call = stage.hold();
    stage.store.check_writable(NOW).await.unwrap();
    let before = commits(&stage.db);
    // While the first write waits for the lock, the others queue up behind it.
    let lock = Connection::open(&stage.db).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let first = stage.store.check_writable(NOW);
    let unlocked = async { lock.execute_batch("ROLLBACK").unwrap() };
    let (first, accepted, ()) = tokio::join!(biased; first, stage.accept(1, None), unlocked);
    first.and(accepted).unwrap();
    call.served().await;
    assert_eq!(texts(&call.leased().await.unwrap()), ["message 1"]);
    assert!(commits(&stage.db) - before <= 2, "the first write, and all that queued up behind it");
}

#[tokio::test]
async fn a_call_hears_of_a_message_that_was_refused_and_gets_none() {
    let stage = Stage::open();
    let mut call = stage.hold();
    let refused = stage.accept(1, Some(SecretHash::of("nobody's"))).await;
    assert!(matches!(refused, Err(StoreError::UnknownToken)));
    call.served().await;
    assert_eq!(call.leased().await.unwrap(), []);
}

#[tokio::test]
async fn what_was_leased_for_a_call_that_waits_no_longer_is_still_its_own() {
    let stage = Stage::open();
    let call = stage.hold();
    stage.accept(1, None).await.unwrap();
    assert_eq!(texts(&call.leased().await.unwrap()), ["message 1"]);
}

#[tokio::test]
async fn a_call_that_is_gone_is_passed_over() {
    let stage = Stage::open();
    drop(stage.hold());
    let (first, second) = (stage.hold(), stage.hold());
    for n in 1..=2 {
        stage.accept(n, None).await.unwrap();
    }
    assert_eq!(texts(&second.leased().await.unwrap()), ["message 2"]);
    assert_eq!(texts(&first.leased().await.unwrap()), ["message 1"]);
}

#[tokio::test]
async fn who_watches_a_session_is_told_all_of_a_question_its_lease_and_its_answer() {
    let stage = Stage::open();
    let leased = stage.ask(1, None).await;
    let token = SecretHash::of("1");
    let key = stage.store.authorise(session(1), token).await.unwrap();
    let mut watch = stage.store.subscribe(key);

    let first = Some(leased.message.id);
    stage.answer(leased, "answer 1").await;
    assert_eq!(all_told(watch.changed().await), [(first, Some("answer 1".into()), None)]);

    let leased = stage.ask(2, Some(token)).await;
    let second = Some(leased.message.id);
    let expected = [
        (None, Some("message 2".to_owned()), Some(MessageState::Waiting)),
        (second, None, Some(MessageState::Working)),
    ];
    assert_eq!(all_told(watch.changed().await), expected);

    // Two are kept for whoever looks late, and none with a long text.
    stage.answer(leased, "answer 2").await;
    let leased = stage.ask(3, Some(token)).await;
    assert_eq!(watch.changed().await, Change::Stored);
    stage.answer(leased, &"long ".repeat(4_000)).await;
    assert_eq!(watch.changed().await, Change::Stored);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_no_other_message_from_being_stored() {
    let stage = Stage::open();
    stage.accept(1, None).await.unwrap();
    let damage = "UPDATE message SET metadata = 'no JSON'";
    Connection::open(&stage.db).unwrap().execute_batch(damage).unwrap();
    let mut call = stage.hold();
    stage.accept(2, None).await.unwrap();
    call.served().await;
    let failed = call.leased().await;
    assert!(matches!(failed, Err(StoreError::Broken(_))), "{failed:?}");
}

struct Stage {
    store: Store,
    db: PathBuf,
    _folder: TempDir,
}

impl Stage {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("relay.db");
        let (store, _) = Store::open(&db, &[Site::only(None).stored()], NOW).unwrap();
        Self { store, db, _folder: folder }
    }

    fn site(&self) -> SiteKey {
        self.store.site(&SiteId::default()).expect("the only site")
    }

    fn hold(&self) -> HeldCall {
        let terms = LeaseTerms { limit: 10, lasts: LEASE, max_attempts: MAX_ATTEMPTS };
        self.store.hold_call(self.site(), terms)
    }

    /// A visitor's message, leased.
    async fn ask(&self, n: u32, token: Option<SecretHash>) -> Leased {
        let call = self.hold();
        self.accept(n, token).await.unwrap();
        let leased = call.leased().await.unwrap().remove(0);
        self.told_of_all().await;
        leased
    }

    /// Waits until whoever waits for what was stored has been told.
    async fn told_of_all(&self) {
        self.store.check_writable(NOW).await.unwrap();
    }

    async fn answer(&self, leased: Leased, text: &str) {
        let reply = NewReply {
            site: self.site(),
            session: leased.message.session,
            text: text.to_owned(),
            answers: Some(leased.message.id),
            lease: Some(leased.lease),
            sent_at: None,
            stopped: false,
            quick_replies: Vec::new(),
            files: Vec::new(),
            idempotency: None,
        };
        self.store.post_reply(reply, NOW).await.unwrap();
        self.told_of_all().await;
    }

    /// A visitor's message, by which a session is opened unless the token of the first one is shown.
    async fn accept(&self, n: u32, token: Option<SecretHash>) -> Result<(), StoreError> {
        let message = NewMessage {
            site: self.site(),
            identity: Identity::default(),
            session: token.map(|_| session(1)),
            token,
            text: format!("message {n}"),
            metadata: None,
            files: Vec::new(),
            sent_at: None,
            idempotency: None,
            ip_address: None,
            allowance: Allowance::of_site(SiteLimits::OFF),
        };
        let id = session(n);
        let uid = Uid::try_from(format!("{n:016x}")).expect("a uid");
        let fresh = FreshSession { id, uid, token: SecretHash::of(&n.to_string()) };
        let accept = self.store.accept_message(message, move || fresh, NOW);
        self.store.serve_held_call(self.site(), NOW);
        accept.await.map(drop)
    }
}

fn session(n: u32) -> SessionId {
    format!("session-{n}").parse().expect("a session id")
}

/// Each step's beginning, what was said, and how the message stands whose turn it is.
fn all_told(change: Change) -> Vec<(Option<MessageId>, Option<String>, Option<MessageState>)> {
    let Change::Steps(steps) = change else { return Vec::new() };
    let told = |step: &Arc<Step>| {
        let said = step.said.as_ref().map(|entry| entry.text.clone());
        (step.from, said, step.waiting.map(|waiting| waiting.state))
    };
    steps.iter().map(told).collect()
}

fn texts(leased: &[Leased]) -> Vec<&str> {
    leased.iter().map(|leased| leased.message.text.as_str()).collect()
}

/// The commits in a database's log: the frames that tell how large the database is after them
/// (SQLite's file format, 4.1).
fn commits(db: &Path) -> usize {
    const HEADER: usize = 32;
    const FRAME_HEADER: usize = 24;
    let log = std::fs::read(db.with_extension("db-wal")).unwrap();
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    let frames = log[HEADER..].chunks_exact(FRAME_HEADER + page);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}
