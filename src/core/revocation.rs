//! Revocation: which tokens are dead before they expire. cache.rs is what every check reads, write.rs makes the rows,
//! feed.rs keeps the cache in step with the table, poll_cursor.rs says where a poll reads on.

pub mod cache;
pub mod feed;
pub mod poll_cursor;
pub mod write;
