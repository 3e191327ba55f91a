//! Breaks a real bridge over and over while visitors use it, heals it, and checks what is left.
//!
//! A run is given by its seed: which fault comes when, as far as the machine's scheduling allows.

mod check;
mod supervisor;
mod visitor;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::{API_KEY, ChaosProxy};
pub use check::Report;
use supervisor::Supervisor;

/// The steps of the protocol at which a half may be killed, by name; see `postern_host::fault`.
pub const RELAY_POINTS: [&str; 12] = [
    "relay: message stored, answer not sent",
    "relay: lease stored, answer not sent",
    "relay: extension stored, answer not sent",
    "relay: chunk taken, answer not sent",
    "relay: cancellation stored, answer not sent",
    "relay: nack stored, answer not sent",
    "relay: reply stored, answer not sent",
    "relay: file written, not named",
    "relay: file named, not stored",
    "relay: file stored, answer not sent",
    "relay: written, not committed",
    "relay: committed, nobody told",
];

/// As [`RELAY_POINTS`], for the poller.
pub const POLLER_POINTS: [&str; 7] = [
    "poller: leased, not journaled",
    "poller: journaled, agent not asked",
    "poller: chunk taken, next not sent",
    "poller: agent done, not journaled",
    "poller: outcome journaled, relay not told",
    "poller: files sent, reply not posted",
    "poller: relay told, queue not cleared",
];

/// How long everything may take to be answered once nothing breaks any more.
const RECOVERY: Duration = Duration::from_secs(60);

/// What to break, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Chooses every fault.
    pub seed: u64,
    /// How many times a process is killed.
    pub kills: u64,
    /// How many connections are broken.
    pub cuts: u64,
    /// How many visitors talk at the same time, a session each.
    pub visitors: u64,
}

/// The bridge under test.
struct Bridge {
    relay: Arc<Supervisor>,
    poller: Arc<Supervisor>,
    /// Visitors and the poller each come through a proxy of their own.
    for_visitors: ChaosProxy,
    for_poller: ChaosProxy,
    relay_address: SocketAddr,
    folder: TempDir,
}

/// Runs a plan, and reports; `progress` is told how many kills and cuts there have been.
///
/// # Panics
/// When the bridge cannot be started.
pub async fn run(plan: Plan, mut progress: impl FnMut(u64, u64)) -> Report {
    let bridge = Bridge::start(plan).await;
    let done = CancellationToken::new();
    let visitors: Vec<_> = (0..plan.visitors)
        .map(|number| visitor::start(number, bridge.for_visitors.address(), done.clone()))
        .collect();
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let mut agent_kills = Vec::new();
    if plan.cuts > 0 {
        bridge.for_visitors.break_it();
        bridge.for_poller.break_it();
    }
    loop {
        let kills = bridge.kills() + agent_kills.len() as u64;
        progress(kills, bridge.cuts());
        if kills >= plan.kills && bridge.cuts() >= plan.cuts {
            break;
        }
        time::sleep(Duration::from_millis(rng.random_range(10..160))).await;
        if kills < plan.kills {
            bridge.kill_someone(&mut rng, &mut agent_kills);
        }
    }
    bridge.for_visitors.heal();
    bridge.for_poller.heal();
    bridge.relay.arm_no_more();
    bridge.poller.arm_no_more();
    done.cancel();
    let mut stories = Vec::new();
    for visitor in visitors {
        stories.push(visitor.finish(RECOVERY).await);
    }
    check::report(&bridge, plan, stories, agent_kills).await
}

impl Bridge {
    async fn start(plan: Plan) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = folder.path().join("relay.db");
        let relay_address = address_below_the_ephemeral();
        let for_visitors = ChaosProxy::start(relay_address, plan.seed ^ 0x7669).await;
        let for_poller = ChaosProxy::start(relay_address, plan.seed ^ 0x706f).await;
        let listen = relay_address.to_string();
        let db = text(&db);
        let unlimited = ["--rate-limit", "off", "--max-attempts", "12"];
        let relay = [&["serve", "--listen", &listen, "--db", &db], &unlimited[..]].concat();
        let queue = folder.path().join("poller.db");
        let url = format!("http://{}", for_poller.address());
        let agent = concat!("exec sh '", env!("CARGO_MANIFEST_DIR"), "/agents/witness.sh'");
        let poller = [
            "run",
            "--relay",
            &url,
            "--queue",
            &text(&queue),
            "--lease-seconds",
            "2",
            "--agent",
            "exec",
            "--exec",
            agent,
        ];
        let armed = plan.kills > 0;
        let points = |points: &'static [&'static str]| if armed { points } else { &[] };
        let log = folder.path();
        Self {
            relay: Supervisor::start(
                "postern-relay",
                &relay,
                log,
                points(&RELAY_POINTS),
                plan.seed,
            ),
            poller: Supervisor::start(
                "postern-poller",
                &poller,
                log,
                points(&POLLER_POINTS),
                plan.seed,
            ),
            for_visitors,
            for_poller,
            relay_address,
            folder,
        }
    }

    fn kills(&self) -> u64 {
        (self.relay.kills().len() + self.poller.kills().len()) as u64
    }

    fn cuts(&self) -> u64 {
        self.for_visitors.faults() + self.for_poller.faults()
    }

    /// Kills the relay, the poller, or an agent at work.
    fn kill_someone(&self, rng: &mut StdRng, agent_kills: &mut Vec<u128>) {
        match rng.random_range(0..3_u32) {
            0 => self.relay.kill(),
            1 => self.poller.kill(),
            _ => {
                if supervisor::kill_an_agent(self.folder.path()) {
                    agent_kills.push(now());
                }
            }
        }
    }
}

/// A free address whose port the system gives to nobody while the relay is down: a caller that
/// connects to a closed ephemeral port can be given that very port, and keep it. No two runs of one
/// process ever get the same.
fn address_below_the_ephemeral() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(31) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(20_000 + number % 12_000).unwrap_or(20_000);
        let address = (Ipv4Addr::LOCALHOST, port).into();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Nanoseconds since 1970, as `date +%s%N` prints them.
fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// The environment of both halves.
fn environment(folder: &Path) -> Vec<(String, String)> {
    vec![
        ("POSTERN_API_KEY".into(), API_KEY.into()),
        ("POSTERN_ADMIN_KEY".into(), crate::ADMIN_KEY.into()),
        ("POSTERN_LOG".into(), "info".into()),
        ("WITNESS".into(), text(folder)),
    ]
}
