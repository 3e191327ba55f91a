//! A TCP proxy that breaks what passes through it: cut, delayed, reset, lost, or answered in the
//! relay's stead as a reverse proxy would.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What happens to one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Both directions end after so many bytes towards the relay.
    CutRequest(usize),
    /// Both directions end after so many bytes towards the caller.
    CutAnswer(usize),
    /// As [`Fault::CutAnswer`], with a reset instead of an orderly end.
    ResetAnswer(usize),
    /// The relay gets the request; its answer goes nowhere.
    LoseAnswer,
    /// Every piece of the answer is late.
    Delay(Duration),
    /// The answer's direction is dropped in silence, and the connection after a while.
    Stall(Duration),
    /// The relay hears nothing; the caller gets this status.
    Status(u16),
}

/// A running proxy; ends when dropped.
pub struct ChaosProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _ends: DropGuard,
}

struct Shared {
    upstream: SocketAddr,
    seed: u64,
    broken: AtomicBool,
    connections: AtomicU64,
    faults: AtomicU64,
}

impl ChaosProxy {
    /// Listens on a free port and passes everything on to `upstream`; whole until told otherwise.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(upstream: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            upstream,
            seed,
            broken: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            faults: AtomicU64::new(0),
        });
        let ended = CancellationToken::new();
        tokio::spawn(ended.clone().run_until_cancelled_owned(serve(listener, Arc::clone(&shared))));
        Self { address, shared, _ends: ended.drop_guard() }
    }

    /// Where callers connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks connections made from now on.
    pub fn break_it(&self) {
        self.shared.broken.store(true, Ordering::SeqCst);
    }

    /// Leaves connections made from now on whole.
    pub fn heal(&self) {
        self.shared.broken.store(false, Ordering::SeqCst);
    }

    /// How many connections it has broken.
    pub fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((caller, _)) = listener.accept().await else { continue };
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let fault = if shared.broken.load(Ordering::SeqCst) {
            pick(&mut StdRng::seed_from_u64(shared.seed.wrapping_add(number)))
        } else {
            Fault::None
        };
        if fault != Fault::None {
            shared.faults.fetch_add(1, Ordering::SeqCst);
        }
        let upstream = shared.upstream;
        // A broken connection is what this is for.
        tokio::spawn(async move { drop(carry(caller, upstream, fault).await) });
    }
}

fn pick(rng: &mut StdRng) -> Fault {
    match rng.random_range(0..14_u32) {
        0 | 1 => Fault::CutRequest(rng.random_range(1..1_500)),
        2 | 3 => Fault::CutAnswer(rng.random_range(1..1_500)),
        4 | 5 => Fault::ResetAnswer(rng.random_range(1..1_500)),
        6 | 7 => Fault::LoseAnswer,
        8 => Fault::Delay(Duration::from_millis(rng.random_range(1..60))),
        9 => Fault::Stall(Duration::from_millis(rng.random_range(100..600))),
        10 | 11 => Fault::Status([502, 503, 504, 429][rng.random_range(0..4_usize)]),
        // Long enough for some whole calls, and not for ever: callers keep a good connection.
        _ => Fault::CutAnswer(rng.random_range(5_000..30_000)),
    }
}

async fn carry(mut caller: TcpStream, upstream: SocketAddr, fault: Fault) -> io::Result<()> {
    if let Fault::Status(status) = fault {
        return answer_instead(&mut caller, status).await;
    }
    let relay = TcpStream::connect(upstream).await?;
    caller.set_nodelay(true)?;
    relay.set_nodelay(true)?;
    let (mut from_caller, mut to_caller) = caller.split();
    let (mut relay_read, mut relay_write) = relay.into_split();
    let request_limit = match fault {
        Fault::CutRequest(bytes) => bytes,
        _ => usize::MAX,
    };
    let requests = pass(&mut from_caller, &mut relay_write, request_limit, Duration::ZERO);
    let answers = async {
        match fault {
            Fault::LoseAnswer => relay_read.read_u8().await.map(drop),
            Fault::Stall(wait) => {
                time::sleep(wait).await;
                Ok(())
            }
            Fault::CutAnswer(bytes) | Fault::ResetAnswer(bytes) => {
                pass(&mut relay_read, &mut to_caller, bytes, Duration::ZERO).await
            }
            Fault::Delay(wait) => pass(&mut relay_read, &mut to_caller, usize::MAX, wait).await,
            _ => pass(&mut relay_read, &mut to_caller, usize::MAX, Duration::ZERO).await,
        }
    };
    // The first direction to end ends the connection.
    let ended = tokio::select! {
        ended = requests => ended,
        ended = answers => ended,
    };
    if matches!(fault, Fault::ResetAnswer(_)) {
        caller.set_zero_linger()?;
    }
    ended
}

/// Passes bytes on until the end or the limit, each piece after a wait.
async fn pass(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut limit: usize,
    wait: Duration,
) -> io::Result<()> {
    let mut piece = vec![0; 16 * 1024];
    while limit > 0 {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        time::sleep(wait).await;
        let length = length.min(limit);
        to.write_all(&piece[..length]).await?;
        limit -= length;
    }
    Ok(())
}

/// Reads one whole request, so that the answer is not lost in a reset, and answers it.
async fn answer_instead(caller: &mut TcpStream, status: u16) -> io::Result<()> {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if caller.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let body = "<html>the upstream is not there</html>";
    let answer = format!(
        "HTTP/1.1 {status} Not Now\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    caller.write_all(answer.as_bytes()).await?;
    caller.shutdown().await
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    body.len() >= length.unwrap_or(0_usize)
}
