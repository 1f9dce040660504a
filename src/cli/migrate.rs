//! `doorward migrate`: brings the tables to this version, for those who start with AUTO_MIGRATE=false.

use super::console::say;
use crate::cli::error::Failure;
use crate::core::startup::{OpenError, migrate};
use crate::settings::Settings;

pub fn run(settings: &Settings) -> Result<(), Failure> {
    let ran = migrate(&settings.database.database_url).map_err(OpenError::Database)?;
    match ran.as_slice() {
        [] => say(&format!("{}: nothing to do", settings.database.database_url)),
        ran => ran.iter().for_each(|version| say(&format!("{}: ran {version}", settings.database.database_url))),
    }
    Ok(())
}
