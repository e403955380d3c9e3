//! The guest runs, and makes pages private and shared: what lies within its RAM, and nothing else. Threads have their filters.

use kvm_bindings::{kvm_memory_attributes, kvm_userspace_memory_region2};

use crate::record::{Call, Run, SET_ATTRIBUTES, SET_MEMORY};
use crate::structures::parse;

/// What is done for the guest, in its order.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    Attributes { gpa: u64, size: u64, attributes: u64 },
    Punch { mode: u64, offset: u64, size: u64 },
    GiveBack { gpa: u64, size: u64 },
    Returned(i64),
}

fn acts(run: &Run) -> Vec<Act> {
    let slot: kvm_userspace_memory_region2 = parse(&run.of("vm", SET_MEMORY).next().unwrap().input);
    let first = run.calls.iter().position(|call| call.name == "staged").unwrap();
    let act = |call: &Call| {
        let word = |index: usize| u64::from_le_bytes(call.input[index * 8..][..8].try_into().unwrap());
        match (call.name.as_str(), call.request) {
            ("vm", SET_ATTRIBUTES) => {
                let kvm_memory_attributes { address: gpa, size, attributes, flags } = parse(&call.input);
                assert_eq!(flags, 0);
                Some(Act::Attributes { gpa, size, attributes })
            }
            ("fallocate", role) => {
                assert_eq!((role, call.result), (5, 0), "a guest_memfd");
                Some(Act::Punch { mode: word(1), offset: word(2), size: word(3) })
            }
            // Stacks of threads are given back as well.
            ("madvise", _) => word(0)
                .checked_sub(slot.userspace_addr)
                .filter(|gpa| *gpa < slot.memory_size)
                .map(|gpa| Act::GiveBack { gpa, size: word(1) }),
            ("returned", _) => Some(Act::Returned(call.result)),
            _ => None,
        }
    };
    run.calls[first..].iter().filter_map(act).collect()
}

fn conversions() -> Vec<Act> {
    let (gpa, size) = (0x20_0000, 0x2000);
    let mut acts = vec![
        Act::Attributes { gpa, size, attributes: 0 },
        Act::Punch { mode: 3, offset: gpa, size },
        Act::Returned(0),
        Act::Attributes { gpa, size, attributes: 8 },
        Act::GiveBack { gpa, size },
        Act::Returned(0),
    ];
    acts.extend([-22; 7].map(Act::Returned));
    acts
}

#[test]
fn pages_of_ram_change_and_all_else_is_refused() {
    let run = Run::with(&[]);
    assert_eq!(run.ended, "PowerOff");
    let mut expected = conversions();
    let (gpa, size) = (0x30_0000, 0x1000);
    expected.extend([Act::Attributes { gpa, size, attributes: 8 }, Act::GiveBack { gpa, size }]);
    assert_eq!(acts(&run), expected);
}

#[test]
fn memory_above_4_gib_is_a_range_of_its_own() {
    let run = Run::with(&[("SNP_MEMORY", "5120"), ("SNP_RUN", "high")]);
    assert_eq!(run.ended, "PowerOff");
    let slots: Vec<kvm_userspace_memory_region2> =
        run.of("vm", SET_MEMORY).map(|call| parse(&call.input)).collect();
    let places: Vec<_> = slots.iter().map(|slot| (slot.slot, slot.flags, slot.guest_phys_addr)).collect();
    assert_eq!(places, [(0, 4, 0), (1, 0, 3 << 30), (2, 4, 4 << 30)]);
    assert_eq!((slots[0].memory_size, slots[2].memory_size), (3 << 30, 2 << 30));
    assert_ne!(slots[0].guest_memfd, slots[2].guest_memfd);
    let (gpa, size) = ((4 << 30) + 0x1000, 0x1000);
    // The hole is in the second file, where its own addresses begin at 0.
    let expected = [
        Act::Attributes { gpa, size, attributes: 0 },
        Act::Punch { mode: 3, offset: 0x1000, size },
        Act::Returned(0),
    ];
    assert_eq!(acts(&run), expected);
    let hole = run.calls.iter().find(|call| call.name == "fallocate").unwrap();
    assert_eq!(hole.input[..4], slots[2].guest_memfd.to_le_bytes());
}

#[test]
fn a_fault_outside_of_ram_ends_the_guest() {
    let run = Run::with(&[("SNP_RUN", "outside")]);
    assert!(
        run.ended.contains("0xc0000000+0x1000 as private memory, which is not within its RAM"),
        "{}",
        run.ended
    );
    assert_eq!(acts(&run), conversions());
}

#[test]
fn a_fault_that_comes_again_and_again_ends_the_guest() {
    let run = Run::with(&[("SNP_RUN", "stuck")]);
    assert!(run.ended.contains("does not get on at 0x300000"), "{}", run.ended);
}

#[test]
fn a_guest_that_ends_itself_says_why() {
    let run = Run::with(&[("SNP_RUN", "terminate")]);
    assert!(
        run.ended.contains("the staged launch.json is not what was measured (reason 0xc:0x43)"),
        "{}",
        run.ended
    );
}

#[test]
fn a_failed_change_of_pages_ends_the_guest() {
    let run = Run::with(&[("SNP_RUN", "no-attributes")]);
    assert!(run.ended.contains("cannot change the attributes of 0x200000+0x2000"), "{}", run.ended);
}
