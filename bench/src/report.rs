//! What was measured: for programs as JSON, for people as a table and as pictures.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

/// A figure over the rounds of one run.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Figure {
    /// Of at least one value.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            least: at(0),
            most: at(values.len().saturating_sub(1)),
        }
    }
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// Under which load, or with how much stored.
    pub(crate) when: String,
    pub(crate) unit: &'static str,
    pub(crate) figure: Figure,
    /// Its share of the limit, or how often it is the limit, by medians.
    pub(crate) ratio: Option<f64>,
    /// What it is compared with, and the target.
    pub(crate) of: String,
}

/// All lines.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) lines: Vec<Line>,
}

impl Report {
    /// Adds a line, and tells whoever waits.
    pub(crate) fn add(&mut self, line: Line) {
        eprintln!("{}", row(&line));
        self.lines.push(line);
    }

    /// Writes `report.json` and `report.md` into a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("report.json"), serde_json::to_string_pretty(self)?)?;
        let mut table = String::from(
            "| what | when | median | least | most | unit | ratio | of |\n|---|---|---|---|---|---|---|---|\n",
        );
        for line in &self.lines {
            writeln!(table, "{}", row(line))?;
        }
        Ok(fs::write(folder.join("report.md"), table)?)
    }
}

fn row(line: &Line) -> String {
    let Figure { median, least, most } = line.figure;
    let number =
        |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    let ratio = line.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    format!(
        "| {} | {} | {} | {} | {} | {} | {ratio} | {} |",
        line.what,
        line.when,
        number(median),
        number(least),
        number(most),
        line.unit,
        line.of,
    )
}
