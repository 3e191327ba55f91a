//! Nothing is lost and nothing comes twice while processes are killed and connections broken.
//!
//! The short form; `cargo run --package postern-tests --bin torture` is the long one.

use postern_tests::torture::{self, Plan};

fn seed() -> u64 {
    let named = std::env::var("POSTERN_SEED").ok().and_then(|seed| seed.parse().ok());
    named.unwrap_or_else(|| u64::from(std::process::id()))
}

async fn keeps_its_promises(plan: Plan) {
    eprintln!("repeat with POSTERN_SEED={}", plan.seed);
    let report = torture::run(plan, |_, _| {}).await;
    eprintln!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.messages > 20, "too little was sent to mean anything: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_the_relay_the_poller_and_the_agent() {
    keeps_its_promises(Plan { seed: seed(), kills: 200, cuts: 0, visitors: 8 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_between_every_pair() {
    keeps_its_promises(Plan { seed: seed(), kills: 0, cuts: 120, visitors: 8 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_broken_connections_at_once() {
    keeps_its_promises(Plan { seed: seed(), kills: 60, cuts: 100, visitors: 6 }).await;
}
