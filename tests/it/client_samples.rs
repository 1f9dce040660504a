//! Client samples: the samples of the five source documents, run against the real binary. Only base URLs and
//! placeholders are replaced, and the answer must be like the one that the document shows. Each is in a file of its own
//! in client_samples/, named by its source and its place there, its answer beside it (.json); shown.rs records the
//! lines of the document.
//!
//! The text of source 000 has lost its line breaks, without which nothing behind a `//` comment would run: they are
//! restored. The types of source 002's TypeScript are erased, as its compiler does. Answers are without the comments in
//! them.

mod client;
mod shown;

use std::path::Path;

use client::{Seen, bash, node, parsed};
use serde_json::Value;
use shown::{ORIGINS, Placeholders, assert_like, sample, shown};

use crate::support::http::Request;
use crate::support::process::{Node, WorkDir};
use crate::support::{Backend, PASSWORD, on_both_backends};

on_both_backends!(
    the_fetch_samples_of_source_000_run,
    the_browser_samples_of_source_001_run,
    the_curl_samples_of_source_002_run,
    the_typescript_samples_of_source_002_run,
    the_shell_samples_of_source_003_run,
    the_curl_samples_of_source_004_run,
    signing_out_as_source_004_shows_ends_what_it_says,
    changing_the_password_as_source_004_shows_changes_it,
);

const ADA: &str = "ada@example.org";

/// What the pages show instead of an email address.
const EMAIL: &str = "[email\x20protected]";
const ACCESS_004: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...";
/// The account that the answer shows; no address is verified here.
const EXAMPLES_004: [(&str, &str); 3] =
    [("12345", "\"<number>\""), (EMAIL, ADA), ("\"emailVerified\": true", "\"emailVerified\": false")];
const FIRST_004: &str = "SecurePass123!";
const CHANGED_004: &str = "NewSecurePass456!";

/// The service with its sample accounts, at the address that a source's clients use.
struct SampleService {
    node: Node,
    workdir: WorkDir,
    base: String,
}

impl SampleService {
    fn open(backend: Backend, mount: &str) -> Self {
        Self::open_in(WorkDir::on(backend), mount)
    }

    fn open_in(workdir: WorkDir, mount: &str) -> Self {
        let node = workdir.serve(&["serve", "--demo"]);
        let base = format!("http://{}{mount}", node.address());
        Self { node, workdir, base }
    }
}

#[test]
fn every_sample_names_its_place_in_the_source() {
    let entries = shown::folder().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_answer = |name: &str| Path::new(name).extension().is_some_and(|extension| extension == "json");
    let is_sample = |name: &String| name.starts_with("00") && !is_answer(name);
    let mut found: Vec<String> = entries.filter(is_sample).collect();
    found.sort();
    assert_eq!(found, ORIGINS.map(|(name, _)| name));
}

/// Fails unless these are the cookies, and the two of the session contain the tokens of the body.
fn assert_cookies_are_those_of(seen: &Seen, names: &[&str]) {
    assert_eq!(seen.cookie_names(), names, "{seen:?}");
    assert_eq!(seen.cookie("accessToken").0, seen.text_at("/accessToken"));
    assert_eq!(seen.cookie("refreshToken").0, seen.text_at("/refreshToken"));
}

/// Fails unless a cookie ends with its token; the sign-in itself may have taken some seconds of it.
fn assert_lives(seen: &Seen, cookie: &str, seconds: u64) {
    let (_, attributes) = seen.cookie(cookie);
    let age = attributes.iter().find_map(|attribute| attribute.strip_prefix("Max-Age=")?.parse::<u64>().ok());
    let fits = age.is_some_and(|age| (seconds.saturating_sub(10)..=seconds).contains(&age));
    assert!(fits, "{cookie} should live {seconds} s: {attributes:?}");
}

fn the_fetch_samples_of_source_000_run(backend: Backend) {
    let service = SampleService::open(backend, "/flat");
    let run = |stem: &str, placeholders: Placeholders| {
        let base = ("https://dummyjson.com", service.base.as_str());
        let seen = node(&sample(&format!("{stem}.js"), &[&[base], placeholders].concat()));
        assert_eq!((seen.status, seen.complaint.as_str()), (200, ""), "{seen:?}");
        assert_eq!(parsed(&seen.printed), seen.json(), "the sample prints the answer");
        assert_like(&shown(&format!("{stem}.json"), &[]), &seen.json());
        seen
    };
    let login = run("000-1-login", &[]);
    assert_cookies_are_those_of(&login, &["accessToken", "deviceToken", "refreshToken"]);
    assert_lives(&login, "accessToken", 30 * 60);
    let me = run("000-2-me", &[("/* YOUR_ACCESS_TOKEN_HERE */", &login.text_at("/accessToken"))]);
    assert!(me.cookies.is_empty(), "{me:?}");
    let refreshed = run("000-3-refresh", &[("/* YOUR_REFRESH_TOKEN_HERE */", &login.text_at("/refreshToken"))]);
    assert_cookies_are_those_of(&refreshed, &["accessToken", "refreshToken"]);
    assert_lives(&refreshed, "accessToken", 30 * 60);
    assert_ne!(refreshed.text_at("/accessToken"), login.text_at("/accessToken"));
    run("000-2-me", &[("/* YOUR_ACCESS_TOKEN_HERE */", &refreshed.text_at("/accessToken"))]);
}

fn the_browser_samples_of_source_001_run(backend: Backend) {
    let service = SampleService::open(backend, "/store");
    let run = |stem: &str, placeholders: Placeholders| {
        let base = ("https://example.com", service.base.as_str());
        let seen = node(&sample(&format!("{stem}.js"), &[&[base], placeholders].concat()));
        assert_eq!((seen.status, seen.complaint.as_str()), (200, ""), "{seen:?}");
        assert_eq!(seen.printed.trim_end(), seen.body, "the sample prints the answer");
        assert_like(&shown(&format!("{stem}.json"), &[]), &seen.json());
        assert!(seen.cookies.is_empty(), "{seen:?}");
        assert!(service.node.accepts(&seen.text_at("/access_token")));
        seen
    };
    run("001-1-signup", &[("**********", PASSWORD)]);
    let signed_in = run("001-2-signin", &[("**********", PASSWORD)]);
    let token = signed_in.text_at("/refresh_token");
    let refreshed = run("001-3-refresh", &[("rt=string", &format!("rt={token}"))]);
    assert_ne!(refreshed.text_at("/access_token"), signed_in.text_at("/access_token"));
}

/// Adds the account that source 002 shows.
fn add_john(service: &SampleService) {
    let names = ["--email", "john@example.org", "--username", "johndoe", "--first-name", "John", "--last-name", "Doe"];
    let rest = ["--permission", "reports:read", "--password-stdin"];
    service.workdir.succeed(&[&["account", "add"], &names[..], &rest].concat(), PASSWORD);
}

/// The sign-in answer of source 002; the three numbers in it are names of answers that its page shows elsewhere.
fn shown_by_002(stem: &str) -> Value {
    let mut shown = shown(&format!("{stem}.json"), &[("123", "\"<number>\"")]);
    for status in ["400", "401", "403"] {
        shown.as_object_mut().unwrap().remove(status).unwrap();
    }
    shown
}

fn curl_of_002(service: &SampleService, stem: &str, password: &str) -> Seen {
    let seen = bash(
        &sample(
            &format!("{stem}.sh"),
            &[
                ("https://api.example.com", service.base.as_str()),
                ("\"email\": \"<string>\"", "\"email\": \"john@example.org\""),
                ("\"username\": \"<string>\"", "\"username\": \"johndoe\""),
                ("\"password\": \"<string>\"", &format!("\"password\": \"{password}\"")),
            ],
        ),
        &[],
    );
    assert!(seen.cookies.is_empty(), "{seen:?}");
    seen
}

fn the_curl_samples_of_source_002_run(backend: Backend) {
    let service = SampleService::open(backend, "/signin");
    add_john(&service);
    for stem in ["002-1-sign-in", "002-2-sign-in"] {
        let seen = curl_of_002(&service, stem, PASSWORD);
        assert_eq!(seen.status, 200, "{seen:?}");
        assert_like(&shown_by_002(stem), &seen.json());
        let user = &seen.json()["user"];
        assert_eq!((&user["username"], &user["email"]), (&"johndoe".into(), &"john@example.org".into()));
        assert_eq!(user["permissions"], serde_json::json!(["reports:read"]));
        let bearer = sample("002-6-bearer.txt", &[("<accessToken>", &seen.text_at("/accessToken"))]);
        let (name, value) = bearer.trim_end().split_once(": ").unwrap();
        let sign_out = Request::new("POST", "/signin/api/v1/auths/sign-out").header(name, value);
        assert_eq!(service.node.send(&sign_out).status, 200);
    }
    let short = curl_of_002(&service, "002-1-sign-in", "12345");
    assert_eq!((short.status, short.json()), (400, shown("002-refused-400.json", &[])));
    let wrong = curl_of_002(&service, "002-1-sign-in", "wrong-wrong");
    assert_eq!((wrong.status, wrong.json()), (401, shown("002-refused-401.json", &[])));
    service.workdir.succeed(&["account", "set-status", "johndoe", "inactive"], "");
    let inactive = curl_of_002(&service, "002-1-sign-in", PASSWORD);
    assert_eq!((inactive.status, inactive.json()), (403, shown("002-refused-403.json", &[])));
}

/// Source 002's TypeScript without its types.
fn javascript(typescript: &str) -> String {
    let (_, functions) = typescript.split_once("}\nasync function").unwrap();
    format!("async function{functions}").replace(": LoginCredentials", "").replace(": Promise<LoginResponse>", "")
}

fn the_typescript_samples_of_source_002_run(backend: Backend) {
    let service = SampleService::open(backend, "/signin");
    let login = javascript(&sample("002-3-login.ts", &[("https://api.example.com", &service.base)]));
    let password = ("password123", PASSWORD);
    let usages = [
        sample("002-4-with-email.ts", &[(EMAIL, "john@example.org"), password]),
        sample("002-5-with-username.ts", &[password]),
    ];
    let refused = |status: u16| {
        for usage in &usages {
            let seen = node(&format!("{login}{usage}"));
            let answer = shown(&format!("002-refused-{status}.json"), &[]);
            assert_eq!((seen.status, seen.json()), (status, answer));
            assert!(seen.complaint.contains("Error: Login failed"), "{seen:?}");
            assert!(seen.lines_of("stored").is_empty(), "{seen:?}");
        }
    };
    refused(401);
    add_john(&service);
    for usage in &usages {
        let seen = node(&format!("{login}{usage}"));
        assert_eq!((seen.status, seen.complaint.as_str()), (200, ""), "{seen:?}");
        assert_like(&shown_by_002("002-1-sign-in"), &seen.json());
        let stored: Vec<Value> = seen.lines_of("stored").iter().map(|line| parsed(line)).collect();
        assert_eq!(stored[0], serde_json::json!(["access_token", seen.json()["accessToken"]]));
        assert_eq!(stored[1], serde_json::json!(["refresh_token", seen.json()["refreshToken"]]));
        assert_eq!(stored[2][0], "user_data");
        assert_eq!(parsed(stored[2][1].as_str().unwrap()), seen.json()["user"]);
    }
    service.workdir.succeed(&["account", "set-status", "johndoe", "inactive"], "");
    refused(403);
}

fn the_shell_samples_of_source_003_run(backend: Backend) {
    let service = SampleService::open(backend, "/pin");
    let base = ("http://127.0.0.1:9154", service.base.as_str());
    let see = "printf '%s' \"$headers\"\nprintf '%s\\n' \"$ACCESS_TOKEN\" \"$REFRESH_TOKEN\" >tokens";
    let login = bash(&format!("{}{see}", sample("003-1-login.sh", &[base])), &[]);
    let (_, body) = login.printed.split_once("\r\n\r\n").unwrap();
    assert_eq!((login.status, &parsed(body)["message"]), (200, &shown("003-1-login.json", &[])["message"]));
    assert_eq!(login.lines_of("tokens"), [login.cookie("accessToken").0, login.cookie("refreshToken").0]);
    assert_eq!(login.cookie_names(), ["accessToken", "deviceToken", "refreshToken"]);
    assert_lives(&login, "accessToken", 60);
    assert_lives(&login, "refreshToken", 30 * 24 * 60 * 60);

    let [access, refresh] = ["accessToken", "refreshToken"].map(|name| login.cookie(name).0);
    let vars = [("ACCESS_TOKEN", access.as_str()), ("REFRESH_TOKEN", refresh.as_str())];
    let run = |stem: &str| bash(&sample(&format!("{stem}.sh"), &[base]), &vars);
    let refreshed = run("003-2-refresh");
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert_like(&shown("003-2-refresh.json", &[]), &refreshed.json());
    assert_eq!(refreshed.cookie_names(), ["accessToken"]);
    assert_eq!(refreshed.cookie("accessToken").0, refreshed.text_at("/accessToken"));
    assert_lives(&refreshed, "accessToken", 60);

    let logout = run("003-3-logout");
    assert_eq!(logout.status, 200, "{logout:?}");
    assert_like(&shown("003-3-logout.json", &[]), &logout.json());
    assert_eq!(logout.cookie_names(), ["accessToken", "refreshToken"]);
    assert_lives(&logout, "accessToken", 0);
    assert_lives(&logout, "refreshToken", 0);
    assert_eq!(run("003-2-refresh").status, 401, "the refresh token is revoked");
}

/// Runs a sample of source 004, which shows no refusals: every other answer must be as shown.
fn run_004(service: &SampleService, stem: &str, status: u16, placeholders: Placeholders) -> Seen {
    let base = ("http://localhost:4001", service.base.as_str());
    let seen = bash(&sample(&format!("{stem}.sh"), &[&[base], placeholders].concat()), &[]);
    assert_eq!(seen.status, status, "{stem}: {seen:?}");
    assert!(seen.cookies.is_empty(), "{seen:?}");
    if status < 400 {
        let examples: Placeholders = if stem == "004-6-me" { &EXAMPLES_004 } else { &[] };
        assert_like(&shown(&format!("{stem}.json"), examples), &seen.json());
    } else {
        assert_eq!(seen.json()["success"], false, "{seen:?}");
    }
    seen
}

fn register_004(service: &SampleService) -> Seen {
    run_004(service, "004-1-register", 201, &[(EMAIL, ADA)])
}

fn login_004(service: &SampleService) -> Seen {
    run_004(service, "004-2-login", 200, &[(EMAIL, ADA)])
}

fn access_of(seen: &Seen) -> String {
    seen.text_at("/data/accessToken")
}

/// Requests the current user with a token, as the source does.
fn me_004(service: &SampleService, status: u16, access: &str) {
    run_004(service, "004-6-me", status, &[(ACCESS_004, access)]);
}

fn the_curl_samples_of_source_004_run(backend: Backend) {
    // Without grace each refresh token of this strict wire is used once.
    let service = SampleService::open_in(WorkDir::on(backend).set("REFRESH_GRACE", "0"), "/envelope");
    me_004(&service, 200, &access_of(&register_004(&service)));
    let login = login_004(&service);
    me_004(&service, 200, &access_of(&login));
    let old = login.text_at("/data/refreshToken");
    let example = "9b2c8f4a-3d5e-6f7a-8b9c-0d1e2f3a4b5c";
    let rotated = run_004(&service, "004-3-refresh-token", 200, &[(example, &old)]);
    me_004(&service, 401, &access_of(&login));
    me_004(&service, 200, &access_of(&rotated));
    let current = rotated.text_at("/data/refreshToken");
    assert_ne!(current, old);
    let again = run_004(&service, "004-3-refresh-token", 200, &[(example, &current)]);
    assert_ne!(again.text_at("/data/refreshToken"), current);
    run_004(&service, "004-3-refresh-token", 401, &[(example, &old)]);
    me_004(&service, 401, &access_of(&again));
}

fn signing_out_as_source_004_shows_ends_what_it_says(backend: Backend) {
    let service = SampleService::open(backend, "/envelope");
    let registered = register_004(&service);
    let login = login_004(&service);
    let example = "1a2b3c4d-5e6f-7a8b-9c0d-1e2f3a4b5c6d";
    for _ in 0..2 {
        run_004(&service, "004-4-logout", 200, &[(example, &login.text_at("/data/refreshToken"))]);
    }
    me_004(&service, 401, &access_of(&login));
    me_004(&service, 200, &access_of(&registered));
    let phone = login_004(&service);
    run_004(&service, "004-5-logout-all", 200, &[(ACCESS_004, &access_of(&phone))]);
    for ended in [&registered, &phone] {
        me_004(&service, 401, &access_of(ended));
    }
}

fn changing_the_password_as_source_004_shows_changes_it(backend: Backend) {
    let service = SampleService::open(backend, "/envelope");
    let registered = register_004(&service);
    let login = login_004(&service);
    run_004(&service, "004-7-change-password", 200, &[(ACCESS_004, &access_of(&login))]);
    me_004(&service, 200, &access_of(&login));
    me_004(&service, 401, &access_of(&registered));
    run_004(&service, "004-2-login", 401, &[(EMAIL, ADA)]);
    run_004(&service, "004-2-login", 200, &[(EMAIL, ADA), (FIRST_004, CHANGED_004)]);
}
