//! Frames of the guest.

use super::*;
use crate::virtio::harness::{BARE_FEATURES, malformed_chains};

#[test]
fn a_frame_reaches_the_tap_however_it_is_cut() {
    let (mut harness, wire) = started(u64::MAX);
    let message = message(&PLAIN, &frame(600, 5));
    assert_eq!(sent(&mut harness, &wire, &message), Some(message.clone()));
    let pieces: Vec<_> = message
        .chunks(7)
        .enumerate()
        .map(|(index, piece)| Part::Out(DATA + index as u64 * 64, piece))
        .collect();
    assert!(pieces.len() > 64);
    harness.add(TX, &pieces);
    harness.kick(TX);
    assert_eq!(wire.take(), Some(message));
}

#[test]
fn only_what_was_checked_of_a_header_goes_on() {
    let (mut harness, wire) = started(u64::MAX);
    let frame = frame(1400, 5);
    // Flags that are the device's, and a length of headers that is longer than the frame.
    let header = [0xff, 0, 0xff, 0xff, 9, 9, 34, 0, 6, 0, 9, 9];
    let got = sent(&mut harness, &wire, &message(&header, &frame)).unwrap();
    assert_eq!(got, message(&[1, 0, 0x78, 5, 0, 0, 34, 0, 6, 0, 0, 0], &frame));
    let got = sent(&mut harness, &wire, &message(&[1, 5, 42, 0, 100, 0, 34, 0, 6, 0, 0, 0], &frame)).unwrap();
    assert_eq!(got, message(&[1, 5, 42, 0, 100, 0, 34, 0, 6, 0, 0, 0], &frame));
}

#[test]
fn frames_that_are_not_the_pods_do_not_come_out() {
    let (mut harness, wire) = started(u64::MAX);
    let mut spoofed = frame(100, 1);
    spoofed[29] = 3;
    assert_eq!(sent(&mut harness, &wire, &message(&PLAIN, &spoofed)), None);
    let mut spoofed = frame(100, 1);
    spoofed[11] = 3;
    assert_eq!(sent(&mut harness, &wire, &message(&PLAIN, &spoofed)), None);
    // Too long for the link; no frame; not even a header; more than any packet.
    assert_eq!(sent(&mut harness, &wire, &message(&PLAIN, &frame(1515, 1))), None);
    assert_eq!(sent(&mut harness, &wire, &PLAIN), None);
    assert_eq!(sent(&mut harness, &wire, &PLAIN[..11]), None);
    assert_eq!(sent(&mut harness, &wire, &message(&PLAIN, &frame(70_000, 1))), None);
    assert!(sent(&mut harness, &wire, &message(&PLAIN, &frame(1514, 1))).is_some());
}

#[test]
fn a_driver_cannot_ask_for_what_it_has_not_negotiated() {
    let (mut harness, wire) = started(BARE_FEATURES);
    let checksum = message(&[1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0], &frame(100, 1));
    assert_eq!(sent(&mut harness, &wire, &checksum), None);
    assert!(sent(&mut harness, &wire, &message(&PLAIN, &frame(100, 1))).is_some());
}

#[test]
fn malformed_chains_come_back() {
    for (name, table) in malformed_chains(256) {
        let (mut harness, wire) = started(u64::MAX);
        harness.offer(TX, &table);
        assert!(harness.used(TX).is_some(), "{name}: kept");
        assert_eq!(wire.take(), None, "{name}: sent");
        harness.offer(RX, &table);
        let message = message(&PLAIN, &frame(60, 1));
        assert!(sent(&mut harness, &wire, &message).is_some(), "{name}: dead after it");
    }
}

#[test]
fn a_tap_that_takes_nothing_is_waited_for() {
    let (mut harness, wire) = started(u64::MAX);
    let message = message(&PLAIN, &frame(1514, 1));
    let mut offered = 0;
    // Until one stays in the queue.
    loop {
        harness.add(TX, &[Part::Out(DATA, &message)]);
        harness.kick(TX);
        offered += 1;
        if harness.used(TX).is_none() {
            break;
        }
    }
    let mut got = 0;
    while wire.take().is_some() {
        got += 1;
        harness.run();
    }
    assert_eq!(got, offered);
    assert!(harness.used(TX).is_some());
    assert!(sent(&mut harness, &wire, &message).is_some());
}

#[test]
fn frames_that_leave_together_are_one_interrupt() {
    let (mut harness, wire) = started(!crate::virtio::feature::EVENT_IDX);
    for index in 0..5 {
        harness.add(TX, &[Part::Out(DATA + index * 128, &message(&PLAIN, &frame(60, 1)))]);
    }
    harness.kick(TX);
    assert_eq!(harness.interrupts(), 1);
    assert_eq!(std::iter::from_fn(|| wire.take()).count(), 5);
}
