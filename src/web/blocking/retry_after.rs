//! `Retry-After` of shed load, for pools, batcher and operations alike.

use std::time::Duration;

/// `Retry-After` of a request that was shed: a queue that is full now has mostly drained a second later.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
