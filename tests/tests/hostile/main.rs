//! Clients that mean harm, or are merely slow: what they get, and what everybody else still gets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

mod answers;
mod crowds;
mod honest;
mod http2;
mod shapes;
mod slow;
mod support;
