//! What a container has written: kept on disk as JSON lines and, the latest of it, in memory; read at each reader's
//! own pace.
//!
//! [`Log::push`] never waits. A task writes behind, in batches and on another thread; until a record is on disk it
//! stays in memory, and [`Log::has_room`] tells the engine when to read no more of the container meanwhile. A reader
//! holds nothing but its place: one that is slow finds what it wants on disk, or hears that it was removed.

mod cursor;
mod decode;
mod disk;
mod encode;
mod escape;
mod files;
mod flush;
mod lines;
mod records;
mod ring;
mod tail;
pub(crate) mod timestamp;
mod writer;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::Notify;

pub use lines::{LineOptions, Lines};
pub use records::Records;

use disk::Disk;
use ring::{Entry, Ring};

/// The longest record, in bytes: what one read may take.
pub const RECORD_MAX: usize = 64 << 10;

/// Memory for the latest records, in bytes, those waiting for the disk aside.
const RING_MAX: usize = 256 << 10;

/// Memory for records that wait for the disk, in bytes, after which [`Log::has_room`] says no.
const PENDING_MAX: usize = 1 << 20;

/// Below this a record gets memory of its own size, lest it hold a whole buffer of which it is a small part.
const COPIED_BELOW: usize = 16 << 10;

/// Which of a container's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Bytes as one read took them from a stream: any number of lines, and the last may be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whence.
    pub stream: Stream,
    /// When they were read.
    pub time: SystemTime,
    /// At least one byte.
    pub bytes: Bytes,
}

/// Where a reader of records begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the oldest record there is, those of earlier runs of the pod too.
    Start,
    /// At the next record.
    End,
    /// At the first record of a run, and no further than its last.
    Run(Run),
}

/// A run of the container's process: one of those since this log was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The number of the first entry that can be of it.
    first: u64,
    /// Runs before it.
    pub before: u64,
}

/// How much of a log the disk holds. The oldest file is removed when another one would be too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Size of a file in bytes, exceeded by one record at most.
    pub file_bytes: u64,
    /// Number of files, at least one.
    pub files: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, files: 5 }
    }
}

impl LogLimits {
    /// The default, or less where the whole log shall not take more than a number of bytes.
    #[must_use]
    pub fn within(bytes: u64) -> Self {
        let Self { file_bytes, files } = Self::default();
        Self { file_bytes: file_bytes.min(bytes / files).max(RECORD_MAX as u64), files }
    }
}

/// A container's log. Clones are the same log.
///
/// One on disk has to be written to inside of a [`tokio::task::LocalSet`], on a runtime with timers.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: RefCell<State>,
    /// Something was pushed.
    pushed: Notify,
    /// The task that writes has written, opened, failed or ended.
    written: Notify,
    /// There is enough to write, or somebody waits for it.
    hurry: Notify,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    /// By stream: whether the last record of this run was cut within a line.
    within_line: [bool; 2],
    /// The last run that has begun, else the one that will be the first.
    run: Run,
    /// Runs that have begun.
    runs: u64,
    disk: Option<Disk>,
}

impl Default for Log {
    fn default() -> Self {
        Self::in_memory()
    }
}

impl Log {
    /// A log without a disk: the latest few hundred KiB.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(None)
    }

    /// A log in files `PATH.N`, with what they hold from before. Nothing is opened before the first write or read; the
    /// directory has to exist by then.
    #[must_use]
    pub fn on_disk(path: impl Into<PathBuf>, limits: LogLimits) -> Self {
        Self::new(Some(Disk::new(path.into(), limits)))
    }

    fn new(disk: Option<Disk>) -> Self {
        let state =
            State { ring: Ring::default(), within_line: [false; 2], run: Run::default(), runs: 0, disk };
        Self {
            shared: Rc::new(Shared {
                state: RefCell::new(state),
                pushed: Notify::new(),
                written: Notify::new(),
                hurry: Notify::new(),
            }),
        }
    }

    /// Appends a record, with the time of now.
    pub fn push(&self, stream: Stream, bytes: Bytes) {
        self.push_at(SystemTime::now(), stream, bytes);
    }

    /// Appends a record. Of more than [`RECORD_MAX`] bytes several are made, of none nothing.
    pub fn push_at(&self, time: SystemTime, stream: Stream, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let mut piece = bytes.split_to(bytes.len().min(RECORD_MAX));
            if piece.len() < COPIED_BELOW {
                piece = Bytes::copy_from_slice(&piece);
            }
            self.shared.append_record(Record { stream, time, bytes: piece });
        }
        self.shared.tend();
    }

    /// Notes that the container's process is about to be started. Nothing is written.
    pub fn begin_run(&self) {
        let mut state = self.shared.state.borrow_mut();
        state.run = Run { first: state.ring.next(), before: state.runs };
        state.runs += 1;
    }

    /// The run that goes on; without one the last, and before any the first.
    #[must_use]
    pub fn run(&self) -> Run {
        self.shared.state.borrow().run
    }

    /// Notes that the container's process has ended: a line that was cut stays as it is, the next run begins another.
    pub fn end_run(&self) {
        self.shared.append_end();
        self.shared.tend();
    }

    /// Whether more may be pushed; false while the disk is too far behind.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.shared.state.borrow().pending() < PENDING_MAX
    }

    /// Waits until more may be pushed.
    pub async fn room(&self) {
        while !self.has_room() {
            self.shared.written.notified().await;
        }
    }

    /// Waits until all that was pushed is on disk (in the kernel's hands, not synced), or the disk has failed. No file
    /// is open for writing then, so that the disk can be unmounted.
    pub async fn flush(&self) {
        let target = self.shared.state.borrow().ring.next();
        if !self.shared.has_written(target) {
            self.shared.start_writing(true);
        }
        while !self.shared.has_written(target) && self.shared.is_writing() {
            self.shared.hurry.notify_one();
            self.shared.written.notified().await;
        }
        if let Some(disk) = &mut self.shared.state.borrow_mut().disk {
            disk.close();
        }
    }

    /// Reads records as they were pushed, both streams, in order.
    #[must_use]
    pub fn records(&self, from: From) -> Records {
        Records::new(&self.shared, from)
    }

    /// Reads lines as `docker logs` does.
    #[must_use]
    pub fn lines(&self, options: LineOptions) -> Lines {
        Lines::new(&self.shared, options)
    }
}

impl State {
    /// Bytes of memory that wait for the disk. None do once it has failed.
    fn pending(&self) -> usize {
        self.disk.as_ref().map_or(0, |disk| disk.pending)
    }

    fn append(&mut self, entry: Entry) {
        if let Some(disk) = self.disk.as_mut().filter(|disk| !disk.has_failed()) {
            disk.pending += entry.weight();
        }
        self.ring.push(entry);
        self.evict();
    }

    /// Drops the oldest entries, but none that wait for the disk.
    fn evict(&mut self) {
        let kept = match &self.disk {
            Some(disk) if !disk.has_failed() => disk.written().seq,
            _ => u64::MAX,
        };
        self.ring.evict(RING_MAX, kept);
    }
}

impl Shared {
    fn append_record(&self, record: Record) {
        let mut state = self.state.borrow_mut();
        let cut = record.bytes.last() != Some(&b'\n');
        let continues = std::mem::replace(&mut state.within_line[record.stream as usize], cut);
        state.append(Entry::Record { record, continues });
    }

    fn append_end(&self) {
        let mut state = self.state.borrow_mut();
        let cut = std::mem::take(&mut state.within_line);
        state.append(Entry::End { time: SystemTime::now(), cut });
    }
}

/// A line that the log itself has to say.
fn notice(text: &str) -> Entry {
    let bytes = Bytes::from(format!("[log: {text}]\n"));
    let record = Record { stream: Stream::Stderr, time: SystemTime::now(), bytes };
    Entry::Record { record, continues: false }
}
