//! `cargo demo`: a relay, a poller with an agent, and a page with the widget, all on loopback, with
//! fresh keys and a fresh data folder.

use std::future::IntoFuture;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use clap::{Parser, ValueEnum};
use postern_host::log::{self, LogArgs};
use postern_host::signal;
use postern_poller::agent::{Agent, AgentArgs, AgentKind};
use postern_poller::poller::{self, Pace};
use postern_poller::relay::Relay;
use postern_relay::config::{Limits, default_file_types};
use postern_relay::connections::ConnectionLimits;
use postern_relay::limits::AddressLimits;
use postern_relay::secret::SecretHash;
use postern_relay::sites::Site;
use postern_relay::{Config, Server, secret};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Postern on one machine: opens a page with the widget, and an agent behind it.
#[derive(Parser)]
#[command(name = "cargo demo")]
struct Cli {
    /// The port of the page; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,

    #[command(flatten)]
    agent: AgentArgs,

    #[command(flatten)]
    log: LogArgs,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut cli = Cli::parse();
    log::init(&cli.log);
    let kind = *cli.agent.agent.get_or_insert(AgentKind::Echo);
    let agent = Agent::from_args(&cli.agent)?;
    let data = tempfile::tempdir().context("no folder for the demo's data")?;

    let api_key = secret::generate();
    let asked_to_end = signal::asked_to_end();
    let mut relay = Server::bind(relay_config(data.path(), &api_key)?)?;
    let url = format!("http://{}", relay.address());
    let poller = poller::Config {
        relay: Relay::new(&url, &api_key)?,
        queue: data.path().join("poller.db"),
        agent,
        pace: Pace::default(),
    };
    let page = TcpListener::bind(on_loopback(cli.port)).await.context("no port for the page")?;
    announce(page.local_addr()?, &url, kind, data.path())?;

    let ending = CancellationToken::new();
    let polling = tokio::spawn(poller::run(poller, ending.clone()));
    tokio::select! {
        () = asked_to_end => {}
        ended = axum::serve(page, page_with_widget(&url)).into_future() => ended?,
        failure = relay.failed() => return Err(failure.into()),
    }
    ending.cancel();
    polling.await??;
    relay.shutdown().await;
    Ok(())
}

fn relay_config(data: &Path, api_key: &str) -> Result<Config> {
    Ok(Config {
        listen: on_loopback(0),
        db: data.join("relay.db"),
        files: data.join("relay.db.files"),
        file_types: default_file_types(),
        away_after: Duration::from_secs(10),
        admin_key: Some(SecretHash::of(&secret::generate())),
        sites: vec![Site::only(Some(SecretHash::of(api_key)))],
        limits: Limits::default(),
        address_limits: AddressLimits::default(),
        connections: ConnectionLimits::default(),
        tls: None,
    })
}

fn on_loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The page has an origin of its own, as a site's would.
fn page_with_widget(relay: &str) -> Router {
    let page = include_str!("page.html").replace("{{relay}}", relay);
    Router::new().route("/", get(async move || Html(page)))
}

fn announce(page: SocketAddr, relay: &str, agent: AgentKind, data: &Path) -> io::Result<()> {
    let data = data.display();
    let agent = agent.to_possible_value();
    let agent = agent.as_ref().map_or("", |agent| agent.get_name());
    write!(
        io::stdout(),
        "\n  Open this page, and talk to the agent through the bubble at its corner:\n\n      \
         http://{page}/\n\n  relay   {relay}\n  agent   {agent}\n  data    {data}, removed at the \
         end\n\n  ctrl-c ends it.\n\n",
    )
}
