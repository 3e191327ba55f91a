//! The keyring: which keys open what, now. Keys of the configuration, and those that
//! `postern-relay keys` makes and ends while the relay serves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock::Clock;
use crate::secret::SecretHash;
use crate::sites::{ServedSite, Sites};
use crate::store::{KeyId, LiveKey, Store, StoreError};

/// How often the stored keys are read: another process changes them, and a key that was revoked
/// must open nothing within a second.
const READ_EVERY: Duration = Duration::from_millis(400);

/// How often it is noted when keys were last used.
const NOTE_EVERY_MS: i64 = 60_000;

/// What a key opens.
#[derive(Debug, Clone)]
pub(crate) enum Opens {
    /// One site's inbox and outbox.
    Site(Arc<ServedSite>),
    /// The operator's calls.
    Everything,
}

/// A key that opens something.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) opens: Opens,
    hash: SecretHash,
    /// `None` for one of the configuration.
    stored: Option<StoredKey>,
    ended: CancellationToken,
}

#[derive(Debug)]
struct StoredKey {
    id: KeyId,
    /// Milliseconds since 1970.
    used_at: AtomicI64,
    noted_at: AtomicI64,
}

impl Key {
    fn configured(opens: Opens, hash: SecretHash) -> Arc<Self> {
        Arc::new(Self { opens, hash, stored: None, ended: CancellationToken::new() })
    }

    /// `None` when its site is not served any more.
    fn stored(live: &LiveKey, sites: &Sites) -> Option<Arc<Self>> {
        let opens = match live.site {
            None => Opens::Everything,
            Some(site) => Opens::Site(Arc::clone(sites.of_key(site)?)),
        };
        let stored = StoredKey { id: live.id, used_at: 0.into(), noted_at: 0.into() };
        let ended = CancellationToken::new();
        Some(Arc::new(Self { opens, hash: live.hash, stored: Some(stored), ended }))
    }

    /// Resolves when the key opens nothing any more.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// The keys; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Keyring {
    configured: Arc<[Arc<Key>]>,
    stored: Arc<RwLock<HashMap<KeyId, Arc<Key>>>>,
    sites: Sites,
    clock: Clock,
}

impl Keyring {
    /// With the keys of the configuration, and those that are stored now.
    pub(crate) fn new(
        admin: Option<SecretHash>,
        sites: Sites,
        stored: &[LiveKey],
        clock: Clock,
    ) -> Self {
        let operators = admin.map(|hash| Key::configured(Opens::Everything, hash));
        let pollers = sites.iter().filter_map(|served| {
            let opens = Opens::Site(Arc::clone(served));
            served.site.api_key.map(|hash| Key::configured(opens, hash))
        });
        let configured = operators.into_iter().chain(pollers).collect();
        let keyring = Self { configured, stored: Arc::default(), sites, clock };
        keyring.take(stored);
        keyring
    }

    /// The key that was shown, noting its use. Every key is compared, each in constant time.
    pub(crate) fn find(&self, shown: &SecretHash) -> Option<Arc<Key>> {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        let all = self.configured.iter().chain(stored.values());
        let found = all.filter(|key| key.hash == *shown).last().map(Arc::clone)?;
        if let Some(stored) = &found.stored {
            stored.used_at.store(self.clock.now().wall_ms, Ordering::Relaxed);
        }
        Some(found)
    }

    /// Whether some key is the operator's, or this site's.
    pub(crate) fn opens_any(&self, wanted: impl Fn(&Opens) -> bool) -> bool {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        self.configured.iter().chain(stored.values()).any(|key| wanted(&key.opens))
    }

    /// Adds the keys that are new and ends those that are gone.
    fn take(&self, live: &[LiveKey]) {
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        stored.retain(|id, key| {
            let lives = live.iter().any(|live| live.id == *id);
            if !lives {
                key.ended.cancel();
            }
            lives
        });
        for live in live {
            if !stored.contains_key(&live.id)
                && let Some(key) = Key::stored(live, &self.sites)
            {
                stored.insert(live.id, key);
            }
        }
    }

    /// The uses that are to be noted, at least this long after the last note.
    fn unnoted_uses(&self, after_ms: i64) -> Vec<(KeyId, i64)> {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        let uses = stored.values().filter_map(|key| key.stored.as_ref());
        uses.filter_map(|key| {
            let used_at = key.used_at.load(Ordering::Relaxed);
            let is_due = used_at > key.noted_at.load(Ordering::Relaxed).saturating_add(after_ms);
            is_due.then(|| {
                key.noted_at.store(used_at, Ordering::Relaxed);
                (key.id, used_at)
            })
        })
        .collect()
    }
}

/// Follows the stored keys until cancelled.
pub(crate) async fn run(keyring: Keyring, store: Store, cancelled: CancellationToken) {
    let mut failing = false;
    loop {
        tokio::select! {
            () = cancelled.cancelled() => break,
            () = time::sleep(READ_EVERY) => {}
        }
        let outcome = follow(&keyring, &store, NOTE_EVERY_MS).await;
        if let Err(cause) = &outcome
            && !failing
        {
            warn!(error = %cause, "the stored keys could not be followed");
        }
        failing = outcome.is_err();
    }
    // The last uses; that they are lost is no reason to hold up the end.
    let _ = follow(&keyring, &store, 0).await;
}

async fn follow(keyring: &Keyring, store: &Store, note_after_ms: i64) -> Result<(), StoreError> {
    keyring.take(&store.live_keys(keyring.clock.now()).await?);
    let uses = keyring.unnoted_uses(note_after_ms);
    if uses.is_empty() { Ok(()) } else { store.note_key_use(uses).await }
}
