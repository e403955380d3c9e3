//! Readers of records: slow, fast, late, and of a log that ran before.

use std::path::Path;

use tempfile::tempdir;

use super::model::Model;
use super::{Random, run};
use crate::log::{From, Log, LogLimits, Record, Records, Stream};

const ALL: LogLimits = LogLimits { file_bytes: 100_000, files: 10_000 };

struct Reader {
    records: Records,
    read: Vec<Record>,
    /// The number of the model's records before the first that it has to get.
    from: usize,
}

impl Reader {
    fn new(model: &Model, from: From) -> Self {
        let skipped = if from == From::Start { 0 } else { model.records().len() };
        Self { records: model.log.records(from), read: Vec::new(), from: skipped }
    }

    async fn drain(&mut self) {
        while let Some(record) = self.records.try_next().await.unwrap() {
            self.read.push(record);
        }
    }
}

async fn random_life(model: &mut Model, random: &mut Random, steps: usize) -> Vec<Reader> {
    let mut readers = vec![Reader::new(model, From::Start), Reader::new(model, From::End)];
    for _ in 0..steps {
        match random.below(60) {
            0 => model.log.flush().await,
            1 => readers.push(Reader::new(model, From::Start)),
            2 => readers.push(Reader::new(model, From::End)),
            3 => tokio::task::yield_now().await,
            4 => model.end_run(),
            5..12 => {
                let reader = random.below(readers.len());
                let reader = &mut readers[reader];
                for _ in 0..random.below(300) {
                    let Some(record) = reader.records.try_next().await.unwrap() else { break };
                    reader.read.push(record);
                }
            }
            _ => model.push_random(random),
        }
        model.log.room().await;
    }
    readers
}

#[test]
fn readers_of_all_kinds_get_every_record_once() {
    for seed in 0..4 {
        run(async {
            let directory = tempdir().unwrap();
            let mut random = Random::new(seed);
            let mut model = Model::new(Log::on_disk(directory.path().join("log"), ALL));
            let mut readers = random_life(&mut model, &mut random, 1500).await;
            let records = model.records();
            for (number, reader) in readers.iter_mut().enumerate() {
                reader.drain().await;
                assert!(reader.read == records[reader.from..], "seed {seed}, reader {number}");
            }
        });
    }
}

#[test]
fn a_log_that_ran_before_is_read_from_its_beginning() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let mut random = Random::new(7);
    let mut before = Vec::new();
    for life in 0..4 {
        before = run(async {
            let mut model = Model::new(Log::on_disk(&path, ALL));
            // Either the first read looks at the files, or the first write.
            let early = model.log.records(From::Start);
            random_life(&mut model, &mut random, 400).await;
            model.log.flush().await;
            let records = [before, model.records()].concat();
            for mut reader in [early, model.log.records(From::Start)] {
                let mut read = Vec::new();
                while let Some(record) = reader.try_next().await.unwrap() {
                    read.push(record);
                }
                assert!(read == records, "life {life}");
            }
            records
        });
    }
}

fn bytes_of(directory: &Path) -> u64 {
    directory.read_dir().unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn files_are_bounded_and_a_reader_hears_of_what_it_missed() {
    for seed in 0..3 {
        run(async {
            let directory = tempdir().unwrap();
            let mut random = Random::new(seed + 100);
            let limits = LogLimits { file_bytes: 100_000, files: 3 };
            let mut model = Model::new(Log::on_disk(directory.path().join("log"), limits));
            let mut readers = random_life(&mut model, &mut random, 3000).await;
            model.log.flush().await;
            assert!(bytes_of(directory.path()) <= 3 * (100_000 + 400_000), "seed {seed}");
            assert!(directory.path().read_dir().unwrap().count() <= 3, "seed {seed}");
            readers.push(Reader::new(&model, From::Start));
            for reader in &mut readers {
                reader.drain().await;
            }
            let records = model.records();
            for (number, reader) in readers.iter().enumerate() {
                let mut next = reader.from;
                // One that begins at the oldest record does so when it is first asked.
                let mut missed = reader.from == 0;
                for record in &reader.read {
                    if record.bytes == b"[log: what came here was removed before it was read]\n"[..] {
                        missed = true;
                        continue;
                    }
                    if missed {
                        next += records[next..].iter().position(|other| other == record).unwrap();
                        missed = false;
                    }
                    assert!(*record == records[next], "seed {seed}, reader {number}, record {next}");
                    next += 1;
                }
                assert_eq!(next, records.len(), "seed {seed}, reader {number}");
            }
        });
    }
}

#[test]
fn a_reader_waits_for_the_next_record() {
    run(async {
        let log = Log::in_memory();
        let mut reader = log.records(From::End);
        assert_eq!(reader.try_next().await.unwrap(), None);
        let pushed = async {
            tokio::task::yield_now().await;
            log.end_run();
            tokio::task::yield_now().await;
            log.push(Stream::Stderr, "x".into());
        };
        let (record, ()) = tokio::join!(reader.next(), pushed);
        let record = record.unwrap();
        assert_eq!((record.stream, &record.bytes[..]), (Stream::Stderr, &b"x"[..]));
    });
}

#[test]
fn a_reader_that_gives_up_waiting_loses_nothing() {
    run(async {
        let directory = tempdir().unwrap();
        let mut random = Random::new(5);
        let mut model = Model::new(Log::on_disk(directory.path().join("log"), ALL));
        for _ in 0..3000 {
            model.push_random(&mut random);
            model.log.room().await;
        }
        model.log.flush().await;
        let mut reader = model.log.records(From::Start);
        let mut read = Vec::new();
        while read.len() < model.records().len() {
            tokio::select! {
                biased;
                record = reader.next() => read.push(record.unwrap()),
                () = tokio::task::yield_now() => {}
            }
        }
        assert!(read == model.records());
    });
}

#[test]
fn memory_alone_keeps_the_latest() {
    run(async {
        let mut model = Model::new(Log::in_memory());
        let mut reader = model.log.records(From::Start);
        for number in 0..20 {
            model.push(Stream::Stdout, vec![b'a' + number; 60_000]);
        }
        let first = reader.try_next().await.unwrap().unwrap();
        assert_eq!(first.stream, Stream::Stdout);
        for number in 20..26 {
            model.push(Stream::Stdout, vec![b'a' + number; 60_000]);
        }
        let marker = reader.try_next().await.unwrap().unwrap();
        assert!(marker.stream == Stream::Stderr && marker.bytes.starts_with(b"[log: "), "{marker:?}");
        let mut letters = Vec::new();
        while let Some(record) = reader.try_next().await.unwrap() {
            letters.push(record.bytes[0]);
        }
        assert_eq!(letters, b"wxyz");
    });
}

#[test]
fn long_records_are_divided_and_empty_ones_ignored() {
    run(async {
        let log = Log::in_memory();
        log.push(Stream::Stdout, vec![b'x'; 150_000].into());
        log.push(Stream::Stdout, "".into());
        let mut reader = log.records(From::Start);
        let mut lengths = Vec::new();
        while let Some(record) = reader.try_next().await.unwrap() {
            lengths.push(record.bytes.len());
        }
        assert_eq!(lengths, [65_536, 65_536, 18_928]);
    });
}

#[test]
fn a_run_is_read_from_its_beginning_to_its_end() {
    run(async {
        let directory = tempdir().unwrap();
        let mut random = Random::new(11);
        let mut life = Model::new(Log::on_disk(directory.path().join("log"), ALL));
        life.push_random(&mut random);
        life.log.flush().await;
        let mut model = Model::new(Log::on_disk(directory.path().join("log"), ALL));
        let mut before = model.log.records(From::Run(model.log.run()));
        assert_eq!((model.log.run().before, before.try_next().await.unwrap()), (0, None));
        let mut runs = Vec::new();
        for number in 0..5 {
            model.log.begin_run();
            assert_eq!(model.log.run().before, number);
            let start = model.records().len();
            // More than memory holds.
            for _ in 0..400 {
                model.push_random(&mut random);
                model.log.room().await;
            }
            runs.push((model.log.records(From::Run(model.log.run())), start..model.records().len()));
            model.end_run();
            runs.push((model.log.records(From::Run(model.log.run())), start..model.records().len()));
        }
        let first = runs[0].1.clone();
        runs.push((before, first));
        model.log.flush().await;
        for (mut records, range) in runs {
            let mut read = Vec::new();
            while let Some(record) = records.try_next().await.unwrap() {
                read.push(record);
            }
            assert!(records.is_over() && read == model.records()[range]);
        }
    });
}
