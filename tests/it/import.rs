//! `doorward import` as an operator runs it, and the sign-ins of imported accounts. The hashes were made by Python's
//! bcrypt, argon2-cffi, passlib, hashlib and Django 5.2.

mod account_fields;
mod flat_format;
mod hash_schemes;
mod rejected_lines;
mod repeated_runs;
mod vendor_formats;

use serde_json::{Value, json};

use crate::support::http::{Request, Response};
use crate::support::process::{CommandOutput, Node, WorkDir};
use crate::support::{Backend, postgres};

/// The password behind every hash of `KNOWN`.
const PASSWORD: &str = "correct horse";

/// User names, each with a hash of `PASSWORD`.
const KNOWN: [(&str, &str); 14] = [
    ("bcrypt-2a", "$2a$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2"),
    ("bcrypt-2b", "$2b$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2"),
    ("bcrypt-2y", "$2y$04$mFHPM7IeXN4lhvu/tHkFH.5YRKmSkf54XuCJE7s2AZulxxk0uHBD2"),
    ("argon2i", "$argon2i$v=19$m=64,t=2,p=1$F3LOMo6Ddg+lGxUj8lCNKg$XJauIjnoisV7hzkCAESP0BDJ7QYdlUEirqrm/ZJSa4Y"),
    ("argon2id", "$argon2id$v=19$m=64,t=1,p=2$tKDW+5HDjBvWMHtn6UnmNw$u6d1tj8HLTcoEFfAH+9b/+kihkiWNKkPtDwuUdcbBk4"),
    (
        "django-argon2",
        "argon2$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0MTIzNA$tp5nQ7CZw1YdsTZ2DUssx5VmN0Y7dNAozQkVpFUQoKw",
    ),
    ("django-bcrypt", "bcrypt$$2b$04$HEerVNnyamyLxXxY9ASvQuOHqZ6N9XyA9EueHpHZqzkhhrblbKVJK"),
    ("django-pbkdf2", "pbkdf2_sha256$1000$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso="),
    ("django-pbkdf2-sha1", "pbkdf2_sha1$1000$seasalt$iQvkNOF1wEL4Khh8eogJ8rUhipM="),
    (
        "django-scrypt",
        "scrypt$64$seasalt$8$2$vsF1MWQL1vJXDApgjYRuO8AWAYXwebFmaDKkcOnQQf7zn2oP4lknTRsNFXwA+xnT6V6NhveCgCif59+5/Im0rw==",
    ),
    ("passlib-pbkdf2", "$pbkdf2-sha256$1000$y7l3jvG.txYixPjf2/t/zw$8U7HLgERXJ75vYqpgKeeez3hon0PcOAOzfIMPLqoP0w"),
    (
        "passlib-pbkdf2-sha512",
        "$pbkdf2-sha512$1000$yrm3FsI4Z2zt3TuHkFKq9Q$CUtem2vB/scVArUXslIybsKDmK9P0OCqxjPatChMFMCasCJrNpLx0GRphOo8ugDaOtgWaddT/S/HNX5qUwIjNQ",
    ),
    ("phc-pbkdf2", "$pbkdf2-sha256$i=1000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$cBg8D2DungRB9k76szThf5ehfyBz991ay6PT8Srwk4M"),
    ("phc-scrypt", "$scrypt$ln=6,r=4,p=3$MDEyMzQ1Njc4OWFiY2RlZg$QOtp2NimbQZA+wwgIKZuGK7BLC57zacR0W8ECBjCNSA"),
];

/// A hash for accounts that never sign in.
const SOME_HASH: &str = KNOWN[7].1;

/// A folder in which imports run, and its database.
struct Workspace {
    workdir: WorkDir,
    postgres: Option<String>,
}

impl Workspace {
    fn on(backend: Backend) -> Self {
        let workdir = WorkDir::on(Backend::Sqlite).set("THROTTLE_FREE_FAILURES", "off");
        match backend {
            Backend::Sqlite => Self { workdir, postgres: None },
            Backend::Postgres => {
                let url = postgres::new_database();
                Self { workdir: workdir.set("DATABASE_URL", url.clone()), postgres: Some(url) }
            }
        }
    }

    /// Writes a file of these lines.
    fn file(&self, lines: &[String]) -> &'static str {
        std::fs::write(self.workdir.file("accounts.jsonl"), lines.join("\n")).unwrap();
        "accounts.jsonl"
    }

    /// Imports these lines.
    fn import(&self, arguments: &[&str], lines: &[Value]) -> CommandOutput {
        self.import_text(arguments, &lines.iter().map(Value::to_string).collect::<Vec<_>>())
    }

    fn import_text(&self, arguments: &[&str], lines: &[String]) -> CommandOutput {
        let file = self.file(lines);
        self.workdir.run(&[&["import", file], arguments].concat())
    }

    /// Imports lines that are all valid.
    fn succeed(&self, arguments: &[&str], lines: &[Value]) -> String {
        let ran = self.import(arguments, lines);
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
        ran.stdout
    }

    /// The number of accounts that satisfy a condition.
    fn count(&self, condition: &str) -> i64 {
        let query = format!("SELECT count(*) FROM accounts WHERE {condition}");
        match &self.postgres {
            Some(url) => postgres::psql(url, &query).parse().unwrap(),
            None => number_in_sqlite(&self.workdir, &query),
        }
    }
}

fn number_in_sqlite(workdir: &WorkDir, query: &str) -> i64 {
    use diesel::{Connection, RunQueryDsl, SqliteConnection, dsl::sql, select, sql_types::BigInt};

    let mut db = SqliteConnection::establish(&workdir.file("doorward.db").display().to_string()).unwrap();
    select(sql::<BigInt>(&format!("({query})"))).get_result(&mut db).unwrap()
}

/// An account that never signs in.
fn someone(username: &str) -> Value {
    json!({ "username": username, "passwordHash": SOME_HASH })
}

fn login(node: &Node, username: &str, password: &str) -> Response {
    node.post("/auth/login", &json!({ "username": username, "password": password, "tokens": "body" }))
}

fn status(node: &Node, username: &str, password: &str) -> u16 {
    login(node, username, password).status
}

/// The answer of `GET /auth/me` at this mount.
fn me(node: &Node, mount: &str, access: &Value) -> Value {
    let answer = node.send(&Request::new("GET", &format!("{mount}/auth/me")).bearer(access.as_str().unwrap()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}
