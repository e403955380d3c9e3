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
/// Tables: Linux maps these encrypted wherever it looks at them. What is merely reserved it maps as shared memory (Linux:
/// `__ioremap_check_encrypted`), which would make the host throw the page away.
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
        (map::STUB, map::CC_BLOB, RESERVED),
        (map::CC_BLOB, map::ACPI + map::ACPI_SIZE, ACPI),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel() -> BzImage {
        BzImage { header: vec![0x77; 0x7b], setup_size: 0x4000, address: 16 << 20, init_size: 1 << 20 }
    }

    fn boot_params(ram: &[Range], snp: bool) -> Contents {
        page(&kernel(), ram, Range { start: 0x3fe_0000, end: 0x3fe_1234 }, snp)
    }

    #[test]
    fn fields_are_where_linux_looks() {
        let page = boot_params(&[Range { start: map::HIGH_MEMORY, end: 64 << 20 }], true);
        let word = |at: usize| u64::from(u32::from_le_bytes(page[at..at + 4].try_into().unwrap()));
        assert_eq!([word(0x218), word(0x21c), word(0x228)], [0x3fe_0000, 0x1234, map::COMMAND_LINE]);
        assert_eq!([word(0xc0), word(0xc4), word(0xc8)], [0; 3]);
        assert_eq!([word(0x70), word(0x250)], [map::ACPI, map::CC_BLOB]);
        assert_eq!((page[0x210], page[0x1f1], page[0x1f1 + 0x7a], page[0x26c]), (0xff, 0x77, 0x77, 0));
        let plain = boot_params(&[], false);
        assert_eq!(plain[0x250..0x258], [0; 8]);
    }

    /// Tables are not merely reserved, and secrets, which Linux maps encrypted by itself, are no RAM.
    #[test]
    fn the_memory_map_is_whole_and_says_what_linux_has_to_know() {
        let ram = [
            Range { start: map::HIGH_MEMORY, end: map::STAGING },
            Range { start: map::RAM_ABOVE, end: map::RAM_ABOVE + (1 << 30) },
        ];
        let page = boot_params(&ram, true);
        let entries: Vec<_> = page[E820_TABLE..]
            .chunks_exact(E820_ENTRY)
            .take(usize::from(page[E820_ENTRIES]))
            .map(|entry| {
                let number = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap());
                (number(0), number(0) + number(8), entry[16])
            })
            .collect();
        assert_eq!(entries.len(), 8);
        assert!(entries[..7].windows(2).all(|pair| pair[0].1 == pair[1].0));
        let kind = |address: u64| {
            entries.iter().find(|entry| entry.0 <= address && address < entry.1).map(|entry| entry.2)
        };
        for page in [map::CC_BLOB, map::ACPI, map::ACPI + map::ACPI_SIZE - 1] {
            assert_eq!(kind(page), Some(3), "{page:#x}");
        }
        for page in
            [map::STUB, map::HASH_PAGE, map::BOOT_PARAMS, map::SECRETS, map::CPUID, map::BASE_MEMORY_END]
        {
            assert_eq!(kind(page), Some(2), "{page:#x}");
        }
        for page in [0, map::STUB - 1, map::LAUNCHED_END, map::HIGH_MEMORY, map::STAGING - 1, map::RAM_ABOVE]
        {
            assert_eq!(kind(page), Some(1), "{page:#x}");
        }
        assert_eq!((kind(map::STAGING), kind(map::RAM_ABOVE - 1)), (None, None));
    }
}
