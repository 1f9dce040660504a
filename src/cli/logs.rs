//! Log lines: one an event, on standard error; text for people or one JSON object a line for machines.

use std::collections::BTreeMap;
use std::io::Write as _;

use env_logger::fmt::Formatter;
use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Record};

use crate::clock::Clock;
use crate::settings::{LogFormat, Settings};

/// Starts logging as the settings say; a command other than `serve` shows warnings only, unless told more.
pub fn start(settings: &Settings, serving: bool) {
    let mut builder = env_logger::Builder::new();
    // The server library's own lines about workers and sockets say nothing that ours do not.
    builder.filter_module("actix_server", LevelFilter::Warn);
    // Below this level it quotes what clients send, which may be a secret in the wrong header. Who wants to see it names it.
    builder.filter_module("actix_http", LevelFilter::Info).parse_filters(&settings.web.rust_log);
    if !serving && settings.web.rust_log == "info" {
        builder.filter_level(LevelFilter::Warn);
    }
    match settings.web.log_format {
        LogFormat::Text => builder.format(text),
        LogFormat::Json => builder.format(json),
    };
    let _ = builder.try_init();
    // A panic is an event like others: one line, in the format of the rest. Its message may quote what it choked on.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log::error!(place; "panicked");
    }));
}

fn fields(record: &Record<'_>) -> BTreeMap<String, String> {
    struct Collect(BTreeMap<String, String>);
    impl<'kvs> VisitSource<'kvs> for Collect {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
            self.0.insert(key.to_string(), value.to_string());
            Ok(())
        }
    }
    let mut collect = Collect(BTreeMap::new());
    let _ = record.key_values().visit(&mut collect);
    collect.0
}

/// `TIME LEVEL TARGET message key=value …`, with control characters escaped: an event is one line whatever it holds.
fn text(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
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

fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn json(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
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
