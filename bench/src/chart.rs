//! What the pictures show.

use serde::Serialize;

use crate::line::grouped;

/// What is drawn.
#[derive(Debug, Serialize)]
pub(crate) struct Chart {
    /// Of its file, without the end.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What stands below, and at the left with its unit.
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    /// The places below, at even distances.
    pub(crate) at: Vec<String>,
    pub(crate) is_logarithmic: bool,
    pub(crate) curves: Vec<Curve>,
}

/// A value for each place.
#[derive(Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
    /// Not measured, or not of the product: what the others are to be compared with.
    pub(crate) is_bound: bool,
}

impl Curve {
    pub(crate) fn measured(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self { name: name.into(), values, is_bound: false }
    }

    pub(crate) fn bound(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self { name: name.into(), values, is_bound: true }
    }
}

impl Chart {
    pub(crate) fn file(&self) -> String {
        format!("{}.svg", self.name)
    }

    /// Where a value stands; on a logarithmic scale, by its power of ten.
    pub(crate) fn place(&self, value: f64) -> f64 {
        if self.is_logarithmic { value.log10() } else { value }
    }

    pub(crate) fn label(&self, place: f64) -> String {
        let value = if self.is_logarithmic { 10_f64.powf(place) } else { place };
        if value >= 1_000.0 {
            grouped(value as u64)
        } else {
            format!("{}", (value * 1e3).round() / 1e3)
        }
    }

    pub(crate) fn range(&self) -> (f64, f64) {
        let values = || self.curves.iter().flat_map(|curve| &curve.values).copied();
        let most = self.place(values().fold(f64::MIN, f64::max));
        if self.is_logarithmic {
            (self.place(values().fold(f64::MAX, f64::min)).floor(), most.ceil())
        } else {
            (0.0, most * 1.08)
        }
    }
}
