//! The stub of the release, byte for byte, in a plain virtual machine: `PVALIDATE`, which traps there as an unknown
//! instruction, is played by a handler in memory of the test's own, which asks the test what the processor answers.
//!
//! The machine has the registers and pages of the layout, but for the encryption bit, which there is none of, and the
//! exceptions' table. These tests need a usable /dev/kvm and fail without one.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod guest;
mod machine;

use std::collections::BTreeSet;

use guest::Pod;
use machine::{Answer, End, Machine};
use snp_layout::{Layout, PageKind, map};
use snp_stub::HashPage;

fn hash_page(layout: &Layout<'_>) -> HashPage {
    let page = layout.pages.iter().find(|page| page.gpa == map::HASH_PAGE).unwrap();
    let PageKind::Normal(bytes) = &page.kind else { panic!("the hash page is measured") };
    HashPage::decode(bytes).unwrap()
}

#[test]
fn memory_is_validated_once_and_the_kernel_entered_with_what_was_measured() {
    let pod = Pod::new();
    let layout = pod.layout();
    let mut machine = Machine::new(&layout);
    let mut pages = Vec::new();
    let end = machine.run(|page| {
        pages.push(page);
        Answer::Validated
    });
    assert_eq!(end, End::Kernel { boot_params: map::BOOT_PARAMS });
    let hashes = hash_page(&layout);
    let ranges = hashes.ranges().iter();
    let expected: Vec<_> = ranges.flat_map(|range| (range.start..range.end).step_by(4096)).collect();
    assert_eq!(pages.iter().collect::<BTreeSet<_>>().len(), pages.len(), "a page twice");
    assert_eq!(pages, expected);
    assert!(!layout.pages.iter().any(|page| pages.contains(&page.gpa)), "a page of the launch");
    let initramfs = &hashes.parts()[1];
    assert_eq!(machine.read(initramfs.destination, pod.initramfs.len()), pod.initramfs);
    let launch = &hashes.parts()[3];
    assert_eq!(machine.read(launch.destination, pod.launch.len()), pod.launch);
    assert_eq!(machine.read(launch.destination - 14, 14), b"launch.json\0\0\0"[..].to_vec());
    let trailer = &hashes.parts()[4];
    let end = trailer.destination + trailer.length;
    let rest = usize::try_from(end.next_multiple_of(4096) - end).unwrap();
    assert_eq!(machine.read(end, rest), vec![0; rest], "the host's bytes behind the initramfs");
}

#[test]
fn what_was_staged_and_not_measured_ends_the_machine() {
    let pod = Pod::new();
    let layout = pod.layout();
    let mut machine = Machine::new(&layout);
    let kernel = layout.staged[0];
    machine.write(kernel.gpa + kernel.bytes.len() as u64 - 1, &[0x55]);
    assert_eq!(machine.run(|_| Answer::Validated), End::Terminated { code: 0x40 });
    let mut machine = Machine::new(&layout);
    machine.change_last();
    assert_eq!(machine.run(|_| Answer::Validated), End::Terminated { code: 0x43 });
}

#[test]
fn what_is_staged_may_change_once_it_was_copied() {
    let pod = Pod::new();
    let layout = pod.layout();
    let mut machine = Machine::new(&layout);
    machine.change_what_was_copied();
    assert_eq!(machine.run(|_| Answer::Validated), End::Kernel { boot_params: map::BOOT_PARAMS });
    assert_eq!(machine.read(map::STAGING, 16), [0xee; 16]);
    assert_eq!(machine.read(hash_page(&layout).parts()[1].destination, pod.initramfs.len()), pod.initramfs);
}

#[test]
fn a_page_that_was_valid_or_is_refused_ends_the_machine_at_once() {
    let pod = Pod::new();
    let layout = pod.layout();
    for (answer, code) in [(Answer::Unchanged, 0x31), (Answer::SizeMismatch, 0x30)] {
        let mut count = 0;
        let end = Machine::new(&layout).run(|_| {
            count += 1;
            if count == 20 { answer } else { Answer::Validated }
        });
        assert_eq!((end, count), (End::Terminated { code }, 20));
    }
}

#[test]
fn a_changed_hash_page_ends_the_machine_before_anything_is_done() {
    let pod = Pod::new();
    let mut machine = Machine::new(&pod.layout());
    machine.write(map::HASH_PAGE, b"cradlsnp");
    assert_eq!(machine.run(|page| panic!("{page:#x} was validated")), End::Terminated { code: 0x11 });
}

/// The layout's registers are those that KVM has when it makes a save area of them.
#[test]
fn registers_that_are_not_set_are_as_the_save_area_has_them() {
    let pod = Pod::new();
    Machine::new(&pod.layout()).assert_reset_state();
}
