//! `doorward migrate`: brings the tables to this version, for those who start with AUTO_MIGRATE=false.

use super::console::print_line;
use crate::cli::error::CommandError;
use crate::core::startup::{OpenError, migrate};
use crate::settings::Settings;

pub fn run(settings: &Settings) -> Result<(), CommandError> {
    let ran = migrate(&settings.database.database_url).map_err(OpenError::Database)?;
    match ran.as_slice() {
        [] => print_line(&format!("{}: nothing to do", settings.database.database_url)),
        ran => ran.iter().for_each(|version| print_line(&format!("{}: ran {version}", settings.database.database_url))),
    }
    Ok(())
}
