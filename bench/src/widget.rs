//! What the widget costs a page: its size, and its time on the main thread.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;
use tokio::time;

use crate::bench::Bench;
use crate::line::Line;
use crate::processes::{API_KEY, Server};

const WIDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../widget");

/// A browser that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// What `widget/costs.mjs` prints, in milliseconds of the main thread.
#[derive(Deserialize)]
struct Costs {
    load_ms: Vec<f64>,
    reply_ms: Vec<f64>,
    reply_bytes: u32,
}

pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    let gzipped = fs::metadata(Path::new(WIDGET).join("dist/widget.js.gz"))?.len() as f64 / 1e3;
    bench.report.add(Line::new("widget: script", "gzipped", "kB", gzipped).at_most(25.0));
    let relay = Server::relay(&bench.fresh("widget.db")?)?;
    match costs(&relay).await {
        Ok(costs) => {
            let reply = format!("a reply of {} bytes, streamed", costs.reply_bytes);
            let what = "widget: main thread";
            bench.report.add(Line::new(what, "loading", "ms", costs.load_ms));
            bench.report.add(Line::new(what, reply, "ms", costs.reply_ms));
        }
        Err(cause) => {
            bench.report.note(format!("The widget's time was not measured: {cause:#}"));
        }
    }
    Ok(())
}

async fn costs(relay: &Server) -> Result<Costs> {
    ensure!(Path::new(WIDGET).join("node_modules/playwright-core").exists(), "npm ci was not run");
    let running = Command::new("node")
        .args(["costs.mjs", &format!("http://{}", relay.address)])
        .current_dir(WIDGET)
        .env("POSTERN_API_KEY", API_KEY)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = time::timeout(PATIENCE, running).await.context("it took too long")?;
    let ran = ran.context("node does not run")?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{}", said.lines().next().unwrap_or("node failed"));
    Ok(serde_json::from_slice(&ran.stdout)?)
}
