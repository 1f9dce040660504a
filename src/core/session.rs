//! Sessions: check of an access token (session resolution), the row and tokens of a new session, the list of an account's
//! sessions. How a refresh token rotates is session/refresh.rs's, how a session ends session/end.rs's; who may begin one is
//! decided in credential/sign_in.rs and registration/.
//!
//! A check goes from cheap to expensive. Signature and times come from the verified-token cache or are computed; the
//! revocation cache answers in memory; only when that is older than `REVOCATION_MAX_STALE`, or has pruned what the token
//! might depend on, does the caller read the table (`Resolved::CheckTable`).

pub mod access_renewal;
pub mod assertion;
pub mod caller;
pub mod confirmations;
pub mod end;
pub mod end_reason;
pub mod opaque_refresh_token;
pub mod presented_tokens;
pub mod refresh;
pub mod token_policy;

use std::sync::Arc;
use std::time::Duration;

pub use token_policy::{MountPolicies, TokenPolicy};

use super::Core;
use super::error::{Error, Refusal};
use super::session::caller::{Caller, Client, sanitize_user_agent};
use crate::clock::Timestamp;
use crate::core::defence::trusted_device::{TrustedDevice, issue_device_token};
use crate::core::revocation::cache::is_revoked_in_table;
use crate::core::token::claims::{AccessClaims, RefreshClaims, VerifiedClaims};
use crate::secret::{AccessToken, DeviceToken, NoRandomness, RefreshToken, random_bytes, random_token_id};
use crate::store::tables::accounts;
use crate::store::tables::accounts::AccountRow;
use crate::store::tables::sessions;
use crate::store::tables::sessions::{AccountState, SessionRow};
use crate::store::{AccountId, AccountUuid, SessionId};

/// The device of a sign-in, as the client describes it.
#[derive(Debug, Clone)]
pub struct Device {
    /// The client's id for it; a second sign-in with the same id replaces the session.
    pub id: Option<String>,
    /// Its name for display.
    pub name: Option<String>,
    /// Whether its cookies outlive the browser.
    pub persistent: bool,
}

/// The tokens issued for a session.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The session.
    pub session: SessionId,
    /// Its account.
    pub account: AccountUuid,
    /// The access token.
    pub access: AccessToken,
    /// Its remaining lifetime.
    pub access_ttl: Duration,
    /// The refresh token.
    pub refresh: RefreshToken,
    /// Whether the client may not have it yet. One that it has presented is not set as a cookie again: a response that is late
    /// must not replace a newer one.
    pub refresh_is_new: bool,
    /// Its remaining lifetime.
    pub refresh_ttl: Duration,
    /// Whether its cookies outlive the browser.
    pub persistent: bool,
    /// The trusted-device token, after a sign-in; its cookie lives as the session's do.
    pub device: Option<DeviceToken>,
    /// Whether the account must change its password before anything else is allowed.
    pub must_change_password: bool,
}

/// A session in the list that its owner sees.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "as in SessionRow")]
pub struct Session {
    pub id: SessionId,
    pub account: AccountId,
    pub dialect: String,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub expires_at: Timestamp,
    pub device_id: Option<String>,
    pub device_name: Option<String>,
    pub user_agent: Option<String>,
    pub address: Option<String>,
}

/// One page of an account's sessions.
#[derive(Debug, Clone, Default)]
pub struct SessionPage {
    /// The sessions, newest first.
    pub sessions: Vec<Session>,
    /// What the next page begins before; `None` on the last one.
    pub next: Option<SessionId>,
}

/// The result of checking an access token in memory.
#[derive(Debug)]
pub enum Resolved {
    /// The token is valid and its session live.
    Live(Caller),
    /// Undecided: the revocation cache is stale, or may have pruned the revocation. The table must be read.
    CheckTable(Arc<VerifiedClaims>),
}

impl Core {
    /// Checks an access token against keys, times and the revocation cache: no I/O, no lock that a writer can hold.
    pub fn resolve_session(&self, token: &str) -> Result<Resolved, Refusal> {
        match self.resolve_restricted_session(token)? {
            Resolved::Live(caller) => caller.require_full_access().map(Resolved::Live),
            undecided @ Resolved::CheckTable(_) => Ok(undecided),
        }
    }

    /// As `resolve_session`, but also for an account that must change its password: for that change, and for sign-out.
    pub fn resolve_restricted_session(&self, token: &str) -> Result<Resolved, Refusal> {
        let now = self.now();
        self.check_revocation(self.tokens().verify_access(token, now)?, now)
    }

    /// The caller of a token that is allowed, if two look-ups in memory prove it: for the fast path of the forward-auth check.
    /// `None` says nothing about the token.
    pub fn resolve_session_cached(&self, token: &str) -> Option<Caller> {
        let now = self.now();
        let claims = self.tokens().verify_access_cached(token, now)?.ok()?;
        match self.check_revocation(claims, now).ok()? {
            Resolved::Live(caller) => caller.require_full_access().ok(),
            Resolved::CheckTable(_) => None,
        }
    }

    /// Whether this service has signed the text as a token, however long ago and whatever became of its session. Says nothing
    /// about whether it is accepted.
    pub fn has_signed(&self, token: &str) -> bool {
        self.tokens().has_signed(token)
    }

    fn check_revocation(&self, claims: Arc<VerifiedClaims>, now: Timestamp) -> Result<Resolved, Refusal> {
        // The age is read first: a poll that ends between the two reads would make an older answer look fresh.
        let age = self.revocation_cache.age();
        if self.revocation_cache.is_revoked(&claims) {
            return Err(Refusal::SessionEnded);
        }
        if age > self.rules.revocation_max_stale || self.revocation_cache.may_have_pruned(&claims) {
            return Ok(Resolved::CheckTable(claims));
        }
        Ok(Resolved::Live(self.accept(&claims, now)))
    }

    /// The same check against the table, for `Resolved::CheckTable`.
    pub fn resolve_session_from_table(&self, claims: &AccessClaims) -> Result<Caller, Error> {
        Ok(self.resolve_restricted_session_from_table(claims)?.require_full_access()?)
    }

    /// As `resolve_session_from_table`, but also for an account that must change its password.
    pub fn resolve_restricted_session_from_table(&self, claims: &AccessClaims) -> Result<Caller, Error> {
        if is_revoked_in_table(&self.store, claims)? {
            return Err(Refusal::SessionEnded.into());
        }
        let now = self.now();
        Ok(self.accept(claims, now))
    }

    /// Records the delivery confirmation of an accepted token.
    fn accept(&self, claims: &AccessClaims, now: Timestamp) -> Caller {
        self.confirmations.record(claims.session, claims.generation, now);
        caller(claims)
    }

    /// The caller that just issued tokens identify. The client does not have them yet, so no delivery is confirmed.
    pub fn caller_of(&self, issued: &Issued) -> Result<Caller, Refusal> {
        let claims = self.tokens().verify_access(issued.access.expose(), self.now())?;
        Ok(caller(&claims))
    }

    /// The row of a session that begins now; its tokens are issued once the row is committed.
    pub(super) fn new_session_row(
        &self,
        account: &AccountRow,
        device: &Device,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<SessionRow, Error> {
        let now = self.now();
        let expires_at = whole_seconds(now.plus(self.rules.session_max_age));
        Ok(SessionRow {
            id: new_session_id(now)?,
            access_ttl: i64::try_from(policy.access_ttl.as_millis()).unwrap_or(i64::MAX),
            account_id: account.id,
            dialect: policy.dialect.clone(),
            epoch: account.epoch,
            generation: 0,
            min_generation: 0,
            key_id: self.tokens().active_key_id().to_owned(),
            rotated_at: now,
            confirmed_at: None,
            created_at: now,
            last_seen_at: now,
            idle_expires_at: whole_seconds(now.plus(policy.refresh_ttl)).min(expires_at),
            expires_at,
            access_expires_at: access_end(now, policy, expires_at),
            persistent: device.persistent,
            device_id: device.id.clone(),
            device_name: device.name.clone(),
            user_agent: sanitize_user_agent(client.user_agent.as_deref()),
            address: client.address.map(|address| address.to_string()),
            ended_at: None,
            end_reason: None,
            parent: None,
        })
    }

    /// Issues both tokens for a row.
    pub(super) fn issue(
        &self,
        row: &SessionRow,
        account: &AccountState,
        policy: &TokenPolicy,
        access_from: Timestamp,
        access_id: String,
    ) -> Result<Issued, Error> {
        let (now, authority) = (self.now(), self.tokens());
        // A commit that took less than a second is not deducted from `expires_in`: a lifetime of a minute is reported as 60 s.
        let now = if now.since(access_from) < Duration::from_secs(1) { access_from } else { now };
        let access = AccessClaims {
            account: account.uuid,
            session: row.id,
            generation: row.generation,
            epoch: row.epoch,
            role: account.role.clone(),
            must_change_password: account.must_change_password,
            issued_at: access_from,
            expires_at: access_end(access_from, policy, row.expires_at),
            id: access_id,
        };
        let row_key = self.trusted_key_id(row);
        // A replay must repeat the access token of the rotation, also when the signing key has changed since.
        let access_key = if access_from == row.rotated_at { &row_key } else { authority.active_key_id() };
        let refresh = RefreshClaims {
            account: account.uuid,
            session: row.id,
            generation: row.generation,
            issued_at: row.rotated_at,
            expires_at: row.idle_expires_at,
        };
        Ok(Issued {
            session: row.id,
            account: account.uuid,
            access: authority.mint_access(&access, access_key)?,
            access_ttl: access.expires_at.since(now),
            refresh: if policy.opaque_refresh {
                self.opaque_refresh(row)?
            } else {
                authority.mint_refresh(&refresh, &row_key)?
            },
            refresh_is_new: true,
            refresh_ttl: row.idle_expires_at.since(now),
            persistent: row.persistent,
            device: None,
            must_change_password: account.must_change_password,
        })
    }

    /// Issues the first tokens of a session, and its trusted-device token.
    pub(super) fn issue_first(
        &self,
        row: &SessionRow,
        account: &AccountRow,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Issued, Error> {
        let state = AccountState {
            uuid: account.uuid,
            epoch: account.epoch,
            status: account.status,
            role: account.role.clone(),
            must_change_password: account.must_change_password,
        };
        let mut issued = self.issue(row, &state, policy, row.rotated_at, random_token_id()?)?;
        let (key, presented) = (self.hasher.digest_key(), client.device.as_ref());
        // A cookie that ends with the browser must not take the place of one that knows the account already.
        if row.persistent || TrustedDevice::recognize(key, presented, account.uuid).is_none() {
            issued.device = Some(issue_device_token(key, presented, account.uuid)?);
        }
        Ok(issued)
    }

    /// The key that the row names. If it was retired since, its tokens are invalid anyway, and the active key replaces it.
    pub(super) fn trusted_key_id(&self, row: &SessionRow) -> String {
        let authority = self.tokens();
        if authority.trusts_key(&row.key_id) { row.key_id.clone() } else { authority.active_key_id().to_owned() }
    }

    /// Up to `limit` live sessions of an account, newest first; those that began before the session `before`, if it is given.
    pub fn list_sessions(
        &self,
        account: AccountUuid,
        before: Option<SessionId>,
        limit: i64,
    ) -> Result<SessionPage, Error> {
        let now = self.now();
        let rows = self.store.read(|db| {
            let Some(row) = accounts::find_by_uuid(db, account)? else { return Ok(None) };
            sessions::list_live(db, row.id, row.epoch, now, before, limit.saturating_add(1)).map(Some)
        })?;
        let mut rows = rows.ok_or(Refusal::SessionEnded)?;
        let has_more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = if has_more { rows.last().map(|row| row.id) } else { None };
        Ok(SessionPage { sessions: rows.into_iter().map(Session::from).collect(), next })
    }
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id,
            account: row.account_id,
            dialect: row.dialect,
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
            expires_at: row.idle_expires_at,
            device_id: row.device_id,
            device_name: row.device_name,
            user_agent: row.user_agent,
            address: row.address,
        }
    }
}

fn caller(claims: &AccessClaims) -> Caller {
    Caller {
        account: claims.account,
        session: claims.session,
        generation: claims.generation,
        role: claims.role.clone(),
        expires_at: claims.expires_at,
        must_change_password: claims.must_change_password,
    }
}

/// When an access token issued at `from` expires: after its lifetime, and never after its session.
pub(super) fn access_end(from: Timestamp, policy: &TokenPolicy, session_end: Timestamp) -> Timestamp {
    whole_seconds(from.plus(policy.access_ttl)).min(session_end)
}

/// Rounds up to whole seconds, which is what tokens carry. Rows get the rounded value, so that row and token agree and no token
/// expires before its lifetime is over.
pub(super) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.plus(Duration::from_millis(999)).seconds())
}

/// A UUID of version 7 (RFC 9562): 74 random bits after the time. It identifies a session and is no secret.
fn new_session_id(now: Timestamp) -> Result<SessionId, NoRandomness> {
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    let random = random_bytes::<10>()?;
    Ok(SessionId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()))
}
