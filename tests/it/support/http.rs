//! Raw HTTP/1.1 client, so that a test decides every byte that is sent and sees every byte that is received, and a
//! `Browser` with a cookie jar on top. One connection a request.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::secret_scanner;

/// Longer than any timeout of the service, so that its own answer is seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request, which can be sent repeatedly.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: None }
    }

    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.raw_header(name.as_bytes(), value.as_ref())
    }

    /// A header line of arbitrary bytes: nothing is validated or escaped.
    pub fn raw_header(mut self, name: &[u8], value: &[u8]) -> Self {
        self.headers.push((name.to_vec(), value.to_vec()));
        self
    }

    pub fn json(self, body: &str) -> Self {
        self.body(Some("application/json"), body)
    }

    pub fn body(mut self, content_type: Option<&str>, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Some(bytes.into());
        match content_type {
            Some(content_type) => self.header("Content-Type", content_type),
            None => self,
        }
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    pub fn cookie_header(self, cookies: &str) -> Self {
        self.header("Cookie", cookies)
    }

    pub fn send(&self, address: SocketAddr) -> Response {
        let answer = self.try_send(address);
        answer.unwrap_or_else(|fault| panic!("{} {} to {address}: {fault}", self.method, self.path))
    }

    /// Like `send`, to a server that may be down: an answer counts only if it is complete.
    pub fn try_send(&self, address: SocketAddr) -> io::Result<Response> {
        self.note_secrets();
        let stream = write_to(address, &self.to_bytes(address))?;
        Response::read(&mut BufReader::new(stream), self.method == "HEAD")
    }

    fn note_secrets(&self) {
        secret_scanner::record_request(&self.path, &self.headers, self.body.as_deref());
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Adds `Host`, `Connection` and `Content-Length` unless the test set its own.
    fn to_bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut lines = vec![];
        let mut add = |name: &[u8], value: &[u8]| lines.extend([name, b": ", value, b"\r\n"].concat());
        if !self.has_header("Host") {
            add(b"Host", address.to_string().as_bytes());
        }
        if !self.has_header("Connection") {
            add(b"Connection", b"close");
        }
        let length = self.body.as_ref().map_or(0, Vec::len);
        let changes = matches!(self.method.as_str(), "POST" | "PATCH" | "PUT" | "DELETE");
        if (self.body.is_some() || changes) && !self.has_header("Content-Length") {
            add(b"Content-Length", length.to_string().as_bytes());
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        let start = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        [start.as_bytes(), &lines, b"\r\n", self.body.as_deref().unwrap_or_default()].concat()
    }
}

/// A kept-alive connection, as browsers and proxies use them.
pub struct KeptConnection {
    address: SocketAddr,
    reader: BufReader<TcpStream>,
}

impl KeptConnection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { address, reader: BufReader::new(write_to(address, b"")?) })
    }

    pub fn send(&mut self, request: Request) -> io::Result<Response> {
        let request = request.header("Connection", "keep-alive");
        request.note_secrets();
        self.write(&request.to_bytes(self.address))?;
        self.read(request.method == "HEAD")
    }

    /// Like `send`, without a header that keeps the connection: the request has its own.
    pub fn send_as_it_is(&mut self, request: &Request) -> io::Result<Response> {
        request.note_secrets();
        self.write(&request.to_bytes(self.address))?;
        self.read(false)
    }

    /// The bytes of a keep-alive request.
    pub fn bytes(&self, request: Request) -> Vec<u8> {
        request.note_secrets();
        request.header("Connection", "keep-alive").to_bytes(self.address)
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// What follows the answers, after a change of the protocol.
    pub fn read_bytes(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(bytes)
    }

    pub fn read(&mut self, to_head: bool) -> io::Result<Response> {
        Response::read(&mut self.reader, to_head)
    }

    /// Whether the server closes the connection without another byte.
    pub fn is_hung_up(&mut self) -> bool {
        matches!(self.reader.read(&mut [0]), Ok(0))
    }
}

/// Sends exactly these bytes and returns everything up to the close; where the server would keep the connection, the
/// bytes must contain `Connection: close`.
pub fn exchange_raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut answer = vec![];
    secret_scanner::record_raw_request(bytes);
    let outcome = write_to(address, bytes).and_then(|mut stream| stream.read_to_end(&mut answer));
    match outcome {
        Err(fault) if !hung_up(&fault) => {
            panic!("raw bytes to {address}: {fault}; until then came: {}", String::from_utf8_lossy(&answer))
        }
        _ => {
            secret_scanner::record_raw_answer(&answer);
            answer
        }
    }
}

fn write_to(address: SocketAddr, bytes: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    match stream.write_all(bytes) {
        // A server may refuse a large body before it has read all of it: the answer is there all the same.
        Err(fault) if !hung_up(&fault) => Err(fault),
        _ => Ok(stream),
    }
}

fn hung_up(fault: &io::Error) -> bool {
    matches!(fault.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// An answer, its body decoded from its framing.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).first().copied()
    }

    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        let same = |known: &str| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(|(known, _)| same(known)).map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|fault| panic!("status {}, not JSON ({fault}): {:?}", self.status, self.text()))
    }

    /// The session cookies that it sets or clears.
    pub fn set_cookies(&self) -> Vec<SetCookie> {
        self.every_cookie().filter(|cookie| !cookie.is_of_device() && !cookie.is_of_pages()).collect()
    }

    /// The trusted-device cookie of a sign-in.
    pub fn device_cookie(&self) -> Option<SetCookie> {
        self.every_cookie().find(SetCookie::is_of_device)
    }

    fn every_cookie(&self) -> impl Iterator<Item = SetCookie> {
        self.headers_named("Set-Cookie").into_iter().map(SetCookie::parse)
    }

    fn read(reader: &mut impl BufRead, to_head: bool) -> io::Result<Self> {
        let mut response = Self::read_head(reader)?;
        // Informational answers (100 Continue) precede the answer.
        while response.status < 200 && response.status != 101 {
            response = Self::read_head(reader)?;
        }
        if !to_head && !matches!(response.status, 101 | 204 | 304) {
            response.body = response.read_body(reader)?;
        }
        secret_scanner::record_answer(&response);
        Ok(response)
    }

    fn read_head(reader: &mut impl BufRead) -> io::Result<Self> {
        let start = read_line(reader)?;
        let status = start.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| broken(&format!("status line {start:?}")))?;
        let mut headers = vec![];
        loop {
            let line = read_line(reader)?;
            if line.is_empty() {
                return Ok(Self { status, headers, body: vec![] });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| broken(&format!("header line {line:?}")))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn read_body(&self, reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
        if self.header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return read_chunks(reader);
        }
        let mut body = vec![];
        if let Some(length) = self.header("Content-Length") {
            let length = length.parse().map_err(|fault| broken(&format!("Content-Length {length:?}: {fault}")))?;
            body.resize(length, 0);
            reader.read_exact(&mut body)?;
        } else {
            reader.read_to_end(&mut body)?;
        }
        Ok(body)
    }
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = vec![];
    loop {
        let line = read_line(reader)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|fault| broken(&format!("chunk size {line:?}: {fault}")))?;
        if size == 0 {
            // Trailers, up to the empty line.
            while !read_line(reader)?.is_empty() {}
            return Ok(body);
        }
        let mut chunk = vec![0; size];
        reader.read_exact(&mut chunk)?;
        body.append(&mut chunk);
        if !read_line(reader)?.is_empty() {
            return Err(broken("a chunk is longer than it says"));
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = vec![];
    reader.read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None if line.is_empty() => Err(broken("the server hung up in the middle")),
        None => Err(broken(&format!("a line does not end in CR LF: {:?}", String::from_utf8_lossy(&line)))),
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not an HTTP/1.1 answer: {what}"))
}

/// One `Set-Cookie` line, taken apart.
#[derive(Clone, Debug)]
pub struct SetCookie {
    pub name: String,
    pub value: String,
    pub attributes: Vec<String>,
    pub line: String,
}

impl SetCookie {
    fn parse(line: &str) -> Self {
        let mut parts = line.split(';').map(str::trim);
        let pair = parts.next().unwrap_or_default();
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            attributes: parts.map(str::to_owned).collect(),
            line: line.to_owned(),
        }
    }

    /// The pages' own cookies: CSRF tokens and the redirect-loop guard.
    fn is_of_pages(&self) -> bool {
        ["csrfToken", "redirectCount"].iter().any(|name| self.name.ends_with(name))
    }

    fn is_of_device(&self) -> bool {
        self.name.ends_with("deviceToken")
    }

    /// Whether it clears the cookie.
    pub fn is_cleared(&self) -> bool {
        self.attributes.iter().any(|attribute| attribute.eq_ignore_ascii_case("Max-Age=0"))
    }
}

/// A browser with one cookie jar for one server, whatever the cookies' paths. A clone has the same cookies until either
/// changes them, like a second tab, or a thief.
#[derive(Clone, Debug)]
pub struct Browser {
    address: SocketAddr,
    jar: Vec<(String, String)>,
}

impl Browser {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, jar: Vec::new() }
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.send(Request::new("GET", path))
    }

    pub fn post(&mut self, path: &str, json: &str) -> Response {
        self.send(Request::new("POST", path).json(json))
    }

    pub fn post_empty(&mut self, path: &str) -> Response {
        self.send(Request::new("POST", path))
    }

    pub fn patch(&mut self, path: &str, json: &str) -> Response {
        self.send(Request::new("PATCH", path).json(json))
    }

    pub fn delete(&mut self, path: &str) -> Response {
        self.send(Request::new("DELETE", path))
    }

    pub fn send(&mut self, request: Request) -> Response {
        let pairs: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if pairs.is_empty() { request } else { request.cookie_header(&pairs.join("; ")) };
        let response = request.send(self.address);
        for cookie in response.every_cookie() {
            if cookie.is_cleared() {
                self.jar.retain(|(name, _)| *name != cookie.name);
            } else {
                self.set_cookie(&cookie.name, &cookie.value);
            }
        }
        response
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    pub fn set_cookie(&mut self, name: &str, value: &str) {
        match self.jar.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.jar.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Drops all cookies, like a browser whose data is cleared.
    pub fn forget(&mut self) {
        self.jar.clear();
    }
}
