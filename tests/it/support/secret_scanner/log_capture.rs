//! The log of the services inside the test process, at trace level, as one text. A test's end searches all that was logged
//! while it ran, its own lines among it: by then every secret of its own is known.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

/// What the tests themselves stand on, which is no part of a service.
const OF_TESTS: [&str; 5] = ["hyper", "fantoccini", "want", "webdriver", "tracing"];

static LINES: Mutex<Lines> = Mutex::new(Lines { text: Vec::new(), base: 0, running: BTreeMap::new(), number: 0 });

/// The text from `base` on: what was before belongs to no test that runs.
struct Lines {
    text: Vec<u8>,
    base: usize,
    running: BTreeMap<u64, usize>,
    number: u64,
}

/// A test that runs; what is logged from its beginning on is kept for it.
pub struct Running(u64);

struct Capture;

impl Log for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let of = |name: &&str| metadata.target().starts_with(name);
        // As the binary does: below warnings these quote what they cannot read.
        let quoting = ["actix_http", "actix_server"].iter().any(&of) && metadata.level() > LevelFilter::Warn;
        !quoting && !OF_TESTS.iter().any(of)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut line = format!("{} {} {}", record.level(), record.target(), record.args());
            let _ = record.key_values().visit(&mut Pairs(&mut line));
            line.push('\n');
            lines().text.extend_from_slice(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let _ = write!(self.0, " {key}={value}");
        Ok(())
    }
}

fn lines() -> MutexGuard<'static, Lines> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A test begins.
pub fn begin() -> Running {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        log::set_boxed_logger(Box::new(Capture)).unwrap();
        log::set_max_level(if crate::support::is_soak() { LevelFilter::Off } else { LevelFilter::Trace });
    });
    let mut lines = lines();
    lines.number += 1;
    let (number, at) = (lines.number, lines.base + lines.text.len());
    lines.running.insert(number, at);
    Running(number)
}

impl Running {
    /// What was logged since.
    pub fn text(&self) -> Vec<u8> {
        let lines = lines();
        let from = lines.running.get(&self.0).map_or(0, |at| at - lines.base);
        lines.text[from..].to_vec()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut lines = lines();
        lines.running.remove(&self.0);
        let end = lines.base + lines.text.len();
        let needed = lines.running.values().min().copied().unwrap_or(end);
        let gone = needed - lines.base;
        // Moving what stays is not worth it for little.
        if gone > 1 << 20 || needed == end {
            lines.text.drain(..gone);
            lines.base = needed;
        }
    }
}
