//! The blocking bridge: the only way from async handlers to the synchronous core. Database work runs on one bounded worker
//! pool, password hashing on another, so no actix worker ever blocks. How a pool sheds load is decided in
//! pool.rs and wait_estimator.rs; what the operations do, in core.

mod batcher;
mod operations;
mod pool;
mod retry_after;
mod wait_estimator;
mod work_shares;

pub use batcher::Batcher;
pub use pool::{QueueLimits, WorkerPool, lower_thread_priority};
pub use wait_estimator::WaitEstimator;
pub use work_shares::WorkShares;
