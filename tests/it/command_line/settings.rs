//! Validation of settings: every invalid one stops the start with a sentence that names it, none falls back silently,
//! and none shows a secret.

use crate::support::process::WorkDir;

const GOOD_KEY: &str = "kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4aEiOyTzWvRk6";
const HTTPS: (&str, &str) = ("PUBLIC_URL", "https://auth.example");

/// The setting that must be named, and the variables that are set.
type Row = (&'static str, &'static [(&'static str, &'static str)]);

const WEB: [Row; 24] = [
    ("BIND", &[("BIND", "here")]),
    ("BIND", &[("BIND", "127.0.0.1")]),
    ("BIND", &[("BIND", "127.0.0.1:99999")]),
    ("BIND", &[("BIND", "203.0.113.1:9154")]),
    ("PUBLIC_URL", &[("PUBLIC_URL", "auth.example")]),
    ("PUBLIC_URL", &[("PUBLIC_URL", "ftp://auth.example")]),
    ("PUBLIC_URL", &[("PUBLIC_URL", "https://auth.example/path")]),
    ("PUBLIC_URL", &[("PUBLIC_URL", "https://me:canary-hunter2@auth.example")]),
    ("DIALECTS", &[("DIALECTS", "nativ")]),
    ("DIALECTS", &[("DIALECTS", "native=auth")]),
    ("DIALECTS", &[("DIALECTS", "native=/,native=/")]),
    ("NATIVE_ACCESS_TTL", &[("NATIVE_ACCESS_TTL", "0")]),
    ("NATIVE_REFRESH_TTL", &[("NATIVE_REFRESH_TTL", "soon")]),
    ("CORS_ORIGINS", &[("CORS_ORIGINS", "*")]),
    ("CORS_ORIGINS", &[("CORS_ORIGINS", "https://app.example,null")]),
    ("CORS_ORIGINS", &[("CORS_ORIGINS", "https://*.app.example")]),
    ("CSRF_STRICT", &[("CSRF_STRICT", "maybe")]),
    ("TRUSTED_PROXIES", &[("TRUSTED_PROXIES", "10.0.0.0/33")]),
    ("REMOTE_ID_HEADER", &[("REMOTE_ID_HEADER", "X-Request-Id")]),
    ("REMOTE_NAME_HEADER", &[("REMOTE_NAME_HEADER", "x-content-type-options")]),
    ("WORKERS", &[("WORKERS", "0")]),
    ("DRAIN_DELAY", &[("DRAIN_DELAY", "1h")]),
    ("LOG_FORMAT", &[("LOG_FORMAT", "xml")]),
    ("RUST_LOG", &[("RUST_LOG", "doorward=loud")]),
];

const ROWS_AND_KEYS: [Row; 32] = [
    ("DATABASE_URL", &[("DATABASE_URL", "doorward.db")]),
    ("DATABASE_URL", &[("DATABASE_URL", "sqlite://")]),
    ("DATABASE_URL", &[("DATABASE_URL", "sqlite://:memory:")]),
    ("DATABASE_URL", &[("DATABASE_URL", "sqlite:///nowhere/at/all/doorward.db")]),
    ("DATABASE_URL", &[("DATABASE_URL", "mysql://me:canary-hunter2@db.example/doorward")]),
    ("DATABASE_URL", &[("DATABASE_URL", "postgres:me:canary-hunter2@db.example/doorward")]),
    ("DATABASE_URL", &[("DATABASE_URL", "postgres://me:canary-hunter2@127.0.0.1:1/doorward")]),
    ("DATABASE_URL", &[("DATABASE_URL", "postgres://me:canary-hunter2@127.0.0.1:1/doorward?sslmode=require")]),
    ("DATABASE_CONNECTIONS", &[("DATABASE_CONNECTIONS", "0")]),
    ("AUTO_MIGRATE", &[("AUTO_MIGRATE", "perhaps")]),
    ("KEYS_FILE", &[("KEYS_FILE", "/nowhere/at/all/doorward.keys")]),
    ("JWT_SECRET", &[("JWT_SECRET", "canary-hunter2")]),
    ("JWT_SECRET", &[("JWT_SECRET", "canary-hunter2-your-256-bit-secret-canary")]),
    ("JWT_SECRET", &[("JWT_SECRET", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]),
    ("PEPPER", &[("PEPPER", "canary-hunter2")]),
    ("PEPPER", &[("PEPPER", GOOD_KEY), ("JWT_SECRET", GOOD_KEY)]),
    ("ACCESS_TTL", &[("ACCESS_TTL", "soon")]),
    ("ACCESS_TTL", &[("ACCESS_TTL", "0")]),
    ("ACCESS_TTL", &[("ACCESS_TTL", "40d")]),
    ("REFRESH_TTL", &[("REFRESH_TTL", "1.5d")]),
    ("SESSION_MAX_AGE", &[("SESSION_MAX_AGE", "-1")]),
    ("REFRESH_GRACE", &[("REFRESH_GRACE", "5m"), ("REFRESH_LOST_AFTER", "5m")]),
    ("REFRESH_LOST_AFTER", &[("REFRESH_LOST_AFTER", "29s")]),
    ("SESSIONS_MAX", &[("SESSIONS_MAX", "0")]),
    ("VERIFY_RENEW_MAX", &[("VERIFY_RENEW_MAX", "0")]),
    ("CLOCK_SKEW", &[("CLOCK_SKEW", "1h")]),
    ("REVOCATION_MAX_STALE", &[("REVOCATION_MAX_STALE", "0")]),
    ("THROTTLE_ADDRESS", &[("THROTTLE_ADDRESS", "100")]),
    ("THROTTLE_ADDRESS", &[("THROTTLE_ADDRESS", "off")]),
    ("WRITE_RATE", &[("WRITE_RATE", "0/1m")]),
    ("WRITE_RATE", &[("WRITE_RATE", "60/soon")]),
    ("WRITE_RATE", &[("WRITE_RATE", "off")]),
];

const SECRETS_AND_COOKIES: [Row; 29] = [
    ("BCRYPT_COST", &[("BCRYPT_COST", "4")]),
    ("BCRYPT_COST", &[("BCRYPT_COST", "32"), ("TEST_MODE", "true")]),
    ("BCRYPT_COST", &[("BCRYPT_COST", "twelve")]),
    ("PASSWORD_MIN_LENGTH", &[("PASSWORD_MIN_LENGTH", "7")]),
    ("HASH_THREADS", &[("HASH_THREADS", "0")]),
    ("HASH_QUEUE", &[("HASH_QUEUE", "0")]),
    ("HASH_QUEUE_TIME", &[("HASH_QUEUE_TIME", "0")]),
    ("SIGNUP", &[("SIGNUP", "perhaps")]),
    ("SIGNUP", &[("TRUSTED_PROXIES", "127.0.0.1")]),
    ("SIGNUP", &[("VERIFY_RENEW", "true")]),
    ("SIGNUP", &[("TRUSTED_PROXIES", "127.0.0.1"), ("SIGNUP", " ")]),
    ("SIGNUP", &[("TRUSTED_PROXIES", "127.0.0.1"), ("SIGNUP", "ture")]),
    ("SIGNUP", &[("VERIFY_RENEW", "true"), ("SIGNUP", "nope")]),
    ("REFRESH_LOST_AFTER", &[("REFRESH_GRACE", "60s"), ("REFRESH_LOST_AFTER", "never")]),
    (
        "RESERVED_NAMES",
        &[("RESERVED_NAMES", "admin,a-name-of-more-than-64-characters-a-name-of-more-than-64-characters")],
    ),
    ("SIGNUP_ROLE", &[("SIGNUP_ROLE", "a b")]),
    ("TEST_MODE", &[("TEST_MODE", "true"), HTTPS]),
    ("COOKIE_PREFIX", &[("COOKIE_PREFIX", "host")]),
    ("COOKIE_PREFIX", &[("COOKIE_PREFIX", "__Host-")]),
    ("COOKIE_PREFIX", &[("COOKIE_PREFIX", "__Host-"), ("COOKIE_DOMAIN", "auth.example"), HTTPS]),
    ("COOKIE_SAME_SITE", &[("COOKIE_SAME_SITE", "None")]),
    ("COOKIE_DOMAIN", &[("COOKIE_DOMAIN", "localhost")]),
    ("COOKIE_DOMAIN", &[("COOKIE_DOMAIN", "other.example"), HTTPS]),
    ("COOKIE_ACCESS_NAME", &[("COOKIE_ACCESS_NAME", "a b")]),
    ("COOKIE_REFRESH_NAME", &[("COOKIE_REFRESH_NAME", "accessToken")]),
    ("COOKIE_REFRESH_NAME", &[("COOKIE_REFRESH_NAME", "__Host-refreshToken")]),
    ("REFRESH_TLL", &[("REFRESH_TLL", "1d")]),
    ("DOORWARD_BIND", &[("DOORWARD_BIND", "127.0.0.1:0")]),
    ("DOORWARD_COLOUR", &[("DOORWARD_COLOUR", "red")]),
];

const FROM: (&str, &str) = ("MAIL_FROM", "door@auth.example");
const TO: (&str, &str) = ("SMTP_URL", "smtp://mail.example");
const SILENT: (&str, &str) = ("SIGNUP_CONFIRM_EMAIL", "true");

const MAILS: [Row; 21] = [
    ("SMTP_URL", &[("SMTP_URL", "mail.example")]),
    ("SMTP_URL", &[("SMTP_URL", "mail.example:587")]),
    ("SMTP_URL", &[("SMTP_URL", "https://me:canary-hunter2@mail.example")]),
    ("SMTP_URL", &[("SMTP_URL", "smtp://me:canary-hunter2@")]),
    ("SMTP_URL", &[("SMTP_URL", "smtp://me:canary-hunter2@mail.example:99999")]),
    ("SMTP_URL", &[("SMTP_URL", "smtp://me:canary-hunter2@mail.example?tls=maybe")]),
    ("SMTP_URL", &[("SMTP_URL", "smtp://me:canary-hunter2@mail.example?TLS=none")]),
    ("SMTP_URL", &[("SMTP_URL", "smtps://me:canary-hunter2@mail.example?tls=none")]),
    ("SMTP_URL", &[("SMTP_URL", "smtps:me:canary-hunter2@mail.example")]),
    ("MAIL_FROM", &[("MAIL_FROM", "door")]),
    ("MAIL_FROM", &[("MAIL_FROM", "Harbour <door@auth.example> <door@auth.example>")]),
    ("MAIL_FROM", &[("MAIL_FROM", "door@auth.example, harbour@auth.example")]),
    ("MAIL_FROM", &[("MAIL_FROM", "door@auth.example\r\nBcc: mallory@evil.example")]),
    ("MAIL_FROM", &[("MAIL_FROM", "Harbour\r\nBcc: mallory@evil.example\r\nX: <door@auth.example>")]),
    ("SIGNUP_CONFIRM_URL", &[("SIGNUP_CONFIRM_URL", "app.example/welcome")]),
    ("SIGNUP_CONFIRM_URL", &[("SIGNUP_CONFIRM_URL", "javascript:alert(1)")]),
    ("SIGNUP_CONFIRM_URL", &[("SIGNUP_CONFIRM_URL", "/welcome")]),
    ("SIGNUP_CONFIRM_EMAIL", &[("SIGNUP_CONFIRM_EMAIL", "perhaps")]),
    ("SIGNUP_CONFIRM_EMAIL", &[SILENT, FROM, ("PUBLIC_URL", "http://auth.example")]),
    ("SIGNUP_CONFIRM_EMAIL", &[SILENT, TO, ("PUBLIC_URL", "http://auth.example")]),
    ("SIGNUP_CONFIRM_EMAIL", &[SILENT, TO, FROM]),
];

/// What is wrong with the outcome of a start that should fail.
fn complaint(name: &str, vars: &[(&str, &str)]) -> Option<String> {
    let workdir = vars.iter().fold(WorkDir::new(), |workdir, (name, value)| workdir.set(name, *value));
    let mut node = workdir.begin(&["serve"]);
    // A start that wrongly succeeds must not block the test: the test asks whether it listens.
    let ended = crate::support::process::until(crate::support::process::PATIENCE, "a start or its end", || {
        let listens = node.stdout().contains("listening on");
        (listens || !node.is_running()).then_some(!listens)
    });
    if !ended {
        return Some(format!("{vars:?} was taken"));
    }
    let status = node.wait();
    let (stdout, stderr) = (node.stdout(), node.stderr());
    let named = stderr.lines().count() == 1 && stderr.starts_with(&format!("doorward: {name}: "));
    let quiet = stdout.is_empty() && !stderr.contains("hunter2") && !stderr.contains(GOOD_KEY);
    let sentence = stderr.trim_end().len() > format!("doorward: {name}: ").len() + 10;
    (status.success() || !named || !quiet || !sentence).then(|| format!("{vars:?}: {status} {stdout:?} {stderr:?}"))
}

#[test]
fn every_invalid_setting_stops_the_start_and_is_named() {
    let rows: Vec<Row> = [&WEB[..], &ROWS_AND_KEYS, &SECRETS_AND_COOKIES, &MAILS].concat();
    let complaints: Vec<String> = rows.iter().filter_map(|(name, vars)| complaint(name, vars)).collect();
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), rows.len(), complaints.join("\n"));
}

#[test]
fn all_invalid_settings_are_reported_together() {
    let workdir = WorkDir::new().set("BIND", "here").set("ACCESS_TTL", "soon").set("PEPPER", "short");
    let ran = workdir.run(&["serve"]);
    let mut names: Vec<&str> =
        ran.stderr.lines().filter_map(|line| line.strip_prefix("doorward: ")?.split(':').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["ACCESS_TTL", "BIND", "PEPPER"], "{ran:?}");
    assert!(!ran.status.success());
}

#[test]
fn every_command_checks_the_settings() {
    let workdir = WorkDir::new().set("ACCESS_TTL", "soon");
    for arguments in [&["migrate"][..], &["account", "list"], &["session", "list", "1"], &["keys", "rotate"], &[]] {
        let ran = workdir.run(arguments);
        assert!(!ran.status.success() && ran.stderr.starts_with("doorward: ACCESS_TTL: "), "{arguments:?} {ran:?}");
    }
}

#[test]
fn a_port_in_use_is_reported() {
    let first = WorkDir::new();
    let first = first.serve(&[]);
    let ran = WorkDir::new().set("BIND", first.address().to_string()).run(&["serve"]);
    assert!(!ran.status.success() && ran.stdout.is_empty(), "{ran:?}");
    assert!(ran.stderr.starts_with("doorward: BIND: ") && ran.stderr.lines().count() == 1, "{ran:?}");
}

#[test]
fn foreign_files_stop_the_start() {
    let workdir = WorkDir::new();
    drop(workdir.serve(&[]));
    let keys = workdir.file("doorward.keys");
    let text = std::fs::read_to_string(&keys).unwrap();
    let secret = text.lines().find_map(|line| line.strip_prefix("hs256 ")?.split(' ').nth(1)).unwrap().to_owned();
    std::fs::write(&keys, text.replace("pepper ", "popper ")).unwrap();
    let torn = workdir.run(&["serve"]);
    assert!(!torn.status.success() && torn.stderr.starts_with("doorward: KEYS_FILE: "), "{torn:?}");
    std::fs::write(&keys, &text).unwrap();
    std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let open = workdir.run(&["serve"]);
    assert!(!open.status.success() && open.stderr.contains("chmod 600"), "{open:?}");
    assert!(![torn, open].iter().any(|ran| ran.stderr.contains(&secret)), "the key is not shown");
    let workdir = WorkDir::new();
    std::fs::write(
        workdir.file("doorward.db"),
        "this is no database, and it is long enough to be looked at".repeat(20),
    )
    .unwrap();
    let garbage = workdir.run(&["serve"]);
    assert!(!garbage.status.success() && garbage.stderr.starts_with("doorward: DATABASE_URL: "), "{garbage:?}");
}

#[test]
fn the_env_file_is_read_and_the_environment_wins() {
    let workdir = WorkDir::new();
    let written = "# ours\nCOOKIE_ACCESS_NAME=fromFile\nexport COOKIE_REFRESH_NAME=\"alsoFromFile\"\nTEST_MODE=true\nBCRYPT_COST=4\n\n";
    std::fs::write(workdir.file(".env"), written).unwrap();
    let workdir = workdir.set("COOKIE_ACCESS_NAME", "fromEnvironment");
    let node = workdir.serve(&["serve", "--demo"]);
    let body = serde_json::json!({ "username": "emilys", "password": "emilyspass" });
    let names: Vec<String> =
        node.post("/auth/login", &body).set_cookies().into_iter().map(|cookie| cookie.name).collect();
    assert_eq!(names, ["fromEnvironment", "alsoFromFile"]);
}

#[test]
fn an_invalid_env_file_is_reported_without_its_contents() {
    let mut complaints = vec![];
    for (written, named) in [
        ("ACCESS_TTL=soon\n", "ACCESS_TTL"),
        ("REFRESH_TLL=1d\n", "REFRESH_TLL"),
        ("PEPPER=\"canary-hunter2-without-its-closing-quote\n", ".env"),
        ("JWT_SECRET=\"canary-hunter2\" with a space\n", ".env: line 1, JWT_SECRET: "),
        ("a line of words with canary-hunter2\n", ".env"),
    ] {
        let workdir = WorkDir::new();
        std::fs::write(workdir.file(".env"), written).unwrap();
        let ran = workdir.run(&["serve"]);
        let is_reported = !ran.status.success() && ran.stderr.contains(named) && ran.stderr.lines().count() == 1;
        if !is_reported || ran.stderr.contains("hunter2") {
            complaints.push(format!("{written:?}: {ran:?}"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
