//! The plain list, and what lines it has.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Random, at};
use crate::log::{Log, Record, Stream};

/// A log and the list of what was pushed to it.
pub(super) struct Model {
    pub(super) log: Log,
    /// `None` is the end of a run.
    pub(super) entries: Vec<Option<Record>>,
    now: SystemTime,
}

/// A line as `docker logs` has it: complete, or the last part of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) stream: Stream,
    pub(super) time: SystemTime,
    pub(super) bytes: Vec<u8>,
}

impl Model {
    pub(super) fn new(log: Log) -> Self {
        Self { log, entries: Vec::new(), now: at(1_700_000_000, 1) }
    }

    pub(super) fn push(&mut self, stream: Stream, bytes: Vec<u8>) {
        self.now += Duration::from_nanos(123_456_789);
        let record = Record { stream, time: self.now, bytes: bytes.into() };
        self.log.push_at(record.time, stream, record.bytes.clone());
        self.entries.push(Some(record));
    }

    pub(super) fn end_run(&mut self) {
        self.log.end_run();
        self.entries.push(None);
    }

    /// Pushes a random record: mostly lines, sometimes rubbish, short or as long as can be.
    pub(super) fn push_random(&mut self, random: &mut Random) {
        let stream = if random.below(4) == 0 { Stream::Stderr } else { Stream::Stdout };
        let length = match random.below(40) {
            0 => 1 + random.below(65536),
            1 => 65536,
            _ => 1 + random.below(200),
        };
        let bytes = match random.below(10) {
            0 => random.bytes(length),
            1 => vec![b'x'; length],
            _ => {
                let number = self.entries.len();
                let mut text: Vec<u8> =
                    format!("{number} \u{1f980} \"line\"\t{}\n", "-".repeat(random.below(90)))
                        .bytes()
                        .cycle()
                        .take(length)
                        .collect();
                if random.below(3) > 0 {
                    text[length - 1] = b'\n';
                }
                text
            }
        };
        self.push(stream, bytes);
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.entries.iter().flatten().cloned().collect()
    }

    /// All lines, and by stream what is left without an end.
    pub(super) fn lines(&self) -> (Vec<Line>, [Vec<u8>; 2]) {
        let mut lines = Vec::new();
        let mut parts: [(SystemTime, Vec<u8>); 2] = [(self.now, Vec::new()), (self.now, Vec::new())];
        for entry in &self.entries {
            let Some(Record { stream, time, bytes }) = entry else {
                for stream in [Stream::Stdout, Stream::Stderr] {
                    let (time, part) = &mut parts[stream as usize];
                    if !part.is_empty() {
                        lines.push(Line { stream, time: *time, bytes: std::mem::take(part) });
                    }
                }
                continue;
            };
            let part = &mut parts[*stream as usize];
            for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
                if part.1.is_empty() {
                    part.0 = *time;
                }
                part.1.extend_from_slice(piece);
                if piece.ends_with(b"\n") {
                    let bytes = std::mem::take(&mut part.1);
                    lines.push(Line { stream: *stream, time: *time, bytes });
                }
            }
        }
        (lines, parts.map(|(_, part)| part))
    }
}

/// Joins what a reader of lines got: parts of a line become one, with the time of the last. A line that its run left
/// without an end cannot be told from a part of a longer one but by the model.
pub(super) fn join(read: &[Record], model: &[Line]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut open: [Option<Line>; 2] = [None, None];
    for Record { stream, time, bytes } in read {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let new = || Line { stream: *stream, time: *time, bytes: Vec::new() };
            let line = open[*stream as usize].get_or_insert_with(new);
            line.bytes.extend_from_slice(piece);
            line.time = *time;
            if piece.ends_with(b"\n") {
                lines.extend(open[*stream as usize].take());
            }
            while let Some(open) = open.iter_mut().find(|open| {
                open.as_ref()
                    .zip(model.get(lines.len()))
                    .is_some_and(|(open, model)| (open.stream, &open.bytes) == (model.stream, &model.bytes))
            }) {
                lines.extend(open.take());
            }
        }
    }
    lines
}

/// What is long lines' own: the time of a part that the end of a run left is that of the part.
pub(super) fn without_times(lines: &[Line]) -> Vec<(Stream, Bytes)> {
    lines.iter().map(|line| (line.stream, Bytes::from(line.bytes.clone()))).collect()
}
