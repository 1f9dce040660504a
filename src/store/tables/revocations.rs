//! The `revocations` table: the deny-list of sessions, generations and epochs that ended before their tokens expire, and its
//! notifications. How a node caches it is decided in core/revocation/cache.rs.

use std::str::FromStr;

use diesel::prelude::*;
use diesel::sql_types::Text;
use uuid::Uuid;

use super::schema::revocations;
use crate::clock::Timestamp;
use crate::store::connection::Db;
use crate::store::error::StoreError;
use crate::store::tables::columns::{AccountId, SessionId};

/// One row: a session (or its generations below one), or an account's epochs below one.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct RevocationRow {
    /// Ascends in order of insertion; rows may be committed in another order.
    pub id: i64,
    /// The session that has ended…
    pub session_id: Option<SessionId>,
    /// …or, if this is set, whose tokens of lower generations are invalid.
    pub generation: Option<i64>,
    /// The account whose tokens are invalid…
    pub account_id: Option<AccountId>,
    /// …if they were issued under a lower epoch.
    pub epoch: Option<i64>,
    /// When it was revoked.
    pub created_at: Timestamp,
    /// When the last token that it invalidates expires.
    pub expires_at: Timestamp,
}

/// A row to insert.
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

/// The channel of PostgreSQL's notifications.
pub const CHANNEL: &str = "doorward_revocations";

/// Inserts a row. PostgreSQL delivers the notification to every listening node when the transaction is committed, and not
/// before: there is no notification without its row, and no row without its notification.
pub fn insert(db: &mut Db, new: &NewRevocation) -> Result<RevocationRow, StoreError> {
    let query = diesel::insert_into(revocations::table).values(new).returning(revocations::all_columns);
    let row: RevocationRow = query.get_result(db)?;
    if let Db::Postgres(db) = db {
        let notification = diesel::sql_query("SELECT pg_notify($1, $2)").bind::<Text, _>(CHANNEL);
        notification.bind::<Text, _>(row.to_notification()).execute(db)?;
    }
    Ok(row)
}

impl RevocationRow {
    /// The row as the payload of a notification: its columns in order, separated by colons, empty where NULL.
    fn to_notification(&self) -> String {
        fn text<T: ToString>(value: Option<T>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        let (session, generation) = (text(self.session_id), text(self.generation));
        let (account, epoch) = (text(self.account_id), text(self.epoch));
        let (created, expires) = (self.created_at.as_millis(), self.expires_at.as_millis());
        format!("{}:{session}:{generation}:{account}:{epoch}:{created}:{expires}", self.id)
    }

    /// Parses a payload; `None` for one of another version of this service.
    pub(in crate::store) fn from_notification(text: &str) -> Option<Self> {
        fn optional<T: FromStr>(text: &str) -> Option<Option<T>> {
            if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
        }
        let parts: Vec<&str> = text.split(':').collect();
        let [id, session, generation, account, epoch, created, expires] = parts.as_slice() else { return None };
        Some(Self {
            id: id.parse().ok()?,
            session_id: optional::<Uuid>(session)?.map(SessionId),
            generation: optional(generation)?,
            account_id: optional::<i64>(account)?.map(AccountId),
            epoch: optional(epoch)?,
            created_at: Timestamp::from_millis(created.parse().ok()?),
            expires_at: Timestamp::from_millis(expires.parse().ok()?),
        })
    }
}

/// Up to `limit` rows with an id above `after`, in order.
pub fn list_after(db: &mut Db, after: i64, limit: i64) -> Result<Vec<RevocationRow>, StoreError> {
    Ok(revocations::table.filter(revocations::id.gt(after)).order(revocations::id).limit(limit).load(db)?)
}

/// Every row of this session or its account: for a check while the revocation cache is too old.
pub fn list_concerning(db: &mut Db, session: SessionId, account: AccountId) -> Result<Vec<RevocationRow>, StoreError> {
    let matching = revocations::session_id.eq(session).or(revocations::account_id.eq(account));
    Ok(revocations::table.filter(matching).load(db)?)
}

/// Deletes up to `limit` rows that expired before `before`; returns the number of deleted rows.
pub fn purge(db: &mut Db, before: Timestamp, limit: i64) -> Result<usize, StoreError> {
    let query = revocations::table.filter(revocations::expires_at.lt(before)).order(revocations::expires_at);
    let old: Vec<i64> = query.select(revocations::id).limit(limit).load(db)?;
    Ok(diesel::delete(revocations::table.filter(revocations::id.eq_any(old))).execute(db)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notification_payloads_round_trip_and_others_are_rejected() {
        let session = SessionId(Uuid::from_u128(42));
        let row = |session_id, generation, account_id, epoch| RevocationRow {
            id: 7,
            session_id,
            generation,
            account_id,
            epoch,
            created_at: Timestamp::from_millis(1),
            expires_at: Timestamp::from_millis(-2),
        };
        let account = row(None, None, Some(AccountId(3)), Some(4));
        for row in [row(Some(session), None, None, None), row(Some(session), Some(9), None, None), account] {
            assert_eq!(RevocationRow::from_notification(&row.to_notification()), Some(row));
        }
        for invalid in
            ["", "7", "7::::::", "x:::::1:2", "7:::::1:2:3", "7:not-an-id::::1:2", "7:::::1:99999999999999999999"]
        {
            assert_eq!(RevocationRow::from_notification(invalid), None, "{invalid}");
        }
    }
}
