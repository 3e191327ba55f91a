//! TLS without a program in front: certificates of the operator's own, and those that ACME brings.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

mod acme;
mod files;
mod poller;
mod support;
