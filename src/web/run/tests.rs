//! The pools: who waits, who is refused, and whose work is not begun.

use super::*;
use std::sync::mpsc;

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn patience_is_spent_once_and_not_with_each_question() {
    wait(async {
        let mut left = Duration::from_secs(60);
        let slow = tokio::time::sleep(Duration::from_millis(20));
        assert_eq!(patiently(&mut left, slow).await, Some(()));
        assert!(left <= Duration::from_millis(59_980), "{left:?}");
        left = Duration::from_millis(1);
        assert_eq!(patiently(&mut left, std::future::pending::<()>()).await, None);
        assert_eq!(left, Duration::ZERO);
    });
}

const LONG: Duration = Duration::from_secs(600);

fn of_one_thread(places: usize, longest_wait: Duration) -> Pool {
    Pool::start("test", 1, Room { places, longest_wait }, &Metrics::new().unwrap(), || {}, None).unwrap()
}

#[test]
fn whoever_waited_too_long_is_refused_when_it_is_their_turn() {
    let longest = Duration::from_millis(300);
    let pool = of_one_thread(8, longest);
    let (release, held) = mpsc::channel::<()>();
    wait(async {
        let mut first = Box::pin(pool.run(move || held.recv().map_err(|gone| Fault::Broken(gone.to_string()).into())));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut late = Box::pin(pool.run(|| Ok(())));
        assert!(futures_util::poll!(&mut late).is_pending());
        std::thread::sleep(longest * 2);
        release.send(()).unwrap();
        let _ = first.await;
        assert!(matches!(late.await, Err(Error::Refusal(Refusal::Busy(_)))));
        assert!(pool.run(|| Ok(())).await.is_ok(), "who comes now is served");
    });
}

#[test]
fn whoever_would_wait_too_long_is_refused_at_once() {
    let room = Room { places: 100, longest_wait: Duration::from_secs(60) };
    let foresight = Some(Foresight::new(1, room.longest_wait));
    let pool = Pool::start("test", 1, room, &Metrics::new().unwrap(), || {}, foresight).unwrap();
    let (release, held) = mpsc::channel::<()>();
    wait(async {
        pool.shared.foresight.as_ref().unwrap().note(Duration::from_secs(10));
        let mut first = Box::pin(pool.run(move || held.recv().map_err(|gone| Fault::Broken(gone.to_string()).into())));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut waiting = vec![];
        let refused = loop {
            let mut next = Box::pin(pool.run(|| Ok(())));
            match futures_util::poll!(&mut next) {
                std::task::Poll::Ready(refused) => break refused,
                std::task::Poll::Pending => waiting.push(next),
            }
            assert!(waiting.len() < 6, "ten seconds each, and sixty at the most");
        };
        assert!(matches!(refused, Err(Error::Refusal(Refusal::Busy(_)))));
        assert!(waiting.len() >= 4, "{} may wait", waiting.len());
        drop(waiting);
        let mut next = Box::pin(pool.run(|| Ok(())));
        assert!(futures_util::poll!(&mut next).is_pending(), "those who have gone are before nobody");
        release.send(()).unwrap();
        first.await.unwrap();
        next.await.unwrap();
    });
}

#[test]
fn a_full_queue_refuses_at_once_and_a_panic_is_a_fault() {
    let pool = of_one_thread(1, LONG);
    let (release, held) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel::<()>();
    wait(async {
        let first = pool.run(move || {
            tell.send(()).unwrap();
            held.recv().unwrap();
            Ok(1)
        });
        let mut first = Box::pin(first);
        assert!(futures_util::poll!(&mut first).is_pending());
        told.recv().unwrap();
        let mut second = Box::pin(pool.run(|| Ok(2)));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(matches!(pool.run(|| Ok(3)).await, Err(Error::Refusal(Refusal::Busy(_)))));
        release.send(()).unwrap();
        assert!(matches!((first.await, second.await), (Ok(1), Ok(2))));
        let panicked = pool.run::<()>(|| std::panic::panic_any("on purpose")).await;
        assert!(matches!(panicked, Err(Error::Fault(Fault::Broken(_)))));
        assert!(matches!(pool.run(|| Ok(4)).await, Ok(4)), "the thread lives on");
    });
}

#[test]
fn work_whose_client_has_gone_is_not_begun() {
    let pool = of_one_thread(8, LONG);
    let (release, held) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel::<&str>();
    let second = tell.clone();
    wait(async {
        let mut first = Box::pin(pool.run(move || held.recv().map_err(|gone| Fault::Broken(gone.to_string()).into())));
        let _ = futures_util::poll!(&mut first);
        let mut gone = Box::pin(pool.run(move || Ok(tell.send("gone").is_ok())));
        let _ = futures_util::poll!(&mut gone);
        drop(gone);
        release.send(()).unwrap();
        first.await.unwrap();
        pool.run(move || Ok(second.send("stayed").is_ok())).await.unwrap();
    });
    assert_eq!(told.recv(), Ok("stayed"));
}
