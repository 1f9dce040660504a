//! Where the rows are.

use std::time::Duration;

use crate::store::DatabaseUrl;

use super::values::{lifetime, switch};

/// Settings of the database.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Database")]
pub struct Database {
    /// Where accounts and sessions are kept: sqlite://PATH (created when missing) or postgres://USER:PASSWORD@HOST/NAME.
    #[arg(long, default_value = "sqlite://doorward.db")]
    pub database_url: DatabaseUrl,

    /// Connections to the database a node keeps at most, and threads that use them: as many on PostgreSQL, four times as many
    /// on SQLite, where most wait to write.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub database_connections: u32,

    /// How long a request waits for the database before it is answered 503: at most 30s.
    #[arg(long, default_value = "2s", value_parser = patience)]
    pub database_timeout: Duration,

    /// How long audit events are kept.
    #[arg(long, default_value = "400d", value_parser = lifetime)]
    pub audit_retention: Duration,

    /// Bring the tables to this version at start; false leaves it to `doorward migrate`.
    #[arg(long, default_value = "true", action = clap::ArgAction::Set, value_parser = switch)]
    pub auto_migrate: bool,
}

fn patience(text: &str) -> Result<Duration, String> {
    match lifetime(text)? {
        long if long > Duration::from_secs(30) => Err("nobody waits that long for a page; use at most 30s".to_owned()),
        short => Ok(short),
    }
}
