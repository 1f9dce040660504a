//! Database settings: where accounts and sessions are stored, connection limits, timeouts and retention.

use std::time::Duration;

use crate::store::DatabaseUrl;

use super::values::{InvalidValue, boolean, lifetime, number};

/// Settings of the database.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseSettings {
    /// The database of accounts and sessions: sqlite://PATH (created if it does not exist) or
    /// postgres://USER:PASSWORD@HOST/NAME.
    #[arg(long, default_value = "sqlite://doorward.db")]
    pub database_url: DatabaseUrl,

    /// The maximum number of database connections per node. The number of threads that use them is the same on PostgreSQL
    /// and four times as high on SQLite, where most threads wait to write.
    #[arg(long, default_value_t = 8, value_parser = |text: &str| number::<u32>(text, 1..=256))]
    pub database_connections: u32,

    /// How long a request waits for the database before it is answered with 503: at most 30s.
    #[arg(long, default_value = "2s", value_parser = request_timeout)]
    pub database_timeout: Duration,

    /// How long audit events are retained.
    #[arg(long, default_value = "400d", value_parser = lifetime)]
    pub audit_retention: Duration,

    /// Run pending migrations at start. With `false`, run `doorward migrate`.
    #[arg(long, default_value = "true", action = clap::ArgAction::Set, value_parser = boolean)]
    pub auto_migrate: bool,
}

/// Bounded because a waiting request holds a worker's place and its client gives up sooner.
fn request_timeout(text: &str) -> Result<Duration, InvalidValue> {
    match lifetime(text)? {
        long if long > Duration::from_secs(30) => {
            Err(InvalidValue::new(format!("{text} is too long: clients give up before; use at most 30s")))
        }
        short => Ok(short),
    }
}
