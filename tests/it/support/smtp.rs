//! SMTP server on loopback for tests: accepts and stores mails, refuses with a given reply, delays its answers, closes
//! connections, offers TLS with its own certificate. It enforces RFC 5321 and records violations.

mod conversation;
mod mail;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::process::PATIENCE;
pub use mail::Mail;

/// Far more than a client opens at the same time.
const CONNECTIONS_MAX: usize = 500;

/// The extensions that the server offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// AUTH with name and password.
    pub auth: bool,
    /// STARTTLS.
    pub starttls: bool,
    /// TLS from the first byte.
    pub tls: bool,
}

/// The server; ended with all its connections and threads when dropped.
pub struct MailServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    offer: Offer,
    tls: Arc<ServerConfig>,
    certificate: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    over: bool,
    held: bool,
    hangs_up: bool,
    /// The start of a command, and the reply that refuses it.
    refusals: Vec<(String, String)>,
    mails: Vec<Mail>,
    /// Every command of every client.
    commands: Vec<String>,
    /// Names and passwords.
    credentials: Vec<(String, String)>,
    faults: Vec<String>,
    connections: usize,
    open: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl MailServer {
    /// Its certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.shared.certificate
    }

    /// A server that accepts every mail, without TLS and without a password.
    pub fn start() -> Self {
        Self::offering(Offer::default())
    }

    pub fn offering(offer: Offer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Mutex::new(State::default());
        let (config, certificate) = self_signed();
        let shared = Arc::new(Shared { offer, tls: Arc::new(config), certificate, state, changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let listener = std::thread::spawn(move || {
            for client in listener.incoming() {
                if theirs.lock().over {
                    return;
                }
                if let Ok(client) = client {
                    theirs.begin(client);
                }
            }
        });
        Self { address, shared, listener: Some(listener) }
    }

    /// The value of SMTP_URL.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on commands with this start are answered with this reply. `.` is the end of a mail.
    pub fn refuse(&self, command: &str, reply: &str) {
        self.shared.lock().refusals.push((command.to_uppercase(), reply.to_owned()));
    }

    /// From now on nothing is refused.
    pub fn refuse_nothing(&self) {
        self.shared.lock().refusals.clear();
    }

    /// From now on nothing is answered, until `let_go`.
    pub fn hold(&self) {
        self.shared.lock().held = true;
    }

    pub fn let_go(&self) {
        self.shared.lock().held = false;
        self.shared.changed.notify_all();
    }

    /// From now on every connection is closed immediately, like those of a server that is down.
    pub fn go_down(&self) {
        let mut state = self.shared.lock();
        state.hangs_up = true;
        state.close_all();
    }

    pub fn come_up(&self) {
        self.shared.lock().hangs_up = false;
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.shared.lock().mails.clone()
    }

    /// The mails to this address, in the order received.
    pub fn mails_to(&self, address: &str) -> Vec<Mail> {
        self.mails().into_iter().filter(|mail| mail.is_to(address)).collect()
    }

    /// The number of connections opened.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// Every command of every client so far.
    pub fn commands(&self) -> Vec<String> {
        self.shared.lock().commands.clone()
    }

    /// The names and passwords that clients gave.
    pub fn credentials(&self) -> Vec<(String, String)> {
        self.shared.lock().credentials.clone()
    }

    /// Waits for the n-th mail, counted from one.
    pub fn wait_for(&self, number: usize) -> Mail {
        self.wait(&format!("mail {number}"), |state| state.mails.get(number - 1).cloned())
    }

    /// Waits for the n-th mail to this address, counted from one.
    pub fn wait_for_mail_to(&self, address: &str, number: usize) -> Mail {
        let nth = |state: &State| state.mails.iter().filter(|mail| mail.is_to(address)).nth(number - 1).cloned();
        self.wait(&format!("mail {number} to {address}"), nth)
    }

    /// Waits until a client has sent this command.
    pub fn wait_for_command(&self, command: &str) {
        self.wait(command, |state| state.commands.iter().any(|text| text.starts_with(command)).then_some(()));
    }

    /// Waits until this many connections were opened.
    pub fn wait_for_connections(&self, number: usize) {
        self.wait(&format!("{number} connections"), |state| (state.connections >= number).then_some(()));
    }

    fn wait<T>(&self, what: &str, find: impl Fn(&State) -> Option<T>) -> T {
        let missing = |state: &mut State| find(state).is_none();
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, missing);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        find(&state).unwrap_or_else(|| {
            let (mails, faults) = (state.mails.len(), &state.faults);
            panic!("waited {PATIENCE:?} for {what}; {mails} mails came; faults: {faults:?}")
        })
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        let mut state = self.shared.lock();
        state.close_all();
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        for thread in threads {
            let _ = thread.join();
        }
        // A second panic in a failing test would abort the whole suite.
        if !std::thread::panicking() {
            let faults = std::mem::take(&mut self.shared.lock().faults);
            assert!(faults.is_empty(), "the client breaks the rules of SMTP: {faults:?}");
        }
    }
}

impl State {
    fn close_all(&mut self) {
        for client in self.open.drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn fault(&self, what: String) {
        self.change(|state| state.faults.push(what));
    }

    fn begin(self: &Arc<Self>, client: TcpStream) {
        let mut state = self.lock();
        state.connections += 1;
        if state.connections > CONNECTIONS_MAX {
            state.faults.push("connections without an end".to_owned());
        }
        if state.hangs_up || state.connections > CONNECTIONS_MAX {
            let _ = client.shutdown(Shutdown::Both);
        } else if let Ok(handle) = client.try_clone() {
            state.open.push(handle);
            let theirs = Arc::clone(self);
            state.threads.push(std::thread::spawn(move || drop(theirs.serve(client))));
        }
        drop(state);
        self.changed.notify_all();
    }

    fn serve(&self, client: TcpStream) -> io::Result<()> {
        client.set_read_timeout(Some(PATIENCE * 2))?;
        client.set_write_timeout(Some(PATIENCE * 2))?;
        client.set_nodelay(true)?;
        let handle = client.try_clone()?;
        let outcome = self.serve_until_the_end(client);
        let _ = handle.shutdown(Shutdown::Both);
        outcome
    }

    fn serve_until_the_end(&self, client: TcpStream) -> io::Result<()> {
        if self.offer.tls {
            return self.converse(self.secured(client)?, true, true).map(drop);
        }
        match self.converse(client, true, false)? {
            Some(client) => self.converse(self.secured(client)?, false, true).map(drop),
            None => Ok(()),
        }
    }

    fn secured(&self, client: TcpStream) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
        let connection = ServerConnection::new(Arc::clone(&self.tls)).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, client))
    }

    /// Waits while answers are held back.
    fn when_not_held(&self) -> io::Result<()> {
        let held = |state: &mut State| state.held && !state.over;
        let waited = self.changed.wait_timeout_while(self.lock(), Duration::from_secs(600), held);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.over { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

/// A self-signed certificate for every name of this machine, and its PEM.
fn self_signed() -> (ServerConfig, String) {
    let names = ["localhost", "127.0.0.1", "0.0.0.0"].map(ToOwned::to_owned).to_vec();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap(), made.cert.pem())
}
