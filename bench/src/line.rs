//! One line of the report: a figure, what it is compared with, and what it should be.

use std::fmt;

use serde::Serialize;

/// A figure over the rounds of one run.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl From<Vec<f64>> for Figure {
    /// Of at least one value.
    fn from(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            least: at(0),
            most: at(values.len().saturating_sub(1)),
        }
    }
}

impl From<f64> for Figure {
    fn from(value: f64) -> Self {
        Self { median: value, least: value, most: value }
    }
}

/// A median beside what it is compared with.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) value: f64,
    pub(crate) to: String,
}

/// What a line's ratio, or its median when it has none, should be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
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
    pub(crate) ratio: Option<Ratio>,
    pub(crate) target: Option<Target>,
}

impl Line {
    pub(crate) fn new(
        what: impl Into<String>,
        when: impl Into<String>,
        unit: &'static str,
        figure: impl Into<Figure>,
    ) -> Self {
        let (what, when, figure) = (what.into(), when.into(), figure.into());
        Self { what, when, unit, figure, ratio: None, target: None }
    }

    /// A rate, compared with another of the same round: the median of these ratios stays what it is while a
    /// machine slows down and recovers.
    pub(crate) fn rate(
        what: impl Into<String>,
        when: impl Into<String>,
        rounds: &[f64],
        others: &[f64],
        to: impl Into<String>,
    ) -> Self {
        let ratio = Ratio { value: Figure::from(ratios(rounds, others)).median, to: to.into() };
        Self { ratio: Some(ratio), ..Self::new(what, when, "/s", rounds.to_vec()) }
    }

    /// Compares its median with another value of the same unit.
    pub(crate) fn beside(mut self, other: f64, to: impl Into<String>) -> Self {
        self.ratio = Some(Ratio { value: self.figure.median / other, to: to.into() });
        self
    }

    pub(crate) fn at_least(mut self, least: f64) -> Self {
        self.target = Some(Target::AtLeast(least));
        self
    }

    pub(crate) fn at_most(mut self, most: f64) -> Self {
        self.target = Some(Target::AtMost(most));
        self
    }

    /// Whether the target is met; `None` without one.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let value = self.ratio.as_ref().map_or(self.figure.median, |ratio| ratio.value);
        self.target.map(|target| match target {
            Target::AtLeast(least) => value >= least,
            Target::AtMost(most) => value <= most,
        })
    }
}

/// How each round compares with another's.
pub(crate) fn ratios(own: &[f64], other: &[f64]) -> Vec<f64> {
    own.iter().zip(other).map(|(own, other)| own / other).collect()
}

/// A large number for people: 10,000.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}
