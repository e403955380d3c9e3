//! The daemon's log: one line an event on standard error, as `key=value` or as JSON.
//!
//! A thread of its own writes: whoever reads slowly does not stop the daemon, but loses lines, and is told how many.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::SystemTime;

use clap::ValueEnum;
use log::kv::{self, Key, Value, VisitSource};
use log::{Level, LevelFilter, Metadata, Record};

/// Lines that may wait for whoever reads them.
const WAITING: usize = 4096;

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// `key=value`
    #[default]
    Text,
    /// A JSON object
    Json,
}

/// What is logged, and all that is graver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    /// Also each change that a client asks for
    #[default]
    Info,
    /// Also each question of a client
    Debug,
}

/// Lines for the thread that writes.
#[derive(Debug)]
enum Order {
    Line(String),
    /// The other end hangs up once all before it is written.
    Flush(mpsc::Sender<()>),
}

struct Logger {
    format: LogFormat,
    orders: SyncSender<Order>,
    lost: AtomicU64,
}

/// Logs from now on.
pub(super) fn start(format: LogFormat, level: LogLevel) {
    let (orders, received) = mpsc::sync_channel(WAITING);
    let spawned = std::thread::Builder::new().name("log".into()).spawn(move || write(&received));
    let logger = Box::new(Logger { format, orders, lost: AtomicU64::new(0) });
    // Without the thread nothing could be said either.
    if spawned.is_ok() && log::set_boxed_logger(logger).is_ok() {
        log::set_max_level(match level {
            LogLevel::Error => LevelFilter::Error,
            LogLevel::Warn => LevelFilter::Warn,
            LogLevel::Info => LevelFilter::Info,
            LogLevel::Debug => LevelFilter::Debug,
        });
    }
}

fn write(orders: &Receiver<Order>) {
    let mut stderr = std::io::stderr();
    while let Ok(order) = orders.recv() {
        match order {
            // Where nobody reads, the daemon goes on.
            Order::Line(line) => drop(stderr.write_all(line.as_bytes())),
            Order::Flush(done) => drop(done),
        }
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) || !is_ours(record.target()) {
            return;
        }
        let lost = self.lost.load(Ordering::Relaxed);
        let line = line(self.format, SystemTime::now(), record, lost);
        match self.orders.try_send(Order::Line(line)) {
            Ok(()) => drop(self.lost.fetch_sub(lost, Ordering::Relaxed)),
            Err(_full) => drop(self.lost.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn flush(&self) {
        let (done, written) = mpsc::channel();
        if self.orders.send(Order::Flush(done)).is_ok() {
            let _written = written.recv();
        }
    }
}

/// Whether a crate of this program speaks: those of others know neither what is secret nor what matters.
fn is_ours(target: &str) -> bool {
    let krate = target.split(':').next().unwrap_or_default();
    matches!(krate, "kcradle" | "frontend" | "image" | "pod" | "vdocker")
}

/// The values of a line in their order.
#[derive(Default)]
struct Fields(Vec<(String, serde_json::Value)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let value = match value.to_u64() {
            Some(number) => number.into(),
            None => serde_json::Value::String(value.to_string()),
        };
        if value != "" {
            self.0.push((key.to_string(), value));
        }
        Ok(())
    }
}

fn line(format: LogFormat, now: SystemTime, record: &Record<'_>, lost: u64) -> String {
    let level = match record.level() {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    };
    let mut fields = Fields::default();
    fields.0.push(("time".into(), vdocker::time::fixed(now).into()));
    fields.0.push(("level".into(), level.into()));
    fields.0.push(("msg".into(), record.args().to_string().into()));
    // Fields that cannot be had are left out.
    let _visited = record.key_values().visit(&mut fields);
    if lost > 0 {
        fields.0.push(("lost_lines".into(), lost.into()));
    }
    match format {
        LogFormat::Json => {
            let object: BTreeMap<_, _> = fields.0.into_iter().collect();
            serde_json::to_string(&object).unwrap_or_default() + "\n"
        }
        LogFormat::Text => text(&fields.0),
    }
}

/// Values in quotes where they are no plain words: nobody's text makes a line, or a field, of its own.
fn text(fields: &[(String, serde_json::Value)]) -> String {
    let mut line = String::new();
    for (key, value) in fields {
        let separator = if line.is_empty() { "" } else { " " };
        let is_plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"=\\".contains(&byte));
        // A string takes everything.
        let _ = match value.as_str() {
            Some(text) if is_plain(text) => write!(line, "{separator}{key}={text}"),
            Some(text) => write!(line, "{separator}{key}=\"{}\"", escaped(text)),
            None => write!(line, "{separator}{key}={value}"),
        };
    }
    line.push('\n');
    line
}

fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(format: LogFormat, path: &str, lost: u64) -> String {
        let values = [("path", path.into()), ("code", Value::from(404_u16)), ("error", "".into())];
        let values: Vec<(&str, Value<'_>)> = values.into();
        let record = Record::builder()
            .level(Level::Info)
            .args(format_args!("request"))
            .key_values(&values)
            .build()
            .clone();
        line(format, SystemTime::UNIX_EPOCH, &record, lost)
    }

    #[test]
    fn a_line_is_one_event() {
        assert_eq!(
            logged(LogFormat::Text, "/info", 0),
            "time=1970-01-01T00:00:00.000000000Z level=info msg=request path=/info code=404\n"
        );
        assert_eq!(
            logged(LogFormat::Json, "/info", 2),
            "{\"code\":404,\"level\":\"info\",\"lost_lines\":2,\"msg\":\"request\",\"path\":\"/info\",\"time\":\"1970-01-01T00:00:00.000000000Z\"}\n"
        );
    }

    #[test]
    fn nobody_can_make_a_line_or_a_field() {
        for wicked in ["/x\ntime=1 level=error", "/x code=200", "a\"b\\c", "\u{1b}[2J\r", "=\u{85}"] {
            let text = logged(LogFormat::Text, wicked, 0);
            assert_eq!(text.lines().count(), 1, "{text:?}");
            assert!(text.ends_with("\" code=404\n") && text.contains(" path=\""), "{text:?}");
            assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
            assert_eq!(logged(LogFormat::Json, wicked, 0).lines().count(), 1);
        }
    }

    #[test]
    fn others_are_not_listened_to() {
        assert!(is_ours("frontend::router") && is_ours("kcradle"));
        assert!(!is_ours("rustls::client") && !is_ours("ureq") && !is_ours(""));
    }
}
