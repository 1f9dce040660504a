//! Upstream app: reports what it received as JSON: method, target, headers in order, the environment that a CGI program would
//! get, body. It echoes what a WebSocket sends, and has no authentication of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

pub struct App {
    address: SocketAddr,
    reached: Arc<AtomicUsize>,
}

impl App {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let app = Self { address: listener.local_addr().unwrap(), reached: Arc::default() };
        let reached = Arc::clone(&app.reached);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let reached = Arc::clone(&reached);
                std::thread::spawn(move || serve(stream.ok()?, &reached));
            }
        });
        app
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of requests that reached it.
    pub fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

/// Serves a connection until its end.
fn serve(stream: TcpStream, reached: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let start = line(&mut reader)?;
        let mut headers: Vec<(String, String)> = Vec::new();
        loop {
            let line = line(&mut reader)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let named = |name: &str| headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let length: usize = named("content-length").map_or(Some(0), |(_, value)| value.parse().ok())?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        reached.fetch_add(1, Ordering::SeqCst);
        if named("upgrade").is_some() && named("connection").is_some() {
            return echo(&mut reader, &named("sec-websocket-key")?.1);
        }
        let body = String::from_utf8_lossy(&body);
        let environment = environment(&headers);
        let text = json!({ "start": start, "headers": headers, "environment": environment, "body": body }).to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: of-the-app=1\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

/// The variables that a CGI program gets (RFC 3875 section 4.1.18), by the mapping that confuses the most names: every byte but
/// letters and digits becomes an underscore. PHP, for one, makes `HTTP_REMOTE_USER` of `Remote-User`, `Remote_User` and
/// `Remote.User`.
fn environment(headers: &[(String, String)]) -> Map<String, Value> {
    let variable = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "_").to_ascii_uppercase();
    let mut variables: Map<String, Value> = Map::new();
    for (name, value) in headers {
        let known = variables.entry(format!("HTTP_{}", variable(name))).or_insert_with(|| json!([]));
        known.as_array_mut().unwrap().push(json!(value));
    }
    variables
}

/// Accepts a WebSocket (RFC 6455 section 4.2.2) and sends each short message back.
fn echo(reader: &mut BufReader<TcpStream>, key: &str) -> Option<()> {
    let accepted = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(accepted)
    );
    reader.get_mut().write_all(answer.as_bytes()).ok()?;
    loop {
        let mut head = [0; 6];
        reader.read_exact(&mut head).ok()?;
        let [begin, length, mask @ ..] = head;
        let mut message = vec![0; usize::from(length & 0x7f)];
        reader.read_exact(&mut message).ok()?;
        message.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        reader.get_mut().write_all(&[&[begin, length & 0x7f], &message[..]].concat()).ok()?;
    }
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    let line = line.strip_suffix(b"\r\n")?;
    Some(String::from_utf8_lossy(line).into_owned())
}
