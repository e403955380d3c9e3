//! What the firmware would have measured: the recorded pages in their order, and save areas made of the recorded registers as
//! KVM makes them.

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sev_snp_launch_update, kvm_sregs};
use snp_layout::{LaunchDigest, Origin, Page, PageKind};

use crate::pod::Pod;
use crate::record::{Run, SET_REGS, SET_SREGS};
use crate::structures::parse;

/// The pages that the firmware took.
pub(crate) fn pages(run: &Run) -> Vec<Page> {
    let mut pages = Vec::new();
    for update in run.firmware(101).into_iter().filter(|update| update.result == 0) {
        let before: kvm_sev_snp_launch_update = parse(&update.input);
        let after: kvm_sev_snp_launch_update = parse(&update.output);
        for index in 0..(before.len - after.len) / 4096 {
            let at = usize::try_from(index * 4096).unwrap();
            let kind = match before.type_ {
                1 => PageKind::Normal(Box::new(update.extra[at..at + 4096].try_into().unwrap())),
                3 => PageKind::Zero,
                4 => PageKind::Unmeasured,
                5 => PageKind::Secrets,
                6 => PageKind::Cpuid,
                other => panic!("pages of type {other}"),
            };
            pages.push(Page { gpa: (before.gfn_start + index) * 4096, kind, origin: Origin::Stub });
        }
    }
    pages
}

/// The save areas of all vCPUs.
pub(crate) fn save_areas(run: &Run) -> Vec<[u8; 4096]> {
    let last = |name: &str, request| run.of(name, request).last().map(|call| call.input.clone());
    (0..)
        .map_while(|vcpu| {
            let name = format!("vcpu{vcpu}");
            Some(save_area(&parse(&last(&name, SET_REGS)?), &parse(&last(&name, SET_SREGS)?)))
        })
        .collect()
}

fn save_area(regs: &kvm_regs, sregs: &kvm_sregs) -> [u8; 4096] {
    let mut page = [0; 4096];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    let segments = [
        (0x00, sregs.es),
        (0x10, sregs.cs),
        (0x20, sregs.ss),
        (0x30, sregs.ds),
        (0x40, sregs.fs),
        (0x50, sregs.gs),
        (0x70, sregs.ldt),
        (0x90, sregs.tr),
    ];
    for (at, segment) in segments {
        put(at, &segment.selector.to_le_bytes());
        put(at + 2, &attributes(&segment).to_le_bytes());
        put(at + 4, &segment.limit.to_le_bytes());
        put(at + 8, &segment.base.to_le_bytes());
    }
    for (at, table) in [(0x60, sregs.gdt), (0x80, sregs.idt)] {
        put(at + 4, &u32::from(table.limit).to_le_bytes());
        put(at + 8, &table.base.to_le_bytes());
    }
    let words = [
        (0xd0, sregs.efer | 1 << 12),
        (0x148, sregs.cr4 | 1 << 6),
        (0x150, sregs.cr3),
        (0x158, sregs.cr0),
        (0x160, 0x400),
        (0x168, 0xffff_0ff0),
        (0x170, regs.rflags),
        (0x178, regs.rip),
        (0x1d8, regs.rsp),
        (0x1f8, regs.rax),
        (0x240, sregs.cr2),
        (0x268, 0x0007_0406_0007_0406),
        (0x308, regs.rcx),
        (0x310, regs.rdx),
        (0x318, regs.rbx),
        (0x328, regs.rbp),
        (0x330, regs.rsi),
        (0x338, regs.rdi),
        (0x340, regs.r8),
        (0x348, regs.r9),
        (0x350, regs.r10),
        (0x358, regs.r11),
        (0x360, regs.r12),
        (0x368, regs.r13),
        (0x370, regs.r14),
        (0x378, regs.r15),
        (0x3b0, 1),
        (0x3e8, 1),
    ];
    words.into_iter().for_each(|(at, word): (usize, u64)| put(at, &word.to_le_bytes()));
    put(0x408, &0x1f80_u32.to_le_bytes());
    put(0x410, &0x37f_u16.to_le_bytes());
    page
}

/// As `svm_set_segment` of Linux has them.
fn attributes(segment: &kvm_segment) -> u16 {
    u16::from(segment.type_)
        | u16::from(segment.s) << 4
        | u16::from(segment.dpl) << 5
        | u16::from(segment.present) << 7
        | u16::from(segment.avl) << 8
        | u16::from(segment.l) << 9
        | u16::from(segment.db) << 10
        | u16::from(segment.g) << 11
}

/// The digest of all of it.
pub(crate) fn digest(run: &Run) -> LaunchDigest {
    let mut digest = LaunchDigest::of(&pages(run));
    save_areas(run).iter().for_each(|area| digest.add_vmsa(area));
    digest
}

#[test]
fn what_is_launched_has_the_predicted_digest() {
    let run = Run::with(&[]);
    assert_eq!(save_areas(&run).len(), 2);
    assert_eq!(digest(&run), Pod::default().layout().digest());
}

#[test]
fn it_has_it_too_when_kvm_does_a_page_at_a_time_or_asks_to_try_again() {
    let expected = Pod::default().layout().digest();
    for fault in ["partial", "again"] {
        let run = Run::with(&[("SNP_FAULT", fault)]);
        assert_eq!((run.ended.as_str(), digest(&run)), ("PowerOff", expected), "{fault}");
        assert!(run.firmware(101).len() > Run::with(&[]).firmware(101).len(), "{fault}");
    }
}
