//! Lines of a log's files as entries. Takes what [`encode`](super::encode) writes, and bytes of any other kind without
//! harm: nothing is allocated beyond what a block of lines can hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};

use super::ring::Entry;
use super::{RECORD_MAX, Record, Stream, encode, timestamp};

/// The longest line, in bytes with its end: a record all of whose bytes are escaped by six.
pub(super) const LINE_MAX: usize = 6 * RECORD_MAX + 256;

/// Decodes a block of whole lines. With each entry the offset of its line; `None` stands for lines that
/// are damaged, however many.
pub(super) fn decode(block: &[u8]) -> Vec<(usize, Option<Entry>)> {
    // What a record holds is shorter than its line.
    let mut memory = BytesMut::with_capacity(block.len());
    let mut entries: Vec<(usize, Option<Entry>)> = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', block) {
        let entry = decode_line(&block[start..end], &mut memory);
        // A damaged line may have left something.
        memory.clear();
        if entry.is_some() || entries.last().is_none_or(|(_, last)| last.is_some()) {
            entries.push((start, entry));
        }
        start = end + 1;
    }
    entries
}

fn end(rest: &[u8]) -> Option<[bool; 2]> {
    [[false, false], [true, false], [false, true], [true, true]]
        .into_iter()
        .find(|&cut| rest == encode::end(cut))
}

/// Splits `,"time":"…"}` off.
fn split_time(line: &[u8]) -> Option<(&[u8], std::time::SystemTime)> {
    let rest = line.strip_suffix(br#""}"#)?;
    let (rest, time) = rest.split_at_checked(rest.len().checked_sub(timestamp::LENGTH)?)?;
    Some((rest.strip_suffix(br#","time":""#)?, timestamp::parse(time)?))
}

fn decode_line(line: &[u8], memory: &mut BytesMut) -> Option<Entry> {
    let (rest, time) = split_time(line)?;
    if let Some(cut) = end(rest) {
        return Some(Entry::End { time, cut });
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
    let bytes = if let Some(text) = content.strip_prefix(br#"{"log":""#) {
        unescape(text, memory)?
    } else {
        Bytes::from(STANDARD.decode(content.strip_prefix(br#"{"b64":""#)?).ok()?)
    };
    let fits = !bytes.is_empty() && bytes.len() <= RECORD_MAX;
    fits.then_some(Entry::Record { record: Record { stream, time, bytes }, continues })
}

/// The text of a JSON string's content (RFC 8259, section 7), as far as it is written here: of `\u` only `\u00`.
fn unescape(mut text: &[u8], memory: &mut BytesMut) -> Option<Bytes> {
    while let Some(at) = memchr::memchr(b'\\', text) {
        memory.extend_from_slice(&text[..at]);
        let (byte, length) = match *text.get(at + 1)? {
            b'n' => (b'\n', 2),
            b't' => (b'\t', 2),
            b'r' => (b'\r', 2),
            quoted @ (b'"' | b'\\') => (quoted, 2),
            b'u' => (hexadecimal(text.get(at + 2..at + 6)?)?, 6),
            _ => return None,
        };
        memory.extend_from_slice(&[byte]);
        text = &text[at + length..];
    }
    memory.extend_from_slice(text);
    Some(memory.split().freeze())
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let text = str::from_utf8(digits.strip_prefix(b"00")?).ok()?;
    text.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u8::from_str_radix(text, 16).ok()).flatten()
}
