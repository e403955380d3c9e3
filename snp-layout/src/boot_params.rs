//! The zero page (Linux: Documentation/arch/x86/zero-page.rst): the kernel's own setup header, memory map, command line,
//! initramfs, ACPI tables and what tells it of SNP.

use snp_stub::hash_page::Range;
use snp_stub::map;

use crate::bzimage::{BzImage, HEADER};
use crate::page::Contents;

const ACPI_RSDP: usize = 0x70;
const EXT_RAMDISK_IMAGE: usize = 0xc0;
const E820_ENTRIES: usize = 0x1e8;
const TYPE_OF_LOADER: usize = 0x210;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const CMD_LINE_PTR: usize = 0x228;
const SETUP_DATA: usize = 0x250;
const E820_TABLE: usize = 0x2d0;
const E820_ENTRY: usize = 20;

/// A boot loader without an assigned number.
const LOADER_UNDEFINED: u8 = 0xff;

const RAM: u32 = 1;
const RESERVED: u32 = 2;
/// Tables: Linux maps these encrypted, which it does not with what is merely reserved.
const ACPI: u32 = 3;

/// The page of a guest with that RAM; the initramfs is below 4 GiB. `snp`: whether it is told that it is an SNP guest.
pub(crate) fn page(kernel: &BzImage, ram: &[Range], initrd: Range, snp: bool) -> Contents {
    let mut page = [0; 4096];
    put(&mut page, HEADER, &kernel.header);
    put(&mut page, ACPI_RSDP, &map::ACPI.to_le_bytes());
    put(&mut page, TYPE_OF_LOADER, &[LOADER_UNDEFINED]);
    put(&mut page, RAMDISK_IMAGE, &low(initrd.start));
    put(&mut page, RAMDISK_SIZE, &low(initrd.end - initrd.start));
    put(&mut page, EXT_RAMDISK_IMAGE, &[0; 12]);
    put(&mut page, CMD_LINE_PTR, &low(map::COMMAND_LINE));
    let setup_data = if snp { map::CC_BLOB } else { 0 };
    put(&mut page, SETUP_DATA, &setup_data.to_le_bytes());
    let map = memory_map(ram);
    put(&mut page, E820_ENTRIES, &[u8::try_from(map.len()).unwrap_or_default()]);
    for (index, (range, kind)) in map.iter().enumerate() {
        let at = E820_TABLE + index * E820_ENTRY;
        put(&mut page, at, &range.start.to_le_bytes());
        put(&mut page, at + 8, &(range.end - range.start).to_le_bytes());
        put(&mut page, at + 16, &kind.to_le_bytes());
    }
    page
}

/// All RAM, and below 1 MiB what the launch has put there.
fn memory_map(ram: &[Range]) -> Vec<(Range, u32)> {
    let low = [
        (0, map::STUB, RAM),
        (map::STUB, map::ACPI, RESERVED),
        (map::ACPI, map::ACPI + map::ACPI_SIZE, ACPI),
        (map::ACPI + map::ACPI_SIZE, map::LAUNCHED_END, RESERVED),
        (map::LAUNCHED_END, map::BASE_MEMORY_END, RAM),
        (map::BASE_MEMORY_END, map::HIGH_MEMORY, RESERVED),
    ];
    let low = low.map(|(start, end, kind)| (Range { start, end }, kind));
    low.into_iter()
        .chain(ram.iter().filter(|range| range.start >= map::HIGH_MEMORY).map(|range| (*range, RAM)))
        .collect()
}

fn low(address: u64) -> [u8; 4] {
    u32::try_from(address).unwrap_or_default().to_le_bytes()
}

fn put(page: &mut Contents, at: usize, bytes: &[u8]) {
    page[at..at + bytes.len()].copy_from_slice(bytes);
}
