//! What must hold after everything was broken and healed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs;

use postern_shared::visitor::{Entry, Role};
use serde_json::Value;

use super::visitor::{Story, answers, reply_to};
use super::{Bridge, Plan};
use crate::{ADMIN_KEY, Caller};

/// What a run found; a bridge that keeps its promises has no violations.
#[derive(Debug)]
pub struct Report {
    /// The plan's seed.
    pub seed: u64,
    /// How often the relay was killed.
    pub relay_kills: usize,
    /// How often the poller was killed.
    pub poller_kills: usize,
    /// How often an agent was killed.
    pub agent_kills: usize,
    /// How many connections were broken.
    pub cuts: u64,
    /// How many messages were answered with success.
    pub messages: usize,
    /// How many of them became dead letters.
    pub dead_letters: usize,
    /// How many replies the visitors stopped.
    pub stopped: usize,
    /// How many pieces of replies the visitors saw being written.
    pub chunks: usize,
    /// How many runs the agent had in all.
    pub runs: usize,
    /// Each broken promise, as a sentence.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, relay_kills, poller_kills, agent_kills, cuts, .. } = self;
        let kills = relay_kills + poller_kills + agent_kills;
        writeln!(
            f,
            "seed {seed}: {kills} kills (relay {relay_kills}, poller {poller_kills}, agent \
             {agent_kills}), {cuts} connections broken"
        )?;
        write!(
            f,
            "{} messages accepted, {} agent runs, {} pieces seen, {} replies stopped, {} dead \
             letters, {} promises broken",
            self.messages,
            self.runs,
            self.chunks,
            self.stopped,
            self.dead_letters,
            self.violations.len()
        )?;
        self.violations.iter().take(20).try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

pub(super) async fn report(
    bridge: &Bridge,
    plan: Plan,
    stories: Vec<Story>,
    agent_kills: Vec<u128>,
) -> Report {
    let mut violations = Vec::new();
    let (mut dead_letters, mut stopped) = (0, 0);
    for story in &stories {
        check_story(story, &mut violations);
        check_transcript(bridge, story, &mut violations).await;
        check_files(bridge, story, &mut violations).await;
        stopped += story.shown.iter().filter(|entry| entry.stopped).count();
        dead_letters += story.shown.iter().filter(|entry| entry.role == Role::System).count();
    }
    let runs = read_runs(bridge);
    let (relay_kills, poller_kills) = (bridge.relay.kills(), bridge.poller.kills());
    let kills: Vec<_> = poller_kills.iter().chain(&agent_kills).copied().collect();
    check_runs(&runs, &kills, &mut violations);
    let overlaps = fs::read_to_string(bridge.folder.path().join("overlaps")).unwrap_or_default();
    violations.extend(overlaps.lines().map(|line| format!("two agents at once: {line}")));
    for (half, supervisor) in [("relay", &bridge.relay), ("poller", &bridge.poller)] {
        let ends = supervisor.other_ends();
        violations.extend(ends.iter().map(|end| format!("the {half} ended by itself: {end}")));
        supervisor.end();
    }
    Report {
        seed: plan.seed,
        relay_kills: relay_kills.len(),
        poller_kills: poller_kills.len(),
        agent_kills: agent_kills.len(),
        cuts: bridge.cuts(),
        messages: stories.iter().map(|story| story.accepted.len()).sum(),
        dead_letters,
        stopped,
        chunks: stories.iter().map(|story| story.chunks).sum(),
        runs: runs.values().map(Vec::len).sum(),
        violations,
    }
}

/// Everything accepted is answered once, in order, and shown once.
fn check_story(story: &Story, violations: &mut Vec<String>) {
    let rising = |pair: &[Entry]| pair[0].id < pair[1].id;
    for pair in story.shown.windows(2).filter(|pair| !rising(pair)) {
        violations
            .push(format!("shown twice or out of order: {} after {}", pair[1].id, pair[0].id));
    }
    let mut answered: HashMap<i64, u32> = HashMap::new();
    for message in story.shown.iter().filter_map(answers) {
        *answered.entry(message).or_default() += 1;
    }
    for (id, text) in &story.accepted {
        match answered.get(id) {
            None => violations.push(format!("lost: message {id} has no answer")),
            Some(1) => {}
            Some(times) => violations.push(format!("doubled: message {id} has {times} answers")),
        }
        let reply = reply_to(text);
        let fits = |entry: &Entry| {
            let stopped = entry.stopped && story.cancelled.contains(id);
            entry.text == reply || (stopped && reply.starts_with(&entry.text))
        };
        let wrong = |entry: &&Entry| {
            entry.role == Role::Agent
                && entry.message_id.is_some_and(|message| message.0 == *id)
                && !fits(entry)
        };
        if let Some(entry) = story.shown.iter().find(wrong) {
            violations.push(format!("mixed up: message {id} was answered {:?}", entry.text));
        }
    }
    violations.extend(story.bad_chunks.iter().map(|bad| format!("badly written: {bad}")));
    // A message that is stopped while it waits is done with before those ahead of it.
    let order: Vec<_> =
        story.shown.iter().filter(|entry| !entry.stopped).filter_map(answers).collect();
    for pair in order.windows(2).filter(|pair| pair[0] > pair[1]) {
        violations.push(format!("out of order: {} was answered after {}", pair[1], pair[0]));
    }
    let own = story.shown.iter().filter(|entry| entry.role == Role::Visitor);
    let sent: HashSet<_> = story.accepted.iter().map(|(id, _)| *id).collect();
    let mut texts = HashSet::new();
    for entry in own {
        if !texts.insert(&entry.text) {
            violations.push(format!("doubled: {:?} was stored twice", entry.text));
        }
        if !sent.contains(&entry.id.0) && story.accepted.iter().any(|(_, text)| *text == entry.text)
        {
            violations.push(format!("doubled: message {} is not the one answered for", entry.id));
        }
    }
}

/// What the operator sees is what the stream showed.
async fn check_transcript(bridge: &Bridge, story: &Story, violations: &mut Vec<String>) {
    let Some(session) = &story.session else { return };
    let operator = Caller::new(bridge.relay_address).with_secret(ADMIN_KEY);
    let mut stored = Vec::new();
    loop {
        let path = format!("/sessions/{session}?limit=100&offset={}", stored.len());
        let page: Value = operator.get(&path).await.data();
        let entries = page["messages"].as_array().cloned().unwrap_or_default();
        stored.extend(entries.iter().filter_map(|entry| entry["id"].as_i64()));
        if page["pagination"]["has_more"] != true {
            break;
        }
    }
    let shown: Vec<_> = story.shown.iter().map(|entry| entry.id.0).collect();
    if stored != shown {
        let (stored, shown) = (stored.len(), shown.len());
        violations.push(format!("session {session}: {stored} entries stored, {shown} shown"));
    }
}

/// Every reply that was not stopped came with its one file, and the file is whole.
async fn check_files(bridge: &Bridge, story: &Story, violations: &mut Vec<String>) {
    let Some(session) = &story.session else { return };
    let operator = Caller::new(bridge.relay_address).with_secret(ADMIN_KEY);
    let texts: HashMap<_, _> = story.accepted.iter().map(|(id, text)| (*id, text)).collect();
    let is_whole = |entry: &&Entry| entry.role == Role::Agent && !entry.stopped;
    for entry in story.shown.iter().filter(is_whole) {
        let asked = answers(entry).and_then(|message| texts.get(&message));
        let [file] = entry.files.as_slice() else {
            violations.push(format!("reply {} has {} files", entry.id, entry.files.len()));
            continue;
        };
        let got = operator.get(&format!("/sessions/{session}/files/{}", file.id)).await;
        if asked.is_none_or(|text| text.as_bytes() != got.body) {
            violations.push(format!("the file of reply {} is not what was sent", entry.id));
        }
    }
}

/// When one run of the agent began; runs are kept by message, in order.
type Runs = BTreeMap<i64, Vec<u128>>;

fn read_runs(bridge: &Bridge) -> Runs {
    let notes = fs::read_to_string(bridge.folder.path().join("runs")).unwrap_or_default();
    let mut runs = Runs::new();
    for note in notes.lines() {
        let mut words = note.split(' ');
        if words.next() != Some("began") {
            continue;
        }
        let message = words.next().and_then(|word| word.parse().ok());
        let began = words.nth(1).and_then(|word| word.parse().ok());
        if let (Some(message), Some(began)) = (message, began) {
            runs.entry(message).or_default().push(began);
        }
    }
    runs
}

/// How long after its poller was killed a program may still note that it began: it was started
/// before, and is not yet ended.
const LATE_NOTE_NS: u128 = 500_000_000;

/// Between two runs for one message lies the kill that made the second necessary.
fn check_runs(runs: &Runs, kills: &[u128], violations: &mut Vec<String>) {
    for (message, began) in runs {
        for pair in began.windows(2) {
            let first = pair[0].saturating_sub(LATE_NOTE_NS);
            if !kills.iter().any(|kill| (first..=pair[1]).contains(kill)) {
                let before = kills.iter().filter(|kill| **kill < first).max();
                let earlier_ms = before.map(|kill| (pair[0] - kill) / 1_000_000);
                violations.push(format!(
                    "message {message}: the agent ran again after {} ms without a crash; the last \
                     one was {earlier_ms:?} ms before the first run",
                    (pair[1] - pair[0]) / 1_000_000
                ));
            }
        }
    }
}
