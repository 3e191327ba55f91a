//! The broca agent: messages through the queue in Broca's database, with a program beside it that
//! works on the queue as Broca does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

mod agent;
mod bridge;
mod faults;
mod letta;
mod sanctum;
mod support;
