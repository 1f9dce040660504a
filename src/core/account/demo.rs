//! Sample accounts of `serve --demo`: the two that the documentation of the emulated wire formats shows.

use super::Profile;
use crate::core::Core;
use crate::core::error::{Error, Refusal};
use crate::core::registration::sign_up::{Privileges, Registration};
use crate::core::session::caller::Client;
use crate::secret::Secret;

/// Adds the missing ones; emilys first, so that in a new database the account has the id 1 of the documentation.
pub fn load(core: &Core) -> Result<(), Error> {
    for registration in [emilys(), cooluser1()] {
        add(core, registration)?;
    }
    Ok(())
}

fn add(core: &Core, registration: Registration) -> Result<(), Error> {
    let privileges = Privileges {
        role: Some("ADMIN".to_owned()),
        skip_secret_policy: true,
        email_verified: true,
        ..Privileges::default()
    };
    match core.validate_account(registration, privileges) {
        Ok(validated) => match core.add_account(&validated.hash(core.hasher())?, &Client::operator()) {
            // Another node that starts at the same time has added it.
            Ok(_) | Err(Error::Refusal(Refusal::IdentifierTaken(_))) => Ok(()),
            Err(other) => Err(other),
        },
        Err(Error::Refusal(Refusal::IdentifierTaken(_))) => Ok(()),
        Err(other) => Err(other),
    }
}

fn emilys() -> Registration {
    let value = |text: &str| Some(Some(text.to_owned()));
    Registration {
        email: Some("emily.johnson@x.dummyjson.com".to_owned()),
        username: Some("emilys".to_owned()),
        name: None,
        password: Some(Secret::new("emilyspass")),
        pin: None,
        profile: Profile {
            first_name: value("Emily"),
            last_name: value("Johnson"),
            gender: value("female"),
            image: value("https://dummyjson.com/icon/emilys/128"),
            phone: value("+1 555-0100"),
            further: Some(r#"{"age":29,"address":{"city":"Springfield","country":"Nowhere"}}"#.to_owned()),
            ..Profile::default()
        },
    }
}

fn cooluser1() -> Registration {
    Registration { name: Some("cooluser1".to_owned()), pin: Some(Secret::new("0000")), ..Registration::default() }
}
