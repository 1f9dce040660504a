//! A client's connection, which waits for its client but not for ever. What arrives has to become a request in time, and
//! what is answered has to be taken in time; what arrives and what is answered is decided by those above.
//!
//! actix times the first head of a connection and the silence between two requests. It does not time a later head once its
//! first octet is there, nor the rest of a chunked body that nobody reads any more, nor a client that takes no answer.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::rt::net::TcpStream;
use actix_web::web::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a connection may go from its beginning, or from its last answer, to its next whole head.
const REQUEST_PATIENCE: Duration = Duration::from_secs(9);

/// The same after a refusal whose body may still be on its way: the client gets to see the refusal, and no more.
pub const LINGER: Duration = Duration::from_secs(1);

/// How long a client may leave answers untaken.
const ANSWER_PATIENCE: Duration = Duration::from_secs(8);

/// A socket with its deadlines.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    requests: Requests,
    /// When the client was last due: at the beginning, and whenever it was sent something.
    due_since: Instant,
    /// Since when octets have waited to be taken.
    stuck_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// What a connection is told about its requests. Goes into the connection's data.
#[derive(Debug, Clone, Default)]
pub struct Requests(Rc<Told>);

#[derive(Debug, Default)]
struct Told {
    /// How many are being answered: one or none.
    running: Cell<usize>,
    /// No further one is wanted.
    over: Cell<bool>,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct Answering(Requests);

/// An answer's body: its request is being answered until the last of it is handed over.
#[derive(Debug)]
pub struct AnswerBody {
    body: BoxBody,
    _answering: Option<Answering>,
}

impl Requests {
    /// Notes that one has arrived.
    pub fn begin(&self) -> Answering {
        self.0.running.set(self.0.running.get() + 1);
        Answering(self.clone())
    }

    /// Notes that the answer to the current one is the connection's last.
    pub fn end(&self) {
        self.0.over.set(true);
    }

    fn none(&self) -> bool {
        self.0.running.get() == 0
    }

    /// How long the next one may take to arrive.
    fn patience(&self) -> Duration {
        if self.0.over.get() { LINGER } else { REQUEST_PATIENCE }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let running = &self.0.0.running;
        running.set(running.get().saturating_sub(1));
    }
}

impl AnswerBody {
    /// Of a request that is being answered, if its connection is one of ours.
    pub fn new(body: BoxBody, answering: Option<Answering>) -> Self {
        Self { body, _answering: answering }
    }
}

impl MessageBody for AnswerBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

impl Connection {
    /// Around a socket that was just accepted.
    pub fn new(socket: TcpStream) -> Self {
        let requests = Requests::default();
        Self { socket, requests, due_since: Instant::now(), stuck_since: None, alarm: None }
    }

    /// Where those above note requests.
    pub fn requests(&self) -> &Requests {
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
        if self.has_come(since + ANSWER_PATIENCE, context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }
}

impl AsyncRead for Connection {
    /// A late client is as good as gone, which is how the server hears of it: the end of the stream.
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.client_is_late(context) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(context, octets);
        self.written(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.written(outcome, context)
    }

    /// Called when everything has been written: nothing waits to be taken any more.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(context))?;
        self.stuck_since = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
