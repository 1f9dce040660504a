//! A sign-up that tells nobody whether an identifier is taken (ASVS 6.3.8): the request is noted without a look at other
//! accounts, a mail goes to the address, and the account is made when its reader brings the link back with the password
//! that was chosen. Which mail it is, and when it goes, is sign_up_mails.rs's.
//!
//! The password is asked for again because of whoever signs up with a stranger's address: a link alone would make the
//! stranger open an account whose password somebody else knows.

use std::time::Duration;

use super::sign_up::{Hashed, NewAccountText, Privileges, Registration, Validated};
use crate::core::Core;
use crate::core::account::Profile;
use crate::core::account::identifier::Identifier;
use crate::core::audit::{Event, Kind};
use crate::core::caller::Client;
use crate::core::credential::password::SecretCheck;
use crate::core::credential::sign_in::{SignIn, SignedIn};
use crate::core::error::{Error, Field, FieldError, FieldRule, InternalError, Refusal};
use crate::core::session::TokenPolicy;
use crate::secret::{Secret, base64url, from_base64url};
use crate::store::tables::pending_sign_ups;
use crate::store::tables::pending_sign_ups::PendingRow;
use crate::store::{self, Id128};

/// How long a sign-up waits for its confirmation.
const LIVES: Duration = Duration::from_hours(24);

/// How often a password may be tried with a link.
const TRIES: i64 = 10;

/// Octets of the id in a link.
const ID: usize = 16;

/// What of a noted sign-up only the wire knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignUpOrigin {
    /// The language of the mail.
    pub language: &'static str,
    /// Where the person wants to go back to.
    pub return_to: Option<String>,
}

/// Step one of a confirmation done: the link is genuine, and has a try left.
#[derive(Debug)]
pub struct FoundPending(PendingRow);

/// Step two done: the password is the one that was chosen.
#[derive(Debug)]
pub struct CheckedPending(PendingRow);

/// A confirmed sign-up.
#[derive(Debug)]
pub struct Confirmed {
    /// The account and its first session.
    pub signed_in: SignedIn,
    /// Where the person wanted to go back to.
    pub return_to: Option<String>,
}

impl Core {
    /// Whether sign-ups are silent.
    pub fn confirms_by_mail(&self) -> bool {
        self.mail_queue.is_some()
    }

    /// Step one of a silent sign-up: every field's rule, and nothing that others have.
    pub fn validate_confirmed_sign_up(&self, person: Registration) -> Result<Validated, Error> {
        if !self.rules.signup {
            return Err(Refusal::SignUpClosed.into());
        }
        // Without an address there is nobody to tell: an empty one is a fault beside the others.
        let email = person.email.unwrap_or_default();
        let given = email.trim().to_lowercase();
        let validated = self.validate(Registration { email: Some(email), ..person }, Privileges::default())?;
        // Accounts take `ı` for `i`, mailboxes do not: whoever owns the one must not hear of, or prove, the other.
        if validated.canonical().first() != Some(&Some(given.as_str())) {
            return Err(Refusal::InvalidFields(vec![FieldError::new(Field::Email, FieldRule::NotAnEmail)]).into());
        }
        Ok(validated)
    }

    /// Step three: the row, whoever has the address or the names already.
    pub fn note_sign_up(&self, hashed: Hashed, from: &SignUpOrigin, client: &Client) -> Result<(), Error> {
        let row = self.pending_row(hashed, from)?;
        let event = Event::new(Kind::SignUpAsked, client);
        self.store.write(|db| {
            pending_sign_ups::insert(db, &row)?;
            event.write(db, row.created_at)
        })?;
        self.tell(&event);
        self.mail_is_due();
        Ok(())
    }

    fn pending_row(&self, hashed: Hashed, from: &SignUpOrigin) -> Result<PendingRow, Error> {
        let (now, row) = (self.now(), hashed.row);
        let (email, password) = (row.email.zip(hashed.password)).ok_or_else(|| {
            InternalError::Broken("a sign-up without address and password is not validated".to_owned())
        })?;
        let (username, username_canonical) = Identifier::columns(row.username);
        let (name, name_canonical) = Identifier::columns(row.name);
        Ok(PendingRow {
            id: Id128(uuid::Builder::from_random_bytes(crate::secret::random_bytes::<ID>()?).into_uuid()),
            email: email.shown,
            email_canonical: email.canonical,
            username,
            username_canonical,
            name,
            name_canonical,
            first_name: row.profile.first_name.flatten(),
            last_name: row.profile.last_name.flatten(),
            gender: row.profile.gender.flatten(),
            image: row.profile.image.flatten(),
            phone: row.profile.phone.flatten(),
            profile: row.profile.further.unwrap_or_else(|| "{}".to_owned()),
            password,
            language: from.language.to_owned(),
            return_to: from.return_to.clone(),
            tries: 0,
            mail_attempts: 0,
            mail_due_at: Some(now),
            mailed_at: None,
            created_at: now,
            expires_at: now.plus(LIVES),
        })
    }

    /// What the link of a sign-up carries: its id and a MAC over it, so that nothing usable is stored.
    pub(in crate::core) fn confirmation_token(&self, id: Id128) -> String {
        base64url(&[id.0.as_bytes().as_slice(), &self.confirmation_mac(id)].concat())
    }

    fn confirmation_mac(&self, id: Id128) -> Vec<u8> {
        self.hasher.digest_key().sign(format!("sign-up {id}").as_bytes())
    }

    /// Step one of a confirmation. Counts the try before anything is hashed, so that many at once are no more tries.
    pub fn find_pending(&self, token: &Secret) -> Result<FoundPending, Error> {
        if !self.rules.signup {
            return Err(Refusal::SignUpClosed.into());
        }
        let id = self.read_confirmation(token).ok_or(Refusal::ConfirmationInvalid)?;
        let row = self.store.write(|db| pending_sign_ups::try_once(db, id, self.now(), TRIES))?;
        Ok(FoundPending(row.ok_or(Refusal::ConfirmationInvalid)?))
    }

    fn read_confirmation(&self, token: &Secret) -> Option<Id128> {
        let bytes = from_base64url(token.expose())?;
        let (id, mac) = bytes.split_first_chunk::<ID>()?;
        let id = Id128(uuid::Uuid::from_bytes(*id));
        let genuine = aws_lc_rs::constant_time::verify_slices_are_equal(mac, &self.confirmation_mac(id)).is_ok();
        genuine.then_some(id)
    }

    /// Step two: takes one bcrypt; run it on a hashing thread.
    pub fn check_pending(&self, found: FoundPending, password: &Secret) -> Result<CheckedPending, Error> {
        match self.hasher.check(password, Some(&found.0.password)) {
            SecretCheck::Wrong => Err(Refusal::ConfirmationInvalid.into()),
            SecretCheck::Right | SecretCheck::RightButOutdated => Ok(CheckedPending(found.0)),
        }
    }

    /// Step three: the account, whose address is proved, and its first session; the row goes in the same transaction.
    pub fn confirm_sign_up(
        &self,
        checked: CheckedPending,
        wish: &SignIn,
        policy: &TokenPolicy,
        client: &Client,
    ) -> Result<Confirmed, Error> {
        let row = checked.0;
        let (id, return_to) = (row.id, row.return_to.clone());
        let mut text = account_text(&row);
        text.privileges = Privileges { email_verified: true, ..Privileges::default() };
        let hashed = Hashed { row: text, password: Some(row.password), pin: None };
        let taken = |db: &mut store::Db| {
            if pending_sign_ups::take(db, id)? { Ok(()) } else { Err(store::Error::Abandoned) }
        };
        // A username may not be another's name, which no unique column knows.
        let free = self.refuse_taken(&hashed.row);
        match free.and_then(|()| self.sign_up_and(&hashed, wish, policy, client, taken)) {
            // Another sign-up with the same address was confirmed first.
            Err(Error::Refusal(Refusal::IdentifierTaken(taken))) if taken.email => {
                Err(Refusal::ConfirmationInvalid.into())
            }
            signed_in => Ok(Confirmed { signed_in: signed_in?, return_to }),
        }
    }
}

/// The account that a row would become.
pub(in crate::core) fn account_text(row: &PendingRow) -> NewAccountText {
    let identifier = |shown: &Option<String>, canonical: &Option<String>| {
        let (shown, canonical) = shown.clone().zip(canonical.clone())?;
        Some(Identifier { shown, canonical })
    };
    let profile = Profile {
        name: None,
        first_name: Some(row.first_name.clone()),
        last_name: Some(row.last_name.clone()),
        gender: Some(row.gender.clone()),
        image: Some(row.image.clone()),
        phone: Some(row.phone.clone()),
        further: Some(row.profile.clone()),
    };
    NewAccountText {
        email: Some(Identifier { shown: row.email.clone(), canonical: row.email_canonical.clone() }),
        username: identifier(&row.username, &row.username_canonical),
        name: identifier(&row.name, &row.name_canonical),
        profile,
        privileges: Privileges::default(),
    }
}
