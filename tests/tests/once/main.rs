//! Writes that are repeated, and leases: whatever is sent again, every message is stored once and
//! answered once.

mod leases;
mod repeats;
mod support;
