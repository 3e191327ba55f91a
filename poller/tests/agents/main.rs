//! The agents as the poller asks them: real programs, and services that speak the real protocols.

mod config;
mod exec;
mod http;
mod openai;
mod server;
mod support;
