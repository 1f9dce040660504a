//! `doorward migrate`: runs pending database migrations, for services that start with AUTO_MIGRATE=false.

use super::console::print_line;
use crate::cli::error::CommandError;
use crate::core::startup::migrate;
use crate::settings::Settings;

pub fn run(settings: &Settings) -> Result<(), CommandError> {
    let migrations = migrate(&settings.database.database_url)?;
    match migrations.as_slice() {
        [] => print_line(&format!("{}: no pending migrations", settings.database.database_url)),
        versions => versions
            .iter()
            .for_each(|version| print_line(&format!("{}: migrated to {version}", settings.database.database_url))),
    }
    Ok(())
}
