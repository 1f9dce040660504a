//! Why a command failed, in words for the operator who typed it.

use crate::core::error::{Error, Refusal};
use crate::core::keys::rotation::KeyAdminError;
use crate::core::startup::OpenError;
use crate::settings::Faults;
use crate::web::ServeError;
use crate::web::response::field_error::sentence;

/// Why a command failed, in words for the person who typed it.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("{0}")]
    Settings(#[from] Faults),
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("{0}")]
    Serve(#[from] ServeError),
    #[error("{}", explain(.0))]
    Core(#[from] Error),
    #[error("{0}")]
    Keys(#[from] KeyAdminError),
    #[error("{0}")]
    Other(String),
}

/// Refusals in an operator's words.
pub fn explain(error: &Error) -> String {
    match error {
        Error::Refusal(Refusal::InvalidFields(faults)) => faults.iter().map(sentence).collect::<Vec<_>>().join("\n"),
        Error::Refusal(Refusal::IdentifierTaken(taken)) => {
            let names = [(taken.email, "email"), (taken.username, "username"), (taken.name, "name")];
            let names: Vec<_> = names.into_iter().filter_map(|(taken, name)| taken.then_some(name)).collect();
            format!("another account has this {}", names.join(" and this "))
        }
        Error::Refusal(Refusal::AccountNotFound) => {
            "there is no such account; `doorward account list` shows them".into()
        }
        Error::Refusal(Refusal::SessionNotFound) => {
            "there is no such live session; `doorward session list ACCOUNT` shows them".into()
        }
        other => other.to_string(),
    }
}
