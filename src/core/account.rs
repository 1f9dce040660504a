//! Accounts: look up, change, lock. What a change ends is decided here: a new secret ends every other session,
//! a new role or status ends all.

pub mod demo;
pub mod identifier;
pub mod identity_cache;
pub mod import;

use super::Core;
use super::audit::{Event, Kind};
use super::caller::Client;
use super::credential::password::{GivenSecret, NewSecret, new_password, new_pin};
use super::error::{Error, Field, FieldError, FieldRule, Refusal, Taken};
use crate::core::session::end_reason::EndReason;
use identifier::{IdentifierKind, canonical};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::store::tables::accounts;
use crate::store::tables::accounts::{AccountRow, IdentifierColumn, ProfileChange, SecretColumn};
use crate::store::{self, AccountId, AccountStatus, Db, Id128};
use identity_cache::Identity;

/// No identifier is longer, so a longer one names nobody and is not looked up; nor is one with a control character, which
/// PostgreSQL would not even take.
const IDENTIFIER_MAX: usize = 320;

/// The most characters of a profile's texts.
pub const PROFILE_TEXT_MAX: usize = 200;

/// An account as everybody above the store sees it: no secret in it, stored or not.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the words are the API's; JSON columns are text that web reads")]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub struct Account {
    pub id: AccountId,
    pub uuid: Id128,
    pub email: Option<String>,
    pub email_verified: bool,
    pub username: Option<String>,
    pub name: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub gender: Option<String>,
    pub image: Option<String>,
    pub phone: Option<String>,
    pub role: String,
    pub permissions: Vec<String>,
    pub stats: String,
    pub profile: String,
    pub status: AccountStatus,
    pub has_password: bool,
    pub has_pin: bool,
    pub last_sign_in_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub must_change_password: bool,
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        Self {
            id: row.id,
            uuid: row.uuid,
            email: row.email,
            email_verified: row.email_verified,
            username: row.username,
            name: row.name,
            first_name: row.first_name,
            last_name: row.last_name,
            gender: row.gender,
            image: row.image,
            phone: row.phone,
            role: row.role,
            permissions: row.permissions.lines().map(ToOwned::to_owned).collect(),
            stats: row.stats,
            profile: row.profile,
            status: row.status,
            has_password: row.password.is_some(),
            has_pin: row.pin.is_some(),
            last_sign_in_at: row.last_sign_in_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            must_change_password: row.must_change_password,
        }
    }
}

/// The fields an owner may change. `None` leaves one as it is, `Some(None)` empties it.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "as in Account")]
pub struct Profile {
    pub name: Option<Option<String>>,
    pub first_name: Option<Option<String>>,
    pub last_name: Option<Option<String>>,
    pub gender: Option<Option<String>>,
    pub image: Option<Option<String>>,
    pub phone: Option<Option<String>>,
    /// Further public fields: a JSON object as text.
    pub further: Option<String>,
}

impl Core {
    pub(super) fn judge_password(&self, secret: &Secret, names: &[&str]) -> Result<NewSecret, FieldRule> {
        new_password(secret, self.rules.password_min_length, names)
    }

    /// The account of a caller.
    pub fn find_account(&self, id: AccountId) -> Result<Account, Error> {
        let found = self.store.read(|db| accounts::find(db, id))?;
        found.map(Account::from).ok_or_else(|| Refusal::AccountNotFound.into())
    }

    /// The account that an operator names by number or identifier.
    pub fn find_account_by(&self, text: &str) -> Result<Account, Error> {
        let found = self.store.read(|db| match text.parse::<i64>() {
            Ok(id) => accounts::find(db, AccountId(id)),
            Err(_not_a_number) => find_one(db, IdentifierKind::Any, text),
        })?;
        found.map(Account::from).ok_or_else(|| Refusal::AccountNotFound.into())
    }

    /// Up to `limit` accounts with a number above `after`.
    pub fn list_accounts(&self, after: AccountId, limit: i64) -> Result<Vec<Account>, Error> {
        let rows = self.store.read(|db| accounts::list(db, after, limit))?;
        Ok(rows.into_iter().map(Account::from).collect())
    }

    /// Changes the caller's profile.
    pub fn change_profile(&self, id: AccountId, profile: &Profile, client: &Client) -> Result<Account, Error> {
        let mut faults = profile_faults(profile);
        let name = profile.name.clone().map(|name| name.map(|name| identifier::name(&name)).transpose());
        let name = name.transpose().map_err(|rule| faults.push(FieldError::new(Field::Name, rule))).unwrap_or_default();
        if !faults.is_empty() {
            return Err(Refusal::InvalidFields(faults).into());
        }
        let now = self.now();
        let change = ProfileChange {
            name: name.clone().map(|name| name.map(|name| name.shown)),
            name_canonical: name.map(|name| name.map(|name| name.canonical)),
            first_name: profile.first_name.clone(),
            last_name: profile.last_name.clone(),
            gender: profile.gender.clone(),
            image: profile.image.clone(),
            phone: profile.phone.clone(),
            profile: profile.further.clone(),
            updated_at: Some(now),
        };
        let event = Event::new(Kind::ProfileChange, client).account(id);
        let changed = self.store.write(|db| {
            if let Some(refusal) = refuse_name(db, id, &change)? {
                return Ok(Err(refusal));
            }
            event.write(db, now)?;
            let Some(row) = accounts::change_profile(db, id, &change)? else {
                return Ok(Err(Refusal::AccountNotFound));
            };
            // Ends nothing, being at the epoch that the account has: it tells every node that the account changed.
            let notice = crate::core::revocation::write::revoke_account(db, id, row.epoch, now, now)?;
            Ok(Ok((row, notice)))
        });
        match changed {
            Ok(row) => {
                let (row, notice) = row?;
                self.view.apply(&notice);
                self.tell(&event);
                Ok(row.into())
            }
            Err(store::Error::Taken) => Err(Refusal::IdentifierTaken(Taken { name: true, ..Taken::default() }).into()),
            Err(other) => Err(other.into()),
        }
    }

    /// Sets the role; every session ends, so that no token says the old one.
    pub fn set_role(&self, id: AccountId, role: &str) -> Result<(), Error> {
        let event = Event::new(Kind::RoleChange, &Client::operator()).account(id).detail(role);
        let now = self.now();
        self.end_all_sessions(id, EndReason::Operator, &event, |db| accounts::set_role(db, id, role, now))
    }

    /// Sets the status; every session ends.
    pub fn set_status(&self, id: AccountId, status: AccountStatus) -> Result<(), Error> {
        let event = Event::new(Kind::StatusChange, &Client::operator()).account(id).detail(status.as_str());
        let now = self.now();
        self.end_all_sessions(id, EndReason::Operator, &event, |db| accounts::set_status(db, id, status, now))
    }

    /// Sets whether the account may do nothing but change its password (SP 800-63B-4 section 3.1.1.2, on compromise). Every
    /// session ends either way, so that a token says what its account must do for as long as it lives.
    pub fn require_password_change(&self, account: &Account, required: bool) -> Result<(), Error> {
        if required && !account.has_password {
            return Err(Refusal::InvalidFields(vec![FieldError::new(Field::Password, FieldRule::NoPassword)]).into());
        }
        let (id, now) = (account.id, self.now());
        let event = Event::new(Kind::PasswordChangeRequired, &Client::operator()).account(id);
        let event = event.detail(if required { "required" } else { "lifted" });
        self.end_all_sessions(id, EndReason::Operator, &event, |db| {
            accounts::set_must_change_password(db, id, required, now)
        })
    }

    /// Sets a secret as an operator; every session ends. Takes one bcrypt. A password that must be changed must still be: one
    /// that an operator chose is known to two, and whether it comes before the requirement or after must not matter.
    pub fn set_secret(&self, account: &Account, secret: &GivenSecret) -> Result<(), Error> {
        let names = [&account.email, &account.username, &account.name].map(|name| name.as_deref().unwrap_or_default());
        let (column, kind, field, judged) = match secret {
            GivenSecret::Password(secret) => {
                (SecretColumn::Password, "password", Field::Password, self.judge_password(secret, &names))
            }
            GivenSecret::Pin(secret) => (SecretColumn::Pin, "pin", Field::Pin, new_pin(secret)),
        };
        let judged = judged.map_err(|rule| Refusal::InvalidFields(vec![FieldError::new(field, rule)]))?;
        let stored = self.hasher.hash(&judged)?;
        let now = self.now();
        let event = Event::new(Kind::SecretChange, &Client::operator()).account(account.id).detail(kind);
        let id = account.id;
        self.end_all_sessions(id, EndReason::SecretChange, &event, |db| {
            accounts::set_secret(db, id, column, &stored, now)?;
            self.unlock_account(db, id)
        })
    }

    /// Forgets what failed sign-ins have cost the account: whoever failed has the free tries again.
    pub fn unlock(&self, id: AccountId) -> Result<(), Error> {
        let event = Event::new(Kind::ThrottleLifted, &Client::operator()).account(id);
        self.store.write(|db| {
            self.unlock_account(db, id)?;
            event.write(db, self.now())
        })?;
        self.tell(&event);
        Ok(())
    }
}

/// A name may not be another account's username, and the last thing that an account can be named by stays.
fn refuse_name(db: &mut Db, id: AccountId, change: &ProfileChange) -> Result<Option<Refusal>, store::Error> {
    match &change.name_canonical {
        None => Ok(None),
        Some(Some(name)) => {
            let other = accounts::find_by(db, IdentifierColumn::Username, name)?.filter(|other| other.id != id);
            Ok(other.map(|_| Refusal::IdentifierTaken(Taken { name: true, ..Taken::default() })))
        }
        Some(None) => {
            let account = accounts::find(db, id)?;
            let nameless = account.is_some_and(|account| account.email.is_none() && account.username.is_none());
            Ok(nameless.then(|| Refusal::InvalidFields(vec![FieldError::new(Field::Name, FieldRule::Missing)])))
        }
    }
}

pub(super) fn profile_faults(profile: &Profile) -> Vec<FieldError> {
    let texts = [
        (Field::FirstName, &profile.first_name),
        (Field::LastName, &profile.last_name),
        (Field::Gender, &profile.gender),
        (Field::Phone, &profile.phone),
    ];
    let mut faults = Vec::new();
    for (field, text) in texts {
        if let Some(Some(text)) = text {
            if text.chars().count() > PROFILE_TEXT_MAX {
                faults.push(FieldError::new(field, FieldRule::TooLong(PROFILE_TEXT_MAX)));
            } else if text.chars().any(char::is_control) {
                faults.push(FieldError::new(field, FieldRule::ControlCharacter));
            }
        }
    }
    if let Some(Some(image)) = &profile.image
        && !is_web_address(image)
    {
        faults.push(FieldError::new(Field::Image, FieldRule::NotAUrl));
    }
    faults
}

/// An image that a page may show: never `javascript:` or `data:`.
fn is_web_address(text: &str) -> bool {
    let web = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    web && text.len() <= 2048 && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// The account that an identifier names.
pub(super) fn find_one(db: &mut Db, kind: IdentifierKind, text: &str) -> Result<Option<AccountRow>, store::Error> {
    if text.chars().count() > IDENTIFIER_MAX || text.chars().any(char::is_control) {
        return Ok(None);
    }
    let canonical = canonical(text);
    match kind {
        IdentifierKind::Email => accounts::find_by(db, IdentifierColumn::Email, &canonical),
        IdentifierKind::Username => accounts::find_by(db, IdentifierColumn::Username, &canonical),
        IdentifierKind::Name => accounts::find_by(db, IdentifierColumn::Name, &canonical),
        IdentifierKind::Any if canonical.contains('@') => accounts::find_by(db, IdentifierColumn::Email, &canonical),
        IdentifierKind::Any => match accounts::find_by(db, IdentifierColumn::Username, &canonical)? {
            Some(account) => Ok(Some(account)),
            None => accounts::find_by(db, IdentifierColumn::Name, &canonical),
        },
    }
}

impl Core {
    /// Who the account is, if memory knows and is young enough to be believed.
    pub fn identity_in_memory(&self, account: AccountId) -> Option<Arc<Identity>> {
        let fresh = self.view.age() <= self.rules.revocation_max_stale;
        fresh.then(|| self.view.identity_cache.get(account)).flatten()
    }

    /// Who the account is, by its row; remembered.
    pub fn find_identity(&self, account: AccountId) -> Result<Arc<Identity>, Error> {
        let heard = self.view.identity_cache.heard();
        let row = self.store.read(|db| accounts::find(db, account))?.ok_or(Refusal::SessionEnded)?;
        let identity = Arc::new(Identity::from(row));
        self.view.identity_cache.keep(&identity, heard);
        Ok(identity)
    }
}
