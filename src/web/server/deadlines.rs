//! Deadlines of a connection: a client has a limited time to send a request, and to take the bytes of a response. actix
//! limits the time for the first head of a connection and the idle time between two requests. It does not limit the time for
//! a later head once its first byte has arrived, for the rest of a chunked body that is no longer read, or for a client
//! that takes no response bytes; these three are limited here. What a deadline ends is decided by connection.rs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::in_flight::InFlight;

/// How long the client may take no bytes of a response, with the socket's send buffer full, before the connection is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(8);

/// The deadlines of one connection, which share one timer.
pub struct Deadlines {
    in_flight: InFlight,
    /// When the connection was accepted, or when response bytes were last written.
    last_activity: Instant,
    /// Since when bytes that cannot be written have waited for the client.
    write_blocked_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadlines {
    /// For a connection that was just accepted.
    pub fn new() -> Self {
        Self { in_flight: InFlight::default(), last_activity: Instant::now(), write_blocked_since: None, timer: None }
    }

    /// The requests of the connection.
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// When the connection was accepted, or when response bytes were last written.
    pub fn last_activity(&self) -> Instant {
        self.last_activity
    }

    /// Whether the deadline has passed; otherwise the task is woken when it does. The timer is re-armed lazily: while it
    /// stands at an earlier time, it is left to fire then, so that a busy connection does not set a timer for each request.
    fn poll_deadline(&mut self, deadline: Instant, context: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() <= deadline && timer.as_mut().poll(context).is_pending() {
            return false;
        }
        timer.as_mut().reset(deadline);
        timer.as_mut().poll(context).is_ready()
    }

    /// Whether no request is in flight and the next one has not arrived in time.
    pub fn poll_request_overdue(&mut self, context: &mut Context<'_>) -> bool {
        self.in_flight.is_idle() && self.poll_deadline(self.last_activity + self.in_flight.request_timeout(), context)
    }

    /// Records the outcome of a write: a pending one becomes `TimedOut` once the client has taken nothing for too long.
    pub fn on_write(&mut self, outcome: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        if outcome.is_ready() {
            self.last_activity = now;
            // A slow client that takes some bytes is not overdue.
            self.write_blocked_since = None;
            // This may be the last poll before the client sends something: arm the timer now, or the task never wakes to
            // close the connection.
            let _ = self.poll_deadline(now + self.in_flight.request_timeout(), context);
            return outcome;
        }
        let since = *self.write_blocked_since.get_or_insert(now);
        if self.poll_deadline(since + WRITE_TIMEOUT, context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }

    /// Whether the last bytes could not be written, because the client takes none.
    pub fn is_write_blocked(&self) -> bool {
        self.write_blocked_since.is_some()
    }
}
