//! The transport as a driver sees it, well-behaved and not.

use super::super::harness::{BARE_FEATURES, DeviceHarness, LOW};
use super::register::{QUEUE_DESC_LOW, QUEUE_DEVICE_LOW, QUEUE_DRIVER_LOW, QUEUE_SIZE};
use super::*;
use crate::devices::rng::Rng;

const RUNNING: u32 = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK;

fn harness() -> DeviceHarness {
    DeviceHarness::new(Box::new(Rng::new()))
}

#[test]
fn a_driver_finds_the_device() {
    let mut harness = harness();
    assert_eq!(harness.read(MAGIC_VALUE).to_le_bytes(), *b"virt");
    assert_eq!(harness.read(VERSION), 2);
    assert_eq!(harness.read(DEVICE_ID), 4);
    assert_eq!(harness.read(QUEUE_SIZE_MAX), 16);
    harness.write(QUEUE_SEL, 1);
    assert_eq!(harness.read(QUEUE_SIZE_MAX), 0);
    assert_eq!(harness.read(SHM_LEN_LOW), u32::MAX);
    assert_eq!(harness.config(4), [0; 4]);
}

#[test]
fn a_driver_starts_and_resets_the_device() {
    let mut harness = harness();
    harness.start(u64::MAX);
    assert_eq!(harness.status(), RUNNING);
    harness.write(QUEUE_SEL, 0);
    assert_eq!(harness.read(QUEUE_READY), 1);
    harness.reset();
    assert_eq!(harness.status(), 0);
    assert_eq!(harness.read(QUEUE_READY), 0);
    harness.start(BARE_FEATURES);
    assert_eq!(harness.status(), RUNNING);
}

#[test]
fn status_bits_out_of_order_are_not_taken() {
    let mut harness = harness();
    for value in [status::DRIVER, status::FEATURES_OK, status::DRIVER_OK, status::DRIVER | status::DRIVER_OK]
    {
        harness.write(STATUS, value);
        assert_eq!(harness.status(), 0, "{value:#x}");
    }
    harness.write(STATUS, status::ACKNOWLEDGE);
    harness.write(STATUS, status::DRIVER);
    assert_eq!(harness.status(), status::ACKNOWLEDGE | status::DRIVER, "a bit is never cleared alone");
}

#[test]
fn features_need_version_1_and_an_offer() {
    for (low, high) in [(0, 0), (1, 1), (0, 3)] {
        let mut harness = harness();
        harness.set_status(status::ACKNOWLEDGE);
        harness.set_status(status::DRIVER);
        harness.write(DRIVER_FEATURES_SEL, 0);
        harness.write(DRIVER_FEATURES, low);
        harness.write(DRIVER_FEATURES_SEL, 1);
        harness.write(DRIVER_FEATURES, high);
        harness.set_status(status::FEATURES_OK);
        assert_eq!(harness.status() & status::FEATURES_OK, 0, "{high:#x} {low:#x}");
    }
}

#[test]
fn a_driver_of_private_memory_has_to_know_that_devices_do_not_see_it() {
    for (high, taken) in [(1, false), (2, false), (3, true)] {
        let mut harness = harness();
        harness.transport.features |= feature::ACCESS_PLATFORM;
        harness.set_status(status::ACKNOWLEDGE);
        harness.set_status(status::DRIVER);
        harness.write(DEVICE_FEATURES_SEL, 1);
        assert_eq!(harness.read(DEVICE_FEATURES), 3);
        harness.write(DRIVER_FEATURES_SEL, 1);
        harness.write(DRIVER_FEATURES, high);
        harness.set_status(status::FEATURES_OK);
        assert_eq!(harness.status() & status::FEATURES_OK != 0, taken, "{high:#x}");
    }
}

#[test]
fn features_are_fixed_after_negotiation() {
    let mut harness = harness();
    harness.negotiate(BARE_FEATURES);
    harness.write(DRIVER_FEATURES_SEL, 0);
    harness.write(DRIVER_FEATURES, 0xffff_ffff);
    assert_eq!(harness.transport.state.driver_features, BARE_FEATURES);
}

#[test]
fn bad_queues_do_not_become_ready() {
    let good = (16, 0x1000, 0x2000, 0x3000);
    for (size, descriptors, driver, device) in [
        (0, good.1, good.2, good.3),
        (3, good.1, good.2, good.3),
        (32, good.1, good.2, good.3),
        (0x1_0010, good.1, good.2, good.3),
        (good.0, 0x1008, good.2, good.3),
        (good.0, good.1, 0x2001, good.3),
        (good.0, good.1, good.2, 0x3002),
        (good.0, LOW - 16, good.2, good.3),
        (good.0, good.1, LOW - 16, good.3),
        (good.0, good.1, good.2, LOW - 16),
        (good.0, 1 << 60, good.2, good.3),
        (good.0, good.1, u64::MAX - 1, good.3),
    ] {
        let mut harness = harness();
        harness.negotiate(BARE_FEATURES);
        let mut set_up = |(size, descriptors, driver, device)| {
            harness.write(QUEUE_SIZE, size);
            harness.write_address(QUEUE_DESC_LOW, descriptors);
            harness.write_address(QUEUE_DRIVER_LOW, driver);
            harness.write_address(QUEUE_DEVICE_LOW, device);
            harness.write(QUEUE_READY, 1);
            harness.read(QUEUE_READY)
        };
        assert_eq!(
            set_up((size, descriptors, driver, device)),
            0,
            "{size} {descriptors:#x} {driver:#x} {device:#x}"
        );
        assert_eq!(set_up(good), 1);
    }
}

#[test]
fn a_driver_that_starts_without_queues_is_told_to_reset() {
    let mut harness = harness();
    harness.negotiate(BARE_FEATURES);
    harness.set_status(status::DRIVER_OK);
    harness.run();
    assert!(harness.needs_reset());
    assert!(harness.interrupted());
    harness.reset();
    assert_eq!(harness.status(), 0);
}

#[test]
fn odd_accesses_do_nothing() {
    let mut harness = harness();
    harness.start(u64::MAX);
    for offset in 0..0x1000 {
        for width in [1, 2, 4, 8] {
            let mut data = vec![0xaa; width];
            harness.transport.read(offset, &mut data);
            // Not the status register, where a zero would reset the device.
            if offset != STATUS {
                harness.transport.write(offset, &vec![0xff; width]);
            }
        }
    }
    harness.transport.write(STATUS, &[0]);
    harness.transport.write(STATUS + 2, &[0; 4]);
    assert_eq!(harness.status(), RUNNING);
    harness.run();
    assert!(!harness.needs_reset());
}

#[test]
fn registers_take_no_harm_from_random_writes() {
    let mut numbers = super::super::harness::Numbers(7);
    let mut harness = harness();
    for _ in 0..20_000 {
        let offset = numbers.below(0x110) & !3;
        let value = match numbers.below(3) {
            0 => numbers.next() & 0xffff_ffff,
            1 => numbers.below(16),
            _ => u64::from(RUNNING),
        };
        let value = u32::try_from(value).unwrap();
        if offset == STATUS && value == 0 {
            harness.reset();
        } else {
            harness.write(offset, value);
            harness.read(offset);
        }
        harness.run();
    }
    harness.reset();
    harness.start(u64::MAX);
    assert_eq!(harness.status(), RUNNING);
}
