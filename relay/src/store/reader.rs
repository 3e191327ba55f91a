//! The readers: a pool of read-only connections, as many as there are cores.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;
use tokio::task;
use tracing::warn;

use super::StoreError;
use super::file::{OpenError, keep_plans};
use crate::call;

/// How long a query waits for a connection before the caller is told to come back.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// The pages that a connection keeps, in KiB by SQLite's sign for it: about as many as one query reads. SQLite
/// lets go of all of them once anything was written, one after another, and the next query waits for that.
const CACHE_KIB: i32 = -512;

/// Runs queries off the async threads.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    pool: r2d2::Pool<SqliteConnectionManager>,
    /// As many as connections, so that no blocking thread ever waits for one.
    free: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let size = thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let manager =
            SqliteConnectionManager::file(path).with_flags(flags).with_init(|connection| {
                connection.busy_timeout(CONNECTION_TIMEOUT)?;
                connection.pragma_update(None, "trusted_schema", false)?;
                keep_plans(connection)?;
                connection.pragma_update(None, "cache_size", CACHE_KIB)?;
                connection.pragma_update(None, "query_only", true)
            });
        let pool = r2d2::Pool::builder()
            .max_size(u32::try_from(size).unwrap_or(2))
            .connection_timeout(CONNECTION_TIMEOUT)
            .test_on_check_out(false)
            .build(manager)?;
        Ok(Self { pool, free: Arc::new(Semaphore::new(size)) })
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let free = Arc::clone(&self.free).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let pool = self.pool.clone();
        let ran = task::spawn_blocking(move || {
            let _free = free;
            let connection = pool.get().map_err(|e| StoreError::Unavailable(e.to_string()))?;
            query(&connection)
        });
        told(ran.await.map_err(|e| StoreError::Broken(e.to_string()))?)
    }

    /// Runs a query of a few rows that were just written, and so lie in memory: where its caller runs,
    /// since another thread would take longer to wake than the rows to read.
    pub(super) async fn run_here<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // None is waited for: that would keep everybody else on this thread waiting.
        let free = self.free.try_acquire();
        let connection = free.is_ok().then(|| self.pool.try_get()).flatten();
        if let Some(connection) = connection {
            return told(query(&connection));
        }
        drop(free);
        self.run(query).await
    }
}

/// Warns of a query that failed.
fn told<T>(result: Result<T, StoreError>) -> Result<T, StoreError> {
    if let Err(StoreError::Unavailable(cause)) = &result {
        warn!(request.id = call::id(), error = %cause, "a query failed; its caller is told to come back");
    }
    result
}
