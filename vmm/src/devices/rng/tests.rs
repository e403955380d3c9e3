//! The entropy device under a fake driver.

use super::*;
use crate::virtio::harness::{DeviceHarness, Part, Used, fuzz, malformed_chains};

const BUFFER: u64 = 0x40_0000;

fn started() -> DeviceHarness {
    DeviceHarness::started(Box::new(Rng::new()))
}

#[test]
fn buffers_are_filled() {
    let mut harness = started();
    let head = harness.add(0, &[Part::In(BUFFER, 32), Part::In(BUFFER + 64, 32)]);
    harness.kick(0);
    assert_eq!(harness.used(0), Some(Used { head: u32::from(head), len: 64 }));
    assert!(harness.interrupted());
    assert_ne!(harness.bytes(BUFFER, 32), [0; 32]);
    assert_eq!(harness.bytes(BUFFER + 32, 32), [0; 32], "between the buffers");
    assert_ne!(harness.bytes(BUFFER + 64, 32), [0; 32]);
}

#[test]
fn a_long_buffer_is_filled_to_the_limit() {
    let mut harness = started();
    harness.add(0, &[Part::In(BUFFER, 1 << 20)]);
    harness.kick(0);
    assert_eq!(harness.used(0).unwrap().len, 4096);
}

#[test]
fn malformed_chains_come_back() {
    for (name, table) in malformed_chains(16) {
        let mut harness = started();
        harness.offer(0, &table);
        let used = harness.used(0).unwrap_or_else(|| panic!("{name}: kept"));
        assert!(used.len <= 4096, "{name}: {used:?}");
        harness.add(0, &[Part::In(BUFFER, 16)]);
        harness.kick(0);
        assert_eq!(harness.used(0).map(|used| used.len), Some(16), "{name}: dead after it");
    }
}

#[test]
fn broken_rings_need_a_reset() {
    type Break = fn(&mut DeviceHarness);
    let breaks: [Break; 2] = [
        |harness| harness.make_available(0, 16),
        |harness| {
            let index = harness.queues[0].available + 2;
            vm_memory::Bytes::write_obj(&harness.memory, 17u16, vm_memory::GuestAddress(index)).unwrap();
        },
    ];
    for break_it in breaks {
        let mut harness = started();
        break_it(&mut harness);
        harness.kick(0);
        assert!(harness.needs_reset());
        assert!(harness.interrupted());
        harness.reset();
        harness.start(u64::MAX);
        harness.add(0, &[Part::In(BUFFER, 16)]);
        harness.kick(0);
        assert_eq!(harness.used(0).map(|used| used.len), Some(16));
    }
}

#[test]
fn random_chains_do_no_harm() {
    fuzz(&mut started(), 5_000, 1, |_| Vec::new());
}
