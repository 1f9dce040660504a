//! The single writer of SQLite: a write queue with group commit, and the WAL checkpoint beside it.

pub(crate) mod group_commit;
pub(crate) mod wal_checkpoint;
pub(crate) mod wal_pressure;
pub(crate) mod write_queue;
