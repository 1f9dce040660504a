//! Accounts: look-up, and profile changes by their owners, which end no session. The operator's changes are administration.rs's,
//! a password change by the owner credential/password_change.rs's.

pub(in crate::core) mod administration;
pub mod canonical_forms;
pub mod demo;
pub mod identifier;
pub mod identity_cache;
pub mod import;
pub mod reserved_names;

use super::Core;
use super::audit::{AuditEvent, EventKind};
use super::credential::password::{NewSecret, new_password};
use super::error::{Error, Field, FieldError, FieldRule, Refusal, Taken};
use super::session::caller::Client;
use crate::core::defence::rate_limit::Writer;
use crate::core::revocation::write::announce_change;
use identifier::IdentifierKind;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::store::tables::accounts;
use crate::store::tables::accounts::{AccountRow, IdentifierColumn, ProfileChange};
use crate::store::{self, AccountId, AccountStatus, AccountUuid, Db};
use identity_cache::Identity;
use reserved_names::ReservedNames;

/// The longest text of a profile, in characters.
pub const PROFILE_TEXT_MAX: usize = 200;

/// An account as seen above the store, without any secret or hash.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the words are the API's; JSON columns are text that web reads")]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub struct Account {
    pub id: AccountId,
    pub uuid: AccountUuid,
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

/// The fields that an owner may change. `None` leaves a field unchanged, `Some(None)` clears it.
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
    pub(super) fn apply_password_policy(&self, secret: &Secret, names: &[&str]) -> Result<NewSecret, FieldRule> {
        new_password(secret, self.rules.password_min_length, names)
    }

    /// The account of a caller. Without a row the session has ended with it.
    pub fn find_account(&self, account: AccountUuid) -> Result<Account, Error> {
        let found = self.store.read(|db| accounts::find_by_uuid(db, account))?;
        found.map(Account::from).ok_or_else(|| Refusal::SessionEnded.into())
    }

    /// The account with this number or identifier, for operators.
    pub fn find_account_by(&self, text: &str) -> Result<Account, Error> {
        let found = self.store.read(|db| match text.parse::<i64>() {
            Ok(id) => accounts::find(db, AccountId(id)),
            Err(_not_a_number) => match identifier::presented(text) {
                Some(canonical) => find_by_identifier(db, IdentifierKind::Any, &canonical),
                None => Ok(None),
            },
        })?;
        found.map(Account::from).ok_or_else(|| Refusal::AccountNotFound.into())
    }

    /// Up to `limit` accounts with a number above `after`.
    pub fn list_accounts(&self, after: AccountId, limit: i64) -> Result<Vec<Account>, Error> {
        let rows = self.store.read(|db| accounts::list(db, after, limit))?;
        Ok(rows.into_iter().map(Account::from).collect())
    }

    /// Changes the profile of the caller's account.
    pub fn change_profile(&self, account: AccountUuid, profile: &Profile, client: &Client) -> Result<Account, Error> {
        let mut errors = profile_errors(profile);
        let name = profile.name.clone().map(|name| name.map(|name| identifier::name(&name)).transpose());
        let name = name.transpose().map_err(|rule| errors.push(FieldError::new("name", rule))).unwrap_or_default();
        if !errors.is_empty() {
            return Err(Refusal::InvalidFields(errors).into());
        }
        self.check_write_rate(Writer::Account(account))?;
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
        let event = AuditEvent::new(EventKind::ProfileChange, client);
        let changed = self.store.write(|db| {
            let Some(AccountRow { id, .. }) = accounts::find_by_uuid(db, account)? else {
                return Ok(Err(Refusal::SessionEnded));
            };
            let event = event.clone().account(id);
            if let Some(refusal) = check_name_change(db, id, &change, &self.rules.reserved_names)? {
                return Ok(Err(refusal));
            }
            event.write(db, now)?;
            let Some(row) = accounts::change_profile(db, id, &change)? else {
                return Ok(Err(Refusal::AccountNotFound));
            };
            let notice = announce_change(db, account, now)?;
            Ok(Ok((row, notice, event)))
        });
        match changed {
            Ok(row) => {
                let (row, notice, event) = row?;
                self.revocation_cache.apply(&notice);
                self.log_event(&event);
                Ok(row.into())
            }
            Err(store::StoreError::Taken) => {
                Err(Refusal::IdentifierTaken(Taken { name: true, ..Taken::default() }).into())
            }
            Err(other) => Err(other.into()),
        }
    }
}

/// Refuses a name that is reserved or another account's username, and the removal of an account's last identifier. A reserved
/// name that the account has from an operator may be sent again, as forms do with every field.
fn check_name_change(
    db: &mut Db,
    id: AccountId,
    change: &ProfileChange,
    reserved: &ReservedNames,
) -> Result<Option<Refusal>, store::StoreError> {
    match &change.name_canonical {
        None => Ok(None),
        Some(Some(name)) => {
            let is_own = |account: AccountRow| account.name_canonical.as_ref() == Some(name);
            if reserved.contains(name) && !accounts::find(db, id)?.is_some_and(is_own) {
                let error = FieldError::new(Field::Name, FieldRule::Reserved);
                return Ok(Some(Refusal::InvalidFields(vec![error])));
            }
            let other = accounts::find_by(db, IdentifierColumn::Username, name)?.filter(|other| other.id != id);
            Ok(other.map(|_| Refusal::IdentifierTaken(Taken { name: true, ..Taken::default() })))
        }
        Some(None) => {
            let account = accounts::find(db, id)?;
            let is_last = account.is_some_and(|account| account.email.is_none() && account.username.is_none());
            Ok(is_last.then(|| Refusal::InvalidFields(vec![FieldError::new("name", FieldRule::Missing)])))
        }
    }
}

pub(super) fn profile_errors(profile: &Profile) -> Vec<FieldError> {
    let texts = [
        (Field::FirstName, &profile.first_name),
        (Field::LastName, &profile.last_name),
        (Field::Gender, &profile.gender),
        (Field::Phone, &profile.phone),
    ];
    let mut errors = Vec::new();
    for (field, text) in texts {
        if let Some(Some(text)) = text {
            if text.chars().count() > PROFILE_TEXT_MAX {
                errors.push(FieldError::new(field, FieldRule::TooLong(PROFILE_TEXT_MAX)));
            } else if text.chars().any(char::is_control) {
                errors.push(FieldError::new(field, FieldRule::Type("text without control characters")));
            }
        }
    }
    if let Some(Some(image)) = &profile.image
        && !is_web_url(image)
    {
        errors.push(FieldError::new("image", FieldRule::NotAUrl));
    }
    errors
}

/// Whether a URL may be the source of an image in a page: `javascript:` and `data:` would let an account run scripts there.
fn is_web_url(text: &str) -> bool {
    let is_http = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    is_http && text.len() <= 2048 && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// The account with an identifier in canonical form. Of kind `Any`, a username takes precedence over a name.
pub(super) fn find_by_identifier(
    db: &mut Db,
    kind: IdentifierKind,
    canonical: &str,
) -> Result<Option<AccountRow>, store::StoreError> {
    match kind {
        IdentifierKind::Email => accounts::find_by(db, IdentifierColumn::Email, canonical),
        IdentifierKind::Username => accounts::find_by(db, IdentifierColumn::Username, canonical),
        IdentifierKind::Name => accounts::find_by(db, IdentifierColumn::Name, canonical),
        IdentifierKind::Any if canonical.contains('@') => accounts::find_by(db, IdentifierColumn::Email, canonical),
        IdentifierKind::Any => match accounts::find_by(db, IdentifierColumn::Username, canonical)? {
            Some(account) => Ok(Some(account)),
            None => accounts::find_by(db, IdentifierColumn::Name, canonical),
        },
    }
}

impl Core {
    /// The account's identity, if it is cached and the cache is recent enough to be trusted.
    pub fn cached_identity(&self, account: AccountUuid) -> Option<Arc<Identity>> {
        let fresh = self.revocation_cache.age() <= self.rules.revocation_max_stale;
        fresh.then(|| self.revocation_cache.identity_cache.get(account)).flatten()
    }

    /// The account's identity by its row, which is then cached.
    pub fn find_identity(&self, account: AccountUuid) -> Result<Arc<Identity>, Error> {
        let version = self.revocation_cache.identity_cache.change_count();
        let row = self.store.read(|db| accounts::find_by_uuid(db, account))?.ok_or(Refusal::SessionEnded)?;
        let identity = Arc::new(Identity::of(row, self.rules.email_disclosure));
        self.revocation_cache.identity_cache.insert_if_unchanged(&identity, version);
        Ok(identity)
    }
}
