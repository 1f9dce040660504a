//! Tests of the worker pool: which requests wait, which are rejected, and which work is never started.

use std::sync::mpsc;
use std::task::Poll;

use futures_util::future::join_all;
use futures_util::poll;

use super::*;

const LONG: Duration = Duration::from_secs(600);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn pool_of_one_thread(capacity: usize, max_wait: Duration) -> WorkerPool {
    start(QueueLimits { capacity, max_wait }, None)
}

fn start(limits: QueueLimits, estimator: Option<WaitEstimator>) -> WorkerPool {
    WorkerPool::start("test", 1, limits, &Metrics::new().unwrap(), || {}, estimator).unwrap()
}

/// Work that says when it has started, and keeps its thread busy until it is released.
fn busy_work() -> (impl FnOnce() -> Result<(), Error> + Send + 'static, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((start, started), (release, released)) = (mpsc::channel(), mpsc::channel());
    let work = move || {
        start.send(()).unwrap();
        released.recv().map_err(|cause| InternalError::broken(cause).into())
    };
    (work, started, release)
}

fn is_rejected<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Refusal(Refusal::Busy(RETRY_AFTER))))
}

#[test]
fn a_request_that_waited_too_long_is_rejected_when_its_turn_comes() {
    let max_wait = Duration::from_millis(300);
    let pool = pool_of_one_thread(8, max_wait);
    let (busy, started, release) = busy_work();
    block_on(async {
        let mut first = Box::pin(pool.run(busy));
        assert!(poll!(&mut first).is_pending());
        started.recv().unwrap();
        let mut late = Box::pin(pool.run(|| Ok(())));
        assert!(poll!(&mut late).is_pending());
        std::thread::sleep(max_wait * 2);
        release.send(()).unwrap();
        first.await.unwrap();
        assert!(is_rejected(&late.await));
        assert_eq!(pool.rejected.get(), 1);
        assert!(pool.run(|| Ok(())).await.is_ok(), "a new request is served");
    });
}

#[test]
fn a_request_that_would_wait_too_long_is_rejected_on_arrival() {
    let limits = QueueLimits { capacity: 100, max_wait: Duration::from_secs(60) };
    let pool = start(limits, Some(WaitEstimator::new(1, limits.max_wait)));
    let (busy, started, release) = busy_work();
    block_on(async {
        pool.estimator.as_ref().unwrap().record(Duration::from_secs(10));
        let mut first = Box::pin(pool.run(busy));
        assert!(poll!(&mut first).is_pending());
        started.recv().unwrap();
        let mut waiting = vec![];
        let rejected = loop {
            let mut next = Box::pin(pool.run(|| Ok(())));
            match poll!(&mut next) {
                Poll::Ready(rejected) => break rejected,
                Poll::Pending => waiting.push(next),
            }
            assert!(waiting.len() < 6, "ten seconds each, and sixty at the most");
        };
        assert!(is_rejected(&rejected));
        assert_eq!(waiting.len(), 5, "the sixth would wait 55 seconds, of which no more than 54 are allowed");
        drop(waiting);
        let mut next = Box::pin(pool.run(|| Ok(())));
        assert!(poll!(&mut next).is_pending(), "requests of disconnected clients no longer count");
        release.send(()).unwrap();
        first.await.unwrap();
        next.await.unwrap();
    });
}

#[test]
fn a_full_queue_rejects_immediately_and_a_panic_is_an_internal_error() {
    let pool = pool_of_one_thread(1, LONG);
    let (busy, started, release) = busy_work();
    block_on(async {
        let mut first = Box::pin(pool.run(busy));
        assert!(poll!(&mut first).is_pending());
        started.recv().unwrap();
        let mut second = Box::pin(pool.run(|| Ok(2)));
        assert!(poll!(&mut second).is_pending());
        assert!(is_rejected(&pool.run(|| Ok(3)).await));
        assert_eq!((pool.queue_length.get(), pool.rejected.get()), (1, 1));
        release.send(()).unwrap();
        assert!(matches!((first.await, second.await), (Ok(()), Ok(2))));
        let panicked = pool.run::<()>(|| std::panic::panic_any("on purpose")).await;
        assert!(matches!(panicked, Err(Error::InternalError(InternalError::Broken(_)))));
        assert!(matches!(pool.run(|| Ok(4)).await, Ok(4)), "the thread keeps running");
        assert_eq!(pool.queue_length.get(), 0);
    });
}

#[test]
fn work_of_a_disconnected_client_is_not_started_and_takes_no_place() {
    let pool = pool_of_one_thread(1, LONG);
    let (busy, started, release) = busy_work();
    let (serve, served) = mpsc::channel::<&str>();
    let second = serve.clone();
    block_on(async {
        let mut first = Box::pin(pool.run(busy));
        assert!(poll!(&mut first).is_pending());
        started.recv().unwrap();
        let mut gone = Box::pin(pool.run(move || Ok(serve.send("gone").is_ok())));
        assert!(poll!(&mut gone).is_pending());
        drop(gone);
        let mut stayed = Box::pin(pool.run(move || Ok(second.send("stayed").is_ok())));
        assert!(poll!(&mut stayed).is_pending(), "the only place is free again");
        release.send(()).unwrap();
        first.await.unwrap();
        stayed.await.unwrap();
        assert_eq!((pool.queue_length.get(), pool.rejected.get()), (0, 0));
    });
    assert_eq!(served.iter().collect::<Vec<_>>(), ["stayed"]);
}

#[test]
fn waiting_requests_are_served_in_the_order_of_their_arrival() {
    let pool = pool_of_one_thread(8, LONG);
    let (busy, started, release) = busy_work();
    let (serve, served) = mpsc::channel();
    block_on(async {
        let mut first = Box::pin(pool.run(busy));
        assert!(poll!(&mut first).is_pending());
        started.recv().unwrap();
        let mut waiting = vec![];
        for number in 0..8 {
            let serve = serve.clone();
            let mut next = Box::pin(pool.run(move || Ok(serve.send(number).is_ok())));
            assert!(poll!(&mut next).is_pending());
            waiting.push(next);
        }
        release.send(()).unwrap();
        first.await.unwrap();
        // The last one is polled first.
        let outcomes = join_all(waiting.into_iter().rev()).await;
        assert!(outcomes.into_iter().all(|outcome| outcome.is_ok()));
    });
    assert_eq!(served.iter().take(8).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_pool_that_is_dropped_in_async_code_lets_running_work_finish() {
    let (release, released) = mpsc::channel::<()>();
    let (finish, finished) = mpsc::channel();
    block_on(async {
        let pool = pool_of_one_thread(8, LONG);
        let (start, started) = mpsc::channel();
        let mut running = Box::pin(pool.run(move || {
            start.send(()).unwrap();
            released.recv().unwrap();
            Ok(finish.send(()).is_ok())
        }));
        assert!(poll!(&mut running).is_pending());
        started.recv().unwrap();
        drop(running);
        drop(pool);
    });
    release.send(()).unwrap();
    finished.recv().unwrap();
}
