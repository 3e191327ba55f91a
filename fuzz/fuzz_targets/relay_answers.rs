//! A hostile relay: what it hands out is bounded, and what it says is one short line without control
//! characters. The input is a status, a `Retry-After` and a body, a line each.

#![no_main]

use std::path::{Component, Path};
use std::sync::LazyLock;

use http::Response;
use libfuzzer_sys::{Corpus, fuzz_target};
use postern_poller::fuzzing;
use postern_poller::relay::RelayError;
use postern_shared::poller::LeasedMessage;
use tokio::runtime::{Builder, Runtime};

const ASKED_FOR: u32 = 2;
const MAX_LINE_CHARS: usize = 700;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some(answer) = answer(input) else { return Corpus::Reject };
    match RUNTIME.block_on(fuzzing::read_leased(answer.into(), ASKED_FOR)) {
        Ok(messages) => check_messages(&messages),
        Err(refusal) => check_refusal(&refusal),
    }
    Corpus::Keep
});

fn answer(input: &[u8]) -> Option<Response<Vec<u8>>> {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let status: u16 = str::from_utf8(lines.next()?).ok()?.parse().ok()?;
    let answer = Response::builder().status(status).header("retry-after", lines.next()?);
    answer.body(lines.next()?.to_vec()).ok()
}

fn check_messages(messages: &[LeasedMessage]) {
    assert!(messages.len() <= ASKED_FOR as usize);
    for file in messages.iter().flat_map(|message| &message.files) {
        let name = format!("1-{}", fuzzing::plain_name(&file.name));
        let parts: Vec<_> = Path::new(&name).components().collect();
        assert!(matches!(parts[..], [Component::Normal(_)]), "{name}");
        assert!(name.len() <= 255 && !name.contains('\0'));
    }
}

fn check_refusal(refusal: &RelayError) {
    let line = refusal.to_string();
    assert!(!line.contains(char::is_control), "{line:?}");
    assert!(line.chars().count() <= MAX_LINE_CHARS, "{line}");
}
