//! A client's connection, between the socket and actix: serves allowed checks itself (the fast path), passes all other bytes
//! through unchanged, one request at a time (backpressure), and closes the connection of a client that exceeds a deadline.
//! Which bytes are exactly one request is decided by request_framing.rs, which check is allowed by the closure that the server
//! provides, and how long a client may take by deadlines.rs.
//!
//! The fast path exists because actix's way to a handler costs more than the check itself. It is safe only as long as a
//! response cannot be sent out of turn. Hence it serves a request only while the connection is idle: actix has answered
//! everything that it was given, holds no part of a further request, and the bytes read are exactly one request.
//!
//! Pipelined requests wait in the socket. actix would decode all that its read buffer of 128 KiB can hold, some thousands, and
//! keep the responses that the client does not read. So it is given the next request when the response to the last one is
//! in the socket's send buffer: a connection holds one read of requests, one response, and what the kernel has of both.
//! While few bytes wait, reading goes on: a client that hangs up is only noticed by a read, and its request is cancelled.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use actix_web::web::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deadlines::Deadlines;
use super::in_flight::InFlight;
use super::request_framing::{ConnectionState, ReadAction, RequestHead, parse_single_request};

/// How long after the last forwarded request the fast path may answer. actix closes a connection that is idle for longer than
/// its keep-alive time, and only sees the requests that are forwarded: one of them in this time resets its timer.
const KEEPALIVE_REFRESH: Duration = Duration::from_secs(2);

/// Up to how many bytes that wait for the current response further ones are read.
const WATCHED_MAX: usize = 4096;

/// Answers a request without actix if it can: appends the whole response and returns true, or leaves the buffer empty and
/// returns false.
pub type FastPath = Rc<dyn Fn(RequestHead<'_>, &mut Vec<u8>) -> bool>;

/// What happens to the bytes behind those that actix has been given.
enum NextBytes {
    /// They were one request, which has been answered.
    Answered,
    /// They are a part of a head, whose rest must arrive first.
    Incomplete,
    /// actix gets this many; the others wait.
    Forward(usize),
}

/// A socket with its deadlines and, unless it is switched off, the fast path.
pub struct Connection {
    fast_path: Option<FastPath>,
    socket: TcpStream,
    state: ConnectionState,
    /// Bytes on their way to actix, then the beginning of a request whose rest has not arrived, or requests that wait.
    read_buffer: BytesMut,
    /// How many of the first bytes of the read buffer actix gets.
    forwardable: usize,
    /// Whether the rest of the read buffer are requests that wait for `may_begin_request`.
    waiting: bool,
    /// Whether actix was given bytes since it last flushed: it may not have begun the request that they complete.
    forwarded_since_flush: bool,
    /// Whether the task was woken for the requests that wait. Once for each read, so that it cannot spin.
    woken: bool,
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
            read_buffer: BytesMut::new(),
            forwardable: 0,
            waiting: false,
            forwarded_since_flush: false,
            woken: false,
            unsent: Vec::new(),
            deadlines: Deadlines::new(),
        }
    }

    /// The requests that the middleware reports as in flight.
    pub fn in_flight(&self) -> &InFlight {
        self.deadlines.in_flight()
    }

    /// Whether actix may get the next request: it has answered the last one, and the client has taken the answer, or the
    /// kernel for it.
    fn may_begin_request(&self) -> bool {
        self.deadlines.in_flight().is_idle() && !self.deadlines.is_write_blocked() && !self.forwarded_since_flush
    }

    /// Decides what happens to the bytes behind those that actix has been given.
    fn decide(&mut self, bytes: &[u8]) -> NextBytes {
        if !self.state.is_idle() {
            let must_wait = self.state.is_after_request() && !self.may_begin_request();
            return NextBytes::Forward(if must_wait { 0 } else { self.state.on_read(bytes) });
        }
        let keeps_actix_alive = self.state.is_idle_for_less_than(KEEPALIVE_REFRESH);
        let (fast_path, unsent) = (self.fast_path.as_ref(), &mut self.unsent);
        let answer =
            |head: RequestHead<'_>| keeps_actix_alive && fast_path.is_some_and(|fast_path| fast_path(head, unsent));
        match parse_single_request(bytes, answer) {
            ReadAction::Answered => NextBytes::Answered,
            ReadAction::NeedMore => NextBytes::Incomplete,
            ReadAction::Forward => NextBytes::Forward(self.state.on_read(bytes)),
        }
    }

    /// Handles bytes that have just been read. Returns how many of them actix gets immediately; the others are in the read
    /// buffer then, unless they were answered.
    fn on_read(&mut self, bytes: &[u8]) -> usize {
        if !self.read_buffer.is_empty() {
            self.read_buffer.extend_from_slice(bytes);
            self.resume();
            return 0;
        }
        match self.decide(bytes) {
            NextBytes::Answered => 0,
            NextBytes::Incomplete => {
                self.read_buffer.extend_from_slice(bytes);
                0
            }
            NextBytes::Forward(count) => {
                let (now, later) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
                self.read_buffer.extend_from_slice(later);
                self.waiting = !later.is_empty();
                self.forwarded_since_flush |= count > 0;
                now.len()
            }
        }
    }

    /// Decides about the bytes in the read buffer. They are not moved, however many requests they are.
    fn resume(&mut self) {
        self.waiting = false;
        let buffer = std::mem::take(&mut self.read_buffer);
        match self.decide(&buffer) {
            NextBytes::Answered => {}
            NextBytes::Incomplete => self.read_buffer = buffer,
            NextBytes::Forward(count) => {
                self.forwardable = count;
                self.waiting = count < buffer.len();
                self.forwarded_since_flush |= count > 0;
                self.read_buffer = buffer;
            }
        }
    }

    /// Moves as many forwarded bytes as fit from the read buffer into actix's. Returns whether there were any.
    fn drain_buffer_into(&mut self, into: &mut ReadBuf<'_>) -> bool {
        if self.forwardable == 0 {
            return false;
        }
        let length = self.forwardable.min(into.remaining());
        into.put_slice(self.read_buffer.get(..length).unwrap_or_default());
        self.read_buffer.advance(length);
        self.forwardable -= length;
        self.forwarded_since_flush = true;
        true
    }

    /// Whether the client has closed its side while requests wait: the stream ends here then, which cancels the request in
    /// flight. What arrives meanwhile waits too. Behind more than `WATCHED_MAX` bytes nothing is read, and the flush after
    /// the response wakes the task.
    fn poll_hang_up(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.read_buffer.len() < WATCHED_MAX {
            let mut space = [0; 512];
            let mut space = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.socket).poll_read(context, &mut space))?;
            if space.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.read_buffer.extend_from_slice(space.filled());
        }
        Poll::Pending
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
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    /// For a client that is overdue the stream ends here, as if the client had closed it: that ends the connection in actix.
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.woken = false;
        if this.unsent.is_empty() && this.deadlines.poll_request_overdue(context) {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(this.poll_send_rest(context))?;
            if this.drain_buffer_into(into) {
                return Poll::Ready(Ok(()));
            }
            if this.waiting {
                if !this.may_begin_request() {
                    return this.poll_hang_up(context);
                }
                this.resume();
                continue;
            }
            let before = into.filled().len();
            ready!(Pin::new(&mut this.socket).poll_read(context, into))?;
            let bytes = into.filled().get(before..).unwrap_or_default();
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let count = this.on_read(bytes);
            // actix must not see bytes that were answered or buffered here.
            into.set_filled(before + count);
            if count > 0 {
                return Poll::Ready(Ok(()));
            }
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
        this.forwarded_since_flush = false;
        if this.deadlines.in_flight().is_idle() {
            this.state.on_flush(this.deadlines.last_activity());
            if this.waiting && !this.woken {
                this.woken = true;
                context.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
