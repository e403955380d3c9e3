//! Disks under limits: what waits, for what, and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spec::DiskLimits;

use super::*;

/// A disk of 1 MiB under limits, on a clock of the test's, in nanoseconds.
fn limited(limits: DiskLimits) -> (Arc<AtomicU64>, Throttle, DeviceHarness) {
    let clock = Arc::new(AtomicU64::new(0));
    let now = Arc::clone(&clock);
    let throttle = Throttle::on(Box::new(move || Duration::from_nanos(now.load(Ordering::SeqCst))), limits);
    let disk = DiskConfig::writable(file_of(&[0; 1 << 20]), "").unwrap().limited_by(&throttle);
    (clock, throttle, DeviceHarness::started(Box::new(Block::new(disk).unwrap())))
}

#[test]
fn limits_hold_requests_back_and_only_those_of_their_kind() {
    let limits = DiskLimits { write_bps: 40_960, ..DiskLimits::default() };
    let (clock, _, mut harness) = limited(limits);
    let bytes = pattern(4096, 1);
    let write =
        |harness: &mut DeviceHarness, place| submit(harness, kind::OUT, place, &[Part::Out(DATA, &bytes)]);
    let done = |harness: &mut DeviceHarness| harness.used(0).map(|used| used.head);
    let first = write(&mut harness, 0);
    assert_eq!(done(&mut harness), Some(first), "enough for one is there at the start");
    let (second, third) = (write(&mut harness, 1), write(&mut harness, 2));
    assert_eq!(done(&mut harness), None);
    // Reads overtake.
    let read = submit(&mut harness, kind::IN, 3, &[Part::In(DATA + 0x8000, 512)]);
    assert_eq!(done(&mut harness), Some(read));
    // A tenth of a second for each, paid afterwards: the timer's own time does not count, the limits' clock does.
    clock.store(50_000_000, Ordering::SeqCst);
    harness.run_until(|harness| harness.has_used(0));
    assert_eq!((done(&mut harness), done(&mut harness)), (Some(second), None));
    clock.store(100_000_000, Ordering::SeqCst);
    harness.kick(0);
    assert_eq!(done(&mut harness), None);
    clock.store(101_000_000, Ordering::SeqCst);
    harness.run_until(|harness| harness.has_used(0));
    assert_eq!((done(&mut harness), done(&mut harness)), (Some(third), None));
}

#[test]
fn limits_that_change_hold_for_what_waits() {
    let limits = DiskLimits { read_iops: 1, write_bps: 1, ..DiskLimits::default() };
    let (_, throttle, mut harness) = limited(limits);
    assert_eq!(throttle.limits(), limits);
    let bytes = pattern(4096, 1);
    let heads: Vec<_> =
        (0..3).map(|place| submit(&mut harness, kind::OUT, place, &[Part::Out(DATA, &bytes)])).collect();
    assert_eq!(harness.used(0).unwrap().head, heads[0], "any request passes when there is enough");
    assert!(!harness.has_used(0));
    // Without another kick.
    throttle.pardon(4096);
    harness.run_until(|harness| harness.has_used(0));
    assert_eq!(harness.used(0).unwrap().head, heads[1]);
    assert!(!harness.has_used(0), "what was owed is paid first");
    throttle.set(DiskLimits { write_bps: 0, ..limits });
    harness.run_until(|harness| harness.has_used(0));
    assert_eq!(harness.used(0).unwrap().head, heads[2]);
    let read = |harness: &mut DeviceHarness, place| submit(harness, kind::IN, place, &[Part::In(DATA, 512)]);
    let reads: Vec<_> = (0..3).map(|place| read(&mut harness, place)).collect();
    // The page of the pardon among them.
    for head in &reads[..2] {
        assert_eq!(harness.used(0).map(|used| used.head), Some(*head));
    }
    assert!(!harness.has_used(0), "a limit that stays does not begin again");
}

#[test]
fn a_request_that_waits_is_done_as_it_was_charged() {
    let (clock, _, mut harness) = limited(DiskLimits { write_iops: 1, ..DiskLimits::default() });
    let bytes = [7; 512];
    assert_eq!(request(&mut harness, kind::FLUSH, 0, &[]).0, OK);
    submit(&mut harness, kind::OUT, 1, &[Part::Out(DATA, &bytes)]);
    assert!(!harness.has_used(0));
    // A guest that makes it a read meanwhile gets what it asked for last, under the limits of that.
    harness.memory_write(HEADER + 0x1000, &header(kind::GET_ID, 0));
    clock.store(1_000_000_000, Ordering::SeqCst);
    harness.run_until(|harness| harness.has_used(0));
    assert_eq!(harness.used(0).unwrap().len, 1);
    assert_eq!(request(&mut harness, kind::OUT, 0, &[Part::Out(DATA, &bytes)]).0, OK);
}

#[test]
fn a_disk_whose_requests_wait_is_reset_and_ended_at_once() {
    let (clock, _, mut harness) = limited(DiskLimits { write_iops: 1, read_bps: 1, ..DiskLimits::default() });
    let queued = |harness: &mut DeviceHarness| {
        // More than the queue has room for: those that do not fit stay in it.
        for place in 0..100 {
            submit(harness, kind::FLUSH, place % 8, &[]);
        }
        assert!(harness.used(0).is_some());
        assert!(!harness.has_used(0));
    };
    queued(&mut harness);
    for batch in [150, 200] {
        for _ in 0..batch {
            harness.make_available(0, 2);
        }
        harness.kick(0);
    }
    assert!(!harness.has_used(0) && !harness.needs_reset());
    harness.reset();
    // The timer of those that are gone wakes nobody.
    assert_eq!(harness.event_loop.turn(150).unwrap(), Some(0));
    clock.store(1_000_000_000, Ordering::SeqCst);
    harness.start(u64::MAX);
    queued(&mut harness);
}

#[test]
fn random_chains_under_limits_do_no_harm() {
    let limits = DiskLimits { read_bps: 1 << 30, write_bps: 1 << 20, read_iops: 1000, write_iops: 100 };
    let (clock, throttle, mut harness) = limited(limits);
    let fill = |numbers: &mut Numbers| {
        clock.fetch_add(numbers.below(10_000_000), Ordering::SeqCst);
        let kind = [kind::IN, kind::OUT, kind::FLUSH, kind::DISCARD, kind::WRITE_ZEROES];
        header(kind[usize::try_from(numbers.below(5)).unwrap()], numbers.below(2048)).to_vec()
    };
    fuzz(&mut harness, 2_000, 2, fill);
    throttle.set(DiskLimits::default());
    harness.reset();
    harness.start(u64::MAX);
    assert_eq!(request(&mut harness, kind::IN, 0, &[Part::In(DATA, 512)]).0, OK);
}
