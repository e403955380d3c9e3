//! Reads tar archives that strangers made: POSIX ustar and pax (global headers too), GNU (long names, base-256 numbers,
//! all sparse forms) and v7, entry by entry, every count held against [`Limits`]; and writes headers of archives of our
//! own ([`write`]).
//!
//! Image layers are read by `image`, copies into containers by `guest-init`, which also writes. Formats: POSIX.1-2017
//! `pax`, the GNU tar manual's appendix "Tar Internals".
#![forbid(unsafe_code)]

mod entry;
#[cfg(test)]
mod fuzz;
mod header;
mod pax;
mod sparse;
pub mod write;

use std::io::{self, BufRead, Read};

pub use entry::{Entry, Kind};

use header::{BLOCK, Header};
use pax::Records;

/// Bytes of all global extended headers: each entry pays for them again.
const GLOBAL_MAX: u64 = 64 << 10;

/// A name, a path or a value of an archive: any bytes.
pub type Bytes = Box<[u8]>;

/// Time since 1970, negative seconds before it; `nanos` always counts forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds after them.
    pub nanos: u32,
}

/// A run of data in a file; everything else is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file, in bytes.
    pub offset: u64,
    /// How long, in bytes.
    pub length: u64,
}

/// What an archive may cost its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the archive, in bytes.
    pub archive_bytes: u64,
    /// Logical size of one file, holes included, in bytes.
    pub file_bytes: u64,
    /// Data extents of one sparse file.
    pub sparse_extents: usize,
    /// Size of the extended headers of one entry, in bytes.
    pub pax_bytes: u64,
}

/// Why an archive cannot be read. Offsets count bytes from the archive's beginning.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// The stream failed.
    #[error("cannot read the archive at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stream ends inside an entry.
    #[error("the archive ends at byte {0}, inside an entry")]
    Truncated(u64),
    /// A header's checksum is wrong: not a tar archive, or a damaged one.
    #[error("the header before byte {0} has a wrong checksum")]
    Checksum(u64),
    /// A header's field is no number, or one out of range.
    #[error("the header before byte {offset} has a bad {field}")]
    Field {
        /// Where.
        offset: u64,
        /// The field.
        field: &'static str,
    },
    /// A pax extended header is malformed.
    #[error("the extended header before byte {offset} is malformed: {problem}")]
    Pax {
        /// Where.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// A sparse file's map contradicts itself or its sizes.
    #[error("the sparse map before byte {offset} is malformed: {problem}")]
    Sparse {
        /// Where.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// An entry of a type that layers do not have.
    #[error("the entry before byte {offset} has the unknown type {flag:?}")]
    UnknownType {
        /// Where.
        offset: u64,
        /// The type flag.
        flag: char,
    },
    /// Something is larger than allowed.
    #[error("{what} at byte {offset} is larger than {limit}")]
    TooLarge {
        /// Where.
        offset: u64,
        /// What.
        what: &'static str,
        /// The limit, in bytes or pieces.
        limit: u64,
    },
}

/// A tar stream being read.
pub struct Archive<'a, R: ?Sized = dyn Read + 'a> {
    input: &'a mut R,
    limits: Limits,
    /// Bytes read so far.
    offset: u64,
    /// Data of the current entry not yet read.
    remaining: u64,
    /// Bytes after it up to the next block.
    padding: u64,
    globals: Records,
}

impl<'a, R: Read + ?Sized> Archive<'a, R> {
    /// The archive that begins where `input` is.
    pub fn new(input: &'a mut R, limits: Limits) -> Self {
        Self { input, limits, offset: 0, remaining: 0, padding: 0, globals: Records::default() }
    }

    /// The next entry, or `None` at the archive's end. What is left of the previous one's data is skipped.
    ///
    /// # Errors
    /// A failed read, a malformed header, a limit that is passed.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip_data()?;
        let mut records = Records::default();
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let Some(header) = self.next_header()? else { return Ok(None) };
            match header.flag() {
                b'x' | b'X' => {
                    let payload = self.payload(&header, "an extended header")?;
                    records.extend(&payload, &self.limits, self.offset)?;
                }
                b'g' => {
                    let payload = self.payload(&header, "a global extended header")?;
                    let limits = Limits { pax_bytes: GLOBAL_MAX.min(self.limits.pax_bytes), ..self.limits };
                    self.globals.extend(&payload, &limits, self.offset)?;
                }
                b'L' => long_name = Some(header::until_nul(&self.payload(&header, "a long name")?).to_vec()),
                b'K' => long_link = Some(header::until_nul(&self.payload(&header, "a long link")?).to_vec()),
                b'V' => {
                    self.begin_data(header.size(self.offset)?);
                    self.skip_data()?;
                }
                _ => {
                    let long = entry::LongNames { name: long_name, link: long_link };
                    return self.entry(&header, &records, long).map(Some);
                }
            }
        }
    }

    /// Reads data of the current entry; 0 at its end.
    ///
    /// # Errors
    /// A failed read, an end inside the data.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(TarError::Truncated(self.offset));
        }
        self.remaining -= read as u64;
        Ok(read)
    }

    /// Reads what follows the archive's end, so that a digest of the stream covers it.
    ///
    /// # Errors
    /// A failed read.
    pub fn drain(&mut self) -> Result<(), TarError> {
        let mut buffer = vec![0; 64 << 10];
        while self.read(&mut buffer)? != 0 {}
        Ok(())
    }

    /// How much of the current entry's data is left, in bytes.
    pub fn data_left(&self) -> u64 {
        self.remaining
    }

    fn begin_data(&mut self, size: u64) {
        self.remaining = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        let mut buffer = [0; 8 << 10];
        self.remaining = self.remaining.checked_add(self.padding).ok_or(TarError::Truncated(self.offset))?;
        self.padding = 0;
        while self.remaining > 0 {
            self.read_data(&mut buffer)?;
        }
        Ok(())
    }

    /// One `read`, retried when interrupted, counted and held to the limit.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        loop {
            match self.input.read(buffer) {
                Ok(read) => {
                    self.count(read)?;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Read { offset: self.offset, source }),
            }
        }
    }

    fn count(&mut self, read: usize) -> Result<(), TarError> {
        self.offset += read as u64;
        if self.offset > self.limits.archive_bytes {
            let limit = self.limits.archive_bytes;
            return Err(TarError::TooLarge { offset: self.offset, what: "the archive", limit });
        }
        Ok(())
    }

    /// A whole block, or `None` where the stream ends before it.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(TarError::Truncated(self.offset)),
                read => filled += read,
            }
        }
        Ok(Some(block))
    }

    /// The next header, or `None` at two zero blocks or the stream's end.
    fn next_header(&mut self) -> Result<Option<Header>, TarError> {
        let Some(block) = self.read_block()? else { return Ok(None) };
        if block == [0; BLOCK] {
            return match self.read_block()? {
                None => Ok(None),
                Some(second) if second == [0; BLOCK] => Ok(None),
                Some(_) => Err(TarError::Checksum(self.offset)),
            };
        }
        Header::new(block).map(Some).ok_or(TarError::Checksum(self.offset))
    }

    /// The data of a header that describes another one.
    fn payload(&mut self, header: &Header, what: &'static str) -> Result<Vec<u8>, TarError> {
        let size = header.size(self.offset)?;
        if size > self.limits.pax_bytes {
            return Err(TarError::TooLarge { offset: self.offset, what, limit: self.limits.pax_bytes });
        }
        self.begin_data(size);
        let mut payload = Vec::new();
        let mut buffer = [0; BLOCK];
        while self.remaining > 0 {
            let read = self.read_data(&mut buffer)?;
            payload.extend_from_slice(&buffer[..read]);
        }
        self.skip_data()?;
        Ok(payload)
    }

    fn entry(&mut self, header: &Header, own: &Records, long: entry::LongNames) -> Result<Entry, TarError> {
        let offset = self.offset;
        let records = pax::View { own, globals: &self.globals };
        let (mut entry, stored) = entry::read(header, &records, long, offset)?;
        let form = sparse::Form::of(header, own, offset)?;
        self.begin_data(stored);
        if entry.kind == Kind::File {
            entry.size = stored;
            if let Some(form) = form {
                let (size, extents) = form.load(self)?;
                if let Some(name) = own.get(b"GNU.sparse.name") {
                    entry.path = name.to_vec();
                }
                sparse::check(&extents, size, self.remaining, self.offset)?;
                entry.size = size;
                entry.extents = Some(extents);
            }
            if entry.size > self.limits.file_bytes {
                return Err(TarError::TooLarge { offset, what: "a file", limit: self.limits.file_bytes });
            }
        }
        Ok(entry)
    }
}

impl<R: BufRead + ?Sized> Archive<'_, R> {
    /// Data of the current entry as it lies in the input's buffer, without a copy; empty at its end.
    /// [`Self::consume_data`] takes it.
    ///
    /// # Errors
    /// A failed read, an end inside the data.
    pub fn data(&mut self) -> Result<&[u8], TarError> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let offset = self.offset;
        let data = self.input.fill_buf().map_err(|source| TarError::Read { offset, source })?;
        if data.is_empty() {
            return Err(TarError::Truncated(offset));
        }
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(data.len());
        Ok(&data[..wanted])
    }

    /// Goes on behind `count` bytes of what [`Self::data`] has shown.
    ///
    /// # Errors
    /// An archive over its limit.
    pub fn consume_data(&mut self, count: usize) -> Result<(), TarError> {
        self.input.consume(count);
        self.remaining = self.remaining.saturating_sub(count as u64);
        self.count(count)
    }
}
