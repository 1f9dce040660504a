//! The `throttles` table: consecutive failures by key. What a key stands for, and how long it is blocked, is decided in
//! core/defence/throttle_policy.rs.

use diesel::prelude::*;

use super::schema::throttles;
use crate::clock::Timestamp;
use crate::store::connection::Db;
use crate::store::error::StoreError;
use crate::store::statement_cache::CacheStatement as _;

/// The prefix of the keys of accounts. Their rows are kept until they are reset: if they expired, an attacker who waits could
/// start again each day. Their number is bounded by accounts, devices and sessions.
pub const ACCOUNT_KEY_PREFIX: &str = "account:";

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = throttles)]
pub struct ThrottleRow {
    /// A keyed digest.
    pub key: String,
    /// Failures since the last success.
    pub failures: i64,
    /// Until when every attempt is rejected without checking the secret.
    pub blocked_until: Option<Timestamp>,
    /// The time of the last failure.
    pub updated_at: Timestamp,
}

/// The rows of these keys.
pub fn find(db: &mut Db, keys: &[String]) -> Result<Vec<ThrottleRow>, StoreError> {
    Ok(throttles::table.filter(throttles::key.eq_any(keys)).load(db)?)
}

/// Counts a failure; returns the number of consecutive ones. `Taken` when two transactions insert the first failure of a key
/// at the same time: retry.
pub fn count_failure(db: &mut Db, key: &str, at: Timestamp) -> Result<i64, StoreError> {
    let set = (throttles::failures.eq(throttles::failures + 1), throttles::updated_at.eq(at));
    let query = diesel::update(throttles::table.find(key)).set(set).returning(throttles::failures);
    let counted = query.cached().get_result(db);
    if let Some(failures) = counted.optional()? {
        return Ok(failures);
    }
    let row = ThrottleRow { key: key.to_owned(), failures: 1, blocked_until: None, updated_at: at };
    diesel::insert_into(throttles::table).values(&row).execute(db)?;
    Ok(1)
}

/// Blocks a key.
pub fn block(db: &mut Db, key: &str, until: Timestamp) -> Result<(), StoreError> {
    diesel::update(throttles::table.find(key)).set(throttles::blocked_until.eq(until)).cached().execute(db)?;
    Ok(())
}

/// Deletes a key; returns the number of its failures.
pub fn reset(db: &mut Db, key: &str) -> Result<i64, StoreError> {
    let deleted = diesel::delete(throttles::table.find(key)).returning(throttles::failures).get_result(db);
    Ok(deleted.optional()?.unwrap_or(0))
}

/// Subtracts failures from a key, and deletes it when none are left.
pub fn subtract_failures(db: &mut Db, key: &str, failures: i64) -> Result<(), StoreError> {
    diesel::update(throttles::table.find(key))
        .set(throttles::failures.eq(throttles::failures - failures))
        .execute(db)?;
    diesel::delete(throttles::table.find(key).filter(throttles::failures.le(0))).execute(db)?;
    Ok(())
}

/// Deletes up to `limit` rows without a failure since `before`, except those of accounts; returns the number of deleted rows.
pub fn purge(db: &mut Db, before: Timestamp, limit: i64) -> Result<usize, StoreError> {
    let query = throttles::table
        .filter(throttles::updated_at.lt(before))
        .filter(throttles::key.not_like(format!("{ACCOUNT_KEY_PREFIX}%")))
        .order(throttles::updated_at);
    let old: Vec<String> = query.select(throttles::key).limit(limit).load(db)?;
    Ok(diesel::delete(throttles::table.filter(throttles::key.eq_any(old))).execute(db)?)
}
