//! Log output: one line per event on standard error, as text for people or as a JSON object for machines.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use env_logger::Logger;
use env_logger::fmt::Formatter;
use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

use crate::clock::Clock;
use crate::settings::{LogFormat, Settings};

/// The logger of the process, which a reload replaces.
static LOGGER: OnceLock<ReloadableLogger> = OnceLock::new();

/// Passes records to the logger of the current settings.
struct ReloadableLogger(ArcSwap<Logger>);

impl Log for ReloadableLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.load().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.0.load().log(record);
    }

    fn flush(&self) {
        self.0.load().flush();
    }
}

/// Starts logging by RUST_LOG and LOG_FORMAT, or goes on by their new values. With the default RUST_LOG, commands other than
/// `serve` log warnings only.
pub fn start(settings: &Settings, is_serving: bool) {
    let logger = logger(settings, is_serving);
    let level = logger.filter();
    match LOGGER.get() {
        Some(running) => running.0.store(Arc::new(logger)),
        None => drop(log::set_logger(LOGGER.get_or_init(|| ReloadableLogger(ArcSwap::from_pointee(logger))))),
    }
    log::set_max_level(level);
    // A panic is logged as one line in the same format, without its message: that may quote a value that is a secret.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log::error!(place; "panicked");
    }));
}

fn logger(settings: &Settings, is_serving: bool) -> Logger {
    let mut builder = env_logger::Builder::new();
    // actix-server logs its workers and sockets, which the start-up lines show already.
    builder.filter_module("actix_server", LevelFilter::Warn);
    // Below warnings, actix-http quotes requests that it cannot parse, and a header may contain a secret.
    builder.filter_module("actix_http", LevelFilter::Warn);
    // An error for each malformed request of a stranger; web/server/connection_errors.rs reports them in their stead.
    builder.filter_module("actix_http::h1", LevelFilter::Off).parse_filters(&settings.web.rust_log);
    if !is_serving && settings.web.rust_log == "info" {
        builder.filter_level(LevelFilter::Warn);
    }
    match settings.web.log_format {
        LogFormat::Text => builder.format(write_text),
        LogFormat::Json => builder.format(write_json),
    };
    builder.build()
}

/// The structured fields of a record, by name.
fn fields(record: &Record<'_>) -> BTreeMap<String, String> {
    struct FieldCollector(BTreeMap<String, String>);
    impl<'kvs> VisitSource<'kvs> for FieldCollector {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
            self.0.insert(key.to_string(), value.to_string());
            Ok(())
        }
    }
    let mut collector = FieldCollector(BTreeMap::new());
    let _ = record.key_values().visit(&mut collector);
    collector.0
}

/// `TIME LEVEL TARGET message key=value …`. Control characters are escaped, so that a value cannot forge a second line.
fn write_text(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let style = out.default_level_style(record.level());
    let now = Clock::system().now().rfc3339();
    write!(
        out,
        "{now} {style}{:5}{style:#} {} {}",
        record.level(),
        record.target(),
        escape(&record.args().to_string())
    )?;
    for (key, value) in fields(record) {
        let value = escape(&value);
        let quote = if value.contains(' ') || value.is_empty() { "\"" } else { "" };
        write!(out, " {key}={quote}{value}{quote}")?;
    }
    writeln!(out)
}

/// Escapes control characters.
fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A JSON object per line. The record's own keys are written last, so that a field cannot replace them.
fn write_json(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let mut object = serde_json::Map::new();
    for (key, value) in fields(record) {
        object.insert(key, value.into());
    }
    object.insert("time".into(), Clock::system().now().rfc3339().into());
    object.insert("level".into(), record.level().as_str().to_lowercase().into());
    object.insert("target".into(), record.target().into());
    object.insert("message".into(), record.args().to_string().into());
    writeln!(out, "{}", serde_json::Value::Object(object))
}
