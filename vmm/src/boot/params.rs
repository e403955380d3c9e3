//! The zero page: memory map, command line and initramfs for the kernel's 64-bit entry point
//! (Linux: Documentation/arch/x86/boot.rst and zero-page.rst). Written by `builder`.

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::initrd::Initrd;
use super::layout;
use crate::memory::GuestMemory;

const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;

/// `boot_flag` and `header` of a valid setup header.
const BOOT_FLAG: u16 = 0xaa55;
const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"HdrS");
/// Boot protocol 2.15, the one of Linux 6.
const PROTOCOL: u16 = 0x020f;
/// A boot loader without an assigned number.
const LOADER_UNDEFINED: u8 = 0xff;

/// Writes the zero page of a guest with the RAM `ranges`.
///
/// # Errors
/// Where guest memory ends before it.
pub(crate) fn write(
    memory: &GuestMemory,
    ranges: &[(u64, u64)],
    command_line: &str,
    initrd: Option<Initrd>,
) -> Result<(), GuestMemoryError> {
    memory.write_obj(compose(ranges, command_line, initrd), GuestAddress(layout::BOOT_PARAMS))
}

fn compose(ranges: &[(u64, u64)], command_line: &str, initrd: Option<Initrd>) -> boot_params {
    let mut params = boot_params::default();
    params.hdr.boot_flag = BOOT_FLAG;
    params.hdr.header = HEADER_MAGIC;
    params.hdr.version = PROTOCOL;
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    (params.hdr.cmd_line_ptr, params.ext_cmd_line_ptr) = halves(layout::CMDLINE);
    params.hdr.cmdline_size = halves(command_line.len() as u64).0;
    if let Some(initrd) = initrd {
        (params.hdr.ramdisk_image, params.ext_ramdisk_image) = halves(initrd.address);
        (params.hdr.ramdisk_size, params.ext_ramdisk_size) = halves(initrd.size);
    }
    let map = memory_map(ranges);
    for (entry, &(addr, size, kind)) in params.e820_table.iter_mut().zip(&map) {
        *entry = boot_e820_entry { addr, size, r#type: kind };
        params.e820_entries += 1;
    }
    params
}

/// The low and the high half of a 64-bit value, which the zero page keeps apart.
#[expect(clippy::cast_possible_truncation, reason = "taking halves is the point")]
fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// The e820 map: RAM, but for the MP table and the legacy area behind it.
fn memory_map(ranges: &[(u64, u64)]) -> Vec<(u64, u64, u32)> {
    let mut map = vec![
        (0, layout::MP_TABLE, E820_RAM),
        (layout::MP_TABLE, layout::HIGH_MEMORY - layout::MP_TABLE, E820_RESERVED),
    ];
    for &(start, size) in ranges {
        let first = start.max(layout::HIGH_MEMORY);
        map.push((first, start + size - first, E820_RAM));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{HOLE_END, HOLE_START, allocate, ranges};

    #[test]
    fn the_map_has_all_ram_and_no_hole() {
        let map = memory_map(&ranges(5 * 1024).unwrap());
        assert_eq!(
            map,
            [
                (0, 0x9_fc00, E820_RAM),
                (0x9_fc00, 0x10_0000 - 0x9_fc00, E820_RESERVED),
                (0x10_0000, HOLE_START - 0x10_0000, E820_RAM),
                (HOLE_END, 2 << 30, E820_RAM),
            ]
        );
    }

    #[test]
    fn fields_are_where_linux_looks() {
        let memory = allocate(64).unwrap();
        let initrd =
            Initrd { address: 0x3ff_f000, size: 21, placed: crate::memory::file_pages::Placed::default() };
        write(&memory, &ranges(64).unwrap(), "loglevel=1", Some(initrd)).unwrap();
        let word = |offset: u64| memory.read_obj::<u32>(GuestAddress(layout::BOOT_PARAMS + offset)).unwrap();
        assert_eq!(word(0x202), HEADER_MAGIC);
        assert_eq!(word(0x218), 0x3ff_f000);
        assert_eq!(word(0x21c), 21);
        assert_eq!(u64::from(word(0x228)), layout::CMDLINE);
        assert_eq!(word(0x238), 10);
        assert_eq!(word(0x1e8) & 0xff, 3);
        assert_eq!(word(0x2d0 + 2 * 20), 0x10_0000);
        assert_eq!(word(0x2d0 + 2 * 20 + 16), E820_RAM);
    }

    #[test]
    fn no_initramfs_is_no_ramdisk() {
        let params = compose(&ranges(64).unwrap(), "", None);
        assert_eq!({ params.hdr.ramdisk_size }, 0);
        assert_eq!({ params.hdr.ramdisk_image }, 0);
    }
}
