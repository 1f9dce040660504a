//! Embedding: the example of a service with doorward as a library, compiled and run as a process.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use actix_web::web::{self, ServiceConfig};
use actix_web_httpauth::middleware::HttpAuthentication;
use doorward::Caller;
use doorward::web::request::caller::bearer_validator;

use crate::support::http::{Browser, Request};
use crate::support::{Backend, PASSWORD, on_both_backends, register};

on_both_backends!(the_example_serves_notes_to_signed_in_users_only, bearer_validator_guards_a_route_by_httpauth,);

struct Example {
    process: Child,
    address: SocketAddr,
    database: String,
    folder: tempfile::TempDir,
}

impl Example {
    fn vars(&self) -> [(&str, &str); 3] {
        [("TEST_MODE", "true"), ("BCRYPT_COST", "4"), ("DATABASE_URL", &self.database)]
    }

    /// By the command line, on the same database and keys.
    fn add_administrator(&self, name: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        command
            .env_clear()
            .envs(self.vars())
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        command.args(["account", "add", "--username", name, "--role", "ADMIN", "--password-stdin"]);
        let mut added = command.spawn().unwrap();
        added.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
        assert!(added.wait().unwrap().success());
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Cargo builds examples beside the tests: `target/PROFILE/examples/NAME`.
fn example() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().and_then(|deps| deps.parent()).unwrap().join("examples/protected_app")
}

fn start(backend: Backend) -> Example {
    let folder = tempfile::tempdir().unwrap();
    let database = match backend {
        Backend::Sqlite => "sqlite://doorward.db".to_owned(),
        Backend::Postgres => crate::support::postgres::new_database(),
    };
    let vars = [
        ("BIND", "127.0.0.1:0"),
        ("TEST_MODE", "true"),
        ("BCRYPT_COST", "4"),
        ("DATABASE_URL", &database),
        // An identity has no email otherwise until it is verified.
        ("REMOTE_EMAIL_UNPROVED", "true"),
    ];
    let command =
        Command::new(example()).env_clear().envs(vars).current_dir(folder.path()).stdout(Stdio::piped()).spawn();
    let mut process = command.unwrap_or_else(|why| panic!("{} does not start: {why}", example().display()));
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let address = line.strip_prefix("listening on http://").unwrap().parse().unwrap();
    Example { process, address, database, folder }
}

fn the_example_serves_notes_to_signed_in_users_only(backend: Backend) {
    let example = start(backend);
    let stranger = Request::new("GET", "/notes").send(example.address);
    assert_eq!(stranger.status, 401);
    assert_eq!(stranger.header("www-authenticate"), Some("Bearer realm=\"doorward\""));

    let mut emily = Browser::new(example.address);
    let account = format!(r#"{{"username":"emily","email":"emily@example.com","password":"{PASSWORD}"}}"#);
    assert_eq!(emily.post("/auth/register", &account).status, 201);
    let noted = emily.post("/notes", "buy bread");
    assert_eq!((noted.status, noted.text().as_str()), (200, "noted for emily <emily@example.com>\n"));
    assert_eq!(emily.get("/notes").json(), serde_json::json!(["buy bread"]));

    let mut ben = Browser::new(example.address);
    assert_eq!(ben.post("/auth/register", &account.replace("emily", "benjamin")).status, 201);
    assert_eq!(ben.get("/notes").json(), serde_json::json!([]), "everybody has their own");

    let refused = ben.get("/count");
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (403, Some("permission_denied")),
        "a role is required"
    );
    assert_eq!(Request::new("GET", "/count").send(example.address).status, 401);
    example.add_administrator("root");
    let mut root = Browser::new(example.address);
    let sign_in = format!(r#"{{"username":"root","password":"{PASSWORD}"}}"#);
    assert_eq!(root.post("/auth/login", &sign_in).status, 200);
    assert_eq!((root.get("/count").status, root.get("/count").text().as_str()), (200, "1"));
    let unknown = root.get("/nowhere");
    assert_eq!((unknown.status, unknown.text().as_str()), (404, ""), "unknown paths are the app's");
    let below = root.get("/auth/nowhere");
    assert_eq!(
        (below.status, below.json()["code"].as_str()),
        (404, Some("route_not_found")),
        "those under /auth doorward's"
    );

    let forged = Request::new("POST", "/notes").header("origin", "http://evil.example").json("x");
    assert_eq!(emily.send(forged).status, 403, "a page of another origin adds nothing");
    assert_eq!(emily.get("/notes").json(), serde_json::json!(["buy bread"]));

    let mut thief = emily.clone();
    assert_eq!(emily.post_empty("/auth/logout").status, 200);
    assert_eq!(thief.get("/notes").status, 401, "a logout counts for the app's own routes too");
}

fn routes_by_httpauth(app: &mut ServiceConfig) {
    let guarded = web::scope("/guarded").wrap(HttpAuthentication::with_fn(bearer_validator));
    app.service(guarded.route("/role", web::get().to(|caller: Caller| async move { caller.role })));
}

fn bearer_validator_guards_a_route_by_httpauth(backend: Backend) {
    let service = backend.service().routes(routes_by_httpauth).start();
    let token = register(&service, "emily").cookie("accessToken").unwrap();
    let role = || Request::new("GET", "/guarded/role");
    assert_eq!(role().bearer(&token).send(service.address()).text(), "USER");
    let refused = [
        ("no header", role(), 401, "token_missing"),
        ("a cookie", role().cookie_header(&format!("accessToken={token}")), 401, "token_missing"),
        ("another token", role().bearer("a.b.c"), 401, "token_invalid"),
        ("two headers", role().bearer(&token).bearer(&token), 400, "authorization_malformed"),
    ];
    for (case, request, status, code) in refused {
        let response = request.send(service.address());
        assert_eq!((response.status, response.json()["code"].as_str()), (status, Some(code)), "{case}");
        assert!(response.header("www-authenticate").unwrap().starts_with("Bearer realm="), "{case}");
    }
    assert_eq!(Request::new("POST", "/auth/logout").bearer(&token).send(service.address()).status, 200);
    let ended = role().bearer(&token).send(service.address());
    assert_eq!((ended.status, ended.json()["code"].as_str()), (401, Some("session_ended")));
}
