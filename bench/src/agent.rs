//! A poller worked by hand, one step at a time.

use std::net::SocketAddr;

use anyhow::Result;
use postern_shared::poller::{
    ChunkTaken, LeaseRequest, Leased, LeasedMessage, PostChunk, PostReply, ReplyStored,
};
use serde::Serialize;

use crate::http::Connection;
use crate::processes::API_KEY;

/// Longer than anything here takes, in seconds.
const LEASE_SECONDS: u32 = 600;

pub(crate) struct Agent {
    connection: Connection,
}

impl Agent {
    pub(crate) async fn open(relay: SocketAddr) -> Result<Self> {
        Ok(Self { connection: Connection::open(relay).await? })
    }

    /// Up to so many of the messages that wait.
    pub(crate) async fn lease(&mut self, limit: u32) -> Result<Vec<LeasedMessage>> {
        let wish = LeaseRequest {
            limit: Some(limit),
            wait_seconds: None,
            lease_seconds: Some(LEASE_SECONDS),
        };
        let leased: Leased = self.connection.ask(&post("inbox/lease", &wish)?).await?;
        Ok(leased.messages)
    }

    /// Writes on at a reply; returns how long it is now, in bytes.
    pub(crate) async fn writes(
        &mut self,
        to: &LeasedMessage,
        offset: u64,
        text: &str,
    ) -> Result<u64> {
        let (lease_id, text) = (to.lease_id.clone(), text.to_owned());
        let chunk = PostChunk { lease_id, offset, text, progress: None };
        let request = post(&format!("inbox/{}/chunks", to.id), &chunk)?;
        Ok(self.connection.ask::<ChunkTaken>(&request).await?.received)
    }

    pub(crate) async fn replies(&mut self, to: &LeasedMessage, text: &str) -> Result<()> {
        let reply = PostReply {
            session_id: to.session_id.clone(),
            response: text.to_owned(),
            message_id: Some(to.id),
            lease_id: Some(to.lease_id.clone()),
            timestamp: None,
            stopped: false,
            quick_replies: Vec::new(),
            files: Vec::new(),
        };
        self.connection.ask::<ReplyStored>(&post("outbox", &reply)?).await?;
        Ok(())
    }
}

fn post(path: &str, body: &impl Serialize) -> Result<Vec<u8>> {
    let body = serde_json::to_string(body)?;
    let length = body.len();
    Ok(format!(
        "POST /api/v1/{path} HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {API_KEY}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes())
}
