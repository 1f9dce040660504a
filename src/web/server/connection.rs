//! A client's connection, between the socket and actix: serves allowed checks itself (the fast path), passes all other bytes
//! through unchanged, and closes the connection of a client that exceeds a deadline. Which bytes are exactly one request is
//! decided by request_framing.rs, which check is allowed by the closure that the server provides, and how long a client may
//! take by deadlines.rs.
//!
//! The fast path exists because actix's way to a handler costs more than the check itself. It is safe only as long as a
//! response cannot be sent out of turn. Hence it serves a request only while the connection is idle: actix has answered
//! everything that it was given, holds no part of a further request, and the bytes read are exactly one request.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deadlines::Deadlines;
use super::in_flight::InFlight;
use super::request_framing::{ConnectionState, ReadAction, RequestHead, parse_single_request};

/// How long after the last forwarded request the fast path may answer. actix closes a connection that is idle for longer than
/// its keep-alive time, and only sees the requests that are forwarded: one of them in this time resets its timer.
const KEEPALIVE_REFRESH: Duration = Duration::from_secs(2);

/// Answers a request without actix if it can: appends the whole response and returns true, or leaves the buffer empty and
/// returns false.
pub type FastPath = Rc<dyn Fn(RequestHead<'_>, &mut Vec<u8>) -> bool>;

/// A socket with its deadlines and, unless it is switched off, the fast path.
pub struct Connection {
    fast_path: Option<FastPath>,
    socket: TcpStream,
    state: ConnectionState,
    /// The beginning of a request whose rest has not arrived, or bytes on their way to actix.
    read_buffer: Vec<u8>,
    /// Whether actix gets what is in the read buffer.
    forwarding: bool,
    /// The rest of a fast-path response that the socket has not taken.
    unsent: Vec<u8>,
    deadlines: Deadlines,
}

impl Connection {
    /// Wraps a socket that was just accepted.
    pub fn new(socket: TcpStream, fast_path: Option<FastPath>) -> Self {
        Self {
            fast_path,
            socket,
            state: ConnectionState::default(),
            read_buffer: Vec::new(),
            forwarding: false,
            unsent: Vec::new(),
            deadlines: Deadlines::new(),
        }
    }

    /// The requests that the middleware reports as in flight.
    pub fn in_flight(&self) -> &InFlight {
        self.deadlines.in_flight()
    }

    /// Decides what happens to bytes that have just been read.
    fn on_read(&mut self, bytes: &[u8]) -> ReadAction {
        if !self.state.is_idle() {
            self.state.on_read(bytes);
            return self.forward(bytes);
        }
        let joined;
        let request = if self.read_buffer.is_empty() {
            bytes
        } else {
            joined = [&self.read_buffer, bytes].concat();
            &joined
        };
        let keeps_actix_alive = self.state.is_idle_for_less_than(KEEPALIVE_REFRESH);
        let (fast_path, unsent) = (self.fast_path.as_ref(), &mut self.unsent);
        let answer =
            |head: RequestHead<'_>| keeps_actix_alive && fast_path.is_some_and(|fast_path| fast_path(head, unsent));
        match parse_single_request(request, answer) {
            ReadAction::Answered => {
                self.read_buffer.clear();
                ReadAction::Answered
            }
            ReadAction::NeedMore => {
                self.read_buffer.extend_from_slice(bytes);
                ReadAction::NeedMore
            }
            ReadAction::Forward => {
                self.state.on_read(request);
                self.forward(bytes)
            }
        }
    }

    /// Forwards bytes to actix, after those in the read buffer.
    fn forward(&mut self, bytes: &[u8]) -> ReadAction {
        if self.read_buffer.is_empty() {
            return ReadAction::Forward;
        }
        self.read_buffer.extend_from_slice(bytes);
        self.forwarding = true;
        ReadAction::NeedMore
    }

    /// Moves as many forwarded bytes as fit from the read buffer into actix's. Returns whether there were any.
    fn drain_buffer_into(&mut self, into: &mut ReadBuf<'_>) -> bool {
        if !self.forwarding {
            return false;
        }
        let length = self.read_buffer.len().min(into.remaining());
        into.put_slice(self.read_buffer.get(..length).unwrap_or_default());
        self.read_buffer.drain(..length);
        self.forwarding = !self.read_buffer.is_empty();
        true
    }

    /// Writes the rest of a fast-path response. Nothing else is read or written before that, so a client that takes no
    /// responses cannot make the buffer grow.
    fn poll_send_rest(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let outcome = Pin::new(&mut self.socket).poll_write(context, &self.unsent);
            let sent = ready!(self.deadlines.on_write(outcome, context))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..sent);
            self.deadlines.on_flush();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    /// For a client that is overdue the stream ends here, as if the client had closed it: that ends the connection in actix.
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unsent.is_empty() && this.deadlines.poll_request_overdue(context) {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(this.poll_send_rest(context))?;
            if this.drain_buffer_into(into) {
                return Poll::Ready(Ok(()));
            }
            let before = into.filled().len();
            ready!(Pin::new(&mut this.socket).poll_read(context, into))?;
            let bytes = into.filled().get(before..).unwrap_or_default();
            if bytes.is_empty() || matches!(this.on_read(bytes), ReadAction::Forward) {
                return Poll::Ready(Ok(()));
            }
            // actix must not see bytes that were answered or buffered here.
            into.set_filled(before);
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send_rest(context))?;
        let outcome = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.state.on_write(bytes);
        this.deadlines.on_write(outcome, context)
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
        ready!(this.poll_send_rest(context))?;
        let outcome = Pin::new(&mut this.socket).poll_write_vectored(context, slices);
        this.state.on_write(&slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<_>>());
        this.deadlines.on_write(outcome, context)
    }

    /// actix flushes when it has written everything: the response is complete once no request is in flight.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send_rest(context))?;
        ready!(Pin::new(&mut this.socket).poll_flush(context))?;
        this.deadlines.on_flush();
        if this.deadlines.in_flight().is_idle() {
            this.state.on_flush(this.deadlines.last_activity());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
