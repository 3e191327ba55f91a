//! How many instructions the relay's hot calls take, against the counts that are kept: unlike a time,
//! a count is the same on a busy machine.

mod callgrind;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::processes;

/// Instructions of a call, by its method and path.
type Counts = BTreeMap<String, u64>;

/// The counts that a change is judged by; committed.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

const ACCEPT: &str = "cargo bench-all instructions --accept";

/// Counts, and fails when a call takes over a tenth more than is kept, or keeps the new counts.
pub(crate) async fn run(accept: bool) -> Result<()> {
    let target = target_folder()?;
    build(&target)?;
    let profiles = target.join("callgrind");
    let relay = target.join("instructions/postern-relay");
    let counts = callgrind::count(&relay, &profiles).await?;
    if accept {
        return keep(&counts);
    }
    let kept = fs::read_to_string(KEPT).with_context(|| format!("{KEPT}; {ACCEPT} writes it"))?;
    let rises = judge(&counts, &serde_json::from_str(&kept)?);
    ensure!(
        rises.is_empty(),
        "{}\nWhere they go: callgrind_annotate --inclusive=yes {}/callgrind.out.NAME\n\
         To accept the new counts: {ACCEPT}",
        rises.join("\n"),
        profiles.display(),
    );
    Ok(())
}

/// Tells what each call takes; returns a sentence for each that takes too much.
fn judge(counts: &Counts, kept: &Counts) -> Vec<String> {
    let mut rises = Vec::new();
    for (call, count) in counts {
        let kept = kept.get(call).copied().unwrap_or_default();
        match Change::of(*count, kept) {
            Change::Rise(sentence) => rises.push(format!("{call}: {sentence}")),
            Change::Fall(sentence) => eprintln!("{call}: {sentence}"),
            Change::Little => eprintln!("{call}: {count} instructions, {kept} are kept"),
        }
    }
    rises
}

/// What became of a count, in words where it is worth any.
#[derive(Debug, PartialEq)]
enum Change {
    Rise(String),
    Fall(String),
    Little,
}

impl Change {
    /// A tenth is far beyond what a count differs by from run to run.
    fn of(count: u64, kept: u64) -> Self {
        let percent = (count as f64 - kept as f64) * 100.0 / kept as f64;
        if kept == 0 {
            Self::Rise(format!("{count} instructions, and no count is kept"))
        } else if percent > 10.0 {
            Self::Rise(format!("{count} instructions, {percent:.1} % more than the {kept} kept"))
        } else if percent < -10.0 {
            let percent = -percent;
            Self::Fall(format!(
                "{count} instructions, {percent:.1} % fewer than the {kept} kept, which can be \
                 lowered: {ACCEPT}"
            ))
        } else {
            Self::Little
        }
    }
}

fn keep(counts: &Counts) -> Result<()> {
    let text = serde_json::to_string_pretty(counts)?;
    fs::write(KEPT, format!("{text}\n"))?;
    eprintln!("{text}\nkept in {KEPT}");
    Ok(())
}

/// Cargo's folder for what it builds, in which this program lies as `PROFILE/postern-bench`.
fn target_folder() -> Result<PathBuf> {
    let program = processes::binary("postern-bench")?;
    let folder = program.parent().and_then(Path::parent);
    Ok(folder.context("this program lies in no target folder")?.to_owned())
}

fn build(target: &Path) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--profile", "instructions", "--package", "postern-relay"]);
    cargo.args(["--locked", "--quiet", "--target-dir"]).arg(target);
    ensure!(cargo.status()?.success(), "cargo could not build the relay");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_takes_over_a_tenth_more_is_named_with_its_rise() {
        let kept = Counts::from([("POST /cheap".into(), 1_000), ("POST /dear".into(), 1_000)]);
        let counts = Counts::from([("POST /cheap".into(), 1_100), ("POST /dear".into(), 1_126)]);

        let rises = judge(&counts, &kept);

        assert_eq!(rises, ["POST /dear: 1126 instructions, 12.6 % more than the 1000 kept"]);
    }

    #[test]
    fn a_call_that_takes_over_a_tenth_less_says_so_and_does_not_fail() {
        let kept = Counts::from([("POST /cheaper".into(), 1_000)]);
        let counts = Counts::from([("POST /cheaper".into(), 874)]);

        assert_eq!(judge(&counts, &kept), [""; 0]);
        let told = "874 instructions, 12.6 % fewer than the 1000 kept, which can be lowered: \
                    cargo bench-all instructions --accept";
        assert_eq!(Change::of(874, 1_000), Change::Fall(told.into()));
        assert_eq!(Change::of(900, 1_000), Change::Little);
    }

    #[test]
    fn a_call_without_a_kept_count_fails() {
        let counts = Counts::from([("POST /new".into(), 5)]);

        let rises = judge(&counts, &Counts::new());

        assert_eq!(rises, ["POST /new: 5 instructions, and no count is kept"]);
    }
}
