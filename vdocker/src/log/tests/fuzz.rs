//! Lines of the files with anything in them (docs/testing.md, "Fuzzing").

use fuzz::{Fuzz, shape};
use serde_json::Value;

use super::at;
use crate::log::ring::Entry;
use crate::log::timestamp::Formatter;
use crate::log::{RECORD_MAX, Record, Stream, decode, encode};

fn lines(entries: &[Entry]) -> Vec<u8> {
    let (mut lines, mut times) = (Vec::new(), Formatter::default());
    for entry in entries {
        encode::encode(entry, &mut times, &mut lines);
    }
    lines
}

fn record(stream: Stream, bytes: impl Into<bytes::Bytes>) -> Entry {
    Entry::Record {
        record: Record { stream, time: at(1_700_000_000, 5), bytes: bytes.into() },
        continues: true,
    }
}

#[test]
fn records() {
    let end = Entry::End { time: at(1, 2), cut: [true, false] };
    let seeds = [
        lines(&[
            record(Stream::Stdout, "a line that has more than a block of bytes\nand another \"one\"\n"),
            end.clone(),
        ]),
        lines(&[record(Stream::Stderr, vec![0, 255, 128, 7]), record(Stream::Stdout, vec![0; 40])]),
        lines(&[end, record(Stream::Stdout, "\t\r\u{1f980}\\".repeat(12))]),
    ];
    let words = [
        "\\n",
        "\\u0000",
        "\\u00ff",
        "\\\\",
        "\"",
        "\n",
        r#","cont":true"#,
        r#"{"b64":""#,
        "==",
        r#"","stream":"stderr""#,
    ];
    Fuzz::new("log", seeds).words(words).run(|input| {
        let decoded = decode::decode(input);
        assert!(decoded.len() <= input.len());
        let mut held = 0;
        for (offset, entry) in &decoded {
            let Some(entry) = entry else { continue };
            // What was read can be written, and is then read as the same.
            let again = lines(std::slice::from_ref(entry));
            assert_eq!(decode::decode(&again), [(0, Some(entry.clone()))]);
            let Entry::Record { record, .. } = entry else { continue };
            held += record.bytes.len();
            assert!((1..=RECORD_MAX).contains(&record.bytes.len()));
            // A line as we write it is JSON, and means the same there. Of others only we know what they mean.
            if input[*offset..].starts_with(&again) {
                let json: Value = serde_json::from_slice(&again).unwrap();
                assert!(json["log"].as_str().is_none_or(|log| log.as_bytes() == record.bytes));
            }
        }
        assert!(held <= input.len());
        let kinds: Vec<_> =
            decoded.iter().map(|(_, entry)| entry.as_ref().map(std::mem::discriminant)).take(6).collect();
        shape((kinds, held.min(64)))
    });
}
