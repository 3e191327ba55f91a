//! How many, and how long each took.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

/// What a load came to.
pub(crate) struct Outcome {
    /// Of what was accepted; in a load at a rate, from the moment at which the call was due.
    pub(crate) latencies: Histogram<u64>,
    /// Of what was refused with 503.
    pub(crate) refusals: Histogram<u64>,
    pub(crate) took: Duration,
}

impl Outcome {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { latencies: histogram()?, refusals: histogram()?, took: Duration::ZERO })
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.latencies.len()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.accepted() as f64 / self.took.as_secs_f64()
    }

    /// A quantile of what was accepted, in milliseconds.
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        ms(&self.latencies, quantile)
    }
}

/// Of times up to a minute, in microseconds.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

pub(crate) fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
}

/// A quantile in milliseconds.
pub(crate) fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}
