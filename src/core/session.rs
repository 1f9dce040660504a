//! Sessions: begin, resolve, list. How a session's refresh token rotates is refresh.rs's, how it ends sign_out.rs's; who
//! may begin one is sign_in.rs's and sign_up.rs's.

pub mod access_renewal;
pub mod assertion;
pub mod confirmations;
pub mod end;
pub mod end_reason;
pub mod opaque_refresh_token;
pub mod refresh;

use super::caller::cut_agent;
use crate::core::defence::trusted_device::issue_device_token;
use crate::secret::random_token_id;
use std::sync::Arc;
use std::time::Duration;

use super::Core;
use super::caller::{Caller, Client};
use super::error::{Error, Refusal};
use crate::clock::Timestamp;
use crate::core::token::claims::{AccessClaims, RefreshClaims, VerifiedClaims};
use crate::secret::{AccessToken, DeviceToken, NoRandomness, RefreshToken, random_bytes};
use crate::store::tables::accounts;
use crate::store::tables::accounts::AccountRow;
use crate::store::tables::sessions;
use crate::store::tables::sessions::{AccountState, SessionRow};
use crate::store::{AccountId, Id128, SessionId};

/// What a mount decides about the tokens of its sessions.
#[derive(Debug, Clone)]
pub struct TokenPolicy {
    /// The dialect's name.
    pub dialect: String,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Idle life of a session.
    pub refresh_ttl: Duration,
    /// Whether a refresh makes a new refresh token.
    pub rotates: bool,
    /// Whether a rotation kills the access tokens made before it.
    pub revokes_on_rotation: bool,
    /// Whether its refresh tokens have the shape of a UUID and say nothing.
    pub opaque_refresh: bool,
}

/// What a sign-in says about its device.
#[derive(Debug, Clone)]
pub struct Device {
    /// The client's own name for it; a second sign-in with the same one replaces the session.
    pub id: Option<String>,
    /// What a person calls it.
    pub name: Option<String>,
    /// Whether its cookies outlive the browser.
    pub persistent: bool,
}

/// Tokens made for a session.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The session.
    pub session: SessionId,
    /// Its account.
    pub account: AccountId,
    /// The access token.
    pub access: AccessToken,
    /// How long it lives from now.
    pub access_lives: Duration,
    /// The refresh token.
    pub refresh: RefreshToken,
    /// How long it lives from now.
    pub refresh_lives: Duration,
    /// Whether its cookies outlive the browser.
    pub persistent: bool,
    /// What makes the device known from now on, after a sign-in.
    pub device: Option<DeviceToken>,
    /// Whether the account must change its password before they are good for anything else.
    pub must_change_password: bool,
}

/// A session as its owner sees it.
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

/// What a check of an access token comes to in memory.
#[derive(Debug)]
pub enum Resolved {
    /// It lives.
    Live(Caller),
    /// Memory is too old to say, or has forgotten; the table must be asked.
    AskTable(Arc<VerifiedClaims>),
}

impl Core {
    /// Checks an access token against key, times and memory: no I/O, no lock that a writer can hold.
    pub fn resolve_session(&self, token: &str) -> Result<Resolved, Refusal> {
        match self.resolve_restricted_session(token)? {
            Resolved::Live(caller) => caller.require_full_access().map(Resolved::Live),
            ask @ Resolved::AskTable(_) => Ok(ask),
        }
    }

    /// As `resolve_session`, also for an account that must change its password: for what changes it, and what signs out.
    pub fn resolve_restricted_session(&self, token: &str) -> Result<Resolved, Refusal> {
        let now = self.now();
        self.check_revocation(self.gate().check_access(token, now)?, now)
    }

    /// The caller of `resolve_session`, where it costs no more than a look into memory; `None` says nothing about the token.
    pub fn resolve_session_cached(&self, token: &str) -> Option<Caller> {
        let now = self.now();
        let claims = self.gate().check_access_cached(token, now)?.ok()?;
        match self.check_revocation(claims, now).ok()? {
            Resolved::Live(caller) => caller.require_full_access().ok(),
            Resolved::AskTable(_) => None,
        }
    }

    fn check_revocation(&self, claims: Arc<VerifiedClaims>, now: Timestamp) -> Result<Resolved, Refusal> {
        // The age first: a poll that lands between the two would make an answer from before it look fresh.
        let age = self.view.age();
        if self.view.is_revoked(&claims) {
            return Err(Refusal::SessionEnded);
        }
        if age > self.rules.revocation_max_stale || self.view.may_have_forgotten(&claims) {
            return Ok(Resolved::AskTable(claims));
        }
        Ok(Resolved::Live(self.receive(&claims, now)))
    }

    /// The slow way of the same check: memory did not hear from the table for too long.
    pub fn resolve_session_from_table(&self, claims: &AccessClaims) -> Result<Caller, Error> {
        Ok(self.resolve_restricted_session_from_table(claims)?.require_full_access()?)
    }

    /// As `resolve_session_from_table`, for the same as `resolve_restricted_session`.
    pub fn resolve_restricted_session_from_table(&self, claims: &AccessClaims) -> Result<Caller, Error> {
        if crate::core::revocation::cache::is_revoked_in_table(&self.store, claims)? {
            return Err(Refusal::SessionEnded.into());
        }
        let now = self.now();
        Ok(self.receive(claims, now))
    }

    fn receive(&self, claims: &AccessClaims, now: Timestamp) -> Caller {
        self.confirmations.mark(claims.session, claims.generation, now);
        caller(claims)
    }

    /// Who tokens were made for just now. They have not arrived anywhere yet, so nothing is noted as received.
    pub fn caller_of(&self, issued: &Issued) -> Result<Caller, Refusal> {
        let claims = self.gate().check_access(issued.access.expose(), self.now())?;
        Ok(caller(&claims))
    }

    /// The row of a session that begins now; its tokens are made once it is written.
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
            account_id: account.id,
            dialect: policy.dialect.clone(),
            epoch: account.epoch,
            generation: 0,
            min_generation: 0,
            key_id: self.gate().active_key_id().to_owned(),
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
            user_agent: cut_agent(client.user_agent.as_deref()),
            address: client.address.map(|address| address.to_string()),
            ended_at: None,
            end_reason: None,
        })
    }

    /// Makes both tokens for a row as it stands.
    pub(super) fn issue(
        &self,
        row: &SessionRow,
        account: &AccountState,
        policy: &TokenPolicy,
        access_from: Timestamp,
        access_id: String,
    ) -> Result<Issued, Error> {
        let (now, gate) = (self.now(), self.gate());
        // The moment that the commit took is not taken off what the client is told: a minute stays 60 seconds.
        let now = if now.since(access_from) < Duration::from_secs(1) { access_from } else { now };
        let access = AccessClaims {
            account: row.account_id,
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
        // The token of a rotation is the same text at every try, also when the signing key has changed since.
        let access_key = if access_from == row.rotated_at { &row_key } else { gate.active_key_id() };
        let refresh = RefreshClaims {
            account: row.account_id,
            session: row.id,
            generation: row.generation,
            issued_at: row.rotated_at,
            expires_at: row.idle_expires_at,
        };
        Ok(Issued {
            session: row.id,
            account: row.account_id,
            access: gate.mint_access(&access, access_key)?,
            access_lives: access.expires_at.since(now),
            refresh: if policy.opaque_refresh {
                self.opaque_refresh(row)?
            } else {
                gate.mint_refresh(&refresh, &row_key)?
            },
            refresh_lives: row.idle_expires_at.since(now),
            persistent: row.persistent,
            device: None,
            must_change_password: account.must_change_password,
        })
    }

    /// Makes the first tokens of a session, and what makes its device known.
    pub(super) fn issue_first(
        &self,
        row: &SessionRow,
        account: &AccountRow,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Issued, Error> {
        let state = AccountState {
            epoch: account.epoch,
            status: account.status,
            role: account.role.clone(),
            must_change_password: account.must_change_password,
        };
        let mut issued = self.issue(row, &state, policy, row.rotated_at, random_token_id()?)?;
        if row.persistent {
            issued.device = Some(issue_device_token(self.hasher.digest_key(), client.device.as_ref(), account.id)?);
        }
        Ok(issued)
    }

    /// The key the row names; if it was withdrawn since, its tokens are dead anyway and the active one takes its place.
    pub(super) fn trusted_key_id(&self, row: &SessionRow) -> String {
        let gate = self.gate();
        if gate.trusts_key(&row.key_id) { row.key_id.clone() } else { gate.active_key_id().to_owned() }
    }

    /// The account's live sessions, newest first.
    pub fn list_sessions(&self, account: AccountId) -> Result<Vec<Session>, Error> {
        let now = self.now();
        let rows = self.store.read(|db| {
            let Some(row) = accounts::find(db, account)? else { return Ok(Vec::new()) };
            sessions::list_live(db, account, row.epoch, now)
        })?;
        Ok(rows.into_iter().map(Session::from).collect())
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

/// When an access token made at `from` ends: after its life, and never after its session.
pub(super) fn access_end(from: Timestamp, policy: &TokenPolicy, session_end: Timestamp) -> Timestamp {
    whole_seconds(from.plus(policy.access_ttl)).min(session_end)
}

/// Tokens carry whole seconds; rounding up once, here, keeps rows and tokens of one mind and lets a token live as long
/// as it was promised.
pub(super) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.plus(Duration::from_millis(999)).seconds())
}

/// Version 7 (RFC 9562): 74 random bits after the time. It names a session and opens nothing.
fn new_session_id(now: Timestamp) -> Result<SessionId, NoRandomness> {
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    let random = random_bytes::<10>()?;
    Ok(Id128(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()))
}
