//! An app that says what it received, as JSON: method, target, headers in their order, body. It knows no sign-in.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

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

    /// How many requests came through.
    pub fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

/// One connection, until its end.
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
        let body = String::from_utf8_lossy(&body);
        let said = json!({ "start": start, "headers": headers, "body": body }).to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: of-the-app=1\r\nContent-Length: {}\r\n\r\n{said}",
            said.len()
        );
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    let line = line.strip_suffix(b"\r\n")?;
    Some(String::from_utf8_lossy(line).into_owned())
}
