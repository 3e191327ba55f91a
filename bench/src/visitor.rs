//! A visitor: one connection to write on, and an event stream to read.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use postern_shared::visitor::{Entry, MessageAccepted, Role, Transcript};
use postern_shared::{Cursor, MessageId};

use crate::accept;
use crate::http::Connection;
use crate::stored::{session_id, session_token};

/// How many streams come from one address of loopback: so few that a free port is soon found.
const PER_ADDRESS: u32 = 5_000;

pub(crate) struct Visitor {
    relay: SocketAddr,
    session: u32,
    posts: Connection,
    events: Connection,
    said: u32,
    cursor: Cursor,
}

impl Visitor {
    /// Comes to a conversation in which nothing was said.
    pub(crate) async fn arrive(relay: SocketAddr, session: u32) -> Result<Self> {
        let posts = Connection::open(relay).await?;
        let cursor = Cursor::default();
        let events = stream(relay, session, cursor).await?;
        Ok(Self { relay, session, posts, events, said: 0, cursor })
    }

    /// Says something; it is stored when this returns.
    pub(crate) async fn says(&mut self, text: &str) -> Result<MessageId> {
        self.said += 1;
        let key = format!("visitor-{:08}-{:012}", self.session, self.said);
        let mut request = Vec::new();
        accept::write_message(&mut request, self.session, &key, text);
        Ok(self.posts.ask::<MessageAccepted>(&request).await?.message_id)
    }

    /// The next entry of the conversation on the event stream.
    pub(crate) async fn hears(&mut self) -> Result<Entry> {
        let entry: Entry = serde_json::from_str(&self.next("message").await?)?;
        self.cursor = Cursor::after(entry.id);
        Ok(entry)
    }

    /// Waits for the reply to a message.
    pub(crate) async fn hears_reply_to(&mut self, message: MessageId) -> Result<Entry> {
        loop {
            let entry = self.hears().await?;
            if entry.role == Role::Agent && entry.message_id == Some(message) {
                return Ok(entry);
            }
        }
    }

    /// The data of the next event of this name.
    pub(crate) async fn next(&mut self, name: &str) -> Result<String> {
        loop {
            let event = self.events.event().await?;
            if event.name == name {
                return Ok(event.data);
            }
        }
    }

    /// Loses the event stream, and goes on where it was.
    pub(crate) async fn comes_back(&mut self) -> Result<()> {
        self.events = stream(self.relay, self.session, self.cursor).await?;
        Ok(())
    }

    /// All of the conversation as it is stored, oldest first.
    pub(crate) async fn reads_all(&mut self) -> Result<Vec<Entry>> {
        let mut pages = Vec::new();
        let mut before = None;
        loop {
            let page = page(&mut self.posts, self.session, 100, before).await?;
            before = page.messages.first().map(|entry| entry.id);
            pages.push(page.messages);
            if !page.has_more {
                return Ok(pages.into_iter().rev().flatten().collect());
            }
        }
    }
}

/// A page of a conversation, the newest unless told otherwise.
pub(crate) async fn page(
    connection: &mut Connection,
    session: u32,
    limit: u32,
    before: Option<MessageId>,
) -> Result<Transcript> {
    let mut path = format!("messages?limit={limit}");
    if let Some(before) = before {
        write!(path, "&before={before}")?;
    }
    connection.ask(get(session, &path).as_bytes()).await
}

/// An event stream that goes on after a cursor, once its head is there. There may be more of them than one
/// address has ports.
pub(crate) async fn stream(relay: SocketAddr, session: u32, after: Cursor) -> Result<Connection> {
    static OPENED: AtomicU32 = AtomicU32::new(0);
    let [.., c, d] = (OPENED.fetch_add(1, Ordering::Relaxed) / PER_ADDRESS + 1).to_be_bytes();
    let mut connection = Connection::open_from(Ipv4Addr::new(127, 1, c, d), relay).await?;
    connection.listen(get(session, &format!("events?after={after}")).as_bytes()).await?;
    Ok(connection)
}

fn get(session: u32, path: &str) -> String {
    format!(
        "GET /api/v1/sessions/{}/{path} HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {}\r\n\r\n",
        session_id(session),
        session_token(session),
    )
}
