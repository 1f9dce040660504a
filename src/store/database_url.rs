//! The database URL: which backend and where, from `DATABASE_URL`. Connections are opened by connection.rs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The value of `DATABASE_URL`. Neither its display nor its debug text shows a PostgreSQL password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite://PATH`: a file, created when missing.
    Sqlite(PathBuf),
    /// `postgres://…`: handed to libpq as it is.
    Postgres(String),
}

impl DatabaseUrl {
    /// The SQLite file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    /// Refuses every scheme but the two: a mistyped `postgres:name` must not become a SQLite file of that name.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            return match path {
                "" => Err(DatabaseUrlError::NoFile),
                path if path.contains(":memory:") => Err(DatabaseUrlError::InMemory),
                path if path.contains('?') => Err(DatabaseUrlError::SqliteParameters),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(DatabaseUrlError::Scheme);
        }
        if cfg!(not(feature = "postgres-tls")) && ["sslmode=require", "sslmode=verify"].iter().any(|m| url.contains(m))
        {
            return Err(DatabaseUrlError::NoTls);
        }
        check_postgres(url)?;
        // libpq's own message would quote the part that it cannot read, which is usually the password.
        let escapes = url
            .match_indices('%')
            .all(|(at, _)| url.get(at + 1..at + 3).is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit())));
        if escapes { Ok(Self::Postgres(url.to_owned())) } else { Err(DatabaseUrlError::Escape) }
    }
}

/// The parameters of libpq that a URL may have.
const PARAMETERS: [&str; 34] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "options",
    "passfile",
    "password",
    "port",
    "replication",
    "require_auth",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcompression",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

/// Refuses what libpq would take apart in another place than its writer meant, or refuse with a message that quotes it: a piece of a
/// password with an unescaped special character would become a host name in an error.
fn check_postgres(url: &str) -> Result<(), DatabaseUrlError> {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    if authority.matches('@').count() > 1 || after.contains('@') || after.starts_with('#') {
        return Err(DatabaseUrlError::Password);
    }
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.matches(':').count() > 1 {
        return Err(DatabaseUrlError::Password);
    }
    let has_port = |host: &str| {
        let after_address = host.rsplit_once(']').map_or(host, |(_, port)| port);
        after_address.split_once(':').is_none_or(|(_, port)| port.is_empty() || port.parse::<u16>().is_ok())
    };
    if !hosts.split(',').all(has_port) {
        return Err(DatabaseUrlError::Port);
    }
    let query = after.split_once('?').map_or("", |(_, query)| query);
    let is_parameter = |part: &str| {
        let name = part.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| PARAMETERS.contains(&name) || matches!(name, "tcp_user_timeout" | "ssl" | "sslsni"))
    };
    if query.is_empty() || query.split('&').all(is_parameter) { Ok(()) } else { Err(DatabaseUrlError::Parameter) }
}

/// Why a text is not a database URL. Never quotes it: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Another scheme, or none.
    #[error("use sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE")]
    Scheme,
    /// SQLite without a path.
    #[error("no file named; use sqlite://doorward.db, or sqlite:///var/lib/doorward/doorward.db")]
    NoFile,
    /// SQLite in memory.
    #[error("an in-memory database cannot be shared by connections; use a file in a temporary folder")]
    InMemory,
    /// SQLite with a query string.
    #[error("a SQLite URL takes no parameters; use sqlite://PATH")]
    SqliteParameters,
    /// PostgreSQL over TLS, in a build without it.
    #[error("this build has no TLS to PostgreSQL; build it with --features postgres-tls, or drop sslmode")]
    NoTls,
    /// A special character that ends the password early.
    #[error(
        "the password has a special character that ends it early; percent-encode @ as %40, : as %3A, / as %2F, ? as %3F and # as %23, \
         or leave the @ out of database name and parameters"
    )]
    Password,
    /// A port that is no number.
    #[error(
        "the port is not a number; write HOST:PORT, and percent-encode special characters of the password (: as %3A, / as %2F)"
    )]
    Port,
    /// A parameter that libpq does not know.
    #[error(
        "a parameter after the ? is not one of libpq's; write ?NAME=VALUE&NAME=VALUE, and percent-encode a ? of the password as %3F"
    )]
    Parameter,
    /// A percent sign without two hexadecimal digits.
    #[error("a % in it is no escape; write %25 for a % in the password")]
    Escape,
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "SQLite {}", path.display()),
            Self::Postgres(url) => {
                let rest = url.split("://").nth(1).unwrap_or_default();
                let rest = rest.split('?').next().unwrap_or_default();
                let (server, name) = rest.split_once('/').unwrap_or((rest, ""));
                let server = server.rsplit_once('@').map_or(server, |(_, server)| server);
                // An @ after the slash means that the password has an unescaped one of the two: then no part is shown.
                if name.contains('@') { f.write_str("PostgreSQL") } else { write!(f, "PostgreSQL {server}/{name}") }
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_schemes_are_accepted() {
        for wrong in
            ["postgres:name", "doorward.db", "mysql://x", "sqlite://", "sqlite://:memory:", "", "sqlite://a?b=c"]
        {
            assert!(wrong.parse::<DatabaseUrl>().is_err(), "{wrong}");
        }
        assert_eq!("sqlite:///tmp/a.db".parse(), Ok(DatabaseUrl::Sqlite("/tmp/a.db".into())));
        assert!("postgresql://localhost/x".parse::<DatabaseUrl>().is_ok());
    }

    #[test]
    fn a_password_with_special_characters_must_be_escaped_and_is_never_quoted() {
        for wrong in [
            "postgres://app:a@b:hunter2secret/z@db.example/doorward",
            "postgres://app:hunter2@secret@db.example/doorward",
            "postgres://app:hunter2/secret@db.example/doorward",
            "postgres://app:hunter2?secret@db.example/doorward",
            "postgres://app:hunter2#secret@db.example/doorward",
            "postgres://app:hunter2:secret@db.example/doorward",
            "postgres://app@db.example:hunter2secret/doorward",
            "postgres://app@db.example/doorward?hunter2secret",
            "postgres://app@db.example/doorward?hunter2secret=x",
            "postgres://app:hunter2%secret@db.example/doorward",
        ] {
            let error = wrong.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(!error.contains("hunter2") && !error.contains("secret"), "{wrong}: {error}");
        }
        for right in [
            "postgres://app:a%40b%3Ahunter2%2Fz@db.example:5432/doorward?sslmode=prefer&connect_timeout=3",
            "postgres://app:p%23q!$&*()[]^~@h1,h2:5433/x",
            "postgres://[::1]:5432/x",
            "postgres:///x?host=/tmp&user=app&password=hunter2",
            "postgres://app@/x",
            "postgres://h",
        ] {
            assert!(right.parse::<DatabaseUrl>().is_ok(), "{right}");
        }
    }

    #[test]
    fn neither_text_shows_the_password() {
        let url: DatabaseUrl = "postgres://me:hunter2@db.example/doorward?password=hunter2".parse().unwrap();
        assert_eq!(format!("{url} {url:?}"), "PostgreSQL db.example/doorward PostgreSQL db.example/doorward");
    }
}
