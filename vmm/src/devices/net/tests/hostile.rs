//! Drivers that mean harm.

use super::*;
use crate::virtio::harness::{Numbers, fuzz};

#[test]
fn random_chains_do_no_harm() {
    let (mut harness, wires) = device(2);
    harness.start(u64::MAX);
    let mut noise = Numbers(9);
    let fill = |numbers: &mut Numbers| {
        // What comes for the guest meanwhile.
        let wire = &wires[usize::try_from(noise.below(2)).unwrap()];
        if noise.below(4) == 0 {
            let len = usize::try_from(noise.below(9000)).unwrap();
            let _full = send(&wire.0, &vec![7; len], SendFlags::empty());
        }
        while wire.take().is_some() {}
        let byte = |numbers: &mut Numbers| u8::try_from(numbers.next() & 0xff).unwrap();
        let mut header = PLAIN;
        if numbers.below(2) == 0 {
            header.fill_with(|| byte(numbers));
            (header[0], header[1]) = (header[0] & 1, header[1] & 7);
        }
        let mut bytes = message(&header, &frame(60 + usize::try_from(numbers.below(100)).unwrap(), 1));
        if numbers.below(2) == 0 {
            let index = usize::try_from(numbers.below(bytes.len() as u64)).unwrap();
            bytes[index] = byte(numbers);
        }
        bytes
    };
    fuzz(&mut harness, 5_000, 3, fill);
    harness.reset();
    harness.start(u64::MAX);
    wires.iter().for_each(|wire| while wire.take().is_some() {});
    assert!(sent(&mut harness, &wires[0], &message(&PLAIN, &frame(60, 1))).is_some());
}
