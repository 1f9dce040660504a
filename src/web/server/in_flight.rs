//! In-flight requests of a connection: the counter that a connection shares with the middleware, so that the connection knows
//! whether it is idle and how long the next request may take. The deadlines are enforced by deadlines.rs.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;

/// The time from the start of a connection, or from the last response, to the next complete head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(9);

/// The same after an error response to a request whose body may still be arriving: time to receive the response, no more.
pub const LINGER: Duration = Duration::from_secs(1);

/// The requests of one connection, for the connection and for the middleware. Part of actix's connection data.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Rc<ConnectionShared>);

#[derive(Debug, Default)]
struct ConnectionShared {
    /// The number of requests that are being answered: 0 or 1, since actix handles the requests of a connection in turn.
    count: Cell<usize>,
    /// Whether the connection is closed after the current response.
    closing: Cell<bool>,
}

/// Counts one request as in flight until it is dropped.
#[derive(Debug)]
pub struct InFlightGuard(InFlight);

/// The body of a response: its request is in flight until the last chunk has been handed to actix.
#[derive(Debug)]
pub struct InFlightBody {
    body: BoxBody,
    _guard: Option<InFlightGuard>,
}

impl InFlight {
    /// Counts a request that has arrived.
    pub fn begin(&self) -> InFlightGuard {
        self.0.count.set(self.0.count.get() + 1);
        InFlightGuard(self.clone())
    }

    /// The response to the current request is the connection's last: from now on `LINGER` is the timeout.
    pub fn close_after_response(&self) {
        self.0.closing.set(true);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.0.count.get() == 0
    }

    /// How long the client may take to send the next request.
    pub(super) fn request_timeout(&self) -> Duration {
        if self.0.closing.get() { LINGER } else { REQUEST_TIMEOUT }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let count = &self.0.0.count;
        count.set(count.get().saturating_sub(1));
    }
}

impl InFlightBody {
    /// Wraps a response's body. There is no guard if an embedding service accepted the connection.
    pub fn new(body: BoxBody, guard: Option<InFlightGuard>) -> Self {
        Self { body, _guard: guard }
    }
}

impl MessageBody for InFlightBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
