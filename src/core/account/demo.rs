//! The two sample accounts of `serve --demo`, as the documents of the systems that doorward speaks like show them.

use super::Profile;
use crate::core::Core;
use crate::core::caller::Client;
use crate::core::error::{Error, Refusal};
use crate::core::registration::sign_up::{Privileges, Registration};
use crate::secret::Secret;

/// Adds what is missing; emilys first, so that on a new database she has the id 1 that her documents show.
pub fn load(core: &Core) -> Result<(), Error> {
    for person in [emilys(), cooluser1()] {
        add(core, person)?;
    }
    Ok(())
}

fn add(core: &Core, person: Registration) -> Result<(), Error> {
    let privileges =
        Privileges { role: Some("ADMIN".to_owned()), any_secret: true, email_verified: true, ..Privileges::default() };
    match core.validate_account(person, privileges) {
        Ok(validated) => match core.add_account(&validated.hash(core.hasher())?, &Client::operator()) {
            // Another node that starts beside this one was faster.
            Ok(_) | Err(Error::Refusal(Refusal::IdentifierTaken(_))) => Ok(()),
            Err(other) => Err(other),
        },
        Err(Error::Refusal(Refusal::IdentifierTaken(_))) => Ok(()),
        Err(other) => Err(other),
    }
}

fn emilys() -> Registration {
    let given = |text: &str| Some(Some(text.to_owned()));
    Registration {
        email: Some("emily.johnson@x.dummyjson.com".to_owned()),
        username: Some("emilys".to_owned()),
        name: None,
        password: Some(Secret::new("emilyspass")),
        pin: None,
        profile: Profile {
            first_name: given("Emily"),
            last_name: given("Johnson"),
            gender: given("female"),
            image: given("https://dummyjson.com/icon/emilys/128"),
            phone: given("+1 555-0100"),
            further: Some(r#"{"age":29,"address":{"city":"Springfield","country":"Nowhere"}}"#.to_owned()),
            ..Profile::default()
        },
    }
}

fn cooluser1() -> Registration {
    Registration { name: Some("cooluser1".to_owned()), pin: Some(Secret::new("0000")), ..Registration::default() }
}
