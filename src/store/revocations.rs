//! The `revocations` table: what is dead before its tokens expire. How a node remembers it is core/revocation.rs's.

use diesel::prelude::*;

use super::schema::revocations;
use super::{AccountId, Db, Error, SessionId};
use crate::clock::Timestamp;

/// One row: a session (or its generations below one), or an account's epochs below one.
#[derive(Debug, Clone, Queryable)]
pub struct RevocationRow {
    /// Rises with insertion; commits may come in another order.
    pub id: i64,
    /// The session that is dead…
    pub session_id: Option<SessionId>,
    /// …or, if set, only its tokens of lower generations.
    pub generation: Option<i64>,
    /// The account whose tokens are dead…
    pub account_id: Option<AccountId>,
    /// …when minted under a lower epoch.
    pub epoch: Option<i64>,
    /// When it was revoked.
    pub created_at: Timestamp,
    /// When the last token that it concerns has expired.
    pub expires_at: Timestamp,
}

/// A row to be.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = revocations)]
#[expect(missing_docs, reason = "as in RevocationRow")]
pub struct NewRevocation {
    pub session_id: Option<SessionId>,
    pub generation: Option<i64>,
    pub account_id: Option<AccountId>,
    pub epoch: Option<i64>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Adds a row.
pub fn insert(db: &mut Db, new: &NewRevocation) -> Result<RevocationRow, Error> {
    Ok(diesel::insert_into(revocations::table).values(new).returning(revocations::all_columns).get_result(db)?)
}

/// Up to `limit` rows with an id above `after`, in order.
pub fn list_after(db: &mut Db, after: i64, limit: i64) -> Result<Vec<RevocationRow>, Error> {
    Ok(revocations::table.filter(revocations::id.gt(after)).order(revocations::id).limit(limit).load(db)?)
}

/// Every row that concerns this session or its account: what a check asks when memory is too old to answer.
pub fn list_concerning(db: &mut Db, session: SessionId, account: AccountId) -> Result<Vec<RevocationRow>, Error> {
    let concerned = revocations::session_id.eq(session).or(revocations::account_id.eq(account));
    Ok(revocations::table.filter(concerned).load(db)?)
}

/// Removes up to `limit` rows that expired before `before`; how many went.
pub fn purge(db: &mut Db, before: Timestamp, limit: i64) -> Result<usize, Error> {
    let query = revocations::table.filter(revocations::expires_at.lt(before)).order(revocations::expires_at);
    let old: Vec<i64> = query.select(revocations::id).limit(limit).load(db)?;
    Ok(diesel::delete(revocations::table.filter(revocations::id.eq_any(old))).execute(db)?)
}
