//! Who writes to a SQLite file next. Writers stand in line, and those that wait together commit together: each change
//! runs on its caller's own thread, so it may borrow from it, in a transaction that goes from hand to hand and is
//! committed by whoever has it last. Without anybody behind, that is the one who began it, at once.
//!
//! What a batch is and how a change in it is undone is batch.rs's.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batch::{Batch, Failure};
use super::checkpoint::Bell;
use super::connection::Manager;
use super::{Db, Error};

/// A batch that has been open longer takes nobody in: the first of it waits for the last.
const LONGEST_BATCH: Duration = Duration::from_millis(2);

/// The line before the one writing connection.
pub struct Line {
    pool: r2d2::Pool<Manager>,
    patience: Duration,
    longest: Duration,
    queue: Mutex<Queue>,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Queue {
    /// Whether it is somebody's turn; nobody waits otherwise.
    taken: bool,
    waiting: VecDeque<Arc<Place>>,
}

/// Whether a change may share its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Company {
    Welcome,
    Refused,
}

struct Place {
    company: Company,
    offer: Mutex<Option<Offer>>,
    called: Condvar,
}

enum Offer {
    Begin,
    Join(Box<Batch>),
}

/// The right to write. Goes to the next in line when it is dropped.
struct Turn<'a> {
    line: &'a Line,
    held: bool,
}

impl Line {
    /// Nobody waits longer than `patience` for a turn.
    pub fn new(pool: r2d2::Pool<Manager>, patience: Duration, bell: Arc<Bell>) -> Self {
        Self { pool, patience, longest: LONGEST_BATCH, queue: Mutex::default(), bell }
    }

    /// Changes rows: all of it is durable when this returns `Ok`, none of it is there otherwise.
    pub fn write<T>(&self, change: &mut impl FnMut(&mut Db) -> Result<T, Error>) -> Result<T, Error> {
        let until = Instant::now() + self.patience;
        let mut outcome = self.take_part(change, until, Company::Welcome);
        if matches!(outcome, Err(Failure::Shared(_))) {
            // What broke the batch breaks only its own transaction now.
            outcome = self.take_part(change, until, Company::Refused);
        }
        outcome.map_err(|(Failure::Own(error) | Failure::Shared(error))| error)
    }

    /// Runs `act` while nobody writes.
    pub fn pause<T>(&self, act: impl FnOnce() -> T) -> Result<T, Error> {
        let (_turn, _) = self.take_turn(Instant::now() + self.patience, Company::Refused)?;
        Ok(act())
    }

    fn take_part<T>(
        &self,
        change: &mut impl FnMut(&mut Db) -> Result<T, Error>,
        until: Instant,
        company: Company,
    ) -> Result<T, Failure> {
        // In this order, so that a batch which is dropped has given its connection back before the next one begins.
        let (mut turn, offer) = self.take_turn(until, company).map_err(Failure::Own)?;
        let mut batch = match offer {
            Offer::Join(batch) => batch,
            Offer::Begin => Box::new(Batch::begin(&self.pool, left(until)).map_err(Failure::Own)?),
        };
        let outcome = batch.run(change)?;
        let fate = batch.fate();
        let Some(batch) = turn.hand_on(batch, company) else {
            return if fate.wait() { outcome.map_err(Failure::Own) } else { Err(shared()) };
        };
        let alone = batch.is_of_one();
        let committed = batch.commit();
        // The next batch begins while this one's members wake up.
        drop(turn);
        fate.tell(committed.is_ok());
        match committed {
            Ok(rows) => {
                self.bell.count(rows);
                outcome.map_err(Failure::Own)
            }
            Err(error) if alone => Err(Failure::Own(error)),
            Err(error) => Err(Failure::Shared(error)),
        }
    }

    /// Waits for a turn.
    fn take_turn(&self, until: Instant, company: Company) -> Result<(Turn<'_>, Offer), Error> {
        let mut queue = self.lock();
        if !queue.taken {
            queue.taken = true;
            return Ok((Turn { line: self, held: true }, Offer::Begin));
        }
        let place = Arc::new(Place { company, offer: Mutex::default(), called: Condvar::new() });
        match company {
            Company::Welcome => queue.waiting.push_back(Arc::clone(&place)),
            // It has waited before.
            Company::Refused => queue.waiting.push_front(Arc::clone(&place)),
        }
        drop(queue);
        let offer = place.wait(until).or_else(|| self.step_out(&place));
        let offer = offer.ok_or_else(|| Error::Unavailable("no connection: other writers took too long".to_owned()))?;
        Ok((Turn { line: self, held: true }, offer))
    }

    /// Leaves the line, unless the turn has come in the meantime.
    fn step_out(&self, place: &Arc<Place>) -> Option<Offer> {
        let mut queue = self.lock();
        match queue.waiting.iter().position(|other| Arc::ptr_eq(other, place)) {
            Some(at) => {
                queue.waiting.remove(at);
                None
            }
            None => place.lock().take(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn shared() -> Failure {
    Failure::Shared(Error::Unavailable("the transaction could not be committed".to_owned()))
}

impl Turn<'_> {
    /// Gives the turn and the open batch to the next in line; gives the batch back when it should end here.
    fn hand_on(&mut self, batch: Box<Batch>, company: Company) -> Option<Box<Batch>> {
        if company == Company::Refused || batch.is_full(self.line.longest) {
            return Some(batch);
        }
        let mut queue = self.line.lock();
        if queue.waiting.front().is_none_or(|next| next.company == Company::Refused) {
            return Some(batch);
        }
        let Some(next) = queue.waiting.pop_front() else { return Some(batch) };
        self.held = false;
        next.call(Offer::Join(batch));
        None
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let mut queue = self.line.lock();
        match queue.waiting.pop_front() {
            Some(next) => next.call(Offer::Begin),
            None => queue.taken = false,
        }
    }
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Option<Offer>> {
        self.offer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, offer: Offer) {
        *self.lock() = Some(offer);
        self.called.notify_one();
    }

    fn wait(&self, until: Instant) -> Option<Offer> {
        let waiting = self.called.wait_timeout_while(self.lock(), left(until), |offer| offer.is_none());
        waiting.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

#[cfg(test)]
mod tests;
