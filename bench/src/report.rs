//! What was measured: for programs as JSON, for people as a table.

use std::fmt::{self, Write};
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::chart::Chart;
use crate::line::Line;
use crate::pictures;

/// All lines, and what is drawn.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    lines: Vec<Line>,
    charts: Vec<Chart>,
    /// What could not be measured, and why.
    notes: Vec<String>,
}

impl Report {
    /// Adds a line, and tells whoever waits.
    pub(crate) fn add(&mut self, line: Line) {
        eprintln!("{}", Row(&line));
        self.lines.push(line);
    }

    /// Adds a sentence.
    pub(crate) fn note(&mut self, note: String) {
        eprintln!("{note}");
        self.notes.push(note);
    }

    /// Adds what is to be drawn.
    pub(crate) fn draw(&mut self, chart: Chart) {
        self.charts.push(chart);
    }

    /// Writes `report.json`, `report.md` and the pictures into a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("report.json"), serde_json::to_string_pretty(self)?)?;
        let mut table = String::from(
            "| what | when | median | least | most | unit | ratio | to | target |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        for line in &self.lines {
            writeln!(table, "{}", Row(line))?;
        }
        for note in &self.notes {
            writeln!(table, "\n{note}")?;
        }
        for chart in &self.charts {
            pictures::draw(chart, folder)?;
            writeln!(table, "\n![{}]({})", chart.title, chart.file())?;
        }
        Ok(fs::write(folder.join("report.md"), table)?)
    }

    /// The lines that missed their targets.
    pub(crate) fn missed(&self) -> impl Iterator<Item = String> {
        self.lines.iter().filter(|line| line.is_met() == Some(false)).map(|line| {
            let ratio =
                line.ratio.as_ref().map(|ratio| format!(" ({:.2} {})", ratio.value, ratio.to));
            let target = line.target.map(|target| target.to_string()).unwrap_or_default();
            let (what, when, unit) = (&line.what, &line.when, line.unit);
            let median = Number(line.figure.median);
            format!("{what}, {when}: {median} {unit}{}; {target}", ratio.unwrap_or_default())
        })
    }
}

struct Row<'a>(&'a Line);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { what, when, unit, figure, ratio, target } = self.0;
        let [median, least, most] = [figure.median, figure.least, figure.most].map(Number);
        write!(f, "| {what} | {when} | {median} | {least} | {most} | {unit} | ")?;
        match ratio {
            Some(ratio) => write!(f, "{:.2} | {} | ", ratio.value, ratio.to)?,
            None => write!(f, "| | ")?,
        }
        if let Some(target) = target {
            let met = if self.0.is_met() == Some(true) { "met" } else { "**missed**" };
            write!(f, "{target}: {met} ")?;
        }
        write!(f, "|")
    }
}

/// As many digits as mean something.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0.abs() {
            0.0 => 0,
            size if size >= 100.0 => 0,
            size if size >= 10.0 => 1,
            size if size >= 1.0 => 2,
            _ => 3,
        };
        write!(f, "{:.digits$}", self.0)
    }
}
