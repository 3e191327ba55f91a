//! A model's stream: the same bytes are the same reply however they are cut, and never a longer one
//! than is taken.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postern_fuzz::agents::{Cut, agent, check_cuts};
use postern_poller::agent::Agent;

static AGENT: LazyLock<Agent> =
    LazyLock::new(|| agent(&["--agent", "openai", "--openai-model", "any"]));

fuzz_target!(|answer: Cut<'_>| {
    check_cuts(&AGENT, "text/event-stream", &answer);
    check_cuts(&AGENT, "application/json", &answer);
});
