//! What the driver learns of the device, and pairs of queues.

use super::*;
use crate::virtio::feature::VERSION_1;
use crate::virtio::harness::BARE_FEATURES;

/// The control queue of a device with two pairs.
const CONTROL: usize = 4;

fn command(harness: &mut DeviceHarness, bytes: &[u8]) -> u8 {
    harness.memory_fill(DATA, 0xaa);
    harness.add(CONTROL, &[Part::Out(DATA, bytes), Part::In(DATA + 64, 1)]);
    harness.kick(CONTROL);
    assert_eq!(harness.used(CONTROL).unwrap().len, 1);
    harness.bytes(DATA + 64, 1)[0]
}

#[test]
fn the_driver_learns_of_its_link() {
    let (mut harness, _wires) = device(2);
    assert_eq!(harness.config(16), [2, 0x42, 0xac, 0x11, 0, 2, 0, 0, 2, 0, 0xdc, 5, 0, 0, 0, 0]);
    harness.start(u64::MAX);
    assert_eq!(harness.queues.len(), 5);
    let (mut harness, _wires) = device(1);
    harness.start(u64::MAX);
    assert_eq!(harness.queues.len(), 2);
}

#[test]
fn frames_go_to_the_pairs_that_the_driver_uses() {
    let (mut harness, wires) = device(2);
    harness.start(u64::MAX);
    for queue in [0, 2] {
        for index in 0..8u64 {
            harness.add(queue, &[Part::In(DATA + 0x1_0000 * queue as u64 + 2048 * index, 2048)]);
        }
        harness.kick(queue);
    }
    let mut arrive = || {
        wires.iter().for_each(|wire| wire.put(&message(&PLAIN, &frame(60, 1))));
        harness.run();
        [0, 2].map(|queue| std::iter::from_fn(|| harness.used(queue)).count())
    };
    assert_eq!(arrive(), [2, 0]);
    assert_eq!(command(&mut harness, &[4, 0, 2, 0]), 0);
    let mut arrive = || {
        wires.iter().for_each(|wire| wire.put(&message(&PLAIN, &frame(60, 1))));
        harness.run();
        [0, 2].map(|queue| std::iter::from_fn(|| harness.used(queue)).count())
    };
    assert_eq!(arrive(), [1, 1]);
    for queue in [1, 3] {
        harness.add(queue, &[Part::Out(DATA, &message(&PLAIN, &frame(60, 1)))]);
        harness.kick(queue);
    }
    assert!(wires.iter().all(|wire| wire.take().is_some()));
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let (mut harness, _wires) = device(2);
    harness.start(u64::MAX);
    for bytes in [
        &[4, 0, 0, 0][..],
        &[4, 0, 3, 0],
        &[4, 0, 0xff, 0xff],
        &[4, 1, 1, 0],
        &[0, 0, 1, 0],
        &[1, 1, 2, 3, 4, 5, 6, 7],
        &[4, 0, 1],
        &[4],
    ] {
        assert_eq!(command(&mut harness, bytes), 1, "{bytes:?}");
    }
    assert_eq!(command(&mut harness, &[4, 0, 1, 0]), 0);
}

#[test]
fn a_driver_of_one_pair_sets_up_one_pair() {
    for (features, control) in [(VERSION_1, false), (VERSION_1 | feature::CTRL_VQ, true)] {
        let (mut harness, wires) = device(2);
        harness.start_queues(features, if control { 3 } else { 2 });
        assert!(!harness.needs_reset());
        harness.add(RX, &[Part::In(DATA, 2048)]);
        wires[1].put(&message(&PLAIN, &frame(60, 1)));
        harness.kick(RX);
        assert_eq!(harness.used(RX).unwrap().len, 72);
        assert!(sent(&mut harness, &wires[0], &message(&PLAIN, &frame(60, 1))).is_some());
        if control {
            harness.add(2, &[Part::Out(DATA, &[4, 0, 1, 0]), Part::In(DATA + 64, 1)]);
            harness.kick(2);
            assert_eq!(harness.used(2).unwrap().len, 1);
        }
    }
    // With the features of more pairs these queues are not all.
    let (mut harness, _wires) = device(2);
    harness.start_queues(u64::MAX, 4);
    assert!(harness.needs_reset());
}

#[test]
fn offloads_follow_the_features() {
    use feature::{GUEST_CSUM, GUEST_TSO4, GUEST_TSO6};
    assert_eq!(feature::offloads(BARE_FEATURES), 0);
    assert_eq!(feature::offloads(GUEST_TSO4 | GUEST_TSO6), 0);
    assert_eq!(feature::offloads(GUEST_CSUM), libc::TUN_F_CSUM);
    assert_eq!(feature::offloads(GUEST_CSUM | GUEST_TSO6), libc::TUN_F_CSUM | libc::TUN_F_TSO6);
    assert_eq!(feature::offloads(u64::MAX), libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6);
}

#[test]
fn a_reset_device_starts_again() {
    let (mut harness, wire) = started(u64::MAX);
    harness.add(RX, &[Part::In(DATA, 2048)]);
    harness.kick(RX);
    harness.reset();
    wire.put(&message(&PLAIN, &frame(60, 1)));
    harness.run();
    harness.start(u64::MAX);
    harness.add(RX, &[Part::In(DATA, 2048)]);
    harness.kick(RX);
    assert_eq!(harness.used(RX).unwrap().len, 72);
    assert!(sent(&mut harness, &wire, &message(&PLAIN, &frame(60, 1))).is_some());
}

#[test]
fn what_is_no_tap_is_refused() {
    assert!(matches!(Port::new(config(Vec::new())), Err(TapError::Queues(0))));
    let many = (0..5).map(|_| Wire::pair().0).collect();
    assert!(matches!(Port::new(config(many)), Err(TapError::Queues(5))));
    assert!(matches!(Port::new(config(vec![Wire::pair().0])), Err(TapError::Identify(_))));
}
