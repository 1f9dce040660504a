//! Revocation: tokens that are invalid before they expire. cache.rs is the deny-list that every check reads, write.rs inserts
//! the rows, feed.rs keeps the cache in step with the table, poll_cursor.rs decides where a poll begins.

pub mod cache;
pub mod feed;
pub mod poll_cursor;
pub mod write;
