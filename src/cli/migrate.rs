//! `doorward migrate`: runs pending database migrations, for services that start with AUTO_MIGRATE=false and for a first start that
//! commands precede.

use super::console::print_line;
use crate::cli::error::CommandError;
use crate::core::startup::migrate;
use crate::settings::Settings;

pub fn run(settings: &Settings) -> Result<(), CommandError> {
    let url = &settings.database.database_url;
    let made = migrate(settings)?;
    if made.migrations.is_empty() {
        print_line(&format!("{url}: no pending migrations"));
    }
    made.migrations.iter().for_each(|version| print_line(&format!("{url}: migrated to {version}")));
    match made.keys {
        Some((file, Ok(true))) => print_line(&format!("{}: keys created; keep a backup", file.display())),
        // Where migrations run on another machine than the service, its keys are no concern of theirs.
        Some((_, Err(error))) => {
            print_line(&format!("keys not created: {error}; the first `doorward serve` creates them"));
        }
        Some((_, Ok(false))) | None => {}
    }
    Ok(())
}
