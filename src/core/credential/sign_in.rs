//! Sign-in: throttle, secret, account status, in that order, and only then a session. In three steps, because hashing takes a
//! quarter of a second of processor time and must run neither on a web worker nor in a transaction. No step can be skipped:
//! each takes a value that only the previous one makes. The threads are decided by web/blocking/operations.rs.

use super::password::{GivenSecret, SecretCheck, skip_policy};
use crate::core::Core;
use crate::core::account::identifier::{IdentifierKind, canonical};
use crate::core::account::{Account, find_by_identifier};
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::defence::throttle_policy::{ThrottleKeys, ThrottleSubject};
use crate::core::defence::trusted_device::TrustedDevice;
use crate::core::error::{Error, Refusal};
use crate::core::session::caller::Client;
use crate::core::session::end::revoke_ended;
use crate::core::session::end_reason::EndReason;
use crate::core::session::{Device, Issued, TokenPolicy};
use crate::store::tables::accounts;
use crate::store::tables::accounts::{AccountRow, SecretColumn};
use crate::store::tables::revocations::RevocationRow;
use crate::store::tables::sessions;
use crate::store::tables::sessions::{EndScope, SessionRow};
use crate::store::{self, AccountId, AccountStatus, Db, SessionId};

/// A request to sign in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The account's identifiers; all of them must belong to one account.
    pub identifiers: Vec<(IdentifierKind, String)>,
    /// The password or PIN.
    pub secret: GivenSecret,
    /// The session that a successful sign-in begins.
    pub session: NewSession,
}

impl SignIn {
    /// A sign-in that begins the default session.
    pub fn new(identifiers: Vec<(IdentifierKind, String)>, secret: GivenSecret) -> Self {
        Self { identifiers, secret, session: NewSession::default() }
    }
}

/// The session that a sign-in, a registration or a confirmation begins.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The device that it belongs to.
    pub device: Device,
    /// Sessions of the same browser, which end in the transaction that begins this one (ASVS 7.2.4).
    pub replaces: Vec<SessionId>,
}

impl Default for NewSession {
    /// Of a device without id and name, with persistent cookies, replacing no session.
    fn default() -> Self {
        Self { device: Device { id: None, name: None, persistent: true }, replaces: Vec::new() }
    }
}

/// Result of step one: the account, if the identifiers belong to one, and the keys of its throttle.
#[derive(Debug)]
pub struct SignInLookup {
    request: SignIn,
    account: Option<AccountRow>,
    throttle_keys: ThrottleKeys,
}

/// Result of step two: the secret matches.
#[derive(Debug)]
pub struct VerifiedSignIn {
    request: SignIn,
    account: AccountRow,
    /// A native hash of the secret, if the stored one is outdated.
    upgraded: Option<String>,
    throttle_keys: ThrottleKeys,
}

/// A successful sign-in.
#[derive(Debug)]
pub struct SignedIn {
    /// The account.
    pub account: Account,
    /// The tokens.
    pub issued: Issued,
}

impl Core {
    /// Step one: looks up the account and checks its throttle.
    pub fn look_up(&self, request: SignIn, client: &Client) -> Result<SignInLookup, Error> {
        let (account, throttle_keys, blocked) = self.store.read(|db| {
            let account = find_by_all_identifiers(db, &request.identifiers)?;
            let throttle_keys = self.sign_in_throttle_keys(account.as_ref(), &request, client);
            let blocked = self.check_throttle(db, &throttle_keys)?;
            Ok((account, throttle_keys, blocked))
        })?;
        self.reject_if_throttled(blocked)?;
        Ok(SignInLookup { request, account, throttle_keys })
    }

    /// A rejection by the throttle is counted without an audit row: an attacker must not be able to fill that table.
    fn reject_if_throttled(&self, blocked: Option<Refusal>) -> Result<(), Error> {
        let Some(refusal) = blocked else { return Ok(()) };
        self.metrics.throttle_rejections.inc();
        Err(refusal.into())
    }

    fn sign_in_throttle_keys(&self, account: Option<&AccountRow>, request: &SignIn, client: &Client) -> ThrottleKeys {
        let identifiers: Vec<String> = request.identifiers.iter().map(|(_, text)| canonical(text)).collect();
        let identifiers = identifiers.join(" ");
        let device = account
            .and_then(|account| TrustedDevice::recognize(self.hasher.digest_key(), client.device.as_ref(), account.id));
        let subject = match (account, &device) {
            (None, _) => ThrottleSubject::UnknownIdentifier(&identifiers),
            (Some(account), None) => ThrottleSubject::Account(account.id),
            (Some(account), Some(device)) => ThrottleSubject::TrustedDevice(account.id, device),
        };
        ThrottleKeys::new(self.hasher.digest_key(), &subject, request.secret.column(), client)
    }

    /// Step two: verifies the secret. Takes one bcrypt whether or not the account exists; run it on a hashing thread. A
    /// failure is recorded before the client can know of it, and before the thread's next job: a burst of parallel guesses
    /// gets no more attempts than the same guesses in sequence.
    pub fn check_secret(&self, looked_up: SignInLookup, client: &Client) -> Result<VerifiedSignIn, Error> {
        let SignInLookup { request, account, throttle_keys } = looked_up;
        // Attempts on the same account may have failed while this one waited for a hashing thread.
        self.reject_if_throttled(self.store.read(|db| self.check_throttle(db, &throttle_keys))?)?;
        let (secret, column) = (request.secret.secret(), request.secret.column());
        let check = self.hasher.check(secret, account.as_ref().and_then(|account| stored_secret(account, column)));
        let Some(account) = account.as_ref().filter(|_| check != SecretCheck::Mismatch) else {
            return Err(self.record_wrong_secret(account.as_ref(), &throttle_keys, client)?.into());
        };
        let upgraded = match check {
            SecretCheck::MatchOutdated => Some(self.hasher.hash(&skip_policy(secret))?),
            SecretCheck::Match | SecretCheck::Mismatch => None,
        };
        Ok(VerifiedSignIn { account: account.clone(), request, upgraded, throttle_keys })
    }

    /// Step three: a session, if the account's status allows it. `None` if the account's secret or status changed while the
    /// secret was verified (another sign-in may have upgraded the hash): the caller starts again with step one.
    pub fn sign_in(
        &self,
        verified: &VerifiedSignIn,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Option<SignedIn>, Error> {
        let refusal = match verified.account.status {
            AccountStatus::Active => return self.start_session(verified, policy, client),
            status => Refusal::AccountNotActive(status),
        };
        let event = refused_event(Some(&verified.account), &refusal, client);
        self.store.write(|db| event.write(db, self.now()))?;
        self.log_event(&event);
        Err(refusal.into())
    }

    /// Records the failure. A wrong secret and an unknown identifier are treated alike, so that neither the response nor the
    /// throttle reveals whether an account exists.
    fn record_wrong_secret(
        &self,
        account: Option<&AccountRow>,
        throttle_keys: &ThrottleKeys,
        client: &Client,
    ) -> Result<Refusal, Error> {
        let (refusal, event) = self.record_failure(|db| {
            let wait = self.count_failure(db, throttle_keys)?;
            let refusal = wait.map_or(Refusal::InvalidCredentials, Refusal::Throttled);
            let event = refused_event(account, &refusal, client);
            event.write(db, self.now())?;
            Ok((refusal, event))
        })?;
        self.log_event(&event);
        Ok(refusal)
    }

    fn start_session(
        &self,
        verified: &VerifiedSignIn,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Option<SignedIn>, Error> {
        let (request, account, now) = (&verified.request, &verified.account, self.now());
        let stored = stored_secret(account, request.secret.column());
        let session = self.new_session_row(account, &request.session.device, policy, client)?;
        let event =
            AuditEvent::new(EventKind::SignIn, client).account(account.id).session(session.id).detail(&policy.dialect);
        let started = self.store.write(|db| {
            let column = request.secret.column();
            let Some(account) = accounts::record_sign_in(db, account.id, column, stored, now)? else { return Ok(None) };
            if let Some(upgraded) = &verified.upgraded {
                accounts::set_secret(db, account.id, column, upgraded, account.updated_at)?;
            }
            let session = SessionRow { epoch: account.epoch, ..session.clone() };
            self.reset_failures(db, &verified.throttle_keys)?;
            let revoked = self.end_replaced_sessions(db, &request.session, account.id, client)?;
            sessions::insert(db, &session)?;
            self.record_opaque_token(db, &session, policy)?;
            event.write(db, now)?;
            Ok(Some((account, session, revoked)))
        })?;
        let Some((account, session, revoked)) = started else { return Ok(None) };
        revoked.iter().for_each(|row| self.revocation_cache.apply(row));
        self.log_event(&event);
        let issued = self.issue_first(&session, &account, policy, client)?;
        Ok(Some(SignedIn { account: account.into(), issued }))
    }

    /// Ends the sessions that the new one replaces: those of the same device, and those of the same browser, of any account.
    pub(in crate::core) fn end_replaced_sessions(
        &self,
        db: &mut Db,
        new: &NewSession,
        owner: AccountId,
        client: &Client,
    ) -> Result<Vec<RevocationRow>, store::StoreError> {
        let (now, reason) = (self.now(), EndReason::Replaced);
        let mut ended = match &new.device.id {
            Some(device) => sessions::end_many(db, owner, EndScope::OnDevice(device), now, reason)?,
            None => Vec::new(),
        };
        for replaced in &new.replaces {
            ended.extend(sessions::end_of_any_account(db, *replaced, now, reason)?);
        }
        for session in &ended {
            let event = AuditEvent::new(EventKind::SessionEnded, client).session(session.id).detail(reason.as_str());
            event.account(session.account_id).write(db, now)?;
        }
        revoke_ended(db, &ended, now)
    }
}

fn refused_event(account: Option<&AccountRow>, refusal: &Refusal, client: &Client) -> AuditEvent {
    let event = AuditEvent::new(EventKind::SignInRefused, client).detail(refusal.code());
    match account {
        Some(account) => event.account(account.id),
        None => event,
    }
}

fn stored_secret(account: &AccountRow, column: SecretColumn) -> Option<&str> {
    match column {
        SecretColumn::Password => account.password.as_deref(),
        SecretColumn::Pin => account.pin.as_deref(),
    }
}

/// The account that all identifiers belong to; `None` if one of them is unknown or belongs to another account.
fn find_by_all_identifiers(
    db: &mut Db,
    identifiers: &[(IdentifierKind, String)],
) -> Result<Option<AccountRow>, store::StoreError> {
    let mut found: Option<AccountRow> = None;
    for (kind, text) in identifiers {
        let Some(account) = find_by_identifier(db, *kind, text)? else { return Ok(None) };
        if found.as_ref().is_some_and(|other| other.id != account.id) {
            return Ok(None);
        }
        found = Some(account);
    }
    Ok(found)
}
