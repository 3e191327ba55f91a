//! The agents as the poller asks them: real programs, and services that speak the real protocols.
#![expect(clippy::disallowed_methods, reason = "the services that the agents ask listen here")]

mod config;
mod exec;
mod http;
mod openai;
mod server;
mod support;
