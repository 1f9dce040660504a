//! Rotation statements of the `sessions` table: the next generation by compare-and-set, and the access tokens that are issued
//! without one. The rows and all other queries are sessions.rs's; which statement to run is decided in core/session/refresh.rs.

use diesel::dsl::{case_when, exists, sql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::{AccountState, SessionRow, is_in_epoch};
use crate::clock::Timestamp;
use crate::store::connection::{Db, on_backend};
use crate::store::error::StoreError;
use crate::store::statement_cache::CacheStatement as _;
use crate::store::tables::columns::{AccountStatus, AccountUuid, SessionId};
use crate::store::tables::schema::{accounts, sessions};

/// The columns that a rotation writes.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The dialect whose policy the values below follow: a session of another one is not rotated by `rotate_live`.
    pub dialect: String,
    /// Only a generation that was made before this time is old enough to be rotated…
    pub made_before: Timestamp,
    /// …and that was confirmed before this time.
    pub confirmed_before: Timestamp,
    /// The time of the rotation: the `iat` of the new refresh token.
    pub at: Timestamp,
    /// The signing key of the new refresh token.
    pub key_id: String,
    /// The new idle end, unless the session's own is earlier.
    pub idle_expires_at: Timestamp,
    /// The `exp` of the new access token, unless the session's own end is earlier or the stored one later.
    pub access_expires_at: Timestamp,
}

/// The time, or the session's own end if that is earlier.
#[diesel::dsl::auto_type]
fn within_session(at: Timestamp) -> _ {
    case_when(sessions::expires_at.lt(at), sessions::expires_at).otherwise(at.into_sql::<BigInt>())
}

/// The same, and no earlier than the stored value: of two requests that read the row before either wrote, the second must
/// not shorten it.
#[diesel::dsl::auto_type]
fn no_earlier_than_stored(access: Timestamp) -> _ {
    case_when(sessions::access_expires_at.ge(access), sessions::access_expires_at)
        .when(sessions::expires_at.lt(access), sessions::expires_at)
        .otherwise(access.into_sql::<BigInt>())
}

#[diesel::dsl::auto_type]
fn next_generation<'a>(generation: i64, parent: Option<i64>, to: &'a Rotation) -> _ {
    let next: i64 = generation + 1;
    let unconfirmed: Option<Timestamp> = None;
    let at: Timestamp = to.at;
    let key_id: &'a str = &to.key_id;
    let idle: within_session = within_session(to.idle_expires_at);
    let access: no_earlier_than_stored = no_earlier_than_stored(to.access_expires_at);
    (
        sessions::generation.eq(next),
        sessions::parent.eq(parent),
        sessions::confirmed_at.eq(unconfirmed),
        sessions::rotated_at.eq(at),
        sessions::last_seen_at.eq(at),
        sessions::key_id.eq(key_id),
        sessions::idle_expires_at.eq(idle),
        sessions::access_expires_at.eq(access),
    )
}

/// Compare-and-set from `generation` to the next. Returns the new row, or `None` when another request was first or the
/// session has ended.
pub fn rotate(db: &mut Db, id: SessionId, generation: i64, to: &Rotation) -> Result<Option<SessionRow>, StoreError> {
    let current = sessions::generation.eq(generation).and(sessions::ended_at.is_null());
    let query = diesel::update(sessions::table.find(id).filter(current).filter(is_in_epoch()));
    let query = query.set(next_generation(generation, Some(generation), to)).returning(sessions::all_columns);
    Ok(on_backend!(db, |db| query.cached().get_result(db)).optional()?)
}

/// Compare-and-set from an unconfirmed `generation` to the next, whose predecessor is `parent`: the skipped generation is void.
/// Returns `None` when the row has moved on, or the generation was confirmed meanwhile.
pub fn replace_unconfirmed(
    db: &mut Db,
    id: SessionId,
    generation: i64,
    parent: i64,
    to: &Rotation,
) -> Result<Option<SessionRow>, StoreError> {
    let current = sessions::generation.eq(generation).and(sessions::ended_at.is_null());
    let lost = sessions::parent.eq(parent).and(sessions::confirmed_at.is_null());
    let query = diesel::update(sessions::table.find(id).filter(current).filter(lost).filter(is_in_epoch()));
    let query = query.set(next_generation(generation, Some(parent), to)).returning(sessions::all_columns);
    Ok(on_backend!(db, |db| query.get_result(db)).optional()?)
}

/// As `rotate`, without having read the row: only of a session that is live at `to.at` by its row and its account, that began
/// at `to.dialect`, and whose generation is old enough; `confirmed_here` is when this node saw it first, which the row may not
/// have yet. This is the verdict `Rotate` of core/session/refresh/decide.rs in SQL;
/// tests/it/refresh_rotation.rs compares the two.
pub fn rotate_live(
    db: &mut Db,
    id: SessionId,
    owner: AccountUuid,
    (generation, confirmed_here): (i64, Option<Timestamp>),
    to: &Rotation,
) -> Result<Option<(SessionRow, AccountState)>, StoreError> {
    let account =
        accounts::table.filter(accounts::id.eq(sessions::account_id).and(accounts::epoch.eq(sessions::epoch)));
    // One column, for a short text: diesel builds it for each call and finds the prepared statement by it.
    let active = account.filter(accounts::status.eq(AccountStatus::Active)).filter(accounts::uuid.eq(owner));
    let current = sessions::generation.eq(generation).and(sessions::min_generation.le(generation));
    let confirmed = case_when(sessions::confirmed_at.is_null(), confirmed_here.into_sql::<Nullable<BigInt>>())
        .otherwise(sessions::confirmed_at);
    let is_settled = sessions::rotated_at.lt(to.made_before).and(confirmed.lt(to.confirmed_before).assume_not_null());
    let is_due = sessions::generation.eq(0).or(is_settled);
    let live =
        sessions::ended_at.is_null().and(sessions::idle_expires_at.gt(to.at)).and(sessions::expires_at.gt(to.at));
    let allowed = sessions::dialect.eq(&to.dialect).and(exists(active.select(accounts::id)));
    let query = diesel::update(sessions::table.find(id).filter(current).filter(live).filter(is_due).filter(allowed));
    // As SQL text, because diesel's own subquery for a single value ends in `LIMIT ?`, which SQLite parses anew.
    let role = sql::<Text>("(SELECT role FROM accounts WHERE accounts.id = sessions.account_id)");
    let must_change =
        sql::<Bool>("(SELECT must_change_password FROM accounts WHERE accounts.id = sessions.account_id)");
    let query = query.set(next_generation(generation, Some(generation), to)).returning((
        sessions::all_columns,
        role,
        must_change,
    ));
    let rotated: Option<(SessionRow, String, bool)> = on_backend!(db, |db| query.cached().get_result(db)).optional()?;
    Ok(rotated.map(|(row, role, must_change_password)| {
        let status = AccountStatus::Active;
        let state = AccountState { uuid: owner, epoch: row.epoch, status, role, must_change_password };
        (row, state)
    }))
}

/// A new generation after a change of the secret, which no older one may stand in for: compare-and-set from `generation`.
pub fn rotate_without_parent(
    db: &mut Db,
    id: SessionId,
    generation: i64,
    to: &Rotation,
) -> Result<Option<SessionRow>, StoreError> {
    let Some(row) = rotate(db, id, generation, to)? else { return Ok(None) };
    let parent: Option<i64> = None;
    let set = (sessions::parent.eq(parent), sessions::min_generation.eq(row.generation));
    diesel::update(sessions::table.find(id)).set(set).execute(db)?;
    Ok(Some(SessionRow { parent, min_generation: row.generation, ..row }))
}

/// Moves a live session of the former epoch to the account's new one. Returns whether it was live.
pub fn continue_in_epoch(
    db: &mut Db,
    id: SessionId,
    (former, epoch): (i64, i64),
    at: Timestamp,
) -> Result<bool, StoreError> {
    let live = sessions::ended_at.is_null().and(sessions::epoch.eq(former));
    let set = (sessions::epoch.eq(epoch), sessions::last_seen_at.eq(at));
    Ok(diesel::update(sessions::table.find(id).filter(live)).set(set).execute(db)? == 1)
}

/// Records that an access token was issued without a rotation, and when the generation was confirmed unless that is recorded.
/// Returns whether the session still was at `generation`.
pub fn touch(
    db: &mut Db,
    id: SessionId,
    generation: i64,
    at: Timestamp,
    access: Timestamp,
    confirmed: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let current = sessions::generation.eq(generation).and(sessions::ended_at.is_null());
    let query = diesel::update(sessions::table.find(id).filter(current).filter(is_in_epoch()));
    let first_confirmed = case_when(sessions::confirmed_at.is_null(), confirmed.into_sql::<Nullable<BigInt>>())
        .otherwise(sessions::confirmed_at);
    let set = (
        sessions::last_seen_at.eq(at),
        sessions::access_expires_at.eq(no_earlier_than_stored(access)),
        sessions::confirmed_at.eq(first_confirmed),
    );
    let changed = on_backend!(db, |db| query.set(set).cached().execute(db))?;
    Ok(changed == 1)
}
