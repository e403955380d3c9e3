//! Where the last lines of a log begin: a search from its end, in the ring first, then block by block in the files.

use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;

use tokio::task::spawn_blocking;

use super::cursor::{self, Place};
use super::files::{Position, path_of, read_at};
use super::ring::Entry;
use super::{Shared, decode};

/// Bytes of a file that are read at once.
const BLOCK: u64 = 256 << 10;

/// The place to read the last lines of a log from, and by stream how many lines after it are not among them.
pub(super) async fn find(shared: &Rc<Shared>, lines: u64) -> io::Result<(Place, [u64; 2])> {
    let mut search = Search::new(lines, shared.state.borrow().within_line);
    if let Some(seq) = search.ring(shared, 0) {
        return Ok((Place::Ring(seq), search.skip));
    }
    cursor::open(shared).await;
    // More may have been pushed meanwhile.
    let mut search = Search::new(lines, shared.state.borrow().within_line);
    let written =
        shared.state.borrow().disk.as_ref().filter(|disk| disk.is_opened()).map(|disk| disk.written());
    if let Some(seq) = search.ring(shared, written.map_or(0, |written| written.seq)) {
        return Ok((Place::Ring(seq), search.skip));
    }
    let Some(written) = written else { return Ok((Place::Start, search.skip)) };
    let (path, first) = {
        let state = shared.state.borrow();
        let Some(disk) = &state.disk else { return Ok((Place::Start, search.skip)) };
        disk.seam().iter().for_each(|end| search.take(end));
        (disk.path().to_owned(), disk.first_generation())
    };
    spawn_blocking(move || search.files(&path, first, written.position)).await.map_err(io::Error::other)?
}

/// What was found, going back.
#[derive(Debug)]
struct Search {
    /// Lines that are still to be found.
    lines: u64,
    /// By stream: whether the line found last begins further back.
    open: [bool; 2],
    /// By stream: lines found beyond those that were to be.
    skip: [u64; 2],
}

impl Search {
    fn new(lines: u64, open: [bool; 2]) -> Self {
        Self { lines, open, skip: [0; 2] }
    }

    fn is_done(&self) -> bool {
        self.lines == 0 && self.open == [false; 2]
    }

    fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Record { record, continues } => {
                let stream = record.stream as usize;
                let found = memchr::memchr_iter(b'\n', &record.bytes).count() as u64;
                let begun = (found > 0 || self.open[stream]) && *continues;
                self.open[stream] = self.count(stream, found) && begun;
            }
            Entry::End { cut, .. } => {
                for stream in [1, 0] {
                    self.open[stream] = self.count(stream, u64::from(cut[stream])) && cut[stream];
                }
            }
        }
    }

    /// Counts lines of a stream. Returns whether all of them were to be found.
    fn count(&mut self, stream: usize, found: u64) -> bool {
        let beyond = found.saturating_sub(self.lines);
        self.lines -= found - beyond;
        self.skip[stream] += beyond;
        beyond == 0
    }

    /// Goes back in the ring to an entry's number. Returns that of the entry to begin with, once it is found.
    fn ring(&mut self, shared: &Shared, first: u64) -> Option<u64> {
        let state = shared.state.borrow();
        let mut seq = state.ring.next();
        if self.is_done() {
            return Some(seq);
        }
        for entry in state.ring.from(first).rev() {
            seq -= 1;
            self.take(entry);
            if self.is_done() {
                return Some(seq);
            }
        }
        None
    }

    /// Goes back in the files.
    fn files(mut self, path: &Path, first: u64, from: Position) -> io::Result<(Place, [u64; 2])> {
        for generation in (first..=from.generation).rev() {
            let file = match File::open(path_of(path, generation)) {
                Ok(file) => file,
                // Nothing was written to it yet, or it was just removed, with those before.
                Err(error) if error.kind() == io::ErrorKind::NotFound && generation == from.generation => {
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            let size = file.metadata()?.len();
            let end = if generation == from.generation { from.offset.min(size) } else { size };
            if let Some(offset) = self.file(&file, end)? {
                return Ok((Place::Disk(Position { generation, offset }, 0), self.skip));
            }
        }
        Ok((Place::Start, self.skip))
    }

    /// Goes back in a file. Returns the offset to begin at, once it is found.
    fn file(&mut self, file: &File, mut end: u64) -> io::Result<Option<u64>> {
        while end > 0 {
            let (start, lines) = read_lines_before(file, end)?;
            for (offset, entry) in decode::decode(&lines).iter().rev() {
                if let Some(entry) = entry {
                    self.take(entry);
                }
                if self.is_done() {
                    return Ok(Some(start + *offset as u64));
                }
            }
            end = start;
        }
        Ok(None)
    }
}

/// Reads whole lines that end at a place: a block of them, or one that is longer. Returns where they begin.
fn read_lines_before(file: &File, end: u64) -> io::Result<(u64, Vec<u8>)> {
    let mut size = BLOCK;
    loop {
        let start = end.saturating_sub(size);
        let mut bytes = read_at(file, start, end)?;
        if start == 0 {
            return Ok((0, bytes));
        }
        match memchr::memchr(b'\n', &bytes) {
            Some(first) if first + 1 < bytes.len() => {
                bytes.drain(..=first);
                return Ok((start + first as u64 + 1, bytes));
            }
            // No line is that long: rubbish, which is passed over.
            _ if size > decode::LINE_MAX as u64 => return Ok((start, Vec::new())),
            _ => size *= 2,
        }
    }
}
