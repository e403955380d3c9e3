//! Warnings of the virtual machine's threads (`log`), kept as lines of `console.log`: a device that gave up, a host's
//! file that cannot be written. Installed by the recipe of a run before its threads are confined.

use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::failure::push_visible;

/// The most warnings that are kept of a run: a guest can cause as many as it likes.
const LIMIT: u64 = 200;

/// Where warnings go.
struct Warnings {
    sink: File,
    seen: AtomicU64,
}

/// Keeps the warnings of this process from now on; each is one write(2) to `sink`. The first call in a process counts.
pub(super) fn keep(sink: File) {
    if log::set_logger(Box::leak(Box::new(Warnings::new(sink)))).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

impl Warnings {
    const fn new(sink: File) -> Self {
        Self { sink, seen: AtomicU64::new(0) }
    }
}

impl Log for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let before = self.seen.fetch_add(1, Ordering::Relaxed);
        if before > LIMIT {
            return;
        }
        let mut line = "kcradle: ".to_owned();
        if before == LIMIT {
            line.push_str("more warnings of this run are not kept");
        } else {
            push_visible(&mut line, &record.args().to_string());
        }
        line.push('\n');
        // A full disk must not end the pod; a line that did not fit is lost.
        let _ = (&self.sink).write(line.as_bytes());
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    fn warn(warnings: &Warnings, level: Level, text: &str) {
        warnings.log(&Record::builder().level(level).args(format_args!("{text}")).build());
    }

    #[test]
    fn warnings_are_lines_and_bounded() {
        let mut file = tempfile::tempfile().unwrap();
        let warnings = Warnings::new(file.try_clone().unwrap());
        warn(&warnings, Level::Info, "of no interest");
        warn(&warnings, Level::Error, "two\nlines");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| warn(&warnings, Level::Warn, "a device gave up")));
            }
        });
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.remove(0), "kcradle: two\\nlines");
        let cut =
            lines.iter().filter(|line| **line == "kcradle: more warnings of this run are not kept").count();
        let kept = lines.iter().filter(|line| **line == "kcradle: a device gave up").count();
        assert_eq!((kept, cut, lines.len()), (199, 1, 200));
    }

    #[test]
    fn a_process_keeps_what_the_macros_say() {
        let mut file = tempfile::tempfile().unwrap();
        keep(file.try_clone().unwrap());
        log::warn!("cannot {} a disk", "write");
        log::info!("of no interest");
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "kcradle: cannot write a disk\n");
    }
}
