//! The hash page: what is written is read, and what the stub could be led astray by is refused.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use snp_stub::hash_page::{MAX_PARTS, Range, SIZE};
use snp_stub::map::{ARCHIVE, BASE_MEMORY_END, BOOT_PARAMS, HIGH_MEMORY, LAUNCHED_END, STAGING};
use snp_stub::{HashPage, Part, Refusal};

const KERNEL: u64 = 0x100_0000;

fn sound() -> HashPage {
    let mut page = HashPage::new(51, KERNEL + 0x200, BOOT_PARAMS);
    for range in [(0x1000, 0x1_0000), (LAUNCHED_END, BASE_MEMORY_END), (HIGH_MEMORY, 128 << 20)] {
        page.push_range(Range { start: range.0, end: range.1 }).unwrap();
    }
    let part = |source, destination, length| Part {
        name: *b"part\0\0\0\0",
        source,
        destination,
        length,
        sha256: [7; 32],
    };
    page.push_part(part(STAGING, KERNEL - 0x4000, 0x50_0001)).unwrap();
    page.push_part(part(ARCHIVE, 0x700_0000, 124)).unwrap();
    page
}

/// The refusal of the sound page with a number put elsewhere.
fn refusal(offset: usize, number: u64) -> Option<Refusal> {
    let mut bytes = sound().encode();
    bytes[offset..offset + 8].copy_from_slice(&number.to_le_bytes());
    HashPage::decode(&bytes).err()
}

#[test]
fn what_is_written_is_read() {
    assert_eq!(HashPage::decode(&sound().encode()), Ok(sound()));
    let mut plain = sound();
    plain.c_bit = 0;
    assert_eq!(HashPage::decode(&plain.encode()), Ok(plain));
}

#[test]
fn every_byte_counts() {
    let bytes = sound().encode();
    for index in 0..SIZE {
        let mut changed = bytes;
        changed[index] ^= 0x10;
        // A name, a hash or an address within bounds makes another page, never the same one.
        assert_ne!(HashPage::decode(&changed), Ok(sound()), "byte {index}");
    }
}

#[test]
fn parts_go_to_validated_ram_in_order_and_come_from_where_they_may() {
    let (first, second) = (64, 128);
    let staging_end = STAGING + (256 << 20);
    assert_eq!(refusal(first + 8, staging_end - 1), Some(Refusal::Source));
    assert_eq!(refusal(first + 8, KERNEL), Some(Refusal::Source));
    assert_eq!(refusal(second + 8, ARCHIVE + 0xfc0), Some(Refusal::Source));
    // The secrets page and the hash page are nobody's to copy.
    assert_eq!(refusal(second + 8, 0x3_5000), Some(Refusal::Source));
    assert_eq!(refusal(second + 8, 0x2_c000), Some(Refusal::Source));
    assert_eq!(refusal(first + 24, u64::MAX), Some(Refusal::Source));
    for destination in [0, 0x1_0000, 0x2_c000, HIGH_MEMORY - 1, (128 << 20) - 123, STAGING, u64::MAX] {
        assert_eq!(refusal(second + 16, destination), Some(Refusal::Destination), "{destination:#x}");
    }
    // Over the part before it.
    assert_eq!(refusal(second + 16, KERNEL), Some(Refusal::Destination));
    assert_eq!(refusal(24, KERNEL - 0x4001), Some(Refusal::Entry));
    assert_eq!(refusal(32, KERNEL), Some(Refusal::Entry));
}

#[test]
fn ranges_are_whole_pages_of_ram_in_order() {
    let first = 576;
    for start in [0, 0x1001, 0x1_0000, 0x2_0000] {
        assert_eq!(refusal(first, start), Some(Refusal::Range), "{start:#x}");
    }
    for end in [0x1000, 0x1_1000, 0x5000 + 1, u64::MAX] {
        assert_eq!(refusal(first + 8, end), Some(Refusal::Range), "{end:#x}");
    }
    assert_eq!(refusal(first + 32 + 8, STAGING + 4096), Some(Refusal::Range));
    let mut bytes = sound().encode();
    bytes.copy_within(first..first + 16, first + 16);
    assert_eq!(HashPage::decode(&bytes), Err(Refusal::Range));
}

#[test]
fn counts_have_bounds() {
    for count in [0_u32, 9, u32::MAX] {
        let mut bytes = sound().encode();
        bytes[12..16].copy_from_slice(&count.to_le_bytes());
        assert_eq!(HashPage::decode(&bytes), Err(Refusal::Count));
        let mut bytes = sound().encode();
        bytes[16..20].copy_from_slice(&count.to_le_bytes());
        assert_eq!(HashPage::decode(&bytes), Err(Refusal::Count));
    }
    let mut page = HashPage::new(51, 0, 0);
    for _ in 0..MAX_PARTS {
        page.push_part(Part::default()).unwrap();
    }
    assert_eq!(page.push_part(Part::default()), Err(Refusal::Count));
    assert_eq!(HashPage::new(51, 0, 0).check(), Err(Refusal::Count));
    for bit in [1, 39, 52, u32::MAX] {
        let mut page = sound();
        page.c_bit = bit;
        assert_eq!(page.check(), Err(Refusal::EncryptionBit));
    }
}

mod fuzz {
    use super::{HashPage, SIZE, sound};
    use ::fuzz::{Fuzz, shape};

    #[test]
    fn pages() {
        Fuzz::new("snp-hash-page", [sound().encode()]).run(|input| {
            let mut bytes = [0; SIZE];
            let length = input.len().min(SIZE);
            bytes[..length].copy_from_slice(&input[..length]);
            let made = HashPage::decode(&bytes);
            if let Ok(page) = made {
                assert_eq!(page.encode(), bytes);
                page.check().unwrap();
            }
            shape(made.err().map_or(0, |refusal| refusal as u8))
        });
    }
}
