//! Background maintenance of a node: the worker thread, housekeeping, and the adaptive size of its purges.

pub(crate) mod adaptive_batch;
pub mod heartbeat;
pub mod housekeeping;
pub mod node_registry;
pub mod worker;
