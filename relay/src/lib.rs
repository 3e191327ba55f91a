//! The public half of Postern: HTTP in front, SQLite behind.
//!
//! Reads top down: [`Server`] binds and serves, `http` turns requests into one store call each,
//! [`store`] keeps everything in one SQLite file.

mod call;
pub mod client_address;
mod clock;
pub mod compat;
pub mod config;
pub mod connections;
mod file_keeper;
mod files;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod http;
pub mod identity;
mod keyring;
pub mod limits;
pub mod maintenance;
mod metrics;
pub mod origins;
mod presence;
mod proof;
pub mod secret;
mod server;
pub mod sites;
pub mod store;
mod sweeper;
pub mod tls;
mod widget;

pub use config::Config;
pub use server::{Server, StartError};
pub use widget::script_line;
