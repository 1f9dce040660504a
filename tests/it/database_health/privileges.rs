//! What a start asks of the database: no right to create anything when there is nothing to create, and UTF-8.

use serde_json::json;

use crate::support::postgres::{database_of, new_database, psql};
use crate::support::process::WorkDir;
use crate::support::{Backend, on_postgres, on_sqlite};

on_postgres!(a_role_with_rows_only_serves, another_encoding_is_refused);
on_sqlite!(another_encoding_of_sqlite_is_refused);

/// The tables were made by another role, as where `doorward migrate` runs as their owner.
fn a_role_with_rows_only_serves() {
    let workdir = WorkDir::on(Backend::Postgres);
    workdir.succeed(&["migrate"], "");
    let url = workdir.value("DATABASE_URL");
    let role = format!("rows_only_{}", database_of(&url));
    psql(&url, &format!("CREATE ROLE {role} LOGIN"));
    psql(&url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    psql(&url, &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"));
    psql(&url, &format!("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"));
    let url = url.replace("doorward@", &format!("{role}@"));
    for auto_migrate in ["false", "true"] {
        let reader = WorkDir::on(Backend::Postgres).set("DATABASE_URL", &url).set("AUTO_MIGRATE", auto_migrate);
        let workdir = reader.set("KEYS_FILE", workdir.file("shared.keys").display().to_string());
        let node = workdir.serve(&["serve"]);
        let name = format!("emily{auto_migrate}");
        let body = json!({ "username": name, "password": "correct horse battery" });
        assert_eq!(node.post("/auth/register", &body).status, 201);
        assert_eq!(node.get("/readyz").status, 200);
        let ran = workdir.run(&["doctor"]);
        assert!(ran.stdout.contains("is reachable and up to date"), "{ran:?}");
    }
}

fn another_encoding_is_refused() {
    for encoding in ["LATIN1", "SQL_ASCII", "EUC_JP"] {
        let url = new_database();
        let other = format!("{}_{}", database_of(&url), encoding.to_lowercase());
        psql(
            "postgres",
            &format!("CREATE DATABASE {other} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"),
        );
        let workdir = WorkDir::on(Backend::Postgres).set("DATABASE_URL", url.replace(database_of(&url), &other));
        for arguments in [&["serve"][..], &["migrate"], &["doctor"]] {
            let ran = workdir.run(arguments);
            let told = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!ran.status.success() && told.contains(&format!("is {encoding}, which cannot hold")), "{ran:?}");
        }
        assert!(!workdir.file("doorward.keys").exists());
    }
}

fn another_encoding_of_sqlite_is_refused() {
    use diesel::connection::SimpleConnection;
    use diesel::{Connection, SqliteConnection};
    for encoding in ["UTF-16le", "UTF-16be"] {
        let workdir = WorkDir::on(Backend::Sqlite);
        let path = workdir.file("doorward.db").display().to_string();
        let sql = format!("PRAGMA encoding = '{encoding}'; CREATE TABLE notes (n TEXT)");
        SqliteConnection::establish(&path).unwrap().batch_execute(&sql).unwrap();
        let ran = workdir.run(&["serve"]);
        assert!(!ran.status.success() && ran.stderr.contains(encoding), "{ran:?}");
    }
}
