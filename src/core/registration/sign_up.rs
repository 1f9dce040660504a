//! Registration of accounts, by their owner or by an operator: validation, hashing, insertion; in three steps like a sign-in.
//! Registration that is confirmed by email is confirmed_sign_up.rs's; changes of an existing account are account.rs's.

use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::account::identifier;
use crate::core::account::identifier::Identifier;
use crate::core::account::{Account, Profile, profile_errors};
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::credential::password::{Hasher, NewSecret, new_pin, skip_policy};
use crate::core::credential::sign_in::{NewSession, SignedIn};
use crate::core::error::{Error, Field, FieldError, FieldRule, InternalError, Refusal, Taken};
use crate::core::session::TokenPolicy;
use crate::core::session::caller::Client;
use crate::secret::Secret;
use crate::store::tables::accounts;
use crate::store::tables::accounts::{AccountRow, IdentifierColumn, NewAccount};
use crate::store::tables::sessions;
use crate::store::{self, AccountId, AccountStatus, AccountUuid, Db};

/// The fields of an account to be created.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "as in Account")]
pub struct Registration {
    pub email: Option<String>,
    pub username: Option<String>,
    pub name: Option<String>,
    pub password: Option<Secret>,
    pub pin: Option<Secret>,
    pub profile: Profile,
}

/// The fields that an operator may set, and a registering client may not.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "as in Account")]
pub struct Privileges {
    pub role: Option<String>,
    pub permissions: Vec<String>,
    pub email_verified: bool,
    /// Accepts secrets that the policy refuses: for imports and sample accounts.
    pub skip_secret_policy: bool,
}

/// Who chooses the names of a new account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum NamedBy {
    /// A client that registers: reserved names are refused.
    Client,
    /// An operator, or the system that an import comes from.
    Operator,
}

/// Result of step one: every rule but uniqueness holds.
#[derive(Debug, Clone)]
pub struct ValidatedRegistration {
    fields: AccountFields,
    password: Option<NewSecret>,
    pin: Option<NewSecret>,
}

/// Whether a new account is signed in by its registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum FirstSignIn {
    /// The registration begins a session.
    Now,
    /// The account has no session yet.
    Later,
}

/// The validated fields other than secrets.
#[derive(Debug, Clone)]
pub(in crate::core) struct AccountFields {
    pub(in crate::core) email: Option<Identifier>,
    pub(in crate::core) username: Option<Identifier>,
    pub(in crate::core) name: Option<Identifier>,
    pub(in crate::core) profile: Profile,
    pub(in crate::core) privileges: Privileges,
}

/// Result of step two: the secrets are hashed.
#[derive(Debug, Clone)]
pub struct HashedRegistration {
    pub(in crate::core) fields: AccountFields,
    pub(in crate::core) password: Option<String>,
    pub(in crate::core) pin: Option<String>,
}

impl ValidatedRegistration {
    /// Email, username and name in canonical form.
    pub(in crate::core) fn canonical(&self) -> [Option<&str>; 3] {
        [&self.fields.email, &self.fields.username, &self.fields.name]
            .map(|identifier| identifier.as_ref().map(|identifier| identifier.canonical.as_str()))
    }

    /// Step two: takes one bcrypt for each secret; run it on a hashing thread.
    pub fn hash(self, hasher: &Hasher) -> Result<HashedRegistration, InternalError> {
        let hash = |secret: Option<NewSecret>| secret.map(|secret| hasher.hash(&secret)).transpose();
        Ok(HashedRegistration { password: hash(self.password)?, pin: hash(self.pin)?, fields: self.fields })
    }
}

impl Core {
    /// Step one of a registration by a client: validates all fields and reports all errors together. `role` is the role that
    /// the mount gives to new accounts, if not the configured one.
    pub fn validate_sign_up(
        &self,
        registration: Registration,
        role: Option<&str>,
    ) -> Result<ValidatedRegistration, Error> {
        // A response with a session would reveal that the identifier was free.
        if !self.rules.signup || self.confirms_by_mail() {
            return Err(Refusal::SignUpClosed.into());
        }
        let role = Some(role.unwrap_or(&self.rules.signup_role).to_owned());
        let validated = self.validate(registration, Privileges { role, ..Privileges::default() }, NamedBy::Client)?;
        self.reject_taken_identifiers(&validated.fields)?;
        Ok(validated)
    }

    /// Step one of an account added by an operator.
    pub fn validate_account(
        &self,
        registration: Registration,
        privileges: Privileges,
    ) -> Result<ValidatedRegistration, Error> {
        let validated = self.validate(registration, privileges, NamedBy::Operator)?;
        self.reject_taken_identifiers(&validated.fields)?;
        Ok(validated)
    }

    /// Checks every rule but uniqueness.
    pub(in crate::core) fn validate(
        &self,
        registration: Registration,
        privileges: Privileges,
        named_by: NamedBy,
    ) -> Result<ValidatedRegistration, Error> {
        let mut errors = Vec::new();
        let mut parse = |field: &str, text: Option<&str>, rule: fn(&str) -> Result<Identifier, FieldRule>| {
            let parsed = text.map(rule).transpose();
            parsed.map_err(|rule| errors.push(FieldError::new(field, rule))).ok().flatten()
        };
        let email = parse("email", registration.email.as_deref(), identifier::email);
        let username = parse("username", registration.username.as_deref(), identifier::username);
        let name = registration.name.clone().or_else(|| registration.profile.name.clone().flatten());
        let name = parse("name", name.as_deref(), identifier::name);
        let is_reserved = |name: &Identifier| self.rules.reserved_names.contains(&name.canonical);
        for (field, name) in [(Field::Username, &username), (Field::Name, &name)] {
            if named_by == NamedBy::Client && name.as_ref().is_some_and(is_reserved) {
                errors.push(FieldError::new(field, FieldRule::Reserved));
            }
        }
        if registration.email.is_none() && registration.username.is_none() && name.is_none() {
            errors.push(FieldError::new("email", FieldRule::OneOf("email, username")));
        }
        let names = [&registration.email, &registration.username, &registration.name]
            .map(|name| name.as_deref().unwrap_or_default());
        let password = apply_policy(&mut errors, "password", registration.password.as_ref(), |secret| {
            if privileges.skip_secret_policy {
                Ok(skip_policy(secret))
            } else {
                self.apply_password_policy(secret, &names)
            }
        });
        let pin = apply_policy(&mut errors, "pin", registration.pin.as_ref(), new_pin);
        errors.extend(profile_errors(&registration.profile));
        if !errors.is_empty() {
            return Err(Refusal::InvalidFields(errors).into());
        }
        let fields = AccountFields { email, username, name, profile: registration.profile, privileges };
        Ok(ValidatedRegistration { fields, password, pin })
    }

    /// Refuses taken identifiers before hashing, so that they cost no bcrypt. The unique columns have the last word.
    pub(in crate::core) fn reject_taken_identifiers(&self, fields: &AccountFields) -> Result<(), Error> {
        let taken = self.store.read(|db| taken(db, fields))?;
        if taken.any() { Err(Refusal::IdentifierTaken(taken).into()) } else { Ok(()) }
    }

    /// Step three of a registration: inserts the account and its first session.
    pub fn sign_up(
        &self,
        hashed: &HashedRegistration,
        session: &NewSession,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<SignedIn, Error> {
        self.sign_up_in_transaction(hashed, session, policy, client, |_| Ok(()))
    }

    /// As `sign_up`, with `also` in the same transaction; an `Abandoned` from it rolls everything back.
    pub(in crate::core) fn sign_up_in_transaction(
        &self,
        hashed: &HashedRegistration,
        session: &NewSession,
        policy: &TokenPolicy,
        client: &Client,
        also: impl Fn(&mut Db) -> Result<(), store::StoreError>,
    ) -> Result<SignedIn, Error> {
        let replaced = self.sessions_to_replace(&session.replaces)?;
        let (account, inserted) = self.insert_account(hashed, FirstSignIn::Now, client, |account, db| {
            also(db)?;
            let row = self.new_session_row(account, &session.device, policy, client);
            let row = row.map_err(store::StoreError::broken)?;
            let revoked = self.end_replaced_sessions(db, session, &replaced, account.id, (policy, client))?;
            sessions::insert(db, &row)?;
            self.record_opaque_token(db, &row, policy)?;
            Ok((row, revoked))
        })?;
        let (row, revoked) = inserted;
        revoked.iter().for_each(|row| self.revocation_cache.apply(row));
        let issued = self.issue_first(&row, &account, policy, client)?;
        Ok(SignedIn { account: account.into(), issued })
    }

    /// Step three of an account added by an operator: inserts it, without a session.
    pub fn add_account(&self, hashed: &HashedRegistration, client: &Client) -> Result<Account, Error> {
        self.insert_account(hashed, FirstSignIn::Later, client, |_, _| Ok(())).map(|(account, ())| account.into())
    }

    fn insert_account<T>(
        &self,
        hashed: &HashedRegistration,
        first_sign_in: FirstSignIn,
        client: &Client,
        also: impl Fn(&AccountRow, &mut Db) -> Result<T, store::StoreError>,
    ) -> Result<(AccountRow, T), Error> {
        let now = self.now();
        let new = self.new_account(hashed, first_sign_in, now)?;
        let inserted = self.store.write(|db| {
            let account = accounts::insert(db, &new)?;
            let value = also(&account, db)?;
            let event = AuditEvent::new(EventKind::SignUp, client).account(account.id);
            event.write(db, now)?;
            Ok((account, value, event))
        });
        match inserted {
            Ok((account, value, event)) => {
                self.log_event(&event);
                Ok((account, value))
            }
            Err(store::StoreError::Taken) => {
                let taken = self.store.read(|db| taken(db, &hashed.fields))?;
                Err(Refusal::IdentifierTaken(taken).into())
            }
            // A concurrent confirmation of the same registration has committed first.
            Err(store::StoreError::Abandoned) => Err(Refusal::ConfirmationInvalid.into()),
            Err(other) => Err(other.into()),
        }
    }

    pub(in crate::core) fn new_account(
        &self,
        hashed: &HashedRegistration,
        first_sign_in: FirstSignIn,
        now: Timestamp,
    ) -> Result<NewAccount, Error> {
        let fields = hashed.fields.clone();
        let (email, email_canonical) = Identifier::columns(fields.email);
        let (username, username_canonical) = Identifier::columns(fields.username);
        let (name, name_canonical) = Identifier::columns(fields.name);
        Ok(NewAccount {
            id: None,
            uuid: AccountUuid(uuid::Builder::from_random_bytes(crate::secret::random_bytes::<16>()?).into_uuid()),
            email,
            email_canonical,
            email_verified: fields.privileges.email_verified,
            username,
            username_canonical,
            name,
            name_canonical,
            first_name: fields.profile.first_name.flatten(),
            last_name: fields.profile.last_name.flatten(),
            gender: fields.profile.gender.flatten(),
            image: fields.profile.image.flatten(),
            phone: fields.profile.phone.flatten(),
            role: fields.privileges.role.unwrap_or_else(|| self.rules.signup_role.clone()),
            permissions: fields.privileges.permissions.join("\n"),
            stats: "{}".to_owned(),
            profile: fields.profile.further.unwrap_or_else(|| "{}".to_owned()),
            status: AccountStatus::Active,
            password: hashed.password.clone(),
            pin: hashed.pin.clone(),
            last_sign_in_at: (first_sign_in == FirstSignIn::Now).then_some(now),
            created_at: now,
            updated_at: now,
            must_change_password: false,
        })
    }
}

/// Applies a policy to an optional secret, and collects its error.
fn apply_policy(
    errors: &mut Vec<FieldError>,
    field: &str,
    secret: Option<&Secret>,
    rule: impl Fn(&Secret) -> Result<NewSecret, FieldRule>,
) -> Option<NewSecret> {
    secret.map(rule).transpose().map_err(|rule| errors.push(FieldError::new(field, rule))).ok().flatten()
}

/// The accounts that hold the identifiers of a new one. A username may not be another account's name, nor a name another
/// account's username: a sign-in that accepts both could otherwise mean two accounts.
#[derive(Debug, Default)]
pub(in crate::core) struct Holders {
    /// The holder of each given identifier: email, username, name.
    pub given: Vec<Option<AccountId>>,
    /// Which of the identifiers are held.
    pub taken: Taken,
}

pub(in crate::core) fn holders(db: &mut Db, validated: &ValidatedRegistration) -> Result<Holders, store::StoreError> {
    find_holders(db, &validated.fields)
}

pub(in crate::core) fn taken(db: &mut Db, fields: &AccountFields) -> Result<Taken, store::StoreError> {
    Ok(find_holders(db, fields)?.taken)
}

fn find_holders(db: &mut Db, fields: &AccountFields) -> Result<Holders, store::StoreError> {
    use IdentifierColumn::{Email, Name, Username};
    let mut given = Vec::new();
    let mut is_held = |identifier: &Option<Identifier>, columns: &[IdentifierColumn]| {
        let Some(identifier) = identifier else { return Ok(false) };
        let mut holder = None;
        for column in columns {
            if holder.is_none() {
                holder = accounts::find_by(db, *column, &identifier.canonical)?.map(|account| account.id);
            }
        }
        given.push(holder);
        Ok::<_, store::StoreError>(holder.is_some())
    };
    let email = is_held(&fields.email, &[Email])?;
    let username = is_held(&fields.username, &[Username, Name])?;
    let name = is_held(&fields.name, &[Name, Username])?;
    Ok(Holders { given, taken: Taken { email, username, name } })
}
