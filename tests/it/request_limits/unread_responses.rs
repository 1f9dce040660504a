//! Backpressure: pipelined requests whose responses are not read wait in the socket and fill no memory; such a connection is
//! closed, and one that is read slowly gets every response in order.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use actix_web::rt::net::TcpSocket;
use doorward::testing::TestService;

use super::slow_clients::allow_open_files;
use crate::support::http::{KeptConnection, Request};
use crate::support::process::WorkDir;
use crate::support::rng::Rng;
use crate::support::{Backend, Tokens, register};

/// The clients of the first two kinds, and of each other kind.
const CLIENTS: usize = 120;
const OTHER_CLIENTS: usize = 40;

/// A debug build on a busy machine takes its time to fill the buffers of so many connections.
const PATIENCE: Duration = Duration::from_mins(3);

/// The most resident memory of the service, in KiB, debug build or not.
const MEMORY_MAX: usize = 60 * 1024;

/// Connections whose sockets hold few unread bytes, so that the service has to hold the others, or not to make them.
fn connect_all(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    actix_web::rt::System::new().block_on(async {
        let mut streams = vec![];
        for _ in 0..count {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let stream = socket.connect(address).await.unwrap().into_std().unwrap();
            stream.set_nonblocking(true).unwrap();
            streams.push(stream);
        }
        streams
    })
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// A sign-in that fails, which is not answered immediately.
fn sign_in(framing: &str, body: &str) -> String {
    let head = "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    format!("{head}{framing}\r\n\r\n{body}")
}

/// What the clients send: once, and then without end.
fn floods() -> Vec<(String, String)> {
    let body = r#"{"username":"emily","password":"not this one at all"}"#;
    let sized = format!("Content-Length: {}", body.len());
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let many_headers = get("/healthz").replace("Host", &("X: y\r\n".repeat(70) + "Host"));
    vec![
        (String::new(), get("/healthz")),
        (String::new(), get("/auth/verify")),
        (get("/healthz"), get("/auth/forward")),
        (sign_in("Transfer-Encoding: chunked", &chunks), get("/auth/verify")),
        (sign_in(&sized, body) + &sign_in(&format!("Expect: 100-continue\r\n{sized}"), body), get("/healthz")),
        (many_headers, get("/healthz").replace("1.1", "1.0\r\nConnection: keep-alive")),
    ]
}

/// A client that reads nothing.
struct Flood {
    stream: TcpStream,
    bytes: Vec<u8>,
    position: usize,
    repeats_from: usize,
}

impl Flood {
    /// Sends what the socket takes. Whether the service has closed the connection.
    fn is_closed_after_sending(&mut self) -> bool {
        // A bounded number of writes: the others have their turn, whatever the service reads.
        for _ in 0..16 {
            match self.stream.write(&self.bytes[self.position..]) {
                Ok(count) => self.position += count,
                Err(why) => return why.kind() != ErrorKind::WouldBlock,
            }
            if self.position == self.bytes.len() {
                self.position = self.repeats_from;
            }
        }
        false
    }
}

/// The resident memory of a process, in KiB.
#[cfg(target_os = "linux")]
fn resident_memory(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn unread_responses_fill_no_memory_and_their_connections_are_closed() {
    let kinds = floods();
    let chosen = kinds
        .iter()
        .enumerate()
        .flat_map(|(number, kind)| std::iter::repeat_n(kind, if number < 2 { CLIENTS } else { OTHER_CLIENTS }));
    let chosen: Vec<_> = chosen.collect();
    allow_open_files(u64::try_from(chosen.len()).unwrap() + 100);
    let node = WorkDir::on(Backend::Sqlite).set("RUST_LOG", "warn").set("MAX_CONNECTIONS", "2000").serve(&[]);
    let streams = connect_all(node.address(), chosen.len());
    let flood = |(stream, (once, repeated)): (TcpStream, &(String, String))| {
        let bytes = [once.as_bytes(), &repeated.as_bytes().repeat(2000)].concat();
        Flood { stream, bytes, position: 0, repeats_from: once.len() }
    };
    let mut open: Vec<Flood> = streams.into_iter().zip(chosen).map(flood).collect();
    let (before, mut most, began) = (resident_memory(node.id()), 0, Instant::now());
    while !open.is_empty() {
        assert!(began.elapsed() < PATIENCE, "{} connections with unread responses are still open", open.len());
        open.retain_mut(|flood| !flood.is_closed_after_sending());
        most = most.max(resident_memory(node.id()));
        std::thread::sleep(Duration::from_millis(10));
    }
    crate::support::print_figure(&format!("memory {before} KiB before, at most {most} KiB, {:?}", began.elapsed()));
    assert!(most < MEMORY_MAX, "{before} KiB became {most} KiB");
    assert_eq!(node.get("/healthz").status, 200);
}

/// Requests of every framing, with the status of each.
fn conversation(access: &str, rng: &mut Rng, count: usize) -> (Vec<u8>, Vec<u16>) {
    let check = format!("GET /auth/verify HTTP/1.1\r\nHost: x\r\nCookie: accessToken={access}\r\n\r\n");
    let chunks = "1\r\n{\r\n2;a=b\r\n\r\n\r\n1\r\n}\r\n0\r\n\r\n";
    let kinds = [
        (check, 200),
        (get("/auth/verify"), 401),
        (get("/nowhere"), 404),
        (get("/healthz").replace("Host", &("X: y\r\n".repeat(70) + "Host")), 200),
        (get("/healthz").replace("Host", "Upgrade: h2c\r\nHost"), 200),
        (sign_in("Content-Length: 2", "{}"), 422),
        // A chunked body that is refused would close the connection.
        (get("/healthz").replace("\r\n\r\n", &format!("\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")), 200),
    ];
    let chosen: Vec<_> = (0..count).map(|_| &kinds[rng.below(kinds.len())]).collect();
    let bytes = chosen.iter().flat_map(|(request, _)| request.bytes()).collect();
    (bytes, chosen.iter().map(|(_, status)| *status).collect())
}

/// The statuses of the responses in these bytes; none of their bodies contains a status line.
fn statuses(heard: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(heard);
    text.split("HTTP/1.1 ").skip(1).filter_map(|response| response.get(..3)?.parse().ok()).collect()
}

/// Whether the last response has arrived whole: every body here is a JSON object or empty.
fn is_complete(heard: &[u8]) -> bool {
    heard.ends_with(b"}") || heard.ends_with(b"\r\n\r\n")
}

#[test]
fn pipelined_requests_of_every_framing_are_answered_in_order() {
    let service = TestService::start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let mut rng = Rng::seeded("requests in one piece");
    for _ in 0..40 {
        let mut kept = KeptConnection::open(service.address()).unwrap();
        let (mut bytes, mut expected) = conversation(&access, &mut rng, 60);
        // The last ends the connection: nothing but its response may follow.
        bytes.extend(get("/nowhere").replace("Host", "Connection: close\r\nHost").bytes());
        bytes.extend(get("/healthz").bytes());
        expected.push(404);
        for piece in bytes.chunks(1 + rng.below(bytes.len())) {
            kept.write(piece).unwrap();
        }
        for status in expected {
            assert_eq!(kept.read(false).unwrap().status, status);
        }
        assert!(kept.is_hung_up());
    }
}

/// The responses together are larger than all buffers between the two, so most requests wait until the client has read; and
/// it reads for longer than the deadline of a response.
#[test]
fn a_client_that_reads_slowly_gets_every_response_in_order() {
    let service = TestService::start();
    let access = Tokens::in_jar_of(&register(&service, "emily")).access;
    let streams = connect_all(service.address(), 4);
    let slow = |(number, mut stream): (usize, TcpStream)| {
        let mut rng = Rng::seeded(&format!("slow reader {number}"));
        let (bytes, expected) = conversation(&access, &mut rng, 1000);
        std::thread::spawn(move || {
            stream.set_nonblocking(false).unwrap();
            let mut writer = stream.try_clone().unwrap();
            let sending = std::thread::spawn(move || writer.write_all(&bytes));
            let (mut heard, mut buffer) = (vec![], [0; 4096]);
            while statuses(&heard).len() < expected.len() || !is_complete(&heard) {
                let count = stream.read(&mut buffer).unwrap();
                assert!(count > 0, "closed after {} of {} responses", statuses(&heard).len(), expected.len());
                heard.extend_from_slice(&buffer[..count]);
                std::thread::sleep(Duration::from_millis(80));
            }
            sending.join().unwrap().unwrap();
            assert_eq!(statuses(&heard), expected);
        })
    };
    let running: Vec<_> = streams.into_iter().enumerate().map(slow).collect();
    running.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(Request::new("GET", "/healthz").send(service.address()).status, 200);
}
