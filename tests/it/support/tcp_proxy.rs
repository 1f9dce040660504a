//! A link to PostgreSQL that a test can cut: a proxy on a port of its own in front of a cluster's socket. It passes
//! everything, or holds everything back without a word, or refuses and closes. What a service should make of it is left
//! to the tests.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::postgres::database_of;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    Hold,
    Refuse,
    Over,
}

struct State {
    mode: Mode,
    socket: PathBuf,
    open: Vec<(TcpStream, Option<UnixStream>)>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The link; gone with all its connections when dropped.
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// A link that is cut until this is dropped, which closes what was held.
pub struct Cut(Arc<Shared>);

impl Link {
    /// A link to the server behind this socket.
    pub fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Mutex::new(State { mode: Mode::Pass, socket, open: vec![] });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if theirs.lock().mode == Mode::Over {
                    return;
                }
                let (Ok(client), shared) = (client, Arc::clone(&theirs)) else { continue };
                std::thread::spawn(move || shared.serve(&client));
            }
        });
        Self { address, shared }
    }

    /// The URL of the same database over this link.
    pub fn url(&self, direct: &str) -> String {
        format!("postgres://doorward@{}/{}", self.address, database_of(direct))
    }

    /// From now on nothing comes through and nobody is told: neither an error nor an end.
    pub fn hold(&self) -> Cut {
        self.shared.turn(Mode::Hold);
        Cut(Arc::clone(&self.shared))
    }

    /// Closes all connections and every new one.
    pub fn refuse(&self) -> Cut {
        self.shared.turn(Mode::Refuse);
        self.shared.close_all();
        Cut(Arc::clone(&self.shared))
    }

    /// Closes all connections; new ones lead to another server.
    pub fn lead_to(&self, socket: &Path) {
        socket.clone_into(&mut self.shared.lock().socket);
        self.shared.close_all();
    }
}

impl Cut {
    /// Mends the link; what was held goes on its way, as after a short loss of packets.
    pub fn release(self) {
        self.0.turn(Mode::Pass);
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if self.0.lock().mode != Mode::Pass {
            self.0.close_all();
            self.0.turn(Mode::Pass);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.turn(Mode::Over);
        self.shared.close_all();
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, mode: Mode) {
        self.lock().mode = mode;
        self.changed.notify_all();
    }

    fn close_all(&self) {
        for (client, server) in self.lock().open.drain(..) {
            let _ = client.shutdown(Shutdown::Both);
            if let Some(server) = server {
                let _ = server.shutdown(Shutdown::Both);
            }
        }
    }

    /// Waits while the link is held; what it is then.
    fn when_not_held(&self) -> Mode {
        let held = |state: &mut State| state.mode == Mode::Hold;
        let state = self.changed.wait_while(self.lock(), held).unwrap_or_else(PoisonError::into_inner);
        state.mode
    }

    fn serve(self: &Arc<Self>, client: &TcpStream) {
        // Known before it may go on, so that it can be closed while it is held.
        self.lock().open.push((client.try_clone().unwrap(), None));
        if self.when_not_held() == Mode::Pass {
            let _ = self.connect_through(client);
        }
        let _ = client.shutdown(Shutdown::Both);
    }

    fn connect_through(self: &Arc<Self>, client: &TcpStream) -> io::Result<()> {
        let socket = self.lock().socket.clone();
        let server = UnixStream::connect(socket)?;
        client.set_nodelay(true)?;
        self.lock().open.push((client.try_clone()?, Some(server.try_clone()?)));
        let (shared, from, to) = (Arc::clone(self), server.try_clone()?, client.try_clone()?);
        let back = std::thread::spawn(move || {
            shared.carry(&from, &to);
            let _ = to.shutdown(Shutdown::Both);
        });
        self.carry(client, &server);
        let _ = server.shutdown(Shutdown::Both);
        let _ = back.join();
        Ok(())
    }

    fn carry(&self, mut from: impl Read, mut to: impl Write) {
        let mut piece = [0; 16 * 1024];
        while let Ok(bytes @ 1..) = from.read(&mut piece) {
            let passes = matches!(self.when_not_held(), Mode::Pass);
            if !passes || to.write_all(piece.get(..bytes).unwrap_or_default()).is_err() {
                return;
            }
        }
    }
}
