//! Disks that fail, and files with anything in them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::tempdir;

use super::{Random, run};
use crate::log::{From, LineOptions, Log, LogLimits, Record, Stream};

const LIMITS: LogLimits = LogLimits { file_bytes: 100_000, files: 5 };

async fn read(log: &Log) -> Vec<Record> {
    let mut reader = log.records(From::Start);
    let mut read = Vec::new();
    while let Some(record) = reader.try_next().await.unwrap() {
        read.push(record);
    }
    read
}

fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| str::from_utf8(&record.bytes).unwrap()).collect()
}

#[test]
fn a_log_goes_on_without_its_disk_and_with_it_again() {
    run(async {
        let directory = tempdir().unwrap();
        let path = directory.path().join("later/log");
        let log = Log::on_disk(&path, LIMITS);
        log.push(Stream::Stdout, "first\n".into());
        log.flush().await;
        // The container is not stalled, and the log tells once.
        for number in 0..100 {
            log.push(Stream::Stdout, vec![b'a' + number % 26; 65_536].into());
            assert!(log.has_room());
            tokio::task::yield_now().await;
        }
        log.push(Stream::Stdout, "last\n".into());
        log.flush().await;
        let kept = read(&log).await;
        assert!(kept.len() < 10 && kept.last().unwrap().bytes == "last\n");

        fs::create_dir(directory.path().join("later")).unwrap();
        tokio::time::advance(Duration::from_secs(11)).await;
        log.push(Stream::Stdout, "again\n".into());
        log.flush().await;
        let kept = read(&log).await;
        assert_eq!(kept.last().unwrap().bytes, "again\n");
        let text = fs::read_to_string(directory.path().join("later/log.0")).unwrap();
        assert!(text.starts_with(r#"{"log":"[log: 9"#) && text.contains("records are lost"), "{text}");
    });
}

#[test]
fn a_disk_that_fails_is_told_of_once() {
    run(async {
        let directory = tempdir().unwrap();
        let log = Log::on_disk(directory.path().join("missing/log"), LIMITS);
        for _ in 0..5 {
            log.push(Stream::Stdout, "line\n".into());
            log.flush().await;
            tokio::time::advance(Duration::from_secs(11)).await;
        }
        let read = read(&log).await;
        let told = texts(&read).iter().filter(|text| text.starts_with("[log: cannot be written")).count();
        assert_eq!((told, read.len()), (1, 6));
    });
}

#[test]
fn nothing_is_made_before_something_is_written() {
    run(async {
        let directory = tempdir().unwrap();
        let log = Log::on_disk(directory.path().join("log"), LIMITS);
        assert_eq!(read(&log).await, []);
        log.flush().await;
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    });
}

#[test]
fn output_is_written_soon_without_being_asked_for() {
    run(async {
        let directory = tempdir().unwrap();
        let log = Log::on_disk(directory.path().join("log"), LIMITS);
        log.push(Stream::Stdout, "line\n".into());
        // Time is that of the test: it goes on when nothing else does.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(directory.path().join("log.0").exists());
        assert!(!log.shared.is_writing(), "nothing is left that could cost time");
    });
}

#[test]
fn a_line_that_was_cut_off_is_cut_away() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    run(async {
        let log = Log::on_disk(&path, LIMITS);
        log.push(Stream::Stdout, "whole\n".into());
        log.flush().await;
    });
    let file = directory.path().join("log.0");
    let whole = fs::read(&file).unwrap();
    for tail in [br#"{"log":"half of"#.to_vec(), vec![0; 600_000], whole[..whole.len() - 1].to_vec()] {
        fs::write(&file, [&whole[..], &tail].concat()).unwrap();
        run(async {
            let log = Log::on_disk(&path, LIMITS);
            assert_eq!(texts(&read(&log).await), ["whole\n"]);
            log.push(Stream::Stdout, "more\n".into());
            log.flush().await;
            assert_eq!(texts(&read(&log).await), ["whole\n", "more\n"]);
        });
        let now = fs::read_to_string(&file).unwrap();
        assert_eq!(now.lines().count(), 3, "{now}");
        assert!(now.lines().nth(1).unwrap().starts_with(r#"{"end":true,"#), "{now}");
    }
}

#[test]
fn files_that_do_not_belong_are_not_read_and_go() {
    run(async {
        let directory = tempdir().unwrap();
        let path = directory.path().join("log");
        for name in ["log.1", "log.01", "log.x", "log.99999999999999999999", "log", "logs.3", "log.-1"] {
            fs::write(directory.path().join(name), "rubbish\n").unwrap();
        }
        fs::write(directory.path().join("log.4"), "").unwrap();
        fs::write(
            directory.path().join("log.3"),
            "{\"log\":\"three\",\"stream\":\"stderr\",\"time\":\"2026-11-22T09:00:00.000000000Z\"}\n",
        )
        .unwrap();
        let log = Log::on_disk(&path, LogLimits { file_bytes: 1000, files: 2 });
        assert_eq!(texts(&read(&log).await), ["three"]);
        log.push(Stream::Stdout, vec![b'x'; 1000].into());
        log.flush().await;
        assert!(!directory.path().join("log.1").exists() && !directory.path().join("log.3").exists());
        assert!(directory.path().join("log.4").exists() && directory.path().join("log.01").exists());
    });
}

/// Reads all there is in every way.
async fn read_all_ways(path: &Path) {
    let log = Log::on_disk(path, LIMITS);
    for tail in [None, Some(0), Some(1), Some(7), Some(100_000)] {
        let mut lines = log.lines(LineOptions { tail, stdout: true, stderr: true, ..LineOptions::default() });
        while lines.next(false).await.unwrap().is_some() {}
    }
    read(&log).await;
    log.push(Stream::Stdout, "more\n".into());
    log.flush().await;
    assert_eq!(read(&log).await.last().unwrap().bytes, "more\n");
}

#[test]
fn files_with_anything_in_them_do_no_harm() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let mut random = Random::new(3);
    run(async {
        let log = Log::on_disk(&path, LogLimits { file_bytes: 4_000, files: 4 });
        for number in 0..100 {
            log.push(Stream::Stdout, format!("line {number}\nand").into());
            log.push(Stream::Stderr, vec![number, 255].into());
        }
        log.end_run();
        log.flush().await;
    });
    let files: Vec<_> = directory.path().read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    let contents: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    for _ in 0..60 {
        for entry in directory.path().read_dir().unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (file, content) in files.iter().zip(&contents) {
            let mut content = content.clone();
            for _ in 0..random.below(30) {
                let place = random.below(content.len());
                match random.below(3) {
                    0 => content[place] = random.byte(),
                    1 => content.truncate(place.max(1)),
                    _ => drop(content.splice(place..place, random.bytes(3))),
                }
            }
            if random.below(10) > 0 {
                fs::write(file, content).unwrap();
            }
        }
        run(read_all_ways(&path));
    }
    for rubbish in [vec![b'\n'; 700_000], vec![b'x'; 1_500_000], b"x\n".repeat(400_000)] {
        fs::write(&files[0], &rubbish).unwrap();
        run(read_all_ways(&path));
    }
}

#[test]
fn a_flushed_log_holds_no_file_open() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap();
        let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.starts_with(dir.path())).count()
    };
    run(async {
        let log = Log::on_disk(dir.path().join("web"), LogLimits::default());
        for round in 0..3 {
            log.push(Stream::Stdout, format!("{round}\n").into());
            log.flush().await;
            assert_eq!(open(), 0, "the disk could not be unmounted");
        }
        let text = fs::read_to_string(dir.path().join("web.0")).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
    });
}
