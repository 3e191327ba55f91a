//! Durations as a setting takes them: seconds, with a fraction or without.

use std::time::Duration;

/// Reads a duration of more than nothing.
///
/// # Errors
/// A sentence for the person who set it.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or("must be a number of seconds above zero")
}
