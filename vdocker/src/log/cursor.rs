//! A reader's place in a log: on disk or in the ring. It goes from one to the other without a gap or a repetition.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::task::{JoinHandle, spawn_blocking};

use super::decode::HEADROOM;
use super::files::{Position, fill_at, path_of};
use super::ring::Entry;
use super::{Record, Shared, decode, notice};

/// Bytes of a file that are read at once. A longer line needs more.
const BLOCK: usize = (384 << 10) - HEADROOM;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The oldest entry.
    Start,
    /// Of a file, and the number of entries to pass over.
    Disk(Position, u64),
    /// The number of an entry.
    Ring(u64),
}

/// A block of a file, decoded.
#[derive(Debug)]
struct Block {
    /// What the records' bytes are parts of.
    memory: Bytes,
    entries: VecDeque<Entry>,
    next: Place,
}

#[derive(Debug)]
pub(super) struct Cursor {
    shared: Rc<Shared>,
    /// Of the entry after those of `block`.
    place: Place,
    /// Entries of the disk that were not given out yet.
    block: VecDeque<Entry>,
    /// What the bytes of `block` are parts of.
    memory: Bytes,
    /// That of the block before, which is read into again once nobody needs it: fresh memory costs more than the reading.
    spare: Bytes,
    /// Kept here, so that a call that is dropped loses nothing.
    reading: Option<JoinHandle<io::Result<Block>>>,
    end: Option<End>,
}

/// Where a reader stops that does not follow: what was pushed when it began, and little more.
#[derive(Clone, Copy, Debug)]
struct End {
    seq: u64,
    /// A place at or behind it, once that is known.
    position: Option<Position>,
}

impl Cursor {
    pub(super) fn new(shared: &Rc<Shared>, place: Place) -> Self {
        Self {
            shared: Rc::clone(shared),
            place,
            block: VecDeque::new(),
            memory: Bytes::new(),
            spare: Bytes::new(),
            reading: None,
            end: None,
        }
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.memory.len() + self.spare.len()
    }

    /// Sets an end at what there is now, if none is set; or removes it.
    pub(super) fn set_end(&mut self, end: bool) {
        let now = || End { seq: self.shared.state.borrow().ring.next(), position: None };
        self.end = end.then(|| self.end.unwrap_or_else(now));
    }

    /// The next entry where it is in memory.
    pub(super) fn ready(&mut self) -> Option<Entry> {
        let read = self.block.pop_front();
        match self.place {
            Place::Ring(seq) if read.is_none() && self.reading.is_none() => self.ring(seq),
            _ => read,
        }
    }

    /// The next entry; `None` at the end, for which `follow` waits.
    ///
    /// A call that is dropped loses nothing.
    pub(super) async fn next(&mut self, follow: bool) -> io::Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.block.pop_front() {
                return Ok(Some(entry));
            }
            if let Some(reading) = &mut self.reading {
                let block = reading.await;
                self.reading = None;
                let block = block.map_err(io::Error::other)??;
                (self.place, self.block) = (block.next, block.entries);
                self.spare = std::mem::replace(&mut self.memory, block.memory);
                continue;
            }
            match self.place {
                Place::Start => self.place = start(&self.shared).await,
                Place::Disk(position, skip) => {
                    if self.read(position, skip) {
                        return Ok(None);
                    }
                }
                Place::Ring(seq) => match self.ring(seq) {
                    Some(entry) => return Ok(Some(entry)),
                    None if !matches!(self.place, Place::Ring(seq) if self.is_at_end(seq)) => {}
                    None if follow => self.shared.pushed.notified().await,
                    None => return Ok(None),
                },
            }
        }
    }

    /// Adds to a record those of its stream that follow it in a block of the disk, without copying any. Each is shown,
    /// and another follows only where the answer is yes.
    pub(super) fn join(&mut self, record: &mut Record, mut may_go_on: impl FnMut(&[u8]) -> bool) {
        let offset = |bytes: &Bytes| {
            let offset = bytes.as_ptr().addr().checked_sub(self.memory.as_ptr().addr())?;
            (offset + bytes.len() <= self.memory.len()).then_some(offset)
        };
        let Some(start) = offset(&record.bytes) else { return };
        let mut end = start + record.bytes.len();
        let mut goes_on = may_go_on(&record.bytes);
        while goes_on && let Some(Entry::Record { record: next, .. }) = self.block.front() {
            if next.stream != record.stream || offset(&next.bytes) != Some(end) {
                break;
            }
            end += next.bytes.len();
            record.time = next.time;
            goes_on = may_go_on(&next.bytes);
            self.block.pop_front();
        }
        record.bytes = self.memory.slice(start..end);
    }

    /// Whether nothing follows a number, or nothing that this reader wants.
    fn is_at_end(&self, seq: u64) -> bool {
        let end = self.end.map_or(u64::MAX, |end| end.seq);
        seq >= end.min(self.shared.state.borrow().ring.next())
    }

    /// The entry of a number, if it is in the ring. Else changes the place, or it has not been pushed.
    fn ring(&mut self, seq: u64) -> Option<Entry> {
        if self.is_at_end(seq) {
            return None;
        }
        let state = self.shared.state.borrow();
        if seq >= state.ring.first() {
            self.place = Place::Ring(seq + 1);
            return state.ring.from(seq).next().cloned();
        }
        let disk = state.disk.as_ref().filter(|disk| seq < disk.written().seq);
        if let Some((position, skip)) = disk.and_then(|disk| disk.find(seq)) {
            self.place = Place::Disk(position, skip);
            return None;
        }
        let oldest = match disk {
            Some(disk) => Place::Disk(Position { generation: disk.first_generation(), offset: 0 }, 0),
            None => Place::Ring(state.ring.first()),
        };
        self.place = oldest;
        Some(removed())
    }

    /// Starts to read at a place of the disk, or goes over to the ring. Returns whether the end was reached.
    fn read(&mut self, position: Position, skip: u64) -> bool {
        let state = self.shared.state.borrow();
        let Some(disk) = &state.disk else { return true };
        let written = disk.written();
        let mut limit = written.position;
        if let Some(end) = &mut self.end {
            if end.position.is_none() && written.seq >= end.seq {
                end.position = Some(written.position);
            }
            if let Some(position) = end.position {
                limit = position;
            }
        }
        let oldest = Position { generation: disk.first_generation(), offset: 0 };
        if position < oldest {
            self.block.push_back(removed());
            self.place = Place::Disk(oldest, 0);
        } else if position >= written.position {
            self.block.extend(disk.seam().cloned());
            self.place = Place::Ring(written.seq);
            (self.memory, self.spare) = (Bytes::new(), Bytes::new());
        } else if position >= limit {
            return true;
        } else {
            let path = disk.path().to_owned();
            let memory = std::mem::take(&mut self.spare).try_into_mut().unwrap_or_default();
            self.reading = Some(spawn_blocking(move || read_block(&path, position, skip, limit, memory)));
        }
        false
    }
}

/// The place of the oldest entry. Waits for the files to be looked at.
async fn start(shared: &Rc<Shared>) -> Place {
    open(shared).await;
    let state = shared.state.borrow();
    match state.disk.as_ref().filter(|disk| disk.is_opened()) {
        Some(disk) => Place::Disk(Position { generation: disk.first_generation(), offset: 0 }, 0),
        None => Place::Ring(state.ring.first()),
    }
}

/// Waits until the files have been looked at, or cannot be.
pub(super) async fn open(shared: &Rc<Shared>) {
    let is_opened = || shared.state.borrow().disk.as_ref().is_none_or(|disk| disk.is_opened());
    if is_opened() {
        return;
    }
    shared.start_writing(true);
    while !is_opened() && shared.is_writing() {
        shared.written.notified().await;
    }
}

fn removed() -> Entry {
    notice("what came here was removed before it was read")
}

fn damaged() -> Entry {
    notice("what came here cannot be read")
}

/// Reads the entries from a place on, up to `limit` or a block's worth of them.
fn read_block(
    path: &Path,
    position: Position,
    mut skip: u64,
    limit: Position,
    mut memory: BytesMut,
) -> io::Result<Block> {
    let newest = position.generation == limit.generation;
    let next_file = Place::Disk(Position { generation: position.generation + 1, offset: 0 }, 0);
    let file = match File::open(path_of(path, position.generation)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let next = if newest { Place::Disk(limit, 0) } else { next_file };
            return Ok(Block { memory: Bytes::new(), entries: VecDeque::from([removed()]), next });
        }
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    let end = if newest { limit.offset.min(size) } else { size };
    let length = read_lines(&file, position.offset, end, &mut memory)?;
    let (memory, lines) = decode::decode_in_place(memory);
    let mut entries = VecDeque::with_capacity(lines.len());
    for (_offset, entry) in lines {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        entries.push_back(entry.unwrap_or_else(damaged));
    }
    let offset = position.offset + length as u64;
    let next = if length > 0 && offset < end {
        Place::Disk(Position { offset, ..position }, skip)
    } else if newest {
        Place::Disk(limit, 0)
    } else {
        next_file
    };
    Ok(Block { memory, entries, next })
}

/// Reads whole lines of a range to behind the memory's headroom: a block of them, or one that is longer. Without any,
/// what there is. Returns their length.
fn read_lines(file: &File, start: u64, end: u64, memory: &mut BytesMut) -> io::Result<usize> {
    let left = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
    let mut size = BLOCK;
    loop {
        memory.resize(HEADROOM + size.min(left), 0);
        let filled = fill_at(file, start, &mut memory[HEADROOM..])?;
        let whole = memchr::memrchr(b'\n', &memory[HEADROOM..HEADROOM + filled]).map(|last| last + 1);
        if whole.is_some() || size >= left || size >= decode::LINE_MAX {
            let length = whole.unwrap_or(filled);
            memory.truncate(HEADROOM + length);
            return Ok(length);
        }
        size *= 2;
    }
}
