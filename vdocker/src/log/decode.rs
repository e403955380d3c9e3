//! Lines of a log's files as entries. Takes what [`encode`](super::encode) writes, and bytes of any other kind without
//! harm: nothing is allocated beyond what a block of lines can hold.

use std::ops::Range;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};

use super::ring::Entry;
use super::{RECORD_MAX, Record, Stream, encode, escape, timestamp};

/// The longest line, in bytes with its end: a record all of whose bytes are escaped by six.
pub(super) const LINE_MAX: usize = 6 * RECORD_MAX + 256;

/// Bytes of anything before lines that are decoded in place.
pub(super) const HEADROOM: usize = escape::BLOCK;

/// Decodes a block of whole lines. With each entry the offset of its line; `None` stands for lines that
/// are damaged, however many.
pub(super) fn decode(block: &[u8]) -> Vec<(usize, Option<Entry>)> {
    let mut memory = BytesMut::zeroed(HEADROOM + block.len());
    memory[HEADROOM..].copy_from_slice(block);
    decode_in_place(memory).1
}

/// The same where the lines lie, behind [`HEADROOM`] bytes. Returns the memory too, of which the entries are parts:
/// those of records of one stream that follow each other are neighbours.
pub(super) fn decode_in_place(mut memory: BytesMut) -> (Bytes, Vec<(usize, Option<Entry>)>) {
    let mut length = 0;
    let mut lines: Vec<(usize, Option<Line>)> = Vec::new();
    let mut start = HEADROOM;
    while let Some(found) = memchr::memchr(b'\n', memory.get(start..).unwrap_or_default()) {
        // What a record holds is shorter than its line: so there are always as many bytes between the two.
        let line = decode_line(&mut memory, start..start + found, length);
        if let Some(Line::Record { bytes, .. }) = &line {
            length = bytes.end;
        }
        if line.is_some() || lines.last().is_none_or(|(_, last)| last.is_some()) {
            lines.push((start - HEADROOM, line));
        }
        start += found + 1;
    }
    let memory = memory.freeze();
    let entries =
        lines.into_iter().map(|(offset, line)| (offset, line.map(|line| line.into_entry(&memory)))).collect();
    (memory, entries)
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

/// Decodes the line in a range to a place [`HEADROOM`] bytes before it, or further.
fn decode_line(memory: &mut [u8], line: Range<usize>, at: usize) -> Option<Line> {
    const TEXT: &[u8] = br#"{"log":""#;
    const BASE64: &[u8] = br#"{"b64":""#;
    let (rest, time) = split_time(&memory[line.clone()])?;
    if rest.starts_with(encode::END) {
        return Some(Line::End { time, cut: end(rest)? });
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
    let length = if content.starts_with(TEXT) {
        let text = line.start + TEXT.len()..line.start + content.len();
        escape::unescape(memory, text, at)?
    } else {
        let text = content.strip_prefix(BASE64)?.to_vec();
        STANDARD.decode_slice(text, &mut memory[at..line.end]).ok()?
    };
    let bytes = at..at + length;
    let fits = !bytes.is_empty() && bytes.len() <= RECORD_MAX;
    fits.then_some(Line::Record { stream, time, bytes, continues })
}
