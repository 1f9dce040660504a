//! What waits together is done together, and each gets its own answer.

use std::sync::mpsc;
use std::time::Duration;

use super::*;

const LONG: Duration = Duration::from_secs(600);

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// A number's tenfold, and how many were done with it.
type Answer = (u64, usize);

/// Does nothing before it is released, once for each time that it works; answers then.
fn held(room: Room) -> (Together<u64, Answer>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (tell, told) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let work = move |all: &[u64]| {
        tell.send(()).unwrap();
        released.recv().unwrap();
        assert!(!all.contains(&99), "on purpose");
        all.iter().map(|one| (one * 10, all.len())).collect()
    };
    (Together::start("test", room, &Metrics::new().unwrap(), work).unwrap(), told, release)
}

#[test]
fn whoever_comes_while_others_are_served_is_served_with_all_that_came() {
    let (together, told, release) = held(Room { places: 100, longest_wait: LONG });
    wait(async {
        let mut first = Box::pin(together.ask(1));
        assert!(futures_util::poll!(&mut first).is_pending());
        told.recv().unwrap();
        let mut later: Vec<_> = (2..=70).map(|number| Box::pin(together.ask(number))).collect();
        for asked in &mut later {
            assert!(futures_util::poll!(asked).is_pending());
        }
        (0..3).for_each(|_| release.send(()).unwrap());
        assert_eq!(first.await.unwrap(), (10, 1));
        for (number, asked) in (2..).zip(later) {
            let expected = if number < 66 { MOST } else { 5 };
            assert_eq!(asked.await.unwrap(), (number * 10, expected));
        }
    });
}

#[test]
fn a_full_queue_refuses_at_once_and_a_panic_is_a_fault_of_those_in_it() {
    let (together, told, release) = held(Room { places: 2, longest_wait: LONG });
    wait(async {
        let mut first = Box::pin(together.ask(1));
        assert!(futures_util::poll!(&mut first).is_pending());
        told.recv().unwrap();
        let mut others = [98, 99].map(|number| Box::pin(together.ask(number)));
        for asked in &mut others {
            assert!(futures_util::poll!(asked).is_pending());
        }
        assert!(matches!(together.ask(97).await, Err(Error::Refusal(Refusal::Busy(_)))));
        (0..3).for_each(|_| release.send(()).unwrap());
        assert!(first.await.is_ok());
        for asked in others {
            assert!(matches!(asked.await, Err(Error::Fault(Fault::Broken(_)))));
        }
        assert_eq!(together.ask(2).await.unwrap(), (20, 1), "the thread lives on");
    });
}

#[test]
fn who_has_gone_or_waited_too_long_is_not_served() {
    let longest = Duration::from_millis(300);
    let (together, told, release) = held(Room { places: 8, longest_wait: longest });
    wait(async {
        let mut first = Box::pin(together.ask(1));
        assert!(futures_util::poll!(&mut first).is_pending());
        told.recv().unwrap();
        let mut gone = Box::pin(together.ask(2));
        assert!(futures_util::poll!(&mut gone).is_pending());
        drop(gone);
        let mut late = Box::pin(together.ask(3));
        assert!(futures_util::poll!(&mut late).is_pending());
        std::thread::sleep(longest * 2);
        let mut in_time = Box::pin(together.ask(4));
        assert!(futures_util::poll!(&mut in_time).is_pending());
        (0..2).for_each(|_| release.send(()).unwrap());
        assert!(first.await.is_ok());
        assert!(matches!(late.await, Err(Error::Refusal(Refusal::Busy(_)))));
        assert_eq!(in_time.await.unwrap(), (40, 1));
    });
}
