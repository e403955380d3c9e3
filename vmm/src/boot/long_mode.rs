//! The first vCPU's state at the kernel's 64-bit entry point: long mode, flat segments, the first GiB mapped to
//! itself (Linux: Documentation/arch/x86/boot.rst, "64-bit Boot Protocol").
//!
//! The other vCPUs wait for their start-up interrupt and need none of it. Called by `builder`.

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::layout;
use crate::memory::GuestMemory;

/// Selectors that the boot protocol names `__BOOT_CS` and `__BOOT_DS`, and one for the task segment.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TASK_SELECTOR: u16 = 0x20;

/// Null, null, 64-bit code, flat data, an (empty) task segment of two words.
const GDT: [u64; 6] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x0000_8b00_0000_0067, 0];

/// Bytes of the GDT less one.
const GDT_LIMIT: u16 = 6 * 8 - 1;

/// CR0: protected mode, extension type, numeric errors, paging; caches on.
const CR0: u64 = 1 | 1 << 4 | 1 << 5 | 1 << 31;
/// CR4: physical address extension.
const CR4: u64 = 1 << 5;
/// EFER: long mode enabled and active.
const EFER: u64 = 1 << 8 | 1 << 10;

const PAGE: u64 = 4096;
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;

/// Writes the page tables and the GDT.
///
/// # Errors
/// Where guest memory ends before them.
pub(crate) fn write_tables(memory: &GuestMemory) -> Result<(), GuestMemoryError> {
    let (pdpt, directory) = (layout::PAGE_TABLES + PAGE, layout::PAGE_TABLES + 2 * PAGE);
    memory.write_obj(pdpt | PRESENT_WRITABLE, GuestAddress(layout::PAGE_TABLES))?;
    memory.write_obj(directory | PRESENT_WRITABLE, GuestAddress(pdpt))?;
    let pages: Vec<u8> =
        (0..512_u64).flat_map(|n| (n << 21 | LARGE | PRESENT_WRITABLE).to_le_bytes()).collect();
    memory.write_slice(&pages, GuestAddress(directory))?;
    memory.write_obj(GDT, GuestAddress(layout::GDT))
}

/// Changes a fresh vCPU's special registers to long mode.
pub(crate) fn set_special_registers(sregs: &mut kvm_sregs) {
    sregs.cs = segment(CODE_SELECTOR);
    for register in [&mut sregs.ds, &mut sregs.es, &mut sregs.fs, &mut sregs.gs, &mut sregs.ss] {
        *register = segment(DATA_SELECTOR);
    }
    sregs.tr = segment(TASK_SELECTOR);
    sregs.gdt.base = layout::GDT;
    sregs.gdt.limit = GDT_LIMIT;
    sregs.idt.limit = 0;
    sregs.cr0 = CR0;
    sregs.cr3 = layout::PAGE_TABLES;
    sregs.cr4 = CR4;
    sregs.efer = EFER;
}

/// The general registers at `entry`: RSI points to the boot parameters.
pub(crate) fn registers(entry: u64) -> kvm_regs {
    kvm_regs {
        rip: entry,
        rsi: layout::BOOT_PARAMS,
        rsp: layout::STACK_TOP,
        rbp: layout::STACK_TOP,
        // Bit 1 is always set; interrupts are off.
        rflags: 2,
        ..Default::default()
    }
}

/// The hidden part of a segment register as the GDT's descriptor says it (Intel SDM volume 3, section 3.4.5).
fn segment(selector: u16) -> kvm_segment {
    let descriptor = GDT[usize::from(selector / 8)];
    let bits = |first: u32, count: u32| (descriptor >> first) & ((1 << count) - 1);
    let flag = |bit: u32| u8::from(bits(bit, 1) == 1);
    let limit = bits(0, 16) | bits(48, 4) << 16;
    let scaled = if flag(55) == 1 { limit << 12 | 0xfff } else { limit };
    kvm_segment {
        base: bits(16, 24) | bits(56, 8) << 24,
        limit: u32::try_from(scaled).unwrap_or(u32::MAX),
        selector,
        type_: u8::try_from(bits(40, 4)).unwrap_or(0),
        present: flag(47),
        dpl: u8::try_from(bits(45, 2)).unwrap_or(0),
        db: flag(54),
        s: flag(44),
        l: flag(53),
        g: flag(55),
        avl: flag(52),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::allocate;

    #[test]
    fn segments_are_flat_64_bit_ones() {
        let code = segment(CODE_SELECTOR);
        assert_eq!((code.base, code.limit, code.type_, code.l, code.db, code.s), (0, u32::MAX, 0xb, 1, 0, 1));
        let data = segment(DATA_SELECTOR);
        assert_eq!((data.base, data.limit, data.type_, data.l, data.db, data.s), (0, u32::MAX, 3, 0, 1, 1));
        let task = segment(TASK_SELECTOR);
        assert_eq!((task.limit, task.type_, task.s, task.present), (0x67, 0xb, 0, 1));
    }

    #[test]
    fn a_walk_of_the_page_tables_ends_where_it_started() {
        let memory = allocate(64).unwrap();
        write_tables(&memory).unwrap();
        let entry = |table: u64, index: u64| memory.read_obj::<u64>(GuestAddress(table + index * 8)).unwrap();
        for address in [0_u64, 0x100_0000, (1 << 30) - 1] {
            let pdpt = entry(layout::PAGE_TABLES, address >> 39) & !0xfff;
            let directory = entry(pdpt, address >> 30 & 511) & !0xfff;
            let page = entry(directory, address >> 21 & 511);
            assert_eq!(page & 0xfff, LARGE | PRESENT_WRITABLE);
            assert_eq!(page & !0xfff, address & !0x1f_ffff);
        }
        assert_eq!(entry(layout::PAGE_TABLES, 1), 0);
    }
}
