//! The decision to let somebody in: throttle, secret, status, in that order, and only then a session. In three steps,
//! because the middle one takes a quarter of a second of processor and must run neither on a web worker nor in a
//! transaction. A step cannot be left out: each takes what only the one before it makes.

use super::password::{GivenSecret, SecretCheck, unjudged};
use crate::core::Core;
use crate::core::account::identifier::{IdentifierKind, canonical};
use crate::core::account::{Account, find_one};
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::caller::Client;
use crate::core::defence::throttle_policy::{Target, ThrottleKeys};
use crate::core::defence::trusted_device::TrustedDevice;
use crate::core::error::{Error, Refusal};
use crate::core::session::end::revoke_ended;
use crate::core::session::end_reason::EndReason;
use crate::core::session::{Device, Issued, TokenPolicy};
use crate::store::tables::accounts;
use crate::store::tables::accounts::{AccountRow, SecretColumn};
use crate::store::tables::revocations::RevocationRow;
use crate::store::tables::sessions;
use crate::store::tables::sessions::{SessionRow, Which};
use crate::store::{self, AccountId, AccountStatus, Db, SessionId};

/// A wish to sign in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// What names the account; several must all name the same one.
    pub identifiers: Vec<(IdentifierKind, String)>,
    /// What proves it.
    pub secret: GivenSecret,
    /// From which device.
    pub device: Device,
    /// Sessions that the same browser held until now: they end when this one begins (ASVS 7.2.4).
    pub replaces: Vec<SessionId>,
}

impl SignIn {
    /// From a device that says nothing of itself and keeps its cookies.
    pub fn new(identifiers: Vec<(IdentifierKind, String)>, secret: GivenSecret) -> Self {
        let device = Device { id: None, name: None, persistent: true };
        Self { identifiers, secret, device, replaces: Vec::new() }
    }
}

/// Step one done: looked up, found or not.
#[derive(Debug)]
pub struct LookedUp {
    wish: SignIn,
    account: Option<AccountRow>,
    tried: ThrottleKeys,
}

/// Step two done: the secret is right.
#[derive(Debug)]
pub struct Checked {
    wish: SignIn,
    account: AccountRow,
    upgraded: Option<String>,
    tried: ThrottleKeys,
}

/// A sign-in that happened.
#[derive(Debug)]
pub struct SignedIn {
    /// Who.
    pub account: Account,
    /// The tokens.
    pub issued: Issued,
}

impl Core {
    /// Step one: who it may be, and whether it may be tried at all.
    pub fn look_up(&self, wish: SignIn, client: &Client) -> Result<LookedUp, Error> {
        let (account, tried, blocked) = self.store.read(|db| {
            let account = find_all_agree(db, &wish.identifiers)?;
            let tried = self.tried(account.as_ref(), &wish, client);
            let blocked = self.check_throttle(db, &tried)?;
            Ok((account, tried, blocked))
        })?;
        self.refuse_if(blocked)?;
        Ok(LookedUp { wish, account, tried })
    }

    /// A refusal while a block lasts is counted and no more: an attacker should not fill the audit table.
    fn refuse_if(&self, blocked: Option<Refusal>) -> Result<(), Error> {
        let Some(refusal) = blocked else { return Ok(()) };
        self.metrics.throttle_rejections.inc();
        Err(refusal.into())
    }

    fn tried(&self, account: Option<&AccountRow>, wish: &SignIn, client: &Client) -> ThrottleKeys {
        let named: Vec<String> = wish.identifiers.iter().map(|(_, text)| canonical(text)).collect();
        let nobody = named.join(" ");
        let device = account
            .and_then(|account| TrustedDevice::recognize(self.hasher.digest_key(), client.device.as_ref(), account.id));
        let target = match (account, &device) {
            (None, _) => Target::Nobody(&nobody),
            (Some(account), None) => Target::Account(account.id),
            (Some(account), Some(device)) => Target::FromDevice(account.id, device),
        };
        ThrottleKeys::new(self.hasher.digest_key(), &target, wish.secret.column(), client)
    }

    /// Step two: the secret. Takes one bcrypt whatever was found; run it on a hashing thread. A failure is counted before
    /// it is told, and before the next job begins.
    pub fn check_secret(&self, looked_up: LookedUp, client: &Client) -> Result<Checked, Error> {
        let LookedUp { wish, account, tried } = looked_up;
        // Others may have failed at the same account while this one waited for its thread.
        self.refuse_if(self.store.read(|db| self.check_throttle(db, &tried))?)?;
        let (secret, column) = (wish.secret.secret(), wish.secret.column());
        let check = self.hasher.check(secret, account.as_ref().and_then(|account| stored_secret(account, column)));
        let Some(account) = account.as_ref().filter(|_| check != SecretCheck::Wrong) else {
            return Err(self.refuse_wrong(account.as_ref(), &tried, client)?.into());
        };
        let upgraded = match check {
            SecretCheck::RightButOutdated => Some(self.hasher.hash(&unjudged(secret))?),
            SecretCheck::Right | SecretCheck::Wrong => None,
        };
        Ok(Checked { account: account.clone(), wish, upgraded, tried })
    }

    /// Step three: a session, if the account may. `None` when the account's secret or status changed while the secret was
    /// checked (another sign-in may have raised its hash's cost): begin again.
    pub fn sign_in(&self, checked: &Checked, policy: &TokenPolicy, client: &Client) -> Result<Option<SignedIn>, Error> {
        let why = match checked.account.status {
            AccountStatus::Active => return self.begin_session(checked, policy, client),
            status => Refusal::AccountNotActive(status),
        };
        let event = refused(Some(&checked.account), &why, client);
        self.store.write(|db| event.write(db, self.now()))?;
        self.log_event(&event);
        Err(why.into())
    }

    /// Counts the failure; the same for a wrong secret and for an identifier that names nobody.
    fn refuse_wrong(
        &self,
        account: Option<&AccountRow>,
        tried: &ThrottleKeys,
        client: &Client,
    ) -> Result<Refusal, Error> {
        let (why, event) = self.record_failure(|db| {
            let wait = self.count_failure(db, tried)?;
            let why = wait.map_or(Refusal::InvalidCredentials, Refusal::Throttled);
            let event = refused(account, &why, client);
            event.write(db, self.now())?;
            Ok((why, event))
        })?;
        self.log_event(&event);
        Ok(why)
    }

    fn begin_session(
        &self,
        checked: &Checked,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Option<SignedIn>, Error> {
        let (wish, account, now) = (&checked.wish, &checked.account, self.now());
        let stored = stored_secret(account, wish.secret.column());
        let session = self.new_session_row(account, &wish.device, policy, client)?;
        let event =
            AuditEvent::new(EventKind::SignIn, client).account(account.id).session(session.id).detail(&policy.dialect);
        let begun = self.store.write(|db| {
            let column = wish.secret.column();
            let Some(account) = accounts::touch_sign_in(db, account.id, column, stored, now)? else { return Ok(None) };
            if let Some(upgraded) = &checked.upgraded {
                accounts::set_secret(db, account.id, column, upgraded, account.updated_at)?;
            }
            let session = SessionRow { epoch: account.epoch, ..session.clone() };
            self.reset_failures(db, &checked.tried)?;
            let revoked = self.make_room(db, wish, account.id, client)?;
            sessions::insert(db, &session)?;
            self.record_opaque_token(db, &session, policy)?;
            event.write(db, now)?;
            Ok(Some((account, session, revoked)))
        })?;
        let Some((account, session, revoked)) = begun else { return Ok(None) };
        revoked.iter().for_each(|row| self.revocation_cache.apply(row));
        self.log_event(&event);
        let issued = self.issue_first(&session, &account, policy, client)?;
        Ok(Some(SignedIn { account: account.into(), issued }))
    }

    /// Ends what the new session replaces: the device's, and those that the same browser held.
    pub(in crate::core) fn make_room(
        &self,
        db: &mut Db,
        wish: &SignIn,
        owner: AccountId,
        client: &Client,
    ) -> Result<Vec<RevocationRow>, store::Error> {
        let (now, why) = (self.now(), EndReason::Replaced);
        let mut ended = match &wish.device.id {
            Some(device) => sessions::end_many(db, owner, Which::OnDevice(device), now, why)?,
            None => Vec::new(),
        };
        for held in &wish.replaces {
            ended.extend(sessions::end_whoever_owns(db, *held, now, why)?);
        }
        for session in &ended {
            let event = AuditEvent::new(EventKind::SessionEnded, client).session(session.id).detail(why.as_str());
            event.account(session.account_id).write(db, now)?;
        }
        revoke_ended(db, &ended, now)
    }
}

fn refused(account: Option<&AccountRow>, why: &Refusal, client: &Client) -> AuditEvent {
    let event = AuditEvent::new(EventKind::SignInRefused, client).detail(why.code());
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

/// The account that every identifier names; `None` when one names none or another.
fn find_all_agree(db: &mut Db, identifiers: &[(IdentifierKind, String)]) -> Result<Option<AccountRow>, store::Error> {
    let mut found: Option<AccountRow> = None;
    for (kind, text) in identifiers {
        let Some(account) = find_one(db, *kind, text)? else { return Ok(None) };
        if found.as_ref().is_some_and(|other| other.id != account.id) {
            return Ok(None);
        }
        found = Some(account);
    }
    Ok(found)
}
