//! What the first vCPU's registers point to: page tables that map all addresses to themselves, and a GDT.

use snp_stub::map;

/// Null, null, 64-bit code, flat data, an (empty) task segment of two words: the boot protocol's selectors.
const GDT: [u64; 6] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x0000_8b00_0000_0067, 0];
/// Bytes of the GDT less one.
pub(crate) const GDT_LIMIT: u32 = 6 * 8 - 1;

const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;
const TABLE: u64 = 4096;

pub(crate) fn gdt() -> Vec<u8> {
    GDT.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}

/// The page tables: [`map::MAPPED_END`] bytes, the first 4 GiB in pages of 2 MiB, the rest in pages of 1 GiB. All is
/// private (`c_bit` set, where there is one) but what the host shares: staged files and devices, from 3 GiB to 4 GiB.
/// Tables themselves the processor always reads as private.
pub(crate) fn page_tables(c_bit: u32) -> Vec<u8> {
    let private = if c_bit == 0 { 0 } else { 1 << c_bit };
    let table = |index: u64| (map::PAGE_TABLES + index * TABLE) | PRESENT_WRITABLE | private;
    let mut entries = vec![0_u64; 7 * 512];
    (entries[0], entries[1]) = (table(1), table(2));
    for (number, entry) in (0_u64..).zip(&mut entries[512..3 * 512]) {
        *entry =
            if number < 4 { table(3 + number) } else { number << 30 | LARGE | PRESENT_WRITABLE | private };
    }
    for (number, entry) in (0_u64..).zip(&mut entries[3 * 512..]) {
        let shared = (map::STAGING..map::RAM_ABOVE).contains(&(number << 21));
        *entry = number << 21 | LARGE | PRESENT_WRITABLE | if shared { 0 } else { private };
    }
    entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where an address leads, and whether it is private.
    fn walk(tables: &[u8], address: u64, c_bit: u32) -> (u64, bool) {
        let entry = |table: u64, index: u64| {
            let at = usize::try_from(table - map::PAGE_TABLES + index * 8).unwrap();
            u64::from_le_bytes(tables[at..at + 8].try_into().unwrap())
        };
        let frame = |entry: u64| entry & 0x0007_ffff_ffff_f000;
        let mut table = map::PAGE_TABLES;
        for shift in [39, 30, 21] {
            let found = entry(table, address >> shift & 511);
            assert_eq!(found & PRESENT_WRITABLE, PRESENT_WRITABLE, "{address:#x}");
            if found & LARGE != 0 {
                let offset = address & ((1 << shift) - 1);
                return (frame(found) + offset, c_bit != 0 && found >> c_bit & 1 == 1);
            }
            table = frame(found);
        }
        panic!("no large page at {address:#x}");
    }

    #[test]
    fn addresses_lead_to_themselves_and_only_what_is_shared_is_not_private() {
        for c_bit in [0, 51] {
            let tables = page_tables(c_bit);
            assert_eq!(tables.len(), 7 * 4096);
            for address in [0, map::STUB, (3 << 30) - 1, map::RAM_ABOVE, 511 << 30, (1 << 40) - 1] {
                assert_eq!(walk(&tables, address, c_bit), (address, c_bit != 0), "{address:#x}");
            }
            for address in [map::STAGING, 0xd000_0000, map::RAM_ABOVE - 1] {
                assert_eq!(walk(&tables, address, c_bit), (address, false), "{address:#x}");
            }
        }
        assert_eq!(page_tables(51)[16..4096], [0; 4080]);
    }
}
