//! Disk stalls: a page that is synced every few milliseconds beside the measurement. A refresh that waited long while
//! the page did not was delayed by doorward.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::machine::{self, Pinned};

/// The pause between two syncs: few enough that the measurement hardly waits for them.
const REST: Duration = Duration::from_millis(5);

/// Seconds since 1970, from and to.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    from: f64,
    until: f64,
}

impl Span {
    /// The span of something that has just ended and took this long.
    pub fn that_took(time: Duration) -> Self {
        let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self { from: until - time.as_secs_f64(), until }
    }

    fn millis(self) -> f64 {
        (self.until - self.from) * 1e3
    }

    /// The part of it that is covered by other spans, which do not overlap.
    fn millis_beside(self, others: &[Self]) -> f64 {
        let shared = |other: &Self| (self.until.min(other.until) - self.from.max(other.from)).max(0.0) * 1e3;
        self.millis() - others.iter().map(shared).sum::<f64>()
    }
}

/// The longest times during a drive, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Longest {
    /// The longest sync of the page.
    pub sync: f64,
    /// The longest time of an answer outside every sync of the page.
    pub beside: f64,
}

impl Longest {
    /// The longest of these syncs and of these answers.
    pub fn of(syncs: &[Span], slow: &[Span]) -> Self {
        let sync = syncs.iter().map(|sync| sync.millis()).fold(0.0, f64::max);
        let beside = slow.iter().map(|wait| wait.millis_beside(syncs)).fold(0.0, f64::max);
        Self { sync, beside }
    }

    /// The maximum of both.
    pub fn or(self, other: Self) -> Self {
        Self { sync: self.sync.max(other.sync), beside: self.beside.max(other.beside) }
    }
}

/// Runs `act` while a page in this file is synced; the syncs.
pub fn beside<T>(file: &Path, act: impl FnOnce() -> T) -> (T, Vec<Span>) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let syncs = scope.spawn(|| sync_until(file, &over));
        let done = act();
        over.store(true, Ordering::Release);
        (done, syncs.join().unwrap())
    })
}

fn sync_until(file: &Path, over: &AtomicBool) -> Vec<Span> {
    let _pinned = Pinned::to(machine::load_core());
    let file = File::options().write(true).create(true).truncate(false).open(file).unwrap();
    let mut syncs = vec![];
    while !over.load(Ordering::Acquire) {
        let began = Instant::now();
        file.write_all_at(&[0; 4096], 0).unwrap();
        file.sync_data().unwrap();
        syncs.push(Span::that_took(began.elapsed()));
        std::thread::sleep(REST);
    }
    syncs
}
