//! A client's connection, which waits for its client but not for ever. What arrives has to become a request in time, and
//! what is answered has to be taken in time; what arrives and what is answered is decided by those above.
//!
//! Between two requests it looks at what comes, since nearly all of it is checks: one whose answer is a yes at hand is answered
//! here, and actix, whose way to a handler costs more than the check, never hears of it. Whatever else it is goes up as it
//! came. Only what is exactly one request is looked at (between.rs), so nobody can be answered out of turn.
//!
//! actix times the first head of a connection and the silence between two requests. It does not time a later head once its
//! first octet is there, nor the rest of a chunked body that nobody reads any more, nor a client that takes no answer.

use super::in_flight::InFlight;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::web::server::request_framing::ConnectionState;

pub use crate::web::server::request_framing::{Head, ReadAction, look};

/// How long a client may leave answers untaken.
const WRITE_TIMEOUT: Duration = Duration::from_secs(8);

/// How long after the last request that went up others are answered here. actix ends a connection that is silent for longer than
/// it allows, and knows of the requests alone that it sees: some must go up in that time.
const KEEPALIVE_REFRESH: Duration = Duration::from_secs(2);

/// Answers a request without actix if it can: writes the whole answer, or leaves the buffer empty and returns false.
pub type FastPath = Rc<dyn Fn(Head<'_>, &mut Vec<u8>) -> bool>;

/// A socket with its deadlines.
pub struct Connection {
    fast_path: Option<FastPath>,
    socket: TcpStream,
    requests: InFlight,
    state: ConnectionState,
    /// The beginning of a request whose rest is on its way, or all of one on its way up.
    held: Vec<u8>,
    /// Whether what is held goes up.
    goes_up: bool,
    /// What is left to be sent of an answer from here.
    unsent: Vec<u8>,
    /// When the client was last due: at the beginning, and whenever it was sent something.
    due_since: Instant,
    /// Since when octets have waited to be taken.
    stuck_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Around a socket that was just accepted.
    pub fn new(socket: TcpStream, fast_path: Option<FastPath>) -> Self {
        Self {
            fast_path,
            socket,
            requests: InFlight::default(),
            state: ConnectionState::default(),
            held: Vec::new(),
            goes_up: false,
            unsent: Vec::new(),
            due_since: Instant::now(),
            stuck_since: None,
            alarm: None,
        }
    }

    /// Where those above note requests.
    pub fn requests(&self) -> &InFlight {
        &self.requests
    }

    /// Whether this time has come; wakes the task when it does. An alarm at an earlier time is moved only when that comes,
    /// so that a busy connection does not set a timer for each request.
    fn has_come(&mut self, time: Instant, context: &mut Context<'_>) -> bool {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(time)));
        if alarm.deadline() <= time && alarm.as_mut().poll(context).is_pending() {
            return false;
        }
        alarm.as_mut().reset(time);
        alarm.as_mut().poll(context).is_ready()
    }

    fn client_is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.requests.none() && self.has_come(self.due_since + self.requests.patience(), context)
    }

    /// What a write came to, unless nothing has been taken for too long.
    fn written(&mut self, outcome: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        if outcome.is_ready() {
            self.due_since = now;
            // Nobody may call again before the client says something: the alarm must stand.
            let _ = self.has_come(now + self.requests.patience(), context);
            return outcome;
        }
        let since = *self.stuck_since.get_or_insert(now);
        if self.has_come(since + WRITE_TIMEOUT, context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }
}

impl Connection {
    /// What is to be done with octets that have just come.
    fn arrived(&mut self, bytes: &[u8]) -> ReadAction {
        if !self.state.is_between() {
            self.state.passes(bytes);
            return self.hand_up(bytes);
        }
        let whole;
        let request = if self.held.is_empty() {
            bytes
        } else {
            whole = [&self.held, bytes].concat();
            &whole
        };
        let is_in_sight = self.state.went_up_within(KEEPALIVE_REFRESH);
        let (fast_path, unsent) = (self.fast_path.as_ref(), &mut self.unsent);
        let answers = |head: Head<'_>| is_in_sight && fast_path.is_some_and(|fast_path| fast_path(head, unsent));
        match look(request, answers) {
            ReadAction::HandlerResult => {
                self.held.clear();
                ReadAction::HandlerResult
            }
            ReadAction::NeedMore => {
                self.held.extend_from_slice(bytes);
                ReadAction::NeedMore
            }
            ReadAction::Forward => {
                self.state.passes(request);
                self.hand_up(bytes)
            }
        }
    }

    /// Up with them, after what is held.
    fn hand_up(&mut self, bytes: &[u8]) -> ReadAction {
        if self.held.is_empty() {
            return ReadAction::Forward;
        }
        self.held.extend_from_slice(bytes);
        self.goes_up = true;
        ReadAction::NeedMore
    }

    /// As much of what goes up as there is room for; whether any did.
    fn give_up_held(&mut self, into: &mut ReadBuf<'_>) -> bool {
        if !self.goes_up {
            return false;
        }
        let room = self.held.len().min(into.remaining());
        into.put_slice(self.held.get(..room).unwrap_or_default());
        self.held.drain(..room);
        self.goes_up = !self.held.is_empty();
        true
    }

    fn send_rest(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let outcome = Pin::new(&mut self.socket).poll_write(context, &self.unsent);
            let sent = ready!(self.written(outcome, context))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..sent);
            self.stuck_since = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    /// A late client is as good as gone, which is how the server hears of it: the end of the stream.
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unsent.is_empty() && this.client_is_late(context) {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(this.send_rest(context))?;
            if this.give_up_held(into) {
                return Poll::Ready(Ok(()));
            }
            let before = into.filled().len();
            ready!(Pin::new(&mut this.socket).poll_read(context, into))?;
            let came = into.filled().get(before..).unwrap_or_default();
            if came.is_empty() || matches!(this.arrived(came), ReadAction::Forward) {
                return Poll::Ready(Ok(()));
            }
            into.set_filled(before);
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.send_rest(context))?;
        let outcome = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.state.answers(bytes);
        this.written(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.send_rest(context))?;
        let outcome = Pin::new(&mut this.socket).poll_write_vectored(context, slices);
        this.state.answers(&slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<_>>());
        this.written(outcome, context)
    }

    /// Called when everything has been written: nothing waits to be taken any more.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.send_rest(context))?;
        ready!(Pin::new(&mut this.socket).poll_flush(context))?;
        this.stuck_since = None;
        if this.requests.none() {
            this.state.is_done(this.due_since);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
