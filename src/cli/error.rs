//! Errors of commands, with messages for the operator. Refusals of core are worded here; other errors bring their message.

use crate::core::error::{Error, Refusal};
use crate::core::keys::rotation::KeyAdminError;
use crate::core::startup::OpenError;
use crate::settings::ConfigErrors;
use crate::web::ServeError;
use crate::web::response::field_error::sentence;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Settings(#[from] ConfigErrors),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("{}", explain(.0))]
    Core(#[from] Error),
    #[error(transparent)]
    Keys(#[from] KeyAdminError),
    #[error("{0}")]
    Other(String),
}

/// The message of an error for an operator.
pub fn explain(error: &Error) -> String {
    match error {
        Error::Refusal(Refusal::InvalidFields(errors)) => errors.iter().map(sentence).collect::<Vec<_>>().join("\n"),
        Error::Refusal(Refusal::IdentifierTaken(taken)) => {
            let names = [(taken.email, "email"), (taken.username, "username"), (taken.name, "name")];
            let names: Vec<_> = names.into_iter().filter_map(|(taken, name)| taken.then_some(name)).collect();
            format!("an account with this {} already exists", names.join(" or "))
        }
        Error::Refusal(Refusal::AccountNotFound) => "no such account; `doorward account list` lists them".into(),
        Error::Refusal(Refusal::SessionNotFound) => {
            "no such live session; `doorward session list ACCOUNT` lists them".into()
        }
        other => other.to_string(),
    }
}
