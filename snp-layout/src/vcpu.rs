//! Registers with which vCPUs start: what the launcher sets and reads back, and what is measured as the VMSA.

use snp_stub::map;

use crate::long_mode;
use crate::page::Contents;
use crate::vmsa;

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The selector.
    pub selector: u16,
    /// Bits 40 to 47 and 52 to 55 of a descriptor, side by side (AMD APM volume 2, section 4.7).
    pub attributes: u16,
    /// The limit in bytes, scaled.
    pub limit: u32,
    /// The base address.
    pub base: u64,
}

/// A vCPU's registers; those that are not here are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vcpu {
    /// CS.
    pub code: Segment,
    /// DS, ES, FS, GS and SS.
    pub data: Segment,
    /// TR.
    pub task: Segment,
    /// LDTR.
    pub local: Segment,
    /// GDTR.
    pub gdt: Segment,
    /// IDTR: empty, an exception ends the machine.
    pub idt: Segment,
    /// EFER as the guest sees it; the VMSA has SVME too, which KVM adds.
    pub efer: u64,
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4 as the guest sees it; the VMSA has MCE too, which KVM adds.
    pub cr4: u64,
    /// RIP.
    pub rip: u64,
    /// RSP.
    pub rsp: u64,
}

impl Vcpu {
    /// The first vCPU, at the stub's first instruction, or another one, which the stub parks: Linux gives it registers
    /// when it starts it.
    #[must_use]
    pub fn new(index: u8) -> Self {
        let (rip, rsp) = if index == 0 {
            (map::STUB, map::STACK + map::STACK_SIZE)
        } else {
            (map::STUB + map::PARK_OFFSET, 0)
        };
        let table = |base, limit| Segment { selector: 0, attributes: 0, limit, base };
        Self {
            code: Segment { selector: 0x10, attributes: 0xa9b, limit: u32::MAX, base: 0 },
            data: Segment { selector: 0x18, attributes: 0xc93, limit: u32::MAX, base: 0 },
            task: Segment { selector: 0x20, attributes: 0x8b, limit: 0x67, base: 0 },
            local: Segment { selector: 0, attributes: 0x82, limit: 0xffff, base: 0 },
            gdt: table(map::GDT, long_mode::GDT_LIMIT),
            idt: table(0, 0),
            // Long mode, enabled and active.
            efer: 1 << 8 | 1 << 10,
            // Protected mode, extension type, paging.
            cr0: 1 | 1 << 4 | 1 << 31,
            cr3: map::PAGE_TABLES,
            // Physical address extension.
            cr4: 1 << 5,
            rip,
            rsp,
        }
    }

    /// The page that KVM makes of it and the firmware measures.
    #[must_use]
    pub fn vmsa(&self) -> Box<Contents> {
        vmsa::encode(self)
    }
}
