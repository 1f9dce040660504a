//! The `sessions` table: rows and queries. Each change that may happen only once is one conditional `UPDATE`
//! (compare-and-set), and its row count says whether it happened. Which change to make is decided in core/session/.

use diesel::dsl::{case_when, exists, sql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use super::opaque_tokens;
use super::schema::{accounts, sessions};
use crate::clock::Timestamp;
use crate::store::connection::{Db, on_backend};
use crate::store::error::StoreError;
use crate::store::statement_cache::CacheStatement as _;
use crate::store::tables::columns::{AccountId, AccountStatus, EndReason, SessionId};

/// One row, column by column.
#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = sessions)]
pub struct SessionRow {
    /// The `sid` of the session's tokens.
    pub id: SessionId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// The dialect of the sign-in.
    pub dialect: String,
    /// The account's epoch at the sign-in; the session has ended when the account's is higher.
    pub epoch: i64,
    /// How often its refresh token has been rotated.
    pub generation: i64,
    /// Refresh tokens of lower generations are invalid, also within the refresh grace.
    pub min_generation: i64,
    /// The signing key of its current refresh token, so that every node derives the same token.
    pub key_id: String,
    /// When the current generation was issued: the `iat` of its refresh token.
    pub rotated_at: Timestamp,
    /// When a client first presented the current generation, which proves that it arrived.
    pub confirmed_at: Option<Timestamp>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub last_seen_at: Timestamp,
    /// The `exp` of the current refresh token; each rotation extends it.
    pub idle_expires_at: Timestamp,
    /// The session's absolute end; nothing extends it.
    pub expires_at: Timestamp,
    /// The latest `exp` of its access tokens: how long a revocation of it must be stored.
    pub access_expires_at: Timestamp,
    /// Whether its cookies are kept when the browser is closed.
    pub persistent: bool,
    /// The device id that the client chose; a second sign-in with the same one replaces the session.
    pub device_id: Option<String>,
    /// The device's display name.
    pub device_name: Option<String>,
    /// The `User-Agent` at sign-in, truncated.
    pub user_agent: Option<String>,
    /// The client's address at sign-in.
    pub address: Option<String>,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    pub end_reason: Option<EndReason>,
}

/// The columns of an account on which its sessions depend.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct AccountState {
    /// Sessions of a lower epoch have ended.
    pub epoch: i64,
    /// Only an active account's sessions can be refreshed.
    pub status: AccountStatus,
    /// A claim of the access token.
    pub role: String,
    /// A claim of the access token.
    pub must_change_password: bool,
}

/// The columns that a rotation writes.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The time of the rotation: the `iat` of the new refresh token.
    pub at: Timestamp,
    /// The signing key of the new refresh token.
    pub key_id: String,
    /// The new idle end, unless the session's own is earlier.
    pub idle_expires_at: Timestamp,
    /// The `exp` of the new access token, unless the session's own end is earlier or the stored one later.
    pub access_expires_at: Timestamp,
}

/// A session that a statement ended, with the columns that its revocation needs.
#[derive(Debug, Clone, Queryable)]
pub struct EndedSession {
    /// Its id.
    pub id: SessionId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// The latest end of its access tokens.
    pub access_expires_at: Timestamp,
}

/// Adds a row.
pub fn insert(db: &mut Db, row: &SessionRow) -> Result<(), StoreError> {
    diesel::insert_into(sessions::table).values(row).execute(db)?;
    Ok(())
}

/// The session, with its account's state.
pub fn find(db: &mut Db, id: SessionId) -> Result<Option<(SessionRow, AccountState)>, StoreError> {
    let state = (accounts::epoch, accounts::status, accounts::role, accounts::must_change_password);
    let query = sessions::table.inner_join(accounts::table).filter(sessions::id.eq(id));
    let query = query.select((sessions::all_columns, state));
    Ok(on_backend!(db, |db| query.get_result(db)).optional()?)
}

/// The account's sessions that have not ended, newest first.
pub fn list_live(db: &mut Db, account: AccountId, epoch: i64, now: Timestamp) -> Result<Vec<SessionRow>, StoreError> {
    let live = sessions::ended_at.is_null().and(sessions::epoch.ge(epoch));
    let unexpired = sessions::idle_expires_at.gt(now).and(sessions::expires_at.gt(now));
    let query = sessions::table.filter(sessions::account_id.eq(account)).filter(live).filter(unexpired);
    Ok(query.order(sessions::created_at.desc()).load(db)?)
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
fn next_generation<'a>(generation: i64, to: &'a Rotation) -> _ {
    let next: i64 = generation + 1;
    let unconfirmed: Option<Timestamp> = None;
    let at: Timestamp = to.at;
    let key_id: &'a str = &to.key_id;
    let idle: within_session = within_session(to.idle_expires_at);
    let access: no_earlier_than_stored = no_earlier_than_stored(to.access_expires_at);
    (
        sessions::generation.eq(next),
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
    let query = diesel::update(sessions::table.find(id).filter(current)).set(next_generation(generation, to));
    Ok(query.returning(sessions::all_columns).cached().get_result(db).optional()?)
}

/// As `rotate`, without having read the row: only of a session that is live at `to.at` by its row and its account. This is
/// the verdict `Rotate` of core/session/refresh/decide.rs in SQL; tests/it/refresh_rotation.rs compares the two.
pub fn rotate_live(
    db: &mut Db,
    id: SessionId,
    owner: AccountId,
    generation: i64,
    to: &Rotation,
) -> Result<Option<(SessionRow, AccountState)>, StoreError> {
    let account =
        accounts::table.filter(accounts::id.eq(sessions::account_id).and(accounts::epoch.eq(sessions::epoch)));
    // One column, for a short text: diesel builds it for each call and finds the prepared statement by it.
    let active = account.filter(accounts::status.eq(AccountStatus::Active));
    let current = sessions::generation.eq(generation).and(sessions::min_generation.le(generation));
    let live =
        sessions::ended_at.is_null().and(sessions::idle_expires_at.gt(to.at)).and(sessions::expires_at.gt(to.at));
    let allowed = sessions::account_id.eq(owner).and(exists(active.select(accounts::id)));
    let query = diesel::update(sessions::table.find(id).filter(current).filter(live).filter(allowed));
    // As SQL text, because diesel's own subquery for a single value ends in `LIMIT ?`, which SQLite parses anew.
    let role = sql::<Text>("(SELECT role FROM accounts WHERE accounts.id = sessions.account_id)");
    let must_change =
        sql::<Bool>("(SELECT must_change_password FROM accounts WHERE accounts.id = sessions.account_id)");
    let query = query.set(next_generation(generation, to)).returning((sessions::all_columns, role, must_change));
    let rotated: Option<(SessionRow, String, bool)> = on_backend!(db, |db| query.cached().get_result(db)).optional()?;
    Ok(rotated.map(|(row, role, must_change_password)| {
        let state = AccountState { epoch: row.epoch, status: AccountStatus::Active, role, must_change_password };
        (row, state)
    }))
}

/// Records that an access token was issued without a rotation. Returns whether the session still was at `generation`.
pub fn touch(
    db: &mut Db,
    id: SessionId,
    generation: i64,
    at: Timestamp,
    access: Timestamp,
) -> Result<bool, StoreError> {
    let current = sessions::generation.eq(generation).and(sessions::ended_at.is_null());
    let query = diesel::update(sessions::table.find(id).filter(current));
    let set = (sessions::last_seen_at.eq(at), sessions::access_expires_at.eq(no_earlier_than_stored(access)));
    let changed = on_backend!(db, |db| query.set(set).cached().execute(db))?;
    Ok(changed == 1)
}

/// Returns whether the session is live. As an `UPDATE` of its row it waits for a transaction that is ending it, which a
/// `SELECT` would not.
pub fn touch_live(db: &mut Db, id: SessionId, at: Timestamp) -> Result<bool, StoreError> {
    let live = sessions::table.find(id).filter(sessions::ended_at.is_null());
    Ok(diesel::update(live).set(sessions::last_seen_at.eq(at)).cached().execute(db)? == 1)
}

/// Invalidates every older generation of the session, also within the refresh grace. The `touch` or `rotate` before it in
/// the transaction has locked the row.
pub fn invalidate_older_generations(db: &mut Db, id: SessionId, generation: i64) -> Result<(), StoreError> {
    diesel::update(sessions::table.find(id)).set(sessions::min_generation.eq(generation)).execute(db)?;
    Ok(())
}

/// Records the first presentation of `generation`, the proof that it arrived; later ones change nothing.
pub fn confirm(db: &mut Db, id: SessionId, generation: i64, at: Timestamp) -> Result<(), StoreError> {
    let unconfirmed = sessions::generation.eq(generation).and(sessions::confirmed_at.is_null());
    let query = diesel::update(sessions::table.find(id).filter(unconfirmed));
    on_backend!(db, |db| query.set(sessions::confirmed_at.eq(at)).cached().execute(db))?;
    Ok(())
}

/// Ends one session of the account. Returns `None` when it was not live or belongs to another account.
pub fn end(
    db: &mut Db,
    id: SessionId,
    owner: AccountId,
    at: Timestamp,
    reason: EndReason,
) -> Result<Option<EndedSession>, StoreError> {
    let live = sessions::account_id.eq(owner).and(sessions::ended_at.is_null());
    let query = diesel::update(sessions::table.find(id).filter(live)).set((
        sessions::ended_at.eq(at),
        sessions::end_reason.eq(reason),
        sessions::expires_at.eq(at),
    ));
    let ended = (sessions::id, sessions::account_id, sessions::access_expires_at);
    Ok(query.returning(ended).cached().get_result(db).optional()?)
}

/// Ends a session whatever its account: for a browser that has proved by the session's tokens that it may.
pub fn end_of_any_account(
    db: &mut Db,
    id: SessionId,
    at: Timestamp,
    reason: EndReason,
) -> Result<Option<EndedSession>, StoreError> {
    let owner = sessions::table.find(id).select(sessions::account_id).get_result(db).optional()?;
    owner.map_or(Ok(None), |owner| end(db, id, owner, at, reason))
}

/// Which of an account's sessions a statement ends.
#[derive(Debug, Clone, Copy)]
pub enum EndScope<'a> {
    /// All of them.
    All,
    /// All except this one.
    AllExcept(SessionId),
    /// Those with this device id.
    OnDevice(&'a str),
}

/// Ends the account's live sessions in the scope.
pub fn end_many(
    db: &mut Db,
    owner: AccountId,
    scope: EndScope<'_>,
    at: Timestamp,
    reason: EndReason,
) -> Result<Vec<EndedSession>, StoreError> {
    let set = (sessions::ended_at.eq(at), sessions::end_reason.eq(reason), sessions::expires_at.eq(at));
    let live = sessions::account_id.eq(owner).and(sessions::ended_at.is_null());
    let ended = (sessions::id, sessions::account_id, sessions::access_expires_at);
    let all = sessions::table.filter(live);
    Ok(match scope {
        EndScope::All => diesel::update(all).set(set).returning(ended).get_results(db)?,
        EndScope::AllExcept(id) => {
            diesel::update(all.filter(sessions::id.ne(id))).set(set).returning(ended).get_results(db)?
        }
        EndScope::OnDevice(device) => {
            diesel::update(all.filter(sessions::device_id.eq(device))).set(set).returning(ended).get_results(db)?
        }
    })
}

/// The number of live sessions, by the signing key of their current refresh token.
pub fn count_live_by_key(db: &mut Db, now: Timestamp) -> Result<Vec<(String, i64)>, StoreError> {
    let live = sessions::ended_at.is_null().and(sessions::idle_expires_at.gt(now)).and(sessions::expires_at.gt(now));
    let query = sessions::table.filter(live).group_by(sessions::key_id);
    Ok(query.select((sessions::key_id, diesel::dsl::count_star())).load(db)?)
}

/// Ends up to `limit` live sessions whose current refresh token is signed by this key.
pub fn end_signed_by_key(
    db: &mut Db,
    key_id: &str,
    at: Timestamp,
    reason: EndReason,
    limit: i64,
) -> Result<Vec<EndedSession>, StoreError> {
    let live = sessions::key_id.eq(key_id).and(sessions::ended_at.is_null());
    let unexpired = sessions::idle_expires_at.gt(at).and(sessions::expires_at.gt(at));
    let ids: Vec<SessionId> =
        sessions::table.filter(live).filter(unexpired).select(sessions::id).limit(limit).load(db)?;
    let set = (sessions::ended_at.eq(at), sessions::end_reason.eq(reason), sessions::expires_at.eq(at));
    let query = diesel::update(sessions::table.filter(sessions::id.eq_any(ids)).filter(live)).set(set);
    Ok(query.returning((sessions::id, sessions::account_id, sessions::access_expires_at)).get_results(db)?)
}

/// Deletes up to `limit` rows of sessions that ended before `before`; returns the number of deleted rows. Their opaque tokens
/// are deleted first, in batches too: a session of months has thousands, and the cascade would delete them in one statement.
pub fn purge(db: &mut Db, before: Timestamp, limit: i64) -> Result<usize, StoreError> {
    let query = sessions::table.filter(sessions::expires_at.lt(before)).order(sessions::expires_at);
    let old: Vec<SessionId> = query.select(sessions::id).limit(limit).load(db)?;
    let tokens = opaque_tokens::delete_of_sessions(db, &old, limit)?;
    if tokens > 0 {
        return Ok(tokens);
    }
    Ok(diesel::delete(sessions::table.filter(sessions::id.eq_any(old))).execute(db)?)
}
