//! Agents behind HTTP, and answers that come in pieces.

use std::convert::Infallible;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use clap::Parser;
use futures_util::stream;
use http::{Response, header};
use postern_poller::agent::{Agent, AgentArgs, Draft, QuickReplies};
use postern_poller::fuzzing;
use postern_shared::poller::{MAX_QUICK_REPLIES, MAX_QUICK_REPLY_CHARS};
use reqwest::Body;
use tokio::runtime::{Builder, Runtime};

const MAX_REPLY_BYTES: usize = 64;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// An answer's bytes, and the lengths of the pieces that they come in.
#[derive(Debug, Arbitrary)]
pub struct Cut<'a> {
    lengths: Vec<u8>,
    bytes: &'a [u8],
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    agent: AgentArgs,
}

/// What came of an answer.
#[derive(Debug, PartialEq)]
struct Outcome {
    reply: Result<String, String>,
    quick_replies: QuickReplies,
    files: usize,
}

/// The agent that good flags describe; its replies are short.
pub fn agent(flags: &[&str]) -> Agent {
    let limit = format!("--max-reply-bytes={MAX_REPLY_BYTES}");
    let line = ["postern-poller", &limit].into_iter().chain(flags.iter().copied());
    Agent::from_args(&CommandLine::parse_from(line).agent).expect("an agent")
}

/// Whether an answer is read the same in one piece and in several, and within its bounds.
pub fn check_cuts(agent: &Agent, media_type: &str, answer: &Cut<'_>) {
    let whole = read(agent, media_type, vec![answer.bytes.to_vec()]);
    let QuickReplies { texts, .. } = &whole.quick_replies;
    assert!(texts.len() <= MAX_QUICK_REPLIES);
    assert!(texts.iter().all(|text| text.chars().count() <= MAX_QUICK_REPLY_CHARS));
    assert_eq!(read(agent, media_type, answer.pieces()), whole);
}

fn read(agent: &Agent, media_type: &str, pieces: Vec<Vec<u8>>) -> Outcome {
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
    let response = Response::builder().header(header::CONTENT_TYPE, media_type);
    let response = response.body(Body::wrap_stream(pieces)).expect("a response");
    let draft = Draft::default();
    let reply = RUNTIME.block_on(fuzzing::read_reply(agent, response.into(), &draft));
    assert!(draft.text().len() <= MAX_REPLY_BYTES);
    Outcome {
        reply: reply.map_err(|refusal| refusal.to_string()),
        quick_replies: draft.quick_replies(),
        files: draft.files().kept.len(),
    }
}

impl Cut<'_> {
    fn pieces(&self) -> Vec<Vec<u8>> {
        let mut rest = self.bytes;
        let mut pieces = Vec::new();
        for length in &self.lengths {
            let (piece, after) = rest.split_at(rest.len().min(usize::from(*length)));
            pieces.push(piece.to_vec());
            rest = after;
        }
        pieces.push(rest.to_vec());
        pieces
    }
}
