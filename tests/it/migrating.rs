//! docs/migrating.md: its nginx and Caddy files split the paths of a dialect at the root from the rest of the old API.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::proxies::configurations::{caddy_command, nginx_command};
use crate::proxies::upstream_app::App;
use crate::support::child_server::Daemon;
use crate::support::http::{Request, Response};
use crate::support::process::WorkDir;
use crate::support::project::document;

const HOST: &str = "api.example.com";

/// The block of a language in the document.
fn block(language: &str) -> String {
    let text = document("docs/migrating.md");
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap_or_else(|| panic!("no block of {language}"));
    rest.split("```").next().unwrap().to_owned()
}

/// Replaces texts, each of which must be present.
fn with(mut text: String, replacements: &[(&str, &str)]) -> String {
    for (old, new) in replacements {
        assert!(text.contains(old), "{old:?} is not in {text}");
        text = text.replace(old, new);
    }
    text
}

fn nginx(folder: &Path, listen: SocketAddr, doorward: &str, old: &str) -> Command {
    let site = with(
        block("nginx"),
        &[
            ("127.0.0.1:9154", doorward),
            ("127.0.0.1:8080", old),
            ("listen 443 ssl;", &format!("listen {listen};")),
            ("ssl_certificate ", "# ssl_certificate "),
            ("ssl_certificate_key ", "# ssl_certificate_key "),
        ],
    );
    nginx_command(folder, &site)
}

fn caddy(folder: &Path, listen: SocketAddr, doorward: &str, old: &str) -> Command {
    let own = format!("\nhttp://{HOST}:{} {{\n\tbind 127.0.0.1", listen.port());
    let site = with(
        format!("\n{}", block("caddy")),
        &[("127.0.0.1:9154", doorward), ("127.0.0.1:8080", old), (&format!("\n{HOST} {{"), &own)],
    );
    caddy_command(folder, &site)
}

/// The settings of the document's command.
fn service() -> WorkDir {
    let text = document("docs/migrating.md");
    let line = text.lines().find(|line| line.starts_with("DIALECTS=")).unwrap();
    let settings = line.split(' ').filter_map(|word| word.split_once('='));
    let settings = settings.filter(|(name, _)| *name != "PUBLIC_URL");
    settings.fold(WorkDir::new().set("BCRYPT_COST", "4").set("TEST_MODE", "true"), |workdir, (name, value)| {
        let value = if name == "DIALECTS" { line.split(' ').next().unwrap().split_once('=').unwrap().1 } else { value };
        workdir.set(name, value)
    })
}

fn assert_split(name: &str, configure: fn(&Path, SocketAddr, &str, &str) -> Command) {
    let (workdir, old) = (service(), App::start());
    let workdir = workdir.set("SIGNUP", "true");
    let node = workdir.serve(&["serve"]);
    let (doorward, api) = (node.address().to_string(), old.address().to_string());
    let proxy = Daemon::start(name, |folder, listen| configure(folder, listen, &doorward, &api));
    let send = |request: Request| -> Response { request.header("Host", HOST).send(proxy.address()) };
    let person = json!({ "firstName": "Emily", "lastName": "Johnson", "login": "emily", "email": "emily@mail.example",
        "password": "harbour lantern 7" });
    let signed_up = send(Request::new("POST", "/auth/signup").json(&person.to_string()));
    assert_eq!(signed_up.status, 200, "{name}: {}", signed_up.text());
    let access = signed_up.json()["access_token"].as_str().unwrap().to_owned();
    let user = send(Request::new("GET", "/user").bearer(&access));
    assert_eq!((user.status, &user.json()["login"]), (200, &json!("emily")), "{name}");
    let refresh = format!("/auth/refresh?rt={}", signed_up.json()["refresh_token"].as_str().unwrap());
    assert_eq!(send(Request::new("POST", &refresh)).status, 200, "{name}");
    assert_eq!(old.reached(), 0, "{name}");
    for path in ["/", "/users", "/user/1", "/orders?user=1", "/authors", "/session"] {
        let answer = send(Request::new("GET", path).bearer(&access));
        let start = format!("GET {path} HTTP/1.");
        assert!(
            answer.json()["start"].as_str().is_some_and(|line| line.starts_with(&start)),
            "{name} {path}: {}",
            answer.text()
        );
    }
    assert_eq!(old.reached(), 6, "{name}");
    // As the old API asks, on the machine itself.
    let session = node.send(&Request::new("GET", "/session/auth/session").bearer(&access));
    assert_eq!((session.status, &session.json()["user"]["username"]), (200, &json!("emily")), "{name}");
}

#[test]
fn migrating_behind_nginx_splits_the_paths() {
    assert_split("nginx", nginx);
}

#[test]
fn migrating_behind_caddy_splits_the_paths() {
    assert_split("Caddy", caddy);
}

/// The table of paths names every path of each dialect, and no other service's.
#[test]
fn migrating_names_the_paths_of_every_dialect() {
    let text = document("docs/migrating.md");
    let (_, table) = text.split_once("| dialect | paths |").unwrap();
    for (dialect, paths) in [
        (
            "flat",
            vec![
                "/auth/login",
                "/auth/me",
                "/auth/refresh",
                "/auth/logout",
                "/user/login",
                "/user/me",
                "/users/login",
                "/users/me",
            ],
        ),
        ("store", vec!["/auth/signup", "/auth/signin", "/auth/refresh", "/user"]),
        ("signin", vec!["/api/v1/auths/sign-in", "/api/v1/auths/refresh"]),
        ("pin", vec!["/auth/login", "/auth/refresh", "/auth/logout", "/users/me"]),
        ("envelope", vec!["/auth/register", "/auth/refresh-token", "/auth/logout-all", "/auth/change-password"]),
    ] {
        let row = table.lines().find(|line| line.starts_with(&format!("| `{dialect}` |"))).unwrap();
        let listed: Vec<&str> = row.split('`').skip(3).step_by(2).collect();
        for path in paths {
            let is_listed =
                listed.iter().any(|one| one.strip_suffix('*').map_or(*one == path, |start| path.starts_with(start)));
            assert!(is_listed, "{dialect}: {path} is not in {row}");
        }
    }
}
