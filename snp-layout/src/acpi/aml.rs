//! The few words of AML (ACPI 6.5, chapter 20) that name virtio-mmio devices.

const SCOPE: u8 = 0x10;
const NAME: u8 = 0x08;
const BUFFER: u8 = 0x11;
const BYTE: u8 = 0x0a;
const WORD: u8 = 0x0b;
const STRING: u8 = 0x0d;
const EXTENDED: u8 = 0x5b;
const DEVICE: u8 = 0x82;

/// A device a slot under `\_SB`, each with the address and the interrupt line of its slot.
pub(super) fn devices(slots: impl Iterator<Item = (u32, u32)>) -> Vec<u8> {
    let mut body = b"_SB_".to_vec();
    for (index, (address, line)) in (0..=u8::MAX).zip(slots) {
        body.extend(device(index, address, line));
    }
    package(&[SCOPE], &body)
}

fn device(index: u8, address: u32, line: u32) -> Vec<u8> {
    let digit = |value: u8| char::from_digit(u32::from(value & 15), 16).unwrap_or('0').to_ascii_uppercase();
    let mut body = format!("VR{}{}", digit(index >> 4), digit(index)).into_bytes();
    body.extend(named(b"_HID", &[&[STRING][..], b"LNRO0005\0"].concat()));
    body.extend(named(b"_UID", &[BYTE, index]));
    // DMA is coherent: Linux asks before it takes a device's memory for such.
    body.extend(named(b"_CCA", &[BYTE, 1]));
    body.extend(named(b"_CRS", &resources(address, line)));
    package(&[EXTENDED, DEVICE], &body)
}

fn named(name: &[u8; 4], value: &[u8]) -> Vec<u8> {
    [&[NAME], &name[..], value].concat()
}

/// Sections 6.4.3.4 and 6.4.3.6: a page of registers that can be written, an edge-triggered line that is active high.
fn resources(address: u32, line: u32) -> Vec<u8> {
    let mut list = vec![0x86, 9, 0, 1];
    list.extend(address.to_le_bytes());
    list.extend(0x1000_u32.to_le_bytes());
    list.extend([0x89, 6, 0, 0b11, 1]);
    list.extend(line.to_le_bytes());
    // The end, without a checksum.
    list.extend([0x79, 0]);
    let size = u16::try_from(list.len()).unwrap_or(u16::MAX).to_le_bytes();
    package(&[BUFFER], &[&[WORD][..], &size, &list].concat())
}

/// An operator, its length and its body (section 20.2.4): the length has itself in it, and one to three bytes.
fn package(operator: &[u8], body: &[u8]) -> Vec<u8> {
    let whole = |length_size: usize| body.len() + length_size;
    let low = |length: usize, bits: u32| u8::try_from(length & ((1 << bits) - 1)).unwrap_or_default();
    let length = match body.len() {
        0..=62 => vec![low(whole(1), 6)],
        63..=4093 => vec![0x40 | low(whole(2), 4), low(whole(2) >> 4, 8)],
        _ => vec![0x80 | low(whole(3), 4), low(whole(3) >> 4, 8), low(whole(3) >> 12, 8)],
    };
    [operator, &length, body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        assert_eq!(package(&[SCOPE], &[0; 62])[1], 63);
        assert_eq!(package(&[SCOPE], &[0; 63])[1..3], [0x41, 4]);
        assert_eq!(package(&[SCOPE], &[0; 4093])[1..3], [0x4f, 0xff]);
        assert_eq!(package(&[SCOPE], &[0; 4094])[1..4], [0x81, 0, 1]);
    }

    #[test]
    fn a_device_is_as_a_compiler_writes_it() {
        let bytes = device(0x11, 0xd001_1000, 23);
        let expected = [
            &[0x5b, 0x82, 0x44, 0x04][..],
            b"VR11",
            b"\x08_HID\x0dLNRO0005\0",
            b"\x08_UID\x0a\x11",
            b"\x08_CCA\x0a\x01",
            b"\x08_CRS\x11\x1b\x0b\x17\x00",
            &[0x86, 9, 0, 1, 0, 0x10, 1, 0xd0, 0, 0x10, 0, 0],
            &[0x89, 6, 0, 3, 1, 23, 0, 0, 0, 0x79, 0],
        ]
        .concat();
        assert_eq!(bytes, expected);
    }
}
