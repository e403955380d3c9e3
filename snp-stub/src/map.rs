//! Guest physical addresses of an SNP guest before Linux runs (docs/snp.md, "Memory map").

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// The BIOS data area: a page of zeros, in which Linux finds nothing.
pub const BIOS_DATA: u64 = 0;
/// The stub, a flat image that starts at its first byte.
pub const STUB: u64 = 0x1_0000;
/// The most bytes of the stub.
pub const STUB_MAX: u64 = 0x1_0000;
/// Where a vCPU other than the first is parked, in bytes from [`STUB`]: Linux starts it with registers of its own.
pub const PARK_OFFSET: u64 = 0x10;
/// The stub's stack.
pub const STACK: u64 = 0x2_0000;
/// Bytes of the stack.
pub const STACK_SIZE: u64 = 0x4000;
/// Page tables: PML4, two PDPTs, four page directories.
pub const PAGE_TABLES: u64 = 0x2_4000;
/// Global descriptor table.
pub const GDT: u64 = 0x2_b000;
/// [`crate::HashPage`].
pub const HASH_PAGE: u64 = 0x2_c000;
/// `struct boot_params`.
pub const BOOT_PARAMS: u64 = 0x2_d000;
/// The kernel's command line.
pub const COMMAND_LINE: u64 = 0x2_e000;
/// `setup_data` of type 7 and what it points to, `cc_blob_sev_info`.
pub const CC_BLOB: u64 = 0x2_f000;
/// ACPI tables.
pub const ACPI: u64 = 0x3_0000;
/// Bytes for ACPI tables.
pub const ACPI_SIZE: u64 = 0x4000;
/// Header and end of the archive with launch.json.
pub const ARCHIVE: u64 = 0x3_4000;
/// What the processor's firmware tells the guest: keys for messages to it.
pub const SECRETS: u64 = 0x3_5000;
/// CPUID as the processor's firmware has checked it.
pub const CPUID: u64 = 0x3_6000;
/// Pages of the launch lie from [`STUB`] up to here.
pub const LAUNCHED_END: u64 = 0x4_0000;
/// End of base memory; from here to [`HIGH_MEMORY`] a PC has ROMs.
pub const BASE_MEMORY_END: u64 = 0xa_0000;
/// RAM above the first MiB.
pub const HIGH_MEMORY: u64 = 0x10_0000;
/// End of RAM below 4 GiB at most, and where the host stages files: shared memory that is no RAM of Linux.
pub const STAGING: u64 = 3 << 30;
/// The most bytes that are staged; devices begin behind them.
pub const STAGING_SIZE: u64 = 256 << 20;
/// Where RAM goes on.
pub const RAM_ABOVE: u64 = 4 << 30;
/// End of what the page tables map.
pub const MAPPED_END: u64 = 1 << 40;
