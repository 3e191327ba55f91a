//! Calls that come one after another, with nothing else going on.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use postern_shared::Cursor;
use postern_shared::visitor::MessageAccepted;
use rusqlite::{Connection as Database, OpenFlags};

use crate::accept;
use crate::agent::Agent;
use crate::http::Connection;
use crate::outcome::{histogram, record};
use crate::processes::Server;
use crate::stored::{MESSAGE, conversations, stored_session};
use crate::visitor::{page, stream};

/// How many messages are leased at once: as many as a turn has, half of them in stored conversations.
const LEASED: u32 = 10;

/// How many streams are opened in a turn.
const STREAMS: u32 = 5;

/// How far apart the stored conversations are that are looked at one after another: so far that they share no
/// page of the database, however little is stored. A prime, so that it comes to all of them.
const STRIDE: u32 = 11;

/// How often each relay has its turn.
pub(crate) const TURNS: u32 = 300;

/// How many entries a page of a transcript has, and what an event stream catches up with.
const PAGE: u32 = 50;

/// How many messages wait when the index of the waiting is looked at.
const WAITING: u32 = 1_000;

/// Whoever calls one relay, and how long each call took.
pub(crate) struct SingleCalls<'a> {
    relay: &'a Server,
    /// How many conversations it has stored, each with enough for a page or two.
    conversations: u32,
    visitor: Connection,
    agent: Agent,
    pub(crate) messages: Histogram<u64>,
    pub(crate) long_messages: Histogram<u64>,
    pub(crate) leases: Histogram<u64>,
    pub(crate) replies: Histogram<u64>,
    pub(crate) pages: Histogram<u64>,
    pub(crate) streams: Histogram<u64>,
}

impl<'a> SingleCalls<'a> {
    /// To a relay with so many messages stored.
    pub(crate) async fn to(relay: &'a Server, stored: u64) -> Result<Self> {
        Ok(Self {
            relay,
            conversations: conversations(stored),
            visitor: Connection::open(relay.address).await?,
            agent: Agent::open(relay.address).await?,
            messages: histogram()?,
            long_messages: histogram()?,
            leases: histogram()?,
            replies: histogram()?,
            pages: histogram()?,
            streams: histogram()?,
        })
    }

    /// Ten messages, a lease of them all, ten replies; ten pages and five streams.
    pub(crate) async fn take_turn(&mut self, turn: u32) -> Result<()> {
        for number in turn * LEASED / 2..(turn + 1) * LEASED / 2 {
            let (key, long) = (format!("turn-{number:08}"), self.stored(number));
            record(&mut self.messages, post(&mut self.visitor, number, &key).await?);
            record(&mut self.long_messages, post(&mut self.visitor, long, &key).await?);
        }
        let from = Instant::now();
        let leased = self.agent.lease(LEASED).await?;
        record(&mut self.leases, from.elapsed());
        ensure!(leased.len() == LEASED as usize, "{} were leased", leased.len());
        for message in leased {
            let from = Instant::now();
            self.agent.replies(&message, MESSAGE).await?;
            record(&mut self.replies, from.elapsed());
        }
        for number in turn * LEASED..(turn + 1) * LEASED {
            self.show_page(self.stored(number)).await?;
        }
        for number in turn * STREAMS..(turn + 1) * STREAMS {
            self.open_stream(self.stored(number)).await?;
        }
        Ok(())
    }

    /// One of the stored conversations; one after another lie far apart.
    fn stored(&self, number: u32) -> u32 {
        stored_session(number * STRIDE % self.conversations)
    }

    /// The newest page of a conversation.
    async fn show_page(&mut self, session: u32) -> Result<()> {
        let from = Instant::now();
        let page = page(&mut self.visitor, session, PAGE, None).await?;
        record(&mut self.pages, from.elapsed());
        ensure!(page.messages.len() == PAGE as usize, "a page of {}", page.messages.len());
        Ok(())
    }

    /// A stream with as much to catch up with as a page has: from the call to the last entry.
    async fn open_stream(&mut self, session: u32) -> Result<()> {
        let page = page(&mut self.visitor, session, PAGE + 1, None).await?;
        ensure!(page.messages.len() > PAGE as usize, "a conversation of {}", page.messages.len());
        let seen = Cursor::after(page.messages.first().context("an empty conversation")?.id);
        let from = Instant::now();
        let mut events = stream(self.relay.address, session, seen).await?;
        let mut entries = 0;
        while entries < PAGE {
            entries += u32::from(events.event().await?.name == "message");
        }
        record(&mut self.streams, from.elapsed());
        Ok(())
    }
}

/// The size of the index of the waiting messages, in KiB, while many wait.
pub(crate) async fn index_of_waiting(relay: &Server, db: &Path) -> Result<f64> {
    let mut posts = Connection::open(relay.address).await?;
    for session in 0..WAITING {
        post(&mut posts, session, &format!("waits-{session:08}")).await?;
    }
    let database = Database::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let size = "SELECT sum(pgsize) FROM dbstat WHERE name = 'inbox_by_visibility'";
    Ok(database.query_row(size, [], |row| row.get::<_, f64>(0))? / 1_024.0)
}

async fn post(posts: &mut Connection, session: u32, key: &str) -> Result<Duration> {
    let mut request = Vec::new();
    accept::write_message(&mut request, session, key, MESSAGE);
    let from = Instant::now();
    posts.ask::<MessageAccepted>(&request).await?;
    Ok(from.elapsed())
}
