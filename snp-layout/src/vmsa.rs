//! The save area of a vCPU (AMD APM volume 2, table B-4) as KVM fills it for an SNP guest before its first run.

use crate::page::Contents;
use crate::vcpu::{Segment, Vcpu};

/// EFER.SVME and CR4.MCE, which KVM sets in every guest's save area.
const SVME: u64 = 1 << 12;
const MCE: u64 = 1 << 6;

/// Registers that KVM leaves as they are after a reset.
const DR6: u64 = 0xffff_0ff0;
const DR7: u64 = 0x400;
const RFLAGS: u64 = 2;
const PAT: u64 = 0x0007_0406_0007_0406;
/// SEV_FEATURES: SNP is active. KVM sets it.
const SNP_ACTIVE: u64 = 1;
const XCR0: u64 = 1;
const MXCSR: u32 = 0x1f80;
const FCW: u16 = 0x37f;

/// The save area's page.
pub(crate) fn encode(vcpu: &Vcpu) -> Box<Contents> {
    let mut page = Box::new([0; 4096]);
    let segments = [
        (0x00, vcpu.data),
        (0x10, vcpu.code),
        (0x20, vcpu.data),
        (0x30, vcpu.data),
        (0x40, vcpu.data),
        (0x50, vcpu.data),
        (0x60, vcpu.gdt),
        (0x70, vcpu.local),
        (0x80, vcpu.idt),
        (0x90, vcpu.task),
    ];
    for (offset, segment) in segments {
        put(&mut page, offset, &segment_bytes(segment));
    }
    let words = [
        (0xd0, vcpu.efer | SVME),
        (0x148, vcpu.cr4 | MCE),
        (0x150, vcpu.cr3),
        (0x158, vcpu.cr0),
        (0x160, DR7),
        (0x168, DR6),
        (0x170, RFLAGS),
        (0x178, vcpu.rip),
        (0x1d8, vcpu.rsp),
        (0x268, PAT),
        (0x3b0, SNP_ACTIVE),
        (0x3e8, XCR0),
    ];
    for (offset, word) in words {
        put(&mut page, offset, &word.to_le_bytes());
    }
    put(&mut page, 0x408, &MXCSR.to_le_bytes());
    put(&mut page, 0x410, &FCW.to_le_bytes());
    page
}

fn segment_bytes(segment: Segment) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&segment.selector.to_le_bytes());
    bytes[2..4].copy_from_slice(&segment.attributes.to_le_bytes());
    bytes[4..8].copy_from_slice(&segment.limit.to_le_bytes());
    bytes[8..].copy_from_slice(&segment.base.to_le_bytes());
    bytes
}

fn put(page: &mut Contents, offset: usize, bytes: &[u8]) {
    page[offset..offset + bytes.len()].copy_from_slice(bytes);
}
