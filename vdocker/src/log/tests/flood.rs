//! Floods: memory stays bounded whoever reads, nothing is lost, nobody waits for a reader.

use tempfile::tempdir;

use super::run;
use crate::log::{From, Log, LogLimits, Stream};

/// What the ring may weigh: what waits for the disk and the record over it, or what is kept for readers.
const BOUND: usize = (1 << 20) + (64 << 10) + 1024;

#[test]
fn a_flood_with_readers_that_stall_loses_nothing_and_holds_little() {
    run(async {
        let directory = tempdir().unwrap();
        let log = Log::on_disk(directory.path().join("log"), LogLimits::default());
        let mut stalled = log.records(From::End);
        let weight = || log.shared.state.borrow().ring.weight();
        let mut waited = 0;
        for number in 0..400_u32 {
            let mut bytes = vec![b'.'; 65_536];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            log.push(Stream::Stdout, bytes.into());
            assert!(weight() <= BOUND, "{} bytes are held", weight());
            if !log.has_room() {
                waited += 1;
                log.room().await;
            }
        }
        assert!(waited > 0, "the disk was never behind");
        log.flush().await;
        assert!(weight() <= 256 << 10, "{} bytes are held", weight());
        for number in 0..400_u32 {
            let record = stalled.try_next().await.unwrap().unwrap();
            assert_eq!(record.bytes[..4], number.to_le_bytes());
            assert!(stalled.held() <= 768 << 10, "a reader holds {} bytes", stalled.held());
        }
        assert_eq!(stalled.try_next().await.unwrap(), None);
    });
}

#[test]
fn small_records_are_bounded_with_what_they_cost_beside_their_bytes() {
    run(async {
        let log = Log::in_memory();
        for _ in 0..100_000 {
            log.push(Stream::Stdout, "x".into());
        }
        let state = log.shared.state.borrow();
        assert!(state.ring.next() - state.ring.first() < 4096);
    });
}

#[test]
fn a_part_of_a_large_buffer_does_not_hold_it() {
    run(async {
        let log = Log::in_memory();
        let buffer = bytes::Bytes::from(vec![b'x'; 65_536]);
        log.push(Stream::Stdout, buffer.slice(..100));
        assert!(buffer.is_unique());
        log.push(Stream::Stdout, buffer.slice(..60_000));
        assert!(!buffer.is_unique());
    });
}
