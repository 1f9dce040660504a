//! Sign-up, by a person or by an operator: every field's rule, then the hash, then the row; in three steps as a sign-in.
//! What may be changed later is account.rs's.

use crate::clock::Timestamp;
use crate::core::Core;
use crate::core::account::identifier;
use crate::core::account::identifier::Identifier;
use crate::core::account::{Account, Profile, profile_faults};
use crate::core::audit::{Event, Kind};
use crate::core::caller::Client;
use crate::core::credential::password::{Hasher, NewSecret, new_pin, unjudged};
use crate::core::credential::sign_in::{SignIn, SignedIn};
use crate::core::error::{Error, Field, FieldError, FieldRule, InternalError, Refusal, Taken};
use crate::core::session::TokenPolicy;
use crate::secret::Secret;
use crate::store::tables::accounts;
use crate::store::tables::accounts::{AccountRow, IdentifierColumn, NewAccount};
use crate::store::tables::sessions;
use crate::store::{self, AccountId, AccountStatus, Db, Id128};

/// An account to be.
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

/// What an operator may set beyond what a person may.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "as in Account")]
pub struct Privileges {
    pub role: Option<String>,
    pub permissions: Vec<String>,
    pub email_verified: bool,
    /// Takes secrets that the policy would refuse: for sample accounts.
    pub any_secret: bool,
}

/// Step one of a sign-up done: every rule but uniqueness holds.
#[derive(Debug, Clone)]
pub struct Validated {
    row: NewAccountText,
    password: Option<NewSecret>,
    pin: Option<NewSecret>,
}

#[derive(Debug, Clone)]
pub(in crate::core) struct NewAccountText {
    pub(in crate::core) email: Option<Identifier>,
    pub(in crate::core) username: Option<Identifier>,
    pub(in crate::core) name: Option<Identifier>,
    pub(in crate::core) profile: Profile,
    pub(in crate::core) privileges: Privileges,
}

/// Step two done: hashed.
#[derive(Debug, Clone)]
pub struct Hashed {
    pub(in crate::core) row: NewAccountText,
    pub(in crate::core) password: Option<String>,
    pub(in crate::core) pin: Option<String>,
}

impl Validated {
    /// Email, username and name as they are looked up.
    pub(in crate::core) fn canonical(&self) -> [Option<&str>; 3] {
        [&self.row.email, &self.row.username, &self.row.name]
            .map(|read| read.as_ref().map(|read| read.canonical.as_str()))
    }

    /// Step two: takes one bcrypt for each secret; run it on a hashing thread.
    pub fn hash(self, hasher: &Hasher) -> Result<Hashed, InternalError> {
        let hash = |secret: Option<NewSecret>| secret.map(|secret| hasher.hash(&secret)).transpose();
        Ok(Hashed { password: hash(self.password)?, pin: hash(self.pin)?, row: self.row })
    }
}

impl Core {
    /// Step one of a person's sign-up: every field's rule, all faults at once. `role` is what the mount gives to those who
    /// register there, if it has a word of its own.
    pub fn validate_sign_up(&self, person: Registration, role: Option<&str>) -> Result<Validated, Error> {
        // An answer with a session tells that the identifier was free.
        if !self.rules.signup || self.confirms_by_mail() {
            return Err(Refusal::SignUpClosed.into());
        }
        let role = Some(role.unwrap_or(&self.rules.signup_role).to_owned());
        let validated = self.validate(person, Privileges { role, ..Privileges::default() })?;
        self.refuse_taken(&validated.row)?;
        Ok(validated)
    }

    /// Step one of an account that an operator adds.
    pub fn validate_account(&self, person: Registration, privileges: Privileges) -> Result<Validated, Error> {
        let validated = self.validate(person, privileges)?;
        self.refuse_taken(&validated.row)?;
        Ok(validated)
    }

    /// Every rule but uniqueness.
    pub(in crate::core) fn validate(&self, person: Registration, privileges: Privileges) -> Result<Validated, Error> {
        let mut faults = Vec::new();
        let mut read = |field: Field, text: Option<&str>, rule: fn(&str) -> Result<Identifier, FieldRule>| {
            let read = text.map(rule).transpose();
            read.map_err(|rule| faults.push(FieldError::new(field, rule))).ok().flatten()
        };
        let email = read(Field::Email, person.email.as_deref(), identifier::email);
        let username = read(Field::Username, person.username.as_deref(), identifier::username);
        let name = person.name.clone().or_else(|| person.profile.name.clone().flatten());
        let name = read(Field::Name, name.as_deref(), identifier::name);
        if person.email.is_none() && person.username.is_none() && name.is_none() {
            faults.push(FieldError::new(Field::Email, FieldRule::OneOf("email, username")));
        }
        let names = [&person.email, &person.username, &person.name].map(|name| name.as_deref().unwrap_or_default());
        let password = judge(&mut faults, Field::Password, person.password.as_ref(), |secret| {
            if privileges.any_secret { Ok(unjudged(secret)) } else { self.judge_password(secret, &names) }
        });
        let pin = judge(&mut faults, Field::Pin, person.pin.as_ref(), new_pin);
        faults.extend(profile_faults(&person.profile));
        if !faults.is_empty() {
            return Err(Refusal::InvalidFields(faults).into());
        }
        let row = NewAccountText { email, username, name, profile: person.profile, privileges };
        Ok(Validated { row, password, pin })
    }

    /// Before hashing, so that a taken name costs no bcrypt; the unique columns decide in the end.
    pub(in crate::core) fn refuse_taken(&self, row: &NewAccountText) -> Result<(), Error> {
        let taken = self.store.read(|db| taken(db, row))?;
        if taken.any() { Err(Refusal::IdentifierTaken(taken).into()) } else { Ok(()) }
    }

    /// Step three of a sign-up: the account and its first session.
    pub fn sign_up(
        &self,
        hashed: &Hashed,
        wish: &SignIn,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<SignedIn, Error> {
        self.sign_up_and(hashed, wish, policy, client, |_| Ok(()))
    }

    /// The same, and `also` in the same transaction; `Abandoned` from it undoes everything.
    pub(in crate::core) fn sign_up_and(
        &self,
        hashed: &Hashed,
        wish: &SignIn,
        policy: &TokenPolicy,
        client: &Client,
        also: impl Fn(&mut Db) -> Result<(), store::Error>,
    ) -> Result<SignedIn, Error> {
        let (account, issued) = self.insert_account(hashed, true, client, |account, db| {
            also(db)?;
            let row = self.new_session_row(account, &wish.device, policy, client);
            let Ok(row) = row else { return Err(store::Error::Broken("no session could be made".to_owned())) };
            let revoked = self.make_room(db, wish, account.id, client)?;
            sessions::insert(db, &row)?;
            self.note_opaque(db, &row, policy)?;
            Ok((row, revoked))
        })?;
        let (session, revoked) = issued;
        revoked.iter().for_each(|row| self.view.apply(row));
        let issued = self.issue_first(&session, &account, policy, client)?;
        Ok(SignedIn { account: account.into(), issued })
    }

    /// Step three of an account that an operator adds: no session.
    pub fn add_account(&self, hashed: &Hashed, client: &Client) -> Result<Account, Error> {
        self.insert_account(hashed, false, client, |_, _| Ok(())).map(|(account, ())| account.into())
    }

    fn insert_account<T>(
        &self,
        hashed: &Hashed,
        signs_in: bool,
        client: &Client,
        also: impl Fn(&AccountRow, &mut Db) -> Result<T, store::Error>,
    ) -> Result<(AccountRow, T), Error> {
        let now = self.now();
        let new = self.new_row(hashed, signs_in, now)?;
        let inserted = self.store.write(|db| {
            let account = accounts::insert(db, &new)?;
            let value = also(&account, db)?;
            let event = Event::new(Kind::SignUp, client).account(account.id);
            event.write(db, now)?;
            Ok((account, value, event))
        });
        match inserted {
            Ok((account, value, event)) => {
                self.tell(&event);
                Ok((account, value))
            }
            Err(store::Error::Taken) => {
                let taken = self.store.read(|db| taken(db, &hashed.row))?;
                Err(Refusal::IdentifierTaken(taken).into())
            }
            // Two who confirm one sign-up: the other one was first.
            Err(store::Error::Abandoned) => Err(Refusal::ConfirmationInvalid.into()),
            Err(other) => Err(other.into()),
        }
    }

    pub(in crate::core) fn new_row(
        &self,
        hashed: &Hashed,
        signs_in: bool,
        now: Timestamp,
    ) -> Result<NewAccount, Error> {
        let row = hashed.row.clone();
        let (email, email_canonical) = Identifier::columns(row.email);
        let (username, username_canonical) = Identifier::columns(row.username);
        let (name, name_canonical) = Identifier::columns(row.name);
        Ok(NewAccount {
            id: None,
            uuid: Id128(uuid::Builder::from_random_bytes(crate::secret::random_bytes::<16>()?).into_uuid()),
            email,
            email_canonical,
            email_verified: row.privileges.email_verified,
            username,
            username_canonical,
            name,
            name_canonical,
            first_name: row.profile.first_name.flatten(),
            last_name: row.profile.last_name.flatten(),
            gender: row.profile.gender.flatten(),
            image: row.profile.image.flatten(),
            phone: row.profile.phone.flatten(),
            role: row.privileges.role.unwrap_or_else(|| self.rules.signup_role.clone()),
            permissions: row.privileges.permissions.join("\n"),
            stats: "{}".to_owned(),
            profile: row.profile.further.unwrap_or_else(|| "{}".to_owned()),
            status: AccountStatus::Active,
            password: hashed.password.clone(),
            pin: hashed.pin.clone(),
            last_sign_in_at: signs_in.then_some(now),
            created_at: now,
            updated_at: now,
            must_change_password: false,
        })
    }
}

fn judge(
    faults: &mut Vec<FieldError>,
    field: Field,
    secret: Option<&Secret>,
    rule: impl Fn(&Secret) -> Result<NewSecret, FieldRule>,
) -> Option<NewSecret> {
    secret.map(rule).transpose().map_err(|rule| faults.push(FieldError::new(field, rule))).ok().flatten()
}

/// Who has each identifier that a new account gives. A username may not be another's name, nor the other way round.
#[derive(Debug, Default)]
pub(in crate::core) struct Holders {
    /// Those of the identifiers that are given, in their order.
    pub given: Vec<Option<AccountId>>,
    /// The same, by kind.
    pub taken: Taken,
}

pub(in crate::core) fn holders(db: &mut Db, validated: &Validated) -> Result<Holders, store::Error> {
    find_holders(db, &validated.row)
}

pub(in crate::core) fn taken(db: &mut Db, row: &NewAccountText) -> Result<Taken, store::Error> {
    Ok(find_holders(db, row)?.taken)
}

fn find_holders(db: &mut Db, row: &NewAccountText) -> Result<Holders, store::Error> {
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
        Ok::<_, store::Error>(holder.is_some())
    };
    let email = is_held(&row.email, &[Email])?;
    let username = is_held(&row.username, &[Username, Name])?;
    let name = is_held(&row.name, &[Name, Username])?;
    Ok(Holders { given, taken: Taken { email, username, name } })
}
