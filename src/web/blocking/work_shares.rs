//! Bulkheads of the hashing pool: keyed semaphores, by which no account and no address holds more than its share of the queue,
//! however many connections it has and whether or not its secrets are right. An account has one place, which it keeps while
//! its hash is computed, and an address a quarter of the queue. Requests beyond a share wait outside of the queue, in a line
//! of their own account or address, for as long as a request may wait in the queue; beyond the line they are shed.
//!
//! What counts as one account is decided by core/defence/throttle_policy.rs; how the queue itself sheds, by pool.rs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus::IntCounter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::core::defence::work_share::{WorkKey, WorkShare};
use crate::core::error::{Error, Refusal};
use crate::metrics::Metrics;
use crate::web::blocking::pool::QueueLimits;
use crate::web::blocking::retry_after::RETRY_AFTER;

/// The lines before a pool's queue.
#[derive(Debug)]
pub struct WorkShares {
    queue: QueueLimits,
    /// The places of an address.
    of_address: usize,
    /// Only keys with a request in the queue or in the line: as many as there are such requests.
    lines: Mutex<HashMap<WorkKey, Line>>,
    rejected: IntCounter,
}

#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    /// Requests that hold a place or wait for one.
    members: usize,
}

/// A request in a line; dropping it leaves the line.
#[derive(Debug)]
struct Member {
    shares: Arc<WorkShares>,
    key: WorkKey,
    places: Arc<Semaphore>,
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut lines = self.shares.lock();
        if let Some(line) = lines.get_mut(&self.key) {
            line.members -= 1;
            if line.members == 0 {
                lines.remove(&self.key);
            }
        }
    }
}

/// A place of one key. The permit is returned first, then the line is left.
#[derive(Debug)]
struct Place {
    _permit: OwnedSemaphorePermit,
    _member: Member,
}

/// The places of a request, to be held until its work is done or dropped.
#[derive(Debug)]
pub struct Places {
    _account: Option<Place>,
    _address: Option<Place>,
}

impl WorkShares {
    /// The shares of a queue of this pool.
    pub fn new(pool: &str, queue: QueueLimits, metrics: &Metrics) -> Self {
        let rejected = metrics.pools.rejected.with_label_values(&[pool]);
        Self { queue, of_address: (queue.capacity / 4).max(1), lines: Mutex::default(), rejected }
    }

    /// The places of a request that arrived at `since`, as soon as they are free. The account's comes first: requests that
    /// wait for it hold no place of their address, which others may share.
    pub async fn acquire(self: &Arc<Self>, share: WorkShare, since: Instant) -> Result<Places, Error> {
        let account = self.place(share.account, 1, since).await?;
        let address = self.place(share.address, self.of_address, since).await?;
        Ok(Places { _account: account, _address: address })
    }

    async fn place(
        self: &Arc<Self>,
        key: Option<WorkKey>,
        places: usize,
        since: Instant,
    ) -> Result<Option<Place>, Error> {
        let Some(key) = key else { return Ok(None) };
        let member = self.join(key, places).ok_or_else(|| self.reject())?;
        let free = Arc::clone(&member.places);
        let left = self.queue.max_wait.saturating_sub(since.elapsed());
        match tokio::time::timeout(left, free.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Some(Place { _permit: permit, _member: member })),
            Ok(Err(_)) | Err(_) => Err(self.reject()),
        }
    }

    /// Joins the line of a key, unless as many wait in it as the queue itself has places.
    fn join(self: &Arc<Self>, key: WorkKey, places: usize) -> Option<Member> {
        let mut lines = self.lock();
        let new = || Line { places: Arc::new(Semaphore::new(places)), members: 0 };
        let line = lines.entry(key.clone()).or_insert_with(new);
        if line.members >= places + self.queue.capacity {
            return None;
        }
        line.members += 1;
        Some(Member { shares: Arc::clone(self), key, places: Arc::clone(&line.places) })
    }

    fn reject(&self) -> Error {
        self.rejected.inc();
        Refusal::Busy(RETRY_AFTER).into()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkKey, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::net::{IpAddr, Ipv4Addr};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;
    use crate::store::AccountUuid;

    fn shares(capacity: usize) -> Arc<WorkShares> {
        let queue = QueueLimits { capacity, max_wait: Duration::from_secs(600) };
        Arc::new(WorkShares::new("hash", queue, &Metrics::new().unwrap()))
    }

    fn share(account: Option<u128>, address: Option<u8>) -> WorkShare {
        let address = address.map(|last| WorkKey::Address(IpAddr::from(Ipv4Addr::new(192, 0, 2, last))));
        WorkShare { account: account.map(|id| WorkKey::Owner(AccountUuid(uuid::Uuid::from_u128(id)))), address }
    }

    /// What a request has after the first look at it: places, a refusal, or nothing yet.
    fn now<T>(acquiring: impl Future<Output = T>) -> Option<T> {
        let mut acquiring = pin!(acquiring);
        match acquiring.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    fn in_runtime(test: impl FnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        test();
    }

    #[test]
    fn work_share_of_an_account_is_one_place() {
        in_runtime(|| {
            let shares = shares(8);
            let acquire = |account, address| now(shares.acquire(share(Some(account), Some(address)), Instant::now()));
            let first = acquire(1, 1).unwrap().unwrap();
            for address in 1..=9 {
                assert!(acquire(1, address).is_none(), "from address {address}");
            }
            let others: Vec<_> = (2..=9_u8).map(|account| acquire(account.into(), account).unwrap().unwrap()).collect();
            drop(first);
            assert!(acquire(1, 1).unwrap().is_ok());
            drop(others);
            assert!(shares.lock().is_empty(), "nothing is kept of requests that are done or gone");
        });
    }

    #[test]
    fn work_share_of_an_address_is_a_quarter_of_the_queue() {
        in_runtime(|| {
            for (capacity, places) in [(1, 1), (4, 1), (8, 2), (32, 8), (35, 8)] {
                let shares = shares(capacity);
                let acquire = |account, address| now(shares.acquire(share(account, Some(address)), Instant::now()));
                let held: Vec<_> = (0..places).map(|n| acquire(Some(n), 1).unwrap().unwrap()).collect();
                // A sign-up has no account.
                assert!(acquire(None, 1).is_none() && acquire(Some(99), 1).is_none(), "{capacity}");
                assert!(acquire(None, 2).unwrap().is_ok() && acquire(Some(99), 2).unwrap().is_ok(), "{capacity}");
                drop(held);
                assert!(acquire(None, 1).unwrap().is_ok(), "{capacity}");
            }
        });
    }

    #[test]
    fn work_line_of_an_account_takes_no_place_of_its_address_and_is_bounded() {
        in_runtime(|| {
            let shares = shares(4);
            let mut acquiring: Vec<_> =
                (0..6).map(|_| Box::pin(shares.acquire(share(Some(1), Some(1)), Instant::now()))).collect();
            let outcomes: Vec<_> = acquiring.iter_mut().map(|acquiring| now(acquiring.as_mut())).collect();
            let kinds: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().map(Result::is_ok)).collect();
            assert_eq!(kinds, [Some(true), None, None, None, None, Some(false)], "one place, four in the line");
            assert_eq!(shares.rejected.get(), 1);
            drop(outcomes);
            let second = now(acquiring[1].as_mut()).unwrap().unwrap();
            assert!(now(acquiring[2].as_mut()).is_none(), "first in, first out");
            drop((second, acquiring));
            assert!(shares.lock().is_empty());
        });
    }

    #[test]
    fn work_line_sheds_who_has_waited_as_long_as_the_queue_allows() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let queue = QueueLimits { capacity: 8, max_wait: Duration::ZERO };
            let shares = Arc::new(WorkShares::new("hash", queue, &Metrics::new().unwrap()));
            let held = shares.acquire(share(Some(1), None), Instant::now()).await.unwrap();
            assert!(shares.acquire(share(Some(1), None), Instant::now()).await.is_err());
            drop(held);
            assert!(shares.acquire(share(Some(1), None), Instant::now()).await.is_ok());
        });
    }
}
