//! Entries as lines of JSON: `{"log":"…","stream":"stdout","time":"…"}`, with `b64` in place of `log` where the
//! bytes are no UTF-8, `"cont":true` where a line that was cut goes on, and
//! `{"end":true,"time":"…"}` where a process ended, with the streams on which it left a line without an end as `cut`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ring::Entry;
use super::timestamp::Formatter;
use super::{Record, Stream};

/// Appends an entry's line.
pub(super) fn encode(entry: &Entry, times: &mut Formatter, out: &mut Vec<u8>) {
    let time = match entry {
        Entry::Record { record, continues } => {
            encode_record(record, *continues, out);
            record.time
        }
        Entry::End { time, cut } => {
            out.extend_from_slice(end(*cut));
            *time
        }
    };
    out.extend_from_slice(br#","time":""#);
    times.append(time, out);
    out.extend_from_slice(b"\"}\n");
}

/// The line that ends a run, up to its time.
pub(super) const fn end(cut: [bool; 2]) -> &'static [u8] {
    match cut {
        [false, false] => br#"{"end":true"#,
        [true, false] => br#"{"end":true,"cut":["stdout"]"#,
        [false, true] => br#"{"end":true,"cut":["stderr"]"#,
        [true, true] => br#"{"end":true,"cut":["stdout","stderr"]"#,
    }
}

fn encode_record(record: &Record, continues: bool, out: &mut Vec<u8>) {
    if str::from_utf8(&record.bytes).is_ok() {
        out.extend_from_slice(br#"{"log":""#);
        escape(&record.bytes, out);
    } else {
        out.extend_from_slice(br#"{"b64":""#);
        let start = out.len();
        let length = record.bytes.len().div_ceil(3) * 4;
        out.resize(start + length, 0);
        // The slice is as long as the text: it cannot fail.
        let written = STANDARD.encode_slice(&record.bytes, &mut out[start..]).unwrap_or_default();
        out.truncate(start + written);
    }
    out.extend_from_slice(match record.stream {
        Stream::Stdout => br#"","stream":"stdout""#,
        Stream::Stderr => br#"","stream":"stderr""#,
    });
    if continues {
        out.extend_from_slice(br#","cont":true"#);
    }
}

/// Appends the content of a JSON string (RFC 8259, section 7).
fn escape(mut bytes: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = bytes.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.extend_from_slice(&bytes[..at]);
        let short = match bytes[at] {
            b'\n' => b'n',
            b'\t' => b't',
            b'\r' => b'r',
            b'"' => b'"',
            b'\\' => b'\\',
            _ => 0,
        };
        if short == 0 {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let (high, low) = (bytes[at] >> 4, bytes[at] & 15);
            out.extend_from_slice(br"\u00");
            out.extend_from_slice(&[HEX[usize::from(high)], HEX[usize::from(low)]]);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
        bytes = &bytes[at + 1..];
    }
    out.extend_from_slice(bytes);
}
