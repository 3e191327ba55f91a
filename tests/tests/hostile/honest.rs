//! What an honest visitor notices of an attack.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use postern_tests::{Answer, soon};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use crate::support::{Target, client_from, rest};

/// How many messages the honest visitor sends for each measurement.
const MESSAGES: usize = 100;

/// How much longer a message may take under attack; generous, for a busy machine.
const RATIO: u32 = 20;

/// What a message may take whatever it took before: a ratio of nearly nothing says nothing.
const FLOOR: Duration = Duration::from_millis(20);

#[tokio::test]
async fn an_honest_visitor_is_served_through_an_attack() {
    let target = Target::start(&["--max-connections-per-address", "64"]).await;
    let calm = latency(&target).await;
    let ending = CancellationToken::new();
    let attack = async {
        let crowds = (2..6).map(|from| attack_from(&target, from, &ending));
        join_all(crowds).await;
    };
    let measure = async {
        // It has begun once a crowd has all the places it may have.
        soon("the attack", async { while target.count("connections_refused_total").await == 0 {} })
            .await;
        let attacked = latency(&target).await;
        ending.cancel();
        attacked
    };
    let ((), attacked) = tokio::join!(attack, measure);
    eprintln!("a message takes {calm:?}, and {attacked:?} under attack (the middle of {MESSAGES})");
    assert!(attacked < FLOOR.max(calm) * RATIO, "{calm:?} became {attacked:?}");
}

/// How long a message takes to be accepted, in the middle.
async fn latency(target: &Target) -> Duration {
    let client = client_from(200);
    let url = format!("http://{}/api/v1/messages", target.address);
    let mut taken = Vec::new();
    for _ in 0..MESSAGES {
        let begun = Instant::now();
        let call = client.post(&url).json(&json!({ "message": "hi" }));
        soon("an answer", Answer::to(call)).await.data::<Value>();
        taken.push(begun.elapsed());
    }
    taken.sort_unstable();
    taken[MESSAGES / 2]
}

/// A hundred connections of one address, each made anew as soon as it is closed: silent ones, heads
/// without an end, and bodies that never come.
async fn attack_from(target: &Target, from: u8, ending: &CancellationToken) {
    const ATTACKS: [&[u8]; 4] = [
        b"",
        b"GET / HTTP/1.1\r\nX: ",
        b"POST /api/v1/messages HTTP/1.1\r\nHost: relay\r\nContent-Length: 60000\r\n\r\n{",
        b"GET /nothing HTTP/1.1\r\nHost: relay\r\n\r\nGET /nothing HTTP/1.1\r\n",
    ];
    let attackers = (0..100).map(async |number: usize| {
        while !ending.is_cancelled() {
            let mut stream = target.connect_from(from).await;
            let _ = stream.write_all(ATTACKS[number % ATTACKS.len()]).await;
            tokio::select! {
                _ = rest(stream) => {}
                () = ending.cancelled() => {}
            }
        }
    });
    join_all(attackers).await;
}
