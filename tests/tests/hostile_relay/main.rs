//! A relay that tries everything against the poller: what a poller calls must not be trusted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

mod answers;
mod fields;
mod files;
mod redirects;
mod support;
