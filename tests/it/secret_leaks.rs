//! Secret leaks: marked secrets are given to the real binary in every way that it accepts them, at the most verbose log
//! level, and are then searched for where they must not be: in logs, in answers that do not issue them, in rows.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{Request, Response};
use crate::support::postgres::psql;
use crate::support::process::{Node, WorkDir};
use crate::support::{Backend, on_both_backends};

on_both_backends!(no_secret_leaks_into_logs_answers_or_rows);

/// Part of every secret that is typed, so that one search finds them all.
const MARKER: &str = "kanarie";
const PIN: &str = "918273645546";
const NEW_PIN: &str = "564738291001";

fn typed(what: &str) -> String {
    format!("{MARKER}-{what}-harbour-7")
}

const JWT_SECRET: &str = "kanarieX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4aEiOyTzWvRk6";
const PEPPER: &str = "kanarieQ4mWv8RtYc2Lk6NfHs0Xb9GpDj3Ue7AoTi5KyVw1Er";
const METRICS_TOKEN: &str = "kanarieT7kWv8RtYc2Lk6NfHs0Xb9GpDj3Ue7A";

/// A running service and every token that it has issued.
struct Recording {
    workdir: WorkDir,
    node: Node,
    issued: BTreeSet<String>,
    request_count: usize,
}

/// Every text in a JSON value.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        _ => {}
    }
}

/// The tokens in an answer: cookies, and members with a token's name.
fn tokens_of(answer: &Response) -> Vec<String> {
    let of_cookies = answer.headers_named("Set-Cookie").into_iter().filter_map(|line| {
        let value = line.split(';').next()?.split_once('=')?.1;
        (value.len() > 8).then(|| value.to_owned())
    });
    let mut found: Vec<String> = of_cookies.collect();
    let mut all = vec![];
    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    texts(&body, &mut all);
    let named = ["accessToken", "refreshToken", "access_token", "refresh_token", "token"];
    let of = |value: &Value| -> Vec<String> {
        named.iter().filter_map(|name| value[*name].as_str().map(ToOwned::to_owned)).collect()
    };
    found.extend(of(&body));
    found.extend(of(&body["data"]));
    found.extend(all.into_iter().filter(|text| text.starts_with("eyJ")));
    found.retain(|token| token.len() > 8 && token != "Bearer");
    found
}

/// The parts that are usable by themselves: a JWT's payload and signature, or the whole of an opaque token.
fn usable_parts(secret: &str) -> Vec<&str> {
    let parts: Vec<&str> = secret.split('.').collect();
    if secret.starts_with("eyJ") && parts.len() == 3 { parts[1..].to_vec() } else { vec![secret] }
}

impl Recording {
    fn new(backend: Backend) -> Self {
        let workdir = WorkDir::on(backend).set("RUST_LOG", "trace").set("JWT_SECRET", JWT_SECRET).set("PEPPER", PEPPER);
        let workdir =
            workdir.set("METRICS_TOKEN", METRICS_TOKEN).set("THROTTLE_FREE_FAILURES", "50").set("REFRESH_GRACE", "0");
        let node = workdir.serve(&["serve", "--demo"]);
        Self { workdir, node, issued: BTreeSet::new(), request_count: 0 }
    }

    /// Sends the request and searches the answer for anything typed and for any token issued before.
    fn send_request(&mut self, request: &Request) -> Response {
        let answer = self.node.send(request);
        assert!(answer.status < 500, "{request:?}: {}", answer.text());
        let output = answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("set-cookie"));
        let output = output.fold(answer.text(), |text, (name, value)| format!("{text}\n{name}: {value}"));
        assert!(!output.to_lowercase().contains(MARKER), "{request:?} repeats user input: {output}");
        for secret in self.issued.iter().map(String::as_str).chain([PIN, NEW_PIN, "$2b$"]) {
            assert!(usable_parts(secret).iter().all(|part| !output.contains(part)), "{request:?} leaks: {output}");
        }
        self.issued.extend(tokens_of(&answer));
        self.request_count += 1;
        answer
    }

    fn post(&mut self, path: &str, body: &Value) -> Response {
        self.send_request(&Request::new("POST", path).json(&body.to_string()))
    }

    fn token(answer: &Response, at: &str) -> String {
        let value = answer.json();
        value.pointer(at).and_then(Value::as_str).unwrap_or_else(|| panic!("no {at} in {value}")).to_owned()
    }

    fn native(&mut self) {
        let account =
            json!({ "username": "emily-k", "email": "k@example.com", "password": typed("right"), "tokens": "body" });
        assert_eq!(self.post("/auth/register", &account).status, 201);
        let login = |password: &str| json!({ "username": "emily-k", "password": password, "tokens": "body" });
        let entered = self.post("/auth/login", &login(&typed("right")));
        let (access, refresh) = (Self::token(&entered, "/accessToken"), Self::token(&entered, "/refreshToken"));
        for body in [
            login(&typed("wrong")),
            json!({ "identifier": typed("slip"), "password": typed("wrong") }),
            json!({ "username": "emily-k", "password": [typed("wrong")] }),
            json!({ "username": "emily-k", "password": typed("wrong"), "further": typed("field") }),
            json!({ "username": typed("bad\nname"), "password": "short" }),
        ] {
            assert!((400..500).contains(&self.post("/auth/login", &body).status));
            self.post("/auth/register", &body);
        }
        let renewed = self.post("/auth/refresh", &json!({ "refreshToken": refresh }));
        let (access_2, refresh_2) = (Self::token(&renewed, "/accessToken"), Self::token(&renewed, "/refreshToken"));
        let change = |current: &str| json!({ "currentPassword": current, "newPassword": typed("new") }).to_string();
        let request = Request::new("POST", "/auth/change-password").bearer(&access_2);
        assert_eq!(self.send_request(&request.clone().json(&change(&typed("wrong")))).status, 403);
        let changed = self.send_request(&request.json(&change(&typed("right"))));
        assert_eq!(changed.status, 200, "{}", changed.text());
        let access_3 = Self::token(&changed, "/accessToken");
        for token in [&access, &access_2, &access_3, &refresh, &format!("{access_3}x")] {
            self.send_request(&Request::new("GET", "/auth/me").bearer(token));
            self.send_request(
                &Request::new("GET", "/auth/sessions")
                    .cookie_header(&format!("accessToken={token}; {}=1", typed("cookie"))),
            );
        }
        for token in [&refresh, &refresh_2] {
            self.post("/auth/refresh", &json!({ "refreshToken": token }));
        }
        self.send_request(&Request::new("POST", "/auth/logout").bearer(&access_3));
        self.reuse();
    }

    /// A token two generations old, whose reuse is logged as an alarm.
    fn reuse(&mut self) {
        let body = json!({ "username": "emily-k", "password": typed("new"), "tokens": "body" });
        let entered = self.post("/auth/login", &body);
        let mut spent = vec![Self::token(&entered, "/refreshToken")];
        for _ in 0..2 {
            let renewed = self.post("/auth/refresh", &json!({ "refreshToken": spent.last() }));
            spent.push(Self::token(&renewed, "/refreshToken"));
            // Used, and a moment later old enough to be rotated: there is no grace.
            let access = Self::token(&renewed, "/accessToken");
            assert_eq!(self.send_request(&Request::new("GET", "/auth/me").bearer(&access)).status, 200);
            std::thread::sleep(Duration::from_millis(5));
        }
        let reused = self.post("/auth/refresh", &json!({ "refreshToken": spent[0] }));
        assert_eq!(reused.json()["code"], "refresh_token_reused", "{}", reused.text());
    }

    fn dialects(&mut self) {
        let emily = json!({ "username": "emilys", "password": "emilyspass" });
        let entered = self.post("/flat/auth/login", &emily);
        let refresh = Self::token(&entered, "/refreshToken");
        self.post("/flat/auth/refresh", &json!({ "refreshToken": refresh }));
        let entered = self.post("/store/auth/signin", &json!({ "login": "emilys", "password": "emilyspass" }));
        let refresh = Self::token(&entered, "/refresh_token");
        self.send_request(&Request::new("POST", &format!("/store/auth/refresh?rt={refresh}")));
        self.send_request(&Request::new("POST", &format!("/store/auth/refresh?rt={refresh}x")));
        self.post("/signin/api/v1/auths/sign-in", &emily);
        let by_pin = self.post("/pin/auth/login", &json!({ "name": "cooluser1", "pin": "0000" }));
        let cookies: Vec<String> =
            by_pin.set_cookies().iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        self.send_request(&Request::new("POST", "/pin/auth/refresh").cookie_header(&cookies.join("; ")));
        let by_email = json!({ "email": "emily.johnson@x.dummyjson.com", "password": "emilyspass" });
        let entered = self.post("/envelope/auth/login", &by_email);
        let refresh = Self::token(&entered, "/data/refreshToken");
        self.post("/envelope/auth/refresh-token", &json!({ "refreshToken": refresh }));
        for path in [
            "/flat/auth/login",
            "/store/auth/signin",
            "/signin/api/v1/auths/sign-in",
            "/pin/auth/login",
            "/envelope/auth/login",
        ] {
            let wrong = json!({
                "username": "emilys", "login": "emilys", "name": "cooluser1", "email": "emily.johnson@x.dummyjson.com",
                "password": typed("Wrong7!"), "pin": NEW_PIN,
            });
            assert!((400..500).contains(&self.post(path, &wrong).status), "{path}");
            self.send_request(&Request::new("POST", path).json(&format!("{{\"password\":\"{}\"", typed("torn"))));
        }
    }

    /// Secrets in places where none belong, which careless logging would write down.
    fn misplaced_secrets(&mut self) {
        let token = self.issued.iter().find(|token| token.starts_with("eyJ")).unwrap().clone();
        let secret = typed("query");
        for path in ["/auth/login", "/auth/me", "/nowhere", "/healthz", "/flat/auth/me", "/metrics", "/auth/sessions/x"]
        {
            for key in ["token", "access_token", "password", "rt", "code", "x"] {
                for value in [&token, &secret] {
                    let target = format!("{path}?{key}={value}");
                    self.send_request(&Request::new("GET", &target));
                    self.send_request(&Request::new("POST", &target).json("{}"));
                }
            }
        }
        for value in
            [format!("Basic {secret}"), format!("Bearer {secret} {secret}"), secret.clone(), format!("Token {token}")]
        {
            for path in ["/auth/me", "/flat/auth/me", "/store/user", "/pin/users/me", "/metrics"] {
                self.send_request(&Request::new("GET", path).header("Authorization", &value));
            }
        }
        self.send_request(&Request::new("GET", "/metrics").bearer(METRICS_TOKEN));
        self.send_request(&Request::new("POST", "/auth/login").body(Some("text/plain"), typed("plain")));
        self.send_request(
            &Request::new("POST", "/auth/login")
                .header("Origin", "https://evil.example")
                .json(&json!({ "password": typed("evil") }).to_string()),
        );
        // Request heads that the HTTP parser rejects: its log must not quote them.
        for head in [
            format!(
                "GET /auth/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\0\r\nConnection: close\r\n\r\n"
            ),
            format!("GET /auth/me?token={secret} HTTP/9.9\r\nHost: x\r\n\r\n"),
            format!("POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: {secret}\r\nConnection: close\r\n\r\n"),
            format!(
                "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{secret}\r\n"
            ),
            format!("{secret} / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ] {
            let answer = crate::support::http::exchange_raw(self.node.address(), head.as_bytes());
            assert!(!String::from_utf8_lossy(&answer).contains(MARKER), "{head:?}");
        }
    }

    fn operator(&mut self) {
        for (arguments, input) in [
            (&["account", "add", "--username", "operated", "--password-stdin"][..], typed("operator")),
            (&["account", "set-password", "operated", "--password-stdin"], typed("operator-new")),
            (&["account", "set-pin", "operated", "--pin-stdin"], PIN.to_owned()),
            (&["account", "set-password", "operated", "--password-stdin"], "short".to_owned()),
            (&["account", "show", "operated"], String::new()),
            (&["session", "list", "operated"], String::new()),
        ] {
            let ran = self.workdir.run_with(arguments, &input);
            let output = format!("{}{}", ran.stdout, ran.stderr).to_lowercase();
            let silent = !output.contains(MARKER) && !output.contains(PIN) && !output.contains("$2b$");
            assert!(silent, "{arguments:?}: {ran:?}");
        }
        let entered = self.post("/auth/login", &json!({ "username": "operated", "pin": PIN }));
        assert_eq!(entered.status, 200, "{}", entered.text());
    }
}

/// All stored data: the bytes of SQLite's files, PostgreSQL's rows as text.
fn rows(workdir: &WorkDir, backend: Backend) -> Vec<u8> {
    match backend {
        Backend::Sqlite => {
            let files =
                ["doorward.db", "doorward.db-wal"].map(|name| std::fs::read(workdir.file(name)).unwrap_or_default());
            files.concat()
        }
        Backend::Postgres => {
            let url = workdir.value("DATABASE_URL");
            let tables = psql(&url, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'");
            assert!(tables.lines().count() >= 6, "{tables}");
            let dump = |table: &str| psql(&url, &format!("SELECT row_to_json(t) FROM \"{table}\" t"));
            tables.lines().map(dump).collect::<Vec<_>>().join("\n").into_bytes()
        }
    }
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[expect(clippy::print_stdout, reason = "how long the walk was")]
fn no_secret_leaks_into_logs_answers_or_rows(backend: Backend) {
    let mut walk = Recording::new(backend);
    walk.native();
    walk.dialects();
    walk.misplaced_secrets();
    walk.operator();
    let while_running = rows(&walk.workdir, backend);
    walk.node.signal("TERM");
    assert!(walk.node.wait().success());
    let (stdout, stderr) = (walk.node.stdout(), walk.node.stderr());
    println!("{} requests, {} tokens, {} log lines", walk.request_count, walk.issued.len(), stderr.lines().count());
    assert!(
        walk.request_count > 150 && walk.issued.len() > 15 && stderr.lines().count() > 300,
        "the walk was long enough"
    );
    assert!(stderr.contains("refresh_reuse"), "and it met an alarm");
    let rows = [while_running, rows(&walk.workdir, backend)].concat();
    let rows = String::from_utf8_lossy(&rows).to_lowercase();
    assert!(rows.contains("hmac-bcrypt:") && rows.contains("emily-k"), "the rows were read");
    let typed = [MARKER, PIN, NEW_PIN, "emilyspass"];
    let secrets: Vec<&str> = walk.issued.iter().flat_map(|token| usable_parts(token)).chain(typed).collect();
    for secret in secrets {
        for (name, text) in [("stdout", &stdout), ("stderr", &stderr)] {
            // The banner of a demo prints its well-known passwords.
            let lines = text.lines().filter(|line| !(name == "stdout" && line.contains("publicly known")));
            let found = lines.map(str::to_lowercase).find(|line| line.contains(&secret.to_lowercase()));
            assert_eq!(found, None, "{secret} is in {name}");
        }
        for form in [secret.to_owned(), hex(secret), secret.replace('-', "")] {
            assert!(form.len() < 6 || !rows.contains(&form.to_lowercase()), "{secret} is in the rows");
        }
    }
    let hashed = stderr.lines().find(|line| line.contains("$2b$"));
    assert_eq!(hashed, None, "nor does a hash stand in the log");
}
