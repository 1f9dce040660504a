//! The `throttles` table: failures in a row by key. What a key stands for and how long a block lasts is core/throttle.rs's.

use diesel::prelude::*;

use super::schema::throttles;
use crate::clock::Timestamp;
use crate::store::connection::Db;
use crate::store::error::Error;
use crate::store::statement_cache::CacheStatement as _;

/// What the keys of accounts begin with. Their rows stay until they are reset, or a patient guesser would begin anew each
/// day; there are no more of them than there are accounts, devices and sessions.
pub const ACCOUNT_KEY_PREFIX: &str = "account:";

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = throttles)]
pub struct ThrottleRow {
    /// A keyed digest.
    pub key: String,
    /// Failures since the last success.
    pub failures: i64,
    /// Until when every try is refused unseen.
    pub blocked_until: Option<Timestamp>,
    /// When the last failure was.
    pub updated_at: Timestamp,
}

/// The rows of these keys.
pub fn find(db: &mut Db, keys: &[String]) -> Result<Vec<ThrottleRow>, Error> {
    Ok(throttles::table.filter(throttles::key.eq_any(keys)).load(db)?)
}

/// Counts one more failure; how many there are now in a row. `Taken` when two first failures meet: try again.
pub fn count_failure(db: &mut Db, key: &str, at: Timestamp) -> Result<i64, Error> {
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
pub fn block(db: &mut Db, key: &str, until: Timestamp) -> Result<(), Error> {
    diesel::update(throttles::table.find(key)).set(throttles::blocked_until.eq(until)).cached().execute(db)?;
    Ok(())
}

/// Forgets the failures of a key; how many there were.
pub fn reset(db: &mut Db, key: &str) -> Result<i64, Error> {
    let gone = diesel::delete(throttles::table.find(key)).returning(throttles::failures).get_result(db);
    Ok(gone.optional()?.unwrap_or(0))
}

/// Takes so many failures off a key; without any left it is forgotten.
pub fn forgive(db: &mut Db, key: &str, failures: i64) -> Result<(), Error> {
    diesel::update(throttles::table.find(key))
        .set(throttles::failures.eq(throttles::failures - failures))
        .execute(db)?;
    diesel::delete(throttles::table.find(key).filter(throttles::failures.le(0))).execute(db)?;
    Ok(())
}

/// Removes up to `limit` rows without a failure since `before`, but for those of accounts; how many went.
pub fn purge(db: &mut Db, before: Timestamp, limit: i64) -> Result<usize, Error> {
    let query = throttles::table
        .filter(throttles::updated_at.lt(before))
        .filter(throttles::key.not_like(format!("{ACCOUNT_KEY_PREFIX}%")))
        .order(throttles::updated_at);
    let old: Vec<String> = query.select(throttles::key).limit(limit).load(db)?;
    Ok(diesel::delete(throttles::table.filter(throttles::key.eq_any(old))).execute(db)?)
}
