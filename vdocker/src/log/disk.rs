//! What the thread of the log knows of its files: how far they are written, and where in them an entry is.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::LogLimits;
use super::files::Position;
use super::ring::Entry;
use super::writer::{Writer, Written};

/// After a failure, time until the disk is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Bytes between two marks: what a reader that fell behind has to skip at most, a batch aside.
const MARKED: u64 = 256 << 10;

/// Where an entry begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The entry's number.
    pub(super) seq: u64,
    /// Its place.
    pub(super) position: Position,
    /// Whether this entry and those up to the next mark are lost, and the place tells of it.
    pub(super) lost: bool,
}

#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    limits: LogLimits,
    /// `None` while it works on another thread, before the first use, and after a failure.
    writer: Option<Writer>,
    /// The first entry that is not on disk, and where it will be.
    written: Mark,
    /// Places of some entries, ascending.
    marks: VecDeque<Mark>,
    /// The oldest file.
    first_generation: u64,
    /// Whether `written` takes the files from before into account.
    opened: bool,
    /// The end that the last run in those files lacks, for the machine was switched off.
    seam: Option<Entry>,
    /// Whether a task writes.
    pub(super) writing: bool,
    failed: Option<Instant>,
    /// Weight of the entries that wait.
    pub(super) pending: usize,
}

impl Disk {
    pub(super) fn new(path: PathBuf, limits: LogLimits) -> Self {
        Self {
            path,
            limits: LogLimits { file_bytes: limits.file_bytes, files: limits.files.max(1) },
            writer: None,
            written: Mark::default(),
            marks: VecDeque::new(),
            first_generation: 0,
            opened: false,
            seam: None,
            writing: false,
            failed: None,
            pending: 0,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn limits(&self) -> LogLimits {
        self.limits
    }

    pub(super) fn written(&self) -> Mark {
        self.written
    }

    pub(super) fn first_generation(&self) -> u64 {
        self.first_generation
    }

    pub(super) fn is_opened(&self) -> bool {
        self.opened
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Whether it may be written to: it has not failed, or long ago.
    pub(super) fn is_due(&self) -> bool {
        self.failed.is_none_or(|failed| failed.elapsed() >= RETRY)
    }

    pub(super) fn has_writer(&self) -> bool {
        self.writer.is_some()
    }

    pub(super) fn take_writer(&mut self) -> Option<Writer> {
        self.writer.take()
    }

    /// Closes the file that is written, until the next write.
    pub(super) fn close(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.close();
        }
    }

    /// Takes what opening found.
    pub(super) fn open(&mut self, mut writer: Writer) {
        if self.opened {
            writer.resume(self.written.position);
        } else {
            self.opened = true;
            self.seam = writer.seam().cloned();
            self.written = Mark { seq: 0, position: writer.position(), lost: false };
            self.marks.push_back(self.written);
        }
        self.first_generation = writer.first_generation();
        self.writer = Some(writer);
    }

    /// Takes what was written, and returns why not all of it.
    pub(super) fn commit(&mut self, writer: Writer, written: Written) -> Option<io::Error> {
        self.first_generation = writer.first_generation();
        for mark in written.marks {
            // The end of an earlier run was written before the first entry: it is not one of ours.
            if let Some(last) =
                self.marks.back_mut().filter(|last| last.seq == mark.seq && !last.lost && !mark.lost)
            {
                *last = mark;
                continue;
            }
            let near = self.marks.back().is_some_and(|last| {
                !last.lost
                    && last.position.generation == mark.position.generation
                    && mark.position.offset - last.position.offset < MARKED
            });
            if !near || mark.lost {
                self.marks.push_back(mark);
            }
        }
        let oldest = Position { generation: self.first_generation, offset: 0 };
        while self.marks.front().is_some_and(|mark| mark.position < oldest) {
            self.marks.pop_front();
        }
        self.written = written.end;
        self.writer = Some(writer);
        if written.error.is_none() {
            self.failed = None;
        }
        written.error
    }

    /// What a reader gets who comes from the files of before, of which nothing was written yet.
    pub(super) fn seam(&self) -> Option<&Entry> {
        self.seam.as_ref().filter(|_seam| self.written.seq == 0)
    }

    /// Notes a failure. Returns whether it is news.
    pub(super) fn fail(&mut self) -> bool {
        self.pending = 0;
        self.failed.replace(Instant::now()).is_none()
    }

    /// A place at or before an entry that is written, and the number of entries from there to it.
    pub(super) fn find(&self, seq: u64) -> Option<(Position, u64)> {
        let after = self.marks.partition_point(|mark| mark.seq <= seq);
        let mark = self.marks.get(after.checked_sub(1)?)?;
        Some((mark.position, if mark.lost { 0 } else { seq - mark.seq }))
    }
}
