//! The private half of Postern: pulls messages from the relay, asks the agent, posts the replies.
//!
//! It only ever calls out: nothing here listens, and no dependency brings a server.

pub mod agent;
mod backoff;
pub mod config;
pub mod doctor;
mod files;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod lease;
mod one_line;
pub mod poller;
mod post;
mod private;
mod pull;
pub mod queue;
pub mod relay;
mod show;
pub mod sockets;
mod sqlite;
mod upload;
mod work;
