//! The `throttles` table: runs of failures, and token buckets, by key. What a key stands for, how long it is blocked and how
//! fast a bucket fills is decided in core/defence/throttle_policy.rs.

use std::time::Duration;

use diesel::dsl::case_when;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};

use super::schema::throttles;
use crate::clock::Timestamp;
use crate::store::connection::Db;
use crate::store::error::StoreError;
use crate::store::statement_cache::CacheStatement as _;

/// The prefix of the keys of runs. The previous version purges rows without it after a day, so it must stay as it is.
pub const RUN_KEY_PREFIX: &str = "account:";

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = throttles)]
pub struct ThrottleRow {
    /// A keyed digest.
    pub key: String,
    /// Failures since the last success; of a bucket, since it was last full.
    pub failures: i64,
    /// Until when every attempt is rejected without checking the secret.
    pub blocked_until: Option<Timestamp>,
    /// The time of the last failure.
    pub updated_at: Timestamp,
    /// When the row may be purged; `None` keeps it until it is reset. A bucket is full again at this time.
    pub expires_at: Option<Timestamp>,
}

/// The rows of these keys.
pub fn find(db: &mut Db, keys: &[String]) -> Result<Vec<ThrottleRow>, StoreError> {
    Ok(throttles::table.filter(throttles::key.eq_any(keys)).load(db)?)
}

/// Counts a failure of a run; returns the number of consecutive ones. `Taken` when two transactions insert the first failure
/// of a key at the same time: retry.
pub fn count_failure(db: &mut Db, key: &str, at: Timestamp, expires_at: Timestamp) -> Result<i64, StoreError> {
    let set = (
        throttles::failures.eq(throttles::failures + 1),
        throttles::updated_at.eq(at),
        throttles::expires_at.eq(expires_at),
    );
    let query = diesel::update(throttles::table.find(key)).set(set).returning(throttles::failures);
    let counted = query.cached().get_result(db);
    if let Some(failures) = counted.optional()? {
        return Ok(failures);
    }
    insert(db, key, at, expires_at)?;
    Ok(1)
}

fn insert(db: &mut Db, key: &str, at: Timestamp, expires_at: Timestamp) -> Result<(), StoreError> {
    let (key, expires_at) = (key.to_owned(), Some(expires_at));
    let row = ThrottleRow { key, failures: 1, blocked_until: None, updated_at: at, expires_at };
    diesel::insert_into(throttles::table).values(&row).execute(db)?;
    Ok(())
}

/// Blocks a key.
pub fn block(db: &mut Db, key: &str, until: Timestamp) -> Result<(), StoreError> {
    diesel::update(throttles::table.find(key)).set(throttles::blocked_until.eq(until)).cached().execute(db)?;
    Ok(())
}

/// Keeps a run until it is reset.
pub fn keep(db: &mut Db, key: &str) -> Result<(), StoreError> {
    let kept = throttles::expires_at.eq(None::<Timestamp>);
    diesel::update(throttles::table.find(key)).set(kept).cached().execute(db)?;
    Ok(())
}

/// Takes a token out of a bucket (GCRA): moves the time at which it is full by `interval`, from now or from that time,
/// whichever is later. A bucket is never emptier than empty: parallel failures, or a clock that was ahead, do not block it
/// for longer than `period`. `Taken` as in `count_failure`.
pub fn take_token(
    db: &mut Db,
    key: &str,
    interval: Duration,
    period: Duration,
    at: Timestamp,
) -> Result<(), StoreError> {
    let taken = at.plus(interval);
    let empty = at.plus(period);
    let later = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
    let full_at = case_when(throttles::expires_at.lt(at), taken.into_sql::<Nullable<BigInt>>())
        .when(throttles::expires_at.gt(empty.minus(interval)), empty.into_sql::<Nullable<BigInt>>())
        .otherwise(throttles::expires_at + later);
    let set = (
        throttles::failures.eq(throttles::failures + 1),
        throttles::updated_at.eq(at),
        throttles::expires_at.eq(full_at),
    );
    let updated = diesel::update(throttles::table.find(key)).set(set).cached().execute(db)?;
    if updated == 0 { insert(db, key, at, taken) } else { Ok(()) }
}

/// Deletes the rows of these keys, in the order of the keys, as every transaction locks them.
pub fn reset(db: &mut Db, keys: &[String]) -> Result<(), StoreError> {
    let query = throttles::table.filter(throttles::key.eq_any(keys)).select(throttles::key);
    let mut present: Vec<String> = query.load(db)?;
    present.sort();
    for key in present {
        diesel::delete(throttles::table.find(key)).execute(db)?;
    }
    Ok(())
}

/// Deletes up to `limit` rows that say nothing any more; returns the number of deleted rows.
pub fn purge(db: &mut Db, now: Timestamp, limit: i64) -> Result<usize, StoreError> {
    let query = throttles::table.filter(throttles::expires_at.lt(now)).order(throttles::expires_at);
    let old: Vec<String> = query.select(throttles::key).limit(limit).load(db)?;
    Ok(diesel::delete(throttles::table.filter(throttles::key.eq_any(old))).execute(db)?)
}
