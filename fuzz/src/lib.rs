//! What several fuzz targets share.

pub mod agents;
pub mod relay;
