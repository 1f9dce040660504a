//! Where the configuration comes from: secrets from files, one settings file for the service and its commands, and commands that
//! create nothing where there is nothing.

use std::fs;

use serde_json::json;

use crate::support::postgres::{database_of, new_database};
use crate::support::process::{PATIENCE, WorkDir, until};
use crate::support::{Backend, on_both_backends, on_postgres};

on_both_backends!(secrets_are_read_from_files, commands_create_nothing);
on_postgres!(errors_of_a_postgres_url_say_what_is_wrong, pgbouncer_in_session_mode_serves);

const KEY: &str = "FDZJbfztgU4D5A/HhdMdUotlv9O/8RUFnY4ZjwJ5DGRYk3XNy9UL1G5mpZ9rmrY/";
const PEPPER: &str = "bLCqlxSUOtEx0L0O3Qh2veqVMZ9uWzJe3vNoi6ClOUHxL8pXMx7ROrHgoS7T5y7s";

fn secrets_are_read_from_files(backend: Backend) {
    let workdir = WorkDir::on(backend);
    let url = workdir.get("DATABASE_URL").unwrap_or("sqlite://other.db").to_owned();
    let mut workdir = workdir.set("DATABASE_URL", "");
    for (name, value) in [
        ("DATABASE_URL", url.as_str()),
        ("JWT_SECRET", KEY),
        ("PEPPER", PEPPER),
        ("METRICS_TOKEN", "a-token-of-the-metrics-in-a-file"),
        ("SMTP_URL", "smtp://127.0.0.1:1"),
    ] {
        let file = workdir.file(&name.to_lowercase());
        fs::write(&file, format!("{value}\n")).unwrap();
        workdir = workdir.set(&format!("{name}_FILE"), file.display().to_string());
    }
    let node = workdir.serve(&["serve", "--demo"]);
    node.sign_in("emilys", "emilyspass");
    assert!(
        !workdir.file("doorward.db").exists() && !workdir.file("doorward.keys").exists(),
        "the defaults are unused"
    );
    let metrics = |token: &str| node.send(&crate::support::http::Request::new("GET", "/metrics").bearer(token)).status;
    assert_eq!((metrics("a-token-of-the-metrics-in-a-file"), metrics("another-token-of-the-metrics")), (200, 401));
    assert!(workdir.succeed(&["account", "list"], "").contains("emilys"), "a command reads the same files");
}

#[test]
fn a_secret_file_that_cannot_be_used_stops_the_start() {
    let workdir = WorkDir::new();
    fs::write(workdir.file("empty"), "\n").unwrap();
    fs::write(workdir.file("short"), "hunter2").unwrap();
    for (name, file, expected) in [
        ("JWT_SECRET_FILE", "missing", "missing does not exist"),
        ("PEPPER_FILE", "empty", "empty is empty"),
        ("METRICS_TOKEN_FILE", ".", "is a directory"),
        ("JWT_SECRET_FILE", "short", "JWT_SECRET: the key has 7 bytes"),
        ("DATABASE_URL_FILE", "short", "DATABASE_URL: use sqlite://PATH"),
        ("PUBLIC_URL_FILE", "short", "set PUBLIC_URL"),
        ("DOORWARD_PEPPER_FILE", "short", "use PEPPER_FILE"),
    ] {
        let path = workdir.file(file).display().to_string();
        let ran = WorkDir::new().set(name, path).run(&["serve"]);
        assert!(!ran.status.success() && ran.stderr.contains(expected), "{name}: {ran:?}");
        assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    }
    // Both forms of one setting.
    let both = WorkDir::new().set("PEPPER", PEPPER).set("PEPPER_FILE", workdir.file("short").display().to_string());
    let ran = both.run(&["serve"]);
    assert!(ran.stderr.contains("PEPPER_FILE: PEPPER is set too"), "{ran:?}");
}

fn commands_create_nothing(backend: Backend) {
    let workdir = WorkDir::on(backend).unprepared();
    for arguments in [
        &["account", "list"][..],
        &["account", "add", "--username", "emilys", "--password-stdin"],
        &["session", "list", "1"],
        &["keys", "list"],
        &["keys", "rotate"],
        &["audit"],
        &["doctor"],
    ] {
        let ran = workdir.run_with(arguments, "quiet-harbour-lantern");
        let left: Vec<_> = fs::read_dir(workdir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{arguments:?} left {left:?}");
        if arguments[0] != "doctor" {
            assert!(!ran.status.success() && ran.stderr.contains("doorward migrate"), "{ran:?}");
            let folder = workdir.path().canonicalize().unwrap().display().to_string();
            assert!(
                ran.stderr.contains(&folder) || ran.stderr.contains(&*workdir.path().display().to_string()),
                "{ran:?}"
            );
        }
    }
    workdir.succeed(&["migrate"], "");
    workdir.succeed(&["account", "add", "--username", "emilys", "--password-stdin"], "quiet-harbour-lantern");
    assert!(workdir.succeed(&["account", "list"], "").contains("emilys"));
}

#[test]
fn one_settings_file_is_shared_by_the_service_and_its_commands() {
    let service = WorkDir::new();
    let database = service.file("data.db").display().to_string();
    let file = service.file("doorward.env");
    let text = format!(
        "\u{feff}# of the service\r\nDATABASE_URL=sqlite://{database}\r\nexport TEST_MODE=true\r\nBCRYPT_COST = 4\r\n\
         JWT_SECRET='{KEY}'\r\nMAIL_FROM=Example <a@b.example>\r\nTRUSTED_PROXIES=127.0.0.1, 10.0.0.0/8 # ours\r\nSIGNUP=true\r\n"
    );
    fs::write(&file, text).unwrap();
    // Beside it: a file that is not read then.
    fs::write(service.file(".env"), "BIND=nowhere\n").unwrap();
    let config = file.display().to_string();
    let node = service.serve(&["serve", "--demo", "--config", &config]);
    let elsewhere = WorkDir::new();
    assert!(elsewhere.succeed(&["--config", &config, "account", "list"], "").contains("emilys"));
    assert!(elsewhere.succeed(&["account", "list", "--config", &config], "").contains("emilys"));
    node.sign_in("emilys", "emilyspass");
    let missing = elsewhere.run(&["--config", "no.env", "account", "list"]);
    assert!(!missing.status.success() && missing.stderr.contains("no.env: does not exist"), "{missing:?}");
    // The environment wins.
    let other = elsewhere.set("DATABASE_URL", "sqlite://mine.db").unprepared();
    let ran = other.run(&["--config", &config, "account", "list"]);
    assert!(!ran.status.success() && ran.stderr.contains("mine.db"), "{ran:?}");
}

#[test]
fn a_dollar_sign_in_a_secret_is_one() {
    let workdir = WorkDir::new();
    let secret = "abc$HOME$def0123XyZ${PATH}9876$Qw_rT";
    for line in [format!("JWT_SECRET={secret}"), format!("JWT_SECRET='{secret}'"), format!("JWT_SECRET=\"{secret}\"")] {
        fs::write(workdir.file(".env"), format!("{line}\nPEPPER={PEPPER}\nTEST_MODE=true\nBCRYPT_COST=4\n")).unwrap();
        let node = workdir.serve(&["serve", "--demo"]);
        let (access, _) = node.sign_in("emilys", "emilyspass");
        drop(node);
        // The same secret from the environment, where nothing expands it either.
        let file = format!("sqlite://{}", workdir.file("doorward.db").display());
        let same =
            WorkDir::on(Backend::Sqlite).set("DATABASE_URL", file).set("JWT_SECRET", secret).set("PEPPER", PEPPER);
        assert!(same.serve(&["serve"]).accepts(&access), "{line}");
    }
}

#[test]
fn sighup_reloads_rules_and_log_level_and_drops_no_request() {
    let workdir = WorkDir::on(Backend::Sqlite).set("TRUSTED_PROXIES", "127.0.0.1");
    let (rules, config) = (workdir.file("rules"), workdir.file("doorward.env"));
    fs::write(&rules, "app.example /public/* public\napp.example /* signed-in\n").unwrap();
    fs::write(&config, format!("RULES_FILE={}\nRUST_LOG=warn\n", rules.display())).unwrap();
    let node = workdir.serve(&["serve", "--demo", "--config", &config.display().to_string()]);
    let status = |path: &str| {
        let check = crate::support::http::Request::new("GET", "/auth/verify").header("X-Forwarded-Host", "app.example");
        let check = check.header("X-Forwarded-Uri", path).header("X-Forwarded-Proto", "http");
        node.send(&check.header("X-Forwarded-For", "203.0.113.7").header("X-Forwarded-Method", "GET")).status
    };
    assert_eq!((status("/public/a"), status("/open")), (200, 401));
    fs::write(&rules, "app.example /open public\napp.example /* signed-in\n").unwrap();
    fs::write(&config, format!("RULES_FILE={}\nRUST_LOG=info\n", rules.display())).unwrap();
    assert_eq!((status("/public/a"), status("/open")), (200, 401), "nothing changes by itself");
    let address = node.address();
    let requests = std::thread::spawn(move || {
        let get = || crate::support::http::Request::new("GET", "/healthz").send(address).status;
        (0..300).map(|_| get()).filter(|status| *status != 200).count()
    });
    node.signal("HUP");
    until(PATIENCE, "the new rules", || (status("/open") == 200).then_some(()));
    assert_eq!(status("/public/a"), 401);
    node.stderr_with("rules, keys and log level reloaded");
    // A mistake changes nothing, and is reported.
    fs::write(&rules, "app.example /* nobody-knows-this\n").unwrap();
    node.signal("HUP");
    node.stderr_with("the former stay in use");
    assert_eq!((status("/public/a"), status("/open")), (401, 200));
    assert_eq!(requests.join().unwrap(), 0);
}

#[test]
fn errors_of_a_sqlite_url_say_what_is_wrong() {
    let workdir = WorkDir::new();
    fs::create_dir(workdir.file("folder")).unwrap();
    fs::write(workdir.file("text.db"), "this is no database, and it is long enough to be looked at".repeat(20))
        .unwrap();
    for (url, expected) in [
        ("sqlite://none/a.db", "does not exist; create it"),
        ("sqlite:///none/a/b.db", "does not exist; create it"),
        ("sqlite://folder", "is a directory"),
        ("sqlite://text.db", "is not a SQLite database"),
        ("sqlite:///proc/a.db", "/proc/a.db"),
    ] {
        let path = url.strip_prefix("sqlite://").unwrap();
        let path = workdir.file(path).display().to_string();
        let ran = WorkDir::new().set("DATABASE_URL", format!("sqlite://{path}")).run(&["serve"]);
        assert!(!ran.status.success() && ran.stderr.contains(expected), "{url}: {ran:?}");
        assert!(!ran.stderr.contains("start the database"), "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    }
}

fn errors_of_a_postgres_url_say_what_is_wrong() {
    let url = new_database();
    let cases = [
        ("postgres://app:hunter2@127.0.0.1:1/none".to_owned(), "nothing listens there"),
        ("postgres://app:hunter2@no-such-host.invalid/none".to_owned(), "correct the host"),
        ("postgres://app:hunter2@/none?host=/nowhere".to_owned(), "there is no socket"),
        (url.replace(database_of(&url), "no_such_database"), "create the database"),
        (url.replace("doorward@", "no_such_role:hunter2@"), "create the role"),
        ("postgres://app:a@b:hunter2secret/z@db.example/x".to_owned(), "percent-encode"),
    ];
    for (url, expected) in cases {
        for arguments in [&["serve"][..], &["migrate"], &["doctor"]] {
            let ran = WorkDir::new().set("DATABASE_URL", &url).run(arguments);
            let told = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!ran.status.success() && told.contains(expected), "{url} {arguments:?}: {ran:?}");
            assert!(!told.contains("hunter2") && !told.contains("start the database"), "{ran:?}");
        }
    }
}

/// A pooler between the service and PostgreSQL, as hosted databases put one there.
fn pgbouncer_in_session_mode_serves() {
    let url = new_database();
    let workdir = WorkDir::on(Backend::Postgres);
    let socket = crate::support::postgres::shared().socket();
    let server = socket.parent().unwrap().display().to_string();
    let folder = workdir.path().display().to_string();
    let database = database_of(&url);
    let ini = format!(
        "[databases]\n{database} = host={server} port=5432 user=doorward\n[pgbouncer]\npool_mode = session\nlisten_addr =\n\
         unix_socket_dir = {folder}\nlisten_port = 6543\nauth_type = any\npidfile = {folder}/pgbouncer.pid\nlogfile = {folder}/pgbouncer.log\n\
         ignore_startup_parameters = extra_float_digits\n"
    );
    fs::write(workdir.file("pgbouncer.ini"), ini).unwrap();
    let Ok(mut pooler) = start_pgbouncer(&workdir) else {
        panic!("pgbouncer is missing: apt-get install pgbouncer");
    };
    until(PATIENCE, "pgbouncer", || workdir.file(".s.PGSQL.6543").exists().then_some(()));
    let through = format!("postgres://doorward@/{database}?host={folder}&port=6543");
    let workdir = workdir.set("DATABASE_URL", through);
    let (one, two) = (workdir.serve(&["serve", "--demo"]), workdir.serve(&["serve"]));
    let (access, refresh) = one.sign_in("emilys", "emilyspass");
    assert!(two.accepts(&access));
    assert_eq!(two.post("/auth/refresh", &json!({ "refreshToken": refresh })).status, 200);
    assert_eq!(one.send(&crate::support::http::Request::new("POST", "/auth/logout").bearer(&access)).status, 200);
    until(PATIENCE, "the logout on the other node", || (!two.accepts(&access)).then_some(()));
    drop((one, two));
    let _ = pooler.kill();
    let _ = pooler.wait();
}

/// As the owner of the folder, since it refuses to run as root.
fn start_pgbouncer(workdir: &WorkDir) -> std::io::Result<std::process::Child> {
    let ini = workdir.file("pgbouncer.ini").display().to_string();
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let mut command = std::process::Command::new("pgbouncer");
    if is_root {
        let owned = std::process::Command::new("chown").args(["-R", "postgres"]).arg(workdir.path()).status()?;
        assert!(owned.success());
        command.args(["-u", "postgres"]);
    }
    command.args(["-q", &ini]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn()
}
