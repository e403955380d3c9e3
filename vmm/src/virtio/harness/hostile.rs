//! Drivers that mean harm: malformed chains, and random ones that are the same at each run.

use vm_memory::{Bytes, GuestAddress};

use super::{Desc, DeviceHarness, HIGH, HIGH_LEN, INDIRECT, LOW, NEXT, RINGS, WRITE};
use crate::virtio::status;

/// Chains that no device may stumble over: each as the descriptors 0, 1, … of a queue of `size`.
pub(crate) fn malformed_chains(size: u16) -> Vec<(&'static str, Vec<Desc>)> {
    let buffer = 0x40_0000;
    let desc = |address, len, flags, next| Desc { address, len, flags, next };
    vec![
        ("points to itself", vec![desc(buffer, 64, NEXT, 0)]),
        ("loops over two", vec![desc(buffer, 64, NEXT, 1), desc(buffer, 64, NEXT | WRITE, 0)]),
        ("leaves the table", vec![desc(buffer, 64, NEXT, size)]),
        ("leaves the table far", vec![desc(buffer, 64, NEXT, u16::MAX)]),
        ("readable after writable", vec![desc(buffer, 64, NEXT | WRITE, 1), desc(buffer, 64, 0, 0)]),
        ("outside memory", vec![desc(1 << 40, 64, NEXT, 1), desc(1 << 40, 64, WRITE, 0)]),
        ("address overflow", vec![desc(u64::MAX - 8, 64, NEXT, 1), desc(u64::MAX - 8, 64, WRITE, 0)]),
        ("over the end of memory", vec![desc(LOW - 8, 64, NEXT, 1), desc(LOW - 8, 64, WRITE, 0)]),
        ("zero lengths", vec![desc(buffer, 0, NEXT, 1), desc(buffer, 0, WRITE, 0)]),
        ("zero length only", vec![desc(buffer, 0, 0, 0)]),
        ("huge lengths", vec![desc(buffer, u32::MAX, NEXT, 1), desc(buffer, u32::MAX, WRITE, 0)]),
        ("over 4 GiB together", vec![desc(buffer, 1 << 31, NEXT, 1), desc(buffer, 1 << 31, 0, 0)]),
        ("one readable byte", vec![desc(buffer, 1, 0, 0)]),
        ("one writable byte", vec![desc(buffer, 1, WRITE, 0)]),
        ("all readable", vec![desc(buffer, 64, NEXT, 1), desc(buffer, 4096, 0, 0)]),
        ("all writable", vec![desc(buffer, 64, NEXT | WRITE, 1), desc(buffer, 4096, WRITE, 0)]),
        ("unknown flags", vec![desc(buffer, 64, 0xfff8, 0)]),
        ("indirect outside memory", vec![desc(1 << 40, 64, INDIRECT, 0)]),
        ("indirect of odd length", vec![desc(buffer, 17, INDIRECT, 0)]),
        ("indirect of no length", vec![desc(buffer, 0, INDIRECT, 0)]),
        ("indirect, huge", vec![desc(0, 0xffff0, INDIRECT, 0)]),
        ("indirect in itself", vec![desc(RINGS, 16, INDIRECT, 0)]),
        ("indirect after another", vec![desc(buffer, 64, NEXT, 1), desc(buffer, 16, INDIRECT, 0)]),
    ]
}

/// Numbers that look random and are the same at each run (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Throws `rounds` of random descriptors, ring indices and bytes at all queues of a device, resetting it where it
/// asks for it. `fill` writes something like a request into the buffer area that descriptors mostly point to.
pub(crate) fn fuzz(
    harness: &mut DeviceHarness,
    rounds: u32,
    seed: u64,
    mut fill: impl FnMut(&mut Numbers) -> Vec<u8>,
) {
    const BUFFERS: u64 = 0x40_0000;
    let mut numbers = Numbers(seed);
    for _ in 0..rounds {
        let queue = usize::try_from(numbers.below(harness.queues.len() as u64)).unwrap();
        let size = harness.queues[queue].size;
        for slot in 0..4 {
            let bytes = fill(&mut numbers);
            harness.memory.write_slice(&bytes, GuestAddress(BUFFERS + slot * 0x1_0000)).unwrap();
        }
        for index in 0..8 {
            let desc = random_descriptor(&mut numbers, BUFFERS, size);
            harness.put_descriptor(queue, index, desc);
        }
        let head = if numbers.below(50) == 0 { numbers.next() & 0xffff } else { numbers.below(8) };
        harness.make_available(queue, u16::try_from(head).unwrap());
        if numbers.below(200) == 0 {
            let index = u16::try_from(numbers.next() & 0xffff).unwrap();
            harness.memory.write_obj(index, GuestAddress(harness.queues[queue].available + 2)).unwrap();
        }
        harness.kick(queue);
        while harness.used(queue).is_some() {}
        if harness.needs_reset() || numbers.below(100) == 0 {
            harness.reset();
            harness.start(u64::MAX);
        }
    }
    assert!(!harness.needs_reset());
    assert_eq!(harness.status() & RUNNING, RUNNING);
}

/// The status bits of a running device.
const RUNNING: u32 = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK;

fn random_descriptor(numbers: &mut Numbers, buffers: u64, size: u16) -> Desc {
    let address = match numbers.below(20) {
        0 => numbers.next(),
        1 => LOW - numbers.below(64),
        2 => HIGH + numbers.below(HIGH_LEN),
        _ => buffers + numbers.below(4) * 0x1_0000,
    };
    let len = match numbers.below(12) {
        0 => numbers.next() & 0xffff_ffff,
        1 => 0,
        2 | 3 => 1,
        4 | 5 => 16,
        6 => 44,
        7 => 44 + numbers.below(4096),
        _ => 512 * numbers.below(16),
    };
    let mut flags = 0;
    if numbers.below(2) == 0 {
        flags |= NEXT;
    }
    if numbers.below(2) == 0 {
        flags |= WRITE;
    }
    if numbers.below(16) == 0 {
        flags |= INDIRECT;
    }
    let next = if numbers.below(30) == 0 { numbers.next() & 0xffff } else { numbers.below(8) };
    Desc {
        address,
        len: u32::try_from(len).unwrap(),
        flags,
        next: u16::try_from(next).unwrap().min(size.saturating_add(1)),
    }
}
