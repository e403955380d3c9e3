//! Where the files of a tar archive lie (POSIX.1-2001 pax and GNU formats), read from its headers alone.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const BLOCK: u64 = 512;

type Header = [u8; 512];

/// No image archive has more files: two a layer and some documents.
const MAX_ENTRIES: usize = 100_000;

/// The longest name or link in bytes; the names of images' files have about a hundred.
const MAX_NAME: usize = 1024;

/// The longest extended header in bytes.
const MAX_EXTENDED: u64 = 64 << 10;

/// A file of the archive.
pub(super) enum Entry {
    Data { offset: u64, len: u64 },
    Link(String),
}

/// Why an archive has no index.
pub(super) enum IndexError {
    Read(io::Error),
    Malformed(&'static str),
}

/// The files by clean name.
pub(super) struct Index(HashMap<String, Entry>);

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extended {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Index {
    pub(super) fn read(file: &File) -> Result<Self, IndexError> {
        let end = file.metadata().map_err(IndexError::Read)?.len();
        let mut entries = HashMap::new();
        let mut extended = Extended::default();
        let mut at = 0;
        while at + BLOCK <= end {
            let mut header: Header = [0; 512];
            file.read_exact_at(&mut header, at).map_err(IndexError::Read)?;
            if header.iter().all(|byte| *byte == 0) {
                break;
            }
            check_sum(&header)?;
            let kind = header[156];
            let size = match (extended.size, kind) {
                (Some(size), b'0' | 0 | b'7') => size,
                _ => number(&header[124..136])?,
            };
            let data = at + BLOCK;
            at = data
                .checked_add(size)
                .and_then(|at| at.checked_next_multiple_of(BLOCK))
                .filter(|_| data + size <= end)
                .ok_or(IndexError::Malformed("it ends inside a file"))?;
            match kind {
                b'x' | b'L' | b'K' => {
                    let bytes = extension(file, data, size)?;
                    extended.take(kind, &bytes)?;
                    continue;
                }
                b'0' | 0 | b'7' | b'1' | b'2' => {
                    let (name, entry) = std::mem::take(&mut extended).entry(&header, kind, data, size)?;
                    entries.insert(name, entry);
                }
                b'g' => continue,
                _ => extended = Extended::default(),
            }
            if entries.len() > MAX_ENTRIES {
                return Err(IndexError::Malformed("it has too many files"));
            }
        }
        if at < end && end - at < BLOCK {
            return Err(IndexError::Malformed("it ends inside a header"));
        }
        if entries.is_empty() {
            return Err(IndexError::Malformed("it has no files"));
        }
        Ok(Self(entries))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }
}

impl Extended {
    fn take(&mut self, kind: u8, bytes: &[u8]) -> Result<(), IndexError> {
        match kind {
            b'L' => self.path = Some(text(bytes)),
            b'K' => self.link = Some(text(bytes)),
            _ => {
                let mut rest = bytes;
                while let Some((key, value, after)) = pax_record(rest)? {
                    let value = String::from_utf8_lossy(value).into_owned();
                    match key {
                        b"path" => self.path = Some(value),
                        b"linkpath" => self.link = Some(value),
                        b"size" => {
                            let bad = |_| IndexError::Malformed("a pax size is no number");
                            self.size = Some(value.parse().map_err(bad)?);
                        }
                        _ => {}
                    }
                    rest = after;
                }
            }
        }
        Ok(())
    }

    fn entry(self, header: &Header, kind: u8, offset: u64, len: u64) -> Result<(String, Entry), IndexError> {
        let path = self.path.unwrap_or_else(|| {
            let (prefix, name) = (text(&header[345..500]), text(&header[..100]));
            // Only ustar has the prefix; GNU keeps times there.
            let ustar = &header[257..263] == b"ustar\0" && !prefix.is_empty();
            if ustar { format!("{prefix}/{name}") } else { name }
        });
        let link = self.link.unwrap_or_else(|| text(&header[157..257]));
        if path.len() > MAX_NAME || link.len() > MAX_NAME {
            return Err(IndexError::Malformed("a name is too long"));
        }
        let entry = match kind {
            b'1' => Entry::Link(clean(&link)),
            b'2' => Entry::Link(clean(&format!("{path}/../{link}"))),
            _ => Entry::Data { offset, len },
        };
        Ok((clean(&path), entry))
    }
}

/// A relative name without `.`, `..` and doubled slashes; it never leads out of the archive.
pub(super) fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn extension(file: &File, at: u64, size: u64) -> Result<Vec<u8>, IndexError> {
    let len = usize::try_from(size.min(MAX_EXTENDED + 1)).unwrap_or(usize::MAX);
    if size > MAX_EXTENDED {
        return Err(IndexError::Malformed("an extended header is too long"));
    }
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at).map_err(IndexError::Read)?;
    Ok(bytes)
}

type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// The key and value of the first `length key=value\n`, and what follows.
fn pax_record(bytes: &[u8]) -> Result<Option<Record<'_>>, IndexError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let split = || {
        let blank = bytes.iter().position(|byte| *byte == b' ')?;
        let len: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
        let record = bytes.get(blank + 1..len)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        Some((&record[..equals], &record[equals + 1..], &bytes[len..]))
    };
    split().map(Some).ok_or(IndexError::Malformed("a pax record is malformed"))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A number in octal digits, or in GNU's base 256.
fn number(field: &[u8]) -> Result<u64, IndexError> {
    let bad = IndexError::Malformed("a header's size is no number");
    if let Some((0x80, rest)) = field.split_first() {
        let step = |number: u64, byte: &u8| Some(number.checked_mul(256)? + u64::from(*byte));
        return rest.iter().try_fold(0, step).ok_or(bad);
    }
    let digits = text(field);
    u64::from_str_radix(digits.trim_matches(' '), 8).map_err(|_| bad)
}

fn check_sum(header: &Header) -> Result<(), IndexError> {
    let blanked = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
    let sum: u64 = header.iter().enumerate().map(|(at, byte)| u64::from(blanked(at, *byte))).sum();
    let told = number(&header[148..156]).ok();
    if told == Some(sum) { Ok(()) } else { Err(IndexError::Malformed("a header's checksum is wrong")) }
}
