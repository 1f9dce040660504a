//! What is mounted where, and what each mount says in its own shape when it is not its fault: a page of another origin, a
//! database that is away.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use doorward::testing::TestService;

use crate::support::http::{Request, Response};
use crate::support::postgres::psql;
use crate::support::{Backend, Tables, on_both_backends};

on_both_backends!(
    only_configured_mounts_are_served,
    any_dialect_can_be_mounted_at_the_root,
    every_mount_refuses_a_cross_site_request_in_its_own_shape,
    every_mount_reports_a_database_outage_in_its_own_shape_and_recovers,
);

/// A sign-in of each mount, and a key that only its errors have.
const SIGN_INS: [(&str, &str, &str); 6] = [
    ("/auth/login", r#"{"username":"emilys","password":"emilyspass"}"#, "requestId"),
    ("/flat/auth/login", r#"{"username":"emilys","password":"emilyspass"}"#, "message"),
    ("/store/auth/signin", r#"{"login":"emilys","password":"emilyspass"}"#, "path"),
    ("/signin/api/v1/auths/sign-in", r#"{"username":"emilys","password":"emilyspass"}"#, "statusCode"),
    ("/pin/auth/login", r#"{"name":"cooluser1","pin":"0000"}"#, "message"),
    ("/envelope/auth/login", r#"{"email":"emily.johnson@x.dummyjson.com","password":"emilyspass"}"#, "success"),
];

fn post(service: &TestService, path: &str, json: &str) -> Response {
    Request::new("POST", path).json(json).send(service.address())
}

fn sign_ins(service: &TestService) -> Vec<u16> {
    SIGN_INS.iter().map(|(path, json, _)| post(service, path, json).status).collect()
}

fn only_configured_mounts_are_served(backend: Backend) {
    let service = backend.service().demo().set("DIALECTS", "native=/,pin=/pos").start();
    assert_eq!(sign_ins(&service), [200, 404, 404, 404, 404, 404]);
    assert_eq!(post(&service, "/pos/auth/login", SIGN_INS[4].1).status, 200);
}

fn any_dialect_can_be_mounted_at_the_root(backend: Backend) {
    let service = backend.service().demo().set("DIALECTS", "flat=/").start();
    let answer = post(&service, "/auth/login", SIGN_INS[1].1);
    assert_eq!((answer.status, answer.json()["id"].as_i64()), (200, Some(1)));
    let lost = Request::new("GET", "/nowhere").send(service.address());
    assert_eq!((lost.status, lost.json().as_object().map(serde_json::Map::len)), (404, Some(1)), "flat's own shape");
    assert_eq!(Request::new("GET", "/healthz").send(service.address()).status, 200);
}

fn every_mount_refuses_a_cross_site_request_in_its_own_shape(backend: Backend) {
    let service = backend.service().demo().start();
    for (path, json, key) in SIGN_INS {
        let request = Request::new("POST", path).header("origin", "https://evil.example").json(json);
        let answer = request.send(service.address());
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.json().get(key).is_some(), "{path}: {}", answer.text());
        assert!(answer.set_cookies().is_empty(), "{path}");
    }
}

/// Takes the database away until it is dropped.
pub enum Away {
    /// A lock that another process holds.
    Locked(SqliteConnection),
    /// A server that refuses.
    Refusing(String),
}

impl Away {
    pub fn take(tables: &Tables, folder: &Path) -> Self {
        match tables {
            Tables::Sqlite => {
                let path = folder.join("doorward.db");
                let mut db = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
                db.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
                Self::Locked(db)
            }
            Tables::Postgres(url) => {
                let name = url.split('/').nth(3).and_then(|rest| rest.split('?').next()).unwrap();
                psql("postgres", &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname =";
                psql("postgres", &format!("{end} '{name}'"));
                Self::Refusing(name.to_owned())
            }
        }
    }

    pub fn give_back(self) {
        match self {
            Self::Locked(mut db) => db.batch_execute("ROLLBACK").unwrap(),
            Self::Refusing(name) => {
                psql("postgres", &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
            }
        }
    }
}

fn every_mount_reports_a_database_outage_in_its_own_shape_and_recovers(backend: Backend) {
    let (service, tables) = backend.service_and_tables();
    let service = service.set("DATABASE_TIMEOUT", "2s").demo().start();
    let away = Away::take(&tables, service.folder());
    for (path, json, key) in SIGN_INS {
        let answer = post(&service, path, json);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{path}: {}", answer.text());
        assert!(answer.json().get(key).is_some(), "{path}: {}", answer.text());
        assert!(answer.set_cookies().is_empty(), "{path}");
    }
    assert_eq!(Request::new("GET", "/healthz").send(service.address()).status, 200);
    away.give_back();
    assert_eq!(sign_ins(&service), [200; 6]);
}
