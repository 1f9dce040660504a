//! The blocking bridge: the only way from async handlers to the synchronous core. Database work runs on one bounded worker
//! pool, password hashing on another, so no actix worker ever blocks. How a pool sheds load is pool.rs's and
//! wait_estimator.rs's to decide; what the operations do is core's.

mod batcher;
mod operations;
mod pool;
mod retry_after;
mod wait_estimator;

pub use batcher::Batcher;
pub use pool::{QueueLimits, WorkerPool, lower_thread_priority};
pub use wait_estimator::WaitEstimator;
