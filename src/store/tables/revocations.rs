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
use crate::store::tables::columns::{AccountUuid, SessionId};

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
    pub account_uuid: Option<AccountUuid>,
    /// …if they were issued under a lower epoch…
    pub epoch: Option<i64>,
    /// …and not for this session.
    pub except_session_id: Option<SessionId>,
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
    pub account_uuid: Option<AccountUuid>,
    pub epoch: Option<i64>,
    pub except_session_id: Option<SessionId>,
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
        let (account, epoch, except) = (text(self.account_uuid), text(self.epoch), text(self.except_session_id));
        let (created, expires) = (self.created_at.as_millis(), self.expires_at.as_millis());
        format!("{}:{session}:{generation}:{account}:{epoch}:{except}:{created}:{expires}", self.id)
    }

    /// Parses a payload; `None` for one of another version of this service.
    pub(in crate::store) fn from_notification(text: &str) -> Option<Self> {
        fn optional<T: FromStr>(text: &str) -> Option<Option<T>> {
            if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
        }
        let parts: Vec<&str> = text.split(':').collect();
        let [id, session, generation, account, epoch, except, created, expires] = parts.as_slice() else { return None };
        Some(Self {
            id: id.parse().ok()?,
            session_id: optional::<Uuid>(session)?.map(SessionId),
            generation: optional(generation)?,
            account_uuid: optional::<Uuid>(account)?.map(AccountUuid),
            epoch: optional(epoch)?,
            except_session_id: optional::<Uuid>(except)?.map(SessionId),
            created_at: Timestamp::from_millis(created.parse().ok()?),
            expires_at: Timestamp::from_millis(expires.parse().ok()?),
        })
    }
}

/// Which rows `list` reads, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// The row with the greatest id.
    Newest,
    /// Those with an id above this one, by id.
    InsertedAfter(i64),
    /// Those that expire after the row with this expiry and id, by expiry and id. Rows that expired before cost nothing: both
    /// databases begin at this place of the index on `expires_at`.
    ExpiringAfter(Timestamp, i64),
}

/// Up to `limit` rows.
pub fn list(db: &mut Db, selection: Selection, limit: i64) -> Result<Vec<RevocationRow>, StoreError> {
    let all = revocations::table;
    Ok(match selection {
        Selection::Newest => all.order(revocations::id.desc()).limit(limit.min(1)).load(db)?,
        Selection::InsertedAfter(id) => {
            all.filter(revocations::id.gt(id)).order(revocations::id).limit(limit).load(db)?
        }
        Selection::ExpiringAfter(expiry, id) => {
            // The first condition alone is what an index can be searched by.
            let follows = revocations::expires_at.gt(expiry).or(revocations::id.gt(id));
            let rest = all.filter(revocations::expires_at.ge(expiry)).filter(follows);
            rest.order((revocations::expires_at, revocations::id)).limit(limit).load(db)?
        }
    })
}

/// Every row of this session or its account: for a check while the revocation cache is too old.
pub fn list_concerning(
    db: &mut Db,
    session: SessionId,
    account: AccountUuid,
) -> Result<Vec<RevocationRow>, StoreError> {
    let matching = revocations::session_id.eq(session).or(revocations::account_uuid.eq(account));
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
        let row = |session_id, generation, account_uuid, epoch| RevocationRow {
            id: 7,
            session_id,
            generation,
            account_uuid,
            epoch,
            except_session_id: None,
            created_at: Timestamp::from_millis(1),
            expires_at: Timestamp::from_millis(-2),
        };
        let account = row(None, None, Some(AccountUuid(Uuid::from_u128(3))), Some(4));
        let excepting = RevocationRow { except_session_id: Some(session), ..account.clone() };
        for row in [row(Some(session), None, None, None), row(Some(session), Some(9), None, None), account, excepting] {
            assert_eq!(RevocationRow::from_notification(&row.to_notification()), Some(row));
        }
        for invalid in [
            "",
            "7",
            "7:::::::",
            "x::::::1:2",
            "7::::::1:2:3",
            "7:not-an-id:::::1:2",
            "7:::3:::1:2",
            "7::::::1:99999999999999999999",
        ] {
            assert_eq!(RevocationRow::from_notification(invalid), None, "{invalid}");
        }
    }
}
