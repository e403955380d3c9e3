//! The MP table, by which a kernel without ACPI finds its CPUs and the I/O APIC (Intel MultiProcessor
//! Specification 1.4, chapter 4). Written by `builder` to the last KiB of base memory.

use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::layout;
use crate::memory::GuestMemory;

/// Guest physical address of the local APICs.
const LOCAL_APIC: u32 = 0xfee0_0000;
/// Guest physical address of KVM's I/O APIC.
const IO_APIC: u32 = 0xfec0_0000;
/// Pins of KVM's I/O APIC.
const IO_APIC_PINS: u8 = 24;
/// Version registers of the two, as KVM presents them.
const LOCAL_APIC_VERSION: u8 = 0x14;
const IO_APIC_VERSION: u8 = 0x11;
/// Revision 1.4 of the specification.
const REVISION: u8 = 4;

const FLOATING_POINTER_SIZE: usize = 16;
const HEADER_SIZE: usize = 44;
const HEADER_LENGTH_OFFSET: usize = 4;
const HEADER_CHECKSUM_OFFSET: usize = 7;
const HEADER_COUNT_OFFSET: usize = 34;

/// What the table says of each CPU: CPUID leaf 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuIdentity {
    /// EAX: family, model, stepping.
    pub(crate) signature: u32,
    /// EDX: feature flags.
    pub(crate) features: u32,
}

/// Writes the table of a machine with `vcpus` CPUs, whose local APIC ids are 0 up.
///
/// # Errors
/// Where guest memory ends before it.
pub(crate) fn write(memory: &GuestMemory, vcpus: u8, identity: CpuIdentity) -> Result<(), GuestMemoryError> {
    memory.write_slice(&compose(vcpus, identity), GuestAddress(layout::MP_TABLE))
}

fn compose(vcpus: u8, identity: CpuIdentity) -> Vec<u8> {
    let mut bytes = floating_pointer();
    bytes.extend(configuration(vcpus, identity));
    debug_assert!(bytes.len() <= layout::MP_TABLE_SIZE);
    bytes
}

/// Section 4.1: where the configuration table is, found by its signature.
fn floating_pointer() -> Vec<u8> {
    let mut bytes = b"_MP_".to_vec();
    bytes.extend(low_address(layout::MP_TABLE + FLOATING_POINTER_SIZE as u64).to_le_bytes());
    // Length in 16-byte paragraphs, revision, checksum, five feature bytes: virtual wire mode.
    bytes.extend([1, REVISION, 0, 0, 0, 0, 0, 0]);
    set_checksum(&mut bytes, 10);
    bytes
}

/// Sections 4.2 and 4.3: header and entries.
fn configuration(vcpus: u8, identity: CpuIdentity) -> Vec<u8> {
    let io_apic_id = vcpus;
    let mut entries: Vec<Vec<u8>> = (0..vcpus).map(|id| cpu(id, identity)).collect();
    entries.push(b"\x01\x00ISA   ".to_vec());
    entries.push([&[2, io_apic_id, IO_APIC_VERSION, 1][..], &IO_APIC.to_le_bytes()].concat());
    // Each pin is an ISA line: edge triggered, active high, as irqfd delivers.
    entries.extend((0..IO_APIC_PINS).map(|pin| vec![3, 0, 0, 0, 0, pin, io_apic_id, pin]));
    // LINT0 of the first CPU takes the PIC's interrupts, LINT1 of all the NMI.
    entries.push(vec![4, 3, 0, 0, 0, 0, 0, 0]);
    entries.push(vec![4, 1, 0, 0, 0, 0, 0xff, 1]);

    let mut table = header(entries.len());
    table.extend(entries.concat());
    let length = u16::try_from(table.len()).unwrap_or(u16::MAX);
    table[HEADER_LENGTH_OFFSET..HEADER_LENGTH_OFFSET + 2].copy_from_slice(&length.to_le_bytes());
    set_checksum(&mut table, HEADER_CHECKSUM_OFFSET);
    table
}

fn header(entry_count: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_SIZE);
    header.extend(b"PCMP\0\0");
    header.extend([REVISION, 0]);
    header.extend(b"KCRADLE VMM         ");
    // OEM table: none.
    header.extend([0; 6]);
    header.extend(u16::try_from(entry_count).unwrap_or(u16::MAX).to_le_bytes());
    header.extend(LOCAL_APIC.to_le_bytes());
    // Extended table: none.
    header.extend([0; 4]);
    debug_assert_eq!(header.len(), HEADER_SIZE);
    debug_assert_eq!(usize::from(header[HEADER_COUNT_OFFSET]), entry_count);
    header
}

/// Section 4.3.1. Bit 0 of the flags: usable; bit 1: the one that boots.
fn cpu(id: u8, identity: CpuIdentity) -> Vec<u8> {
    let flags = if id == 0 { 3 } else { 1 };
    let mut entry = vec![0, id, LOCAL_APIC_VERSION, flags];
    entry.extend(identity.signature.to_le_bytes());
    entry.extend(identity.features.to_le_bytes());
    entry.extend([0; 8]);
    entry
}

/// Makes all bytes sum up to zero modulo 256 by the one at `offset`, which must be zero before.
fn set_checksum(bytes: &mut [u8], offset: usize) {
    bytes[offset] = sum(bytes).wrapping_neg();
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// An address of the first MiB as the table keeps it.
#[expect(clippy::cast_possible_truncation, reason = "boot structures lie below 1 MiB")]
const fn low_address(address: u64) -> u32 {
    address as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: CpuIdentity = CpuIdentity { signature: 0x00a2_0f10, features: 0x178b_fbff };

    #[test]
    fn both_structures_sum_to_zero_and_fit() {
        for vcpus in 1..=32 {
            let bytes = compose(vcpus, IDENTITY);
            assert!(bytes.len() <= layout::MP_TABLE_SIZE, "{vcpus}");
            let (pointer, table) = bytes.split_at(FLOATING_POINTER_SIZE);
            assert_eq!(sum(pointer), 0);
            assert_eq!(sum(table), 0);
            assert_eq!(usize::from(u16::from_le_bytes([table[4], table[5]])), table.len());
        }
    }

    #[test]
    fn the_pointer_leads_to_the_table() {
        let bytes = compose(1, IDENTITY);
        let address = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
        assert_eq!(&bytes[address as usize - 0x9_fc00..][..4], b"PCMP");
    }

    #[test]
    fn entries_are_counted_and_parse_to_their_end() {
        let table = configuration(4, IDENTITY);
        let count = u16::from_le_bytes([table[HEADER_COUNT_OFFSET], table[HEADER_COUNT_OFFSET + 1]]);
        let (mut offset, mut seen, mut cpus, mut boot_cpus) = (HEADER_SIZE, 0, Vec::new(), 0);
        while offset < table.len() {
            if table[offset] == 0 {
                cpus.push(table[offset + 1]);
                boot_cpus += (table[offset + 3] >> 1) & 1;
                offset += 20;
            } else {
                offset += 8;
            }
            seen += 1;
        }
        assert_eq!((offset, seen), (table.len(), count));
        assert_eq!(cpus, [0, 1, 2, 3]);
        assert_eq!(boot_cpus, 1);
    }
}
