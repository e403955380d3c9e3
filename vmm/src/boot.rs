//! What Linux finds in memory when it starts: kernel, initramfs, command line, boot parameters, MP table, page
//! tables. One file each; `builder` calls them in this order.
//!
//! Addresses below 1 MiB follow the usual x86 layout; Linux keeps all of the first MiB to itself.

pub mod cmdline;
pub mod elf;
pub mod initrd;
pub mod kernel;
pub(crate) mod long_mode;
pub(crate) mod mp_table;
pub(crate) mod params;

/// Where boot structures lie, in guest physical addresses.
pub(crate) mod layout {
    /// Global descriptor table of the first vCPU.
    pub(crate) const GDT: u64 = 0x500;
    /// `struct boot_params`, 4 KiB (Linux: Documentation/arch/x86/zero-page.rst).
    pub(crate) const BOOT_PARAMS: u64 = 0x7000;
    /// Top of the first vCPU's stack.
    pub(crate) const STACK_TOP: u64 = 0x8ff0;
    /// Page tables: PML4, then PDPT, then one page directory.
    pub(crate) const PAGE_TABLES: u64 = 0x9000;
    /// The kernel command line.
    pub(crate) const CMDLINE: u64 = 0x2_0000;
    /// End of base memory; the last KiB below 640 KiB holds the MP table.
    pub(crate) const MP_TABLE: u64 = 0x9_fc00;
    /// Bytes for the MP table.
    pub(crate) const MP_TABLE_SIZE: usize = 0x400;
    /// Where the kernel may start: RAM above the first MiB.
    pub(crate) const HIGH_MEMORY: u64 = 0x10_0000;
}
