//! Whether the promises hold under load: each message is answered exactly once, and in order.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use postern_shared::MessageId;
use postern_shared::visitor::{Entry, Role};
use tokio::task::JoinSet;
use tokio::time;

use crate::bench::folder;
use crate::processes::{Running, Server};
use crate::promises::check;
use crate::stored;
use crate::visitor::Visitor;

const VISITORS: u32 = 400;

/// How long the visitors go on writing.
const LENGTH: Duration = Duration::from_secs(15);

/// How long the last replies may take after that.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many messages a visitor writes at most before reading on.
const BURST: u32 = 3;

/// After how many bursts a visitor loses the event stream and comes back.
const LOST_EVERY: u32 = 5;

/// How many broken promises are told.
const TOLD: usize = 10;

/// Checks it with visitors who write while they wait for replies, and lose their streams; returns what
/// was seen, and fails when a promise was broken.
pub(crate) async fn run(out: &Path) -> Result<String> {
    let folder = folder(out)?;
    let relay = Server::relay(&stored::database(folder.path(), 0)?)?;
    let _poller = Running::poller(relay.address, &folder.path().join("poller.db"))?;
    let until = Instant::now() + LENGTH;
    let mut talks = JoinSet::new();
    for number in 0..VISITORS {
        let visitor = Visitor::arrive(relay.address, number).await?;
        talks.spawn(Talk::new(visitor, number).hold(until));
    }
    let (mut messages, mut returns, mut broken) = (0, 0, Vec::new());
    while let Some(held) = talks.join_next().await {
        let talk = held??;
        messages += talk.said.len();
        returns += talk.returns;
        broken.extend(talk.broken);
    }
    if !broken.is_empty() {
        let count = broken.len();
        broken.truncate(TOLD);
        bail!("{count} promises were broken, with {messages} messages:\n{}", broken.join("\n"));
    }
    Ok(format!(
        "{messages} messages of {VISITORS} visitors were each answered exactly once and in order, on \
         event streams that were lost and resumed {returns} times, and in the transcripts."
    ))
}

/// One visitor's conversation.
struct Talk {
    visitor: Visitor,
    number: u32,
    said: Vec<(MessageId, String)>,
    heard: Vec<Entry>,
    returns: u32,
    broken: Vec<String>,
}

impl Talk {
    fn new(visitor: Visitor, number: u32) -> Self {
        let (said, heard, broken) = (Vec::new(), Vec::new(), Vec::new());
        Self { visitor, number, said, heard, returns: 0, broken }
    }

    /// Goes on for as long as there is time, then looks at what came of it.
    async fn hold(mut self, until: Instant) -> Result<Self> {
        let patience = until + PATIENCE;
        match time::timeout_at(patience.into(), self.talk(until)).await {
            Ok(talked) => {
                talked?;
                self.look_back().await?;
            }
            Err(_) => self.break_promise("not all was answered in time"),
        }
        Ok(self)
    }

    async fn look_back(&mut self) -> Result<()> {
        let stored = self.visitor.reads_all().await?;
        let (heard, stored) = (check(&self.said, &self.heard), check(&self.said, &stored));
        for (place, checked) in [("event stream", heard), ("transcript", stored)] {
            if let Err(fault) = checked {
                self.break_promise(&format!("the {place} has {fault}"));
            }
        }
        Ok(())
    }

    async fn talk(&mut self, until: Instant) -> Result<()> {
        for burst in 0.. {
            if Instant::now() >= until {
                break;
            }
            for _ in 0..=burst % BURST {
                let text = format!("visitor {} says {}", self.number, self.said.len());
                let message = self.visitor.says(&text).await?;
                self.said.push((message, text));
            }
            if burst % LOST_EVERY == LOST_EVERY - 1 {
                self.visitor.comes_back().await?;
                self.returns += 1;
            }
            self.hear_all().await?;
        }
        Ok(())
    }

    /// Reads until there are as many replies as messages.
    async fn hear_all(&mut self) -> Result<()> {
        let mut replies = self.heard.iter().filter(|entry| entry.role == Role::Agent).count();
        while replies < self.said.len() {
            let entry = self.visitor.hears().await?;
            replies += usize::from(entry.role == Role::Agent);
            self.heard.push(entry);
        }
        Ok(())
    }

    fn break_promise(&mut self, what: &str) {
        let (number, said) = (self.number, self.said.len());
        self.broken.push(format!("visitor {number}, who said {said} messages: {what}"));
    }
}
