//! In-flight requests of a connection: the counter that connection and middleware share, so that the connection knows when it
//! is idle and when no further request is wanted. Deadlines are enforced by connection.rs.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;

/// How long a connection may go from its beginning, or from its last answer, to its next whole head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(9);

/// The same after a refusal whose body may still be on its way: the client gets to see the refusal, and no more.
pub const LINGER: Duration = Duration::from_secs(1);

/// What a connection is told about its requests. Goes into the connection's data.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Rc<Told>);

#[derive(Debug, Default)]
struct Told {
    /// How many are being answered: one or none.
    running: Cell<usize>,
    /// No further one is wanted.
    over: Cell<bool>,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct InFlightGuard(InFlight);

/// An answer's body: its request is being answered until the last of it is handed over.
#[derive(Debug)]
pub struct InFlightBody {
    body: BoxBody,
    _answering: Option<InFlightGuard>,
}

impl InFlight {
    /// Notes that one has arrived.
    pub fn begin(&self) -> InFlightGuard {
        self.0.running.set(self.0.running.get() + 1);
        InFlightGuard(self.clone())
    }

    /// Notes that the answer to the current one is the connection's last.
    pub fn end(&self) {
        self.0.over.set(true);
    }

    pub(super) fn none(&self) -> bool {
        self.0.running.get() == 0
    }

    /// How long the next one may take to arrive.
    pub(super) fn patience(&self) -> Duration {
        if self.0.over.get() { LINGER } else { REQUEST_TIMEOUT }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let running = &self.0.0.running;
        running.set(running.get().saturating_sub(1));
    }
}

impl InFlightBody {
    /// Of a request that is being answered, if its connection is one of ours.
    pub fn new(body: BoxBody, answering: Option<InFlightGuard>) -> Self {
        Self { body, _answering: answering }
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
