//! `doorward doctor`: every problem is named with its remedy, and the URL check finds what a proxy does to cookies,
//! headers and answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use crate::support::process::{CommandOutput, WorkDir};

fn problems(ran: &CommandOutput) -> Vec<&str> {
    ran.stdout.lines().filter(|line| line.starts_with("error ")).collect()
}

#[test]
fn a_fresh_folder_has_no_problem_and_stays_empty() {
    let workdir = WorkDir::new();
    let ran = workdir.run(&["doctor"]);
    assert!(ran.status.success() && problems(&ran).is_empty(), "{ran:?}");
    assert!(ran.stdout.contains("warning  PUBLIC_URL is not set"), "{}", ran.stdout);
    assert_eq!(workdir.path().read_dir().unwrap().count(), 0, "it makes nothing");
}

#[test]
fn every_problem_is_named_with_its_remedy() {
    let https = ("PUBLIC_URL", "https://auth.example.com");
    let closed = ("SIGNUP", "false");
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[https], "TRUSTED_PROXIES is not set"),
        (&[https, ("TRUSTED_PROXIES", "0.0.0.0/0"), closed], "0.0.0.0/0 includes every address"),
        (&[https, ("TRUSTED_PROXIES", "10.0.0.1")], "SIGNUP: has no default with TRUSTED_PROXIES"),
        (&[("CORS_ORIGINS", "https://app.example.com/path")], "CORS_ORIGINS"),
        (
            &[https, ("TRUSTED_PROXIES", "10.0.0.1"), closed, ("CORS_ORIGINS", "https://app.example.net")],
            "browsers send no SameSite=Lax cookies",
        ),
        (&[("COOKIE_SAME_SITE", "None")], "COOKIE_SAME_SITE: None needs https"),
        (&[https, ("TRUSTED_PROXIES", "10.0.0.1"), closed, ("COOKIE_DOMAIN", "example.org")], "COOKIE_DOMAIN"),
        (&[("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")], "nothing listens there"),
    ];
    for (settings, expected) in cases {
        let workdir = settings.iter().fold(WorkDir::new(), |workdir, (name, value)| workdir.set(name, *value));
        let ran = workdir.run(&["doctor"]);
        assert!(!ran.status.success(), "{settings:?}");
        assert!(problems(&ran).iter().any(|line| line.contains(expected)), "{settings:?}: {ran:?}");
        // A problem is not contradicted by the next line.
        let praised = ran.stdout.contains("ok       client addresses are taken from the headers of trusted proxies");
        assert!(!praised || !expected.contains("every address"), "{}", ran.stdout);
        assert!(ran.stderr.contains("1 problem found"), "{}", ran.stderr);
    }
}

#[test]
fn the_cost_of_hashing_is_measured_on_this_machine() {
    let ran = WorkDir::new().set("BCRYPT_COST", "11").set("HASH_THREADS", "1").run(&["doctor", "--calibrate"]);
    assert!(ran.status.success(), "{ran:?}");
    let rows: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    for cost in ["10", "11"] {
        let measured = rows.iter().filter(|row| row.first() == Some(&cost) && row.get(2) == Some(&"ms")).count();
        assert_eq!(measured, 1, "{}", ran.stdout);
    }
    assert_eq!(rows.iter().filter(|row| row.last() == Some(&"BCRYPT_COST")).count(), 1);
    assert!(ran.stdout.contains(" BCRYPT_COST=11 "), "{}", ran.stdout);
}

#[test]
fn files_readable_by_others_are_named() {
    let workdir = WorkDir::new();
    drop(workdir.serve(&[]));
    assert!(workdir.run(&["doctor"]).status.success());
    for file in ["doorward.keys", "doorward.db"] {
        let path = workdir.file(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let ran = workdir.run(&["doctor"]);
        assert!(problems(&ran).iter().any(|line| line.contains(file) && line.contains("chmod 600")), "{ran:?}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn walk(workdir: &WorkDir, address: SocketAddr, password: &str) -> CommandOutput {
    workdir.run_with(&["doctor", &format!("http://{address}"), "--as", "emilys", "--password-stdin"], password)
}

#[test]
fn the_url_check_passes_a_service_and_leaves_no_session() {
    let workdir = WorkDir::new().set("TEST_MODE", "true").set("BCRYPT_COST", "4");
    let node = workdir.serve(&["serve", "--demo"]);
    let ran = walk(&workdir, node.address(), "emilyspass");
    assert!(ran.status.success(), "{ran:?}");
    let end = "ok       signed out; the tokens of the session are refused\nNo problems found\n";
    assert!(ran.stdout.ends_with(end), "{}", ran.stdout);
    assert_eq!(workdir.succeed(&["session", "list", "emilys"], "").lines().count(), 1, "the head of the table");
    let ran = walk(&workdir, node.address(), "wrong-wrong");
    assert!(!ran.status.success() && problems(&ran)[0].contains("answers 401 (invalid_credentials)"), "{ran:?}");
    assert!(problems(&ran)[0].ends_with("is the password correct?"), "{ran:?}");
}

#[test]
fn the_url_check_without_an_account_signs_nobody_in() {
    let workdir = WorkDir::new().set("TEST_MODE", "true").set("BCRYPT_COST", "4");
    let node = workdir.serve(&["serve", "--demo"]);
    let ran = workdir.run(&["doctor", &format!("http://{}", node.address())]);
    assert!(ran.status.success(), "{ran:?}");
    assert!(ran.stdout.contains("ok       the service answers\nok       / answers 303 without a sign-in"), "{ran:?}");
    assert_eq!(workdir.succeed(&["session", "list", "emilys"], "").lines().count(), 1, "the head of the table");
    assert!(!workdir.run(&["doctor", "--as", "emilys"]).status.success(), "an account needs a URL");
}

#[test]
fn the_url_check_finds_an_app_that_forged_headers_open() {
    for (forged, expected) in [
        ("remote-user:", "answers 200 to a stranger who sends Remote-User"),
        ("remote_user:", "answers 200 to a stranger who sends Remote_User"),
        ("remote-role:", "answers 200 to a stranger who sends Remote-Role"),
    ] {
        let ran = WorkDir::new().run(&["doctor", &format!("http://{}", app_opened_by(forged))]);
        assert!(!ran.status.success() && problems(&ran).len() == 1, "{ran:?}");
        assert!(problems(&ran)[0].contains(expected), "{ran:?}");
        assert!(ran.stdout.contains("ok       / is refused without a sign-in"), "{ran:?}");
    }
    let ran = WorkDir::new().run(&["doctor", &format!("http://{}", app_opened_by("another:"))]);
    assert!(ran.status.success() && ran.stdout.contains("ok       a forged identity header opens nothing"), "{ran:?}");
}

/// A site whose check is answered by a header, as if its proxy passed it on. Its thread ends with the test process.
fn app_opened_by(header: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().take(64).flatten() {
            let Ok(request) = read_one(&mut client, Some) else { continue };
            let request = String::from_utf8_lossy(&request).to_lowercase();
            let answer = match request {
                keys if keys.starts_with("get /.well-known/jwks.json") => {
                    "200 OK\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}"
                }
                opened if opened.contains(header) => "200 OK\r\nContent-Length: 0\r\n\r\n",
                _ => "401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            };
            let _ = client
                .write_all(format!("HTTP/1.1 {}", answer.replacen("\r\n", "\r\nConnection: close\r\n", 1)).as_bytes());
        }
    });
    address
}

#[test]
fn an_unreachable_url_is_reported_with_what_to_check() {
    let workdir = WorkDir::new().set("TEST_MODE", "true").set("BCRYPT_COST", "4");
    let node = workdir.serve(&["serve", "--demo"]);
    let to = |url: String, prefix: &str| {
        let arguments = ["doctor", &url, "--prefix", prefix, "--as", "emilys", "--password-stdin"];
        let ran = workdir.run_with(&arguments, "emilyspass");
        assert!(!ran.status.success() && problems(&ran).len() == 1, "{ran:?}");
        problems(&ran)[0].to_owned()
    };
    let here = format!("http://{}", node.address());
    for prefix in ["/nowhere", "/flat"] {
        let output = to(here.clone(), prefix);
        assert!(output.ends_with("is the native API mounted there? --prefix sets its prefix"), "{output}");
    }
    drop(node);
    let output = to(here, "/");
    assert!(output.ends_with("is the service running, and does this URL lead to it?"), "{output}");
}

#[test]
fn the_url_check_names_the_first_thing_that_a_proxy_breaks() {
    let workdir = WorkDir::new().set("TEST_MODE", "true").set("BCRYPT_COST", "4").set("TRUSTED_PROXIES", "127.0.0.1");
    let workdir = workdir.set("SIGNUP", "true");
    let node = workdir.serve(&["serve", "--demo"]);
    let behind = |to_service: Rewrite, to_client: Rewrite| {
        let ran = walk(&workdir, proxy(node.address(), to_service, to_client), "emilyspass");
        assert!(!ran.status.success(), "{ran:?}");
        problems(&ran)[0].to_owned()
    };
    let same: Rewrite = Some;
    let output = behind(|line| (!line.to_lowercase().starts_with("origin")).then_some(line), same);
    assert!(output.contains("remove or rewrite Origin"), "{output}");
    let output = behind(same, |line| (!line.to_lowercase().starts_with("set-cookie: ref")).then_some(line));
    assert!(output.contains("1 of 2 tokens arrived in cookies"), "{output}");
    let output = behind(same, |line| Some(line.replace("; HttpOnly", "")));
    assert!(output.contains("it is not HttpOnly"), "{output}");
    let output = behind(same, |line| Some(line.replace("Path=/;", "Path=/; Domain=other.example;")));
    assert!(output.contains("its domain is other.example"), "{output}");
    let output = behind(|line| (!line.to_lowercase().starts_with("cookie")).then_some(line), same);
    assert!(output.contains("drop or rename cookies"), "{output}");
    let output = behind(same, |line| Some(line.replace("no-store", "max-age=60")));
    assert!(output.contains("not no-store"), "{output}");
    let output = behind(same, same);
    assert!(
        output.contains("X-Forwarded-For: 192.0.2.77 from a client is trusted"),
        "a proxy that passes the header on: {output}"
    );
}

type Rewrite = fn(String) -> Option<String>;

/// A proxy that rewrites each header line. Its thread ends with the test process.
fn proxy(service: SocketAddr, to_service: Rewrite, to_client: Rewrite) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().take(64).flatten() {
            std::thread::spawn(move || pass(&client, service, to_service, to_client));
        }
    });
    address
}

fn pass(client: &TcpStream, service: SocketAddr, to_service: Rewrite, to_client: Rewrite) -> std::io::Result<()> {
    let mut upstream = TcpStream::connect(service)?;
    let (mut from, mut to) = (client.try_clone()?, client.try_clone()?);
    let request = read_one(&mut from, to_service)?;
    upstream.write_all(&request)?;
    let answer = read_one(&mut upstream, to_client)?;
    to.write_all(&answer)
}

/// One message, rewritten and marked as the last of its connection.
fn read_one(stream: &mut TcpStream, rewrite: Rewrite) -> std::io::Result<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let (mut message, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if let Some(line) = rewrite(line).filter(|line| !line.to_lowercase().starts_with("connection:")) {
            message.extend_from_slice(format!("{line}\r\n").as_bytes());
        }
    }
    message.extend_from_slice(b"Connection: close\r\n\r\n");
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    message.extend_from_slice(&body);
    Ok(message)
}
