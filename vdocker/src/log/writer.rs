//! Writes batches of entries to a log's files and replaces the oldest file by a new one: the part that blocks, on a
//! thread of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::disk::Mark;
use super::files::{self, Position, path_of};
use super::ring::Entry;
use super::timestamp::Formatter;
use super::{LogLimits, encode, notice};

/// Bytes that are handed to the kernel at once.
const CHUNK: usize = 256 << 10;

/// What to write.
#[derive(Debug)]
pub(super) struct Batch {
    /// The number of the first entry.
    pub(super) first: u64,
    /// Entries before it that are lost.
    pub(super) lost: u64,
    pub(super) entries: Vec<Entry>,
}

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    /// Places of some entries, ascending.
    pub(super) marks: Vec<Mark>,
    /// The first entry that is not written.
    pub(super) end: Mark,
    /// Why it is not, where it is of the batch.
    pub(super) error: Option<io::Error>,
}

#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    limits: LogLimits,
    first_generation: u64,
    /// After the last entry.
    position: Position,
    file: Option<File>,
    /// Lines that are not written yet.
    buffer: Vec<u8>,
    times: Formatter,
    /// The end of an earlier process's last run, which is to be written first.
    seam: Option<Entry>,
    /// Files to remove, which are no part of the log any more.
    stale: Vec<u64>,
}

impl Writer {
    /// Looks at the files, and changes nothing.
    pub(super) fn open(path: PathBuf, limits: LogLimits) -> io::Result<Self> {
        let found = files::find(&path)?;
        Ok(Self {
            path,
            limits,
            first_generation: found.first,
            position: found.end,
            file: None,
            buffer: Vec::new(),
            times: Formatter::default(),
            seam: found.seam,
            stale: found.stale,
        })
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    pub(super) fn seam(&self) -> Option<&Entry> {
        self.seam.as_ref()
    }

    pub(super) fn first_generation(&self) -> u64 {
        self.first_generation
    }

    /// Goes on where an earlier writer of this process was known to be.
    pub(super) fn resume(&mut self, position: Position) {
        self.position = position;
        self.seam = None;
    }

    /// Closes the file, which the next batch opens again.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Writes a batch, as far as that can be done.
    pub(super) fn write(&mut self, batch: Batch) -> Written {
        let seq = batch.first - batch.lost;
        let mut end = Mark { seq, position: self.position, lost: false };
        let mut marks = Vec::new();
        let error = self.write_entries(batch, &mut marks, &mut end).err();
        self.buffer.clear();
        if error.is_some() {
            // The next attempt opens the file again and cuts off what was written in part.
            self.file = None;
        }
        Written { marks, end, error }
    }

    fn write_entries(&mut self, batch: Batch, marks: &mut Vec<Mark>, end: &mut Mark) -> io::Result<()> {
        if let Some(seam) = &self.seam {
            encode::encode(seam, &mut self.times, &mut self.buffer);
            end.position = self.write_chunk()?;
            self.seam = None;
        }
        if batch.lost > 0 {
            marks.push(Mark { lost: true, ..*end });
            let lost = notice(&format!("{} records are lost", batch.lost));
            encode::encode(&lost, &mut self.times, &mut self.buffer);
            *end = Mark { seq: batch.first, position: self.write_chunk()?, lost: false };
        }
        marks.push(*end);
        let mut seq = batch.first;
        for entry in &batch.entries {
            encode::encode(entry, &mut self.times, &mut self.buffer);
            seq += 1;
            let full = self.position.offset + self.buffer.len() as u64 >= self.limits.file_bytes;
            if full || self.buffer.len() >= CHUNK {
                *end = Mark { seq, position: self.write_chunk()?, lost: false };
                marks.push(*end);
            }
        }
        if !self.buffer.is_empty() {
            *end = Mark { seq, position: self.write_chunk()?, lost: false };
        }
        Ok(())
    }

    /// Writes what is in the buffer, and returns where the next entry will be.
    fn write_chunk(&mut self) -> io::Result<Position> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(open_file(&self.path, self.position)?),
        };
        file.write_all(&self.buffer)?;
        self.position.offset += self.buffer.len() as u64;
        self.buffer.clear();
        if self.position.offset >= self.limits.file_bytes {
            self.rotate();
        }
        Ok(self.position)
    }

    /// Goes on in a new file, and removes those that are too many.
    fn rotate(&mut self) {
        self.file = None;
        self.position = Position { generation: self.position.generation + 1, offset: 0 };
        let first =
            (self.position.generation + 1).saturating_sub(self.limits.files).max(self.first_generation);
        self.stale.extend(self.first_generation..first);
        self.first_generation = first;
        self.stale.retain(|&generation| match fs::remove_file(path_of(&self.path, generation)) {
            Err(error) => error.kind() != io::ErrorKind::NotFound,
            Ok(()) => false,
        });
    }
}

/// Opens the file that is written, without what follows the last whole line.
fn open_file(path: &std::path::Path, position: Position) -> io::Result<File> {
    let path = path_of(path, position.generation);
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.set_len(position.offset)?;
    file.seek(SeekFrom::Start(position.offset))?;
    Ok(file)
}
