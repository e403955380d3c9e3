//! Lines as `docker logs` gives them out: whole ones, of each stream by itself, in the order in which they were
//! completed.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};

use super::cursor::{Cursor, Place};
use super::ring::Entry;
use super::{Record, Shared, Stream, tail};

/// Bytes of a line after which it is given out although it has not ended, as Docker has it.
const PARTIAL: usize = 16 << 10;

/// Bytes of lines that are worth to be copied to be one piece.
const COPIED: usize = 16 << 10;

/// Which lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineOptions {
    /// None that ended before.
    pub since: Option<SystemTime>,
    /// None that ended after. A reader that follows ends then.
    pub until: Option<SystemTime>,
    /// The last so many of both streams, before anything else is chosen; and those that follow.
    pub tail: Option<u64>,
    /// Those of standard output.
    pub stdout: bool,
    /// Those of standard error.
    pub stderr: bool,
}

/// A reader of lines. It holds the lines of a record, a part of a line of each stream, and two blocks of the disk while
/// it is behind.
#[derive(Debug)]
pub struct Lines {
    options: LineOptions,
    cursor: Cursor,
    /// Whether the place of the last lines was found.
    placed: bool,
    assembly: Assembly,
    merged: bool,
    ended: bool,
}

impl Lines {
    pub(super) fn new(shared: &Rc<Shared>, options: LineOptions) -> Self {
        Self {
            options,
            cursor: Cursor::new(shared, Place::Start),
            placed: options.tail.is_none(),
            assembly: Assembly::default(),
            merged: false,
            ended: false,
        }
    }

    /// Gives out lines of several records as one, up to a few hundred KiB, as far as they are there: less work where
    /// nobody asks for their times.
    #[must_use]
    pub fn merged(self) -> Self {
        Self { merged: true, ..self }
    }

    /// The next lines: whole lines of one stream, or a part of a long one, or of one that its process left unended.
    /// `None` at the end, which with `follow` only `until` brings; without, what was there at the first call without.
    ///
    /// A call that is dropped loses nothing.
    ///
    /// # Errors
    /// Those of reading a file.
    pub async fn next(&mut self, follow: bool) -> io::Result<Option<Record>> {
        if let Some(tail) = self.options.tail.filter(|_tail| !self.placed) {
            let (place, skip) = tail::find(self.cursor.shared(), tail).await?;
            self.cursor = Cursor::new(&Rc::clone(self.cursor.shared()), place);
            self.assembly.skip = skip;
            self.placed = true;
        }
        self.cursor.set_end(!follow);
        while !self.ended {
            while let Some(lines) = self.assembly.lines.pop_front() {
                if self.options.until.is_some_and(|until| lines.time > until) {
                    self.ended = true;
                    return Ok(None);
                }
                if self.wants(&lines) {
                    return Ok(Some(if self.merged { self.merge(lines) } else { lines }));
                }
            }
            match self.entry(follow).await? {
                Some(entry) => self.assemble(entry),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    fn assemble(&mut self, entry: Entry) {
        match entry {
            Entry::Record { mut record, .. } => {
                // What is chosen by its time has to keep it.
                if self.merged && self.options.since.is_none() && self.options.until.is_none() {
                    let held = self.assembly.partial[record.stream as usize].as_ref();
                    let mut open = held.map_or(0, |(_, partial)| partial.len());
                    self.cursor.join(&mut record, |bytes| {
                        let line = memchr::memrchr(b'\n', bytes).map(|end| bytes.len() - end - 1);
                        open = line.unwrap_or(open + bytes.len());
                        open < PARTIAL
                    });
                }
                self.assembly.record(record);
            }
            Entry::End { .. } => self.assembly.end(),
        }
    }

    fn merge(&mut self, first: Record) -> Record {
        let mut merged = BytesMut::new();
        loop {
            while let Some(next) = self.assembly.lines.front() {
                let length = first.bytes.len().max(merged.len()) + next.bytes.len();
                let until = self.options.until.is_some_and(|until| next.time > until);
                if next.stream != first.stream || length > COPIED || until || !self.wants(next) {
                    return finish(first, merged);
                }
                if merged.is_empty() {
                    merged.reserve(COPIED);
                    merged.extend_from_slice(&first.bytes);
                }
                merged.extend_from_slice(&next.bytes);
                self.assembly.lines.pop_front();
            }
            match self.cursor.ready() {
                Some(entry) => self.assemble(entry),
                None => return finish(first, merged),
            }
        }
    }

    fn wants(&self, lines: &Record) -> bool {
        let stream = match lines.stream {
            Stream::Stdout => self.options.stdout,
            Stream::Stderr => self.options.stderr,
        };
        stream && self.options.since.is_none_or(|since| lines.time >= since)
    }

    async fn entry(&mut self, follow: bool) -> io::Result<Option<Entry>> {
        let Some(until) = self.options.until.filter(|_until| follow) else {
            return self.cursor.next(follow).await;
        };
        let left = until.duration_since(SystemTime::now()).unwrap_or_default();
        match tokio::time::timeout(left, self.cursor.next(true)).await {
            Ok(entry) => entry,
            // Nothing comes any more, but there may be what came before.
            Err(_elapsed) => self.cursor.next(false).await,
        }
    }
}

fn finish(first: Record, merged: BytesMut) -> Record {
    if merged.is_empty() { first } else { Record { bytes: merged.freeze(), ..first } }
}

/// Makes lines of records.
#[derive(Debug, Default)]
struct Assembly {
    /// By stream: the part of a line that is not given out yet, and when it came.
    partial: [Option<(SystemTime, BytesMut)>; 2],
    /// By stream: lines that are not wanted.
    skip: [u64; 2],
    /// By stream: whether a part of such a line came last.
    passing: [bool; 2],
    /// What is to be given out.
    lines: VecDeque<Record>,
}

impl Assembly {
    fn record(&mut self, record: Record) {
        let Record { stream, time, mut bytes } = record;
        self.pass_over(stream, &mut bytes);
        if self.partial[stream as usize].is_some()
            && let Some(end) = memchr::memchr(b'\n', &bytes)
        {
            let rest = bytes.split_off(end + 1);
            self.add_partial(stream, time, &bytes);
            self.give_partial(stream, Some(time));
            bytes = rest;
        }
        if let Some(end) = memchr::memrchr(b'\n', &bytes) {
            let rest = bytes.split_off(end + 1);
            self.lines.push_back(Record { stream, time, bytes });
            bytes = rest;
        }
        if self.skip[stream as usize] > 0 || bytes.is_empty() {
            return;
        }
        if self.partial[stream as usize].is_none() && bytes.len() >= PARTIAL {
            self.lines.push_back(Record { stream, time, bytes });
            return;
        }
        if self.add_partial(stream, time, &bytes) >= PARTIAL {
            self.give_partial(stream, None);
        }
    }

    /// Removes lines that are not wanted from a record.
    fn pass_over(&mut self, stream: Stream, bytes: &mut Bytes) {
        let skip = &mut self.skip[stream as usize];
        self.passing[stream as usize] = *skip > 0 && bytes.last().is_some_and(|&last| last != b'\n');
        while *skip > 0 {
            match memchr::memchr(b'\n', bytes) {
                Some(end) => {
                    drop(bytes.split_to(end + 1));
                    *skip -= 1;
                }
                None => break,
            }
        }
    }

    fn add_partial(&mut self, stream: Stream, time: SystemTime, bytes: &[u8]) -> usize {
        let (_, partial) = self.partial[stream as usize].get_or_insert_with(|| (time, BytesMut::new()));
        partial.extend_from_slice(bytes);
        partial.len()
    }

    /// Gives out what there is of a line, with the time of its end or that of its beginning.
    fn give_partial(&mut self, stream: Stream, time: Option<SystemTime>) {
        if let Some((began, partial)) = self.partial[stream as usize].take() {
            let time = time.unwrap_or(began);
            self.lines.push_back(Record { stream, time, bytes: partial.freeze() });
        }
    }

    /// The process has ended: what there is of lines is all of them.
    fn end(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if std::mem::take(&mut self.passing[stream as usize]) && self.skip[stream as usize] > 0 {
                self.skip[stream as usize] -= 1;
            }
            self.give_partial(stream, None);
        }
    }
}
