//! Delivery confirmations and a crash: confirmations wait in memory until housekeeping flushes them, so a kill loses
//! some. No session is lost by that, and token theft is detected again after the next flush.

use diesel::{Connection, PgConnection, RunQueryDsl, SqliteConnection, sql_query};

use super::ledger::{Wire, tokens_of};
use super::rows::Rows;
use super::{start, workdir_on};
use crate::support::process::{PATIENCE, until};
use crate::support::{Backend, PASSWORD, Tokens, on_both_backends};

on_both_backends!(a_crash_before_a_confirmation_is_flushed_loses_no_session);

const RECEIPTS: &str = "SELECT count(*) FROM sessions WHERE confirmed_at IS NOT NULL";

/// Locks the sessions against writers until dropped; readers continue.
enum Hold {
    Sqlite { _db: SqliteConnection },
    Postgres { _db: PgConnection },
}

impl Hold {
    fn of(rows: &Rows) -> Self {
        match rows {
            Rows::Sqlite(file) => {
                let mut db = SqliteConnection::establish(&file.to_string_lossy()).unwrap();
                sql_query("PRAGMA busy_timeout = 20000").execute(&mut db).unwrap();
                sql_query("BEGIN IMMEDIATE").execute(&mut db).unwrap();
                Self::Sqlite { _db: db }
            }
            Rows::Postgres(url) => {
                let mut db = PgConnection::establish(url).unwrap();
                sql_query("BEGIN").execute(&mut db).unwrap();
                sql_query("LOCK TABLE sessions IN EXCLUSIVE MODE").execute(&mut db).unwrap();
                Self::Postgres { _db: db }
            }
        }
    }
}

fn a_crash_before_a_confirmation_is_flushed_loses_no_session(backend: Backend) {
    // Without grace a confirmation decides immediately: the former token is a thief's.
    let workdir = workdir_on(backend).set("REFRESH_GRACE", "0");
    let rows = Rows::of(&workdir, backend);
    let (node, _) = start(&workdir);
    let wire = Wire(node.address());
    let body = serde_json::json!({ "username": "emily", "password": PASSWORD, "tokens": "body" });
    let first = tokens_of(&node.post("/auth/register", &body), 201);
    let second = refreshed(wire, &first);
    let hold = Hold::of(&rows);
    assert_eq!(wire.me(&second.access).unwrap().status, 200, "which marks the second generation");
    drop(node);
    drop(hold);

    let (node, _) = start(&workdir);
    let wire = Wire(node.address());
    assert_eq!(rows.number(RECEIPTS), 0, "the mark was lost with the process");
    assert_eq!(refreshed(wire, &first).refresh, second.refresh, "a tab that is late gets what the others have");
    assert_eq!(wire.me(&second.access).unwrap().status, 200);
    until(PATIENCE, "the receipt in the table", || (rows.number(RECEIPTS) == 1).then_some(()));
    let third = refreshed(wire, &second);
    assert_ne!(third.refresh, second.refresh, "a receipt lets the next rotation happen");
    assert_eq!(wire.me(&third.access).unwrap().status, 200);
    until(PATIENCE, "the receipt in the table", || (rows.number(RECEIPTS) == 1).then_some(()));

    drop(node);
    let (node, _) = start(&workdir);
    let wire = Wire(node.address());
    let stolen = wire.refresh(&second.refresh).unwrap();
    assert_eq!((stolen.status, stolen.json()["code"].as_str()), (401, Some("refresh_token_reused")));
    assert_eq!(wire.me(&third.access).unwrap().status, 401, "a receipt that was written outlives a kill");
}

fn refreshed(wire: Wire, with: &Tokens) -> Tokens {
    tokens_of(&wire.refresh(&with.refresh).unwrap(), 200)
}
