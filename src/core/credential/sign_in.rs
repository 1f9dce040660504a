//! Sign-in: throttle, secret, account status, in that order, and only then a session. In three steps, because hashing takes a
//! quarter of a second of processor time and must run neither on a web worker nor in a transaction. No step can be skipped:
//! each takes a value that only the previous one makes. The threads are decided by web/blocking/operations.rs.

use super::password::{GivenSecret, SecretCheck, skip_policy};
use crate::core::Core;
use crate::core::account::identifier::{IdentifierKind, presented};
use crate::core::account::{Account, find_by_identifier};
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::defence::throttle_policy::{ThrottleKeys, ThrottleSubject};
use crate::core::defence::trusted_device::TrustedDevice;
use crate::core::defence::work_share::WorkShare;
use crate::core::error::{Error, Refusal};
use crate::core::session::caller::Client;
use crate::core::session::end::revoke_ended;
use crate::core::session::end_reason::EndReason;
use crate::core::session::presented_tokens::PresentedTokens;
use crate::core::session::{Device, Issued, TokenPolicy};
use crate::store::tables::accounts;
use crate::store::tables::accounts::{AccountRow, SecretColumn};
use crate::store::tables::revocations::RevocationRow;
use crate::store::tables::sessions;
use crate::store::tables::sessions::SessionRow;
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
    /// The tokens of the same browser, whose sessions end in the transaction that begins this one (ASVS 7.2.4), if they are of
    /// its mount.
    pub replaces: PresentedTokens,
}

impl Default for NewSession {
    /// Of a device without id and name, with persistent cookies, replacing no session.
    fn default() -> Self {
        Self { device: Device { id: None, name: None, persistent: true }, replaces: PresentedTokens::default() }
    }
}

/// The most sessions over the limit that one sign-in ends. The statements of more would not fit into the time of a request, and
/// the sign-in would fail; after the limit was lowered the next sign-ins end the rest.
const EXCESS_MAX: i64 = 250;

/// Result of step one: the account, if the identifiers belong to one, and the keys of its throttle.
#[derive(Debug)]
pub struct SignInLookup {
    request: SignIn,
    account: Option<AccountRow>,
    throttle_keys: ThrottleKeys,
}

impl SignInLookup {
    /// The attempt's share of the hashing queue.
    pub fn work_share(&self, client: &Client) -> WorkShare {
        self.throttle_keys.work_share(client)
    }
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
    /// Step one: looks up the account and checks its throttle. An identifier that cannot exist is refused without looking
    /// further; the identifiers are normalised before a connection is taken.
    pub fn look_up(&self, request: SignIn, client: &Client) -> Result<SignInLookup, Error> {
        let canonical = request.identifiers.iter().map(|(kind, text)| Some((*kind, presented(text)?)));
        let canonical: Vec<_> = canonical.collect::<Option<_>>().ok_or(Refusal::InvalidCredentials)?;
        let (account, throttle_keys, blocked) = self.store.read(|db| {
            let account = find_by_all_identifiers(db, &canonical)?;
            let throttle_keys = self.sign_in_throttle_keys(account.as_ref(), &canonical, &request, client);
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

    fn sign_in_throttle_keys(
        &self,
        account: Option<&AccountRow>,
        canonical: &[(IdentifierKind, String)],
        request: &SignIn,
        client: &Client,
    ) -> ThrottleKeys {
        let (key, account) = (self.hasher.digest_key(), account.map(|account| account.uuid));
        let identifiers: Vec<String> = canonical.iter().map(|(_, text)| text.clone()).collect();
        let device = account.and_then(|id| Some((id, TrustedDevice::recognize(key, client.device.as_ref(), id)?)));
        let subject = match &device {
            Some((id, device)) => ThrottleSubject::TrustedDevice(*id, device),
            None => ThrottleSubject::Stranger(&identifiers, account),
        };
        ThrottleKeys::new(key, &subject, request.secret.column(), client)
    }

    /// Step two: verifies the secret; run it on a hashing thread. A wrong one takes the time of one bcrypt whether or not the
    /// account exists, unless the stored hash is imported or of a higher cost (`Hasher::check`). A right one takes a second
    /// bcrypt if its hash is outdated. A failure is recorded before the client can know of it, and before the thread's next
    /// job: a burst of parallel guesses gets no more attempts than the same guesses in sequence.
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
        let replaced = self.sessions_to_replace(&request.session.replaces)?;
        let started = self.store.write(|db| {
            let column = request.secret.column();
            let Some(account) = accounts::record_sign_in(db, account.id, column, stored, now)? else { return Ok(None) };
            if let Some(upgraded) = &verified.upgraded {
                accounts::set_secret(db, account.id, column, upgraded, account.updated_at)?;
            }
            let session = SessionRow { epoch: account.epoch, ..session.clone() };
            self.reset_failures(db, &verified.throttle_keys)?;
            let mut revoked =
                self.end_replaced_sessions(db, &request.session, &replaced, account.id, (policy, client))?;
            sessions::insert(db, &session)?;
            revoked.extend(self.end_excess_sessions(db, &account, session.id, client)?);
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

    /// Ends the sessions that the new one replaces: those of the same device, and those of the same browser and mount, of any
    /// account.
    pub(in crate::core) fn end_replaced_sessions(
        &self,
        db: &mut Db,
        new: &NewSession,
        replaced: &[SessionId],
        owner: AccountId,
        (policy, client): (&TokenPolicy, &Client),
    ) -> Result<Vec<RevocationRow>, store::StoreError> {
        let (now, reason) = (self.now(), EndReason::Replaced);
        let mut ended = match &new.device.id {
            Some(device) => sessions::end_on_device(db, owner, device, now, reason)?,
            None => Vec::new(),
        };
        for replaced in replaced {
            ended.extend(sessions::end_of_any_account(db, *replaced, &policy.dialect, now, reason)?);
        }
        for session in &ended {
            let event = AuditEvent::new(EventKind::SessionEnded, client).session(session.id).detail(reason.as_str());
            event.account(session.account_id).write(db, now)?;
        }
        revoke_ended(db, &ended, now)
    }

    /// Ends up to `EXCESS_MAX` of the sessions that the account has beyond `SESSIONS_MAX`, the new session and those that were
    /// seen last excepted.
    fn end_excess_sessions(
        &self,
        db: &mut Db,
        account: &AccountRow,
        newest: SessionId,
        client: &Client,
    ) -> Result<Vec<RevocationRow>, store::StoreError> {
        let (now, reason) = (self.now(), EndReason::TooMany);
        let mut ended = Vec::new();
        let kept = (newest, self.rules.sessions_max);
        for excess in sessions::list_excess(db, account.id, account.epoch, now, kept, EXCESS_MAX)? {
            let Some(session) = sessions::end(db, excess, account.id, now, reason)? else { continue };
            let event = AuditEvent::new(EventKind::SessionEnded, client).account(account.id).session(excess);
            event.detail(reason.as_str()).write(db, now)?;
            ended.push(session);
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
    canonical: &[(IdentifierKind, String)],
) -> Result<Option<AccountRow>, store::StoreError> {
    let mut found: Option<AccountRow> = None;
    for (kind, text) in canonical {
        let Some(account) = find_by_identifier(db, *kind, text)? else { return Ok(None) };
        if found.as_ref().is_some_and(|other| other.id != account.id) {
            return Ok(None);
        }
        found = Some(account);
    }
    Ok(found)
}
