//! Lines: whole, of parts, the last so many, of some streams, of some time.

use std::time::Duration;

use tempfile::tempdir;

use super::model::{Model, join, without_times};
use super::{Random, at, run};
use crate::log::{LineOptions, Log, LogLimits, Record, Stream};

const ALL: LogLimits = LogLimits { file_bytes: 100_000, files: 10_000 };
const BOTH: LineOptions = LineOptions { since: None, until: None, tail: None, stdout: true, stderr: true };

async fn read(log: &Log, options: LineOptions) -> Vec<Record> {
    let mut lines = log.lines(options);
    let mut read = Vec::new();
    while let Some(record) = lines.next(false).await.unwrap() {
        read.push(record);
    }
    read
}

/// Pushes random records and ends of runs.
async fn fill(model: &mut Model, random: &mut Random, records: usize) {
    for _ in 0..records {
        model.push_random(random);
        if random.below(50) == 0 {
            model.end_run();
        }
        model.log.room().await;
    }
}

#[test]
fn lines_are_those_of_the_list() {
    for seed in 0..5 {
        run(async {
            let directory = tempdir().unwrap();
            let mut random = Random::new(seed);
            let mut model = Model::new(Log::on_disk(directory.path().join("log"), ALL));
            fill(&mut model, &mut random, 1200).await;
            model.end_run();
            let (lines, _) = model.lines();
            let got = join(&read(&model.log, BOTH).await, &lines);
            assert!(without_times(&got) == without_times(&lines), "seed {seed}");
        });
    }
}

#[test]
fn merged_lines_are_the_same_bytes_in_the_same_order() {
    run(async {
        let directory = tempdir().unwrap();
        let mut model = Model::new(Log::on_disk(directory.path().join("log"), ALL));
        fill(&mut model, &mut Random::new(77), 1200).await;
        let plain = read(&model.log, BOTH).await;
        let mut merged = model.log.lines(BOTH).merged();
        let mut read = Vec::new();
        while let Some(record) = merged.next(false).await.unwrap() {
            assert!(record.bytes.len() <= 512 << 10);
            read.push(record);
        }
        let bytes = |records: &[Record]| -> Vec<_> {
            records
                .iter()
                .flat_map(|record| record.bytes.iter().map(|&byte| (record.stream as u8, byte)))
                .collect()
        };
        assert!(read.len() < plain.len() && bytes(&read) == bytes(&plain));
    });
}

#[test]
fn the_last_lines_are_those_of_the_list() {
    for seed in 0..6 {
        run(async {
            let directory = tempdir().unwrap();
            let path = directory.path().join("log");
            let mut random = Random::new(seed + 50);
            let mut model = Model::new(Log::on_disk(path, ALL));
            let length = if seed % 2 == 0 { 60 } else { 1200 };
            fill(&mut model, &mut random, length).await;
            if seed % 3 == 0 {
                model.log.flush().await;
            }
            let (lines, _) = model.lines();
            for tail in [0, 1, 2, 3, 5, 10, 40, 300, 3000, lines.len(), lines.len() + 1, usize::MAX / 2] {
                let expected = &lines[lines.len().saturating_sub(tail)..];
                let read = read(&model.log, LineOptions { tail: Some(tail as u64), ..BOTH }).await;
                let mut got = join(&read, expected);
                // What follows is a part of a line that has not ended.
                got.truncate(expected.len());
                assert!(without_times(&got) == without_times(expected), "seed {seed}, the last {tail}");
            }
        });
    }
}

#[test]
fn following_from_the_last_lines_misses_and_doubles_nothing() {
    for seed in 0..4 {
        run(async {
            let directory = tempdir().unwrap();
            let mut random = Random::new(seed + 500);
            let mut model = Model::new(Log::on_disk(directory.path().join("log"), ALL));
            fill(&mut model, &mut random, 300).await;
            let before = model.lines().0.len();
            let tail = random.below(50).min(before);
            let mut lines = model.log.lines(LineOptions { tail: Some(tail as u64), ..BOTH });
            // It looks for its place at the first call.
            let mut got = Vec::from_iter(lines.next(false).await.unwrap());
            for _ in 0..40 {
                fill(&mut model, &mut random, 30).await;
                for _ in 0..random.below(60) {
                    tokio::select! {
                        biased;
                        record = lines.next(true) => got.extend(record.unwrap()),
                        () = tokio::time::sleep(Duration::from_millis(1)) => break,
                    }
                }
            }
            model.end_run();
            while let Some(record) = lines.next(false).await.unwrap() {
                got.push(record);
            }
            let all = model.lines().0;
            let expected = &all[before - tail..];
            let got = join(&got, expected);
            assert!(without_times(&got) == without_times(expected), "seed {seed}");
        });
    }
}

#[test]
fn a_line_in_parts_is_one_with_the_time_of_its_end() {
    run(async {
        let mut model = Model::new(Log::in_memory());
        model.push(Stream::Stdout, b"one\ntw".to_vec());
        model.push(Stream::Stderr, b"error\n".to_vec());
        model.push(Stream::Stdout, b"o\nthree\nfour\nfi".to_vec());
        let read = read(&model.log, BOTH).await;
        let texts: Vec<_> = read.iter().map(|record| &record.bytes[..]).collect();
        assert_eq!(texts, [&b"one\n"[..], b"error\n", b"two\n", b"three\nfour\n"]);
        assert_eq!(read[2].time, model.records()[2].time);
    });
}

#[test]
fn a_line_without_an_end_comes_with_the_end_of_the_process() {
    run(async {
        let log = Log::in_memory();
        log.push_at(at(5, 0), Stream::Stdout, "no end".into());
        assert_eq!(read(&log, BOTH).await, []);
        log.end_run();
        log.push_at(at(6, 0), Stream::Stdout, "next\n".into());
        let texts: Vec<_> = read(&log, BOTH).await.into_iter().map(|record| record.bytes).collect();
        assert_eq!(texts, ["no end", "next\n"]);
    });
}

#[test]
fn a_long_line_comes_in_parts_before_its_end() {
    run(async {
        let log = Log::in_memory();
        for _ in 0..5 {
            log.push(Stream::Stdout, vec![b'x'; 5000].into());
        }
        log.push(Stream::Stdout, "end\n".into());
        let lengths: Vec<_> = read(&log, BOTH).await.iter().map(|record| record.bytes.len()).collect();
        assert_eq!(lengths, [20_000, 5_004]);
    });
}

#[test]
fn streams_and_times_are_chosen() {
    run(async {
        let log = Log::in_memory();
        for second in 0..10 {
            let stream = if second % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            log.push_at(at(second, 0), stream, format!("{second}\n").into());
        }
        let text = async |options| {
            let read = read(&log, options).await;
            String::from_utf8(read.iter().flat_map(|record| record.bytes.clone()).collect()).unwrap()
        };
        assert_eq!(text(LineOptions { stderr: false, ..BOTH }).await, "0\n2\n4\n6\n8\n");
        assert_eq!(text(LineOptions { stdout: false, ..BOTH }).await, "1\n3\n5\n7\n9\n");
        let since = Some(at(7, 0));
        assert_eq!(text(LineOptions { since, ..BOTH }).await, "7\n8\n9\n");
        let until = Some(at(2, 0));
        assert_eq!(text(LineOptions { until, ..BOTH }).await, "0\n1\n2\n");
        // As Docker: the last lines are counted before streams and times are chosen.
        assert_eq!(text(LineOptions { tail: Some(3), stderr: false, ..BOTH }).await, "8\n");
        assert_eq!(text(LineOptions { tail: Some(5), until: Some(at(6, 0)), ..BOTH }).await, "5\n6\n");
    });
}

#[test]
fn following_ends_at_the_time_asked_for() {
    run(async {
        let log = Log::in_memory();
        log.push(Stream::Stdout, "now\n".into());
        let until = std::time::SystemTime::now() + Duration::from_secs(60);
        let mut lines = log.lines(LineOptions { until: Some(until), ..BOTH });
        assert_eq!(lines.next(true).await.unwrap().unwrap().bytes, "now\n");
        log.push_at(until - Duration::from_secs(1), Stream::Stdout, "before\n".into());
        assert_eq!(lines.next(true).await.unwrap().unwrap().bytes, "before\n");
        assert_eq!(lines.next(true).await.unwrap(), None);
        log.push_at(until + Duration::from_secs(1), Stream::Stdout, "after\n".into());
        assert_eq!(lines.next(true).await.unwrap(), None);
    });
}

#[test]
fn a_reader_that_does_not_follow_ends_although_more_is_written() {
    run(async {
        let directory = tempdir().unwrap();
        let log = Log::on_disk(directory.path().join("log"), ALL);
        let mut random = Random::new(1);
        let mut model = Model::new(log.clone());
        fill(&mut model, &mut random, 2000).await;
        let count = model.records().len();
        let mut lines = log.lines(BOTH);
        let mut calls = 0;
        while lines.next(false).await.unwrap().is_some() {
            calls += 1;
            for _ in 0..3 {
                model.push_random(&mut random);
            }
            log.room().await;
            assert!(calls < 20 * count, "it goes on for ever");
        }
    });
}

#[test]
fn lines_of_an_earlier_run_do_not_go_on_in_the_next() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    run(async {
        let log = Log::on_disk(&path, ALL);
        log.push(Stream::Stdout, "whole\ncut off by a power cut".into());
        log.flush().await;
    });
    let expected = [&b"whole\n"[..], b"cut off by a power cut", b"second run\n"];
    run(async {
        let log = Log::on_disk(&path, ALL);
        log.push(Stream::Stdout, "second run\n".into());
        // Nothing is written yet: the end of the first run is only known.
        for tail in [None, Some(3), Some(2), Some(1)] {
            let read = read(&log, LineOptions { tail, ..BOTH }).await;
            let texts: Vec<_> = read.iter().map(|record| &record.bytes[..]).collect();
            let skipped = tail.map_or(0, |tail| 3 - usize::try_from(tail).unwrap());
            assert_eq!(texts, expected[skipped..], "{tail:?}");
        }
        log.flush().await;
        assert_eq!(read(&log, BOTH).await.len(), 3);
    });
    run(async {
        let log = Log::on_disk(&path, ALL);
        let read = read(&log, BOTH).await;
        let texts: Vec<_> = read.iter().map(|record| &record.bytes[..]).collect();
        assert_eq!(texts, expected);
    });
}
