//! Frames for the guest.

use super::*;
use crate::virtio::feature::EVENT_IDX;
use crate::virtio::harness::BARE_FEATURES;

#[test]
fn a_frame_lies_in_the_drivers_buffer() {
    let (mut harness, wire) = started(u64::MAX);
    harness.add(RX, &[Part::In(DATA, 2048)]);
    harness.kick(RX);
    assert_eq!(harness.used(RX), None);
    let sent = message(&[1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xee, 0xee], &frame(60, 7));
    wire.put(&sent);
    harness.run();
    assert_eq!(harness.used(RX).unwrap().len, 72);
    assert!(harness.interrupted());
    let got = harness.bytes(DATA, 72);
    assert_eq!((&got[..10], &got[10..12], &got[12..]), (&sent[..10], &[1, 0][..], &sent[12..]));
}

#[test]
fn frames_that_came_before_the_buffers_are_kept() {
    let (mut harness, wire) = started(u64::MAX);
    for byte in 0..5 {
        wire.put(&message(&PLAIN, &frame(100, byte)));
    }
    harness.run();
    for byte in 0..5 {
        harness.add(RX, &[Part::In(DATA, 112)]);
        harness.kick(RX);
        assert_eq!(harness.used(RX).unwrap().len, 112);
        assert_eq!(harness.bytes(DATA + 111, 1), [byte]);
    }
}

#[test]
fn a_long_frame_fills_buffers_that_appear_together() {
    let (mut harness, wire) = started(u64::MAX);
    // The first is more than is offered for a packet; the second is expected.
    for byte in [9, 10] {
        for index in 0..67 {
            let address = DATA + index * 1024;
            harness.add(RX, &[Part::In(address, 500), Part::In(address + 500, 500)]);
        }
        let long = frame(65_000, byte);
        wire.put(&message(&PLAIN, &long));
        wire.put(&message(&PLAIN, &frame(60, 1)));
        harness.kick(RX);
        let mut got = Vec::new();
        for index in 0..66u64 {
            let used = harness.used(RX).unwrap();
            assert_eq!(used.len, if index < 65 { 1000 } else { 12 });
            got.extend(harness.bytes(DATA + index * 1024, used.len as usize));
        }
        assert_eq!(got[10..12], [66, 0]);
        assert_eq!(got[12..], long);
        assert_eq!(harness.used(RX).unwrap().len, 72);
        assert_eq!(harness.bytes(DATA + 66 * 1024 + 10, 2), [1, 0]);
        assert_eq!(harness.used(RX), None);
    }
}

#[test]
fn a_frame_waits_for_the_buffers_that_it_lacks() {
    let (mut harness, wire) = started(u64::MAX);
    harness.add(RX, &[Part::In(DATA, 1000)]);
    harness.kick(RX);
    let long = frame(2500, 3);
    wire.put(&message(&PLAIN, &long));
    wire.put(&message(&PLAIN, &frame(60, 4)));
    harness.run();
    assert_eq!(harness.used(RX), None);
    harness.add(RX, &[Part::In(DATA + 1000, 1000)]);
    harness.kick(RX);
    assert_eq!(harness.used(RX), None);
    harness.add(RX, &[Part::In(DATA + 2000, 1000)]);
    harness.kick(RX);
    let lens: Vec<_> = std::iter::from_fn(|| harness.used(RX)).map(|used| used.len).collect();
    assert_eq!(lens, [1000, 1000, 512]);
    let got = harness.bytes(DATA, 2512);
    assert_eq!(got[10..12], [3, 0]);
    assert_eq!(got[12..], long);
    harness.add(RX, &[Part::In(DATA, 1000)]);
    harness.kick(RX);
    assert_eq!(harness.used(RX).unwrap().len, 72);
}

#[test]
fn a_driver_without_merging_gets_each_frame_in_one_buffer_or_not() {
    let (mut harness, wire) = started(BARE_FEATURES);
    harness.add(RX, &[Part::In(DATA, 12), Part::In(DATA + 4096, 100)]);
    harness.add(RX, &[Part::In(DATA + 8192, 2000)]);
    // Too long for the first buffer, of many segments, cut off in its header, longer than the link's packets.
    wire.put(&message(&PLAIN, &frame(101, 1)));
    wire.put(&message(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &frame(60, 1)));
    wire.put(&message(&PLAIN, &frame(60, 1))[..25]);
    wire.put(&message(&PLAIN, &frame(3000, 1)));
    wire.put(&message(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 7], &frame(60, 6)));
    harness.kick(RX);
    assert_eq!(harness.used(RX).unwrap().len, 72);
    assert_eq!(harness.bytes(DATA, 12), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(harness.bytes(DATA + 4096, 60), frame(60, 6));
    assert_eq!(harness.used(RX), None);
}

#[test]
fn buffers_without_room_come_back() {
    let (mut harness, wire) = started(u64::MAX);
    harness.add(RX, &[Part::In(DATA, 11)]);
    harness.add(RX, &[Part::Out(DATA, b"readable"), Part::In(DATA, 2048)]);
    harness.add(RX, &[Part::In(DATA, 2048)]);
    wire.put(&message(&PLAIN, &frame(60, 1)));
    harness.kick(RX);
    let lens: Vec<_> = std::iter::from_fn(|| harness.used(RX)).map(|used| used.len).collect();
    assert_eq!(lens, [0, 0, 72]);
}

#[test]
fn more_frames_than_a_turns_all_arrive() {
    let (mut harness, wire) = started(u64::MAX);
    for index in 0..200u64 {
        harness.add(RX, &[Part::In(DATA + index * 128, 128)]);
    }
    harness.kick(RX);
    let mut arrived = 0;
    for byte in 0..200u8 {
        // The socket holds fewer than a tap.
        wire.put(&message(&PLAIN, &frame(60, byte)));
        if byte % 100 == 99 {
            harness.run();
        }
        while harness.used(RX).is_some() {
            assert_eq!(harness.bytes(DATA + 128 * arrived + 71, 1), [u8::try_from(arrived).unwrap()]);
            arrived += 1;
        }
    }
    assert_eq!(arrived, 200);
}

#[test]
fn frames_that_come_together_are_one_interrupt() {
    let (mut harness, wire) = started(!EVENT_IDX);
    for (count, interrupts) in [(3, 1), (63, 1), (64, 1), (100, 2), (0, 0)] {
        for index in 0..count {
            harness.add(RX, &[Part::In(DATA + index * 128, 128)]);
        }
        harness.kick(RX);
        assert_eq!(harness.interrupts(), 0);
        for _ in 0..count {
            wire.put(&message(&PLAIN, &frame(60, 1)));
        }
        harness.run();
        assert_eq!(harness.interrupts(), interrupts, "{count}");
        assert_eq!(std::iter::from_fn(|| harness.used(RX)).count() as u64, count);
    }
}
