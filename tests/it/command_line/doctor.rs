//! `doorward doctor`: every problem is named with its remedy, and the URL check finds what a proxy does to cookies,
//! headers and answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use crate::support::process::{Place, Ran};

fn problems(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().filter(|line| line.starts_with("error ")).collect()
}

#[test]
fn a_fresh_folder_has_no_problem_and_stays_empty() {
    let place = Place::new();
    let ran = place.run(&["doctor"]);
    assert!(ran.status.success() && problems(&ran).is_empty(), "{ran:?}");
    assert!(ran.stdout.contains("warning  PUBLIC_URL is not set"), "{}", ran.stdout);
    assert_eq!(place.path().read_dir().unwrap().count(), 0, "it makes nothing");
}

#[test]
fn every_problem_is_named_with_its_remedy() {
    let https = ("PUBLIC_URL", "https://auth.example.com");
    let cases: [(&[(&str, &str)], &str); 7] = [
        (&[https], "TRUSTED_PROXIES is not set"),
        (&[https, ("TRUSTED_PROXIES", "0.0.0.0/0")], "0.0.0.0/0 includes every address"),
        (&[("CORS_ORIGINS", "https://app.example.com/path")], "CORS_ORIGINS"),
        (
            &[https, ("TRUSTED_PROXIES", "10.0.0.1"), ("CORS_ORIGINS", "https://app.example.net")],
            "browsers send no SameSite=Lax cookies",
        ),
        (&[("COOKIE_SAME_SITE", "None")], "COOKIE_SAME_SITE: None needs https"),
        (&[https, ("TRUSTED_PROXIES", "10.0.0.1"), ("COOKIE_DOMAIN", "example.org")], "COOKIE_DOMAIN"),
        (&[("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")], "start the database"),
    ];
    for (settings, expected) in cases {
        let place = settings.iter().fold(Place::new(), |place, (name, value)| place.set(name, *value));
        let ran = place.run(&["doctor"]);
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
    let ran = Place::new().set("BCRYPT_COST", "11").set("HASH_THREADS", "1").run(&["doctor", "--calibrate"]);
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
    let place = Place::new();
    drop(place.serve(&[]));
    assert!(place.run(&["doctor"]).status.success());
    for file in ["doorward.keys", "doorward.db"] {
        let path = place.file(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let ran = place.run(&["doctor"]);
        assert!(problems(&ran).iter().any(|line| line.contains(file) && line.contains("chmod 600")), "{ran:?}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn walk(place: &Place, address: SocketAddr, password: &str) -> Ran {
    place.run_with(&["doctor", &format!("http://{address}"), "--as", "emilys", "--password-stdin"], password)
}

#[test]
fn the_url_check_passes_a_service_and_leaves_no_session() {
    let place = Place::new().set("TEST_MODE", "true").set("BCRYPT_COST", "4");
    let node = place.serve(&["serve", "--demo"]);
    let ran = walk(&place, node.address(), "emilyspass");
    assert!(ran.status.success(), "{ran:?}");
    let end = "ok       signed out; the tokens of the session are refused\nNo problems found\n";
    assert!(ran.stdout.ends_with(end), "{}", ran.stdout);
    assert_eq!(place.succeed(&["session", "list", "emilys"], "").lines().count(), 1, "the head of the table");
    let ran = walk(&place, node.address(), "wrong-wrong");
    assert!(!ran.status.success() && problems(&ran)[0].contains("answers 401 (invalid_credentials)"), "{ran:?}");
    assert!(problems(&ran)[0].ends_with("is the password correct?"), "{ran:?}");
}

#[test]
fn an_unreachable_url_is_reported_with_what_to_check() {
    let place = Place::new().set("TEST_MODE", "true").set("BCRYPT_COST", "4");
    let node = place.serve(&["serve", "--demo"]);
    let to = |url: String, prefix: &str| {
        let arguments = ["doctor", &url, "--prefix", prefix, "--as", "emilys", "--password-stdin"];
        let ran = place.run_with(&arguments, "emilyspass");
        assert!(!ran.status.success() && problems(&ran).len() == 1, "{ran:?}");
        problems(&ran)[0].to_owned()
    };
    let here = format!("http://{}", node.address());
    for prefix in ["/nowhere", "/flat"] {
        let said = to(here.clone(), prefix);
        assert!(said.ends_with("is the native API mounted there? --prefix sets its prefix"), "{said}");
    }
    drop(node);
    let said = to(here, "/");
    assert!(said.ends_with("is the service running, and does this URL lead to it?"), "{said}");
}

#[test]
fn the_url_check_names_the_first_thing_that_a_proxy_breaks() {
    let place = Place::new().set("TEST_MODE", "true").set("BCRYPT_COST", "4").set("TRUSTED_PROXIES", "127.0.0.1");
    let node = place.serve(&["serve", "--demo"]);
    let behind = |to_service: Rewrite, to_client: Rewrite| {
        let ran = walk(&place, proxy(node.address(), to_service, to_client), "emilyspass");
        assert!(!ran.status.success(), "{ran:?}");
        problems(&ran)[0].to_owned()
    };
    let same: Rewrite = Some;
    let said = behind(|line| (!line.to_lowercase().starts_with("origin")).then_some(line), same);
    assert!(said.contains("remove or rewrite Origin"), "{said}");
    let said = behind(same, |line| (!line.to_lowercase().starts_with("set-cookie: ref")).then_some(line));
    assert!(said.contains("1 of 2 tokens arrived in cookies"), "{said}");
    let said = behind(same, |line| Some(line.replace("; HttpOnly", "")));
    assert!(said.contains("it is not HttpOnly"), "{said}");
    let said = behind(same, |line| Some(line.replace("Path=/;", "Path=/; Domain=other.example;")));
    assert!(said.contains("its domain is other.example"), "{said}");
    let said = behind(|line| (!line.to_lowercase().starts_with("cookie")).then_some(line), same);
    assert!(said.contains("drop or rename cookies"), "{said}");
    let said = behind(same, |line| Some(line.replace("no-store", "max-age=60")));
    assert!(said.contains("not no-store"), "{said}");
    let said = behind(same, same);
    assert!(
        said.contains("X-Forwarded-For: 192.0.2.77 from a client is trusted"),
        "a proxy that passes the header on: {said}"
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
