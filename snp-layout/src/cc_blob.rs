//! What tells Linux that it is an SNP guest, and where secrets and CPUID are: `setup_data` of type 7 and, behind it,
//! `cc_blob_sev_info` (Linux: arch/x86/include/asm/sev.h, arch/x86/coco/sev/shared.c).

use snp_stub::map;

const SETUP_CC_BLOB: u32 = 7;
const MAGIC: u32 = 0x4544_4d41;
const VERSION: u16 = 1;
/// Where the blob is on its page.
const BLOB: usize = 0x40;
const PAGE: u32 = 4096;

pub(crate) fn page() -> Vec<u8> {
    let address = u32::try_from(map::CC_BLOB).unwrap_or_default() + 0x40;
    let mut bytes = Vec::with_capacity(0x80);
    // No next one.
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(SETUP_CC_BLOB.to_le_bytes());
    bytes.extend(4_u32.to_le_bytes());
    bytes.extend(address.to_le_bytes());
    bytes.resize(BLOB, 0);
    bytes.extend(MAGIC.to_le_bytes());
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0; 2]);
    for page in [map::SECRETS, map::CPUID] {
        bytes.extend(page.to_le_bytes());
        bytes.extend(PAGE.to_le_bytes());
        bytes.extend([0; 4]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_finds_both_pages() {
        let bytes = page();
        assert_eq!(bytes[8..12], 7_u32.to_le_bytes());
        assert_eq!(bytes[12..16], 4_u32.to_le_bytes());
        let blob = u32::from_le_bytes(bytes[16..20].try_into().unwrap());
        assert_eq!(u64::from(blob), map::CC_BLOB + 0x40);
        let blob = &bytes[0x40..];
        // The packed structure has 40 bytes.
        assert_eq!((blob.len(), &blob[..4]), (40, &b"AMDE"[..]));
        assert_eq!(blob[8..16], map::SECRETS.to_le_bytes());
        assert_eq!(blob[24..32], map::CPUID.to_le_bytes());
        assert_eq!((&blob[16..20], &blob[32..36]), (&[0, 0x10, 0, 0][..], &[0, 0x10, 0, 0][..]));
    }
}
