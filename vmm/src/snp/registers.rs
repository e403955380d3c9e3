//! A vCPU's registers as the layout has them: set, and read back before they are measured.

use kvm_bindings::{Msrs, kvm_dtable, kvm_msr_entry, kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;
use snp_layout::Vcpu;
use snp_layout::vcpu::Segment;

/// EFER.SVME and CR4.MCE, which KVM adds in the save area.
const SVME: u64 = 1 << 12;
const MCE: u64 = 1 << 6;
/// IA32_PAT.
const PAT: u32 = 0x277;
/// Words of an XSAVE area (AMD APM volume 2, section 11.5.2).
const XSAVE_FCW: usize = 0;
const XSAVE_MXCSR: usize = 6;

/// A register that is not as it was predicted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) register: &'static str,
    pub(super) found: u64,
    pub(super) expected: u64,
}

/// Sets all general and special registers.
pub(super) fn set(fd: &VcpuFd, wanted: &Vcpu) -> Result<(), kvm_ioctls::Error> {
    let mut sregs = fd.get_sregs()?;
    sregs.cs = segment(wanted.code);
    for register in [&mut sregs.ds, &mut sregs.es, &mut sregs.fs, &mut sregs.gs, &mut sregs.ss] {
        *register = segment(wanted.data);
    }
    (sregs.tr, sregs.ldt) = (segment(wanted.task), segment(wanted.local));
    (sregs.gdt, sregs.idt) = (table(wanted.gdt), table(wanted.idt));
    (sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4) = (wanted.cr0, 0, wanted.cr3, wanted.cr4);
    (sregs.cr8, sregs.efer) = (0, wanted.efer);
    fd.set_sregs(&sregs)?;
    // RDX too, which has the processor's model after a reset.
    fd.set_regs(&kvm_regs { rip: wanted.rip, rsp: wanted.rsp, rflags: 2, ..Default::default() })
}

/// The first register in which KVM's state differs from the save area that is predicted.
pub(super) fn mismatch(fd: &VcpuFd, wanted: &Vcpu) -> Result<Option<Mismatch>, kvm_ioctls::Error> {
    let page = wanted.vmsa();
    let found = read(fd)?;
    Ok(found.into_iter().find_map(|Register { name, offset, size, value }| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&page[offset..offset + size]);
        let expected = u64::from_le_bytes(bytes);
        (value != expected).then_some(Mismatch { register: name, found: value, expected })
    }))
}

/// A register with its place in the save area (AMD APM volume 2, table B-4).
struct Register {
    name: &'static str,
    offset: usize,
    /// Bytes.
    size: usize,
    value: u64,
}

fn read(fd: &VcpuFd) -> Result<Vec<Register>, kvm_ioctls::Error> {
    let (regs, sregs, debug) = (fd.get_regs()?, fd.get_sregs()?, fd.get_debug_regs()?);
    // KVM_GET_FPU has no MXCSR.
    let xsave = fd.get_xsave()?.region;
    let xcr0 = fd.get_xcrs()?.xcrs[0].value;
    let mut found = Vec::with_capacity(96);
    let segments = [
        (0x00, sregs.es, ["ES", "ES attributes", "ES limit", "ES base"]),
        (0x10, sregs.cs, ["CS", "CS attributes", "CS limit", "CS base"]),
        (0x20, sregs.ss, ["SS", "SS attributes", "SS limit", "SS base"]),
        (0x30, sregs.ds, ["DS", "DS attributes", "DS limit", "DS base"]),
        (0x40, sregs.fs, ["FS", "FS attributes", "FS limit", "FS base"]),
        (0x50, sregs.gs, ["GS", "GS attributes", "GS limit", "GS base"]),
        (0x70, sregs.ldt, ["LDTR", "LDTR attributes", "LDTR limit", "LDTR base"]),
        (0x90, sregs.tr, ["TR", "TR attributes", "TR limit", "TR base"]),
    ];
    for (offset, segment, [selector, attribute, limit, base]) in segments {
        let mut add = |name, at: usize, size, value| {
            found.push(Register { name, offset: offset + at, size, value });
        };
        add(selector, 0, 2, u64::from(segment.selector));
        add(attribute, 2, 2, u64::from(attributes(&segment)));
        add(limit, 4, 4, u64::from(segment.limit));
        add(base, 8, 8, segment.base);
    }
    let mut add = |name, offset, size, value| found.push(Register { name, offset, size, value });
    add("GDTR limit", 0x64, 4, u64::from(sregs.gdt.limit));
    add("GDTR base", 0x68, 8, sregs.gdt.base);
    add("IDTR limit", 0x84, 4, u64::from(sregs.idt.limit));
    add("IDTR base", 0x88, 8, sregs.idt.base);
    let words = [
        ("EFER", 0xd0, sregs.efer | SVME),
        ("CR4", 0x148, sregs.cr4 | MCE),
        ("CR3", 0x150, sregs.cr3),
        ("CR0", 0x158, sregs.cr0),
        ("DR7", 0x160, debug.dr7),
        ("DR6", 0x168, debug.dr6),
        ("RFLAGS", 0x170, regs.rflags),
        ("RIP", 0x178, regs.rip),
        ("RSP", 0x1d8, regs.rsp),
        ("RAX", 0x1f8, regs.rax),
        ("CR2", 0x240, sregs.cr2),
        ("PAT", 0x268, pat(fd)?),
        ("RCX", 0x308, regs.rcx),
        ("RDX", 0x310, regs.rdx),
        ("RBX", 0x318, regs.rbx),
        ("RBP", 0x328, regs.rbp),
        ("RSI", 0x330, regs.rsi),
        ("RDI", 0x338, regs.rdi),
        ("R8", 0x340, regs.r8),
        ("R9", 0x348, regs.r9),
        ("R10", 0x350, regs.r10),
        ("R11", 0x358, regs.r11),
        ("R12", 0x360, regs.r12),
        ("R13", 0x368, regs.r13),
        ("R14", 0x370, regs.r14),
        ("R15", 0x378, regs.r15),
        ("XCR0", 0x3e8, xcr0),
    ];
    words.into_iter().for_each(|(name, offset, value)| add(name, offset, 8, value));
    add("MXCSR", 0x408, 4, u64::from(xsave[XSAVE_MXCSR]));
    add("FCW", 0x410, 2, u64::from(xsave[XSAVE_FCW] & 0xffff));
    Ok(found)
}

fn pat(fd: &VcpuFd) -> Result<u64, kvm_ioctls::Error> {
    let failed = |_| kvm_ioctls::Error::new(libc::ENOMEM);
    let entry = kvm_msr_entry { index: PAT, ..Default::default() };
    let mut msrs = Msrs::from_entries(&[entry]).map_err(failed)?;
    match fd.get_msrs(&mut msrs)? {
        1 => Ok(msrs.as_slice()[0].data),
        _ => Err(kvm_ioctls::Error::new(libc::ENXIO)),
    }
}

/// KVM's form of a segment register, from the twelve bits of a save area.
fn segment(segment: Segment) -> kvm_segment {
    let bit = |number: u32| u8::from(segment.attributes >> number & 1 == 1);
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: bit(0) | bit(1) << 1 | bit(2) << 2 | bit(3) << 3,
        s: bit(4),
        dpl: bit(5) | bit(6) << 1,
        present: bit(7),
        avl: bit(8),
        l: bit(9),
        db: bit(10),
        g: bit(11),
        ..Default::default()
    }
}

fn attributes(segment: &kvm_segment) -> u16 {
    let bits = [
        (segment.type_ & 0xf, 0),
        (segment.s & 1, 4),
        (segment.dpl & 3, 5),
        (segment.present & 1, 7),
        (segment.avl & 1, 8),
        (segment.l & 1, 9),
        (segment.db & 1, 10),
        (segment.g & 1, 11),
    ];
    bits.into_iter().fold(0, |all, (bits, at)| all | u16::from(bits) << at)
}

fn table(table: Segment) -> kvm_dtable {
    kvm_dtable {
        base: table.base,
        limit: u16::try_from(table.limit).unwrap_or(u16::MAX),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_come_back_as_they_went() {
        let vcpu = Vcpu::new(0);
        for wanted in [vcpu.code, vcpu.data, vcpu.task, vcpu.local] {
            let found = segment(wanted);
            assert_eq!(attributes(&found), wanted.attributes);
            assert_eq!(
                (found.selector, found.limit, found.base),
                (wanted.selector, wanted.limit, wanted.base)
            );
        }
    }
}
