//! Lines of the files against serde_json, and times against those of the API.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Random, at};
use crate::log::ring::Entry;
use crate::log::timestamp::{self, Formatter};
use crate::log::{RECORD_MAX, Record, Stream, decode, encode};

fn encoded(entry: &Entry) -> Vec<u8> {
    let mut line = Vec::new();
    encode::encode(entry, &mut Formatter::default(), &mut line);
    line
}

fn record(stream: Stream, bytes: Vec<u8>) -> Record {
    Record { stream, time: at(1_795_339_588, 987_654_321), bytes: bytes.into() }
}

fn check(record: Record, continues: bool) {
    let entry = Entry::Record { record, continues };
    let line = encoded(&entry);
    assert!(line.len() <= decode::LINE_MAX);
    assert_eq!(decode::decode(&line), [(0, Some(entry.clone()))]);
    let Entry::Record { record, .. } = &entry else { unreachable!() };
    let value: Value = serde_json::from_slice(&line).unwrap();
    match str::from_utf8(&record.bytes) {
        Ok(text) => assert_eq!(value["log"], text),
        Err(_) => assert_eq!(STANDARD.decode(value["b64"].as_str().unwrap()).unwrap(), record.bytes),
    }
    assert_eq!(value["stream"], if record.stream == Stream::Stdout { "stdout" } else { "stderr" });
    assert_eq!(value["time"], crate::time::fixed(record.time));
    assert_eq!(value["cont"].as_bool(), continues.then_some(true));
}

#[test]
fn records_of_all_bytes_are_read_back_and_are_json() {
    for byte in 0..=255_u8 {
        for length in [1, 2, 15, 16, 17, 31, 33, 100] {
            for place in [0, length / 2, length - 1] {
                let mut bytes = vec![b'a'; length];
                bytes[place] = byte;
                check(record(Stream::Stdout, bytes), byte % 2 == 0);
            }
        }
    }
    check(record(Stream::Stderr, vec![0; RECORD_MAX]), true);
    check(record(Stream::Stderr, vec![255; RECORD_MAX]), true);
    let text = "text with \u{1f980}, \u{e9}\u{2028}\u{7f}, \"quotes\" and \\ back\\slashes\n";
    check(record(Stream::Stdout, text.repeat(500).into()), false);
}

#[test]
fn random_records_are_read_back() {
    let mut random = Random::new(11);
    for _ in 0..3000 {
        let length = 1 + random.below(300);
        let mut bytes = random.bytes(length);
        if random.below(2) == 0 {
            bytes.iter_mut().for_each(|byte| *byte &= 0x7f);
        }
        check(record(Stream::Stdout, bytes), random.below(2) == 0);
    }
}

#[test]
fn many_lines_are_one_block() {
    let mut block = Vec::new();
    let mut expected = Vec::new();
    for number in 0..100_u8 {
        let entry = match number % 10 {
            0 => Entry::End { time: at(u64::from(number), 0), cut: [number % 20 == 0, number % 30 == 0] },
            _ => Entry::Record { record: record(Stream::Stdout, vec![number; 50]), continues: false },
        };
        expected.push((block.len(), Some(entry.clone())));
        block.extend_from_slice(&encoded(&entry));
        if number % 20 == 7 {
            expected.push((block.len(), None));
            block.extend_from_slice(b"damaged \\n\\q\nand more\n\n");
        }
    }
    assert_eq!(decode::decode(&block), expected);
}

#[test]
fn times_are_those_of_the_api() {
    let mut random = Random::new(2);
    let mut times: Vec<_> = (0..5000)
        .map(|_| {
            Duration::new(
                random.below(253_402_300_800) as u64,
                u32::try_from(random.below(1_000_000_000)).unwrap(),
            )
        })
        .collect();
    times.extend((0..200_000).map(|day| Duration::from_secs(day * 86_400)).step_by(13));
    times.push(Duration::new(253_402_300_799, 999_999_999));
    let mut formatter = Formatter::default();
    for since in times {
        let time = UNIX_EPOCH + since;
        let mut text = Vec::new();
        formatter.append(time, &mut text);
        assert_eq!(str::from_utf8(&text).unwrap(), crate::time::fixed(time));
        assert_eq!(timestamp::parse(&text), Some(time));
    }
    let mut early = Vec::new();
    formatter.append(UNIX_EPOCH - Duration::from_secs(1), &mut early);
    assert_eq!(early, b"1970-01-01T00:00:00.000000000Z");
}

#[test]
fn what_is_no_time_is_refused() {
    let good = *b"2026-11-22T09:16:28.123456789Z";
    assert!(timestamp::parse(&good).is_some());
    for place in 0..good.len() {
        let mut bad = good;
        bad[place] = b'x';
        assert_eq!(timestamp::parse(&bad), None);
        assert_eq!(timestamp::parse(&good[..place]), None);
    }
    for bad in [
        "1969-12-31T23:59:59.000000000Z",
        "2026-13-01T00:00:00.000000000Z",
        "2026-00-01T00:00:00.000000000Z",
        "2026-01-00T00:00:00.000000000Z",
        "2026-01-01T24:00:00.000000000Z",
        "2026-01-01T00:60:00.000000000Z",
    ] {
        assert_eq!(timestamp::parse(bad.as_bytes()), None, "{bad}");
    }
}
