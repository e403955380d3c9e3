//! ACPI tables (ACPI 6.5, chapter 5), without which Linux finds neither processors nor devices of an SNP guest: RSDP, XSDT,
//! FADT of a machine with reduced hardware, MADT, DSDT with the devices.
//!
//! The DSDT has every slot of a device, used or not: an empty one answers with no magic. So the digest does not depend on how
//! many disks a pod has; what a device is the guest learns, and checks, from the device.

mod aml;

use snp_stub::map;

/// Slots of devices, each a page from [`DEVICE_BASE`] on.
pub const DEVICES: u8 = 18;
const DEVICE_BASE: u32 = 0xd000_0000;
const DEVICE_SIZE: u32 = 0x1000;
/// The interrupt line of the first slot; that of a PC's clock is left out.
const FIRST_LINE: u32 = 5;
const CLOCK_LINE: u32 = 8;

const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;
const HEADER_SIZE: usize = 36;
const CHECKSUM: usize = 9;
const FADT_SIZE: usize = 276;

/// Tables side by side from [`map::ACPI`] on, the RSDP first.
pub(crate) fn tables(vcpus: u8) -> Vec<u8> {
    let mut area = Area { bytes: vec![0; 64] };
    let dsdt = area.add(&table(*b"DSDT", 2, &aml::devices(slots())));
    let fadt = area.add(&fadt(dsdt));
    let madt = area.add(&madt(vcpus));
    let pointers: Vec<u8> = [fadt, madt].iter().flat_map(|address| address.to_le_bytes()).collect();
    let xsdt = area.add(&table(*b"XSDT", 1, &pointers));
    let rsdp = rsdp(xsdt);
    area.bytes[..rsdp.len()].copy_from_slice(&rsdp);
    area.bytes
}

/// Address and interrupt line of each slot.
fn slots() -> impl Iterator<Item = (u32, u32)> {
    let lines = (FIRST_LINE..).filter(|line| *line != CLOCK_LINE);
    (DEVICE_BASE..).step_by(DEVICE_SIZE as usize).zip(lines).take(usize::from(DEVICES))
}

/// Where tables are put, each at a multiple of 16.
struct Area {
    bytes: Vec<u8>,
}

impl Area {
    fn add(&mut self, table: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        let address = map::ACPI + self.bytes.len() as u64;
        self.bytes.extend(table);
        address
    }
}

/// A header and the body behind it.
fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_SIZE + body.len()).unwrap_or(u32::MAX);
    let mut table = signature.to_vec();
    table.extend(length.to_le_bytes());
    table.extend([revision, 0]);
    table.extend(b"CRADLEKCRADLE ");
    table.extend(1_u32.to_le_bytes());
    table.extend(b"CRDL");
    table.extend(1_u32.to_le_bytes());
    table.extend(body);
    set_checksum(&mut table, CHECKSUM);
    table
}

/// Section 5.2.5.3.
fn rsdp(xsdt: u64) -> Vec<u8> {
    let mut rsdp = b"RSD PTR \0CRADLE\x02".to_vec();
    // No RSDT.
    rsdp.extend([0; 4]);
    rsdp.extend(36_u32.to_le_bytes());
    rsdp.extend(xsdt.to_le_bytes());
    rsdp.extend([0; 4]);
    // The first checksum is that of the first 20 bytes, the other that of all.
    let (first, _) = rsdp.split_at_mut(20);
    set_checksum(first, 8);
    set_checksum(&mut rsdp, 32);
    rsdp
}

/// Section 5.2.9: no fixed hardware, no VGA, no message-signalled interrupts, no CMOS clock.
fn fadt(dsdt: u64) -> Vec<u8> {
    const REDUCED_HARDWARE: u32 = 1 << 20;
    const POWER_AND_SLEEP_ARE_DEVICES: u32 = 1 << 4 | 1 << 5;
    const WBINVD_WORKS: u32 = 1;
    /// Not there: VGA, message-signalled interrupts, clock. There: the controller by which Linux resets.
    const BOOT_ARCHITECTURE: u16 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5;
    let mut fadt = table(*b"FACP", 6, &[0; FADT_SIZE - HEADER_SIZE]);
    let mut put = |at: usize, bytes: &[u8]| fadt[at..at + bytes.len()].copy_from_slice(bytes);
    put(40, &u32::try_from(dsdt).unwrap_or_default().to_le_bytes());
    put(109, &BOOT_ARCHITECTURE.to_le_bytes());
    put(112, &(REDUCED_HARDWARE | POWER_AND_SLEEP_ARE_DEVICES | WBINVD_WORKS).to_le_bytes());
    // The minor version of ACPI.
    put(131, &[5]);
    put(140, &dsdt.to_le_bytes());
    put(268, b"KCRADLE\0");
    set_checksum(&mut fadt, CHECKSUM);
    fadt
}

/// Section 5.2.12: processors with the local APIC ids 0 up, the I/O APIC.
fn madt(vcpus: u8) -> Vec<u8> {
    let mut body = LOCAL_APIC.to_le_bytes().to_vec();
    // No 8259.
    body.extend([0; 4]);
    for id in 0..vcpus {
        body.extend([0, 8, id, id, 1, 0, 0, 0]);
    }
    body.extend([1, 12, vcpus, 0]);
    body.extend(IO_APIC.to_le_bytes());
    body.extend([0; 4]);
    // LINT1 of all processors takes the NMI.
    body.extend([4, 6, 0xff, 0, 0, 1]);
    table(*b"APIC", 5, &body)
}

/// Makes all bytes sum up to zero modulo 256.
fn set_checksum(bytes: &mut [u8], offset: usize) {
    bytes[offset] = 0;
    bytes[offset] = sum(bytes).wrapping_neg();
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes: &[u8], address: u64) -> &[u8] {
        let start = usize::try_from(address - map::ACPI).unwrap();
        let length = u32::from_le_bytes(bytes[start + 4..start + 8].try_into().unwrap()) as usize;
        &bytes[start..start + length]
    }

    fn pointer(bytes: &[u8], offset: usize) -> u64 {
        u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
    }

    #[test]
    fn every_table_is_found_and_sums_to_zero() {
        for vcpus in 1..=32 {
            let bytes = tables(vcpus);
            assert!(bytes.len() as u64 <= map::ACPI_SIZE, "{}", bytes.len());
            assert_eq!((sum(&bytes[..20]), sum(&bytes[..36])), (0, 0));
            let xsdt = at(&bytes, pointer(&bytes, 24));
            assert_eq!((&xsdt[..4], xsdt.len()), (&b"XSDT"[..], HEADER_SIZE + 16));
            let (fadt, madt) = (at(&bytes, pointer(xsdt, 36)), at(&bytes, pointer(xsdt, 44)));
            assert_eq!((&fadt[..4], &madt[..4], fadt.len()), (&b"FACP"[..], &b"APIC"[..], 276));
            assert_eq!(u64::from(u32::from_le_bytes(fadt[40..44].try_into().unwrap())), pointer(fadt, 140));
            let dsdt = at(&bytes, pointer(fadt, 140));
            assert_eq!(&dsdt[..4], b"DSDT");
            assert!([xsdt, fadt, madt, dsdt].iter().all(|table| sum(table) == 0));
            assert_eq!(madt.len(), HEADER_SIZE + 8 + usize::from(vcpus) * 8 + 12 + 6);
        }
    }

    #[test]
    fn slots_are_those_of_the_devices() {
        let slots: Vec<_> = slots().collect();
        assert_eq!(slots.len(), 18);
        assert_eq!(slots[..4], [(0xd000_0000, 5), (0xd000_1000, 6), (0xd000_2000, 7), (0xd000_3000, 9)]);
        assert_eq!(slots[17], (0xd001_1000, 23));
    }
}
