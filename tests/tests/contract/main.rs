//! The wire, version 1: every call's answer in full, and what every answer carries.

mod answers;
mod credentials;
mod files;
mod headers;
mod reading;
mod refusals;
mod support;
mod writing;
