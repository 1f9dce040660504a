//! Email-confirmed registration by a one-time token, safe against account enumeration (ASVS 6.3.8): the request is stored without looking at other
//! accounts, a mail goes to the address, and the account is created when its reader presents the link together with the
//! chosen password. Which mail is sent, and when, is decided by confirmation_mail.rs.
//!
//! The confirmation asks for the password again because of an attacker who registers a victim's address: a link alone would
//! make the victim open an account whose password the attacker knows.

use std::time::Duration;

use super::sign_up::{AccountFields, HashedRegistration, NamedBy, Privileges, Registration, ValidatedRegistration};
use crate::core::Core;
use crate::core::account::Profile;
use crate::core::account::identifier::{self, Identifier};
use crate::core::audit::{AuditEvent, EventKind};
use crate::core::credential::password::SecretCheck;
use crate::core::credential::sign_in::{NewSession, SignedIn};
use crate::core::error::{Error, FieldError, FieldRule, InternalError, Refusal};
use crate::core::session::TokenPolicy;
use crate::core::session::caller::Client;
use crate::secret::{Secret, base64url, constant_time_eq, from_base64url};
use crate::store::tables::pending_sign_ups;
use crate::store::tables::pending_sign_ups::PendingSignUpRow;
use crate::store::{self, PendingSignUpId};

/// How long a pending registration can be confirmed.
const CONFIRMATION_TTL: Duration = Duration::from_hours(24);

/// How many passwords may be tried with one link.
const ATTEMPTS_MAX: i64 = 10;

/// Bytes of the id in a link.
const ID_BYTES: usize = 16;

/// The origin of a registration request, for its mail and for the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignUpOrigin {
    /// The language of the mail.
    pub language: &'static str,
    /// The URL to return to after the confirmation.
    pub return_to: Option<String>,
}

/// A request to confirm a registration.
#[derive(Debug, Clone)]
pub struct SignUpConfirmation {
    /// The token of the mail's link.
    pub token: Secret,
    /// The password that the registration chose.
    pub password: Secret,
}

/// Result of step one of a confirmation: the link is genuine, and an attempt was left.
#[derive(Debug)]
pub struct PendingRegistration(PendingSignUpRow);

/// Result of step two: the password matches the chosen one.
#[derive(Debug)]
pub struct VerifiedRegistration(PendingSignUpRow);

/// A confirmed registration.
#[derive(Debug)]
pub struct ConfirmedSignUp {
    /// The account and its first session.
    pub signed_in: SignedIn,
    /// The URL to return to, as the registration had it.
    pub return_to: Option<String>,
}

impl Core {
    /// Whether registrations are confirmed by email.
    pub fn confirms_by_mail(&self) -> bool {
        self.mail_queue.is_some()
    }

    /// Step one: validates all fields, without reading other accounts.
    pub fn validate_confirmed_sign_up(&self, registration: Registration) -> Result<ValidatedRegistration, Error> {
        if !self.rules.signup {
            return Err(Refusal::SignUpClosed.into());
        }
        // A missing address becomes an empty one, whose error is reported together with the others.
        let email = registration.email.unwrap_or_default();
        let local_part = |email: &str| email.rsplit_once('@').map(|(local, _)| local.to_lowercase());
        let mailbox = local_part(email.trim());
        let registration = Registration { email: Some(email), ..registration };
        let validated = self.validate(registration, Privileges::default(), NamedBy::Client)?;
        // Canonical forms join `ß` and `ss`, mailboxes do not: the owner of the one mailbox must neither get mails about the other
        // nor prove its ownership. The two forms of a domain are one in DNS.
        let canonical = validated.canonical().first().copied().flatten().and_then(local_part);
        if mailbox.is_none() || canonical != mailbox {
            return Err(Refusal::InvalidFields(vec![FieldError::new("email", FieldRule::NotAnEmail)]).into());
        }
        Ok(validated)
    }

    /// Step three: stores the pending registration, whether or not its identifiers are taken.
    pub fn store_pending_sign_up(
        &self,
        hashed: HashedRegistration,
        origin: &SignUpOrigin,
        client: &Client,
    ) -> Result<(), Error> {
        let row = self.pending_row(hashed, origin)?;
        let event = AuditEvent::new(EventKind::SignUpRequested, client);
        self.store.write(|db| {
            pending_sign_ups::insert(db, &row)?;
            event.write(db, row.created_at)
        })?;
        self.log_event(&event);
        self.notify_mail_worker();
        Ok(())
    }

    fn pending_row(&self, hashed: HashedRegistration, origin: &SignUpOrigin) -> Result<PendingSignUpRow, Error> {
        let (now, fields) = (self.now(), hashed.fields);
        let (email, password) = (fields.email.zip(hashed.password))
            .ok_or_else(|| InternalError::broken("a pending registration without address or password"))?;
        let (username, username_canonical) = Identifier::columns(fields.username);
        let (name, name_canonical) = Identifier::columns(fields.name);
        Ok(PendingSignUpRow {
            id: PendingSignUpId(
                uuid::Builder::from_random_bytes(crate::secret::random_bytes::<ID_BYTES>()?).into_uuid(),
            ),
            email: email.shown,
            email_canonical: email.canonical,
            username,
            username_canonical,
            name,
            name_canonical,
            first_name: fields.profile.first_name.flatten(),
            last_name: fields.profile.last_name.flatten(),
            gender: fields.profile.gender.flatten(),
            image: fields.profile.image.flatten(),
            phone: fields.profile.phone.flatten(),
            profile: fields.profile.further.unwrap_or_else(|| "{}".to_owned()),
            password,
            language: origin.language.to_owned(),
            return_to: origin.return_to.clone(),
            tries: 0,
            mail_attempts: 0,
            mail_due_at: Some(now),
            mailed_at: None,
            created_at: now,
            expires_at: now.plus(CONFIRMATION_TTL),
        })
    }

    /// The token in the link: the id and a MAC over it, so that the database alone does not suffice to confirm a registration.
    pub(in crate::core) fn confirmation_token(&self, id: PendingSignUpId) -> String {
        base64url(&[id.0.as_bytes().as_slice(), &self.confirmation_mac(id)].concat())
    }

    fn confirmation_mac(&self, id: PendingSignUpId) -> Vec<u8> {
        self.hasher.digest_key().sign(format!("sign-up {id}").as_bytes())
    }

    /// Step one of a confirmation: finds the pending registration and counts the attempt. Counted before the password is
    /// verified, so that parallel requests get no more attempts.
    pub fn find_pending_sign_up(&self, token: &Secret) -> Result<PendingRegistration, Error> {
        if !self.rules.signup {
            return Err(Refusal::SignUpClosed.into());
        }
        let id = self.parse_confirmation_token(token).ok_or(Refusal::ConfirmationInvalid)?;
        let row =
            self.store.write(|db| pending_sign_ups::count_confirmation_attempt(db, id, self.now(), ATTEMPTS_MAX))?;
        Ok(PendingRegistration(row.ok_or(Refusal::ConfirmationInvalid)?))
    }

    fn parse_confirmation_token(&self, token: &Secret) -> Option<PendingSignUpId> {
        let bytes = from_base64url(token.expose())?;
        let (id, mac) = bytes.split_first_chunk::<ID_BYTES>()?;
        let id = PendingSignUpId(uuid::Uuid::from_bytes(*id));
        constant_time_eq(mac, &self.confirmation_mac(id)).then_some(id)
    }

    /// Step two: verifies the password. Takes one bcrypt; run it on a hashing thread.
    pub fn check_pending_sign_up(
        &self,
        found: PendingRegistration,
        password: &Secret,
    ) -> Result<VerifiedRegistration, Error> {
        match self.hasher.check(password, Some(&found.0.password)) {
            SecretCheck::Mismatch => Err(Refusal::ConfirmationInvalid.into()),
            SecretCheck::Match | SecretCheck::MatchOutdated => Ok(VerifiedRegistration(found.0)),
        }
    }

    /// Step three: inserts the account with a verified email and its first session, and deletes the pending registration in the
    /// same transaction.
    pub fn confirm_sign_up(
        &self,
        checked: VerifiedRegistration,
        session: &NewSession,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<ConfirmedSignUp, Error> {
        let row = checked.0;
        let (id, return_to) = (row.id, row.return_to.clone());
        let mut fields = account_fields(&row);
        fields.privileges = Privileges { email_verified: true, ..Privileges::default() };
        let hashed = HashedRegistration { fields, password: Some(row.password), pin: None };
        let delete_pending = |db: &mut store::Db| {
            if pending_sign_ups::delete(db, id)? { Ok(()) } else { Err(store::StoreError::Abandoned) }
        };
        // A registration from before the name was reserved would keep it.
        let names = [&hashed.fields.username, &hashed.fields.name];
        if names.into_iter().flatten().any(|name| self.rules.reserved_names.contains(&name.canonical)) {
            return Err(Refusal::ConfirmationInvalid.into());
        }
        // No unique column prevents a username that is another account's name.
        let free = self.reject_taken_identifiers(&hashed.fields);
        match free.and_then(|()| self.sign_up_in_transaction(&hashed, session, policy, client, delete_pending)) {
            // Another registration with the same address was confirmed first.
            Err(Error::Refusal(Refusal::IdentifierTaken(taken))) if taken.email => {
                Err(Refusal::ConfirmationInvalid.into())
            }
            signed_in => Ok(ConfirmedSignUp { signed_in: signed_in?, return_to }),
        }
    }
}

/// The fields of the account that a pending registration becomes.
pub(in crate::core) fn account_fields(row: &PendingSignUpRow) -> AccountFields {
    // By the rule of this version: the row may be from the one before.
    let identifier = |shown: &str| Identifier { canonical: identifier::canonical(shown), shown: shown.to_owned() };
    let profile = Profile {
        name: None,
        first_name: Some(row.first_name.clone()),
        last_name: Some(row.last_name.clone()),
        gender: Some(row.gender.clone()),
        image: Some(row.image.clone()),
        phone: Some(row.phone.clone()),
        further: Some(row.profile.clone()),
    };
    AccountFields {
        email: Some(identifier(&row.email)),
        username: row.username.as_deref().map(identifier),
        name: row.name.as_deref().map(identifier),
        profile,
        privileges: Privileges::default(),
    }
}
