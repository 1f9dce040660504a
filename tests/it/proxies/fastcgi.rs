//! An app over FastCGI behind nginx, with the shipped parameters: what PHP-FPM would get as variables is the proxy's, and none of
//! it a client's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorward::testing::TestService;
use serde_json::{Map, Value, json};

use super::configurations::start_nginx_with_fastcgi;
use super::header_spellings::{FORGED, FORWARDED, spellings, variables};
use super::{HOST, get};
use crate::forward_auth::IDENTITY;
use crate::support::child_server::Daemon;
use crate::support::http::{Browser, Request};
use crate::support::{Backend, PASSWORD};

/// Record types of FastCGI 1.0.
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

/// Reports the variables that it got, as JSON. One request a connection.
fn start_app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream.ok()?));
        }
    });
    address
}

fn serve(mut stream: TcpStream) -> Option<()> {
    let mut parameters = vec![];
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head).ok()?;
        let [_, kind, _, _, high, low, padding, _] = head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut content = vec![0; length + usize::from(padding)];
        stream.read_exact(&mut content).ok()?;
        match kind {
            PARAMS => parameters.extend_from_slice(&content[..length]),
            STDIN if length == 0 => break,
            _ => {}
        }
    }
    let text = json!({ "environment": decoded(&parameters)? }).to_string();
    let answer = format!("Content-Type: application/json\r\n\r\n{text}");
    let record = |kind: u8, content: &[u8]| {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
    };
    let records = [record(STDOUT, answer.as_bytes()), record(STDOUT, b""), record(END_REQUEST, &[0; 8])];
    stream.write_all(&records.concat()).ok()
}

/// Name-value pairs, each with two lengths of one byte or four in front.
fn decoded(mut rest: &[u8]) -> Option<Map<String, Value>> {
    let mut variables: Map<String, Value> = Map::new();
    while !rest.is_empty() {
        let mut lengths = [0; 2];
        for length in &mut lengths {
            let bytes = if rest.first()? & 0x80 == 0 { 1 } else { 4 };
            let (number, others) = rest.split_at_checked(bytes)?;
            *length = number.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte)) & 0x7fff_ffff;
            rest = others;
        }
        let (name, others) = rest.split_at_checked(lengths[0])?;
        let (value, others) = others.split_at_checked(lengths[1])?;
        rest = others;
        let known = variables.entry(String::from_utf8_lossy(name)).or_insert_with(|| json!([]));
        known.as_array_mut()?.push(json!(String::from_utf8_lossy(value)));
    }
    Some(variables)
}

/// doorward, nginx in front of an app over FastCGI, and a browser that is signed in as emily.
fn start() -> (TestService, Daemon, Browser) {
    let service = Backend::Sqlite.service().set("TRUSTED_PROXIES", "127.0.0.1");
    let service = service.set("PUBLIC_URL", format!("http://{HOST}")).start();
    let proxy = start_nginx_with_fastcgi(service.address(), start_app());
    let mut browser = Browser::new(proxy.address());
    let body = json!({ "username": "emily", "password": PASSWORD }).to_string();
    let registered = browser.send(Request::new("POST", "/auth/register").header("Host", HOST).json(&body));
    assert_eq!(registered.status, 201, "{} {}", registered.text(), proxy.log());
    (service, proxy, browser)
}

#[test]
fn a_fastcgi_app_gets_the_proxys_variables_and_none_of_a_client() {
    let (_service, proxy, mut browser) = start();
    let genuine = get(&mut browser, "/");
    assert_eq!(genuine.status, 200, "{} {}", genuine.text(), proxy.log());
    assert_eq!(variables(&genuine, "Remote-User"), ["emily"]);
    assert_eq!(variables(&genuine, "X-Forwarded-Host"), [HOST]);
    for name in IDENTITY.into_iter().chain(FORWARDED) {
        for form in spellings(name) {
            let request = Request::new("GET", "/").header("Host", HOST).header(&form, FORGED);
            let answer = browser.send(request);
            assert_eq!(answer.status, 200, "{form}: {}", answer.text());
            assert_eq!(variables(&answer, name), variables(&genuine, name), "{form}");
            assert!(!answer.text().contains(FORGED), "{form}: {}", answer.text());
        }
    }
}

#[test]
fn a_fastcgi_app_gets_no_user_of_a_basic_header() {
    let (_service, proxy, mut browser) = start();
    let genuine = get(&mut browser, "/");
    // nginx's own fastcgi_params make REMOTE_USER of the user name.
    for credentials in [format!("{FORGED}:secret"), format!("{FORGED}:"), format!("{FORGED}:a:b")] {
        for scheme in ["Basic", "basic", "BASIC"] {
            let header = format!("{scheme} {}", STANDARD.encode(&credentials));
            let request = Request::new("GET", "/").header("Host", HOST).header("Authorization", &header);
            let answer = browser.send(request);
            assert_eq!(answer.status, 200, "{header}: {} {}", answer.text(), proxy.log());
            let environment = &answer.json()["environment"];
            assert_eq!(environment["REMOTE_USER"], json!(["emily"]), "{header}");
            assert_eq!(environment["AUTH_TYPE"], json!([""]), "{header}");
            assert_eq!(variables(&answer, "Remote-User"), variables(&genuine, "Remote-User"), "{header}");
            assert_eq!(variables(&answer, "Authorization"), [header.as_str()], "it is the app's own");
            assert!(!answer.text().contains(FORGED), "{header}: {}", answer.text());
        }
    }
}

#[test]
fn a_fastcgi_app_gets_each_variable_once() {
    let (_service, _proxy, mut browser) = start();
    let answer = get(&mut browser, "/deep?a=b");
    let environment = answer.json()["environment"].clone();
    for (name, values) in environment.as_object().unwrap() {
        assert_eq!(values.as_array().unwrap().len(), 1, "{name}: {values}");
    }
    for (name, value) in [
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/deep?a=b"),
        ("QUERY_STRING", "a=b"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("HTTP_HOST", HOST),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
    ] {
        assert_eq!(environment[name], json!([value]), "{name}");
    }
}
