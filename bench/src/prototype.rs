//! The least that a relay can be: what is posted is stored, many messages in one commit, and nothing is
//! asked of whoever posts. How the relay's rate compares with its tells what all the rest costs.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Result;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::limits;

/// How many messages may wait, and how many share a commit; as many as in the relay.
const QUEUE: usize = 4_096;
const BATCH: usize = 256;

#[derive(Deserialize)]
struct Message {
    session_id: String,
    message: String,
}

#[derive(Serialize)]
struct Accepted {
    message_id: u64,
}

struct Job {
    message: Message,
    stored: oneshot::Sender<u64>,
}

/// Serves `POST /api/v1/messages` on a database that a relay made.
pub(crate) async fn serve(db: PathBuf) -> Result<()> {
    let (jobs, queue) = mpsc::channel(QUEUE);
    thread::spawn(move || write(&db, queue));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let router = Router::new().route("/api/v1/messages", post(accept)).with_state(jobs);
    Ok(axum::serve(listener, router).await?)
}

async fn accept(
    State(jobs): State<mpsc::Sender<Job>>,
    Json(message): Json<Message>,
) -> Result<Json<Accepted>, StatusCode> {
    let (stored, answer) = oneshot::channel();
    let queued = jobs.send(Job { message, stored }).await;
    queued.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let message_id = answer.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(Accepted { message_id }))
}

fn write(db: &Path, mut queue: mpsc::Receiver<Job>) -> Result<()> {
    let (mut connection, _) = limits::open(db)?;
    let mut jobs = Vec::new();
    while queue.blocking_recv_many(&mut jobs, BATCH) > 0 {
        let ids = store(&mut connection, &jobs)?;
        for (job, id) in jobs.drain(..).zip(ids) {
            // A caller that went away is normal.
            let _ = job.stored.send(id);
        }
    }
    Ok(())
}

fn store(connection: &mut Connection, jobs: &[Job]) -> Result<Vec<u64>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let store = |Job { message, .. }: &Job| {
        let session = transaction
            .prepare_cached("SELECT id FROM session WHERE public_id = ?1")?
            .query_row([&message.session_id], |row| row.get(0))?;
        limits::insert_message(&transaction, session, &message.message, 0)
    };
    let ids = jobs.iter().map(store).collect::<Result<_>>()?;
    transaction.commit()?;
    Ok(ids)
}
