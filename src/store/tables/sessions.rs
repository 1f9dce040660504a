//! The `sessions` table: rows and queries. Each change that may happen only once is one conditional `UPDATE`
//! (compare-and-set), and its row count says whether it happened. Which change to make is decided in core/session/; the next
//! generation of a refresh token is sessions/rotation.rs's.

pub mod rotation;

use std::time::Duration;

use diesel::dsl::exists;
use diesel::prelude::*;

use super::opaque_tokens;
use super::schema::{accounts, sessions};
use crate::clock::Timestamp;
use crate::store::connection::{Db, on_backend};
use crate::store::error::StoreError;
use crate::store::statement_cache::CacheStatement as _;
use crate::store::tables::columns::{AccountId, AccountStatus, AccountUuid, EndReason, SessionId};

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
    /// The one generation below the current that may still be presented.
    pub parent: Option<i64>,
    /// The lifetime of access tokens that its sign-in asked for, in milliseconds.
    pub access_ttl: i64,
}

impl SessionRow {
    /// Whether it has not ended, by itself or with all sessions of the account. Its expiry is another matter.
    pub fn is_live_for(&self, account: &AccountState) -> bool {
        self.ended_at.is_none() && self.epoch >= account.epoch
    }
}

/// The columns of an account on which its sessions depend.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct AccountState {
    /// The `sub` of the session's tokens.
    pub uuid: AccountUuid,
    /// Sessions of a lower epoch have ended.
    pub epoch: i64,
    /// Only an active account's sessions can be refreshed.
    pub status: AccountStatus,
    /// A claim of the access token.
    pub role: String,
    /// A claim of the access token.
    pub must_change_password: bool,
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
    let state = (accounts::uuid, accounts::epoch, accounts::status, accounts::role, accounts::must_change_password);
    let query = sessions::table.inner_join(accounts::table).filter(sessions::id.eq(id));
    let query = query.select((sessions::all_columns, state));
    Ok(on_backend!(db, |db| query.get_result(db)).optional()?)
}

/// Up to `limit` of the account's sessions that have not ended, newest first, which is the order of their ids; those that began
/// before `before`, if it is given.
pub fn list_live(
    db: &mut Db,
    account: AccountId,
    epoch: i64,
    now: Timestamp,
    before: Option<SessionId>,
    limit: i64,
) -> Result<Vec<SessionRow>, StoreError> {
    let live = sessions::ended_at.is_null().and(sessions::epoch.ge(epoch));
    let unexpired = sessions::idle_expires_at.gt(now).and(sessions::expires_at.gt(now));
    let query = sessions::table.filter(sessions::account_id.eq(account)).filter(live).filter(unexpired);
    let query = query.order(sessions::id.desc()).limit(limit).into_boxed();
    Ok(match before {
        Some(before) => query.filter(sessions::id.lt(before)).load(db)?,
        None => query.load(db)?,
    })
}

/// Up to `limit` live sessions of the account beyond `keep`: those seen last and `newest`, which is kept whatever the clock said
/// when the others were seen.
pub fn list_excess(
    db: &mut Db,
    account: AccountId,
    epoch: i64,
    now: Timestamp,
    (newest, keep): (SessionId, i64),
    limit: i64,
) -> Result<Vec<SessionId>, StoreError> {
    let live = sessions::ended_at.is_null().and(sessions::epoch.ge(epoch));
    let unexpired = sessions::idle_expires_at.gt(now).and(sessions::expires_at.gt(now));
    let query = sessions::table.filter(sessions::account_id.eq(account)).filter(live).filter(unexpired);
    let query = query.filter(sessions::id.ne(newest));
    let query = query.order((sessions::last_seen_at.desc(), sessions::id.desc())).limit(limit).offset(keep - 1);
    Ok(query.select(sessions::id).load(db)?)
}

/// The latest time at which an access token of the account's sessions may still be valid: by the rows, or issued up to `until`
/// for at most `issuable`, or what a sign-in asked for if that is longer.
pub fn last_access_expiry(
    db: &mut Db,
    account: AccountId,
    until: Timestamp,
    issuable: Duration,
) -> Result<Timestamp, StoreError> {
    let live = sessions::table.filter(sessions::account_id.eq(account).and(sessions::ended_at.is_null()));
    let columns = (diesel::dsl::max(sessions::access_expires_at), diesel::dsl::max(sessions::access_ttl));
    let (expiry, ttl): (Option<Timestamp>, Option<i64>) = live.select(columns).get_result(db)?;
    let asked = Duration::from_millis(ttl.and_then(|millis| millis.try_into().ok()).unwrap_or(0));
    Ok(until.plus(asked.max(issuable)).max(expiry.unwrap_or(until)))
}

/// Records the first presentation of `generation`, the proof that it arrived; later ones change nothing.
pub fn confirm(db: &mut Db, id: SessionId, generation: i64, at: Timestamp) -> Result<(), StoreError> {
    let unconfirmed = sessions::generation.eq(generation).and(sessions::confirmed_at.is_null());
    let query = diesel::update(sessions::table.find(id).filter(unconfirmed));
    on_backend!(db, |db| query.set(sessions::confirmed_at.eq(at)).cached().execute(db))?;
    Ok(())
}

/// Ends one session of the account. Its row stays until its refresh tokens have expired: one without a row counts as lost with a
/// restored backup. Returns `None` when it was not live or belongs to another account.
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
        sessions::expires_at.eq(sessions::idle_expires_at),
    ));
    let ended = (sessions::id, sessions::account_id, sessions::access_expires_at);
    Ok(query.returning(ended).cached().get_result(db).optional()?)
}

/// Names the device of a live session of the account. Returns whether there is one.
pub fn set_device_name(
    db: &mut Db,
    id: SessionId,
    owner: AccountId,
    epoch: i64,
    name: Option<&str>,
) -> Result<bool, StoreError> {
    let live = sessions::account_id.eq(owner).and(sessions::ended_at.is_null()).and(sessions::epoch.ge(epoch));
    let query = diesel::update(sessions::table.find(id).filter(live)).set(sessions::device_name.eq(name));
    Ok(query.execute(db)? == 1)
}

/// Whether the account has not ended all its sessions since this one began.
#[diesel::dsl::auto_type]
pub(super) fn is_in_epoch() -> _ {
    let owner = accounts::table.filter(accounts::id.eq(sessions::account_id).and(accounts::epoch.eq(sessions::epoch)));
    exists(owner.select(accounts::id))
}

/// Ends a session whatever its account: for a browser that has proved by the session's tokens that it may.
pub fn end_of_any_account(
    db: &mut Db,
    id: SessionId,
    dialect: &str,
    at: Timestamp,
    reason: EndReason,
) -> Result<Option<EndedSession>, StoreError> {
    let found = sessions::table.find(id).filter(sessions::dialect.eq(dialect));
    let owner = found.select(sessions::account_id).get_result(db).optional()?;
    owner.map_or(Ok(None), |owner| end(db, id, owner, at, reason))
}

/// Ends the account's live sessions with this device id.
pub fn end_on_device(
    db: &mut Db,
    owner: AccountId,
    device: &str,
    at: Timestamp,
    reason: EndReason,
) -> Result<Vec<EndedSession>, StoreError> {
    let set = (
        sessions::ended_at.eq(at),
        sessions::end_reason.eq(reason),
        sessions::expires_at.eq(sessions::idle_expires_at),
    );
    let live = sessions::account_id.eq(owner).and(sessions::ended_at.is_null());
    let on_device = sessions::table.filter(live).filter(sessions::device_id.eq(device)).filter(is_in_epoch());
    let query = diesel::update(on_device).set(set);
    let query = query.returning((sessions::id, sessions::account_id, sessions::access_expires_at));
    Ok(on_backend!(db, |db| query.get_results(db))?)
}

/// The number of live sessions, by the signing key of their current refresh token.
pub fn count_live_by_key(db: &mut Db, now: Timestamp) -> Result<Vec<(String, i64)>, StoreError> {
    let live = sessions::ended_at.is_null().and(sessions::idle_expires_at.gt(now)).and(sessions::expires_at.gt(now));
    let query = sessions::table.filter(live).filter(is_in_epoch()).group_by(sessions::key_id);
    let query = query.select((sessions::key_id, diesel::dsl::count_star()));
    Ok(on_backend!(db, |db| query.load(db))?)
}

/// Up to `limit` live sessions whose current refresh token is signed by this key, in the order of their ids, after one. No
/// index has the key: each page goes on where the last one ended, so that all together read the table once.
pub fn list_signed_by_key(
    db: &mut Db,
    key_id: &str,
    at: Timestamp,
    after: Option<SessionId>,
    limit: i64,
) -> Result<Vec<SessionId>, StoreError> {
    let live = sessions::key_id.eq(key_id).and(sessions::ended_at.is_null());
    let unexpired = sessions::idle_expires_at.gt(at).and(sessions::expires_at.gt(at));
    let later = sessions::id.gt(after.unwrap_or(SessionId(uuid::Uuid::nil())));
    let signed = sessions::table.filter(later).filter(live).filter(unexpired).filter(is_in_epoch());
    let query = signed.select(sessions::id).order(sessions::id).limit(limit);
    Ok(on_backend!(db, |db| query.load(db))?)
}

/// Ends those of these sessions that are live and whose current refresh token is still signed by this key.
pub fn end_signed_by_key(
    db: &mut Db,
    key_id: &str,
    ids: &[SessionId],
    at: Timestamp,
    reason: EndReason,
) -> Result<Vec<EndedSession>, StoreError> {
    let live = sessions::key_id.eq(key_id).and(sessions::ended_at.is_null());
    let set = (
        sessions::ended_at.eq(at),
        sessions::end_reason.eq(reason),
        sessions::expires_at.eq(sessions::idle_expires_at),
    );
    let query = diesel::update(sessions::table.filter(sessions::id.eq_any(ids)).filter(live)).set(set);
    Ok(query.returning((sessions::id, sessions::account_id, sessions::access_expires_at)).get_results(db)?)
}

/// Deletes up to `limit` rows of sessions of an account, or of their opaque tokens; returns the number of deleted rows.
pub fn delete_of_account(db: &mut Db, owner: AccountId, limit: i64) -> Result<usize, StoreError> {
    let query = sessions::table.filter(sessions::account_id.eq(owner)).select(sessions::id).limit(limit);
    let ids: Vec<SessionId> = query.load(db)?;
    let tokens = opaque_tokens::delete_of_sessions(db, &ids, limit)?;
    if tokens > 0 {
        return Ok(tokens);
    }
    Ok(diesel::delete(sessions::table.filter(sessions::id.eq_any(ids))).execute(db)?)
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
