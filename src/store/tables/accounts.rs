//! The `accounts` table: rows and queries. Which change is allowed, and which sessions it ends, is decided in core/account.rs
//! and core/credential/.

use diesel::connection::SimpleConnection;
use diesel::dsl::case_when;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::schema::accounts;
use crate::clock::Timestamp;
use crate::store::connection::Db;
use crate::store::error::StoreError;
use crate::store::tables::columns::{AccountId, AccountStatus, AccountUuid};

/// One row, column by column. JSON columns are text here; `password` and `pin` are stored forms of secrets.
#[derive(Clone, Queryable)]
#[expect(missing_docs, reason = "the columns' meaning stands in the migration and in core/account.rs")]
pub struct AccountRow {
    pub id: AccountId,
    pub uuid: AccountUuid,
    pub email: Option<String>,
    pub email_canonical: Option<String>,
    pub email_verified: bool,
    pub username: Option<String>,
    pub username_canonical: Option<String>,
    pub name: Option<String>,
    pub name_canonical: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub gender: Option<String>,
    pub image: Option<String>,
    pub phone: Option<String>,
    pub role: String,
    pub permissions: String,
    pub stats: String,
    pub profile: String,
    pub status: AccountStatus,
    pub epoch: i64,
    pub password: Option<String>,
    pub pin: Option<String>,
    pub last_sign_in_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub must_change_password: bool,
}

impl std::fmt::Debug for AccountRow {
    /// The id only: a row holds hashes and personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccountRow({})", self.id)
    }
}

/// A row to insert.
#[derive(Insertable)]
#[diesel(table_name = accounts)]
#[expect(missing_docs, reason = "as in AccountRow")]
pub struct NewAccount {
    /// The next free id, if none is given.
    pub id: Option<AccountId>,
    pub uuid: AccountUuid,
    pub email: Option<String>,
    pub email_canonical: Option<String>,
    pub email_verified: bool,
    pub username: Option<String>,
    pub username_canonical: Option<String>,
    pub name: Option<String>,
    pub name_canonical: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub gender: Option<String>,
    pub image: Option<String>,
    pub phone: Option<String>,
    pub role: String,
    pub permissions: String,
    pub stats: String,
    pub profile: String,
    pub status: AccountStatus,
    pub password: Option<String>,
    pub pin: Option<String>,
    pub last_sign_in_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub must_change_password: bool,
}

/// The columns an owner may change: `None` leaves one as it is, `Some(None)` empties it.
#[derive(Default, Clone, AsChangeset)]
#[diesel(table_name = accounts)]
#[expect(missing_docs, reason = "as in AccountRow")]
pub struct ProfileChange {
    pub name: Option<Option<String>>,
    pub name_canonical: Option<Option<String>>,
    pub first_name: Option<Option<String>>,
    pub last_name: Option<Option<String>>,
    pub gender: Option<Option<String>>,
    pub image: Option<Option<String>>,
    pub phone: Option<Option<String>>,
    pub profile: Option<String>,
    pub updated_at: Option<Timestamp>,
}

/// The unique columns by which an account is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentifierColumn {
    /// `email_canonical`
    Email,
    /// `username_canonical`
    Username,
    /// `name_canonical`
    Name,
}

/// The columns with an account's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretColumn {
    /// `password`
    Password,
    /// `pin`
    Pin,
}

/// Inserts a row; `Taken` when another account has one of its identifiers.
pub fn insert(db: &mut Db, new: &NewAccount) -> Result<AccountRow, StoreError> {
    Ok(diesel::insert_into(accounts::table).values(new).returning(accounts::all_columns).get_result(db)?)
}

/// Locks the table against inserts of other transactions until this one ends, and advances the id sequence past `highest`,
/// as SQLite does by itself: imported rows bring their ids, which must not collide with one that the sequence assigns.
pub fn lock_and_advance_id_sequence(db: &mut Db, highest: Option<AccountId>) -> Result<(), StoreError> {
    const SEQUENCE: &str = "pg_get_serial_sequence('accounts', 'id')::regclass";
    let Db::Postgres(db) = db else { return Ok(()) };
    db.batch_execute("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE")?;
    if let Some(highest) = highest {
        let advance =
            format!("SELECT setval({SEQUENCE}, $1) WHERE $1 > coalesce(pg_sequence_last_value({SEQUENCE}), 0)");
        diesel::sql_query(advance).bind::<BigInt, _>(highest).execute(db)?;
    }
    Ok(())
}

/// Whether an account has this uuid.
pub fn has_uuid(db: &mut Db, uuid: AccountUuid) -> Result<bool, StoreError> {
    let query = accounts::table.filter(accounts::uuid.eq(uuid)).select(accounts::id);
    Ok(query.get_result::<AccountId>(db).optional()?.is_some())
}

/// The account with this id.
pub fn find(db: &mut Db, id: AccountId) -> Result<Option<AccountRow>, StoreError> {
    Ok(accounts::table.find(id).get_result(db).optional()?)
}

/// The account with this UUID.
pub fn find_by_uuid(db: &mut Db, uuid: AccountUuid) -> Result<Option<AccountRow>, StoreError> {
    Ok(accounts::table.filter(accounts::uuid.eq(uuid)).get_result(db).optional()?)
}

/// The account with this canonical identifier.
pub fn find_by(db: &mut Db, column: IdentifierColumn, canonical: &str) -> Result<Option<AccountRow>, StoreError> {
    let query = accounts::table.into_boxed();
    let query = match column {
        IdentifierColumn::Email => query.filter(accounts::email_canonical.eq(canonical)),
        IdentifierColumn::Username => query.filter(accounts::username_canonical.eq(canonical)),
        IdentifierColumn::Name => query.filter(accounts::name_canonical.eq(canonical)),
    };
    Ok(query.get_result(db).optional()?)
}

/// Up to `limit` accounts with an id above `after`, in order.
pub fn list(db: &mut Db, after: AccountId, limit: i64) -> Result<Vec<AccountRow>, StoreError> {
    Ok(accounts::table.filter(accounts::id.gt(after)).order(accounts::id).limit(limit).load(db)?)
}

/// Records a sign-in, if the account is still active and its secret still the one that was verified; returns the new row. As
/// an `UPDATE` of the account's row it takes the row lock, and so waits for a concurrent change of secret, status or epoch.
pub fn record_sign_in(
    db: &mut Db,
    id: AccountId,
    column: SecretColumn,
    checked: Option<&str>,
    at: Timestamp,
) -> Result<Option<AccountRow>, StoreError> {
    let active = accounts::table.find(id).filter(accounts::status.eq(AccountStatus::Active));
    let set = accounts::last_sign_in_at.eq(at);
    let query = match column {
        SecretColumn::Password => {
            let row = active.filter(accounts::password.eq(checked));
            diesel::update(row).set(set).returning(accounts::all_columns).get_result(db)
        }
        SecretColumn::Pin => {
            let row = active.filter(accounts::pin.eq(checked));
            diesel::update(row).set(set).returning(accounts::all_columns).get_result(db)
        }
    };
    Ok(query.optional()?)
}

/// Changes profile columns. Returns the new row, or `None` when there is no such account.
pub fn change_profile(db: &mut Db, id: AccountId, change: &ProfileChange) -> Result<Option<AccountRow>, StoreError> {
    let query = diesel::update(accounts::table.find(id)).set(change).returning(accounts::all_columns);
    Ok(query.get_result(db).optional()?)
}

/// Replaces the stored password if it is still `old`, and clears `must_change_password`; returns whether it was.
pub fn replace_password(
    db: &mut Db,
    id: AccountId,
    old: Option<&str>,
    new: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let new = (accounts::password.eq(new), accounts::must_change_password.eq(false), accounts::updated_at.eq(at));
    let changed = match old {
        Some(old) => {
            diesel::update(accounts::table.find(id).filter(accounts::password.eq(old))).set(new).execute(db)?
        }
        None => diesel::update(accounts::table.find(id).filter(accounts::password.is_null())).set(new).execute(db)?,
    };
    Ok(changed == 1)
}

/// Sets the stored form of a secret.
pub fn set_secret(
    db: &mut Db,
    id: AccountId,
    column: SecretColumn,
    stored: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let row = accounts::table.find(id);
    match column {
        SecretColumn::Password => {
            diesel::update(row).set((accounts::password.eq(stored), accounts::updated_at.eq(at))).execute(db)?
        }
        SecretColumn::Pin => {
            diesel::update(row).set((accounts::pin.eq(stored), accounts::updated_at.eq(at))).execute(db)?
        }
    };
    Ok(())
}

/// The number of accounts with a stored secret that begins with `prefix`.
pub fn count_secrets_with_prefix(db: &mut Db, prefix: &str) -> Result<i64, StoreError> {
    // LIKE treats _ and % as wildcards, and the name of a hash scheme may contain them.
    let pattern = format!("{}%", prefix.replace('!', "!!").replace('%', "!%").replace('_', "!_"));
    let password =
        accounts::password.is_not_null().and(accounts::password.assume_not_null().like(&pattern).escape('!'));
    let pin = accounts::pin.is_not_null().and(accounts::pin.assume_not_null().like(&pattern).escape('!'));
    Ok(accounts::table.filter(password.or(pin)).count().get_result(db)?)
}

/// Sets whether the email is verified. Returns whether there is such an account.
pub fn set_email_verified(db: &mut Db, id: AccountId, verified: bool, at: Timestamp) -> Result<bool, StoreError> {
    let new = (accounts::email_verified.eq(verified), accounts::updated_at.eq(at));
    Ok(diesel::update(accounts::table.find(id)).set(new).execute(db)? == 1)
}

/// Sets the email. Returns whether there is such an account.
pub fn set_email(
    db: &mut Db,
    id: AccountId,
    shown: &str,
    canonical: &str,
    verified: bool,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let new = (accounts::email.eq(shown), accounts::email_canonical.eq(canonical));
    let new = (new, accounts::email_verified.eq(verified), accounts::updated_at.eq(at));
    Ok(diesel::update(accounts::table.find(id)).set(new).execute(db)? == 1)
}

/// Sets the permissions, one a line. Returns whether there is such an account.
pub fn set_permissions(db: &mut Db, id: AccountId, permissions: &str, at: Timestamp) -> Result<bool, StoreError> {
    let new = (accounts::permissions.eq(permissions), accounts::updated_at.eq(at));
    Ok(diesel::update(accounts::table.find(id)).set(new).execute(db)? == 1)
}

/// Deletes the account, with the sessions that it still has. Returns whether there was one.
pub fn delete(db: &mut Db, id: AccountId) -> Result<bool, StoreError> {
    Ok(diesel::delete(accounts::table.find(id)).execute(db)? == 1)
}

/// Sets the role.
pub fn set_role(db: &mut Db, id: AccountId, role: &str, at: Timestamp) -> Result<(), StoreError> {
    let new = (accounts::role.eq(role), accounts::updated_at.eq(at));
    diesel::update(accounts::table.find(id)).set(new).execute(db)?;
    Ok(())
}

/// Sets the status.
pub fn set_status(db: &mut Db, id: AccountId, status: AccountStatus, at: Timestamp) -> Result<(), StoreError> {
    let new = (accounts::status.eq(status), accounts::updated_at.eq(at));
    diesel::update(accounts::table.find(id)).set(new).execute(db)?;
    Ok(())
}

/// Sets whether the password must be changed.
pub fn set_must_change_password(db: &mut Db, id: AccountId, must: bool, at: Timestamp) -> Result<(), StoreError> {
    let new = (accounts::must_change_password.eq(must), accounts::updated_at.eq(at));
    diesel::update(accounts::table.find(id)).set(new).execute(db)?;
    Ok(())
}

/// The epoch, whose row is locked until the transaction ends; `None` when there is no such account.
pub fn lock_epoch(db: &mut Db, id: AccountId) -> Result<Option<i64>, StoreError> {
    let query = diesel::update(accounts::table.find(id)).set(accounts::epoch.eq(accounts::epoch));
    Ok(query.returning(accounts::epoch).get_result(db).optional()?)
}

/// Raises the epoch by one, and to the time in milliseconds, or above `above`, if that is more: a restored backup has a lower
/// epoch than tokens that were issued after it was made, and only the clock knows how high theirs may be. Returns the new one
/// with the account's UUID, or `None` when there is no such account.
pub fn raise_epoch(
    db: &mut Db,
    id: AccountId,
    above: i64,
    at: Timestamp,
) -> Result<Option<(AccountUuid, i64)>, StoreError> {
    let above = above.max(at.as_millis() - 1);
    let base = case_when(accounts::epoch.lt(above), above.into_sql::<BigInt>()).otherwise(accounts::epoch);
    let query = diesel::update(accounts::table.find(id)).set(accounts::epoch.eq(base + 1));
    Ok(query.returning((accounts::uuid, accounts::epoch)).get_result(db).optional()?)
}
