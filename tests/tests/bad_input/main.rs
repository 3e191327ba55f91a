//! Bad input: each malformed request is refused with a sentence that names the field, and stores
//! nothing; what only looks odd is kept as it was sent.

mod bodies;
mod leases;
mod odd_text;
mod parameters;
mod support;
