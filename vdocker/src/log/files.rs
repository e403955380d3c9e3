//! The files of a log: `PATH.0`, `PATH.1`, …, the highest number being the one that is written.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::decode;
use super::ring::Entry;

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
    /// The end of a run that is not there, as after a power cut.
    pub(super) seam: Option<Entry>,
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
    let file = File::open(path_of(path, last))?;
    let offset = last_line_end(&file)?;
    let mut entries = last_entries(&file, offset)?;
    if entries.is_empty() && last > first {
        let file = File::open(path_of(path, last - 1))?;
        entries = last_entries(&file, file.metadata()?.len())?;
    }
    let end = Position { generation: last, offset };
    Ok(Found { first, end, seam: seam(&entries), stale: generations.into_iter().collect() })
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

/// The offset after a file's last whole line. What is cut after it may be long: some file systems leave zeros.
fn last_line_end(file: &File) -> io::Result<u64> {
    const BLOCK: u64 = 256 << 10;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        if let Some(at) = memchr::memrchr(b'\n', &read_at(file, start, end)?) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Entries before a place: at least one, if there is any.
fn last_entries(file: &File, end: u64) -> io::Result<Vec<Entry>> {
    let start = end.saturating_sub(2 * decode::LINE_MAX as u64);
    let lines = read_at(file, start, end)?;
    Ok(decode::decode(&lines).into_iter().filter_map(|(_offset, entry)| entry).collect())
}

/// What has to come after these entries so that the run has an end.
fn seam(entries: &[Entry]) -> Option<Entry> {
    let mut cut = [None; 2];
    let mut last = None;
    for entry in entries.iter().rev() {
        let Entry::Record { record, .. } = entry else { break };
        last.get_or_insert(record.time);
        cut[record.stream as usize].get_or_insert(record.bytes.last() != Some(&b'\n'));
    }
    Some(Entry::End { time: last?, cut: cut.map(|cut| cut == Some(true)) })
}

/// Reads a range, or what there is of it.
pub(super) fn read_at(file: &File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let length =
        usize::try_from(end.saturating_sub(start)).map_err(|_too_long| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; length];
    let filled = fill_at(file, start, &mut bytes)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// Fills memory from a place on, or as much of it as there is. Returns how much.
pub(super) fn fill_at(file: &File, start: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
