//! Slow clients (slowloris): each is disconnected by a timeout, whichever part it is slow at, and hundreds of them do
//! not stop the checks of others.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use doorward::testing::TestService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::http::Request;
use crate::support::process::WorkDir;
use crate::support::{Backend, is_soak, percentile};

/// A client that is still connected after this time is never disconnected; the timeouts are 10 s, the rest is for a
/// stalled machine.
const NEVER: Duration = Duration::from_secs(40);

const HEAD: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n";

/// The behaviour of a slow client.
struct Slow {
    what: &'static str,
    /// Sent first, one at a time, each after the previous was answered.
    sends: Vec<String>,
    /// Sent repeatedly after that.
    trickles: &'static str,
    /// The status of the last answer before the disconnect.
    status: &'static str,
}

fn slow(what: &'static str, sends: &[&str], trickles: &'static str, status: &'static str) -> Slow {
    Slow { what, sends: sends.iter().map(|part| (*part).to_owned()).collect(), trickles, status }
}

fn body(what: &'static str, start: &str, framing: &str, trickles: &'static str, status: &'static str) -> Slow {
    let head = format!("{start} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}\r\n\r\n");
    Slow { what, sends: vec![head], trickles, status }
}

fn every_kind() -> Vec<Slow> {
    let whole = format!("{HEAD}\r\n");
    let whole = whole.as_str();
    let late = "POST /auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (sized, chunked) = ("Content-Length: 1000", "Transfer-Encoding: chunked");
    vec![
        slow("nothing at all", &[""], "", "408"),
        slow("half a head", &[HEAD], "", "408"),
        slow("a head that trickles", &[&format!("{HEAD}X: ")], "a", "408"),
        slow("silence after an answer", &[whole], "", "200"),
        slow("half a second head", &[whole, HEAD], "", "200"),
        slow("no chunk to a second head", &[whole, late], "", "408"),
        slow("a second head that trickles", &[whole, &format!("{HEAD}X: ")], "a", "200"),
        body("no body", "POST /auth/login", sized, "", "408"),
        body("a body that trickles", "POST /auth/login", sized, " ", "408"),
        body("no chunk", "POST /auth/login", chunked, "", "408"),
        body("chunks that trickle", "POST /auth/login", chunked, "1\r\n \r\n", "408"),
        body("no body to a 404", "POST /nowhere", sized, "", "404"),
        body("a body that trickles to a 404", "POST /nowhere", sized, " ", "404"),
        body("no chunk to a 404", "POST /nowhere", chunked, "", "404"),
        body("chunks that trickle to a 404", "POST /nowhere", chunked, "1\r\n \r\n", "404"),
        body("chunks that trickle to a 405", "PUT /auth/login", chunked, "1\r\n \r\n", "405"),
        body("chunks that trickle to a 401", "PATCH /auth/me", chunked, "1\r\n \r\n", "401"),
        body("a body that trickles to a 401", "PATCH /auth/me", sized, " ", "401"),
        body(
            "chunks that trickle to a 403",
            "POST /auth/login",
            "Origin: https://evil.example\r\nTransfer-Encoding: chunked",
            "1\r\n \r\n",
            "403",
        ),
        body("chunks that trickle to a check", "GET /healthz", chunked, "1\r\n \r\n", "200"),
    ]
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    stream
}

/// Whether the stream has ended; received bytes are appended to `heard`.
fn listen(stream: &mut TcpStream, heard: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => true,
        Ok(bytes) => {
            heard.extend_from_slice(&buffer[..bytes]);
            false
        }
        Err(why) => !matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

impl Slow {
    /// The time from the last complete part to the disconnect, and the last status.
    fn run(&self, address: SocketAddr) -> (Duration, String) {
        let (mut stream, mut heard) = (connect(address), vec![]);
        let (last, before) = self.sends.split_last().unwrap();
        for part in before {
            stream.write_all(part.as_bytes()).unwrap();
            while !heard.ends_with(b"}") {
                assert!(!listen(&mut stream, &mut heard), "{}: closed before its time", self.what);
            }
        }
        stream.write_all(last.as_bytes()).unwrap();
        let began = Instant::now();
        while !listen(&mut stream, &mut heard) && began.elapsed() < NEVER {
            let _ = stream.write_all(self.trickles.as_bytes());
        }
        let heard = String::from_utf8_lossy(&heard).into_owned();
        let status = heard.rsplit("HTTP/1.1 ").next().unwrap_or_default().chars().take(3).collect();
        (began.elapsed(), status)
    }
}

#[test]
fn every_kind_of_slow_client_is_disconnected() {
    let service = TestService::start();
    let address = service.address();
    let reader = std::thread::spawn(move || a_client_that_reads_nothing(address));
    let running: Vec<_> = every_kind()
        .into_iter()
        .map(|slow| std::thread::spawn(move || (slow.what, slow.status, slow.run(address))))
        .collect();
    for slow in running {
        let (what, status, (took, last_status)) = slow.join().unwrap();
        crate::support::print_figure(&format!("{what}: {last_status}, closed after {:.1} s", took.as_secs_f32()));
        assert_eq!(last_status, status, "{what}");
        assert!(took < NEVER, "{what}: still open");
    }
    let took = reader.join().unwrap();
    crate::support::print_figure(&format!("unread answers: closed after {:.1} s", took.as_secs_f32()));
    assert!(took < NEVER, "unread answers: still open");
    assert_eq!(Request::new("GET", "/healthz").send(address).status, 200);
}

/// Sends requests and reads no answer; the time from the last successful write to the disconnect.
fn a_client_that_reads_nothing(address: SocketAddr) -> Duration {
    let mut stream = connect(address);
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let requests = format!("{HEAD}\r\n").repeat(100);
    let (begun, mut moved) = (Instant::now(), Instant::now());
    while begun.elapsed() < NEVER {
        match stream.write(requests.as_bytes()) {
            Ok(_) => moved = Instant::now(),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_closed) => return moved.elapsed(),
        }
    }
    NEVER
}

#[test]
fn a_connection_over_the_limit_waits_until_another_closes() {
    let service = TestService::builder().set("MAX_CONNECTIONS", "4").start();
    // On a machine that stalls for the idle timeout, the fifth connection is served early: then once more.
    let waited = (0..5).any(|_| {
        let mut held: Vec<TcpStream> = (0..4).map(|_| connect(service.address())).collect();
        for stream in &mut held {
            stream.write_all(format!("{HEAD}\r\n").as_bytes()).unwrap();
            let mut heard = vec![];
            while !heard.ends_with(b"}") {
                assert!(!listen(stream, &mut heard), "within the cap");
            }
        }
        let mut over = connect(service.address());
        over.write_all(format!("{HEAD}\r\n").as_bytes()).unwrap();
        let mut heard = vec![];
        assert!(!listen(&mut over, &mut heard) && !listen(&mut over, &mut heard), "it is not refused");
        let waited = heard.is_empty();
        drop(held.pop());
        let began = Instant::now();
        while !heard.ends_with(b"}") {
            assert!(!listen(&mut over, &mut heard) && began.elapsed() < NEVER, "it has its turn");
        }
        crate::support::print_figure(&format!("answered {:?} after another closed", began.elapsed()));
        waited
    });
    assert!(waited, "a fifth connection was served beside four");
}

/// Raises the limit of open files: the test holds as many connections as the service.
pub fn allow_open_files(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = getrlimit(Resource::Nofile).current;
    assert!(now.is_none_or(|now| now > wanted), "{now:?} open files are too few; raise the limit (ulimit -n)");
}

#[test]
fn hundreds_of_slow_clients_do_not_stop_checks() {
    let (clients, rounds) = if is_soak() { (1000, 100) } else { (300, 15) };
    allow_open_files(clients + 200);
    let node = WorkDir::on(Backend::Sqlite).serve(&[]);
    let body = format!(r#"{{"username":"emily","password":"{}"}}"#, crate::support::PASSWORD);
    assert_eq!(node.send(&Request::new("POST", "/auth/register").json(&body)).status, 201);
    let (access, _) = node.sign_in("emily", crate::support::PASSWORD);
    let (address, kinds) = (node.address(), every_kind());
    let kinds: Vec<&Slow> = kinds.iter().filter(|slow| slow.sends.len() == 1 && !slow.trickles.is_empty()).collect();
    let hold = |number: usize| {
        let kind = kinds[number % kinds.len()];
        let mut stream = connect(address);
        stream.set_nonblocking(true).unwrap();
        let _ = stream.write_all(kind.sends[0].as_bytes());
        (stream, kind.trickles)
    };
    let mut streams: Vec<_> = (0..usize::try_from(clients).unwrap()).map(hold).collect();
    let check = Request::new("GET", "/auth/me").bearer(&access);
    let (mut times, mut begun_again) = (vec![], 0);
    for _ in 0..rounds {
        for (number, (stream, trickles)) in streams.iter_mut().enumerate() {
            if stream.write_all(trickles.as_bytes()).is_err() {
                (*stream, *trickles) = hold(number);
                begun_again += 1;
            }
        }
        for _ in 0..50 {
            let began = Instant::now();
            assert_eq!(check.send(address).status, 200);
            times.push(began.elapsed());
        }
    }
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    crate::support::print_figure(&format!(
        "{clients} slow clients, {begun_again} begun again: {} checks, p50 {p50:?}, p99 {p99:?}",
        times.len()
    ));
    let in_time = p50 < Duration::from_millis(100) && p99 < Duration::from_secs(2);
    assert!(!is_soak() || in_time, "p50 {p50:?}, p99 {p99:?}");
}
