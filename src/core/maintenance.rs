//! TODO-DOC

pub(crate) mod adaptive_batch;
pub mod housekeeping;
