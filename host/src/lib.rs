//! What both halves need of the machine they run on: keys, files of their own, logs, signals.

pub mod fault;
pub mod file;
pub mod key;
pub mod log;
pub mod seconds;
pub mod signal;

/// The exit code of a bad configuration or a refused key: `EX_CONFIG` of sysexits.h. A service
/// manager told of it does not try again.
pub const EX_CONFIG: u8 = 78;
