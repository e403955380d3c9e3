//! The files of a log: `PATH.0`, `PATH.1`, …, the highest number being the one that is written.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::decode;

/// A place in the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The file's number.
    pub(super) generation: u64,
    /// Bytes from its start.
    pub(super) offset: u64,
}

/// What is there before anything is written.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The oldest file that belongs to the log.
    pub(super) first: u64,
    /// After the last whole line of the newest one.
    pub(super) end: Position,
    /// Whether that line does not end a run, as after a power cut.
    pub(super) unended: bool,
    /// Files that do not belong: numbers before a gap.
    pub(super) stale: Vec<u64>,
}

/// Digits of a file's number: enough for ever, and no overflow near.
const DIGITS_MAX: usize = 12;

/// Files that are looked at. There are never more unless somebody else puts them there.
const FOUND_MAX: usize = 64;

pub(super) fn path_of(path: &Path, generation: u64) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{generation}"));
    PathBuf::from(name)
}

/// Looks at what is there. A directory that is missing holds nothing.
pub(super) fn find(path: &Path) -> io::Result<Found> {
    let mut generations = match generations(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        found => found?,
    };
    let Some(last) = generations.pop_last() else { return Ok(Found::default()) };
    let mut first = last;
    while first > 0 && generations.remove(&(first - 1)) {
        first -= 1;
    }
    let (offset, unended) = last_line(&File::open(path_of(path, last))?)?;
    let unended = unended || (offset == 0 && last > first);
    let end = Position { generation: last, offset };
    Ok(Found { first, end, unended, stale: generations.into_iter().collect() })
}

fn generations(path: &Path) -> io::Result<BTreeSet<u64>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let mut generations = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let file_name = entry?.file_name();
        let number = file_name.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('.'));
        if let Some(generation) = number.and_then(parse_generation) {
            generations.insert(generation);
            if generations.len() > FOUND_MAX {
                generations.pop_first();
            }
        }
    }
    Ok(generations)
}

fn parse_generation(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits && text.len() <= DIGITS_MAX).then(|| text.parse().ok()).flatten()
}

/// The offset after a file's last whole line, and whether that line leaves a run unended.
fn last_line(file: &File) -> io::Result<(u64, bool)> {
    const BLOCK: u64 = 256 << 10;
    let mut end = file.metadata()?.len();
    // What is cut at the end may be long: some file systems leave zeros after a power cut.
    loop {
        let start = end.saturating_sub(BLOCK);
        let block = read_at(file, start, end)?;
        if let Some(at) = memchr::memrchr(b'\n', &block) {
            end = start + at as u64;
            break;
        }
        if start == 0 {
            return Ok((0, false));
        }
        end = start;
    }
    let before = read_at(file, end.saturating_sub(decode::LINE_MAX as u64), end)?;
    let line = memchr::memrchr(b'\n', &before).map_or(0, |at| at + 1);
    Ok((end + 1, !decode::is_end(&before[line..])))
}

/// Reads a range, or what there is of it.
pub(super) fn read_at(file: &File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let length =
        usize::try_from(end.saturating_sub(start)).map_err(|_too_long| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
