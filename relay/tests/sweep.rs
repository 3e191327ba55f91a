//! Sweeps that find more than one transaction takes.

use std::time::Duration;

use futures_util::future::try_join_all;
use postern_relay::limits::{Allowance, SiteLimits};
use postern_relay::secret::SecretHash;
use postern_relay::sites::Site;
use postern_relay::store::{
    FreshSession, Identity, LeaseTerms, Leased, NewChunk, NewMessage, Now, SessionKey, SiteKey,
    Store, StoreError,
};
use postern_shared::{Cursor, SiteId, Uid};

const MORE_THAN_A_SWEEP_TAKES: u32 = 300;
const MAX_ATTEMPTS: u32 = 5;
const LEASE: Duration = Duration::from_secs(60);
const NOW: Now = Now { wall_ms: 1_800_000_000_000, steady_ms: 1_800_000_000_000 };
const LATER: Now = Now { wall_ms: 1_800_000_060_000, steady_ms: 1_800_000_060_000 };

#[tokio::test]
async fn what_was_written_is_kept_of_every_message_that_is_stopped() -> Result<(), StoreError> {
    let folder = tempfile::tempdir().unwrap();
    let sites = [Site::only(None).stored()];
    let (store, _) = Store::open(&folder.path().join("relay.db"), &sites, NOW).unwrap();
    let site = site(&store);
    let sessions =
        try_join_all((0..MORE_THAN_A_SWEEP_TAKES).map(|n| open_session(&store, n))).await?;
    let (limit, lasts, max_attempts) = (MORE_THAN_A_SWEEP_TAKES, LEASE, MAX_ATTEMPTS);
    let leased = store.lease(site, LeaseTerms { limit, lasts, max_attempts }, NOW).await?;
    try_join_all(leased.into_iter().map(|leased| write_and_cancel(&store, leased))).await?;

    for _ in 0..2 {
        store.expire_leases(MAX_ATTEMPTS, NOW.steady_ms, LATER).await?;
    }
    for session in sessions {
        let replies = store.entries_after(session, Cursor::default(), true, 2).await?;
        let written: Vec<_> = replies.iter().map(|reply| (&*reply.text, reply.stopped)).collect();
        assert_eq!(written, [("So far", true)]);
    }
    Ok(())
}

fn site(store: &Store) -> SiteKey {
    store.site(&SiteId::default()).expect("the only site")
}

async fn open_session(store: &Store, n: u32) -> Result<SessionKey, StoreError> {
    let id = format!("session-{n}").parse().expect("a session id");
    let uid = Uid::try_from(format!("{n:016x}")).expect("a uid");
    let token = token(n);
    let message = NewMessage {
        site: site(store),
        identity: Identity::default(),
        session: None,
        token: None,
        text: "hi".into(),
        metadata: None,
        files: Vec::new(),
        sent_at: None,
        idempotency: None,
        ip_address: None,
        allowance: Allowance::of_site(SiteLimits::OFF),
    };
    let opened =
        store.accept_message(message, move || FreshSession { id, uid, token }, NOW).await?;
    store.authorise(opened.session, token).await
}

async fn write_and_cancel(store: &Store, leased: Leased) -> Result<(), StoreError> {
    let (id, text) = (leased.message.id, String::from("So far"));
    let chunk = NewChunk { lease: leased.lease, offset: 0, text, progress: None };
    store.take_chunk(id, chunk, NOW).await?;
    let n = leased.message.session.as_str().trim_start_matches("session-").parse();
    store.cancel(id, token(n.expect("a number")), NOW).await
}

fn token(n: u32) -> SecretHash {
    SecretHash::of(&n.to_string())
}
