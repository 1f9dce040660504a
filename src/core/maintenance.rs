//! Background maintenance of a node: housekeeping, and how much it removes at a time.

pub(crate) mod adaptive_batch;
pub mod housekeeping;
pub mod worker;
