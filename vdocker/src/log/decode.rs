//! Lines of a log's files as entries. Takes what [`encode`](super::encode) writes, and bytes of any other kind without
//! harm: nothing is allocated beyond what a block of lines can hold.

use std::ops::Range;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::ring::Entry;
use super::{RECORD_MAX, Record, Stream, encode, escape, timestamp};

/// The longest line, in bytes with its end: a record all of whose bytes are escaped by six.
pub(super) const LINE_MAX: usize = 6 * RECORD_MAX + 256;

/// Decodes a block of whole lines. With each entry the offset of its line; `None` stands for lines that
/// are damaged, however many.
pub(super) fn decode(block: &[u8]) -> Vec<(usize, Option<Entry>)> {
    // What a record holds is shorter than its line.
    let mut memory = vec![0; escape::unescaped_max(block.len())];
    let mut length = 0;
    let mut lines: Vec<(usize, Option<Line>)> = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', block) {
        let line = decode_line(&block[start..end], &mut memory, length);
        if let Some(Line::Record { bytes, .. }) = &line {
            length = bytes.end;
        }
        if line.is_some() || lines.last().is_none_or(|(_, last)| last.is_some()) {
            lines.push((start, line));
        }
        start = end + 1;
    }
    let memory = Bytes::from(memory);
    lines.into_iter().map(|(offset, line)| (offset, line.map(|line| line.into_entry(&memory)))).collect()
}

/// A line whose bytes are not by themselves yet.
enum Line {
    Record { stream: Stream, time: SystemTime, bytes: Range<usize>, continues: bool },
    End { time: SystemTime, cut: [bool; 2] },
}

impl Line {
    fn into_entry(self, memory: &Bytes) -> Entry {
        match self {
            Self::Record { stream, time, bytes, continues } => {
                let bytes = memory.slice(bytes);
                Entry::Record { record: Record { stream, time, bytes }, continues }
            }
            Self::End { time, cut } => Entry::End { time, cut },
        }
    }
}

fn end(rest: &[u8]) -> Option<[bool; 2]> {
    [[false, false], [true, false], [false, true], [true, true]]
        .into_iter()
        .find(|&cut| rest == encode::end(cut))
}

/// Splits `,"time":"…"}` off.
fn split_time(line: &[u8]) -> Option<(&[u8], SystemTime)> {
    let rest = line.strip_suffix(br#""}"#)?;
    let (rest, time) = rest.split_at_checked(rest.len().checked_sub(timestamp::LENGTH)?)?;
    Some((rest.strip_suffix(br#","time":""#)?, timestamp::parse(time)?))
}

fn decode_line(line: &[u8], memory: &mut [u8], start: usize) -> Option<Line> {
    let (rest, time) = split_time(line)?;
    if let Some(cut) = end(rest) {
        return Some(Line::End { time, cut });
    }
    let (rest, continues) = match rest.strip_suffix(br#","cont":true"#) {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let rest = rest.strip_suffix(b"\"")?;
    let (content, stream) = if let Some(content) = rest.strip_suffix(br#"","stream":"stdout"#) {
        (content, Stream::Stdout)
    } else {
        (rest.strip_suffix(br#"","stream":"stderr"#)?, Stream::Stderr)
    };
    let out = &mut memory[start..];
    let length = if let Some(text) = content.strip_prefix(br#"{"log":""#) {
        escape::unescape(text, out)?
    } else {
        STANDARD.decode_slice(content.strip_prefix(br#"{"b64":""#)?, out).ok()?
    };
    let bytes = start..start + length;
    let fits = !bytes.is_empty() && bytes.len() <= RECORD_MAX;
    fits.then_some(Line::Record { stream, time, bytes, continues })
}
