//! The `canonical_forms` table: which version of the rule for comparing identifiers all accounts follow. The rule is
//! core/account/identifier.rs's, and its adoption core/account/canonical_forms.rs's.

use diesel::prelude::*;

use super::schema::{accounts, canonical_forms};
use crate::store::connection::Db;
use crate::store::error::StoreError;
use crate::store::tables::columns::AccountId;

/// An account's identifiers: as entered, and as compared.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[expect(missing_docs, reason = "as in AccountRow")]
pub struct IdentifierRow {
    pub id: AccountId,
    pub email: Option<String>,
    pub email_canonical: Option<String>,
    pub username: Option<String>,
    pub username_canonical: Option<String>,
    pub name: Option<String>,
    pub name_canonical: Option<String>,
}

/// Whether all accounts follow this version.
pub fn has(db: &mut Db, version: i64) -> Result<bool, StoreError> {
    let query = canonical_forms::table.find(version).select(canonical_forms::version);
    Ok(query.get_result::<i64>(db).optional()?.is_some())
}

/// Records that all accounts follow this version.
pub fn record(db: &mut Db, version: i64) -> Result<(), StoreError> {
    if !has(db, version)? {
        diesel::insert_into(canonical_forms::table).values(canonical_forms::version.eq(version)).execute(db)?;
    }
    Ok(())
}

/// The identifiers of up to `limit` accounts with an id above `after`, in order.
pub fn list(db: &mut Db, after: AccountId, limit: i64) -> Result<Vec<IdentifierRow>, StoreError> {
    let query = accounts::table.filter(accounts::id.gt(after)).order(accounts::id).limit(limit).select((
        accounts::id,
        accounts::email,
        accounts::email_canonical,
        accounts::username,
        accounts::username_canonical,
        accounts::name,
        accounts::name_canonical,
    ));
    Ok(query.load(db)?)
}

/// Sets the canonical columns of an account.
pub fn set(db: &mut Db, row: &IdentifierRow) -> Result<(), StoreError> {
    let set = (
        accounts::email_canonical.eq(&row.email_canonical),
        accounts::username_canonical.eq(&row.username_canonical),
        accounts::name_canonical.eq(&row.name_canonical),
    );
    diesel::update(accounts::table.find(row.id)).set(set).execute(db)?;
    Ok(())
}
