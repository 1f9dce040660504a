//! Diagnosis of a database that cannot be opened: the cause and the way out, from the driver's message or from what is on the disk.
//! An operator who reads "start the database" where a folder is missing looks in the wrong place.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::store::{DatabaseUrl, OutageCause, StoreError};

/// Cause, place and way out, in one sentence.
pub fn diagnose(url: &DatabaseUrl, error: &StoreError) -> String {
    let message = error.to_string();
    match url {
        DatabaseUrl::Sqlite(path) => sqlite(path, error, &message),
        DatabaseUrl::Postgres(_) => match PHRASES.iter().find(|(phrase, _)| message.contains(phrase)) {
            Some((_, way_out)) => format!("{url}: {}; {way_out}", cause_of(error)),
            None => format!("{url}: {}", cause_of(error)),
        },
    }
}

/// Without the words that every error of the store begins with.
fn cause_of(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable { source, .. } | StoreError::Conflict { source } | StoreError::Broken(source) => {
            source.to_string()
        }
        other => other.to_string(),
    }
}

/// Phrases of libpq and of PostgreSQL, and what to do. The first that is found counts.
const PHRASES: [(&str, &str); 18] = [
    ("Connection refused", "nothing listens there: start PostgreSQL, or correct the host and the port"),
    ("could not translate host name", "correct the host, or the name server"),
    ("timeout expired", "no answer: correct the host, or let a firewall pass the port"),
    ("Network is unreachable", "correct the host, or the route to it"),
    ("No route to host", "correct the host, or let a firewall pass the port"),
    ("No such file or directory", "there is no socket of PostgreSQL: start it, or correct the folder in ?host="),
    (
        "password authentication failed",
        "the user or the password is wrong; in a URL, special characters are percent-encoded",
    ),
    ("no password supplied", "the server asks for a password: postgres://USER:PASSWORD@HOST/DATABASE"),
    (
        "no encryption",
        "the server takes TLS only: build doorward with --features postgres-tls and add ?sslmode=require",
    ),
    ("no pg_hba.conf entry", "the server allows this user no connection from here: add a line to its pg_hba.conf"),
    ("server does not support SSL", "remove sslmode, or turn TLS on at the server"),
    (
        "too many clients",
        "the server has no connection left: raise its max_connections, or lower DATABASE_CONNECTIONS of all nodes",
    ),
    (
        "remaining connection slots",
        "the server has no connection left: raise its max_connections, or lower DATABASE_CONNECTIONS of all nodes",
    ),
    ("the database system is", "wait until it has started"),
    ("role \"", "create the role, or correct the user"),
    ("database \"", "create the database, or correct its name"),
    (
        "permission denied",
        "the role lacks a right: let the owner of the tables run `doorward migrate`, and grant this role SELECT, INSERT, UPDATE and DELETE on them",
    ),
    (
        "unsupported startup parameter",
        "a pooler between here and the server refuses it; use PgBouncer with pool_mode=session",
    ),
];

fn sqlite(path: &Path, error: &StoreError, message: &str) -> String {
    let shown = path.display();
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let absolute = std::path::absolute(path).unwrap_or_else(|_unknown| path.to_owned());
    let absolute = absolute.display();
    if !folder.exists() {
        return format!("the folder of {absolute} does not exist; create it, or correct the path");
    }
    if path.is_dir() {
        return format!("{shown} is a directory; name the file in it");
    }
    if message.contains("file is not a database") {
        return format!("{shown} is not a SQLite database; correct the path, or restore a backup");
    }
    if message.contains("malformed") {
        return format!("{shown} is damaged ({}); restore a backup", cause_of(error));
    }
    if message.contains("Read-only file system") {
        return format!(
            "{absolute} is on a read-only file system; mount it writable, or set DATABASE_URL to a file that is"
        );
    }
    if is_denied(path)
        || message.contains("ermission denied")
        || message.contains("readonly")
        || message.contains("unable to open")
    {
        return format!(
            "{absolute} cannot be read and written: {}{}; SQLite also writes {} beside it, so the folder must be writable too",
            cause_of(error),
            ownership(path, folder),
            "-wal and -shm files"
        );
    }
    match error {
        StoreError::Unavailable { cause: OutageCause::Locked, .. } => {
            format!("{shown} is locked by another process ({}); end it, or wait for it", cause_of(error))
        }
        StoreError::Unavailable { cause: OutageCause::DiskFull, .. } => {
            format!("the disk of {absolute} is full; free some space")
        }
        _ => format!("{shown}: {}", cause_of(error)),
    }
}

fn is_denied(path: &Path) -> bool {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Owners and modes of the file and its folder, which an operator needs to correct them.
fn ownership(path: &Path, folder: &Path) -> String {
    let of = |path: &Path| {
        fs::metadata(path).ok().map(|found| {
            format!(
                "{} has owner {}, group {}, mode {:o}",
                path.display(),
                found.uid(),
                found.gid(),
                found.mode() & 0o777
            )
        })
    };
    let known: Vec<String> = [of(path), of(folder)].into_iter().flatten().collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(message: &str) -> String {
        let url = "postgres://app:hunter2secret@db.example/doorward".parse().unwrap();
        diagnose(&url, &StoreError::unavailable(OutageCause::Connection, message))
    }

    #[test]
    fn each_cause_of_postgres_has_its_way_out() {
        for (message, way_out) in [
            (
                "connection to server at \"db.example\" (10.0.0.1), port 5432 failed: Connection refused Is the server running",
                "nothing listens",
            ),
            ("could not translate host name \"db.example\" to address: Name or service not known", "correct the host"),
            ("connection to server at \"db.example\", port 5432 failed: timeout expired", "firewall"),
            ("connection to server on socket \"/tmp/.s.PGSQL.5432\" failed: No such file or directory", "no socket"),
            ("FATAL: password authentication failed for user \"app\"", "password is wrong"),
            ("fe_sendauth: no password supplied", "asks for a password"),
            (
                "FATAL: no pg_hba.conf entry for host \"10.0.0.2\", user \"app\", database \"x\", no encryption",
                "postgres-tls",
            ),
            (
                "FATAL: no pg_hba.conf entry for host \"10.0.0.2\", user \"app\", database \"x\", SSL encryption",
                "pg_hba.conf",
            ),
            ("server does not support SSL, but SSL was required", "remove sslmode"),
            ("FATAL: sorry, too many clients already", "max_connections"),
            ("FATAL: role \"app\" does not exist", "create the role"),
            ("FATAL: database \"doorward\" does not exist", "create the database"),
            ("permission denied for schema public", "doorward migrate"),
            ("FATAL: the database system is starting up", "wait"),
        ] {
            let diagnosis = postgres(message);
            assert!(
                diagnosis.contains(way_out) && diagnosis.starts_with("PostgreSQL db.example/doorward: "),
                "{diagnosis}"
            );
            assert!(!diagnosis.contains("hunter2") && !diagnosis.contains("start the database"), "{diagnosis}");
        }
    }

    #[test]
    fn each_cause_of_sqlite_names_what_is_wrong_with_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        fs::write(&file, "text").unwrap();
        let missing = folder.path().join("none/a.db");
        let cases = [
            (missing.as_path(), "unable to open database file", "does not exist"),
            (folder.path(), "unable to open database file", "is a directory"),
            (file.as_path(), "file is not a database", "is not a SQLite database"),
            (file.as_path(), "database disk image is malformed", "restore a backup"),
            (file.as_path(), "Read-only file system (os error 30)", "read-only file system"),
            (file.as_path(), "Permission denied (os error 13)", "has owner"),
            (file.as_path(), "unable to open database file", "-wal and -shm"),
        ];
        for (path, message, expected) in cases {
            let error = StoreError::unavailable(OutageCause::Storage, message);
            let diagnosis = diagnose(&DatabaseUrl::Sqlite(path.to_owned()), &error);
            assert!(
                diagnosis.contains(expected) && diagnosis.contains(&*folder.path().display().to_string()),
                "{diagnosis}"
            );
        }
    }
}
