//! A service's answer, text or JSON: the same bytes are the same reply however they are cut, and what
//! goes with it is bounded too.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postern_fuzz::agents::{Cut, agent, check_cuts};
use postern_poller::agent::Agent;

static AGENT: LazyLock<Agent> =
    LazyLock::new(|| agent(&["--agent", "http", "--http-url", "http://127.0.0.1:9/"]));

fuzz_target!(|answer: Cut<'_>| {
    check_cuts(&AGENT, "text/plain", &answer);
    check_cuts(&AGENT, "application/json", &answer);
});
