//! Programs written for the Broca web chat bridge work unchanged: what they send is written here byte
//! for byte, as they send it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

mod aiohttp;
mod contract;
mod faults;
mod paths;
mod polling;
mod replies;
mod settings;
mod since;
mod support;
mod visitors;
