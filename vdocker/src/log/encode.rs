//! Entries as lines of JSON: `{"log":"…","stream":"stdout","time":"…"}`, with `b64` in place of `log` where the
//! bytes are no UTF-8, `"cont":true` where a line that was cut goes on, and
//! `{"end":true,"time":"…"}` where a process ended, with the streams on which it left a line without an end as `cut`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ring::Entry;
use super::timestamp::Formatter;
use super::{Record, Stream, escape};

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

/// How a line begins that ends a run.
pub(super) const END: &[u8] = br#"{"end":true"#;

/// The line that ends a run, up to its time.
pub(super) const fn end(cut: [bool; 2]) -> &'static [u8] {
    match cut {
        [false, false] => END,
        [true, false] => br#"{"end":true,"cut":["stdout"]"#,
        [false, true] => br#"{"end":true,"cut":["stderr"]"#,
        [true, true] => br#"{"end":true,"cut":["stdout","stderr"]"#,
    }
}

fn encode_record(record: &Record, continues: bool, out: &mut Vec<u8>) {
    let text = str::from_utf8(&record.bytes).is_ok();
    out.extend_from_slice(if text { br#"{"log":""# } else { br#"{"b64":""# });
    let start = out.len();
    out.resize(start + escape::escaped_max(record.bytes.len()), 0);
    let length = if text {
        escape::escape(&record.bytes, &mut out[start..])
    } else {
        // The place is longer than the text: it cannot fail.
        STANDARD.encode_slice(&record.bytes, &mut out[start..]).unwrap_or_default()
    };
    out.truncate(start + length);
    out.extend_from_slice(match record.stream {
        Stream::Stdout => br#"","stream":"stdout""#,
        Stream::Stderr => br#"","stream":"stderr""#,
    });
    if continues {
        out.extend_from_slice(br#","cont":true"#);
    }
}
